// The six panels: what each shows of the figures.

import { Chart, binary } from "./console-chart.js";
import { bytes, count, many, rate, seconds } from "./console-format.js";

const SPAN = 300; // seconds
const $ = (id) => document.getElementById(id);

const CHARTS = {
  streams: {
    title: "Open streams", format: count, least: 10,
    series: [{ kind: "line", value: (f) => f.streams }],
    value: (f) => count(f.streams),
    note: (f) => `${many(f.users, "user")}, ${many(f.sessions, "session")}`,
  },
  delivered: {
    title: "Deliveries a second", format: rate, least: 10,
    series: [{ kind: "line", value: (f) => f.delivered }],
    value: (f) => rate(f.delivered),
    note: (f) => `${rate(f.published)} published, ${bytes(f.bytesSent)} a second`,
  },
  latency: {
    title: "Delivery latency", format: seconds, least: 0.002,
    series: [
      { name: "99 %", kind: "line", value: (f) => f.deliveryP99 },
      { name: "median", kind: "faint", value: (f) => f.deliveryMedian },
    ],
    value: (f) => seconds(f.deliveryP99),
    note: (f) => (f.deliveryP99 === null ? "nothing was published" : `99 % of messages; median ${seconds(f.deliveryMedian)}`),
  },
  outbox: {
    title: "Waiting for slow clients", format: bytes, least: 1024, ceiling: binary,
    series: [{ kind: "line", value: (f) => f.outboxBytes }],
    value: (f) => bytes(f.outboxBytes),
    note: (f) => (f.backlogged ? `for ${many(f.backlogged, "stream")}` : "every client keeps up"),
  },
  lag: {
    title: "Loop lag", format: seconds, least: 0.005,
    series: [{ kind: "line", value: (f) => f.lag }],
    value: (f) => seconds(f.lag),
    note: () => "timers ran at most this late, this second",
  },
};

export class Panels {
  constructor() {
    this.points = [];
    this.charts = Object.entries(CHARTS).map(([name, panel]) => {
      return [$(`panel-${name}`), panel, new Chart($(`panel-${name}`).querySelector(".chart"), panel)];
    });
  }

  add(figures) {
    const points = this.points;
    if (points.length && figures.at <= points.at(-1).at) return; // replayed, and known
    points.push(figures);
    while (figures.at - points[0].at > SPAN) points.shift();
    this.wanted ??= requestAnimationFrame(() => this.draw());
  }

  clear() {
    this.points = [];
  }

  draw() {
    this.wanted = null;
    const now = this.points.at(-1);
    if (!now) return;
    for (const [place, panel, chart] of this.charts) {
      say(place, panel.value(now), panel.note(now));
      chart.draw(this.points, now.at);
    }
    this.drawClosings();
  }

  drawClosings() {
    const totals = new Map();
    for (const { closed } of this.points) {
      for (const [reason, times] of Object.entries(closed)) totals.set(reason, (totals.get(reason) ?? 0) + times);
    }
    const sorted = [...totals].sort((one, other) => other[1] - one[1]);
    const [all, most] = [sorted.reduce((sum, [, times]) => sum + times, 0), sorted[0]?.[1]];
    say($("panel-closed"), count(all), "in the last five minutes, by reason");
    const bars = sorted.map(([reason, times]) => bar(reason, times, times / most));
    $("panel-closed").querySelector(".bars").replaceChildren(...bars);
  }
}

function say(place, value, note) {
  place.querySelector(".value").textContent = value;
  place.querySelector(".note").textContent = note;
}

function bar(reason, times, share) {
  const made = document.createElement("li");
  for (const [name, text] of [["reason", reason.replace("_", " ")], ["track", ""], ["times", count(times)]]) {
    const part = made.appendChild(document.createElement("span"));
    part.className = name;
    part.textContent = text;
  }
  made.children[1].style.setProperty("--share", share);
  return made;
}
