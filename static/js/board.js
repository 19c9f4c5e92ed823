/* The board: follows the events, keeps every card at its place, drags, filters, collapses, loads further cards.
   The server says which column a card is in and where (data-column, data-order: strings that sort as they are shown). */
import { tick } from "./clock.js";
import { html, parse, patch, patience } from "./wire.js";
import { toast } from "./toasts.js";
import { openMoveMenu } from "./move.js";

const main = () => document.querySelector("[data-board]");
const arranged = () => main().dataset.view; // in lanes or as a list, not in plain columns: then it is fetched as a whole
const listOf = (key, card = null) => (card?.closest(".lane") ?? document).querySelector(`[data-cards="${CSS.escape(key)}"]`);
const cardOf = (code) => document.getElementById(`card-${code}`);
const cardsIn = (list) => [...list.children].filter((node) => node.matches(".card"));
const sentinelOf = (list) => list.querySelector(".column__more-row");
const filters = () => document.getElementById("filters");

let drag = null; // the card in hand
let droppedAt = 0;
export const dragging = () => drag !== null;
export const justDropped = () => Date.now() - droppedAt < 60;

// ── what changed ────────────────────────────────────────────────────────────────────────────────────────────────────
const PACE = 250; // ms between two requests while the server answers with ease
const WHOLE_PACE = 1500; // and between two of the whole, at least four times as long as it took
const MANY = 80; // more cards than this at once: fetch the columns instead
let touched = new Set();
let timer = 0;
let asking = false;
let askedAt = 0;
let pace = PACE;
let everything = false;

document.addEventListener("live", ({ detail }) => {
  if (!main()) return;
  for (const event of detail) {
    if (event.task && (event.seq || event.offered)) touched.add(event.task);
    if (event.seq && event.agent && !event.task) for (const card of document.querySelectorAll(`.card[data-agent="${CSS.escape(event.agent)}"]`)) touched.add(card.dataset.code);
    if (event.data?.renumbered) everything = true; // the places of many cards changed with this one
    if (event.type === "venture.changed") everything = true;
  }
  schedule();
});
document.addEventListener("touched", ({ detail }) => {
  detail.forEach((code) => touched.add(code)); // this page changed them itself: no need to wait for the socket
  schedule();
});
document.addEventListener("resync", () => {
  everything = true;
  schedule();
});

function schedule() {
  if (!main() || timer || asking || drag || (!touched.size && !everything)) return;
  timer = setTimeout(ask, Math.max(0, askedAt + pace - Date.now()));
}

async function ask() {
  timer = 0;
  if (drag) return;
  asking = true;
  askedAt = Date.now();
  const codes = [...touched];
  touched = new Set();
  try {
    if (everything || arranged() || codes.length > MANY) {
      everything = false;
      if (!(await refresh({ quiet: true }))) everything = true; // what was not shown is asked for again
      pace = arranged() || everything ? Math.max(WHOLE_PACE, 4 * (Date.now() - askedAt)) : PACE * patience(Date.now() - askedAt);
    } else {
      const text = await html(`/board/cards?${query({ codes: codes.join(",") })}`, { quiet: true });
      pace = PACE * patience(Date.now() - askedAt);
      if (text === null) codes.forEach((code) => touched.add(code));
      else take(text, codes);
    }
  } finally {
    asking = false;
    if (touched.size || everything) setTimeout(schedule, 0);
  }
}

/** The filters of the page as a query, with `more` added. The venture of a venture's board goes along as `board`. */
function query(more = {}) {
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(filters())) if (value && name !== "show") fields.append(name, value);
  const venture = main().dataset.venture;
  if (venture) fields.set("board", venture);
  for (const [name, value] of Object.entries(more)) fields.set(name, value);
  return fields.toString();
}

/** Takes in an answer of /board/cards or of a move: heads, cards, and codes this board does not show. */
export async function take(text, codes = []) {
  if (arranged()) return refresh({ quiet: true });
  const answer = parse(text);
  if (drag) {
    codes.forEach((code) => touched.add(code));
    return;
  }
  for (const head of answer.querySelectorAll(".column__head")) {
    const old = document.getElementById(head.id);
    if (old) patch(old, head);
  }
  fold(); // the server does not know what this browser folded
  const fresh = [...answer.querySelectorAll(".card")];
  const before = fresh.length <= 8 ? positions(fresh) : null;
  for (const card of fresh) settle(card);
  for (const gone of answer.querySelectorAll("[data-gone]")) remove(gone.dataset.gone);
  if (before) glide(before);
  for (const list of document.querySelectorAll("[data-cards]")) trim(list);
  document.dispatchEvent(new CustomEvent("board"));
}

/** Puts one card where its order says, as new, moved or changed in place. */
function settle(fresh) {
  const old = cardOf(fresh.dataset.code);
  const list = listOf(fresh.dataset.column);
  if (!list) return remove(fresh.dataset.code);
  const others = cardsIn(list).filter((card) => card !== old);
  const next = others.find((card) => card.dataset.order > fresh.dataset.order);
  if (!next && sentinelOf(list) && !sentinelOf(list).hidden && others.length) return remove(fresh.dataset.code); // beyond what is loaded
  const focused = old?.contains(document.activeElement);
  const open = old?.classList.contains("card--open");
  if (old) {
    dropMenuButton(old);
    patch(old, fresh);
  }
  const card = old ?? fresh;
  if (!old) card.classList.add("card--new");
  if (open) card.classList.add("card--open");
  const place = next ?? sentinelOf(list) ?? list.querySelector(".column__empty");
  if (card.nextElementSibling !== place || card.parentElement !== list) {
    list.insertBefore(card, place);
    if (focused) card.querySelector("a").focus({ preventScroll: true });
  }
  tick(card);
}

function remove(code) {
  const card = cardOf(code);
  if (!card) return;
  if (card.contains(document.activeElement)) (card.nextElementSibling?.querySelector?.(".card__title a") ?? main()).focus({ preventScroll: true });
  card.remove();
}

// ── motion: a card glides to its new place, so that one sees where it went ──────────────────────────────────────────
const still = matchMedia("(prefers-reduced-motion: reduce)");

function positions(cards) {
  if (still.matches || document.hidden) return null;
  const before = new Map();
  for (const { dataset } of cards) {
    const old = cardOf(dataset.code);
    if (old?.checkVisibility()) before.set(dataset.code, old.getBoundingClientRect());
  }
  return before;
}

function glide(before) {
  for (const [code, from] of before) {
    const card = cardOf(code);
    if (!card) continue;
    const to = card.getBoundingClientRect();
    const [x, y] = [from.left - to.left, from.top - to.top];
    if (Math.abs(x) + Math.abs(y) > 4) card.animate([{ transform: `translate(${x}px, ${y}px)`, zIndex: 3 }, { transform: "none", zIndex: 3 }], { duration: 150, easing: "cubic-bezier(0.2, 0.8, 0.2, 1)" });
  }
}

// ── further cards ───────────────────────────────────────────────────────────────────────────────────────────────────
const KEEP = 150; // cards a column that is not scrolled keeps in the page
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) target.matches("[data-rows]") ? grow() : more(target.closest("[data-cards]"));
}, { rootMargin: "600px 0px" });

async function more(list) {
  const row = sentinelOf(list);
  if (!row || row.hidden || list.loading || drag) return;
  list.loading = true;
  const last = cardsIn(list).at(-1)?.dataset.order ?? "";
  const text = await html(`/board/column/${list.dataset.cards}?${query({ after: last })}`, { quiet: true });
  list.loading = false;
  if (text === null || !list.isConnected) return;
  const answer = parse(text);
  for (const card of answer.querySelectorAll(".card")) {
    if (cardOf(card.dataset.code)) continue; // it came live in the meantime, and knows better
    row.before(card);
  }
  const freshRow = answer.querySelector(".column__more-row");
  row.hidden = !freshRow || freshRow.hidden;
  if (freshRow) row.replaceChildren(...freshRow.childNodes);
  tick(list);
  watchEnd(row);
  document.dispatchEvent(new CustomEvent("board"));
}

function watchEnd(row) {
  seen.unobserve(row);
  if (!row.hidden) seen.observe(row); // observing anew asks again whether it is in sight
}

/** Lets go of cards far below in a column that nobody scrolled: a page that is open for a week must not grow. */
function trim(list) {
  const cards = cardsIn(list);
  if (cards.length <= KEEP + 50 || list.scrollTop > 200) return;
  for (const card of cards.slice(KEEP)) card.remove();
  sentinelOf(list).hidden = false;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.column__more");
  if (button) more(button.closest("[data-cards]"));
});

// ── filters: the form is the state, the address shows it ────────────────────────────────────────────────────────────
let filtering = null;

/** Fetches filters and columns anew and shows them, with scroll, focus and open menus kept; whether it could. */
export async function refresh({ quiet = false } = {}) {
  filtering?.abort();
  filtering = new AbortController();
  const busy = setTimeout(() => main().classList.add("board--busy"), 150);
  const loaded = [...document.querySelectorAll("[data-cards]")].map((list) => `${list.dataset.cards}:${cardsIn(list).length}`).join(",");
  const rows = main().querySelectorAll("[data-code]:not(.card)").length;
  const text = await html(`${main().dataset.board}?${query(quiet ? (rows ? { most: rows + growth } : { loaded }) : {})}`, { signal: filtering.signal, quiet });
  clearTimeout(busy);
  main().classList.remove("board--busy");
  if (text === null || drag) return false;
  growth = 0;
  const answer = parse(text);
  await dress(answer);
  const openCode = document.querySelector(".card--open")?.dataset.code;
  const scroll = new Map([...document.querySelectorAll("[data-cards]")].map((list) => [list.dataset.cards, quiet ? list.scrollTop : 0]));
  const { scrollLeft: left, scrollTop: top } = main();
  const active = main().contains(document.activeElement) ? document.activeElement : null;
  const focused = active?.closest("[data-code]")?.dataset.code;
  const shown = answer.querySelector("[data-board]");
  main().className = shown.className;
  if (shown.dataset.view) main().dataset.view = shown.dataset.view;
  else delete main().dataset.view;
  main().replaceChildren(...shown.children);
  for (const [key, top] of scroll) if (top && listOf(key)) listOf(key).scrollTop = top;
  main().scrollLeft = left;
  if (quiet) main().scrollTop = top;
  const again = focused ? main().querySelector(`[data-code="${CSS.escape(focused)}"] a`) : active?.id && document.getElementById(active.id);
  if (again) again.focus({ preventScroll: true });
  cardOf(openCode)?.classList.add("card--open");
  const form = answer.getElementById("filters");
  for (const chip of form.querySelectorAll(".chip[id]")) {
    const old = document.getElementById(chip.id);
    if (!old) continue;
    old.className = chip.className;
    if (chip.id !== "chip-cancelled") old.replaceChildren(...chip.childNodes);
  }
  document.querySelector("[data-clear]")?.remove();
  const clear = form.querySelector("[data-clear]");
  if (clear) filters().append(clear);
  set();
  return true;
}

/** What lanes and lists wear is fetched when the first of them is shown. */
async function dress(answer) {
  const link = answer.querySelector('[data-board] link[rel="stylesheet"]');
  if (!link) return;
  link.remove();
  if (document.querySelector(`link[href="${CSS.escape(link.getAttribute("href"))}"]`)) return;
  await new Promise((resolve) => {
    for (const kind of ["load", "error"]) link.addEventListener(kind, resolve);
    document.head.append(link);
  });
}

let growth = 0; // rows that a list is to have on top of those it has

function filter() {
  const fields = new URLSearchParams(query());
  fields.delete("board");
  const address = main().dataset.board + (fields.size ? `?${fields}` : "");
  history.replaceState(history.state, "", location.pathname.startsWith("/tasks/") ? location.href : address);
  main().dataset.address = address;
  return refresh();
}

let typing = 0;
document.addEventListener("input", (event) => {
  const input = event.target;
  if (!input.matches?.(".search__input")) return;
  for (const twin of document.querySelectorAll(".search__input")) if (twin !== input) twin.value = input.value;
  clearTimeout(typing);
  typing = setTimeout(filter, 180);
});
document.addEventListener("change", ({ target }) => {
  if (target.name !== "show" || target.form !== filters()) return;
  const { view, group, sort } = filters().elements;
  view.value = target.dataset.view;
  group.value = target.dataset.group;
  sort.value = "";
  target.closest("[popover]").hidePopover();
  filter();
});
document.addEventListener("click", (event) => {
  const head = event.target.closest("[data-sort]");
  const rows = event.target.closest("[data-rows]");
  if ((!head && !rows) || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  if (rows) return grow();
  filters().elements.sort.value = head.dataset.sort;
  filter();
});
function grow() {
  growth = 100;
  refresh({ quiet: true });
}
document.addEventListener("toggle", ({ target }) => {
  if (!target.matches?.(".lane")) return;
  const shut = shutLanes();
  if (target.open) shut.delete(target.id);
  else shut.add(target.id);
  localStorage.setItem("lanes", [...shut].slice(-200).join(" "));
}, true);
const shutLanes = () => new Set((localStorage.getItem("lanes") ?? "").split(" ").filter(Boolean));
document.addEventListener("change", (event) => {
  if (event.target.form === filters() && filters() && event.target.type === "checkbox") filter();
});
document.addEventListener("submit", (event) => {
  if (event.target !== filters() || !filters()) return;
  event.preventDefault();
  clearTimeout(typing);
  filter();
});
document.addEventListener("click", (event) => {
  const clear = event.target.closest("[data-clear]");
  if (!clear || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  for (const box of filters().elements) if (box.type === "checkbox") box.checked = false;
  for (const input of document.querySelectorAll(".search__input")) input.value = "";
  filter();
});

// ── collapse ────────────────────────────────────────────────────────────────────────────────────────────────────────
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-collapse]");
  if (!button) return;
  const root = document.documentElement;
  const folded = new Set((root.dataset.collapsed || "").split(" ").filter(Boolean));
  if (!folded.delete(button.dataset.collapse)) folded.add(button.dataset.collapse);
  root.dataset.collapsed = [...folded].join(" ");
  localStorage.setItem("collapsed", root.dataset.collapsed);
  fold();
});

function fold() {
  const folded = (document.documentElement.dataset.collapsed || "").split(" ");
  for (const button of document.querySelectorAll("[data-collapse]")) {
    const shut = folded.includes(button.dataset.collapse);
    button.setAttribute("aria-expanded", !shut);
    button.title = shut ? "Unfold" : "Collapse";
  }
}

// ── drag and drop ───────────────────────────────────────────────────────────────────────────────────────────────────
const SORTED = ["inbox", "ready", "assigned"]; // columns whose order a person decides

let sortable = null;

/** Loads SortableJS once, when a pointer first comes near a card: most visits never drag. */
function drags() {
  sortable ??= import(document.body.dataset.sortable).then(lists, () => toast("Dragging could not be loaded. Use the Move menu.", { tone: "bad" }));
  return sortable;
}

// A press that came before it was loaded is handed on, so that not even the first drag is lost.
document.addEventListener("pointerdown", async (event) => {
  if (window.Sortable || event.button || !event.target.closest?.(".card") || !mayMove()) return;
  let held = true;
  const release = () => (held = false);
  for (const type of ["pointerup", "pointercancel"]) document.addEventListener(type, release, { once: true, capture: true });
  await drags();
  if (held && window.Sortable) event.target.dispatchEvent(new PointerEvent("pointerdown", event));
}, true);

const mayMove = () => document.body.matches("[data-may-move]") && main() !== null;

function lists() {
  if (!window.Sortable || !mayMove()) return;
  for (const list of document.querySelectorAll("[data-cards]")) {
    if (list.sortable) continue;
    list.sortable = Sortable.create(list, {
      group: `cards-${list.dataset.lane ?? ""}`, draggable: ".card", sort: SORTED.includes(list.dataset.cards), animation: 0,
      forceFallback: true, fallbackOnBody: true, fallbackTolerance: 5, delay: 220, delayOnTouchOnly: true, touchStartThreshold: 6,
      ghostClass: "card--ghost", fallbackClass: "card--lifted", emptyInsertThreshold: 40, scrollSensitivity: 70, scrollSpeed: 14, bubbleScroll: true,
      onStart: lift, onEnd: drop,
    });
  }
}

const ROOM = 30; // cards of a column that make room by gliding; more of them at once cost frames

function lift({ item }) {
  drag = item;
  for (const list of document.querySelectorAll("[data-cards]")) list.sortable?.option("animation", still.matches || cardsIn(list).length > ROOM ? 0 : 120);
  dropMenuButton(item);
  main().classList.add("board--dragging");
  document.body.classList.add("is-dragging");
}

async function drop({ item, from, to, oldDraggableIndex, newDraggableIndex }) {
  drag = null;
  droppedAt = Date.now();
  // SortableJS swallows the click that ends a drag, and if none came, the next one a person makes: give it one.
  setTimeout(() => document.documentElement.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true })), 50);
  main().classList.remove("board--dragging");
  document.body.classList.remove("is-dragging");
  if (from === to && oldDraggableIndex === newDraggableIndex) {
    home(item);
    return schedule();
  }
  await land(item);
}

/** Asks for the move to where the card lies now. */
async function land(card) {
  const list = card.parentElement;
  const key = list.dataset.cards;
  if (key === card.dataset.column && !SORTED.includes(key)) {
    home(card);
    return schedule();
  }
  await move(card.dataset.code, { status: list.closest(".column").dataset.status, ...(SORTED.includes(key) && neighbours(card)) });
}

function neighbours(card) {
  const cards = cardsIn(card.parentElement);
  const index = cards.indexOf(card);
  return { after: cards[index - 1]?.dataset.code ?? "", before: cards[index + 1]?.dataset.code ?? "" };
}

/** Takes a card in hand by the keyboard: nothing moves under it until it is put down, or back. */
export function hold(card) {
  drag = card;
  dropMenuButton(card);
}

export async function putDown(card, back = false) {
  drag = null;
  if (!back) return land(card);
  home(card);
  schedule();
}

/**
 * Asks for the verb behind a move. `fields`: status, and in a queue `after` or `before` (codes of the neighbours).
 * The answer places the card; a refusal brings it home and says why.
 */
export async function move(code, fields) {
  const card = cardOf(code);
  const before = card && whereabouts(card);
  card?.classList.add("card--pending");
  const text = await html(`/tasks/${code}/move?${query()}`, { method: "PUT", fields });
  cardOf(code)?.classList.remove("card--pending");
  if (text !== null) await take(text);
  else if (cardOf(code)) home(cardOf(code));
  if (text !== null && before) offerUndo(before, fields.status);
  schedule();
  return text !== null;
}

// ── the last move can be taken back where a verb leads back ─────────────────────────────────────────────────────────
const LEADS_BACK = [...SORTED, "in_progress", "on_hold"];
let last = null;

function whereabouts(card) {
  const { code, column, order, agent } = card.dataset;
  const others = SORTED.includes(column) && listOf(column, card) ? cardsIn(listOf(column, card)).filter((other) => other !== card) : [];
  const place = {
    after: others.findLast((other) => other.dataset.column === column && other.dataset.order < order)?.dataset.code ?? "",
    before: others.find((other) => other.dataset.column === column && other.dataset.order > order)?.dataset.code ?? "",
  };
  return { code, column, order, place, assignee: column === "assigned" ? agent : "" };
}

function offerUndo(before, asked) {
  const card = cardOf(before.code);
  last = null;
  const handed = asked === "in_progress" && card?.dataset.column === "assigned" && `Handed to ${card.dataset.agent}. It moves on when it is claimed`;
  if (handed && before.column === "assigned") return toast(handed, { key: "moved" });
  if (!card || !SORTED.includes(before.column) || !LEADS_BACK.includes(card.dataset.column)) return;
  if (card.dataset.column === before.column && card.dataset.order === before.order) return;
  last = { ...before, to: card.dataset.column, at: card.dataset.order };
  const title = document.getElementById(`title-${last.to}`)?.textContent;
  toast(handed || (last.to === last.column ? "Its place in the queue was changed" : `Moved to ${title}`), { key: "moved", act: { text: "Undo", run: undo } });
}

/** Takes the last move of this page back. False: there is none. */
export async function undo() {
  const was = last;
  if (!was) return false;
  last = null;
  const card = cardOf(was.code);
  if (card && (card.dataset.column !== was.to || card.dataset.order !== was.at)) return toast("It has moved on since. Nothing was changed.", { key: "moved" });
  const lost = was.assignee && was.to === "ready"; // Ready is nobody's: whose it was went with the move
  if (lost && (await html(`/tasks/${was.code}/edit`, { method: "POST", fields: { assignee: was.assignee } })) === null) return true;
  const done = await move(was.code, { status: was.column, ...was.place });
  last = null;
  if (done) toast("Taken back", { key: "moved", tone: "good" });
  return true;
}

/** Back to where its column and order say it belongs. */
function home(card) {
  const list = listOf(card.dataset.column, card);
  const next = cardsIn(list).find((other) => other !== card && other.dataset.order > card.dataset.order);
  const before = positions([card]);
  list.insertBefore(card, next ?? list.querySelector(":scope > :not(.card)"));
  if (before) glide(before);
}

/** The Move menu of a card, beside `anchor`. */
export function openMenu(card, anchor) {
  if (mayMove()) openMoveMenu(card, anchor, move);
}

// ── the menu button of the card under the pointer: one for all ──────────────────────────────────────────────────────
const menuButton = document.createElement("button");
menuButton.type = "button";
menuButton.className = "card__menu";
menuButton.tabIndex = -1;
menuButton.innerHTML = '<i class="icon i-more"></i><span class="only-read">Move</span>';
menuButton.addEventListener("click", () => openMenu(menuButton.closest(".card"), menuButton));

function offerMenu(event) {
  const card = event.target.closest?.(".card");
  if (!card || drag || !mayMove()) return;
  drags();
  if (event.pointerType !== "touch" && menuButton.parentElement !== card) card.append(menuButton);
}
function dropMenuButton(card) {
  if (menuButton.parentElement === card) menuButton.remove();
}
document.addEventListener("pointerover", offerMenu);

// ── arrows walk the cards ───────────────────────────────────────────────────────────────────────────────────────────
export function walk(key) {
  const here = document.activeElement?.closest?.(".card");
  const columns = [...document.querySelectorAll("[data-cards]")].filter((list) => list.querySelector(".card")?.checkVisibility());
  if (!columns.length) return false;
  let target;
  if (!here) target = cardsIn(columns[0])[0];
  else if (key === "ArrowUp" || key === "ArrowDown") {
    const cards = cardsIn(here.parentElement);
    target = cards[cards.indexOf(here) + (key === "ArrowDown" ? 1 : -1)];
  } else {
    const list = columns[columns.indexOf(here.parentElement) + (key === "ArrowRight" ? 1 : -1)];
    const { top } = here.getBoundingClientRect();
    target = list && cardsIn(list).reduce((a, b) => (Math.abs(a.getBoundingClientRect().top - top) <= Math.abs(b.getBoundingClientRect().top - top) ? a : b));
  }
  target?.querySelector("a").focus({ preventScroll: true });
  target?.scrollIntoView({ block: "nearest", inline: "nearest" });
  return true;
}

function set() {
  fold();
  lists();
  tick(main());
  for (const row of main().querySelectorAll(".column__more-row, [data-rows]")) watchEnd(row);
  const shut = shutLanes();
  for (const lane of main().querySelectorAll(".lane")) lane.open = !shut.has(lane.id);
  document.dispatchEvent(new CustomEvent("board"));
}

if (main()) {
  main().dataset.address = location.pathname + location.search;
  set();
}
