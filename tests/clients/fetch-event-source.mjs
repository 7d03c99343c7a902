// The client of pages that need a bearer header. It is made for browsers, and wants a page's two globals.

import { fetchEventSource } from "@microsoft/fetch-event-source";

import { say, token, url } from "./report.mjs";

class Over extends Error {}

globalThis.window = globalThis;
globalThis.document = Object.assign(new EventTarget(), { hidden: false });

try {
  await fetchEventSource(url, {
    headers: { Authorization: `Bearer ${token}` },
    async onopen(response) {
      if (response.status === 204) {
        throw new Over("the session is over");
      }
      if (response.status !== 200) {
        throw new Error(`answered ${response.status}`);
      }
      say("open");
    },
    onmessage({ event, data, id }) {
      if (event || data) {
        say("event", { name: event || "message", data, id });
      } // else a block without data: only its id counts
    },
    onclose() {
      throw new Error("the stream ended: connect again");
    },
    onerror(error) {
      if (error instanceof Over) {
        throw error;
      }
      say("lost");
    },
  });
} catch (error) {
  if (!(error instanceof Over)) {
    throw error;
  }
  say("closed");
}
