// The client that the server ships for browsers, without one.

import { connect } from "../../tornado_sse/web/client.js";
import { say, token, url } from "./report.mjs";

const [, base, sessionId] = /^(.*)\/sse\/connect\/(.*)$/.exec(url);
const stream = connect({ url: base, sessionId, token: () => token });

stream.addEventListener("open", () => say("open"));
stream.addEventListener("error", () => say(stream.state === "closed" ? "closed" : "lost"));
for await (const { type, data, lastEventId } of stream) {
  say("event", { name: type, data, id: lastEventId });
}
