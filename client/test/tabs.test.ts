// Tabs that share a stream, each with a fake of the browser's locks and channel.

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { connect, type EventStream } from "../src/client.js";
import { FakeServer, settle } from "./fake.js";

type Granted = () => Promise<void> | undefined;

interface Lock {
  holder?: { reject: (error: Error) => void } | undefined;
  queue: (() => void)[];
}

/** Web Locks, as far as tabs use them: a queue for each name, and theft. */
class Locks {
  #locks = new Map<string, Lock>();

  request(name: string, { signal, steal }: LockOptions, granted: Granted): Promise<void> {
    const lock = this.#locks.get(name) ?? { queue: [] };
    this.#locks.set(name, lock);
    return new Promise((resolve, reject) => {
      const take = (): void => {
        const holder = (lock.holder = { reject });
        void Promise.resolve().then(granted).then(() => {
          resolve();
          if (lock.holder !== holder) return;
          lock.holder = undefined;
          lock.queue.shift()?.();
        });
      };
      signal?.addEventListener("abort", () => {
        lock.queue = lock.queue.filter((each) => each !== take);
        reject(signal.reason as Error);
      });
      if (steal) lock.holder?.reject(new DOMException("stolen", "AbortError"));
      if (!lock.holder || steal) take();
      else lock.queue.push(take);
    });
  }
}

/** BroadcastChannel, with members that can be made deaf and mute: as a page that is frozen. */
class Channel {
  static members: Channel[] = [];
  onmessage: ((event: { data: unknown }) => void) | null = null;
  frozen = false;

  constructor(readonly name: string) {
    Channel.members.push(this);
  }

  postMessage(data: unknown): void {
    if (this.frozen) return;
    for (const each of Channel.members)
      if (each !== this && each.name === this.name)
        queueMicrotask(() => !each.frozen && each.onmessage?.({ data: structuredClone(data) }));
  }

  close(): void {
    Channel.members = Channel.members.filter((each) => each !== this);
  }
}

let server: FakeServer;
let tabs: { stream: EventStream; got: string[]; channel: Channel }[];

beforeEach(() => {
  vi.useFakeTimers();
  Channel.members = [];
  vi.stubGlobal("BroadcastChannel", Channel);
  vi.stubGlobal("navigator", { locks: new Locks() });
  server = new FakeServer();
  tabs = [];
});

afterEach(async () => {
  for (const { stream } of tabs) await stream.close();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function open(count: number, channels: string[] = []): Promise<typeof tabs> {
  for (let number = 0; number < count; number++) {
    const got: string[] = [];
    const stream = connect({
      url: "http://sse.test",
      sessionId: "s1",
      channels,
      share: true,
      onEvent: ({ type, lastEventId }) => got.push(type === "message" ? lastEventId : type),
    });
    tabs.push({ stream, got, channel: Channel.members.at(-1)! });
    await settle();
  }
  return tabs;
}

const event = (id: string): string => `id: ${id}\ndata: x\n\n`;
const roles = (): string[] => tabs.map(({ stream }) => stream.role);
const got = (): string[][] => tabs.map((tab) => tab.got);

it("have one connection, and see the same", async () => {
  await open(3);
  expect([roles(), server.asked.length]).toEqual([["leader", "follower", "follower"], 1]);
  await server.last.open("id: e-1\n\n" + event("e-2"));
  expect(got()).toEqual(Array(3).fill(["e-2"]));
  expect(tabs.map(({ stream }) => [stream.state, stream.position])).toEqual(Array(3).fill(["open", "e-2"]));
});

it("have a connection for each set of channels", async () => {
  await open(2, ["a"]);
  await open(2, ["b"]);
  expect(server.asked.map(({ url }) => url.at(-1))).toEqual(["a", "b"]);
});

it("go on where the leader left off when it closes", async () => {
  const [leader] = await open(3);
  await server.last.open(event("e-2"));
  await leader!.stream.close();
  await settle();
  expect([roles().slice(1), server.asked.length]).toEqual([["leader", "follower"], 2]);
  expect(server.last.headers.get("Last-Event-ID")).toBe("e-2");
  await server.last.open(event("e-3"));
  expect(got().slice(1)).toEqual(Array(2).fill(["e-2", "e-3"]));
});

it("take the lead from one that does not answer, within two seconds", async () => {
  const [leader] = await open(3);
  await server.last.open(event("e-2"));
  leader!.channel.frozen = true;
  await vi.advanceTimersByTimeAsync(1_999);
  expect(roles().slice(1).sort()).toEqual(["follower", "leader"]);
  expect(server.asked[0]!.aborted).toBe(true); // it learns of it when it can
  leader!.channel.frozen = false;
  await server.last.open(event("e-3"));
  expect(got()).toEqual(Array(3).fill(["e-2", "e-3"]));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(roles().filter((role) => role === "leader")).toHaveLength(1);
});

it("leave one in the lead that answers, though it has nothing to say", async () => {
  await open(3);
  await server.last.open(event("e-2"));
  await vi.advanceTimersByTimeAsync(30_000);
  expect([roles()[0], server.asked.length]).toEqual(["leader", 1]);
});

it("ask for what they missed, and the leader remembers it", async () => {
  const [, follower] = await open(2);
  const stream = await server.last.open(event("e-2"));
  follower!.channel.frozen = true;
  await stream.send(event("e-3"));
  await stream.send(event("e-4"));
  follower!.channel.frozen = false;
  await stream.send(event("e-5"));
  expect(got()).toEqual(Array(2).fill(["e-2", "e-3", "e-4", "e-5"]));
  expect(server.asked).toHaveLength(1);
});

it("notice what they missed though nothing follows", async () => {
  const [, follower] = await open(2);
  const stream = await server.last.open(event("e-2"));
  follower!.channel.frozen = true;
  await stream.send(event("e-3"));
  follower!.channel.frozen = false;
  await vi.advanceTimersByTimeAsync(1_500);
  expect(follower!.got).toEqual(["e-2", "e-3"]);
});

it("have the server say again what the leader does not remember, and nobody gets it twice", async () => {
  const storage = new Map([["sse:http://sse.test/sse/connect/s1", "e-1"]]);
  await open(1);
  await server.last.open("id: e-4\n\n" + event("e-5"));
  vi.stubGlobal("sessionStorage", { getItem: (key: string) => storage.get(key) ?? null, setItem: () => {} });
  await open(1);
  expect([server.asked.length, server.last.headers.get("Last-Event-ID")]).toEqual([2, "e-1"]);
  await server.last.open("id: e-1\n\n" + event("e-3") + event("e-5") + event("e-6"));
  expect(got()).toEqual([["e-5", "e-6"], ["e-3", "e-5", "e-6"]]);
});

it("are all closed when the server ends the session", async () => {
  await open(3);
  await server.last.open('event: stream-closing\ndata: {"reason": "disconnected", "reconnect": false}\n\n');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(tabs.map(({ stream }) => [stream.state, stream.reason])).toEqual(Array(3).fill(["closed", "disconnected"]));
  expect(server.asked).toHaveLength(1);
});

it("show how the leader's connection is", async () => {
  await open(2);
  await (await server.last.open("retry: 500\nid: e-1\n\n")).end();
  expect(tabs[1]!.stream.state).toBe("waiting");
  await vi.advanceTimersByTimeAsync(1_000);
  await server.last.open();
  expect(tabs[1]!.stream.state).toBe("open");
});
