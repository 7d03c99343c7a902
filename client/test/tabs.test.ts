// Tabs that share a stream, each with a fake of the browser's locks and channel.

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { FakeServer, settle } from "./fake.js";
import { closeTabs, openTab, startBrowser, type OpenTab } from "./fake-browser.js";

let server: FakeServer;
let tabs: OpenTab[];
let timely: typeof setInterval;

beforeEach(() => {
  startBrowser();
  timely = globalThis.setInterval;
  server = new FakeServer();
  tabs = [];
});

afterEach(() => closeTabs(tabs));

async function open(count: number): Promise<OpenTab[]> {
  for (let number = 0; number < count; number++) tabs.push(await openTab());
  return tabs;
}

const event = (id: string): string => `id: ${id}\ndata: x\n\n`;
const opened = (now: string): string =>
  `event: stream-opened\ndata: {"channels": [], "now": "${now}"}\nid: ${now}\n\n`;
const roles = (): string[] => tabs.map(({ stream }) => stream.role);
const got = (): string[][] => tabs.map((tab) => tab.got);

it("have one connection, and see the same", async () => {
  await open(3);
  expect([roles(), server.asked.length]).toEqual([["leader", "follower", "follower"], 1]);
  await server.last.open(opened("e-1") + event("e-2"));
  expect(got()).toEqual(Array(3).fill(["e-2"]));
  expect(tabs.map(({ stream }) => [stream.state, stream.position])).toEqual(Array(3).fill(["open", "e-2"]));
});

it("go on where the leader left off when it closes", async () => {
  const [leader] = await open(3);
  await server.last.open(opened("e-1") + event("e-2"));
  await leader!.stream.close();
  await settle();
  expect([roles().slice(1), server.asked.length]).toEqual([["leader", "follower"], 2]);
  expect(server.last.headers.get("Last-Event-ID")).toBe("e-2");
  await server.last.open(event("e-3"));
  expect(got().slice(1)).toEqual(Array(2).fill(["e-2", "e-3"]));
});

it("take the lead from one that does not answer, within two seconds", async () => {
  const [leader] = await open(3);
  await server.last.open(opened("e-1") + event("e-2"));
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
  await server.last.open(opened("e-1") + event("e-2"));
  await vi.advanceTimersByTimeAsync(30_000);
  expect([roles()[0], server.asked.length]).toEqual(["leader", 1]);
});

it("ask for what they missed, and the leader remembers it", async () => {
  const [, follower] = await open(2);
  const stream = await server.last.open(opened("e-1") + event("e-2"));
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
  const stream = await server.last.open(opened("e-1") + event("e-2"));
  follower!.channel.frozen = true;
  await stream.send(event("e-3"));
  follower!.channel.frozen = false;
  await vi.advanceTimersByTimeAsync(1_500);
  expect(follower!.got).toEqual(["e-2", "e-3"]);
});

it("have the server say again what the leader does not remember, and nobody gets it twice", async () => {
  await open(1);
  await server.last.open(opened("e-4") + event("e-5"));
  tabs.push(await openTab([], "e-1"));
  expect([server.asked.length, server.last.headers.get("Last-Event-ID")]).toEqual([2, "e-1"]);
  await server.last.open("id: e-1\n\n" + event("e-3") + event("e-5") + event("e-6"));
  expect(got()).toEqual([["e-5", "e-6"], ["e-3", "e-5", "e-6"]]);
});

it("do not fall behind when another's past of an older epoch goes by, with news at its end", async () => {
  await open(1);
  await server.last.open(opened("e-8") + event("e-9"));
  tabs.push(await openTab([], "d-5"));
  expect(server.last.headers.get("Last-Event-ID")).toBe("d-5");
  const gap = 'event: stream-gap\ndata: {"from": "d-5", "to": "e-0", "reason": "epoch"}\nid: e-0\n\n';
  const past = opened("e-10").replace("id: e-10", "id: d-5") + gap + event("e-9") + event("e-10");
  await server.last.open(past);
  expect(server.last.headers.get("Last-Event-ID")).toBe("e-9");
  await server.last.open(opened("e-10").replace("id: e-10", "id: e-9") + event("e-10") + event("e-11"));
  expect(got()).toEqual([["e-9", "e-10", "e-11"], ["stream-gap", "e-9", "e-10", "e-11"]]);
});

it("with pasts of several epochs come to rest, and each gets what is its own", async () => {
  await open(1);
  await server.last.open(opened("e-8") + event("e-9"));
  for (const past of ["d-5", "c-7", "e-3"]) tabs.push(await openTab([], past));
  for (let answered = 1; answered < server.asked.length; ) {
    answered = server.asked.length;
    const from = server.last.headers.get("Last-Event-ID")!;
    const [epoch, sequence] = from.split("-");
    const gap = `event: stream-gap\ndata: {"from": "${from}", "to": "e-0", "reason": "epoch"}\nid: e-0\n\n`;
    const first = epoch === "e" ? Number(sequence) : 0;
    const rest = [4, 9].filter((number) => number > first).map((number) => event(`e-${number}`));
    await server.last.open(opened("e-9").replace("id: e-9", `id: ${from}`) + (first ? "" : gap) + rest.join("") + "id: e-9\n\n");
  }
  await server.last.send(event("e-10"));
  expect(got()).toEqual([["e-9", "e-10"], ["stream-gap", "e-4", "e-9", "e-10"], ["stream-gap", "e-4", "e-9", "e-10"], ["e-4", "e-9", "e-10"]]);
  expect(server.asked.length).toBeLessThan(6);
});

it("are told no notice again with what one of them missed", async () => {
  const [, , late] = await open(3);
  const stream = await server.last.open(opened("e-1") + event("e-2"));
  late!.channel.frozen = true;
  await stream.send("event: stream-expiring\ndata: {}\n\n");
  await stream.send(event("e-3"));
  late!.channel.frozen = false;
  await stream.send(event("e-4"));
  expect(late!.got).toEqual(["e-2", "e-3", "e-4"]);
  expect(got().slice(0, 2)).toEqual(Array(2).fill(["e-2", "stream-expiring", "e-3", "e-4"]));
});

/** Open a tab whose timers all come a minute late, as in a page that is hidden for long. */
async function openLate(): Promise<void> {
  for (const name of ["setTimeout", "setInterval"] as const) {
    const timely = globalThis[name];
    vi.stubGlobal(name, (run: () => void, wait: number) => timely(run, wait + 60_000));
  }
  await open(1);
}

/** Open a tab whose timers are on time; those that the other set from here on are late. */
async function openSeen(): Promise<void> {
  const late = globalThis.setInterval;
  vi.stubGlobal("setInterval", timely);
  await open(1);
  vi.stubGlobal("setInterval", late);
}

it("remind a leader whose timers are late of its next attempt", async () => {
  await openLate();
  await openSeen();
  await (await server.last.open("retry: 3000\n" + opened("e-1"))).end();
  expect(tabs[1]!.stream.state).toBe("waiting");
  await vi.advanceTimersByTimeAsync(8_000);
  expect(server.asked).toHaveLength(2);
});

it("remind it of silence", async () => {
  await openLate();
  await openSeen();
  await server.last.open(opened("e-1"));
  await vi.advanceTimersByTimeAsync(36_000);
  expect(server.asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(3_000);
  expect([server.asked.length, server.asked[0]!.aborted]).toEqual([2, true]);
});

it("tell it within a second that the machine slept", async () => {
  await openLate();
  await openSeen();
  await server.last.open(opened("e-1"));
  vi.setSystemTime(Date.now() + 20_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect([server.asked.length, server.asked[0]!.aborted]).toEqual([2, true]);
});

it("do not meet those of a build that says other things", async () => {
  await open(1);
  expect(tabs[0]!.channel.name).toBe("sse1:http://sse.test/sse/connect/s1");
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
  await (await server.last.open("retry: 500\n" + opened("e-1"))).end();
  expect(tabs[1]!.stream.state).toBe("waiting");
  await vi.advanceTimersByTimeAsync(1_000);
  await server.last.open(opened("e-1"));
  expect(tabs[1]!.stream.state).toBe("open");
});
