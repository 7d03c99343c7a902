// One stream for all tabs of this page, by the client that this server ships; the rest is for seeing what it does.

import { connect } from "../sse/client.js";
import { allow, clear, count, counts, note, parse, show, showEvent, showTabs, text } from "./view.js";

const KEPT = "demo-session"; // in localStorage: all tabs are the same user
const THREE = ["first", "second", "third"];
const { locks } = navigator; // only on secure pages and on localhost: without, tabs know nothing of each other
const $ = (id) => document.getElementById(id);

let session = null;
let stream = null;
let clockSkew = 0; // seconds that the server's clock is ahead of ours
let openedAt = Infinity; // in the server's time; messages from before then were replayed
let lostAt = null;
let away = null; // positions sent while the stream was cut, and positions that arrived since

// --- the stream ---

async function start() {
  session = await (locks ? locks.request(KEPT, takeSession) : takeSession());
  clockSkew = session.skew;
  [lostAt, away, openedAt] = [null, null, Infinity];
  clear();
  text("user", session.userId);
  text("last-id", "no event yet");
  allow(true);
  stream = connect({
    url: new URL(".", location.href).href,
    sessionId: session.sessionId,
    channels: [session.channel],
    share: true,
    onEvent: received,
    refetch: () => note("This is where a page fetches its state anew; events wait until it has.", "bad"),
  });
  stream.addEventListener("statechange", changed);
  changed();
}

/** The session that another tab keeps, or a new one. One tab at a time asks. */
async function takeSession() {
  const kept = parse(localStorage.getItem(KEPT));
  if (kept && kept.expiresAt > Date.now() / 1000 + kept.skew) return kept;
  const made = await post("demo/session", { name: madeUpName() });
  const fresh = { ...made, skew: made.now - Date.now() / 1000 };
  localStorage.setItem(KEPT, JSON.stringify(fresh));
  return fresh;
}

function changed() {
  const { state, role, reason } = stream;
  show(state, role);
  announce();
  if (state === "open") opened();
  if (state === "waiting") lost();
  if (state === "closed") closed(reason);
}

function opened() {
  if (openedAt !== Infinity && lostAt === null) return; // only the role changed
  openedAt = Date.now() / 1000 + clockSkew;
  if (lostAt === null) return note("Connected. The session id is the only credential.");
  const seconds = ((performance.now() - lostAt) / 1000).toFixed(1);
  lostAt = null;
  count("reconnects", counts.reconnects + 1);
  note(`Connected again after ${seconds} s. What was missed comes first.`);
}

function lost() {
  if (lostAt !== null) return;
  lostAt = performance.now();
  note(`Connection lost. The client comes back with Last-Event-ID ${stream.position || "of the stream’s beginning"}.`);
}

function closed(reason) {
  localStorage.removeItem(KEPT);
  allow(false);
  if (reason === "disconnected") note("The server said goodbye for good, so the client asks no more.", "good");
  else if (reason === "closed") note("This page closed the stream.");
  else startAnew(reason);
}

/** The session ended, or the server was restarted and does not know it. */
function startAnew(reason) {
  note(`The session is over (${reason}). Here is a new one.`);
  start().catch(complain);
}

function received(event) {
  if (event.lastEventId) text("last-id", event.lastEventId);
  if (event.type.startsWith("stream-")) return receivedFromServer(event);
  const own = parse(event.data);
  const replayed = counts.reconnects > 0 && own?.at < openedAt;
  count("received", counts.received + 1);
  if (replayed) count("replayed", counts.replayed + 1);
  showEvent(event, own, replayed, session.userId);
  away?.arrived.push(event.lastEventId);
  compare();
}

function receivedFromServer(event) {
  showEvent(event, null, false);
  if (event.type !== "stream-gap") return;
  away = null;
  count("gaps", counts.gaps + 1);
  note("Some events are gone for good: the server no longer had them, and says so.", "bad");
}

// --- the tabs ---

const me = String(Math.random());
const tabs = new Map(); // id -> whether it leads, in the order of their coming
const hall = locks && new BroadcastChannel("demo-tabs");

/** Each tab holds a lock as long as it lives: even of one that crashed it is known that it is gone. */
function meet() {
  hall.onmessage = ({ data: { id, leads, asks } }) => {
    tabs.set(id, leads);
    if (asks) announce();
    showTabs(tabs, me);
  };
  locks.request(`demo-tab ${me}`, () => {
    announce({ asks: true });
    setInterval(() => dropGone().catch(complain), 1000);
    return new Promise(() => {});
  });
}

function announce(more = {}) {
  const leads = stream?.state !== "closed" && stream?.role === "leader";
  if (leads) for (const id of tabs.keys()) tabs.set(id, false);
  tabs.set(me, leads);
  hall?.postMessage({ id: me, leads, ...more });
  showTabs(tabs, me);
}

async function dropGone() {
  const { held } = await locks.query();
  const living = new Set(held.map(({ name }) => name));
  for (const id of tabs.keys()) if (!living.has(`demo-tab ${id}`)) tabs.delete(id);
  showTabs(tabs, me);
}

// --- what the buttons do ---

async function send(words, to) {
  return post("demo/send", { sessionId: session.sessionId, text: words, to });
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

/** Nothing runs in this tab for five seconds: if it led, another takes over, and later it catches up. */
async function stall() {
  note("This tab stands still for five seconds.");
  await new Promise((resolve) => setTimeout(resolve, 100)); // to be seen
  for (const end = Date.now() + 5000; Date.now() < end; );
  note("It runs again, and is told what it missed.");
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

function madeUpName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  const first = ["amber", "brisk", "calm", "clear", "gentle", "lively", "merry", "quiet", "swift", "wandering"];
  const second = ["badger", "crane", "finch", "heron", "lynx", "marten", "otter", "raven", "stoat", "wren"];
  return `${pick(first)}-${pick(second)}-${100 + Math.floor(Math.random() * 900)}`;
}

function complain(problem) {
  note(`That did not work: ${problem.message}`, "bad");
}

function doing(action) {
  return (event) => {
    event.preventDefault();
    action().catch(complain);
  };
}

$("send").addEventListener("submit", doing(() => send($("text").value, new FormData($("send")).get("to"))));
for (const [id, action] of Object.entries({ cut, "cut-and-send": cutAndSend, stall, disconnect, restart: start })) {
  $(id).addEventListener("click", doing(action));
}
if (locks) meet();
start().catch(complain);
