/* What each column is estimated to cost, in its head. Loaded when the page has come to rest: the sums read every task. */
import { html, parse } from "./wire.js";

const PACE = 5000; // ms between two requests, at least
let sums = new Map(); // column → what stands in its head
let address = "", timer = 0, askedAt = -PACE;

const board = () => document.querySelector("[data-board]");

function query() {
  const { address: path, venture } = board().dataset;
  const fields = new URLSearchParams(new URL(path ?? location.href, location.href).search);
  if (venture) fields.set("board", venture);
  return `/board/costs?${fields}`;
}

/** Last of its head, where it is in the way of nothing that is compared by its place. */
function put() {
  for (const head of board()?.querySelectorAll(".column__head") ?? []) {
    const old = head.querySelector(".column__cost"), now = sums.get(head.id.slice("head-".length));
    if (old && now?.isEqualNode(old)) continue;
    old?.remove();
    if (now) head.append(now.cloneNode(true));
  }
}

/** Heads come anew with every change: what they cost is put back at once, and asked for again a little later. */
function follow() {
  if (!board()) return;
  if (query() !== address) { // other filters: what was asked under the old ones is no longer true
    clearTimeout(timer);
    sums = new Map();
    timer = 0;
    askedAt = -PACE;
  }
  put();
  timer ||= setTimeout(ask, Math.max(0, askedAt + PACE - performance.now()));
}

async function ask() {
  timer = 0;
  if (!board() || document.hidden) return;
  askedAt = performance.now();
  address = query();
  const asked = address, text = await html(asked, { quiet: true });
  if (text === null || !board() || asked !== query()) return;
  sums = new Map([...parse(text).querySelectorAll("[data-cost-of]")].map((cost) => [cost.dataset.costOf, cost]));
  put();
}

ask();
document.addEventListener("board", follow);
document.addEventListener("visibilitychange", follow);
