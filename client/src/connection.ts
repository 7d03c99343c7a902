// One stream at a time, made again whenever it breaks, until it is over for good.

import { Backoff, retryAfter } from "./backoff.js";
import { addressOf, open, refresh, type Endpoint } from "./endpoint.js";
import { Parser, readJson, type WireEvent } from "./parser.js";
import type { Scope, Union } from "./scope.js";
import { Watchdog } from "./watchdog.js";

/**
 * What the server said between two positions: all that this stream was to get after `from`, up to `to`. `scope`: if it
 * was to get what several tabs want.
 */
export interface Batch {
  from: string;
  to: string;
  events: WireEvent[];
  scope?: Scope | undefined;
}

export type Link = "connecting" | "open" | "waiting";

export interface Listener {
  linked(link: Link): void;
  received(batch: Batch): void;
}

const TEMPORARY = [408, 425, 429]; // of the statuses below 500

const REFRESH_PAUSE = 5_000;

const PROVEN = 1_000; // a stream that ended sooner was none, whatever the server asked for with `retry:`

interface Closing {
  reason: string;
  reconnect: boolean;
}

export class Connection {
  readonly #backoff = new Backoff();
  #attempt = new AbortController();
  #watchdog: Watchdog | undefined;
  #wake = (): void => {};
  #due = Infinity;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #renewed = 0;
  #refused = false;
  #ended = "";

  /** Goes on after `position`; empty: from now on. `keepalive`: the server's, in ms. `union`: for whom, if for several. */
  constructor(
    private readonly endpoint: Endpoint,
    private readonly listener: Listener,
    private readonly keepalive: number,
    public position: string,
    private readonly union?: Union,
  ) {}

  /** Connect, again and again. Resolves with the reason once it is over: the server's, or that of `stop`. */
  async run(): Promise<string> {
    while (!this.#ended) {
      const atLeast = await this.#try();
      if (!this.#ended && atLeast >= 0) await this.#wait(atLeast);
    }
    return this.#ended;
  }

  stop(reason: string): void {
    this.#ended ||= reason;
    this.#attempt.abort();
    this.#wake();
  }

  /** Give the present connection up and make one at once, after another position if there is one. */
  restart(position = this.position): void {
    this.position = position;
    this.#backoff.reset();
    this.#attempt.abort();
    this.#wake();
  }

  /** The page woke. `sure`: what was open is dead; else it is believed to live if its last keepalive came. */
  woken(sure: boolean): void {
    if (sure || !this.#watchdog || this.#watchdog.silence > 1.2 * this.keepalive) this.restart();
  }

  /** Look at the clock: another page, whose timers are on time, says that it is seen. `woke`: it saw that time jumped. */
  remind(woke: boolean): void {
    if (woke) this.woken(false);
    else if (Date.now() >= this.#due) this.#wake();
    else this.#watchdog?.check();
  }

  /** Make one attempt and stay with it to its end; return the milliseconds to wait at least, -1: do not wait. */
  async #try(): Promise<number> {
    const attempt = (this.#attempt = new AbortController());
    const watchdog = (this.#watchdog = new Watchdog(2.5 * this.keepalive, () => attempt.abort()));
    const aborted = new Promise<number>((resolve) => {
      attempt.signal.addEventListener("abort", () => resolve(-1));
    });
    this.listener.linked("connecting");
    try {
      return await Promise.race([this.#stream(attempt.signal, watchdog), aborted]);
    } catch {
      return 0; // the network, or the token's source, failed
    } finally {
      watchdog.stop();
      clearTimeout(this.#renewal);
      this.#renewal = undefined;
      attempt.abort();
      this.#watchdog = undefined;
    }
  }

  async #stream(signal: AbortSignal, watchdog: Watchdog): Promise<number> {
    const { endpoint, union } = this;
    const url = union ? endpoint.stream + (await union.query()) : addressOf(endpoint);
    if (!/^http/.test(url)) return this.#end("no http address");
    const response = await open(endpoint, url, this.position, signal);
    if (response.status !== 200) return this.#refusal(response);
    if (!/^text\/event-stream *(;|$)/i.test(response.headers.get("Content-Type") ?? "")) return this.#end("no event stream");
    this.#refused = false;
    signal.throwIfAborted();
    this.listener.linked("open");
    const opened = Date.now();
    try {
      return await this.#read(response.body!, signal, watchdog);
    } finally {
      if (Date.now() - opened > Math.max(PROVEN, this.#backoff.retry)) this.#backoff.reset();
    }
  }

  async #read(body: ReadableStream<Uint8Array>, signal: AbortSignal, watchdog: Watchdog): Promise<number> {
    const decoder = new TextDecoder();
    const parser = new Parser(this.position);
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 0;
      signal.throwIfAborted();
      watchdog.touch();
      this.#take(parser.feed(decoder.decode(value, { stream: true })), parser);
      if (this.#ended) return 0;
    }
  }

  #take(events: WireEvent[], parser: Parser): void {
    const [from, to] = [this.position, parser.lastEventId];
    this.position = to;
    this.#backoff.retry = parser.retry ?? this.#backoff.retry;
    if (events.length || from !== to) this.listener.received(this.#batch(from, to, events));
    for (const event of events) this.#obey(event);
  }

  #batch(from: string, to: string, events: WireEvent[]): Batch {
    const { union } = this;
    if (!union) return { from, to, events };
    const opened = events.find(({ type }) => type === "stream-opened");
    const { channels = [], now = from || to } = readJson<Scope>(opened?.data ?? "");
    if (opened || !union.scope) union.opened(channels, now); // a server that says nothing gives no channels
    return { from, to, events: events.filter((event) => event !== opened), scope: union.scope };
  }

  #obey({ type, data }: WireEvent): void {
    if (type === "stream-expiring") this.#renew();
    if (type !== "stream-closing") return;
    const { reason = "closed", reconnect = true } = readJson<Closing>(data);
    const renewable = reason === "expired" && this.endpoint.token; // the next attempt brings a fresh one
    if (!reconnect && !renewable) this.#end(reason);
  }

  /** Refresh, but not without pause: to a token that lives no longer the server says again at once that it expires. */
  #renew(): void {
    this.#renewal ??= setTimeout(
      () => {
        this.#renewal = undefined;
        this.#renewed = Date.now();
        refresh(this.endpoint).catch(() => {}); // then the stream expires, and reconnects with a fresh token
      },
      Math.max(0, this.#renewed + REFRESH_PAUSE - Date.now()),
    );
  }

  #refusal(response: Response): number {
    const { status, headers } = response;
    void response.body?.cancel();
    if (status === 401 && this.endpoint.token && !this.#refused) {
      this.#refused = true;
      return -1;
    }
    if (status >= 500 || TEMPORARY.includes(status)) return retryAfter(headers);
    return this.#end(status === 204 ? "disconnected" : `status ${status}`);
  }

  #end(reason: string): number {
    this.#ended ||= reason;
    return 0;
  }

  async #wait(atLeast: number): Promise<void> {
    this.listener.linked("waiting");
    if (this.#ended) return; // who was told closed it
    const wait = this.#backoff.next(atLeast);
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#due = Date.now() + wait;
      timer = setTimeout(resolve, wait);
    });
    clearTimeout(timer);
    this.#due = Infinity;
  }
}
