// Tabs that share one stream. Whoever holds the lock leads; the others hear from it what the server said.
//
// What a batch says, "this is all between these two positions", is true whoever says it. So it does not matter if a tab
// that was stalled goes on leading for a moment after another took over: nobody takes anything twice, or past a hole.

import type { Batch, Link } from "./connection.js";
import { covers } from "./position.js";

const TICK = 400; // three of them unanswered, and the leader is taken to be gone
const MISSES = 3;
const KEPT = 500; // batches that a leader remembers

/** What tabs say to each other. */
type Word =
  | { say: "where" } // is a leader there, and where does it stand?
  | { say: "here"; link: Link; position: string }
  | { say: "batch"; batch: Batch }
  | { say: "want"; after: string } // a tab misses what came after this
  | { say: "over"; reason: string };

export interface Member {
  /** Lead from now on: hold the stream. */
  lead(): void;
  /** Another leads from now on. */
  follow(): void;
  /** The leader's stream is in this state, and stands here. */
  heard(link: Link, position: string): void;
  /** False if something before it is missing. */
  take(batch: Batch): boolean;
  /** As the leader: where the stream stands. */
  standing(): { link: Link; position: string };
  /** As the leader: have the server say again what came after this position. */
  rewind(position: string): void;
  /** Where this tab stands itself. */
  position(): string;
  /** The stream is over for good, for all. */
  over(reason: string): void;
}

export function canShare(): boolean {
  return typeof BroadcastChannel === "function" && !!globalThis.navigator?.locks;
}

export class Tabs {
  readonly #channel: BroadcastChannel;
  readonly #timer: ReturnType<typeof setInterval>;
  #kept: Batch[] = [];
  #misses = 0;
  #leading = false;
  #left = false;
  #queued = new AbortController();
  #release = (): void => {};

  constructor(
    private readonly name: string,
    private readonly member: Member,
  ) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    this.#timer = setInterval(() => this.#tick(), TICK * (0.9 + 0.2 * Math.random()));
    this.#queue();
    this.#say({ say: "where" });
  }

  /** As the leader: pass on what the server said. */
  pass(batch: Batch): void {
    this.#say({ say: "batch", batch });
    if (this.#kept.push(batch) > KEPT) this.#kept.shift();
  }

  /** As the leader: tell how the stream is. */
  tell(): void {
    if (this.#leading) this.#say({ say: "here", ...this.member.standing() });
  }

  /** As the leader: tell that the stream is over for good. */
  end(reason: string): void {
    this.#say({ say: "over", reason });
  }

  /** Go; another tab leads at once if this one did. */
  leave(): void {
    this.#left = true;
    this.#leading = false;
    clearInterval(this.#timer);
    this.#queued.abort();
    this.#release();
    this.#channel.close();
  }

  #say(word: Word): void {
    if (!this.#left) this.#channel.postMessage(word);
  }

  #queue(steal = false): void {
    this.#queued.abort();
    const { signal } = (this.#queued = new AbortController());
    const options: LockOptions = steal ? { steal } : { signal };
    navigator.locks
      .request(this.name, options, () => (signal.aborted ? undefined : this.#hold()))
      .catch(() => {
        if (!signal.aborted) this.#stolen();
      });
  }

  #hold(): Promise<void> {
    this.#leading = true;
    this.#misses = 0;
    this.#kept = [];
    this.member.lead();
    this.tell();
    return new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  #stolen(): void {
    this.#leading = false;
    this.member.follow();
    this.#queue();
    this.#say({ say: "where" });
  }

  #tick(): void {
    if (this.#leading) return;
    if (this.#misses >= MISSES) {
      this.#misses = 0;
      this.#queue(true);
    } else if (this.#misses++ > 0) this.#say({ say: "where" });
  }

  #hear(word: Word): void {
    if (word.say === "over") this.member.over(word.reason);
    else if (word.say === "batch") this.#take(word.batch);
    else if (word.say === "here") this.#compare(word.link, word.position);
    else if (!this.#leading) return;
    else if (word.say === "want") this.#serve(word.after);
    else this.tell();
  }

  #take(batch: Batch): void {
    this.#misses = 0;
    if (!this.member.take(batch)) this.#say({ say: "want", after: this.member.position() });
  }

  #compare(link: Link, position: string): void {
    this.#misses = 0;
    if (this.#leading) return;
    this.member.heard(link, position);
    const own = this.member.position();
    if (position && position !== own && !covers(own, position)) this.#say({ say: "want", after: own });
  }

  /** Say again what came after a position: from memory, or have the server do it. */
  #serve(after: string): void {
    const { position } = this.member.standing();
    if (after === position || covers(after, position)) return;
    const first = this.#kept.findIndex((batch) => batch.from === after);
    if (first >= 0) this.#kept.slice(first).forEach((batch) => this.#say({ say: "batch", batch }));
    else this.member.rewind(after);
  }
}
