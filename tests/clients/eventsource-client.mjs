// A client with headers of one's own; it ends at a 204, as EventSource does.

import { createEventSource } from "eventsource-client";

import { say, token, url } from "./report.mjs";

const source = createEventSource({
  url,
  headers: { Authorization: `Bearer ${token}` },
  onConnect: () => say("open"),
  onDisconnect: () => say("lost"),
  onMessage: ({ event, data, id }) => say("event", { name: event ?? "message", data, id }),
});
process.on("exit", () => say(source.readyState));
