"use client";

/** The hook: a stream as long as the component is there. */

import { useEffect, useRef, useState } from "react";

import { connect, type ConnectOptions, type EventStream, type Role, type State } from "./client.js";

export interface UseEventStream {
  state: State;
  role: Role;
  /** Why it is closed; empty while it is not. */
  reason: string;
  /** The event that came last. Several may come between two renderings: to see each, pass `onEvent`. */
  lastEvent: MessageEvent<string> | undefined;
  /** The stream itself; undefined before the first effect, and on a server. */
  stream: EventStream | undefined;
}

const NONE: UseEventStream = {
  state: "connecting",
  role: "alone",
  reason: "",
  lastEvent: undefined,
  stream: undefined,
};

/**
 * Open a stream; null opens none. Functions may be new at each rendering, the latest are called; a change of anything
 * else closes the stream and opens another.
 */
export function useEventStream(options: ConnectOptions | null): UseEventStream {
  const latest = useRef(options);
  const [seen, setSeen] = useState(NONE);
  useEffect(() => {
    latest.current = options;
  });
  const key = JSON.stringify([options, !!options?.token, !!options?.refetch]); // of functions, whether they are there
  useEffect(() => {
    setSeen(NONE);
    if (!latest.current) return;
    const { token, refetch } = latest.current;
    const stream = connect({
      ...latest.current,
      token: token && (() => latest.current?.token?.() ?? ""),
      refetch: refetch && ((gap) => latest.current?.refetch?.(gap)),
      onEvent: (event) => {
        latest.current?.onEvent?.(event);
        setSeen((before) => ({ ...before, lastEvent: event }));
      },
    });
    const show = (): void => {
      const { state, role, reason } = stream;
      setSeen((before) => ({ ...before, state, role, reason, stream }));
    };
    stream.addEventListener("statechange", show);
    show();
    return () => {
      stream.removeEventListener("statechange", show);
      void stream.close();
    };
  }, [key]);
  return seen;
}
