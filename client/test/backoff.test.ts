import { afterEach, expect, it, vi } from "vitest";

import { Backoff, retryAfter } from "../src/backoff.js";

afterEach(() => void vi.restoreAllMocks());

function waits(random: number, retry: number, count: number): number[] {
  vi.spyOn(Math, "random").mockReturnValue(random);
  const backoff = new Backoff();
  backoff.retry = retry;
  return Array.from({ length: count }, () => backoff.next());
}

it("never waits less than the server asked for, and spreads over a range that doubles up to a cap", () => {
  expect(waits(0, 1_000, 3)).toEqual([1_000, 1_000, 1_000]);
  expect(waits(1, 1_000, 7)).toEqual([2_000, 3_000, 5_000, 9_000, 17_000, 31_000, 31_000]);
  expect(waits(0.5, 1_000, 2)).toEqual([1_500, 2_000]);
});

it("begins anew after a success", () => {
  vi.spyOn(Math, "random").mockReturnValue(1);
  const backoff = new Backoff();
  backoff.next();
  backoff.next();
  backoff.reset();
  expect(backoff.next()).toBe(4_000);
});

it("heeds what one answer asked for, spread as well", () => {
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  expect(new Backoff().next(60_000)).toBe(61_000);
});

it("backs off from a server that asks for no wait", () => {
  expect(waits(1, 0, 4)).toEqual([1, 2, 4, 8]);
});

it("never asks for more than a timer can be set for: that would end at once", () => {
  vi.spyOn(Math, "random").mockReturnValue(1);
  const backoff = new Backoff();
  for (const asked of [2 ** 31, 1e300, Infinity]) expect(backoff.next(asked)).toBe(2 ** 31 - 1);
  backoff.retry = Infinity;
  expect(backoff.next()).toBe(2 ** 31 - 1);
});

it("reads Retry-After", () => {
  vi.useFakeTimers({ now: Date.UTC(2030, 0, 1) });
  const read = (value?: string) => retryAfter(new Headers(value === undefined ? {} : { "Retry-After": value }));
  expect(read()).toBe(0);
  expect(read("5")).toBe(5_000);
  expect(read("Tue, 01 Jan 2030 00:00:09 GMT")).toBe(9_000);
  expect(read("Tue, 01 Jan 2019 00:00:09 GMT")).toBe(0);
  expect(read("soon")).toBe(0);
  vi.useRealTimers();
});
