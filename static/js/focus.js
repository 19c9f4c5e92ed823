/* The focus is never lost: when what had it goes away or is hidden, what stands at its place gets it. Not: where the
   focus goes when a task or a dialog opens and closes. */
const REACHABLE = "a[href], button:not(:disabled), input:not(:disabled, [type=hidden]), select:not(:disabled), textarea:not(:disabled), summary, [tabindex='0']";
const DEPTH = 7; // of the ancestors that are remembered

let last = null; // what has the focus, and where it stands in each of its ancestors, the nearest first
let asked = false;

// Asking whether something can be seen lays out what the page has skipped until then (cards out of sight): it is asked of
// the few that come into question, and only when the focus is lost.
const reachable = (place) => [...place.querySelectorAll(REACHABLE)];
const canBeSeen = (one) => one.checkVisibility({ visibilityProperty: true });
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
    if (!now?.checkVisibility()) continue;
    const inside = reachable(now);
    const at = Math.max(0, index);
    const next = inside.slice(at).find(canBeSeen) ?? inside.slice(0, at).findLast(canBeSeen);
    if (next) return next.focus({ preventScroll: true });
  }
}

// What is hidden loses the focus only when the page is drawn.
new MutationObserver(() => {
  if (!last || asked) return;
  asked = true;
  requestAnimationFrame(() => setTimeout(find));
}).observe(document.body, { childList: true, subtree: true, attributeFilter: ["hidden", "disabled"] });
