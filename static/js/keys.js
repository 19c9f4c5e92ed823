/* The keyboard: single keys outside of fields (they can be switched off), Esc everywhere. */
import { openMenu, undo, walk } from "./board.js";
import { openNewTask } from "./dialogs.js";
import { close } from "./drawer.js";

const inField = (element) => element?.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
const busy = () => document.querySelector("dialog[open], .menu:popover-open");
const on = () => localStorage.getItem("keys") !== "off";

/** Whether a key that was pressed is a command of the page: single keys are on, and nobody types or answers a question. */
export function isSingle({ target, metaKey, ctrlKey, altKey }) {
  return on() && !inField(target) && !busy() && !metaKey && !ctrlKey && !altKey;
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  const { key, target } = event;
  if (key.toLowerCase() === "k" && (event.metaKey || event.ctrlKey) && !event.altKey && !event.shiftKey) return act(event, palette);
  if (key === "Escape") {
    if (busy()) return; // the browser closes it
    if (target.matches?.(".search__input")) {
      if (!target.value) target.blur();
      return;
    }
    if (inField(target)) return target.blur();
    if (close()) event.preventDefault();
    return;
  }
  if (key.toLowerCase() === "z" && (event.metaKey || event.ctrlKey) && !event.shiftKey && !inField(target) && !busy() && document.querySelector("[data-board]")) return act(event, undo);
  if (!isSingle(event)) return;
  if (key === "c") act(event, () => openNewTask());
  else if (key === "/") act(event, focusSearch);
  else if (key === "?") act(event, () => document.getElementById("keys-dialog")?.showModal());
  else if (key === "m") {
    const card = document.activeElement?.closest?.(".card");
    if (card) act(event, () => openMenu(card, card));
  } else if (key.startsWith("Arrow") && document.querySelector("[data-board]") && !target.closest?.("#drawer, .rail, .tabs")) {
    if (walk(key)) event.preventDefault();
  }
});

function act(event, what) {
  event.preventDefault();
  what();
}

const AT_MOST = 5000; // ms that keys are kept for a part that does not come

/** Shows a part of the page that is loaded first: `loading` is its import, `show` what to do with it. Keys that are pressed
    until it stands are given to it then, in their order: who types ahead loses nothing. */
export async function summon(loading, show) {
  const early = [];
  const keep = (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || /^F\d/.test(event.key)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    early.push(event);
  };
  const stop = () => removeEventListener("keydown", keep, true);
  addEventListener("keydown", keep, true);
  setTimeout(stop, AT_MOST);
  try {
    await show(await loading);
  } finally {
    stop();
  }
  early.forEach(again);
}

/** What the page and the browser would have done with the key, in the place that has the focus now. */
function again({ key, shiftKey }) {
  const target = document.activeElement;
  if (!target.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, bubbles: true, cancelable: true }))) return;
  const over = target.closest("dialog, .menu");
  if (key === "Escape") over?.matches("dialog") ? over.close() : over?.hidePopover();
  else if (!inField(target)) return;
  else if (key === "Enter") target.form?.requestSubmit();
  else if (key === "Backspace") document.execCommand("delete");
  else if (key.length === 1) document.execCommand("insertText", false, key); // as typed: with its events, and to be undone
}

const palette = () => summon(import("./palette.js"), ({ show }) => show());

const button = document.querySelector("[data-palette-open]");
if (button && !/Mac|iPhone|iPad/.test(navigator.platform)) button.querySelector("kbd").textContent = "Ctrl K";
button?.addEventListener("click", palette);

function focusSearch() {
  const field = [...document.querySelectorAll(".search__input")].find((input) => input.checkVisibility());
  field?.focus();
  field?.select();
}

const box = document.querySelector("[data-keys-switch]");
if (box) {
  box.checked = on();
  box.addEventListener("change", () => (box.checked ? localStorage.removeItem("keys") : localStorage.setItem("keys", "off")));
}
