"use strict";
// Refreshes the live part of the page every two seconds, and asks for confirmation before an action.

const INTERVAL = 2000;
const POINTS = 60;
const live = document.getElementById("live");
const message = document.getElementById("said");
const stale = document.getElementById("stale");
const dialog = document.getElementById("confirm");
const latencies = new Map();
let isWorking = false;

function recordLatencies() {
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

async function refresh() {
  try {
    const response = await fetch(document.body.dataset.live, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) throw new Error(String(response.status));
    const focused = document.activeElement?.id;
    const scrolled = live.querySelector(".scroll")?.scrollLeft ?? 0;
    const template = document.createElement("template");
    template.innerHTML = await response.text();
    const before = live.querySelector("[data-standing]").dataset.standing;
    live.replaceChildren(template.content);
    const now = live.querySelector("[data-standing]").dataset;
    document.title = now.title;
    // A message about another standing would be misleading.
    if (now.standing !== before && !isWorking) showMessage("");
    if (live.querySelector(".scroll")) live.querySelector(".scroll").scrollLeft = scrolled;
    if (focused && live.querySelector(`#${CSS.escape(focused)}`)) document.getElementById(focused).focus();
    stale.hidden = true;
    recordLatencies();
  } catch {
    stale.hidden = false;
  }
}

async function keepRefreshing() {
  if (!document.hidden) await refresh();
  setTimeout(keepRefreshing, INTERVAL);
}

function showMessage(text, kind = "") {
  message.className = kind;
  message.textContent = text;
}

function openDialog(button) {
  const { act, label, count, from, state, restarted } = button.dataset;
  const processes = count === "1" ? "The one process" : `All ${count} processes`;
  const away = from && from !== label ? ` Operations in flight on ${from} finish there first.` : "";
  const warnings = (state === "down" ? ` ${label} cannot be reached at the moment.` : "") +
    (restarted === undefined ? "" : ` All members of ${label} are new: it may be empty.`);
  document.getElementById("confirm-title").textContent =
    act === "reset" ? `Reset to ${label}?` : `Switch to ${label}?`;
  document.getElementById("confirm-text").textContent =
    `${processes} of this app will use ${label}.${away} No data are copied: the app then reads what ${label} holds.${warnings}` +
    (act === "switch" ? " Automatic failback stays off until a reset." : "");
  const go = document.getElementById("go");
  go.textContent = act === "reset" ? "Reset" : "Switch";
  go.onclick = () => carryOut(act, label);
  document.getElementById("force").checked = false;
  dialog.showModal();
}

async function carryOut(act, label) {
  dialog.close();
  showMessage("Working…");
  isWorking = true;
  const body = act === "switch" ? { cluster: label } : {};
  if (document.getElementById("force").checked) body.force = true;
  try {
    const response = await fetch(document.body.dataset[act], {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const result = await response.json();
    if (response.ok) {
      const missing = result.missing.length ? ` Missing: ${result.missing.join(", ")}.` : "";
      showMessage(`${result.done.length} of ${result.told.length} processes are on ${label}.${missing}`, missing ? "bad" : "good");
    } else {
      showMessage(result.detail || result.title, "bad");
    }
  } catch {
    showMessage("The app did not answer. Check the clusters before you try again.", "bad");
  }
  await refresh();
  isWorking = false;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) openDialog(button);
});
document.getElementById("cancel").addEventListener("click", () => dialog.close());

recordLatencies();
setTimeout(keepRefreshing, INTERVAL);
