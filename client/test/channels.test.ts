// Tabs with channels of their own on one connection: each gets what is its own, and nobody misses anything for another.

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { FakeServer, settle, type Asked } from "./fake.js";
import { closeTabs, openTab, startBrowser, type OpenTab } from "./fake-browser.js";

const GATHER = 60;
let server: FakeServer;
let tabs: OpenTab[];

beforeEach(() => {
  startBrowser();
  server = new FakeServer();
  tabs = [];
});

afterEach(() => closeTabs(tabs));

/** Open tabs one after the other, and let those who come together be gathered. */
async function open(...sets: string[][]): Promise<OpenTab[]> {
  for (const channels of sets) tabs.push(await openTab(channels));
  await vi.advanceTimersByTimeAsync(GATHER);
  return tabs;
}

const event = (id: string, ...channels: string[]): string =>
  channels.map((channel) => `channel: ${channel}\n`).join("") + `data: x\nid: ${id}\n\n`;
const opened = (channels: string[], now: string, id = now): string =>
  `event: stream-opened\ndata: ${JSON.stringify({ channels, now })}\nid: ${id}\n\n`;
const query = (asked: Asked, name: string): string[] => new URL(asked.url).searchParams.getAll(name);
const got = (): string[][] => tabs.map((tab) => tab.got);
const roles = (): string[] => tabs.map(({ stream }) => stream.role);

it("ask for the channels of all, and each gets its own", async () => {
  await open(["a"], ["b", "a"], []);
  expect([server.asked.length, query(server.last, "channel")]).toEqual([1, ["a"]]);
  await server.last.open(opened(["a"], "e-1"));
  await vi.advanceTimersByTimeAsync(GATHER);
  expect([server.asked.length, query(server.last, "channel")]).toEqual([2, ["a", "b"]]);
  await server.last.open(opened(["a", "b"], "e-1"));
  await server.last.send(event("e-2", "a") + event("e-3", "b") + event("e-4") + event("e-5", "b", "a"));
  expect(got()).toEqual([["e-2", "e-4", "e-5"], ["e-2", "e-3", "e-4", "e-5"], ["e-4"]]);
  expect(tabs.map(({ stream }) => [stream.state, stream.position])).toEqual(Array(3).fill(["open", "e-5"]));
});

it("are gathered: those who come together cost one connect", async () => {
  await open(["a"]);
  await server.last.open(opened(["a"], "e-1"));
  await open(["b"], ["c"], ["d"]);
  expect([server.asked.length, query(server.last, "channel")]).toEqual([2, ["a", "b", "c", "d"]]);
});

it("begin now, though the leader stands far back", async () => {
  await open(["a"]);
  await server.last.open(opened(["a"], "e-1"));
  await open(["b"], []);
  expect([server.last.headers.get("Last-Event-ID"), query(server.last, "fresh")]).toEqual(["e-1", ["b"]]);
  expect(tabs[1]!.stream.state).toBe("connecting");
  await server.last.open(opened(["a", "b"], "e-9", "e-1") + event("e-4") + "id: e-9\n\n" + event("e-10", "b"));
  expect(got()).toEqual([["e-4"], ["e-10"], ["e-4"]]);
});

it("have it said again if they come back to a channel that nobody listened to meanwhile", async () => {
  await open(["a"]);
  await server.last.open(opened(["a"], "e-9"));
  tabs.push(await openTab(["b"], "e-3"));
  await vi.advanceTimersByTimeAsync(GATHER);
  expect(query(server.last, "fresh")).toEqual(["b"]);
  await server.last.open(opened(["a", "b"], "e-9", "e-9"));
  expect([server.last.headers.get("Last-Event-ID"), query(server.last, "fresh")]).toEqual(["e-3", []]);
  await server.last.open(opened(["a", "b"], "e-9", "e-3") + event("e-4", "a") + event("e-5", "b") + "id: e-9\n\n");
  await server.last.send(event("e-10", "a", "b"));
  expect(got()).toEqual([["e-10"], ["e-5", "e-10"]]);
});

it("are not fed from what the leader remembers of a time without their channel", async () => {
  await open(["a"]);
  await server.last.open(opened(["a"], "e-1"));
  await server.last.send(event("e-3", "a"));
  tabs.push(await openTab(["b"], "e-3"));
  await server.last.send(event("e-5", "a"));
  await vi.advanceTimersByTimeAsync(GATHER);
  await server.last.open(opened(["a", "b"], "e-5"));
  expect(server.last.headers.get("Last-Event-ID")).toBe("e-3");
  await server.last.open(opened(["a", "b"], "e-5", "e-3") + event("e-4", "b") + event("e-5", "a"));
  expect(got()).toEqual([["e-3", "e-5"], ["e-4"]]);
});

it("are listened to by the next leader, who knows who lives", async () => {
  await open(["a"], ["b"], ["c"]);
  await server.last.open(opened(["a"], "e-1"));
  await vi.advanceTimersByTimeAsync(GATHER);
  await server.last.open(opened(["a", "b", "c"], "e-1"));
  await server.last.send(event("e-2", "b"));
  await tabs.shift()!.stream.close();
  await settle();
  expect(roles().sort()).toEqual(["follower", "leader"]);
  expect([query(server.last, "channel").sort(), query(server.last, "fresh")]).toEqual([["b", "c"], []]);
  expect(server.last.headers.get("Last-Event-ID")).toBe("e-2");
  await server.last.open(opened(["b", "c"], "e-4", "e-2") + event("e-3", "c") + event("e-4", "b"));
  expect(got()).toEqual([["e-2", "e-4"], ["e-3"]]);
});

it("leave their channels behind at the next connect", async () => {
  await open(["a"], ["b"]);
  await server.last.open(opened(["a"], "e-1"));
  await vi.advanceTimersByTimeAsync(GATHER);
  const stream = await server.last.open(opened(["a", "b"], "e-1"));
  await tabs.pop()!.stream.close();
  expect(server.asked).toHaveLength(2);
  await stream.end();
  await vi.advanceTimersByTimeAsync(5_000);
  expect([server.asked.length, query(server.last, "channel")]).toEqual([3, ["a"]]);
});

it("go alone with what the leader's token does not allow, and the others stay", async () => {
  await open(["a"]);
  await server.last.open(opened(["a"], "e-1"));
  await open(["secret"], ["b"]);
  await server.last.open(opened(["a", "b"], "e-1"));
  expect(server.asked).toHaveLength(3);
  expect(server.last.url).toBe("http://sse.test/sse/connect/s1?channel=secret");
  expect(roles()).toEqual(["leader", "alone", "follower"]);
  await server.last.refuse(403);
  expect(tabs.map(({ stream }) => stream.state)).toEqual(["open", "closed", "open"]);
  await server.asked[1]!.send(event("e-2", "b"));
  expect(got()).toEqual([[], [], ["e-2"]]);
});

it("are not led by one whose own channel is refused", async () => {
  await open(["secret"], ["a"]);
  await server.last.open(opened([], "e-1"));
  await vi.advanceTimersByTimeAsync(GATHER);
  expect(roles()).toEqual(["alone", "leader"]);
  const urls = server.asked.slice(1).map((asked) => asked.url.split("?")[1]);
  expect(urls.sort()).toEqual(["channel=secret", "labels=true&channel=a&fresh=a"]);
});

it("are all told of a gap that they stand before", async () => {
  await open(["a"]);
  await server.last.open(opened(["a"], "e-1"));
  await open(["b"]);
  const gap = 'event: stream-gap\ndata: {"from": "e-1", "to": "e-7", "reason": "evicted"}\nid: e-1\n\n';
  await server.last.open(opened(["a", "b"], "e-9", "e-1") + gap + event("e-8", "a") + "id: e-9\n\n");
  expect(tabs.map(({ gaps }) => gaps.length)).toEqual([1, 0]);
  expect(got()).toEqual([["stream-gap", "e-8"], []]);
});

it("wait for the next attempt if the connection is broken when they come", async () => {
  await open(["a"]);
  await (await server.last.open("retry: 3000\n" + opened(["a"], "e-1"))).end();
  await open(["b"]);
  expect([server.asked.length, tabs[1]!.stream.state]).toEqual([1, "waiting"]);
  await vi.advanceTimersByTimeAsync(9_000);
  expect([server.asked.length, query(server.last, "channel")]).toEqual([2, ["a", "b"]]);
});

it("get on with a server that knows no labels: those with channels go alone", async () => {
  await open(["a"], []);
  await server.last.open("retry: 500\nid: e-1\n\n");
  await settle();
  expect(roles()).toEqual(["alone", "leader"]);
});

it("go alone where the page may have no locks", async () => {
  const refuse = (): Promise<void> => Promise.reject(new DOMException("no", "SecurityError"));
  vi.stubGlobal("navigator", { locks: { request: refuse } });
  await open(["a"]);
  expect([roles(), server.last.url]).toEqual([["alone"], "http://sse.test/sse/connect/s1?channel=a"]);
});
