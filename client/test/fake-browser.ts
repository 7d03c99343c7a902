// What tabs share of a browser: locks, and channels to talk on.

import { expect, vi } from "vitest";

import { connect, type EventStream, type Gap } from "../src/client.js";
import { settle } from "./fake.js";

type Granted = () => Promise<void> | undefined;

interface Lock {
  holder?: { reject: (error: Error) => void } | undefined;
  queue: (() => void)[];
}

/** Web Locks, as far as tabs use them: a queue for each name, theft, and shared ones, which are granted at once. */
class Locks {
  #locks = new Map<string, Lock>();
  #shared: { name: string }[] = [];

  query(): Promise<{ held: { name: string }[] }> {
    return Promise.resolve({ held: [...this.#shared] });
  }

  async request(name: string, options: LockOptions | Granted, granted?: Granted): Promise<void> {
    const { mode, ...rest } = options as LockOptions;
    return mode === "shared" ? this.#share(name, granted!) : this.#exclude(name, rest, granted!);
  }

  async #share(name: string, granted: Granted): Promise<void> {
    const held = { name };
    this.#shared.push(held);
    await Promise.resolve().then(granted);
    this.#shared = this.#shared.filter((each) => each !== held);
  }

  #exclude(name: string, { signal, steal }: LockOptions, granted: Granted): Promise<void> {
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
export class Channel {
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

export interface OpenTab {
  stream: EventStream;
  /** Positions of messages, and types of other events. */
  got: string[];
  gaps: Gap[];
  channel: Channel;
}

export function startBrowser(): void {
  vi.useFakeTimers();
  Channel.members = [];
  vi.stubGlobal("BroadcastChannel", Channel);
  vi.stubGlobal("navigator", { locks: new Locks() });
}

/** Open a tab that shares, with channels of its own; `position`: where it left off before it was reloaded. */
export async function openTab(channels: string[] = [], position?: string): Promise<OpenTab> {
  vi.stubGlobal("sessionStorage", { getItem: () => position ?? null, setItem: () => {} });
  const got: string[] = [];
  const gaps: Gap[] = [];
  const stream = connect({
    url: "http://sse.test",
    sessionId: "s1",
    channels,
    share: true,
    onEvent: ({ type, lastEventId }) => got.push(type === "message" ? lastEventId : type),
    refetch: (gap) => gaps.push(gap),
  });
  const channel = Channel.members.at(-1)!;
  await settle();
  return { stream, got, gaps, channel };
}

export async function closeTabs(tabs: OpenTab[]): Promise<void> {
  for (const { stream } of tabs) await stream.close();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.unstubAllGlobals();
}
