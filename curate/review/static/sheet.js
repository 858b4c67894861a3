// The contact sheet: many images at once, for those that the detectors are sure about.

import * as client from "./client.js";

const NS = "http://www.w3.org/2000/svg";

export class Sheet {
  constructor(root, { accept, open, close }) {
    Object.assign(this, { root, accept, open, close });
    this.grid = root.querySelector("#grid");
    this.shown = [];
    this.urls = [];
    this.grid.addEventListener("keydown", (event) => this.key(event));
    root.querySelector("#sheet-accept").addEventListener("click", () => this.acceptAll());
    root.querySelector("#sheet-close").addEventListener("click", () => this.close());
  }

  async load() {
    this.release();
    const images = await client.next(20, [], true);
    const loaded = await Promise.all(images.map(async ({ number }) => {
      try {
        const [image, blob] = await Promise.all([client.view(number), client.thumbnail(number)]);
        image.bitmaps.forEach((bitmap) => bitmap.close());
        return { ...image, blob, marked: false };
      } catch { return null; }
    }));
    this.shown = loaded.filter((image) => image !== null);
    this.grid.replaceChildren(...this.shown.map((image, index) => this.tile(image, index)));
    if (!this.shown.length) this.grid.replaceChildren(this.nothing());
    this.root.querySelector("#sheet-accept").disabled = !this.shown.length;
    const first = this.grid.querySelector("figure");
    if (first) first.focus(); else this.root.querySelector("#sheet-close").focus();
  }

  nothing() {
    const line = document.createElement("p");
    line.textContent = "No open image is left for the contact sheet.";
    return line;
  }

  tile(image, index) {
    const figure = document.createElement("figure");
    figure.tabIndex = index ? -1 : 0;
    figure.setAttribute("role", "gridcell");
    const faces = image.boxes.length === 1 ? "1 box" : `${image.boxes.length} boxes`;
    figure.setAttribute("aria-label", `${image.name}, ${faces}`);
    const frame = document.createElement("div"), inner = document.createElement("div"), picture = document.createElement("img");
    frame.className = "pic";
    const url = URL.createObjectURL(image.blob);
    this.urls.push(url);
    picture.src = url;
    picture.alt = "";
    const shape = image.width / image.height / (4 / 3); // relative to the tile: all of the image is shown
    inner.style.width = `${100 * Math.min(1, shape)}%`;
    inner.style.height = `${100 * Math.min(1, 1 / shape)}%`;
    const svg = document.createElementNS(NS, "svg");
    svg.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    for (const { xyxy: [x0, y0, x1, y1] } of image.boxes) {
      const rect = document.createElementNS(NS, "rect");
      for (const [key, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) rect.setAttribute(key, value);
      svg.append(rect);
    }
    inner.append(picture, svg);
    frame.append(inner);
    const caption = document.createElement("figcaption");
    caption.textContent = `${faces} · ${image.name}`;
    figure.append(frame, caption);
    figure.addEventListener("click", () => { figure.focus(); this.toggle(index); });
    figure.addEventListener("dblclick", () => this.open(image.number));
    return figure;
  }

  release() { this.urls.forEach((url) => URL.revokeObjectURL(url)); this.urls = []; this.shown = []; }

  toggle(index) {
    const image = this.shown[index];
    image.marked = !image.marked;
    const figure = this.grid.children[index];
    figure.classList.toggle("marked", image.marked);
    figure.setAttribute("aria-selected", image.marked);
  }

  key(event) {
    const place = [...this.grid.children].indexOf(document.activeElement);
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (step !== undefined) {
      const target = this.grid.children[place + step];
      if (target) { document.activeElement.tabIndex = -1; target.tabIndex = 0; target.focus(); }
    } else if (event.key === " ") this.acceptAll();
    else if (event.key === "Enter" && place >= 0) this.open(this.shown[place].number);
    else if (event.key.toLowerCase() === "x" && place >= 0) this.toggle(place);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async acceptAll() {
    const accepted = this.shown.filter((image) => !image.marked);
    if (!accepted.length) { this.close(); return; }
    this.shown = [];
    await this.accept(accepted);
    await this.load();
  }
}
