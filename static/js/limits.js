/* The limit of a column, set beside its count. Loaded when it is first asked for. */
import { refresh } from "./board.js";
import { place } from "./menus.js";
import { html } from "./wire.js";

let menu = null;

function build() {
  menu = document.createElement("div");
  menu.className = "menu limit";
  menu.popover = "auto";
  menu.setAttribute("role", "group");
  menu.setAttribute("aria-label", "Limit of the column");
  menu.innerHTML = `<form class="limit__form" novalidate><label class="field"><span class="field__label"></span><input class="input" type="number" name="most" min="1" max="100000" inputmode="numeric"></label><p class="field__hint"></p><div class="limit__foot"><button class="btn btn--s" type="button">No limit</button><button class="btn btn--s btn--primary" type="submit">Set</button></div></form>`;
  menu.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    save(menu.querySelector("input").value);
  });
  menu.querySelector("button").addEventListener("click", () => save(""));
  menu.addEventListener("toggle", ({ newState }) => newState === "closed" && menu.anchor?.isConnected && menu.anchor.focus({ preventScroll: true }));
  document.body.append(menu);
}

/** Opens the field beside the count that was pressed. */
export function openLimit(count) {
  if (!menu) build();
  const column = count.closest(".column");
  const input = menu.querySelector("input");
  menu.column = column.dataset.column;
  menu.querySelector(".field__label").textContent = `Limit of ${column.querySelector(".column__title").textContent}`;
  menu.querySelector(".field__hint").textContent = menu.column === "in_progress" ? "At the limit, agents are offered nothing more here." : "Shown on the board; it holds nothing back.";
  input.value = count.dataset.limit;
  menu.anchor = count;
  menu.showPopover();
  place(menu, count);
  input.focus();
  input.select();
}

async function save(most) {
  const { venture } = document.querySelector("[data-board]").dataset;
  if ((await html(`/ventures/${venture}/limit`, { method: "POST", fields: { column: menu.column, most } })) === null) return;
  menu.hidePopover();
  refresh({ quiet: true });
}
