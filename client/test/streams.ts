// Streams of a test, on a server that is told what to say and with time that passes when it is told to.

import { afterEach, beforeEach, expect, vi } from "vitest";

import { connect, type ConnectOptions, type EventStream } from "../src/client.js";
import { FakeServer, settle } from "./fake.js";

export let server: FakeServer;
export let streams: EventStream[];

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(0);
  server = new FakeServer();
  streams = [];
});

afterEach(async () => {
  for (const stream of streams) await stream.close();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

export async function start(options: Partial<ConnectOptions> = {}): Promise<EventStream> {
  const stream = connect({ url: "http://sse.test", sessionId: "s1", ...options });
  streams.push(stream);
  await settle();
  return stream;
}

export const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
