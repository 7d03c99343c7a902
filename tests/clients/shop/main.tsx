// An application of somebody's, as its types and its bundler see the package: orders by the hook, a price by hand.

import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect, EventSource, type ConnectOptions, type Gap, type Role, type State } from "tornado-sse-client";
import { useEventStream } from "tornado-sse-client/react";

interface Order {
  no: number;
}

const wanted = new URLSearchParams(location.search);
const options: ConnectOptions = {
  url: wanted.get("server") ?? "",
  sessionId: "shop",
  token: async () => wanted.get("token") ?? "",
  channels: ["prices"],
  share: true,
};

function Orders({ options }: { options: ConnectOptions }) {
  const [orders, setOrders] = useState<number[]>([]);
  const { state, role, lastEvent } = useEventStream({
    ...options,
    onEvent: ({ type, data }) => type === "order" && setOrders((all) => [...all, (JSON.parse(data) as Order).no]),
    refetch: async ({ from, to }: Gap) => console.log(from ?? "unknown", to),
  });
  const seen: [State, Role] = [state, role];
  return <p id="orders">{`${seen.join(" ")}: ${orders.join()} ${lastEvent?.type}`}</p>;
}

const prices = connect({ ...options, sessionId: "prices", share: undefined });

function Price() {
  const [seen, setSeen] = useState("");
  useEffect(() => {
    const show = () => setSeen(prices.state);
    prices.addEventListener("statechange", show);
    show();
    prices.addEventListener("price", ({ data }) => setSeen(data.trim()));
    // @ts-expect-error what is no message has no data
    prices.addEventListener("error", ({ data }) => setSeen(data));
  }, []);
  return <p id="price">{seen}</p>;
}

/** Seen by the compiler alone: in place of the browser's own, and one event after the other. */
export async function lines(source: globalThis.EventSource | EventSource, wanted: number): Promise<string[]> {
  const all: string[] = [];
  if (source instanceof EventSource)
    for await (const { data } of source) if (all.push(data) === wanted) break;
  return all;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Orders options={options} />
    <Price />
  </StrictMode>,
);
