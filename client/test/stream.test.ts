// A stream of its own, with time that passes when it is told to.

import { describe, expect, it, vi } from "vitest";

import { settle } from "./fake.js";
import { pass, server, start } from "./streams.js";

describe("a request", () => {
  it("names the session, the channels, and nothing else", async () => {
    await start({ sessionId: "a b", channels: ["z", "a/b", "z"] });
    expect(server.last.url).toBe("http://sse.test/sse/connect/a%20b?channel=a%2Fb&channel=z");
    expect(Object.fromEntries(server.last.headers)).toEqual({ accept: "text/event-stream" });
    expect(server.last.init).toMatchObject({ credentials: "same-origin", cache: "no-store" });
  });

  it("has a token of its own each time, and the position", async () => {
    let number = 0;
    await start({ token: async () => `t${++number}` });
    expect(server.last.headers.get("Authorization")).toBe("Bearer t1");
    await (await server.last.open("id: e-1\n\nid: e-2\ndata: x\n\n")).end();
    await pass(2_000);
    expect(server.last.headers.get("Authorization")).toBe("Bearer t2");
    expect(server.last.headers.get("Last-Event-ID")).toBe("e-2");
  });

  it("is given up when the source of tokens hangs or fails, and made again", async () => {
    const token = vi.fn<() => Promise<string>>().mockRejectedValueOnce(new Error("no")).mockReturnValueOnce(new Promise(() => {}));
    token.mockResolvedValue("t");
    const stream = await start({ token });
    expect([stream.state, server.asked.length]).toEqual(["waiting", 0]);
    await pass(2_000);
    await pass(38_000);
    expect(server.asked).toHaveLength(1);
    expect(token).toHaveBeenCalledTimes(3);
  });

  it("carries any position as UTF-8", async () => {
    await start();
    await (await server.last.open("id: …\n\n")).end();
    await pass(2_000);
    expect(server.last.headers.get("Last-Event-ID")).toBe("\u00e2\u0080\u00a6");
  });
});

describe("a position", () => {
  it.each([
    ["whose store throws", { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("full"); } }],
    ["that has no store", null],
  ])("%s is kept for the page's life only", async (_, store) => {
    vi.stubGlobal("sessionStorage", store);
    const stream = await start();
    await (await server.last.open("id: e-1\n\nid: e-2\ndata: x\n\n")).end();
    await pass(2_000);
    expect([stream.position, server.last.headers.get("Last-Event-ID")]).toEqual(["e-2", "e-2"]);
  });
});

describe("events", () => {
  it("come to listeners by name, to onmessage, to onEvent and to an iteration", async () => {
    const seen: string[] = [];
    const stream = await start({ onEvent: (event) => seen.push(`any ${event.type}`) });
    stream.onopen = () => seen.push("open");
    stream.onmessage = ({ data, lastEventId, origin }) => seen.push([data, lastEventId, origin].join());
    stream.addEventListener("order", (event) => seen.push(`order ${event.data}`));
    const iterated: string[] = [];
    const all = (async () => {
      for await (const { type } of stream) iterated.push(type);
    })();
    await server.last.open("data: a\nid: e-1\n\nevent: order\ndata: 7\n\n");
    expect(seen).toEqual(["open", "a,e-1,http://sse.test", "any message", "order 7", "any order"]);
    await stream.close();
    await all;
    expect(iterated).toEqual(["message", "order"]);
  });

  it("stop with a break out of an iteration, while the stream goes on", async () => {
    const stream = await start();
    await server.last.open("data: a\n\ndata: b\n\n");
    const first = (async () => {
      for await (const { data } of stream) return data;
      return undefined;
    })();
    await server.last.send("data: c\n\n");
    expect([await first, stream.state]).toEqual(["c", "open"]);
  });

  it("go on after a callback that throws", async () => {
    const thrown: unknown[] = [];
    vi.stubGlobal("queueMicrotask", (run: () => void) => {
      try {
        run();
      } catch (error) {
        thrown.push(error);
      }
    });
    const seen: string[] = [];
    await start({
      onEvent: ({ data }) => {
        seen.push(data);
        throw new Error(data);
      },
    });
    await server.last.open("data: a\n\ndata: b\n\n");
    expect([seen, thrown.length]).toEqual([["a", "b"], 2]);
  });

  it("come once, though a server says them again", async () => {
    const seen: string[] = [];
    await start({ onEvent: ({ lastEventId }) => seen.push(lastEventId) });
    await (await server.last.open("id: e-1\n\nid: e-2\ndata: x\n\n")).end();
    await pass(2_000);
    await server.last.open("id: e-2\ndata: x\n\nid: e-3\ndata: y\n\n");
    expect(seen).toEqual(["e-2", "e-3"]);
  });

  it("tell of a gap, and wait for the refetch", async () => {
    const order: string[] = [];
    let fetched = (): void => {};
    await start({
      onEvent: ({ type }) => order.push(type),
      refetch: ({ reason }) => (order.push(reason), new Promise<void>((resolve) => (fetched = resolve))),
    });
    await server.last.open('event: stream-gap\ndata: {"from": null, "to": "e-5", "reason": "evicted"}\nid: e-5\n\ndata: x\nid: e-6\n\n');
    expect(order).toEqual(["stream-gap", "evicted"]);
    fetched();
    await settle();
    expect(order.at(-1)).toBe("message");
  });
});

describe("it comes back", () => {
  it("from an end, a failure and an error status, never with two attempts at a time", async () => {
    const stream = await start();
    const states: string[] = [];
    stream.onstatechange = () => states.push(stream.state);
    await (await server.last.open("retry: 500\nid: e-1\n\n")).end();
    await pass(499);
    expect(server.asked).toHaveLength(1);
    await pass(1);
    await server.last.fail();
    await pass(500);
    await server.last.refuse(502);
    await pass(500);
    expect(server.asked).toHaveLength(4);
    expect(server.asked.slice(0, -1).every((asked) => asked.aborted)).toBe(true);
    await server.last.open();
    expect(states).toEqual(["open", ...Array(3).fill(["waiting", "connecting"]).flat(), "open"]);
  });

  it.each([429, 503])("from %d after what Retry-After says", async (status) => {
    await start();
    await server.last.refuse(status, { "Retry-After": "7" });
    await pass(6_999);
    expect(server.asked).toHaveLength(1);
    await pass(1);
    expect(server.asked).toHaveLength(2);
  });

  it("from being sent away softly", async () => {
    await start();
    const away = 'retry: 900\nevent: stream-closing\ndata: {"reason": "draining", "reconnect": true}\n\n';
    await (await server.last.open(away)).end();
    await pass(900);
    expect(server.asked).toHaveLength(2);
  });

  it("from 2.5 keepalives of silence, at once; a comment is no silence", async () => {
    await start({ keepalive: 4_000 });
    await server.last.open("id: e-1\n\n");
    await pass(9_000);
    await server.last.send(":\n\n");
    await pass(9_000);
    expect(server.asked).toHaveLength(1);
    await pass(2_000);
    expect([server.asked.length, server.asked[0]!.aborted, server.last.headers.get("Last-Event-ID")]).toEqual([2, true, "e-1"]);
  });

  it("from an attempt that is never answered", async () => {
    await start({ keepalive: 4_000 });
    await pass(11_000);
    expect([server.asked.length, server.asked[0]!.aborted]).toEqual([2, true]);
  });

  it("from silence, though the clock was set back meanwhile", async () => {
    await start({ keepalive: 4_000 });
    await server.last.open();
    await pass(5_000);
    vi.setSystemTime(Date.now() - 3_600_000);
    await pass(12_000);
    expect(server.asked).toHaveLength(2);
  });

  it("with growing waits to a server that ends each stream at once and asks for no wait", async () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    await start();
    for (let turn = 0; turn < 10; turn++) {
      const stream = await server.last.open("retry: 0\ndata: x\n\n");
      await pass(5);
      await stream.end();
      await pass(2 ** turn);
    }
    expect(server.asked).toHaveLength(11);
    await (await server.last.open()).end();
    await pass(1_000);
    expect(server.asked).toHaveLength(11);
  });

  it("after weeks, not at once, if a server asks for that", async () => {
    const stream = await start();
    await (await server.last.open("retry: 99999999999999999999\n\n")).end();
    await pass(3_600_000);
    expect([server.asked.length, stream.state]).toEqual([1, "waiting"]);
  });

  it("within a second of a sleep that only the clock shows", async () => {
    await start();
    await server.last.open();
    vi.setSystemTime(Date.now() + 3_600_000);
    await pass(1_000);
    expect(server.asked).toHaveLength(2);
  });
});

describe("it stops", () => {
  it.each([204, 205, 299, 400, 403, 404, 410])("at %d", async (status) => {
    const stream = await start();
    const errors = vi.fn();
    stream.onerror = errors;
    await server.last.refuse(status);
    await pass(100_000);
    expect([stream.state, server.asked.length]).toEqual(["closed", 1]);
    expect(stream.reason).toBe(status === 204 ? "disconnected" : `status ${status}`);
    expect(errors).toHaveBeenCalledTimes(1);
  });

  it("at another content type", async () => {
    const stream = await start();
    await server.last.open("", { "Content-Type": "text/event-streams" });
    expect([stream.state, stream.reason]).toEqual(["closed", "no event stream"]);
  });

  it("at 401 without a token", async () => {
    const stream = await start();
    await server.last.refuse(401);
    expect([stream.readyState, server.asked.length]).toEqual([2, 1]);
  });

  it("at a second 401, after one try with a fresh token", async () => {
    const token = vi.fn(() => "t");
    const stream = await start({ token });
    await server.last.refuse(401);
    expect([server.asked.length, token.mock.calls.length]).toEqual([2, 2]);
    await server.last.refuse(401);
    expect([stream.state, stream.reason]).toEqual(["closed", "status 401"]);
  });

  it("not at a 401 that a fresh token cures, and may try again the next time", async () => {
    const stream = await start({ token: () => "t" });
    for (let turn = 0; turn < 2; turn++) {
      await server.last.refuse(401);
      await (await server.last.open()).end();
      await pass(10_000);
    }
    expect(stream.state).toBe("connecting");
  });

  it.each(["disconnected", "replaced", "revoked", "expired"])("at a farewell for good: %s", async (reason) => {
    const stream = await start();
    await server.last.open(`event: stream-closing\ndata: {"reason": "${reason}", "reconnect": false}\n\n`);
    await pass(100_000);
    expect([stream.state, stream.reason, server.asked.length]).toEqual(["closed", reason, 1]);
    expect(server.last.aborted).toBe(true);
  });

  it("when it is closed, whatever it was doing", async () => {
    const [connecting, opened, waiting] = [await start(), await start(), await start()];
    await server.asked[1]!.open();
    await server.asked[2]!.fail();
    for (const stream of [connecting, opened, waiting]) {
      const seen = vi.fn();
      stream.onerror = seen;
      await stream.close();
      await stream.close();
      expect([stream.state, stream.reason, seen.mock.calls.length]).toEqual(["closed", "closed", 0]);
    }
    await pass(100_000);
    expect(server.asked).toHaveLength(3);
  });

  it("when its loss leads to that, and leaves no timer behind", async () => {
    const stream = await start();
    stream.onerror = () => void stream.close();
    await (await server.last.open()).end();
    expect([stream.state, vi.getTimerCount()]).toEqual(["closed", 0]);
  });

  it("and sends no token that comes later", async () => {
    let tell = (_: string): void => {};
    const stream = await start({ token: () => new Promise<string>((resolve) => (tell = resolve)) });
    await stream.close();
    tell("late");
    await settle();
    expect(server.asked).toEqual([]);
  });

  it.each([[200, true], [404, true], [401, false], [503, false]])("and says how the session's end went: %d", async (status, done) => {
    const closed = (await start()).close({ disconnect: true });
    const ended = closed.then(() => true, () => false);
    await settle();
    await server.last.refuse(status);
    expect(await ended).toBe(done);
  });

  it("and ends the session too, if asked", async () => {
    const stream = await start({ token: () => "t" });
    const closed = stream.close({ disconnect: true });
    await settle();
    expect([server.last.url, server.last.init.method]).toEqual(["http://sse.test/sse/disconnect/s1", "DELETE"]);
    expect(server.last.headers.get("Authorization")).toBe("Bearer t");
    await server.last.refuse(200);
    await closed;
  });
});

describe("a token that ends", () => {
  const expiring = 'event: stream-expiring\ndata: {"expiresIn": 30}\n\n';

  it("is refreshed on the open stream", async () => {
    let number = 0;
    const stream = await start({ token: () => `t${++number}` });
    await server.last.open(expiring);
    expect([server.last.url, server.last.init.method]).toEqual(["http://sse.test/sse/sessions/s1/refresh", "POST"]);
    expect(server.last.headers.get("Authorization")).toBe("Bearer t2");
    await server.last.fail();
    expect(stream.state).toBe("open");
  });

  it("is refreshed again after a pause, if the fresh one lives no longer", async () => {
    await start({ token: () => "t" });
    const stream = await server.last.open(expiring);
    await server.last.refuse(200);
    await stream.send(expiring + expiring);
    await pass(4_999);
    expect(server.asked).toHaveLength(2);
    await pass(1);
    expect(server.asked).toHaveLength(3);
  });

  it("is left to the page where there is no token", async () => {
    const seen = vi.fn();
    const stream = await start();
    stream.addEventListener("stream-expiring", seen);
    await server.last.open(expiring);
    expect([server.asked.length, seen.mock.calls.length]).toEqual([1, 1]);
  });

  it("is replaced by a fresh one if the stream ended with it", async () => {
    await start({ token: () => "t" });
    await (await server.last.open('event: stream-closing\ndata: {"reason": "expired", "reconnect": false}\n\n')).end();
    await pass(2_000);
    expect(server.asked).toHaveLength(2);
  });
});
