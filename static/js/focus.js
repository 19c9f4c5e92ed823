/* The focus is never lost: when what had it goes away or is hidden, what stands at its place gets it. Not: where the
   focus goes when a task or a dialog opens and closes. */
const REACHABLE = "a[href], button:not(:disabled), input:not(:disabled, [type=hidden]), select:not(:disabled), textarea:not(:disabled), summary, [tabindex='0']";
const DEPTH = 7; // of the ancestors that are remembered

let last = null; // what has the focus, and where it stands in each of its ancestors, the nearest first
let asked = false;

const reachable = (place) => [...place.querySelectorAll(REACHABLE)].filter((one) => one.checkVisibility({ visibilityProperty: true }));
const here = (node) => (node.isConnected ? node : document.getElementById(node.getAttribute("id") || ""));

document.addEventListener("focusin", ({ target }) => {
  const around = [];
  for (let place = target.parentElement; place && place !== document.body && around.length < DEPTH; place = place.parentElement) {
    around.push([place, reachable(place).indexOf(target)]);
  }
  last = { target, around };
});
const leave = () => (last = null); // somebody wanted no focus any more
document.addEventListener("pointerdown", leave, true);
document.addEventListener("keydown", ({ key }) => key === "Escape" && leave(), true);

function find() {
  asked = false;
  if (!last || document.activeElement !== document.body) return;
  const { target, around } = last;
  const same = here(target);
  if (same?.checkVisibility() && same.matches(REACHABLE)) return same.focus({ preventScroll: true });
  for (const [place, index] of around) {
    const now = here(place);
    const inside = now?.checkVisibility() ? reachable(now) : [];
    if (inside.length) return inside[Math.max(0, Math.min(index, inside.length - 1))].focus({ preventScroll: true });
  }
}

// What is hidden loses the focus only when the page is drawn.
new MutationObserver(() => {
  if (!last || asked) return;
  asked = true;
  requestAnimationFrame(() => setTimeout(find));
}).observe(document.body, { childList: true, subtree: true, attributeFilter: ["hidden", "disabled"] });
