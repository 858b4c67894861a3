// What the page asks of the server: images ahead of time, and decisions that are never lost.

const address = new URLSearchParams(location.search);
const token = address.get("token") || "";
const WAITING = "curate-waiting:"; // decisions that the server has not confirmed, in localStorage

function remember(key, value) {
  let known = sessionStorage.getItem(key);
  if (!known) { known = value; sessionStorage.setItem(key, known); }
  return known;
}

export const page = remember("curate-page", crypto.randomUUID ? crypto.randomUUID() : String(Math.random()));

export function reviewer() { return sessionStorage.getItem("curate-reviewer") || ""; }
export function setReviewer(name) { sessionStorage.setItem("curate-reviewer", name); }

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function ask(path, query = {}, body = undefined, keepalive = false) {
  const words = new URLSearchParams({ ...query, reviewer: reviewer() });
  const response = await fetch(`${path}?${words}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { "X-Curate-Token": token, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    keepalive,
  });
  if (!response.ok) {
    let line = `the server answered ${response.status}`;
    try { line = (await response.json()).error || line; } catch { /* not one of its own answers */ }
    throw new Refused(response.status, line);
  }
  return response;
}

export async function status() { return (await ask("api/status")).json(); }

export async function next(count, held, sheet = false) {
  const query = { client: page, count, held: held.slice(0, 64).join(","), sheet: sheet ? 1 : 0 };
  return (await (await ask("api/next", query)).json()).images;
}

// Lets other windows have the images that this one has not decided.
export function release() { ask("api/release", {}, { client: page }, true).catch(() => {}); }

export async function view(number) {
  const data = await (await ask(`api/view/${number}`)).arrayBuffer();
  const length = new DataView(data).getUint32(0);
  const known = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  return { ...known, bitmaps: new Map([[0, bitmap]]) };
}

export async function frame(number, index, full) {
  const response = await ask(`api/frame/${number}/${index}`, full ? { full: 1 } : {});
  return createImageBitmap(await response.blob());
}

export async function thumbnail(number) { return (await ask(`api/thumbnail/${number}`)).blob(); }

// Images that are shown soon, decoded; the others are let go so that memory stays flat.
export class Images {
  constructor() { this.ready = new Map(); }

  get(number) {
    let found = this.ready.get(number);
    if (!found) {
      found = view(number);
      found.catch(() => this.ready.delete(number));
      this.ready.set(number, found);
    }
    return found;
  }

  has(number) { return this.ready.has(number); }

  drop(number) {
    const found = this.ready.get(number);
    this.ready.delete(number);
    if (found) found.then((image) => image.bitmaps.forEach((bitmap) => bitmap.close()), () => {});
  }

  keep(numbers) {
    const wanted = new Set(numbers);
    for (const number of [...this.ready.keys()]) if (!wanted.has(number)) this.drop(number);
  }
}

// Decisions on their way to the disk. Each is kept in the browser until the server has said
// that it is saved, sent again while the server does not answer, and again after a reload.
export class Outbox {
  constructor({ review, saved, refused, state }) {
    Object.assign(this, { saved, refused, state });
    this.prefix = `${WAITING}${review}:`;
    this.waiting = new Map();
    this.failing = false;
  }

  get size() { return this.waiting.size; }

  resume() {
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(this.prefix)) continue;
      try {
        const { number, body, name } = JSON.parse(localStorage.getItem(key));
        if (!this.waiting.has(number)) this.send(number, body, name);
      } catch { localStorage.removeItem(key); }
    }
  }

  async send(number, body, name) {
    const key = `${this.prefix}${number}`;
    const entry = { number, body, name };
    this.waiting.set(number, entry);
    localStorage.setItem(key, JSON.stringify(entry));
    this.state();
    for (;;) {
      try {
        const path = `api/${body.withdraw ? "withdraw" : "decide"}/${number}`;
        const answer = await (await ask(path, {}, body)).json();
        this.failing = false;
        this.forget(entry, key);
        this.saved(number, answer);
        return answer;
      } catch (error) {
        if (error instanceof Refused && error.status < 500 && error.status !== 403) {
          this.forget(entry, key);
          this.refused(number, error.message, name);
          return null;
        }
        this.failing = error instanceof Refused ? error.message : "the server does not answer";
        this.state();
        await new Promise((done) => setTimeout(done, 1000));
        if (this.waiting.get(number) !== entry) return null;
      }
    }
  }

  forget(entry, key) {
    if (this.waiting.get(entry.number) === entry) {
      this.waiting.delete(entry.number);
      localStorage.removeItem(key);
    }
    this.state();
  }
}
