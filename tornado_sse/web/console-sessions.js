// The table of sessions: the server searches, sorts and pages; this shows a page of it, and keeps it fresh.

import { Refused, get } from "./console-api.js";
import { age, bytes, count } from "./console-format.js";

const ROWS = 50;
const DEEPEST = 10_000; // rows that the server pages through
const REFRESH = 3000; // ms
const PAUSE = 200; // ms after a key, until the search is asked for
const FALLING = new Set(["age", "sent", "backlog"]); // what is looked at from its largest on
const $ = (id) => document.getElementById(id);

export class Sessions {
  constructor({ ondisconnect, onrefused }) {
    Object.assign(this, { ondisconnect, onrefused, sort: "age", descending: true, offset: 0, rows: new Map(), asked: 0 });
    $("search").addEventListener("input", () => this.later(PAUSE, () => this.search()));
    $("previous").addEventListener("click", () => this.turn(this.offset - ROWS));
    $("next").addEventListener("click", () => this.turn(this.offset + ROWS));
    for (const head of document.querySelectorAll("th[data-column]")) {
      head.querySelector("button").addEventListener("click", () => this.sortBy(head.dataset.column));
    }
    this.showSort();
  }

  start() {
    this.running = true;
    this.load();
  }

  stop() {
    this.running = false;
    clearTimeout(this.timer);
  }

  sortBy(column) {
    this.descending = column === this.sort ? !this.descending : FALLING.has(column);
    this.sort = column;
    this.showSort();
    this.turn(0);
  }

  // Told to who can't see it, which the count is not while it only goes up and down by itself.
  async search() {
    $("found").ariaLive = "polite";
    await this.turn(0);
  }

  turn(offset) {
    this.offset = Math.max(0, offset);
    return this.load();
  }

  later(pause, what) {
    clearTimeout(this.timer);
    this.timer = setTimeout(what, pause);
  }

  async load() {
    clearTimeout(this.timer);
    const number = (this.asked += 1);
    const { sort, descending, offset } = this;
    try {
      const page = await get("api/sessions", { search: $("search").value, sort, descending, offset, limit: ROWS });
      if (number !== this.asked) return; // another was asked for meanwhile
      if (offset && !page.rows.length) return this.turn(0);
      this.show(page);
    } catch (problem) {
      if (problem instanceof Refused && problem.status === 401) return this.onrefused(problem);
    }
    if (this.running && number === this.asked) this.later(REFRESH, () => this.refresh());
  }

  refresh() {
    if (document.hidden) return this.later(REFRESH, () => this.refresh());
    $("found").ariaLive = "off";
    this.load();
  }

  show({ found, rows }) {
    const last = this.offset + rows.length;
    $("found").textContent = $("search").value.trim() ? `${count(found)} match` : `${count(found)} open`;
    $("pages").hidden = found <= ROWS;
    $("range").textContent = `${count(this.offset + 1)} to ${count(last)} of ${count(found)}`;
    $("previous").disabled = this.offset === 0;
    $("next").disabled = last >= found || last >= DEEPEST;
    this.fill(rows);
  }

  // A row that is still there keeps its elements, so that neither focus nor pointer slips to another.
  fill(rows) {
    const [body, old] = [$("rows"), this.rows];
    this.rows = new Map();
    rows.forEach((row, index) => {
      let key = `${row.user}\n${row.session}\n${row.address}`;
      while (this.rows.has(key)) key += "'"; // two tabs of one session
      const shown = old.get(key) ?? this.make();
      old.delete(key);
      this.rows.set(key, shown);
      this.update(shown, row);
      if (body.children[index] !== shown.element) body.insertBefore(shown.element, body.children[index] ?? null);
    });
    for (const { element } of old.values()) element.remove();
    if (!rows.length) body.replaceChildren(this.nothing());
    else body.querySelector(".nothing")?.parentElement.remove();
  }

  make() {
    const element = document.createElement("tr");
    const cells = ["user", "mono", "mono", "number", "number", "number", "number"].map((name) => cell(element, name));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet danger";
    button.textContent = "Disconnect …";
    cell(element, "action").append(button);
    const shown = { element, cells, button };
    button.addEventListener("click", () => this.ondisconnect(shown.row));
    return shown;
  }

  update(shown, row) {
    shown.row = row;
    const { user, session, address } = row;
    const texts = [user, session, address, count(row.channels), age(row.age), count(row.sent), bytes(row.backlog)];
    texts.forEach((text, index) => {
      if (shown.cells[index].textContent !== text) shown.cells[index].textContent = text;
    });
    shown.cells[6].classList.toggle("warn", row.backlog > 0);
    shown.button.setAttribute("aria-label", `Disconnect ${user}, session ${session}`);
  }

  nothing() {
    const element = document.createElement("tr");
    const only = cell(element, "nothing");
    only.colSpan = 8;
    only.textContent = $("search").value.trim() ? "No open stream matches." : "No stream is open.";
    return element;
  }

  showSort() {
    for (const head of document.querySelectorAll("th[data-column]")) {
      const direction = this.descending ? "descending" : "ascending";
      if (head.dataset.column === this.sort) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    }
  }
}

function cell(row, className) {
  const made = row.insertCell();
  made.className = className;
  return made;
}
