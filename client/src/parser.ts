// The event stream format, WHATWG HTML section 9.2.6, from text as it comes.

/**
 * An event as it was on the wire. `own`: its block had an `id` line, so that this is its position. `channels`: those
 * through which it came, if the stream is told them and it came no other way.
 */
export interface WireEvent {
  type: string;
  data: string;
  lastEventId: string;
  own: boolean;
  channels: string[];
}

export class Parser {
  /** Milliseconds, as the server said last; undefined: it said nothing. */
  retry: number | undefined;
  #rest = "";
  #afterCr = false;
  #id: string;
  #own = false;
  #type = "";
  #data: string[] = [];
  #channels: string[] = [];

  /** `lastEventId` is where the stream goes on from; it moves at the end of a block, data or not. */
  constructor(public lastEventId = "") {
    this.#id = lastEventId;
  }

  /** Take what came, and return the events that it completes. */
  feed(text: string): WireEvent[] {
    if (!text) return [];
    const fresh = this.#afterCr && text.startsWith("\n") ? text.slice(1) : text;
    this.#afterCr = text.endsWith("\r");
    const lines = (this.#rest + fresh).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  #line(line: string): WireEvent | undefined {
    if (!line) return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "channel") this.#channels.push(value);
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    else if (name === "id" && !value.includes("\0")) [this.#id, this.#own] = [value, true];
    return undefined;
  }

  #dispatch(): WireEvent | undefined {
    const { length } = this.#data;
    const event = {
      type: this.#type || "message",
      data: this.#data.join("\n"),
      lastEventId: this.#id,
      own: this.#own,
      channels: this.#channels,
    };
    this.lastEventId = this.#id;
    [this.#type, this.#data, this.#own, this.#channels] = ["", [], false, []];
    return length ? event : undefined;
  }
}

/** The JSON of one of the server's own events; nothing, if another server says something else under that name. */
export function readJson<T>(data: string): Partial<T> {
  try {
    return (JSON.parse(data) ?? {}) as Partial<T>;
  } catch {
    return {};
  }
}
