// The client in place of the browser's own EventSource.

import { describe, expect, it, vi } from "vitest";

import { EventSource } from "../src/client.js";
import { settle } from "./fake.js";
import { server, streams } from "./streams.js";

describe("in place of EventSource", () => {
  it("has its constants, url and credentials", async () => {
    const source = new EventSource("http://sse.test/stream", { withCredentials: true });
    streams.push(source);
    await settle();
    expect([source.CONNECTING, source.OPEN, source.CLOSED, source.readyState]).toEqual([0, 1, 2, 0]);
    expect([EventSource.CONNECTING, EventSource.OPEN, EventSource.CLOSED]).toEqual([0, 1, 2]);
    expect([source.url, source.withCredentials, server.last.init.credentials]).toEqual(["http://sse.test/stream", true, "include"]);
    expect(source).toBeInstanceOf(EventTarget);
  });

  it("begins anew after a reload, as that does", async () => {
    const store = { getItem: vi.fn(() => "7"), setItem: vi.fn() };
    vi.stubGlobal("sessionStorage", store);
    streams.push(new EventSource("http://sse.test/stream"));
    await settle();
    await server.last.open("id: 8\ndata: x\n\n");
    expect(server.last.headers.has("Last-Event-ID")).toBe(false);
    expect([store.getItem.mock.calls, store.setItem.mock.calls]).toEqual([[], []]);
  });

  it.each(["mailto:a@b.test", "javascript:1", "ftp://b.test/", "about:blank"])("is closed by what is no http: %s", async (url) => {
    const source = new EventSource(url);
    streams.push(source);
    const errors = vi.fn();
    source.onerror = errors;
    await settle();
    expect([source.readyState, errors.mock.calls.length, server.asked.length]).toEqual([2, 1, 0]);
  });

  it("takes an address from where a worker is", async () => {
    vi.stubGlobal("location", new URL("http://worker.test/a/b.js"));
    const source = new EventSource("c");
    streams.push(source);
    expect(source.url).toBe("http://worker.test/a/c");
  });

  it("refuses what is no address", () => {
    expect(() => new EventSource("http://this is invalid/")).toThrow(expect.objectContaining({ name: "SyntaxError" }));
  });

  it("does not mind what other servers say under the names of ours", async () => {
    const source = new EventSource("http://sse.test/stream");
    streams.push(source);
    await settle();
    await server.last.open("event: stream-closing\ndata: bye\n\nevent: stream-gap\ndata: 1\n\nevent: stream-expiring\ndata: x\n\n");
    expect(source.readyState).toBe(1);
  });
});
