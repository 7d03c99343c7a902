// Numbers as people read them. Everything is a pure function.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1, notation: "compact" });

export function count(value) {
  return whole.format(value);
}

export function many(value, name) {
  return `${count(value)} ${name}${value === 1 ? "" : "s"}`;
}

export function rate(value) {
  return value >= 100_000 ? short.format(value) : whole.format(value);
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${unit && value < 100 ? value.toFixed(1) : whole.format(value)} ${units[unit]}`;
}

export function seconds(value) {
  if (value === null) return "–";
  if (value < 1e-6) return "0 ms";
  if (value < 0.01) return `${(value * 1000).toFixed(1)} ms`;
  return value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(1)} s`;
}

export function age(value) {
  if (value < 60) return `${Math.floor(value)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${String(Math.floor(value % 60)).padStart(2, "0")} s`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ${String(Math.floor((value % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(value / 86400)} d ${Math.floor((value % 86400) / 3600)} h`;
}

export function time(unix) {
  return new Date(unix * 1000).toTimeString().slice(0, 8);
}
