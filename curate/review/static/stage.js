// One image with its boxes: a canvas with the pixels below an SVG with the boxes.
// Coordinates of boxes are pixels of the upright image; `scale`, `x` and `y` map them to the page.

const NS = "http://www.w3.org/2000/svg";
const LEAST = 2; // pixels of a box's side
const EDGES = ["left", "top", "right", "bottom"];

function make(name, attributes = {}, parent = null) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

const limit = (value, low, high) => Math.min(Math.max(value, low), high);

export class Stage {
  constructor(root, { changed, needsFull }) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.svg = root.querySelector("svg");
    this.layer = this.svg.querySelector("g");
    this.changed = changed;
    this.needsFull = needsFull;
    this.image = null;
    this.boxes = [];
    this.history = [];
    this.selected = null;
    this.edge = null;
    this.adding = false;
    this.frame = 0;
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => { this.resize(); }).observe(root);
  }

  // --- what is shown

  show(image, boxes) {
    this.image = image;
    this.boxes = boxes;
    this.history = [];
    this.selected = null;
    this.edge = null;
    this.frame = 0;
    this.setAdding(false);
    this.gesture = null;
    this.fit();
  }

  clear() { this.image = null; this.boxes = []; this.selected = null; this.paint(); this.draw(); }

  showFrame(index) { this.frame = index; this.select(null); this.paint(); this.draw(); }

  get shownBoxes() { return this.boxes.filter((box) => box.frames.includes(this.frame)); }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.root.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.root.clientHeight * ratio));
    this.fit();
  }

  fit() {
    if (!this.image) { this.paint(); this.draw(); return; }
    this.scale = this.fitScale();
    this.x = (this.root.clientWidth - this.image.width * this.scale) / 2;
    this.y = (this.root.clientHeight - this.image.height * this.scale) / 2;
    this.paint();
    this.draw();
  }

  fitScale() {
    const { clientWidth: width, clientHeight: height } = this.root;
    return Math.max(1e-6, Math.min((width - 16) / this.image.width, (height - 16) / this.image.height, 8));
  }

  zoomTo(box) {
    const [x0, y0, x1, y1] = box.xyxy;
    const { clientWidth: width, clientHeight: height } = this.root;
    const wanted = 0.3 * Math.min(width / (x1 - x0), height / (y1 - y0));
    this.scale = limit(wanted, this.fitScale(), Math.max(4, 5 * this.fitScale()));
    this.x = width / 2 - (x0 + x1) / 2 * this.scale;
    this.y = height / 2 - (y0 + y1) / 2 * this.scale;
    this.settle();
  }

  zoom(factor, px = this.root.clientWidth / 2, py = this.root.clientHeight / 2) {
    if (!this.image) return;
    const scale = limit(this.scale * factor, this.fitScale() * 0.5, 32);
    this.x = px - (px - this.x) * scale / this.scale;
    this.y = py - (py - this.y) * scale / this.scale;
    this.scale = scale;
    this.settle();
  }

  settle() { // keep at least a part of the image in sight
    const { clientWidth: width, clientHeight: height } = this.root;
    this.x = limit(this.x, 40 - this.image.width * this.scale, width - 40);
    this.y = limit(this.y, 40 - this.image.height * this.scale, height - 40);
    this.paint();
    this.draw();
  }

  paint() {
    const ratio = window.devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const bitmap = this.image && this.image.bitmaps.get(this.frame);
    if (!bitmap) return;
    const scale = this.scale * this.image.width / bitmap.width;
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * this.x, ratio * this.y);
    context.imageSmoothingEnabled = ratio * scale < 24;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0);
    if (bitmap.width < this.image.width && ratio * scale > 1.2) this.needsFull(this.image, this.frame);
  }

  draw() {
    this.layer.replaceChildren();
    if (!this.image) return;
    this.layer.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.scale})`);
    const shown = this.shownBoxes.filter((box) => box !== this.selected);
    if (this.selected && this.selected.frames.includes(this.frame)) shown.push(this.selected);
    for (const box of shown) this.drawBox(box);
    if (this.gesture && this.gesture.kind === "draw" && this.gesture.xyxy) {
      this.drawBox({ xyxy: this.gesture.xyxy, state: "added", frames: [this.frame] });
    }
  }

  drawBox(box) {
    const [x, y, x1, y1] = box.xyxy;
    const at = { x, y, width: x1 - x, height: y1 - y };
    const chosen = box === this.selected;
    const group = make("g", { class: `${box.state}${chosen ? " selected" : ""}` }, this.layer);
    make("rect", { ...at, class: "halo" }, group);
    make("rect", { ...at, class: "line" }, group);
    if (box.state === "rejected") make("path", { class: "line", d: `M${x} ${y}L${x1} ${y1}M${x1} ${y}L${x} ${y1}` }, group);
    const hit = make("rect", { ...at, class: "hit" }, group);
    hit.box = box;
    if (chosen) this.drawHandles(box, group);
  }

  drawHandles(box, group) {
    const [x0, y0, x1, y1] = box.xyxy;
    const unit = 1 / this.scale;
    const score = box.score === null || box.score === undefined ? "" : ` ${Math.round(100 * box.score)} %`;
    const text = make("text", { transform: `translate(${x0} ${y0 - 8 * unit}) scale(${unit})` }, group);
    text.textContent = `${box.state}${score}`;
    if (this.edge !== null) {
      const line = { left: [x0, y0, x0, y1], top: [x0, y0, x1, y0], right: [x1, y0, x1, y1], bottom: [x0, y1, x1, y1] }[EDGES[this.edge]];
      make("path", { class: "edge", d: `M${line[0]} ${line[1]}L${line[2]} ${line[3]}` }, group);
    }
    if (box.state === "rejected") return;
    for (const [fx, fy] of [[0, 0], [.5, 0], [1, 0], [0, .5], [1, .5], [0, 1], [.5, 1], [1, 1]]) {
      const cx = x0 + fx * (x1 - x0), cy = y0 + fy * (y1 - y0);
      make("rect", { class: "handle", x: cx - 4 * unit, y: cy - 4 * unit, width: 8 * unit, height: 8 * unit }, group);
      const grip = make("circle", { class: "grip", cx, cy, r: 13 * unit }, group);
      grip.box = box;
      grip.corner = [fx, fy];
    }
  }

  // --- what can be done

  save() { this.history.push(JSON.stringify(this.boxes)); if (this.history.length > 200) this.history.shift(); }

  undo() {
    const before = this.history.pop();
    if (before === undefined) return false;
    const place = this.boxes.indexOf(this.selected);
    this.boxes = JSON.parse(before);
    this.select(this.boxes[place] || null);
    this.changed();
    return true;
  }

  select(box, zoom = false) {
    this.selected = box;
    this.edge = null;
    if (zoom && box) this.zoomTo(box); else this.draw();
    this.changed();
  }

  step(direction) {
    const boxes = this.shownBoxes;
    if (!boxes.length) return;
    const place = boxes.indexOf(this.selected);
    const start = place < 0 ? (direction > 0 ? -1 : 0) : place;
    this.select(boxes[(start + direction + boxes.length) % boxes.length], true);
  }

  reject() {
    const box = this.selected;
    if (!box) return;
    this.save();
    if (box.origin === null) {
      this.boxes = this.boxes.filter((other) => other !== box);
      this.select(null);
    } else if (box.state === "rejected") {
      box.state = this.isAsProposed(box) ? "kept" : "changed";
    } else {
      box.state = "rejected";
    }
    this.draw();
    this.changed();
  }

  setAdding(on) {
    this.adding = on && this.image !== null;
    this.root.classList.toggle("adding", this.adding);
  }

  addInMiddle() {
    const { clientWidth: width, clientHeight: height } = this.root;
    const side = Math.max(LEAST, 0.2 * Math.min(width, height) / this.scale);
    const cx = limit((width / 2 - this.x) / this.scale, 0, this.image.width);
    const cy = limit((height / 2 - this.y) / this.scale, 0, this.image.height);
    this.add([cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2]);
  }

  add(xyxy) {
    const box = { xyxy: this.inside(xyxy), state: "added", origin: null, score: null, frames: this.everyFrame() };
    if (box.xyxy[2] - box.xyxy[0] < LEAST || box.xyxy[3] - box.xyxy[1] < LEAST) return;
    this.save();
    this.boxes.push(box);
    this.setAdding(false);
    this.select(box);
  }

  everyFrame() { return Array.from({ length: this.image.frames }, (_, index) => index); }

  toggleScope() {
    const box = this.selected;
    if (!box || this.image.frames < 2) return;
    this.save();
    box.frames = box.frames.length > 1 ? [this.frame] : this.everyFrame();
    this.mark(box);
    this.draw();
    this.changed();
  }

  move(dx, dy) {
    const box = this.selected;
    if (!box || box.state === "rejected") return;
    this.save();
    let [x0, y0, x1, y1] = box.xyxy;
    if (this.edge === null) {
      dx = limit(dx, -x0, this.image.width - x1);
      dy = limit(dy, -y0, this.image.height - y1);
      box.xyxy = [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
    } else {
      const edge = EDGES[this.edge];
      if (edge === "left") x0 = limit(x0 + dx, 0, x1 - LEAST);
      if (edge === "right") x1 = limit(x1 + dx, x0 + LEAST, this.image.width);
      if (edge === "top") y0 = limit(y0 + dy, 0, y1 - LEAST);
      if (edge === "bottom") y1 = limit(y1 + dy, y0 + LEAST, this.image.height);
      box.xyxy = [x0, y0, x1, y1];
    }
    this.mark(box);
    this.draw();
    this.changed();
  }

  mark(box) { if (box.origin !== null && box.state !== "rejected") box.state = this.isAsProposed(box) ? "kept" : "changed"; }

  isAsProposed(box) {
    return box.xyxy.every((value, index) => Math.abs(value - box.proposed[index]) < 0.005)
      && box.frames.join() === box.proposedFrames.join();
  }

  inside([x0, y0, x1, y1]) {
    const { width, height } = this.image;
    return [limit(Math.min(x0, x1), 0, width), limit(Math.min(y0, y1), 0, height), limit(Math.max(x0, x1), 0, width), limit(Math.max(y0, y1), 0, height)];
  }

  // --- mouse and touch

  listen() {
    const at = (event) => { const place = this.root.getBoundingClientRect(); return [event.clientX - place.left, event.clientY - place.top]; };
    this.root.addEventListener("wheel", (event) => {
      if (!this.image) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), ...at(event));
    }, { passive: false });
    this.svg.addEventListener("pointerdown", (event) => {
      if (!this.image || event.button > 1) return;
      this.root.focus({ preventScroll: true });
      this.svg.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      if (this.pointers.size === 2) this.gesture = { kind: "pinch" };
      else this.begin(event, at(event));
      event.preventDefault();
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.pointers.has(event.pointerId)) return;
      const before = this.pointers.get(event.pointerId), now = at(event);
      if (this.gesture && this.gesture.kind === "pinch") this.pinch(event.pointerId, now);
      else if (this.gesture) this.drag(now, before);
      this.pointers.set(event.pointerId, now);
    });
    const end = (event) => {
      if (!this.pointers.delete(event.pointerId)) return;
      if (this.pointers.size === 0) this.finish(event.type === "pointercancel");
    };
    this.svg.addEventListener("pointerup", end);
    this.svg.addEventListener("pointercancel", end);
    this.svg.addEventListener("dblclick", () => { if (this.image) this.fit(); });
  }

  begin(event, place) {
    const { box, corner } = event.target;
    const start = this.toImage(place);
    if (this.adding) this.gesture = { kind: "draw", start };
    else if (corner) this.gesture = { kind: "resize", box, corner, start, from: [...box.xyxy] };
    else if (box) {
      if (box !== this.selected) this.select(box);
      this.gesture = { kind: "move", box, start, from: [...box.xyxy] };
    } else this.gesture = { kind: "pan", moved: false };
    this.root.classList.toggle("dragging", this.gesture.kind === "pan");
  }

  drag(now, before) {
    const gesture = this.gesture, [px, py] = this.toImage(now);
    if (gesture.kind === "pan") {
      gesture.moved = gesture.moved || Math.hypot(now[0] - before[0], now[1] - before[1]) > 2;
      this.x += now[0] - before[0];
      this.y += now[1] - before[1];
      this.settle();
      return;
    }
    const [dx, dy] = [px - gesture.start[0], py - gesture.start[1]];
    if (gesture.kind === "draw") {
      gesture.xyxy = this.inside([...gesture.start, px, py]);
      this.draw();
      return;
    }
    if (gesture.box.state === "rejected" || (!gesture.saved && Math.hypot(dx, dy) * this.scale < 3)) return;
    if (!gesture.saved) { this.save(); gesture.saved = true; }
    const [x0, y0, x1, y1] = gesture.from, { width, height } = this.image;
    if (gesture.kind === "move") {
      const mx = limit(dx, -x0, width - x1), my = limit(dy, -y0, height - y1);
      gesture.box.xyxy = [x0 + mx, y0 + my, x1 + mx, y1 + my];
    } else {
      const [fx, fy] = gesture.corner;
      gesture.box.xyxy = this.inside([
        fx === 0 ? Math.min(x0 + dx, x1 - LEAST) : x0, fy === 0 ? Math.min(y0 + dy, y1 - LEAST) : y0,
        fx === 1 ? Math.max(x1 + dx, x0 + LEAST) : x1, fy === 1 ? Math.max(y1 + dy, y0 + LEAST) : y1,
      ]);
    }
    this.mark(gesture.box);
    this.draw();
  }

  pinch(id, now) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const before = this.pointers.get(id);
    const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
    this.x += (now[0] - before[0]) / 2;
    this.y += (now[1] - before[1]) / 2;
    this.zoom(distance(now, other) / distance(before, other), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  finish(cancelled) {
    const gesture = this.gesture;
    this.gesture = null;
    this.root.classList.remove("dragging");
    if (!gesture) return;
    if (gesture.kind === "draw" && gesture.xyxy && !cancelled) this.add(gesture.xyxy);
    else if (gesture.kind === "pan" && !gesture.moved) this.select(null);
    this.draw();
    this.changed();
  }

  toImage([px, py]) { return [(px - this.x) / this.scale, (py - this.y) / this.scale]; }

  chooseEdge(index) { if (this.selected) { this.edge = this.edge === index ? null : index; this.draw(); this.changed(); } }
}
