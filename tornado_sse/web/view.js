// What is seen of the demo: the state, the figures, the tabs, and the list of what came.

const ENTRIES = 300; // of the list, at most
const STATES = { connecting: "Connecting", open: "Stream open", waiting: "Reconnecting", closed: "Stream closed" };
const ROLES = {
  leader: "This tab leads: it holds the connection. Close it, and another takes over.",
  follower: "Another tab leads: this one has no connection. Close that, and another takes over.",
  alone: "It is this tab’s own: tabs share one only on secure pages, or on localhost.",
};
const $ = (id) => document.getElementById(id);

export const counts = { received: 0, replayed: 0, reconnects: 0, gaps: 0 };

export function show(state, role) {
  $("state").dataset.state = state;
  $("state").textContent = STATES[state];
  $("role").textContent = state === "closed" ? "" : ROLES[role];
}

export function text(id, words) {
  $(id).textContent = words;
}

export function count(name, value) {
  counts[name] = value;
  text(name, value);
}

export function clear() {
  for (const name of Object.keys(counts)) count(name, 0);
  $("log").replaceChildren();
}

export function allow(open) {
  for (const button of document.querySelectorAll("button")) button.disabled = !open;
  $("disconnect").hidden = !open;
  $("restart").hidden = open;
  $("restart").disabled = false;
  if (!open) $("restart").focus();
}

/** `tabs`: id to whether it leads; none does of a stream that is closed. */
export function showTabs(tabs, me) {
  const chips = [...tabs].map(([id, leads], index) => {
    const name = id === me ? "This tab" : `Tab ${index + 1}`;
    return element("li", `${leads ? "leads" : ""} ${id === me ? "me" : ""}`, leads ? `${name} leads` : name);
  });
  $("tabs").replaceChildren(...chips);
  const connection = $("state").dataset.state === "closed" ? "no connection" : "1 connection";
  text("connections", `${tabs.size} ${tabs.size === 1 ? "tab" : "tabs"}, ${connection}`);
}

export function showEvent(event, own, replayed, user) {
  const data = own?.text === undefined
    ? [element("span", "raw", event.data)]
    : [own.text, element("span", "from", own.from === user ? "" : `  from ${own.from}`)];
  const server = event.type.startsWith("stream-");
  const last = element("span", "id", server ? "" : event.lastEventId);
  if (replayed) last.append(element("span", "tag again", "replayed"));
  enter(server ? "server" : replayed ? "replayed" : "live", [element("span", "tag", event.type), ...data], last);
}

export function note(words, kind = "") {
  enter(`note ${kind}`, [words], "");
}

function enter(kind, data, last) {
  const [log, scroll] = [$("log"), $("scroll")];
  const following = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
  const now = new Date();
  const time = element("time", "", `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`);
  const item = element("li", kind, time, element("span", "data", ...data), last);
  log.append(item);
  while (log.children.length > ENTRIES) log.firstChild.remove();
  if (following) scroll.scrollTop = scroll.scrollHeight;
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

export function parse(json) {
  try {
    return JSON.parse(json);
  } catch {
    return null; // what others publish need not be JSON
  }
}
