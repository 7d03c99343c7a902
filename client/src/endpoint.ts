// The three requests that a stream makes, each with a token asked for at that moment.

export type Token = () => string | Promise<string>;

export interface Endpoint {
  /** The stream's address, up to the channels. */
  readonly stream: string;
  readonly channels: readonly string[];
  readonly credentials: RequestCredentials;
  /** None: the address, or a cookie, is the credential. */
  readonly token?: Token | undefined;
  /** Where the session is refreshed and disconnected; none: an address about which nothing more is known. */
  readonly session?: { refresh: string; disconnect: string } | undefined;
}

async function ask(endpoint: Endpoint, url: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (endpoint.token) headers.set("Authorization", `Bearer ${await endpoint.token()}`);
  init.signal?.throwIfAborted();
  return fetch(url, { ...init, headers, credentials: endpoint.credentials, cache: "no-store" });
}

/** A query with each name as often as it has values. */
export function queryOf(values: Record<string, readonly string[]>): string {
  const pairs = Object.entries(values).flatMap(([name, all]) => all.map((value) => [name, value]));
  return pairs.map(([name, value]) => `${name}=${encodeURIComponent(value!)}`).join("&");
}

/** The stream's whole address for one tab alone. */
export function addressOf({ stream, channels }: Endpoint): string {
  return stream + (channels.length ? `?${queryOf({ channel: channels })}` : "");
}

/** Ask for a stream, after `position` unless it is empty. */
export function open(endpoint: Endpoint, url: string, position: string, signal: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (position) headers["Last-Event-ID"] = String.fromCharCode(...new TextEncoder().encode(position)); // UTF-8, as bytes
  return ask(endpoint, url, { headers, signal });
}

/** Lengthen the open streams to a fresh token's end. Does nothing without a token. Rejects if it can't ask. */
export async function refresh(endpoint: Endpoint): Promise<void> {
  if (endpoint.token && endpoint.session) await ask(endpoint, endpoint.session.refresh, { method: "POST" });
}

/** End the session on the server, for all its streams. Rejects if it can't ask, or is refused; 404: there is none. */
export async function disconnect(endpoint: Endpoint): Promise<void> {
  if (!endpoint.session) return;
  const { ok, status } = await ask(endpoint, endpoint.session.disconnect, { method: "DELETE", keepalive: true });
  if (!ok && status !== 404) throw new Error(`status ${status}`);
}
