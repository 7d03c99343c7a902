// What every client script shares: its arguments, and a line of JSON on stdout for each thing that happens to it.

export const [url, token] = process.argv.slice(2);

export const names = ["message", "order", "день", "stream-gap", "stream-closing", "stream-expiring"];

export function say(what, details = {}) {
  process.stdout.write(JSON.stringify({ what, ...details }) + "\n");
}
