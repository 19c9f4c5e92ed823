/* What the board needs only now and then: each part is loaded at the first sign that somebody wants it. */
import { isSingle } from "./keys.js";

const mayMove = () => document.body.matches("[data-may-move]");
const cardAt = (target) => (mayMove() && document.querySelector("[data-board]") ? target.closest?.(".card") : null);

document.addEventListener("click", async (event) => {
  const count = event.target.closest?.("[data-limit]");
  if (count) return (await import("./limits.js")).openLimit(count);
  const card = event.shiftKey || event.ctrlKey || event.metaKey ? cardAt(event.target) : null;
  if (!card) return;
  event.preventDefault(); // else the browser opens a window for the card
  event.stopPropagation();
  const { shiftKey } = event;
  (await import("./choosing.js")).choose(card, { upTo: shiftKey });
}, true);

document.addEventListener("keydown", async (event) => {
  const card = cardAt(event.target);
  if (!card || event.defaultPrevented || event.repeat || !isSingle(event) || event.target.closest("button")) return;
  if (event.key === "x") {
    event.preventDefault();
    (await import("./choosing.js")).choose(card, { upTo: event.shiftKey });
  } else if (event.key === " ") {
    event.preventDefault();
    (await import("./lifting.js")).lift(card);
  }
});
