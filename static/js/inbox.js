/* The keys of the inbox: j and k walk the lines, a and r press the way onward and the way back of the one with the focus, shift and a the way onward of all that are like it.
   What is done leaves the list; the focus stays at its place. */
import { isSingle } from "./keys.js";
import { refresh } from "./watch.js";

const rows = () => [...document.querySelectorAll("[data-ask-row]")];
const current = () => document.activeElement?.closest?.("[data-ask-row]");
let place = 0; // of the line that had the focus last
let left = false; // its buttons went away under the focus

function go(index) {
  const all = rows();
  const row = all[Math.max(0, Math.min(index, all.length - 1))];
  row?.querySelector("a").focus({ preventScroll: true });
  row?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || !isSingle(event) || event.target.closest?.("#drawer")) return;
  const row = current();
  const step = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && (event.key.length === 1 || row)) {
    event.preventDefault();
    go(row ? rows().indexOf(row) + step : place);
  } else if (row?.dataset.alike && event.key === "A") {
    event.preventDefault();
    document.querySelector(`[data-alike-go="${CSS.escape(row.dataset.alike)}"]`)?.click();
  } else if (row && (event.key === "a" || event.key === "r")) {
    const button = row.querySelector(`[data-key="${event.key}"]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  }
});

document.addEventListener("focusin", ({ target }) => {
  const row = target.closest?.("[data-ask-row]");
  if (row) place = rows().indexOf(row);
  left = Boolean(row);
});
document.addEventListener("pointerdown", () => (left = false));

// A line that was done takes the focus with it: the one that moved up gets it, unless a person went elsewhere.
new MutationObserver(() => {
  if (left && document.activeElement === document.body) go(place);
}).observe(document.getElementById("main"), { childList: true, subtree: true });

setInterval(() => refresh(document.getElementById("inbox")), 60_000); // falling silent is no event
