// Silence on a stream, and sleep of the machine: neither is told by the network.

const TICK = 1_000;
const SLEPT = 5_000;

/** Whether nobody sees this page: then the browser delays its timers. */
export function isHidden(): boolean {
  return globalThis.document?.visibilityState === "hidden";
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
    this.#timer = setInterval(() => this.#tick(), TICK);
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

  #tick(): void {
    const slept = Date.now() - this.#ticked > SLEPT && !isHidden();
    this.#ticked = Date.now();
    if (slept || this.silence > this.limit) this.bark();
  }
}
