// @vitest-environment happy-dom

import { act, createElement, StrictMode, useEffect } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { ConnectOptions } from "../src/client.js";
import { useEventStream, type UseEventStream } from "../src/react.js";
import { FakeServer } from "./fake.js";

let server: FakeServer;
let root: Root;
let seen: UseEventStream;

function Page({ options }: { options: ConnectOptions | null }): null {
  const result = useEventStream(options);
  useEffect(() => void (seen = result));
  return null;
}

async function render(options: ConnectOptions | null): Promise<void> {
  await act(async () => root.render(createElement(StrictMode, null, createElement(Page, { options }))));
}

const options = { url: "http://sse.test", sessionId: "s1" };
const open = (): string[] => server.asked.filter((asked) => !asked.aborted).map(({ url }) => url);

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  sessionStorage.clear();
  server = new FakeServer();
  root = createRoot(document.createElement("div"));
});

afterEach(async () => {
  await act(async () => root.unmount());
  expect([open(), vi.getTimerCount()]).toEqual([[], 0]);
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("shows state and events", async () => {
  await render(options);
  expect(seen).toMatchObject({ state: "connecting", role: "alone", reason: "" });
  await act(async () => void (await server.last.open("data: a\n\n")));
  expect([seen.state, seen.lastEvent?.data, seen.stream?.state]).toEqual(["open", "a", "open"]);
});

it("has one stream, also in strict mode, and keeps it while only functions change", async () => {
  const [first, second] = [vi.fn(), vi.fn()];
  await render({ ...options, channels: ["a"], onEvent: first, token: () => "t1" });
  await act(async () => void (await server.last.open("data: a\n\n")));
  await render({ ...options, channels: ["a"], onEvent: second, token: () => "t2" });
  await act(async () => void (await server.last.send("data: b\n\n")));
  expect(open()).toHaveLength(1);
  expect([first.mock.calls.length, second.mock.calls.length]).toEqual([1, 1]);
  await act(async () => {
    await server.last.end();
    await vi.advanceTimersByTimeAsync(10_000);
  });
  expect(server.last.headers.get("Authorization")).toBe("Bearer t2");
});

it("opens another for other channels, and none for null", async () => {
  await render({ ...options, channels: ["a"] });
  await render({ ...options, channels: ["b"] });
  expect(open()).toEqual(["http://sse.test/sse/connect/s1?channel=b"]);
  await render(null);
  expect([open(), seen.stream]).toEqual([[], undefined]);
});

it("opens nothing on a server", () => {
  renderToString(createElement(Page, { options }));
  expect(server.asked).toEqual([]);
});
