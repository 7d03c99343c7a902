// Talking to the server: an admin's token with each request, and one stream of events that comes back by itself.

const KEY = "tornado_sse admin token";
const SILENCE = 15_000; // ms without a byte, of a stream that says something every second, until it counts as dead

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

// A link may bring one: what is behind # never leaves the browser, and is taken out of the address bar and the history.
export function tokenFromLink() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

async function request(path, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${token.get()}` };
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  throw new Refused(response.status, problem?.message ?? response.statusText);
}

export async function get(path, query) {
  return (await request(`${path}?${new URLSearchParams(query)}`)).json();
}

export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// EventSource can't send a token, so this reads the stream itself (WHATWG HTML section 9.2) and resumes as it would.
export class Live {
  constructor(path, { onevent, onopen, onlost, onrefused }) {
    Object.assign(this, { path, onevent, onopen, onlost, onrefused, lastId: "", retry: 1000, closed: false });
    this.run();
  }

  close() {
    this.closed = true;
    this.abort?.abort();
  }

  async run() {
    while (!this.closed) {
      try {
        await this.read();
      } catch (problem) {
        if (this.closed) return;
        if (problem instanceof Refused && problem.status < 500) return this.onrefused(problem);
      }
      if (this.closed) return;
      this.onlost();
      await new Promise((resolve) => setTimeout(resolve, this.retry));
    }
  }

  async read() {
    this.abort = new AbortController();
    const headers = { Accept: "text/event-stream", ...(this.lastId && { "Last-Event-ID": this.lastId }) };
    let watch = this.expect();
    try {
      const response = await request(this.path, { headers, signal: this.abort.signal });
      this.onopen();
      let rest = "";
      for await (const text of chunks(response.body)) {
        clearTimeout(watch);
        watch = this.expect();
        const blocks = (rest + text).split("\n\n");
        rest = blocks.pop();
        blocks.forEach((block) => this.take(block));
      }
    } finally {
      clearTimeout(watch);
    }
  }

  expect() {
    return setTimeout(() => this.abort.abort(), SILENCE);
  }

  take(block) {
    let [name, data] = ["message", null];
    for (const line of block.split("\n")) {
      const at = line.indexOf(":");
      const [field, value] = at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
      if (field === "event") name = value;
      if (field === "data") data = data === null ? value : `${data}\n${value}`;
      if (field === "id") this.lastId = value;
      if (field === "retry") this.retry = Number(value);
    }
    if (data !== null) this.onevent(name, JSON.parse(data));
  }
}

async function* chunks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}
