"use strict";
// Brings the page's live part up to date every two seconds, and asks before it acts.

const PACE = 2000;
const POINTS = 60;
const live = document.getElementById("live");
const said = document.getElementById("said");
const stale = document.getElementById("stale");
const dialog = document.getElementById("confirm");
const latencies = new Map();
let working = false;

function remember() {
  for (const card of live.querySelectorAll("[data-cluster]")) {
    const known = latencies.get(card.dataset.cluster) ?? [];
    if (card.dataset.latency !== "") known.push(Number(card.dataset.latency));
    latencies.set(card.dataset.cluster, known.slice(-POINTS));
    draw(card.querySelector("polyline"), known.slice(-POINTS));
  }
}

function draw(line, values) {
  const highest = Math.max(1, ...values);
  const step = 100 / (POINTS - 1);
  const from = POINTS - values.length;
  line.setAttribute("points", values.map((value, i) =>
    `${((from + i) * step).toFixed(1)},${(19 - 18 * value / highest).toFixed(1)}`).join(" "));
}

async function update() {
  try {
    const answer = await fetch(document.body.dataset.live, { credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const focused = document.activeElement?.id;
    const scrolled = live.querySelector(".scroll")?.scrollLeft ?? 0;
    const template = document.createElement("template");
    template.innerHTML = await answer.text();
    const before = live.querySelector("[data-standing]").dataset.standing;
    live.replaceChildren(template.content);
    const now = live.querySelector("[data-standing]").dataset;
    document.title = now.title;
    // What was said of another standing would only mislead.
    if (now.standing !== before && !working) say("");
    if (live.querySelector(".scroll")) live.querySelector(".scroll").scrollLeft = scrolled;
    if (focused && live.querySelector(`#${CSS.escape(focused)}`)) document.getElementById(focused).focus();
    stale.hidden = true;
    remember();
  } catch {
    stale.hidden = false;
  }
}

async function keepUpToDate() {
  if (!document.hidden) await update();
  setTimeout(keepUpToDate, PACE);
}

function say(text, kind = "") {
  said.className = kind;
  said.textContent = text;
}

function ask(button) {
  const { act, label, count, from, state, restarted } = button.dataset;
  const processes = count === "1" ? "The one process" : `All ${count} processes`;
  const away = from && from !== label ? ` Operations in flight on ${from} finish there first.` : "";
  const doubts = (state === "down" ? ` ${label} cannot be reached at the moment.` : "") +
    (restarted === undefined ? "" : ` All members of ${label} are new: it may be empty.`);
  document.getElementById("confirm-title").textContent =
    act === "reset" ? `Reset to ${label}?` : `Switch to ${label}?`;
  document.getElementById("confirm-text").textContent =
    `${processes} of this app will use ${label}.${away} No data are copied: the app then reads what ${label} holds.${doubts}` +
    (act === "switch" ? " Automatic failback stays off until a reset." : "");
  const go = document.getElementById("go");
  go.textContent = act === "reset" ? "Reset" : "Switch";
  go.onclick = () => carryOut(act, label);
  document.getElementById("force").checked = false;
  dialog.showModal();
}

async function carryOut(act, label) {
  dialog.close();
  say("Working…");
  working = true;
  const body = act === "switch" ? { cluster: label } : {};
  if (document.getElementById("force").checked) body.force = true;
  try {
    const answer = await fetch(document.body.dataset[act], {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const told = await answer.json();
    if (answer.ok) {
      const missing = told.missing.length ? ` Missing: ${told.missing.join(", ")}.` : "";
      say(`${told.done.length} of ${told.told.length} processes are on ${label}.${missing}`, missing ? "bad" : "good");
    } else {
      say(told.detail || told.title, "bad");
    }
  } catch {
    say("The app did not answer. Look at the clusters before you try again.", "bad");
  }
  await update();
  working = false;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) ask(button);
});
document.getElementById("cancel").addEventListener("click", () => dialog.close());

remember();
setTimeout(keepUpToDate, PACE);
