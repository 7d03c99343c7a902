// @vitest-environment happy-dom

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { connect, type EventStream } from "../src/client.js";
import { FakeServer, settle } from "./fake.js";

let server: FakeServer;
let stream: EventStream;
let visibility: DocumentVisibilityState;

beforeEach(async () => {
  vi.useFakeTimers();
  visibility = "visible";
  vi.spyOn(document, "visibilityState", "get").mockImplementation(() => visibility);
  sessionStorage.clear();
  server = new FakeServer();
  stream = connect({ url: "http://sse.test", sessionId: "s1" });
  await settle();
  await server.last.open("id: e-1\n\n");
});

afterEach(async () => {
  await stream.close();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function tell(target: EventTarget, type: string, more: object = {}): Promise<void> {
  target.dispatchEvent(Object.assign(new Event(type), more));
  await settle();
}

it("reconnects at once when the network is back", async () => {
  await tell(window, "online");
  expect([server.asked.length, server.asked[0]!.aborted]).toEqual([2, true]);
  await server.last.fail();
  await tell(window, "online"); // in the middle of a wait
  expect([server.asked.length, stream.state]).toEqual([3, "connecting"]);
});

it.each([
  ["freeze", "resume"],
  ["pagehide", "pageshow"],
])("holds nothing open from %s to %s", async (asleep, awake) => {
  const errors = vi.fn();
  stream.onerror = errors;
  await tell(asleep === "freeze" ? document : window, asleep);
  expect([stream.state, server.last.aborted, errors.mock.calls.length]).toEqual(["waiting", true, 0]);
  await vi.advanceTimersByTimeAsync(100_000);
  expect([server.asked.length, vi.getTimerCount()]).toEqual([1, 0]);
  await tell(awake === "resume" ? document : window, awake, { persisted: true });
  expect([server.asked.length, server.last.headers.get("Last-Event-ID")]).toEqual([2, "e-1"]);
});

it("leaves a stream alone that is seen again and lives", async () => {
  await tell(document, "visibilitychange");
  await tell(window, "pageshow", { persisted: false });
  expect(server.asked).toHaveLength(1);
});

it("reconnects a stream that is seen again and whose keepalive did not come", async () => {
  visibility = "hidden";
  await vi.advanceTimersByTimeAsync(19_000);
  await tell(document, "visibilitychange");
  expect(server.asked).toHaveLength(1);
  visibility = "visible";
  await tell(document, "visibilitychange");
  expect(server.asked).toHaveLength(2);
});

it("does not take the slow timers of a hidden page for sleep", async () => {
  visibility = "hidden";
  vi.setSystemTime(Date.now() + 30_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.asked).toHaveLength(1);
});

it("does nothing any more once it is closed", async () => {
  await stream.close();
  await tell(window, "online");
  await tell(document, "freeze");
  expect([server.asked.length, stream.state]).toEqual([1, "closed"]);
});

it("keeps its position over a reload", async () => {
  await stream.close();
  stream = connect({ url: "http://sse.test", sessionId: "s1" });
  expect(stream.position).toBe("e-1");
  const named = connect({ url: "http://sse.test", sessionId: "s1", name: "other" });
  expect(named.position).toBe("");
  await named.close();
});
