// One EventSource on a session minted for this page; everything else here is for seeing what it does.

const NAMES = ["message", "note", "announcement", "stream-gap", "stream-closing", "stream-expiring"];
const THREE = ["first", "second", "third"];
const ENTRIES = 300; // of the list, at most
const STATES = { connecting: "Connecting", open: "Stream open", reconnecting: "Reconnecting", closed: "Stream closed" };
const $ = (id) => document.getElementById(id);

let session = null;
let source = null;
let clockSkew = 0; // seconds that the server's clock is ahead of ours
let openedAt = Infinity; // in the server's time; messages from before then were replayed
let lostAt = null;
let farewell = null;
let lastId = "";
let away = null; // positions sent while the stream was cut, and positions that arrived since
const counts = { received: 0, replayed: 0, reconnects: 0 };

// --- the stream ---

async function start() {
  session = await post("demo/session", { name: madeUpName() });
  clockSkew = session.now - Date.now() / 1000;
  [lostAt, farewell, lastId, away, openedAt] = [null, null, "", null, Infinity];
  Object.keys(counts).forEach((name) => count(name, 0));
  $("user").textContent = session.userId;
  $("last-id").textContent = "no event yet";
  $("log").replaceChildren();
  allow(true);
  connect();
}

function connect() {
  show("connecting");
  source = new EventSource(`sse/connect/${session.sessionId}?channel=${session.channel}`);
  source.onopen = opened;
  source.onerror = lost;
  NAMES.forEach((name) => source.addEventListener(name, received));
}

function opened() {
  openedAt = Date.now() / 1000 + clockSkew;
  show("open");
  if (lostAt === null) return note("Connected. The session id in the URL is the only credential.");
  const seconds = ((performance.now() - lostAt) / 1000).toFixed(1);
  lostAt = null;
  count("reconnects", counts.reconnects + 1);
  note(`Connected again after ${seconds} s. What was missed comes first.`);
}

function lost() {
  if (source.readyState === EventSource.CLOSED) return closed();
  if (source.readyState !== EventSource.CONNECTING || lostAt !== null) return;
  lostAt = performance.now();
  show("reconnecting");
  note(`Connection lost. The browser comes back with Last-Event-ID ${lastId || "of the stream’s beginning"}.`);
}

function closed() {
  show("closed");
  if (farewell?.reason === "disconnected") {
    note("The browser asked once more, was answered 204 No Content, and stopped for good.", "good");
  } else {
    note("The server refused this session, so the browser stopped. It may have expired, or the server was restarted.", "bad");
  }
  allow(false);
}

function received(event) {
  if (event.lastEventId) $("last-id").textContent = lastId = event.lastEventId;
  if (event.type.startsWith("stream-")) return receivedFromServer(event);
  const own = parse(event.data);
  const replayed = counts.reconnects > 0 && own?.at < openedAt;
  count("received", counts.received + 1);
  if (replayed) count("replayed", counts.replayed + 1);
  showEvent(event, own, replayed);
  away?.arrived.push(event.lastEventId);
  compare();
}

function receivedFromServer(event) {
  if (event.type === "stream-closing") farewell = parse(event.data);
  showEvent(event, null, false);
  if (event.type !== "stream-gap") return;
  away = null;
  note("Some events are gone for good: the server no longer had them, and says so.", "bad");
}

// --- what the buttons do ---

async function send(text, to) {
  return post("demo/send", { sessionId: session.sessionId, text, to });
}

async function cut() {
  const { streams } = await post("demo/cut", { sessionId: session.sessionId });
  if (!streams) note("There is no connection to cut just now.");
  return streams;
}

async function cutAndSend() {
  if (!(await cut())) return;
  const [sent, arrived] = [[], []];
  away = { sent, arrived };
  for (const which of THREE) sent.push((await send(`The ${which} one, sent while you were away`, "me")).position);
  note("Three events were sent. Nobody was there to get them.");
  compare();
}

function compare() {
  if (away?.sent.length !== THREE.length || !away.sent.every((position) => away.arrived.includes(position))) return;
  const arrived = away.arrived.filter((position) => away.sent.includes(position));
  const exact = arrived.join() === away.sent.join();
  away = null;
  note(exact ? "All three arrived: each once, and in order." : "They did not arrive in order.", exact ? "good" : "bad");
}

async function disconnect() {
  const response = await fetch(`sse/disconnect/${session.sessionId}`, { method: "DELETE" });
  if (!response.ok) throw new Error((await response.json()).message);
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

// --- what is seen ---

function show(state) {
  $("state").dataset.state = state;
  $("state").textContent = STATES[state];
}

function count(name, value) {
  counts[name] = value;
  $(name).textContent = value;
}

function allow(open) {
  for (const button of document.querySelectorAll("button")) button.disabled = !open;
  $("disconnect").hidden = !open;
  $("restart").hidden = open;
  $("restart").disabled = false;
  if (!open) $("restart").focus();
}

function showEvent(event, own, replayed) {
  const data = own?.text === undefined
    ? [element("span", "raw", event.data)]
    : [own.text, element("span", "from", own.from === session.userId ? "" : `  from ${own.from}`)];
  const kind = event.type.startsWith("stream-") ? "server" : replayed ? "replayed" : "live";
  const last = element("span", "id", event.type.startsWith("stream-") ? "" : event.lastEventId);
  if (replayed) last.append(element("span", "tag again", "replayed"));
  enter(kind, [element("span", "tag", event.type), ...data], last);
}

function note(text, kind = "") {
  enter(`note ${kind}`, [text], "");
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

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // what others publish need not be JSON
  }
}

function madeUpName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  const first = ["amber", "brisk", "calm", "clear", "gentle", "lively", "merry", "quiet", "swift", "wandering"];
  const second = ["badger", "crane", "finch", "heron", "lynx", "marten", "otter", "raven", "stoat", "wren"];
  return `${pick(first)}-${pick(second)}-${100 + Math.floor(Math.random() * 900)}`;
}

function doing(action) {
  return (event) => {
    event.preventDefault();
    action().catch((problem) => note(`That did not work: ${problem.message}`, "bad"));
  };
}

$("send").addEventListener("submit", doing(() => send($("text").value, new FormData($("send")).get("to"))));
$("cut").addEventListener("click", doing(cut));
$("cut-and-send").addEventListener("click", doing(cutAndSend));
$("disconnect").addEventListener("click", doing(disconnect));
$("restart").addEventListener("click", doing(start));
start().catch((problem) => note(`No session: ${problem.message}`, "bad"));
