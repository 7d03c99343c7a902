// Tabs that share one stream. Whoever holds the lock leads; the others hear from it what the server said.
//
// What a batch says, "this is all between these two positions", is true whoever says it. So it does not matter if a tab
// that was stalled goes on leading for a moment after another took over: nobody takes anything twice, or past a hole.

import type { Batch, Link } from "./connection.js";
import { covers } from "./position.js";
import { place, type Scope } from "./scope.js";
import { hasSlept } from "./watchdog.js";

/**
 * What a room's name begins with. Tabs of a build that says other things than these must not meet: then the number
 * changes, and until its last tab is closed an older build has a connection of its own.
 */
export const ROOM = "sse1:";

const TICK = 400; // three of them unanswered, and the leader is taken to be gone
const MISSES = 3;
const KEPT = 500; // batches that a leader remembers
const GATHER = 50; // for so long others may come who want other channels, too

/** What tabs say to each other. */
type Word =
  | { say: "where"; woke: boolean } // is a leader there, and where does it stand? `woke`: time jumped
  | ({ say: "here" } & Standing)
  | { say: "batch"; batch: Batch }
  | { say: "want"; after: string } // a tab misses what came after this
  | { say: "need" } // a tab wants channels that the leader did not ask for
  | { say: "over"; reason: string };

/** How the leader's stream is. `scope`: what it listens to; undefined: not known yet. */
export interface Standing {
  link: Link;
  position: string;
  scope: Scope | undefined;
}

export interface Member {
  /** Lead from now on: hold the stream. `known`: what the leader before listened to. */
  lead(known: readonly string[]): void;
  /** Another leads from now on. */
  follow(): void;
  /** The leader's stream is so. */
  heard(standing: Standing): void;
  /** The leader can't have our channels: go, and hold a stream of our own. */
  part(): void;
  /** False if something before it is missing. */
  take(batch: Batch): boolean;
  /** As the leader: where the stream stands. */
  standing(): Standing;
  /** As the leader: a tab asked, whose clock may be better than ours. `woke`: there time jumped, or it is seen again. */
  remind(woke: boolean): void;
  /** As the leader: connect anew, and have the server say again what came after this position; undefined: nothing. */
  rewind(position?: string): void;
  /** Where this tab stands itself. */
  position(): string;
  /** The stream is over for good, for all. */
  over(reason: string): void;
}

export function canShare(): boolean {
  return typeof BroadcastChannel === "function" && !!globalThis.navigator?.locks;
}

/** The channels of all tabs that live. Each holds a lock that names its own, and the browser lets go of it for it. */
export async function living(name: string, own: readonly string[]): Promise<string[]> {
  const { held = [] } = await navigator.locks.query();
  const others = held.map((lock) => lock.name ?? "").filter((lock) => lock.startsWith(`${name}\n`));
  return [...new Set([...own, ...others.flatMap((lock) => JSON.parse(lock.slice(name.length)) as string[])])];
}

export class Tabs {
  readonly #channel: BroadcastChannel;
  readonly #timer: ReturnType<typeof setInterval>;
  #kept: Batch[] = [];
  #misses = 0;
  #ticked = Date.now();
  #leading = false;
  #left = false;
  #queued = new AbortController();
  #release = (): void => {};
  #leave = (): void => {};
  #known: readonly string[] = [];
  #gathering: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly name: string,
    private readonly channels: readonly string[],
    private readonly member: Member,
  ) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    this.#timer = setInterval(() => this.#tick(), TICK * (0.9 + 0.2 * Math.random()));
    navigator.locks
      .request(`${name}\n${JSON.stringify(channels)}`, { mode: "shared" }, () => this.#live())
      .catch(() => this.#left || member.part()); // no locks for this page
  }

  /** As the leader: pass on what the server said. */
  pass(batch: Batch): void {
    this.#say({ say: "batch", batch });
    const { from, to, events, scope } = batch;
    const isPartial = scope?.fresh.length && !covers(from, scope.now);
    if (scope?.fresh.length && scope !== this.#kept.at(-1)?.scope) this.#kept = []; // it had fewer channels
    const isAside = from === to && !events.some(({ own }) => own); // a notice, which is not said again
    if (isPartial || isAside) return;
    if (this.#kept.push(batch) > KEPT) this.#kept.shift();
  }

  /** As the leader: tell how the stream is. */
  tell(): void {
    if (this.#leading) this.#say({ say: "here", ...this.member.standing() });
  }

  /** Ask the leader how it is. `woke`: it may not know yet that time jumped. */
  ask(woke = false): void {
    this.#say({ say: "where", woke });
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
    clearTimeout(this.#gathering);
    this.#queued.abort();
    this.#release();
    this.#leave();
    this.#channel.close();
  }

  #say(word: Word): void {
    if (!this.#left) this.#channel.postMessage(word);
  }

  /** Be one of the living until we leave. */
  #live(): Promise<void> | undefined {
    if (this.#left) return undefined;
    this.#queue();
    this.ask();
    return new Promise((resolve) => {
      this.#leave = resolve;
    });
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
    this.member.lead(this.#known);
    this.tell();
    return new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  #stolen(): void {
    this.#leading = false;
    this.member.follow();
    this.#queue();
    this.ask();
  }

  #tick(): void {
    const slept = hasSlept(this.#ticked);
    this.#ticked = Date.now();
    if (this.#leading) return;
    if (this.#misses >= MISSES) {
      this.#misses = 0;
      this.#queue(true);
    } else if (this.#misses++ > 0 || slept) this.ask(slept);
  }

  #hear(word: Word): void {
    if (word.say === "over") this.member.over(word.reason);
    else if (word.say === "batch") this.#take(word.batch);
    else if (word.say === "here") this.#compare(word);
    else if (!this.#leading) return;
    else if (word.say === "want") this.#serve(word.after);
    else if (word.say === "need") this.#widen();
    else if (word.say === "where") {
      this.member.remind(word.woke);
      this.tell();
    }
  }

  /** Whether the leader's stream serves us. If it never will, go; if it could, say so. */
  #isIn(scope: Scope): boolean {
    const found = place(scope, this.channels);
    if (this.#leading) return found === "in"; // who led before us may not know it yet
    this.#known = scope.channels;
    if (found === "new") this.#say({ say: "need" });
    if (found === "out") this.member.part();
    return found === "in";
  }

  #take(batch: Batch): void {
    this.#misses = 0;
    if (batch.scope && !this.#isIn(batch.scope)) return;
    if (!this.member.take(batch)) this.#say({ say: "want", after: this.member.position() });
  }

  #compare(standing: Standing): void {
    this.#misses = 0;
    if (this.#leading) return;
    const { link, position, scope } = standing;
    const isServed = scope && this.#isIn(scope);
    if (this.#left) return;
    this.member.heard(isServed ? standing : { link: link === "open" ? "connecting" : link, position: "", scope });
    if (!isServed) return;
    const own = this.member.position();
    if (position && position !== own && !covers(own, position)) this.#say({ say: "want", after: own });
  }

  /** Connect anew, with the channels of those who live now; once for all who come together. */
  #widen(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      const { link, scope } = this.member.standing();
      if (this.#leading && link === "open" && scope) this.member.rewind(); // else the next attempt will know
    }, GATHER);
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
