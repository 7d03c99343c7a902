import { describe, expect, it } from "vitest";

import { Parser, readJson } from "../src/parser.js";

type Row = [type: string, data: string, lastEventId: string];

function parse(...parts: string[]): Row[] {
  const parser = new Parser();
  return parts.flatMap((part) => parser.feed(part)).map(({ type, data, lastEventId }) => [type, data, lastEventId]);
}

const TABLE: [name: string, text: string, events: Row[]][] = [
  ["a line of data", "data: a\n\n", [["message", "a", ""]]],
  ["no space, two spaces", "data:a\n\ndata:  b\n\n", [["message", "a", ""], ["message", " b", ""]]],
  ["several lines", "data: a\ndata\ndata: b\n\n", [["message", "a\n\nb", ""]]],
  ["empty data", "data\n\ndata:\n\n", [["message", "", ""], ["message", "", ""]]],
  ["a name, which lasts for one event", "event: x\ndata: 1\n\ndata: 2\n\n", [["x", "1", ""], ["message", "2", ""]]],
  ["an empty name", "event: x\nevent:\ndata: 1\n\n", [["message", "1", ""]]],
  ["a name without data", "event: x\n\ndata: 1\n\n", [["message", "1", ""]]],
  ["an id, which lasts", "id: 7\ndata: 1\n\ndata: 2\n\n", [["message", "1", "7"], ["message", "2", "7"]]],
  ["an id without data", "id: 7\n\ndata: 2\n\n", [["message", "2", "7"]]],
  ["an empty id", "id: 7\n\nid\ndata: 2\n\n", [["message", "2", ""]]],
  ["an id with NUL, ignored", "id: 7\nid: 8\0\ndata: 1\n\n", [["message", "1", "7"]]],
  ["comments and unknown fields", ":\n: data: x\nother: 1\nData: y\n data: z\ndata: 1\n\n", [["message", "1", ""]]],
  ["colons in the value", "data: a: b:\n\n", [["message", "a: b:", ""]]],
  ["CR", "data: a\rdata: b\r\r", [["message", "a\nb", ""]]],
  ["CRLF", "data: a\r\ndata: b\r\n\r\n", [["message", "a\nb", ""]]],
  ["all line ends", "data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n", [["message", "a\nb\nc", ""], ["message", "d", ""]]],
  ["no other line ends", "data: a\u2028b\u0085c\x0b\n\n", [["message", "a\u2028b\u0085c\x0b", ""]]],
  ["no end: no event", "data: a\n\ndata: b\n", [["message", "a", ""]]],
];

describe("the format", () => {
  it.each(TABLE)("%s", (_, text, events) => {
    expect(parse(text)).toEqual(events);
    expect(parse(...text)).toEqual(events);
    for (let cut = 1; cut < text.length; cut++) expect(parse(text.slice(0, cut), text.slice(cut))).toEqual(events);
  });

  it("dispatches at a CR, without waiting for what comes behind", () => {
    expect(parse("data: a\r\r")).toHaveLength(1);
  });
});

it("reads retry if it is digits, and keeps the last", () => {
  const parser = new Parser();
  expect(parser.retry).toBeUndefined();
  parser.feed("retry: 250\nretry: 10x\nretry:\nretry: -1\nretry: ٣\n");
  expect(parser.retry).toBe(250);
});

it("moves the last event id at the end of a block only", () => {
  const parser = new Parser("e-1");
  parser.feed("id: e-2\n");
  expect(parser.lastEventId).toBe("e-1");
  parser.feed("\n");
  expect(parser.lastEventId).toBe("e-2");
});

it("knows which events have an id of their own", () => {
  const events = new Parser().feed("id: e-2\ndata: 1\n\ndata: 2\n\n");
  expect(events.map(({ own }) => own)).toEqual([true, false]);
});

it("reads JSON, or nothing", () => {
  expect(readJson('{"to": "e-1"}')).toEqual({ to: "e-1" });
  expect([readJson("null"), readJson("{")]).toEqual([{}, {}]);
});
