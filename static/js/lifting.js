/* A card is dragged by the keyboard: space takes it up, arrows carry it, space puts it down, Escape puts it back. Every
   step is said to who listens. Loaded when a card is first taken up. */
import { hold, putDown } from "./board.js";

const ORDERED = ["inbox", "ready", "assigned"];
const voice = Object.assign(document.createElement("div"), { className: "only-read" });
voice.setAttribute("role", "alert"); // at once: it answers a key
document.body.append(voice);

let held = null;
const say = (text) => setTimeout(() => (voice.textContent = text), 30);
const cardsIn = (list) => [...list.querySelectorAll(":scope > .card")];
const titleOf = (list) => document.getElementById(`title-${list.dataset.cards}`).textContent;

export function lift(card) {
  if (held) return;
  held = card;
  hold(card);
  card.classList.add("card--held");
  document.addEventListener("keydown", carry, true);
  document.addEventListener("pointerdown", back, true);
  say(`${card.querySelector(".card__title").textContent} taken up, in ${titleOf(card.parentElement)}. Arrows move it, space puts it down, Escape puts it back.`);
}

function carry(event) {
  if (event.key === "Escape" || event.key === "Tab") back(event);
  else if (event.key === " " || event.key === "Enter") down(event);
  else if (event.key === "ArrowUp" || event.key === "ArrowDown") along(event.key === "ArrowUp" ? -1 : 1);
  else if (event.key === "ArrowLeft" || event.key === "ArrowRight") across(event.key === "ArrowLeft" ? -1 : 1);
  else if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function along(step) {
  const list = held.parentElement;
  if (!ORDERED.includes(list.dataset.cards)) return say(`${titleOf(list)} orders itself: the latest change is on top.`);
  const cards = cardsIn(list);
  const other = cards[cards.indexOf(held) + step];
  if (!other) return say(step < 0 ? "It is on top." : "It is at the end of what is shown.");
  if (step < 0) other.before(held);
  else other.after(held);
  arrive();
}

function across(step) {
  const lists = [...(held.closest(".lane") ?? document).querySelectorAll("[data-cards]")].filter((list) => list.checkVisibility() && !folded(list));
  const from = held.parentElement;
  const list = lists[lists.indexOf(from) + step];
  if (!list) return say("There is no further column.");
  const index = cardsIn(from).indexOf(held);
  const next = ORDERED.includes(list.dataset.cards) ? cardsIn(list)[index] : cardsIn(list)[0];
  list.insertBefore(held, next ?? list.querySelector(":scope > :not(.card)"));
  arrive();
}

const folded = (list) => (document.documentElement.dataset.collapsed || "").split(" ").includes(list.dataset.cards);

/** The focus goes with the card. */
function arrive() {
  held.querySelector("a").focus({ preventScroll: true });
  held.scrollIntoView({ block: "nearest", inline: "nearest" });
  const cards = cardsIn(held.parentElement);
  say(`${titleOf(held.parentElement)}, place ${cards.indexOf(held) + 1} of ${cards.length}`);
}

function release() {
  const card = held;
  held = null;
  card.classList.remove("card--held");
  document.removeEventListener("keydown", carry, true);
  document.removeEventListener("pointerdown", back, true);
  return card;
}

async function down() {
  const where = titleOf(held.parentElement);
  const card = release();
  const { code } = card.dataset;
  await putDown(card);
  focus(code);
  const now = document.getElementById(`card-${code}`)?.closest("[data-cards]");
  say(now && titleOf(now) === where ? `Put down in ${where}` : "Refused: it is back where it was.");
}

async function back() {
  const card = release();
  await putDown(card, true);
  focus(card.dataset.code);
  say("Put back where it was");
}

const focus = (code) => document.getElementById(`card-${code}`)?.querySelector("a").focus({ preventScroll: true });
