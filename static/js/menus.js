/* Popovers beside their buttons, the find field inside long ones, and the rail as a sheet on the phone. */
import { tick } from "./clock.js";
import { html } from "./wire.js";

const GAP = 5;

/** Puts `menu` (open) beside `anchor`, turned over where there is no room. */
export function place(menu, anchor) {
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const end = menu.dataset.menu === "end";
  const left = Math.max(8, Math.min(end ? box.right - width : box.left, innerWidth - width - 8));
  const below = box.bottom + GAP + height <= innerHeight - 8;
  const top = below ? box.bottom + GAP : Math.max(8, box.top - GAP - height);
  menu.style.left = `${left}px`;
  menu.style.top = `${top}px`;
}

const anchorOf = (menu) => menu.anchor || document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!(menu instanceof Element) || !menu.matches(".menu[popover]")) return;
  const anchor = anchorOf(menu);
  const open = event.newState === "open";
  anchor?.setAttribute("aria-expanded", open);
  if (!open) return;
  if (anchor) place(menu, anchor);
  if (menu.dataset.fill) fill(menu, anchor);
  const find = menu.querySelector("[data-find]");
  if (find) {
    find.value = "";
    narrow(find);
    if (matchMedia("(hover: hover)").matches) find.focus();
  }
}, true);

/** What it shows is fetched each time it opens. */
async function fill(menu, anchor) {
  const text = await html(menu.dataset.fill);
  if (text === null || !menu.matches(":popover-open")) return;
  menu.innerHTML = text;
  htmx.process(menu);
  tick();
  if (anchor) place(menu, anchor);
}

function narrow(find) {
  const words = find.value.trim().toLowerCase();
  for (const row of find.parentElement.querySelectorAll(".menu__row")) {
    row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
  }
}

document.addEventListener("input", (event) => event.target.matches?.("[data-find]") && narrow(event.target));
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.(".menu");
  if (!menu || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
  const rows = [...menu.querySelectorAll("a, button, input")].filter((row) => row.checkVisibility() && !row.disabled);
  const next = rows[rows.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
  event.preventDefault();
  next?.focus();
});

// The rail on the phone.
const rail = () => document.getElementById("rail");
function openRail(open) {
  rail()?.classList.toggle("rail--open", open);
  document.querySelector("[data-rail]")?.setAttribute("aria-expanded", open);
  if (open) rail().querySelector("a")?.focus();
}
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-rail]")) openRail(!rail().classList.contains("rail--open"));
  else if (rail()?.classList.contains("rail--open") && !event.target.closest(".rail")) openRail(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && rail()?.classList.contains("rail--open")) {
    openRail(false);
    document.querySelector("[data-rail]").focus();
  }
});
