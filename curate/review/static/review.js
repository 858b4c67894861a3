// The page: the queue, the keys, and what is said about progress.

import * as client from "./client.js";
import { Stage } from "./stage.js";
import { Sheet } from "./sheet.js";

const AHEAD = 20; // images fetched and decoded before they are needed
const BACK = 3; // images kept after they were decided
const IDLE_S = 60; // a longer pause on one image is not counted as work

const find = (id) => document.getElementById(id);
const state = {
  waiting: [], // numbers that were assigned to this page and not yet shown
  past: [], // numbers that were shown before this one
  future: [], // numbers that were left by going back
  known: new Map(), // etag by number
  current: null, // the image that is shown
  status: null,
  seen: new Set(), // frames of it that were looked at
  began: 0,
  durations: [],
  busy: false,
};
const images = new client.Images();
const stage = new Stage(find("stage"), { changed: render, needsFull: loadFull });
let outbox;

// --- the queue

const held = () => [...state.waiting, ...state.future, ...(state.current ? [state.current.number] : []), ...outbox.waiting.keys()];

let filling = null;
function refill() { filling = filling || fill().finally(() => { filling = null; }); return filling; }

async function fill() {
  if (state.waiting.length < AHEAD * 0.7) {
    for (const { number, etag } of await client.next(AHEAD, held())) {
      if (state.waiting.includes(number) || outbox.waiting.has(number)) continue;
      state.waiting.push(number);
      state.known.set(number, etag);
    }
  }
  prefetch();
}

function prefetch() {
  const soon = [...[...state.future].reverse().slice(0, 4), ...state.waiting.slice(0, AHEAD)];
  const near = [...state.past.slice(-BACK), ...soon];
  if (state.current) near.push(state.current.number);
  images.keep(near);
  for (const number of soon) images.get(number).catch(() => {});
}

async function show(number) {
  let image;
  try {
    image = await images.get(number);
  } catch (error) {
    if (error instanceof client.Refused && error.status < 500 && error.status !== 403) {
      say(error.message);
      state.status = await client.status().catch(() => state.status); // one open image less
      return false;
    }
    throw error;
  }
  state.known.set(number, image.etag);
  state.current = image;
  state.seen = new Set([0]);
  state.began = performance.now();
  stage.show(image, boxesOf(image));
  find("empty").hidden = true;
  render();
  return true;
}

function boxesOf(image) {
  const boxes = image.boxes.map((box) => ({ ...box, state: "kept", xyxy: [...box.xyxy], proposed: [...box.xyxy], proposedFrames: [...box.frames] }));
  if (!image.decided) return boxes;
  const known = new Map(boxes.map((box) => [box.origin, box]));
  return image.decided.faces.filter((face) => face.origin === null || known.has(face.origin)).map((face) => {
    const before = known.get(face.origin);
    return before ? { ...before, ...face, xyxy: [...face.xyxy] } : { ...face, score: null, xyxy: [...face.xyxy] };
  });
}

async function advance() {
  if (state.busy) return;
  state.busy = true;
  try {
    if (state.current) { state.past.push(state.current.number); state.past.splice(0, state.past.length - 200); }
    for (;;) {
      if (!state.future.length && !state.waiting.length) await refill();
      const number = state.future.length ? state.future.pop() : state.waiting.shift();
      if (number === undefined) { finish(); break; }
      if (await show(number)) break;
    }
    if (state.waiting.length < AHEAD * 0.7) refill().catch(report); else prefetch();
  } catch (error) {
    report(error, advance);
  } finally {
    state.busy = false;
  }
}

async function back() {
  if (state.busy || !state.past.length) return false;
  state.busy = true;
  try {
    const number = state.past.pop();
    if (outbox.waiting.has(number)) await settled(number);
    images.drop(number);
    if (state.current) state.future.push(state.current.number);
    await show(number);
    prefetch();
    return true;
  } catch (error) {
    report(error);
    return false;
  } finally {
    state.busy = false;
  }
}

function forward() { if (state.future.length || state.waiting.length || state.current) advance(); }

async function settled(number) {
  while (outbox.waiting.has(number) && !outbox.failing) await new Promise((done) => setTimeout(done, 15));
}

function finish() {
  state.current = null;
  stage.clear();
  const empty = find("empty");
  empty.hidden = false;
  const left = state.status ? state.status.open : 0;
  const unseen = state.status ? state.status.not_shown : 0;
  const lost = unseen === 1 ? "1 image could not be shown" : `${unseen.toLocaleString("en")} images could not be shown`;
  empty.replaceChildren(left ? "No image is open for you now." : unseen ? `All others are decided; ${lost}.` : "Every image of this review is decided.");
  const more = document.createElement("small");
  more.textContent = left
    ? "Others are assigned to another window. This page looks again every few seconds."
    : "Stop the server with Ctrl-C in its terminal; it prints what comes next.";
  empty.append(more);
  render();
}

// --- decisions

function accept() {
  if (state.busy) return;
  const image = state.current;
  if (!image) { advance(); return; }
  for (let index = 0; index < image.frames; index += 1) {
    if (!state.seen.has(index)) { showFrame(index); return; }
  }
  const seconds = Math.min(IDLE_S, (performance.now() - state.began) / 1000);
  state.durations.push(seconds);
  state.durations.splice(0, state.durations.length - 50);
  const faces = stage.boxes.map(({ state: word, origin, xyxy, frames }) => ({ state: word, origin, xyxy, frames }));
  send(image, { etag: state.known.get(image.number), sha256: image.sha256, faces, seconds });
  advance();
}

async function send(image, body) {
  const answer = await outbox.send(image.number, body, image.name);
  if (answer) state.known.set(image.number, answer.etag);
}

async function undo() {
  if (stage.undo()) { render(); return; }
  const from = state.current;
  if (!await back() || !state.current) return;
  const image = state.current;
  if (image.decided && image !== from) {
    const answer = await outbox.send(image.number, { withdraw: true, etag: state.known.get(image.number) }, image.name);
    if (answer) { state.known.set(image.number, answer.etag); image.etag = answer.etag; }
  }
}

function saved(number, answer) {
  state.known.set(number, answer.etag);
  if (answer.status.revision >= state.status.revision) state.status = answer.status;
  render();
}

function refused(number, message) {
  images.drop(number);
  say(message, "Show it", async () => {
    if (state.current) state.future.push(state.current.number);
    images.drop(number);
    await show(number).catch(report);
  });
}

// --- frames and full size

async function showFrame(index) {
  const image = state.current;
  if (!image || index < 0 || index >= image.frames) return;
  try {
    if (!image.bitmaps.has(index)) image.bitmaps.set(index, await client.frame(image.number, index, false));
  } catch (error) { report(error); return; }
  if (image !== state.current) return;
  state.seen.add(index);
  stage.showFrame(index);
  render();
}

const fetching = new Set();
async function loadFull(image, index) {
  const key = `${image.number}/${index}`;
  if (fetching.has(key)) return;
  fetching.add(key);
  try {
    const bitmap = await client.frame(image.number, index, true);
    if (image === state.current) { image.bitmaps.get(index).close(); image.bitmaps.set(index, bitmap); stage.paint(); } else bitmap.close();
  } catch { /* the smaller picture stays */ } finally { fetching.delete(key); }
}

// --- what the page says

function render() {
  const image = state.current, status = state.status;
  if (status) {
    find("dataset").textContent = status.dataset;
    find("bar").max = Math.max(1, status.images);
    const done = status.images - status.open - status.not_shown;
    find("bar").value = done;
    find("count").textContent = `${done.toLocaleString("en")} of ${status.images.toLocaleString("en")}`;
    find("rate").textContent = describeRate(status);
    renderBound(status.bound);
  }
  renderSaved();
  find("name").textContent = image ? image.name : "";
  find("facts").textContent = image ? describeImage(image) : "";
  find("frames").hidden = !image || image.frames < 2;
  if (image && image.frames > 1) {
    find("frame-text").textContent = `${stage.frame + 1} / ${image.frames} · ${state.seen.size} seen`;
    find("frame-scope").disabled = !stage.selected;
    find("frame-scope").setAttribute("aria-pressed", String(Boolean(stage.selected && stage.selected.frames.length === 1)));
  }
  find("stage").setAttribute("aria-label", image ? `${image.name}, ${stage.boxes.length} boxes` : "No image");
  document.querySelector("[data-do=add]").setAttribute("aria-pressed", String(stage.adding));
  document.querySelector("[data-do=reject]").disabled = !stage.selected;
  document.querySelector("[data-do=accept]").firstChild.textContent = label(image);
  document.querySelector("[data-do=back]").disabled = !state.past.length;
  renderList();
}

function label(image) {
  if (image && state.seen.size < image.frames) return "Next frame ";
  const left = stage.boxes.filter((box) => box.state !== "rejected").length;
  return image && !left ? "No face " : "Accept ";
}

function renderList() {
  const list = find("list");
  list.replaceChildren(...stage.boxes.map((box, index) => {
    const item = document.createElement("li"), name = document.createElement("b"), more = document.createElement("span");
    item.className = `${box.state}${box.frames.includes(stage.frame) ? "" : " elsewhere"}`;
    item.id = `box-${index}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(box === stage.selected));
    name.textContent = `face ${index + 1}${box.state === "kept" ? "" : `, ${box.state}`}`;
    const size = `${Math.round(box.xyxy[2] - box.xyxy[0])}×${Math.round(box.xyxy[3] - box.xyxy[1])} px`;
    more.textContent = box.score === null || box.score === undefined ? size : `${Math.round(100 * box.score)} % · ${size}`;
    item.append(name, more);
    item.addEventListener("click", () => { stage.select(box, true); find("stage").focus({ preventScroll: true }); });
    return item;
  }));
  const place = stage.boxes.indexOf(stage.selected);
  if (place >= 0) {
    list.setAttribute("aria-activedescendant", `box-${place}`);
    list.children[place].scrollIntoView({ block: "nearest", inline: "nearest" });
  } else list.removeAttribute("aria-activedescendant");
  find("none").hidden = stage.boxes.length > 0 || !state.current;
}

function describeImage(image) {
  const parts = [`${image.width}×${image.height}`];
  if (image.frames > 1) parts.push(`${image.frames} frames`);
  if (image.split) parts.push(image.split);
  if (image.category) parts.push(image.category);
  if (image.decided) parts.push(`decided by ${image.decided.reviewer}`);
  return parts.join(" · ");
}

function describeRate(status) {
  const recent = state.durations;
  if (recent.length < 3) return "";
  const each = recent.reduce((sum, value) => sum + value, 0) / recent.length;
  const left = status.open * each;
  const time = left > 5400 ? `${(left / 3600).toFixed(1)} h` : left > 90 ? `${Math.round(left / 60)} min` : `${Math.round(left)} s`;
  return each < 1 ? `${(1 / each).toFixed(1)} images/s · ${time} left` : `${each.toFixed(1)} s/image · ${time} left`;
}

const percent = (value) => `${Number((100 * value).toPrecision(value < 0.1 ? 2 : 3))} %`;

function renderBound(bound) {
  find("bound").hidden = !bound;
  if (!bound) return;
  const { looked, planned, found, confidence } = bound;
  const upper = bound.valid_now ? bound.upper_now : bound.upper_end;
  find("bound-now").textContent = upper > 0.995 ? "Not yet known" : bound.valid_now ? `at most ${percent(bound.upper_now)}` : `at most ${percent(bound.upper_end)} if no more are found`;
  const sure = `${percent(confidence)} confidence`;
  find("bound-end").textContent = `${looked} of ${planned} looked at, ${found} with a visible face, ${sure}. `
    + (looked >= planned ? "The sample is complete." : bound.valid_now ? "You may stop at any time." : "The bound holds once the whole sample is looked at.");
}

function renderSaved() {
  const element = find("saved");
  const bad = Boolean(outbox && outbox.failing);
  element.classList.toggle("bad", bad);
  const waiting = outbox ? outbox.size : 0;
  const text = bad ? `Not saved: ${outbox.failing}; trying again (${waiting} waiting)` : waiting > 3 ? `Saving ${waiting}…` : waiting ? "Saving…" : state.status && state.past.length ? "Saved" : "";
  if (element.textContent !== text) element.textContent = text;
}

let act = null;
function say(message, action = null, work = null) {
  find("notice").hidden = false;
  find("notice-text").textContent = message;
  find("notice-act").hidden = !action;
  find("notice-act").textContent = action || "";
  act = work;
}
function hush() { find("notice").hidden = true; act = null; }
find("notice-close").addEventListener("click", hush);
find("notice-act").addEventListener("click", () => { const work = act; hush(); if (work) work(); });

function report(error, again = null) {
  const line = error instanceof client.Refused ? error.message : "The server does not answer. Start it again with the same command; nothing is lost.";
  say(line, "Try again", again || start);
}

// --- keys and buttons

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const actions = {
  accept, undo, forward,
  back: () => { back(); },
  add: () => { stage.setAdding(!stage.adding); render(); },
  reject: () => stage.reject(),
  fit: () => stage.fit(),
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || find("help").open || !find("sheet").hidden) {
    if (!find("sheet").hidden && event.key.toLowerCase() === "c" && !event.ctrlKey && !event.metaKey) toggleSheet();
    return;
  }
  const target = event.target;
  if (target instanceof HTMLInputElement) { if (event.key === "Escape" || event.key === "Enter") find("stage").focus(); return; }
  const onButton = target instanceof HTMLButtonElement;
  if (onButton && (event.key === " " || event.key === "Enter" || event.key === "Tab")) return;
  if (event.key === "Tab" && !find("stage").contains(target) && target !== document.body && target !== find("list")) return;
  if (handle(event)) event.preventDefault();
}

function handle(event) {
  const word = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (word === " ") { if (!event.repeat || !state.busy) accept(); return true; }
  if (word === "Tab") { if (!stage.shownBoxes.length) return false; stage.step(event.shiftKey ? -1 : 1); return true; }
  if (word in moves) {
    const [dx, dy] = moves[word], far = event.shiftKey ? 10 : 1;
    if (stage.selected) stage.move(dx * far, dy * far);
    else if (dx < 0) back();
    else if (dx > 0) forward();
    return true;
  }
  if (word === "Escape") { escape(); return true; }
  if (word === "Enter") { if (stage.adding) { stage.addInMiddle(); return true; } return false; }
  if (word >= "1" && word <= "4") { stage.chooseEdge(Number(word) - 1); return true; }
  const simple = {
    x: actions.reject, a: actions.add, z: actions.undo, 0: actions.fit, c: toggleSheet, g: () => stage.toggleScope(),
    "+": () => stage.zoom(1.3), "=": () => stage.zoom(1.3), "-": () => stage.zoom(1 / 1.3),
    ",": () => showFrame(stage.frame - 1), ".": () => showFrame(stage.frame + 1), "?": () => find("help").showModal(),
    Delete: actions.reject, Backspace: actions.reject,
  }[word];
  if (!simple) return false;
  simple();
  return true;
}

function escape() {
  if (stage.adding) { stage.setAdding(false); render(); }
  else if (stage.selected) { stage.select(null); stage.fit(); }
  else document.querySelector("#tools [data-do=accept]").focus();
}

document.addEventListener("keydown", key);
for (const button of document.querySelectorAll("#tools button")) {
  button.addEventListener("click", () => {
    actions[button.dataset.do]();
    if (button.matches(":hover")) find("stage").focus({ preventScroll: true });
  });
}
find("open-help").addEventListener("click", () => find("help").showModal());
find("help").addEventListener("close", () => find("stage").focus());
find("open-sheet").addEventListener("click", () => toggleSheet());
find("frame-back").addEventListener("click", () => showFrame(stage.frame - 1));
find("frame-next").addEventListener("click", () => showFrame(stage.frame + 1));
find("frame-scope").addEventListener("click", () => stage.toggleScope());
find("reviewer").addEventListener("change", (event) => { client.setReviewer(event.target.value.trim()); location.reload(); });
find("list").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { stage.step(event.key === "ArrowDown" ? 1 : -1); event.preventDefault(); event.stopPropagation(); }
});

// --- the contact sheet

const sheet = new Sheet(find("sheet"), {
  close: () => toggleSheet(),
  open: async (number) => {
    await leaveSheet();
    state.waiting = state.waiting.filter((other) => other !== number);
    if (state.current && state.current.number !== number) state.future.push(state.current.number);
    await show(number).catch(report);
  },
  accept: (accepted) => Promise.all(accepted.map((image) => outbox.send(image.number, { etag: image.etag, sha256: image.sha256, seconds: 0 }, image.name))),
});

async function toggleSheet() {
  if (!find("sheet").hidden) { await leaveSheet(); if (!state.current) advance(); return; }
  find("single").hidden = true;
  find("tools").hidden = true;
  find("sheet").hidden = false;
  await sheet.load().catch(report);
}

async function leaveSheet() {
  sheet.release();
  find("sheet").hidden = true;
  find("single").hidden = false;
  find("tools").hidden = false;
  find("stage").focus();
  // Images that the sheet has decided are not shown again.
  const open = new Set((await client.next(AHEAD * 2, []).catch(() => [])).map(({ number }) => number));
  state.waiting = state.waiting.filter((number) => open.has(number));
  if (state.current && !state.current.decided && !open.has(state.current.number)) state.current = null;
}

// --- start

async function start() {
  hush();
  try {
    state.status = await client.status();
    find("reviewer").value = client.reviewer() || state.status.reviewer;
    client.setReviewer(find("reviewer").value);
    document.title = `${state.status.dataset} · curate review`;
    outbox = outbox || new client.Outbox({ review: state.status.review, saved, refused, state: render });
    outbox.resume();
    if (!state.current) await advance();
    find("stage").focus({ preventScroll: true });
  } catch (error) {
    report(error);
  }
}

setInterval(() => { if (outbox && held().length) client.next(0, held()).catch(() => {}); }, 15000); // stay assigned
setInterval(() => { if (!state.current && !state.busy && state.status && state.status.open && find("sheet").hidden) advance(); }, 5000);
window.addEventListener("pagehide", () => client.release());
window.addEventListener("beforeunload", (event) => { if (outbox && outbox.size) event.preventDefault(); });
start();
