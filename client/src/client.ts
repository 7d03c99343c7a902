/** The browser client of tornado_sse. */

import type { Endpoint, Token } from "./endpoint.js";
import { EventStream, type StreamOptions } from "./stream.js";

export type { Token } from "./endpoint.js";
export type { Gap } from "./inbox.js";
export { EventStream, type Role, type State, type StreamOptions } from "./stream.js";

export interface ConnectOptions extends StreamOptions {
  /** The server, up to before `/sse/`. Default: the page's own origin. */
  url?: string | undefined;
  /** An id of your choice, or a minted one. */
  sessionId: string;
  /** Asked for a bearer token at every attempt. None: the minted id, or a cookie, is the credential. */
  token?: Token | undefined;
  /** Channels to listen to as well. Tabs that share a connection may each have their own. */
  channels?: readonly string[] | undefined;
  /** Send cookies to another origin too. Default: false. */
  withCredentials?: boolean | undefined;
}

/** Open a stream and keep it open. */
export function connect(options: ConnectOptions): EventStream {
  const { url = "", sessionId, channels = [] } = options;
  const base = url.replace(/\/$/, "");
  const id = encodeURIComponent(sessionId);
  const endpoint: Endpoint = {
    stream: absolute(`${base}/sse/connect/${id}`),
    channels: [...new Set(channels)].sort(),
    credentials: options.withCredentials ? "include" : "same-origin",
    token: options.token,
    session: { refresh: `${base}/sse/sessions/${id}/refresh`, disconnect: `${base}/sse/disconnect/${id}` },
  };
  return new EventStream(endpoint, options);
}

/** In place of the browser's own EventSource: comes back from errors and sleep where that gives up. */
export class EventSource extends EventStream {
  constructor(url: string | URL, { withCredentials = false }: { withCredentials?: boolean } = {}) {
    super({ stream: absolute(String(url)), channels: [], credentials: withCredentials ? "include" : "same-origin" });
  }
}

function absolute(url: string): string {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw new DOMException(`not an address: ${url}`, "SyntaxError");
  }
}
