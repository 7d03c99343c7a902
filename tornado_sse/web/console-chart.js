// A small line chart over the last five minutes: SVG paths, three grid lines, and a readout under the pointer.

const SPAN = 300; // seconds
const GAP = 3; // seconds without a figure, beyond which the line is broken
const [WIDTH, HEIGHT] = [300, 100];
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function html(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

// The least of 1, 2, 5, 10, 20, 50 ... that holds the value.
export function decimal(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

function line(run) {
  return `M${run.join("L")}${run.length === 1 ? "h.01" : ""}`;
}

function area(run) {
  return `${line(run)}V${HEIGHT}H${run[0][0]}Z`;
}

// The same of 1, 2, 4, 8 ..., for bytes.
export function binary(value) {
  return 2 ** Math.ceil(Math.log2(value));
}

export class Chart {
  // `series`: [{ name, value: (figures) => number or null, kind: "line" | "faint" }], the first of them filled;
  // `least`: of the scale's top.
  constructor(place, { title, series, format, least, ceiling = decimal }) {
    Object.assign(this, { place, title, series, format, least, ceiling, points: [] });
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0, 0.5, 1]) {
      this.svg.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y * HEIGHT, y2: y * HEIGHT }));
    }
    this.fill = this.svg.appendChild(svg("path", { class: "fill" }));
    this.lines = series.map(({ kind }) => svg("path", { class: kind }));
    this.svg.append(...this.lines.toReversed()); // the first lies on top
    this.cursor = this.svg.appendChild(svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" }));
    [this.top, this.middle, this.tip] = ["scale top", "scale middle", "tip"].map((name) => html("span", name));
    this.tip.hidden = true;
    place.replaceChildren(this.svg, this.top, this.middle, this.tip);
    place.addEventListener("pointermove", (event) => this.point(event));
    place.addEventListener("pointerleave", () => this.point(null));
  }

  draw(points, now) {
    Object.assign(this, { points, now });
    const values = this.series.flatMap(({ value }) => points.map(value)).filter((each) => each !== null);
    const most = this.ceiling(Math.max(this.least, ...values));
    this.top.textContent = this.format(most);
    this.middle.textContent = this.format(most / 2);
    const runs = this.series.map(({ value }) => this.runs(value, most));
    runs.forEach((each, index) => this.lines[index].setAttribute("d", each.map(line).join("")));
    this.fill.setAttribute("d", runs[0].map(area).join(""));
    this.svg.setAttribute("aria-label", this.describe(values));
  }

  // The points of one series as they are drawn, parted where something is missing.
  runs(value, most) {
    const runs = [];
    let before = -Infinity;
    for (const point of this.points) {
      const y = value(point);
      if (y !== null && point.at - before > GAP) runs.push([]);
      if (y !== null) runs.at(-1).push([this.x(point).toFixed(1), (HEIGHT * (1 - y / most)).toFixed(1)]);
      before = y === null ? -Infinity : point.at;
    }
    return runs;
  }

  x(point) {
    return WIDTH * (1 - (this.now - point.at) / SPAN);
  }

  describe(values) {
    if (!values.length) return `${this.title}: nothing measured in the last five minutes`;
    const [low, high] = [Math.min(...values), Math.max(...values)].map(this.format);
    return `${this.title}: between ${low} and ${high} in the last five minutes`;
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const at = event && this.now - SPAN * (1 - (event.clientX - box.left) / box.width);
    const point = event && this.points.findLast((each) => each.at <= at + 0.5);
    this.tip.hidden = !point;
    this.cursor.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) return;
    const x = this.x(point);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    const time = new Date(point.at * 1000).toTimeString().slice(0, 8);
    const told = this.series.map(({ name, value }) => {
      return `${name ? `${name} ` : ""}${value(point) === null ? "–" : this.format(value(point))}`;
    });
    this.tip.textContent = [time, ...told].join("  ·  ");
    this.tip.classList.toggle("before", x > WIDTH / 2);
    this.tip.style.left = `${(x / WIDTH) * box.width}px`;
  }
}
