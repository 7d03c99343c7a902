// What browsers tell a page of its sleep. In Node there is nothing to tell.

export interface Sleeper {
  /** The page goes on. `sure`: any connection from before is dead; else it may live. */
  wake(sure: boolean): void;
  /** The page is about to be frozen, or kept for the back button: nothing of it runs from here on. */
  sleep(): void;
}

/** Listen until the function returned is called. */
export function watchSleep(sleeper: Sleeper): () => void {
  const page = globalThis.document;
  if (!page) return () => {};
  const over = new AbortController();
  const on = (target: EventTarget, type: string, handle: (event: Event) => void): void =>
    target.addEventListener(type, handle, { signal: over.signal });
  on(globalThis, "online", () => sleeper.wake(true));
  on(globalThis, "pageshow", (event) => (event as PageTransitionEvent).persisted && sleeper.wake(false));
  on(globalThis, "pagehide", () => sleeper.sleep());
  on(page, "freeze", () => sleeper.sleep());
  on(page, "resume", () => sleeper.wake(false));
  on(page, "visibilitychange", () => page.visibilityState === "visible" && sleeper.wake(false));
  return () => over.abort();
}
