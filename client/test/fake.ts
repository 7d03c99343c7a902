// A server in place of `fetch`: each request waits until the test answers it.

import { vi } from "vitest";

export class Asked {
  readonly headers: Headers;
  readonly response: Promise<Response>;
  #answer!: (response: Response) => void;
  #reject!: (error: Error) => void;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(
    readonly url: string,
    readonly init: RequestInit,
  ) {
    this.headers = new Headers(init.headers);
    this.response = new Promise((resolve, reject) => ([this.#answer, this.#reject] = [resolve, reject]));
    init.signal?.addEventListener("abort", () => {
      const error = new DOMException("aborted", "AbortError");
      this.#reject(error);
      try {
        this.#body?.error(error);
      } catch {
        // it had ended
      }
    });
  }

  get aborted(): boolean {
    return this.init.signal?.aborted ?? false;
  }

  /** Open the stream, with the first text. */
  async open(text = "", headers: Record<string, string> = {}): Promise<this> {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#body = controller) });
    this.#answer(new Response(body, { headers: { "Content-Type": "text/event-stream", ...headers } }));
    await settle();
    return text ? this.send(text) : this;
  }

  async send(text: string | Uint8Array): Promise<this> {
    this.#body!.enqueue(typeof text === "string" ? new TextEncoder().encode(text) : text);
    await settle();
    return this;
  }

  async end(): Promise<void> {
    this.#body!.close();
    await settle();
  }

  async refuse(status: number, headers: Record<string, string> = {}): Promise<void> {
    this.#answer(new Response(null, { status, headers }));
    await settle();
  }

  async fail(): Promise<void> {
    this.#reject(new TypeError("network"));
    await settle();
  }
}

/** Let what was promised happen, without time going by. */
export async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
}

export class FakeServer {
  readonly asked: Asked[] = [];

  constructor() {
    vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
      this.asked.push(new Asked(url, init));
      return this.last.response;
    });
  }

  /** What was asked for last. */
  get last(): Asked {
    return this.asked.at(-1)!;
  }
}
