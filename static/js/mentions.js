/* Names behind an "@": a list that the arrows walk, over the field that is being written in. Loaded at the first "@". */
import { html, parse } from "./wire.js";

const BEGUN = /(?:^|[^\w@/.])@([\w.+-]{0,60})$/;
const PAUSE_MS = 90;
let list = null, field = null, number = 0;

/** Follows what is written into `place` from now on. */
export function offer(place) {
  if (!place.offersNames) {
    place.offersNames = true;
    place.addEventListener("input", () => find(place));
    place.addEventListener("keydown", keys);
    place.addEventListener("blur", close);
  }
  find(place);
}

const begun = (place) => BEGUN.exec(place.value.slice(0, place.selectionEnd));
const rows = () => [...(list?.children ?? [])];
const chosen = () => rows().find((row) => row.ariaSelected === "true");

async function find(place) {
  const mine = ++number, word = begun(place);
  if (!word) return close();
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  if (mine !== number) return;
  const code = place.closest("[data-task]").dataset.task;
  const text = await html(`/tasks/${code}/names?q=${encodeURIComponent(word[1])}`, { quiet: true });
  if (mine !== number || text === null || place !== document.activeElement) return;
  const found = [...parse(text).children];
  if (!found.length) return close();
  show(place, found);
}

function show(place, found) {
  if (!list) {
    list = Object.assign(document.createElement("div"), { id: "mentions", className: "mentions", popover: "manual", role: "listbox", ariaLabel: "Names" });
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      take(event.target.closest("[role=option]"));
    });
    document.body.append(list);
  }
  field = place;
  list.replaceChildren(...found);
  choose(found[0]);
  place.setAttribute("aria-controls", "mentions");
  if (!list.matches(":popover-open")) list.showPopover();
  const { left, bottom, top } = place.getBoundingClientRect();
  const below = bottom + 4 + list.offsetHeight <= innerHeight;
  list.style.left = `${left}px`;
  list.style.top = `${below ? bottom + 4 : top - 4 - list.offsetHeight}px`;
}

function choose(row) {
  for (const other of rows()) other.ariaSelected = String(other === row);
  field.setAttribute("aria-activedescendant", row.id);
}

function keys(event) {
  if (event.isComposing || !list?.matches(":popover-open")) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], all = rows();
  if (step) choose(all.at((all.indexOf(chosen()) + step) % all.length));
  else if (event.key === "Enter" || event.key === "Tab") take(chosen());
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function take(row) {
  const word = row && begun(field);
  if (!word) return close();
  const end = field.selectionEnd;
  field.setRangeText(`${row.dataset.name} `, end - word[1].length, end, "end");
  close();
  field.dispatchEvent(new Event("input", { bubbles: true })); // what is half typed is kept
}

function close() {
  number++;
  field?.removeAttribute("aria-activedescendant");
  if (list?.matches(":popover-open")) list.hidePopover();
}
