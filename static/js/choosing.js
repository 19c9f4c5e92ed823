/* Several cards are selected and one act goes out to all: what became of each is told at its card. Loaded when the first
   card is selected. */
import { take } from "./board.js";
import { askReason } from "./dialogs.js";
import { toast } from "./toasts.js";
import { html, parse } from "./wire.js";

const chosen = new Set();
let bar = null, latest = null;
const cardOf = (code) => document.getElementById(`card-${code}`);

/** Selects the card, or no longer; `upTo`: all from the last one selected to this one, within a column. */
export async function choose(card, { upTo = false } = {}) {
  const { code } = card.dataset;
  const cards = [...card.parentElement.querySelectorAll(":scope > .card")];
  const from = upTo ? cards.findIndex((other) => other.dataset.code === latest) : -1;
  if (from >= 0) {
    const to = cards.indexOf(card);
    for (const other of cards.slice(Math.min(from, to), Math.max(from, to) + 1)) chosen.add(other.dataset.code);
  } else if (!chosen.delete(code)) chosen.add(code);
  latest = code;
  show();
  if (!bar) await build();
  show();
}

async function build() {
  const text = await html("/board/bulk");
  if (text === null || bar) return;
  document.body.append(parse(text));
  bar = document.getElementById("bulk");
  const style = bar.querySelector("link");
  await new Promise((resolve) => ["load", "error"].forEach((kind) => style.addEventListener(kind, resolve)));
  bar.addEventListener("change", ({ target }) => {
    const { act } = target.dataset;
    if (!act || !target.value) return;
    const value = act === "assign" && target.value === "-" ? "" : target.value;
    target.value = "";
    send(act, value);
  });
  bar.addEventListener("submit", (event) => {
    event.preventDefault();
    const input = event.target.elements.tag;
    if (input.value.trim()) send("tag", input.value);
    input.value = "";
  });
  bar.addEventListener("click", async ({ target }) => {
    if (target.closest("[data-unchoose]")) return clear();
    if (!target.closest('[data-act="cancel"]')) return;
    const reason = await askReason({ title: `Cancel ${tasks(chosen.size)}?`, text: "Whoever works on them is told at the next call.", label: "Reason", ok: "Cancel tasks", danger: true });
    if (reason !== null) send("cancel", reason);
  });
}

const tasks = (n) => `${n} task${n === 1 ? "" : "s"}`;

function show() {
  for (const code of chosen) if (!cardOf(code)) chosen.delete(code);
  for (const card of document.querySelectorAll(".card")) {
    const on = chosen.has(card.dataset.code);
    if (on === card.classList.contains("card--chosen")) continue;
    card.classList.toggle("card--chosen", on);
    const link = card.querySelector("a");
    if (on) link.setAttribute("aria-description", "selected");
    else link.removeAttribute("aria-description");
  }
  if (!bar) return;
  if (!chosen.size && bar.contains(document.activeElement)) (cardOf(latest)?.querySelector("a") ?? document.querySelector("[data-board]")).focus({ preventScroll: true });
  bar.hidden = !chosen.size;
  const text = `${chosen.size} selected`;
  if (bar.firstElementChild.nextElementSibling.textContent !== text) bar.querySelector(".bulk__count").textContent = text;
}

function clear() {
  chosen.clear();
  show();
}

async function send(act, value) {
  const { search } = new URL(document.querySelector("[data-board]").dataset.address, location.href);
  const query = new URLSearchParams(search);
  const { venture } = document.querySelector("[data-board]").dataset;
  if (venture) query.set("board", venture);
  const text = await html(`/board/bulk?${query}`, { method: "POST", fields: { codes: [...chosen].join(","), act, value } });
  if (text === null) return;
  const outcomes = [...parse(text).querySelectorAll("[data-outcome]")];
  const refused = outcomes.filter((outcome) => outcome.textContent);
  take(text, outcomes.map((outcome) => outcome.dataset.outcome));
  chosen.clear();
  for (const outcome of refused) {
    chosen.add(outcome.dataset.outcome);
    tell(cardOf(outcome.dataset.outcome), outcome.textContent);
  }
  show();
  const done = outcomes.length - refused.length;
  const said = refused.length ? `${tasks(done)} changed, ${refused.length} refused: the reason stands on each card.` : `${tasks(done)} changed`;
  toast(said, { key: "bulk", tone: refused.length ? "bad" : "good" });
}

/** The reason stands on the card until the card changes or is no longer selected. */
function tell(card, sentence) {
  if (!card) return;
  const line = Object.assign(document.createElement("p"), { className: "card__step card__step--bad", textContent: sentence });
  card.querySelector(".card__title").after(line);
}

document.addEventListener("board", show);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !chosen.size || document.querySelector("dialog[open], .menu:popover-open") || event.target.closest?.("#drawer, .search")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  clear();
}, true);
