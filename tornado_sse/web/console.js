// The console: signs in, listens to the figures, and does what its buttons say.

import { Live, post, token, tokenFromLink } from "./console-api.js";
import { Panels } from "./console-panels.js";
import { Sessions } from "./console-sessions.js";
import { many, time } from "./console-format.js";

const THEMES = ["auto", "light", "dark"];
const $ = (id) => document.getElementById(id);

const panels = new Panels();
const sessions = new Sessions({ ondisconnect: askToDisconnect, onrefused: refused });
let live = null;
let confirmed = null; // what the dialog's button does
let opener = null; // the button that opened the dialog

// --- signing in and out ---

function signIn(given) {
  token.set(given);
  $("sign-in-problem").textContent = "";
  show("connecting");
  live?.close();
  live = new Live("api/live", { onopen: opened, onevent: received, onlost: () => show("lost"), onrefused: refused });
}

function opened() {
  $("token").value = "";
  $("sign-out").hidden = false;
  if ($("page").hidden) {
    $("page").hidden = false;
    sessions.start();
  }
  $("sign-in").hidden = true;
  show("live");
}

function refused(problem) {
  signOut();
  $("sign-in-problem").textContent = problem.status === 403 ? "This token may not: it lacks the scope admin." : problem.message;
}

function signOut() {
  live?.close();
  sessions.stop();
  panels.clear();
  token.forget();
  if ($("dialog").open) $("dialog").close();
  $("page").hidden = $("sign-out").hidden = true;
  $("sign-in").hidden = false;
  show("out");
  $("token").focus();
}

// --- the figures ---

function received(name, data) {
  if (name !== "figures") return;
  panels.add(data);
  const workers = data.processes > 1 ? `${data.answering} of ${data.processes} workers` : "";
  $("where").textContent = [location.host, workers].filter(Boolean).join("  ·  ");
  document.title = `${many(data.streams, "stream")} – tornado_sse console`;
  show(data.draining ? "draining" : !data.brokerUp ? "broker" : "live", data.at);
}

const STATES = {
  out: ["idle", () => "Not signed in"],
  connecting: ["warn", () => "Connecting"],
  live: ["good", () => "Live"],
  draining: ["warn", () => "Draining"],
  broker: ["bad", () => "The broker is down"],
  lost: ["bad", (since) => (since ? `No connection since ${time(since)}, trying again` : "No connection, trying again")],
};
let heard = 0;

function show(state, at) {
  heard = at ?? heard;
  const [tone, text] = STATES[state];
  const said = text(heard);
  document.body.classList.toggle("stale", state === "lost");
  $("state").dataset.tone = tone;
  if ($("state").textContent !== said) $("state").textContent = said;
}

// --- what the buttons do ---

function ask({ title, text, button, choice }, action) {
  $("dialog-title").textContent = title;
  $("dialog-text").textContent = text;
  $("confirm").textContent = button;
  $("dialog-choice").hidden = !choice;
  if (choice) [$("only-session").textContent, $("whole-user").textContent] = choice;
  $("dialog-form").reset();
  $("dialog-problem").textContent = "";
  [confirmed, opener] = [action, document.activeElement];
  $("dialog").showModal();
  $("cancel").focus();
}

function askToDisconnect({ user, session }) {
  const choice = [`Session ${session}`, `All sessions of ${user}`];
  const text = "Their streams are ended with a farewell, and for a while they are not let in again.";
  ask({ title: `Disconnect ${user}`, text, button: "Disconnect", choice }, async () => {
    const whole = new FormData($("dialog-form")).get("what") === "user";
    await post("api/disconnect", whole ? { user } : { user, session });
    await sessions.load();
  });
}

function askToDrain() {
  const text = "All open streams are closed, and the process ends. Nothing here can start it again.";
  ask({ title: "Drain and stop this server?", text, button: "Drain and stop" }, async () => {
    await post("api/drain");
    $("drain").disabled = true;
    $("drained").textContent = "Draining. This page loses its connection when the server ends.";
  });
}

async function send() {
  const [kind, event] = [$("to").value, $("event").value];
  const to = kind === "all" ? kind : { [kind]: $("name").value };
  const { position, streams } = await post("api/send", { to, data: $("data").value, ...(event && { event }) });
  $("sent").textContent = `Sent as ${position} to ${many(streams, "open stream")}.`;
}

function doing(action, problems) {
  return async (event) => {
    event?.preventDefault();
    try {
      await action();
    } catch (problem) {
      if (problem.status === 401) refused(problem);
      else $(problems).textContent = `That did not work: ${problem.message}`;
    }
  };
}

async function confirm() {
  await confirmed();
  $("dialog").close();
  if (!opener.isConnected) $("search").focus(); // its row is gone
}

// --- light and dark ---

function wear(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("tornado_sse theme", theme);
  $("theme").textContent = `Theme: ${theme}`;
}

$("theme").addEventListener("click", () => {
  wear(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
});
$("sign-in-form").addEventListener("submit", doing(async () => signIn($("token").value.trim()), "sign-in-problem"));
$("sign-out").addEventListener("click", signOut);
$("send").addEventListener("submit", doing(send, "sent"));
$("to").addEventListener("change", () => {
  $("name-label").hidden = $("to").value === "all";
  $("name").required = $("to").value !== "all";
});
$("drain").addEventListener("click", askToDrain);
$("dialog-form").addEventListener("submit", doing(confirm, "dialog-problem"));
$("cancel").addEventListener("click", () => $("dialog").close());
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, textarea, select") || $("page").hidden) return;
  event.preventDefault();
  $("search").focus();
});

const remembered = localStorage.getItem("tornado_sse theme");
wear(THEMES.includes(remembered) ? remembered : "auto");
const given = tokenFromLink() ?? token.get();
if (given) signIn(given);
else $("token").focus();
addEventListener("hashchange", () => {
  const another = tokenFromLink();
  if (another) signIn(another);
});
