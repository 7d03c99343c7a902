// Silence on a stream, and sleep of the machine: neither is told by the network.

const TICK = 1_000;
const SLEPT = 5_000;

/** Whether time jumped since then, in a page that is seen: of others the browser delays the timers. */
export function hasSlept(ticked: number): boolean {
  return Date.now() - ticked > SLEPT && globalThis.document?.visibilityState !== "hidden";
}

export class Watchdog {
  #heard = Date.now();
  #ticked = Date.now();
  readonly #timer: ReturnType<typeof setInterval>;

  /** Calls `bark` after `limit` ms of silence, or within a second of waking if time jumped in a page that is seen. */
  constructor(
    readonly limit: number,
    private readonly bark: () => void,
  ) {
    this.#timer = setInterval(() => this.check(), TICK);
  }

  /** Something came. */
  touch(): void {
    this.#heard = Date.now();
  }

  /** How long nothing came, in milliseconds. */
  get silence(): number {
    return Date.now() - this.#heard;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Look at the clock; it may have been set back, too. */
  check(): void {
    if (this.silence < 0) this.touch();
    const slept = hasSlept(this.#ticked);
    this.#ticked = Date.now();
    if (slept || this.silence > this.limit) this.bark();
  }
}
