// The matrix of addresses and lists: a grid with one tab stop, whose checks begin and whose results come in on the page itself.
import { grid } from "./grid.js";
import { say, show } from "./dialog.js";
import { ask } from "./session.js";

const HERE = "/outgoing/delivery-ips/reputation";
const SAY_MS = 5000; // between two messages to screen readers
const LOOK_MS = 10000; // whether somebody else has begun a check
const POLL_MS = 1000; // where no stream can be had
const IDLE_MS = 600000; // nobody looks: the session may end
const ICONS = { ok: "check", info: "info", warning: "warning", critical: "cross", unknown: "question", busy: "clock", plain: "dot" };

export function matrix(root) {
  for (const form of root.querySelectorAll("form[data-matrix]")) watch(form);
}

function watch(form) {
  const table = form.querySelector("[data-grid]");
  if (table) grid(table, { open: "[data-open]", act: ".load" });
  const cells = new Map();
  for (const cell of form.querySelectorAll("[data-cell]")) {
    const key = cell.dataset.cell;
    cells.set(key, [...(cells.get(key) || []), cell]);
  }
  const stop = form.querySelector("[data-stop]");
  const line = form.querySelector("[data-progress]");
  const notes = form.querySelector("[data-notes]");
  const mayCheck = stop && !stop.hasAttribute("data-off");
  let told = form.dataset.told;
  let source = null;
  let polling = false;
  let usedAt = Date.now();

  // What is said, at most every five seconds, and in the end.
  let saidAt = -SAY_MS;
  let waiting = 0;
  const speak = (text, last) => {
    clearTimeout(waiting);
    const now = performance.now();
    const put = () => {
      saidAt = performance.now();
      if (line.textContent !== text) line.textContent = text;
    };
    if (last || now - saidAt >= SAY_MS) put();
    else waiting = setTimeout(put, SAY_MS - (now - saidAt));
  };

  const apply = (news) => {
    told = news.told;
    const rows = new Set();
    for (const one of news.cells) {
      for (const cell of cells.get(`${one.asked} ${one.list}`) || []) {
        draw(cell, one);
        rows.add(cell.closest("tr"));
      }
    }
    for (const row of rows) summarise(row);
    const isRunning = news.running.length > 0;
    if (stop) stop.hidden = !isRunning || !mayCheck;
    form.toggleAttribute("data-running", isRunning);
    if (isRunning) speak(news.running.map((one) => one.text).join(" "), false);
    if (news.ended.length) speak([...news.running, ...news.ended].map((one) => one.text).join(" "), !isRunning);
    for (const note of news.notes) notes.append(noteOf(note, mayCheck));
    return isRunning;
  };

  const connect = () => {
    if (source || polling) return;
    if (!window.EventSource) return void poll();
    source = new EventSource(`${HERE}/events?told=${encodeURIComponent(told)}`);
    source.addEventListener("message", (event) => {
      if (!apply(JSON.parse(event.data))) disconnect();
    });
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return; // it connects again by itself
      disconnect();
      poll();
    });
  };
  const disconnect = () => {
    source?.close();
    source = null;
  };
  const look = async () => {
    try {
      const reply = await fetch(`${HERE}/events?told=${encodeURIComponent(told)}`, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      return reply.ok ? apply(await reply.json()) : false;
    } catch {
      return true; // the server is away for a moment
    }
  };
  const poll = async () => {
    if (polling) return;
    polling = true;
    while (form.isConnected && (await look())) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    polling = false;
  };

  // Beginning a check, and stopping.
  const send = async (address, body, opener) => {
    usedAt = Date.now();
    const reply = await ask(address, { method: "POST", body });
    if (!(reply.headers.get("content-type") || "").includes("json")) return show(reply, opener);
    const answer = await reply.json();
    if (answer.error) return say(answer.error);
    if (answer.location) return location.assign(answer.location);
    if (answer.job) {
      const here = new URL(location.href);
      here.searchParams.set("job", answer.job);
      history.replaceState(null, "", here);
      notes.replaceChildren();
      connect();
    }
  };
  form.addEventListener("submit", (event) => {
    const { submitter } = event;
    event.preventDefault();
    send(submitter?.hasAttribute("formaction") ? submitter.formAction : form.action, new URLSearchParams(new FormData(form, submitter)), submitter);
  });
  const menu = document.getElementById("row-action");
  menu?.addEventListener("submit", (event) => {
    if (!event.submitter?.formAction.includes(`${HERE}/check`)) return;
    event.preventDefault();
    send(event.submitter.formAction, new URLSearchParams(new FormData(menu, event.submitter)), event.submitter);
  });

  for (const kind of ["pointerdown", "keydown"]) document.addEventListener(kind, () => (usedAt = Date.now()), { passive: true });
  setInterval(async () => {
    const isUsed = document.visibilityState === "visible" && Date.now() - usedAt < IDLE_MS;
    if (isUsed && !source && !polling && (await look())) connect();
  }, LOOK_MS);
  if (form.hasAttribute("data-running")) connect();
}

function draw(cell, one) {
  if (one.state === "done") {
    Object.assign(cell.dataset, { tone: one.tone, word: one.word, counts: one.counts });
    let age = cell.querySelector(".age");
    if (!age) {
      age = document.createElement("span");
      age.className = "age";
      cell.append(age);
    }
    age.textContent = one.age;
  }
  const isWaiting = one.state === "queued" || one.state === "checking";
  const [tone, word] = isWaiting ? [one.tone, one.word] : [cell.dataset.tone, cell.dataset.word];
  cell.toggleAttribute("data-waiting", isWaiting);
  const badge = cell.querySelector(".badge");
  badge.className = `badge ${tone}`;
  const use = badge.querySelector("use");
  use.setAttribute("href", `${use.getAttribute("href").split("#")[0]}#${ICONS[tone]}`);
  badge.lastChild.textContent = word;
}

const ORDER = ["listed", "informational", "clean", "unknown", "not checked"];

function summarise(row) {
  const line = row.querySelector("[data-summary]");
  if (!line) return;
  const counts = {};
  for (const cell of row.querySelectorAll("[data-cell]")) counts[cell.dataset.counts] = (counts[cell.dataset.counts] || 0) + 1;
  line.textContent = ORDER.filter((one) => counts[one]).map((one) => `${counts[one]} ${one}`).join(", ") || "not checked";
}

function noteOf(note, mayCheck) {
  const box = document.createElement("div");
  box.className = "note";
  const text = document.createElement("div");
  text.textContent = `${note.text} `;
  if (note.again && mayCheck) {
    const button = document.createElement("button");
    button.name = "again";
    button.value = note.job;
    button.textContent = "Check anyway";
    text.append(button);
  }
  box.append(text);
  return box;
}
