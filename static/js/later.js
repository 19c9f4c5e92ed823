/* What the board needs only now and then: each part is loaded at the first sign that somebody wants it. */
import { isSingle, summon } from "./keys.js";

const mayMove = () => document.body.matches("[data-may-move]");
const cardAt = (target) => (mayMove() && document.querySelector("[data-board]") ? target.closest?.(".card") : null);

document.addEventListener("click", async (event) => {
  const count = event.target.closest?.("[data-limit]");
  if (count) return summon(import("./limits.js"), ({ openLimit }) => openLimit(count));
  const mark = event.target.closest?.(".card--blocked .card__step, .card .meta:has(.i-link)"); // it lies above the link of its card
  if (mark && !event.shiftKey && !event.ctrlKey && !event.metaKey) return mark.closest(".card").querySelector(".card__title a").click();
  const card = event.shiftKey || event.ctrlKey || event.metaKey ? cardAt(event.target) : null;
  if (!card) return;
  event.preventDefault(); // else the browser opens a window for the card
  event.stopPropagation();
  const { shiftKey } = event;
  (await import("./choosing.js")).choose(card, { upTo: shiftKey });
}, true);

document.addEventListener("pointerover", async ({ target, pointerType }) => {
  if (pointerType === "touch") return;
  const board = target.closest?.("[data-board]");
  const title = board && target.closest(".column__title");
  const blocked = board && (target.closest(".card--blocked .card__step") ?? target.closest(".meta")?.querySelector(".i-link")?.parentElement);
  if (!title && !blocked) return;
  const query = new URLSearchParams(new URL(board.dataset.address, location.href).search);
  if (board.dataset.venture) query.set("board", board.dataset.venture);
  const source = title ? `/board/costs/${title.closest(".column").dataset.column}?${query}` : `/tasks/${blocked.closest(".card").dataset.code}/blockers`;
  (await import("./hovers.js")).tell(title ?? blocked, source);
});

document.addEventListener("keydown", async (event) => {
  const card = cardAt(event.target);
  if (!card || event.defaultPrevented || event.repeat || !isSingle(event) || event.target.closest("button")) return;
  if (event.key === "x") {
    event.preventDefault();
    (await import("./choosing.js")).choose(card, { upTo: event.shiftKey });
  } else if (event.key === " ") {
    event.preventDefault();
    summon(import("./lifting.js"), ({ lift }) => lift(card));
  }
});

/** A server that is away just now is asked for it again with the next change. */
const loadCosts = () => import("./costs.js").catch(() => document.addEventListener("board", loadCosts, { once: true }));
if (document.querySelector("[data-board]")) setTimeout(loadCosts, 600); // after everything that one looks at first
