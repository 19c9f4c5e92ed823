/* What is told of a mark while the pointer rests on it: the costs of a column, what a card waits for. Loaded at the first. */
import { place } from "./menus.js";
import { html } from "./wire.js";

const box = Object.assign(document.createElement("div"), { className: "menu hover", popover: "manual", id: "hover" });
box.setAttribute("role", "tooltip");
document.body.append(box);
let over = null;

/** Fetches `source` and shows it beside `mark` until the pointer leaves it. */
export async function tell(mark, source) {
  if (over === mark) return;
  over = mark;
  const leave = () => {
    over = null;
    if (box.matches(":popover-open")) box.hidePopover();
  };
  mark.addEventListener("pointerleave", leave, { once: true });
  document.addEventListener("pointerdown", leave, { once: true, capture: true });
  await new Promise((resolve) => setTimeout(resolve, 250)); // who only passes by wants nothing
  if (over !== mark || !mark.isConnected) return;
  const text = await html(source, { quiet: true });
  if (text === null || over !== mark || !mark.isConnected) return;
  box.innerHTML = text;
  box.showPopover();
  place(box, mark);
}
