/* The Move menu of a card: every column as a row, and the ends of the queue. The way to move without dragging. */
import { place } from "./menus.js";

let menu = null;

function build() {
  menu = document.createElement("div");
  menu.className = "menu";
  menu.id = "move-menu";
  menu.popover = "auto";
  menu.dataset.menu = "end";
  menu.setAttribute("role", "group");
  menu.setAttribute("aria-label", "Move");
  document.body.append(menu);
}

function row(sign, text, disabled, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "menu__row";
  button.disabled = disabled;
  const icon = document.createElement("i");
  icon.className = `icon ${sign}`;
  button.append(icon, text);
  button.addEventListener("click", () => {
    menu.hidePopover();
    act();
  });
  menu.append(button);
}

/** Opens the menu for `card` beside `anchor`; `move(code, fields)` is called for what is chosen. */
export function openMoveMenu(card, anchor, move) {
  if (!menu) build();
  menu.replaceChildren();
  const { code, column } = card.dataset;
  const list = card.parentElement;
  const cards = [...list.querySelectorAll(".card")];
  const index = cards.indexOf(card);
  const stay = list.closest(".column").dataset.status;
  if (column === "ready") {
    row("i-top", "To the head of the queue", index === 0, () => move(code, { status: stay, before: cards[0].dataset.code }));
    row("i-up", "One place up", index === 0, () => move(code, { status: stay, before: cards[index - 1].dataset.code, after: cards[index - 2]?.dataset.code ?? "" }));
    row("i-down", "One place down", index === cards.length - 1, () => move(code, { status: stay, after: cards[index + 1].dataset.code, before: cards[index + 2]?.dataset.code ?? "" }));
    menu.append(Object.assign(document.createElement("div"), { className: "menu__rule" }));
  }
  for (const goal of document.querySelectorAll(".column:has(> .column__head)")) {
    const sign = goal.querySelector(".column__head .icon").className.replace("icon", "").trim();
    const title = goal.querySelector(".column__title").textContent;
    row(sign, title, goal.dataset.column === column, () => move(code, { status: goal.dataset.status }));
  }
  menu.anchor = anchor;
  menu.showPopover();
  place(menu, anchor);
  menu.querySelector("button:not(:disabled)")?.focus();
}
