// What a page holds: an EventTarget like EventSource, fed by its own connection or by the tab that leads.

import { Connection, type Batch, type Link } from "./connection.js";
import { addressOf, disconnect, type Endpoint } from "./endpoint.js";
import { Inbox, report, type Gap } from "./inbox.js";
import type { WireEvent } from "./parser.js";
import { PositionStore } from "./position.js";
import { complete, part, place, Union } from "./scope.js";
import { canShare, living, ROOM, Tabs, type Standing } from "./tabs.js";
import { watchSleep } from "./wake.js";

/** `waiting`: for the next attempt. `closed` is for good. */
export type State = Link | "closed";

/** `alone`: with a connection of its own. `leader`: with the one for all tabs; `follower`: fed by the leader. */
export type Role = "alone" | "leader" | "follower";

export interface StreamOptions {
  /** Called for each event, the server's own (`stream-...`) included. */
  onEvent?: ((event: MessageEvent<string>) => void) | undefined;
  /** Called when events are missing for good. What follows is delivered once the promise returned is settled. */
  refetch?: ((gap: Gap) => unknown) | undefined;
  /** Hold one connection for all tabs of the origin that say so. All must be of the same user. Default: false. */
  share?: boolean | undefined;
  /** Under which the position is kept, and tabs find each other. Default: the address. */
  name?: string | undefined;
  /** The server's interval of keepalives in milliseconds; 2.5 of silence mean reconnect. Default: 15000. */
  keepalive?: number | undefined;
}

type Own = "open" | "error" | "statechange";
type Handler<E extends Event> = ((this: EventStream, event: E) => unknown) | null;
type Told<E extends Event> = NonNullable<Handler<E>> | EventListenerObject | null;

/** What listeners get: our own events carry nothing, all others are messages. */
export interface EventStream {
  addEventListener(type: Own, listener: Told<Event>, options?: AddEventListenerOptions | boolean): void;
  addEventListener(type: string, listener: Told<MessageEvent<string>>, options?: AddEventListenerOptions | boolean): void;
  removeEventListener(type: Own, listener: Told<Event>, options?: EventListenerOptions | boolean): void;
  removeEventListener(type: string, listener: Told<MessageEvent<string>>, options?: EventListenerOptions | boolean): void;
}

export class EventStream extends EventTarget implements AsyncIterable<MessageEvent<string>> {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 2;
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSED = 2;

  onopen: Handler<Event> = null;
  onmessage: Handler<MessageEvent<string>> = null;
  onerror: Handler<Event> = null;
  onstatechange: Handler<Event> = null;

  /** Why it is closed: `closed` by the caller, the server's reason, or the answer's status. Empty while it is not. */
  reason = "";
  #state: State = "connecting";
  #role: Role = "alone";
  readonly #room: string;
  readonly #store: PositionStore;
  readonly #inbox: Inbox;
  readonly #unwatch: () => void;
  readonly #ears = new Set<(event?: MessageEvent<string>) => void>();
  #connection: Connection | undefined;
  #union: Union | undefined;
  #tabs: Tabs | undefined;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly options: StreamOptions = {},
  ) {
    super();
    const { name = endpoint.stream } = options;
    this.#room = ROOM + name;
    this.#store = new PositionStore(endpoint.session && `sse:${addressOf({ ...endpoint, stream: name })}`);
    this.#inbox = new Inbox(this.#store.load(), {
      deliver: (event) => this.#deliver(event),
      refetch: options.refetch,
      reached: (position) => this.#store.save(position),
    });
    for (const type of ["open", "message", "error", "statechange"] as const)
      this.addEventListener(type, (event) => this[`on${type}`]?.(event as MessageEvent<string>));
    this.#unwatch = watchSleep({ wake: (sure) => this.#wake(sure), sleep: () => this.#pause() });
    this.#begin();
  }

  get url(): string {
    return addressOf(this.endpoint);
  }

  get withCredentials(): boolean {
    return this.endpoint.credentials === "include";
  }

  get state(): State {
    return this.#state;
  }

  get role(): Role {
    return this.#role;
  }

  /** As EventSource has it. */
  get readyState(): 0 | 1 | 2 {
    return this.#state === "open" ? 1 : this.#state === "closed" ? 2 : 0;
  }

  /** All up to here was received; empty: nothing yet. */
  get position(): string {
    return this.#inbox.position;
  }

  /**
   * Stop for good. With `disconnect` the session ends on the server too, for all its streams; the promise rejects if
   * the server can't be asked, or refuses.
   */
  async close({ disconnect: ended = false } = {}): Promise<void> {
    this.#finish("closed", false);
    if (ended) await disconnect(this.endpoint);
  }

  /** Each event, until the stream is closed. What comes while nobody asks is kept, without bound. */
  async *[Symbol.asyncIterator](): AsyncGenerator<MessageEvent<string>, void, undefined> {
    const waiting: MessageEvent<string>[] = [];
    let wake = (): void => {};
    const hear = (event?: MessageEvent<string>): void => {
      if (event) waiting.push(event);
      wake();
    };
    this.#ears.add(hear);
    try {
      while (waiting.length || this.#state !== "closed") {
        if (waiting.length) yield waiting.shift()!;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#ears.delete(hear);
    }
  }

  #begin(): void {
    if (!this.options.share || !canShare()) return this.#lead();
    this.#show(this.#state, "follower");
    this.#tabs = new Tabs(this.#room, this.endpoint.channels, {
      lead: (known) => this.#lead(known),
      follow: () => this.#follow(),
      heard: (standing) => this.#heard(standing),
      part: () => this.#part(),
      take: (batch) => this.#take(batch),
      standing: () => this.#standing(),
      remind: (woke) => this.#connection?.remind(woke),
      rewind: (position) => this.#connection?.restart(position),
      position: () => this.#inbox.position,
      over: (reason) => this.#finish(reason, true),
    });
  }

  /** Hold a connection: for all tabs, if we are among them. `known`: what the one before it listened to. */
  #lead(known: readonly string[] = []): void {
    const { channels } = this.endpoint;
    const { position } = this.#inbox;
    const all = position ? [...known, ...channels] : known;
    this.#union = this.#tabs && new Union(() => living(this.#room, channels), all);
    const connection = new Connection(
      this.endpoint,
      { linked: (link) => this.#linked(link), received: (batch) => this.#received(batch) },
      this.options.keepalive ?? 15_000,
      position,
      this.#union,
    );
    this.#connection = connection;
    this.#show(this.#state, this.#tabs ? "leader" : "alone");
    void connection.run().then((reason) => {
      if (this.#connection === connection) this.#end(reason);
    });
  }

  #received(batch: Batch): void {
    if (batch.scope && place(batch.scope, this.endpoint.channels) === "out") return this.#part();
    this.#tabs?.pass(batch);
    if (!this.#take(batch)) this.#connection?.restart(this.#inbox.position); // another's past went by ours
  }

  /** Take what is ours. A tab that comes for the first time begins now. */
  #take(batch: Batch): boolean {
    const { scope } = batch;
    if (!scope) return this.#inbox.take(batch);
    this.#startAt(complete(scope, batch.from));
    if (!this.#connection) this.#show("open", "follower");
    return this.#inbox.take(part(batch, scope, this.endpoint.channels));
  }

  #startAt(position: string): void {
    if (!this.#inbox.position) this.#inbox.take({ from: "", to: position, events: [] });
  }

  #standing(): Standing {
    return { link: this.#state as Link, position: this.#connection?.position ?? "", scope: this.#union?.scope };
  }

  #linked(link: Link): void {
    this.#show(link, this.#role);
    this.#tabs?.tell();
  }

  #heard({ link, position, scope }: Standing): void {
    if (position && scope) this.#startAt(complete(scope, position));
    this.#show(link, "follower");
  }

  /** Go on alone: what our channels are is between our own token and the server. */
  #part(): void {
    this.#tabs?.leave();
    this.#tabs = undefined;
    this.#follow();
    this.#lead();
  }

  /** Give the connection up, without an end. */
  #follow(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.stop("given up");
    if (this.#tabs) this.#show(this.#state, "follower");
  }

  #pause(): void {
    if (this.#state === "closed") return;
    this.#tabs?.leave();
    this.#tabs = undefined;
    this.#follow();
    this.#show("waiting", this.#role, false);
  }

  #wake(sure: boolean): void {
    if (this.#state === "closed") return;
    if (!this.#connection && !this.#tabs) this.#begin();
    else if (this.#connection) this.#connection.woken(sure);
    else this.#tabs?.ask(true);
  }

  /** The server ended it: for all tabs. */
  #end(reason: string): void {
    this.#tabs?.end(reason);
    this.#finish(reason, true);
  }

  #finish(reason: string, failed: boolean): void {
    if (this.#state === "closed") return;
    this.reason = reason;
    this.#unwatch();
    this.#inbox.close();
    this.#tabs?.leave();
    this.#tabs = undefined;
    this.#follow();
    this.#show("closed", this.#role, failed);
    for (const hear of this.#ears) hear();
  }

  #show(state: State, role: Role, failed = state === "waiting"): void {
    const [before, roleBefore] = [this.#state, this.#role];
    [this.#state, this.#role] = [state, role];
    if (state !== before && state === "open") this.dispatchEvent(new Event("open"));
    if (state !== before && failed) this.dispatchEvent(new Event("error"));
    if (state !== before || role !== roleBefore) this.dispatchEvent(new Event("statechange"));
  }

  #deliver({ type, data, lastEventId }: WireEvent): void {
    const { origin } = new URL(this.url);
    const event = new MessageEvent<string>(type, { data, lastEventId, origin });
    this.dispatchEvent(event);
    try {
      this.options.onEvent?.(event);
    } catch (error) {
      report(error);
    }
    for (const hear of this.#ears) hear(event);
  }
}
