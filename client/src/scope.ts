// Tabs with channels of their own on one connection: what it listens to, and what of it is whose.

import type { Batch } from "./connection.js";
import { queryOf } from "./endpoint.js";
import { covers } from "./position.js";

/** What a shared connection listens to, beside the user and the session. */
export interface Scope {
  /** What it asked for. */
  asked: string[];
  /** What it was given: all that its token allows. */
  channels: string[];
  /** What it did not listen to before: of these channels it has what came after `now`, and nothing before. */
  fresh: string[];
  now: string;
}

/** `in`: such a connection serves a tab; `out`: it never will; `new`: it has to be asked. */
export function place(scope: Scope, own: readonly string[]): "in" | "out" | "new" {
  const within = (channels: string[]): boolean => own.every((channel) => channels.includes(channel));
  return within(scope.channels) ? "in" : within(scope.asked) ? "out" : "new";
}

/** From where on a connection that stands at `position` has all of its channels. */
export function complete(scope: Scope, position: string): string {
  return covers(position, scope.now) ? position : scope.now;
}

/** What of a batch is a tab's. */
export function part({ from, to, events }: Batch, scope: Scope, own: readonly string[]): Batch {
  const late = !from || own.some((channel) => scope.fresh.includes(channel));
  const isOurs = (channels: string[]): boolean => !channels.length || channels.some((channel) => own.includes(channel));
  return { from: late ? complete(scope, from) : from, to, events: events.filter(({ channels }) => isOurs(channels)) };
}

/** The channels of all tabs that live, and what came of asking for them. */
export class Union {
  /** Undefined until the server said what there is. */
  scope: Scope | undefined;
  #asked: string[] = [];
  #fresh: string[] = [];

  /** `known`: what was listened to up to now; the position where we begin holds for it. */
  constructor(
    private readonly living: () => Promise<string[]>,
    private known: readonly string[],
  ) {}

  /** The query of the next attempt. */
  async query(): Promise<string> {
    this.scope = undefined;
    this.#asked = await this.living();
    this.#fresh = this.#asked.filter((channel) => !this.known.includes(channel));
    return `?labels=true&${queryOf({ channel: this.#asked, fresh: this.#fresh })}`;
  }

  /** The server said what it gives. */
  opened(channels: string[], now: string): void {
    this.known = channels;
    this.scope = { asked: this.#asked, channels, fresh: this.#fresh, now };
  }
}
