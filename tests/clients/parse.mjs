// Parses streams with eventsource-parser: a line of stdin is a JSON array of chunks in base64, a line of stdout its events.

import { createInterface } from "node:readline";

import { createParser } from "eventsource-parser";

for await (const line of createInterface({ input: process.stdin })) {
  const events = [];
  const parser = createParser({ onEvent: (event) => events.push(event) });
  const decoder = new TextDecoder();
  for (const chunk of JSON.parse(line)) {
    parser.feed(decoder.decode(Buffer.from(chunk, "base64"), { stream: true }));
  }
  process.stdout.write(JSON.stringify(events.map(({ event, data, id }) => ({ event, data, id }))) + "\n");
}
