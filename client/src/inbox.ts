// What a tab was told, whoever told it: each event once, in order, and never past a hole.

import type { Batch } from "./connection.js";
import { readJson, type WireEvent } from "./parser.js";
import { compare, covers } from "./position.js";

/** What `stream-gap` says: messages after `from` (null: not known) up to and including `to` may be missing. */
export interface Gap {
  from: string | null;
  to: string;
  reason: string;
}

export interface Reader {
  deliver(event: WireEvent): void;
  /** State may be stale; what follows waits until it is fetched again. */
  refetch?: ((gap: Gap) => unknown) | undefined;
  /** All up to here was delivered. */
  reached(position: string): void;
}

export class Inbox {
  #queue: (WireEvent | string)[] = [];
  #busy = false;
  #closed = false;
  #told = "";

  /** `position`: all up to here was received; empty: nothing is known. */
  constructor(
    public position: string,
    private readonly reader: Reader,
  ) {}

  /** Take what is new of a batch. False: something between our position and the batch is missing, and nothing was taken. */
  take(batch: Batch): boolean {
    if (!this.#joins(batch)) return false;
    const known = covers(this.position, batch.to);
    const again = known && batch.from !== this.position;
    this.#queue.push(...batch.events.filter((event) => this.#isNew(event, again)));
    if (!known) {
      this.position = batch.to;
      this.#queue.push(batch.to);
    }
    this.#drain();
    return true;
  }

  /** Deliver nothing any more. */
  close(): void {
    this.#closed = true;
  }

  #joins({ from, to }: Batch): boolean {
    const { position } = this;
    if (!position || from === position) return true;
    const order = from ? compare(from, position) : undefined;
    return order === undefined ? covers(position, to) : order < 0;
  }

  #isNew(event: WireEvent, again: boolean): boolean {
    if (event.type !== "stream-gap") return event.own ? !covers(this.position, event.lastEventId) : !again;
    const { to = "" } = readJson<Gap>(event.data);
    if (to === this.#told || covers(this.position, to)) return false;
    this.#told = to;
    return true;
  }

  #drain(): void {
    while (!this.#busy && !this.#closed && this.#queue.length) {
      const next = this.#queue.shift()!;
      if (typeof next === "string") this.reader.reached(next);
      else this.#deliver(next);
    }
  }

  #deliver(event: WireEvent): void {
    const { refetch } = this.reader;
    this.reader.deliver(event);
    if (event.type !== "stream-gap" || !refetch) return;
    this.#busy = true;
    Promise.resolve(readJson<Gap>(event.data) as Gap)
      .then(refetch)
      .catch(report)
      .finally(() => {
        this.#busy = false;
        this.#drain();
      });
  }
}

/** Have an exception of the caller's code told as one in an event listener is: by itself, with nothing else harmed. */
export function report(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
