// The EventSource of browsers for Node: it can send no header, so the URL holds a minted session id.

import { EventSource } from "eventsource";

import { names, say, url } from "./report.mjs";

const source = new EventSource(url);
source.onopen = () => say("open");
source.onerror = () => say(source.readyState === EventSource.CLOSED ? "closed" : "lost");
for (const name of names) {
  source.addEventListener(name, ({ type, data, lastEventId }) => say("event", { name: type, data, id: lastEventId }));
}
