// How long to wait before the next attempt.

const FIRST = 2_000;
const CAP = 30_000;
const LONGEST = 2 ** 31 - 1; // a timer set for longer ends at once

export class Backoff {
  /** What the server asked for with `retry:`, in milliseconds: no wait is shorter. */
  retry = FIRST;
  #failures = 0;

  /**
   * The next wait in milliseconds: spread evenly over a range that doubles with every failure, up to 30 s, and comes on
   * top of what the server asked for. `atLeast`: what this one answer asked for, with `Retry-After`.
   */
  next(atLeast = 0): number {
    const range = Math.min(CAP, Math.max(this.retry, 1) * 2 ** this.#failures++);
    return Math.min(LONGEST, Math.max(this.retry, atLeast) + Math.random() * range);
  }

  /** An attempt went well: the next failure is a first one. */
  reset(): void {
    this.#failures = 0;
  }
}

/** `Retry-After` in milliseconds (RFC 9110 section 10.2.3): seconds, or a date. 0 if there is none that can be read. */
export function retryAfter(headers: Headers): number {
  const value = headers.get("Retry-After") ?? "";
  const wait = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Math.max(0, wait) || 0;
}
