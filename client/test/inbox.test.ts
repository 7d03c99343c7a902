import { beforeEach, expect, it, vi } from "vitest";

import { Inbox, type Gap } from "../src/inbox.js";
import type { Batch } from "../src/connection.js";
import type { WireEvent } from "../src/parser.js";
import { compare } from "../src/position.js";

let got: string[];
let reached: string[];

beforeEach(() => {
  got = [];
  reached = [];
});

function inbox(position = "", refetch?: (gap: Gap) => unknown): Inbox {
  return new Inbox(position, {
    deliver: ({ type, data, lastEventId }) => got.push(type === "message" ? lastEventId : `${type} ${data}`),
    refetch,
    reached: (at) => reached.push(at),
  });
}

const event = (lastEventId: string): WireEvent => ({ type: "message", data: "x", lastEventId, own: true, channels: [] });
const gap = (from: string, to: string, lastEventId = from): WireEvent => ({
  ...event(lastEventId),
  type: "stream-gap",
  data: JSON.stringify({ from, to, reason: "evicted" }),
});
const batch = (from: string, to: string, ...ids: (string | WireEvent)[]): Batch => ({
  from,
  to,
  events: ids.map((id) => (typeof id === "string" ? event(id) : id)),
});

it("compares within an epoch only", () => {
  expect(compare("e-9", "e-10")).toBeLessThan(0);
  expect(compare("e-9", "e-9")).toBe(0);
  expect(compare("a-b-9", "a-b-7")).toBeGreaterThan(0);
  expect([compare("e-9", "f-9"), compare("x", "x"), compare("", "e-1")]).toEqual([undefined, undefined, undefined]);
});

it("takes what joins", () => {
  const box = inbox("e-1");
  expect(box.take(batch("e-1", "e-5", "e-3", "e-4"))).toBe(true);
  expect(box.take(batch("e-5", "e-6", "e-6"))).toBe(true);
  expect(got).toEqual(["e-3", "e-4", "e-6"]);
  expect(reached).toEqual(["e-5", "e-6"]);
});

it("takes anything when it knows nothing", () => {
  expect(inbox().take(batch("e-1", "e-2", "e-2"))).toBe(true);
  expect(got).toEqual(["e-2"]);
});

it("takes the new part of what overlaps", () => {
  const box = inbox("e-5");
  expect(box.take(batch("e-2", "e-7", "e-3", "e-5", "e-6"))).toBe(true);
  expect(got).toEqual(["e-6"]);
  expect(box.take(batch("e-2", "e-6", "e-6"))).toBe(true);
  expect(box.position).toBe("e-7");
});

it.each([
  ["e-5", "e-6", "e-7"],
  ["e-5", "", "e-7"],
  ["d-5", "e-6", "e-7"],
  ["odd", "e-6", "e-7"],
])("at %s takes nothing that follows %s", (position, from, to) => {
  const box = inbox(position);
  expect(box.take(batch(from, to, to))).toBe(false);
  expect([got, box.position]).toEqual([[], position]);
});

it("skips what another tab of an older epoch had said again", () => {
  const box = inbox("e-7");
  expect(box.take(batch("d-5", "e-6", gap("d-5", "e-0", "e-0"), "e-6"))).toBe(true);
  expect(got).toEqual([]);
});

it("follows the server into a new epoch", () => {
  const box = inbox("d-5");
  expect(box.take(batch("d-5", "e-6", gap("d-5", "e-0", "e-0"), "e-6"))).toBe(true);
  expect(got).toEqual(['stream-gap {"from":"d-5","to":"e-0","reason":"evicted"}', "e-6"]);
  expect(box.position).toBe("e-6");
});

it("tells a gap once, however often the server says it, and only to whom it concerns", () => {
  const box = inbox("e-5");
  box.take(batch("e-5", "e-5", gap("e-5", "e-9")));
  box.take(batch("e-5", "e-5", gap("e-5", "e-9")));
  expect(got).toHaveLength(1);
  box.take(batch("e-5", "e-12", "e-12"));
  box.take(batch("e-3", "e-3", gap("e-3", "e-10")));
  expect(got).toHaveLength(2);
  box.take(batch("e-3", "e-3", gap("e-3", "e-20")));
  expect(got).toHaveLength(3);
});

it("tells a notice, which has no position, once if it is said again with what it came with", () => {
  const notice: WireEvent = { ...event("e-6"), type: "stream-expiring", data: "{}", own: false };
  const box = inbox("e-5");
  for (let turn = 0; turn < 2; turn++) box.take(batch("e-5", "e-6", "e-6", notice));
  box.take(batch("e-6", "e-6", { ...notice, data: "2" }));
  expect(got).toEqual(["e-6", "stream-expiring {}", "stream-expiring 2"]);
});

it("keeps events of other servers, whose ids are no positions", () => {
  const box = inbox();
  box.take(batch("", "1", "1"));
  box.take(batch("1", "1", "1"));
  expect(got).toEqual(["1", "1"]);
});

it("holds back what follows a gap until the state was fetched anew", async () => {
  let done = (): void => {};
  const refetch = vi.fn(() => new Promise<void>((resolve) => (done = resolve)));
  const box = inbox("e-5", refetch);
  box.take(batch("e-5", "e-12", gap("e-5", "e-9"), "e-12"));
  box.take(batch("e-12", "e-13", "e-13"));
  await Promise.resolve();
  expect(refetch).toHaveBeenCalledWith({ from: "e-5", to: "e-9", reason: "evicted" });
  expect([got.length, reached, box.position]).toEqual([1, [], "e-13"]);
  done();
  await vi.waitFor(() => expect(reached).toEqual(["e-12", "e-13"]));
  expect(got.slice(1)).toEqual(["e-12", "e-13"]);
});

it("delivers nothing once it is closed, a refetch under way or not", async () => {
  const box = inbox("e-5", () => Promise.resolve());
  box.take(batch("e-5", "e-12", gap("e-5", "e-9"), "e-12"));
  box.close();
  await new Promise((resolve) => setTimeout(resolve));
  box.take(batch("e-12", "e-13", "e-13"));
  expect(got).toHaveLength(1);
});
