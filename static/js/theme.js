/* The theme menu: system, light or dark. What was chosen is kept in this browser and set before paint by early.js. */
const root = document.documentElement;

function show() {
  const chosen = root.dataset.theme || "system";
  for (const row of document.querySelectorAll("[data-theme-choice]")) {
    const on = row.dataset.themeChoice === chosen;
    row.classList.toggle("menu__row--on", on);
    row.setAttribute("aria-pressed", on);
  }
  const sign = document.querySelector(".theme-sign");
  if (sign) sign.className = `icon theme-sign i-${{ system: "system", light: "sun", dark: "moon" }[chosen]}`;
}

document.addEventListener("click", (event) => {
  const row = event.target.closest("[data-theme-choice]");
  if (!row) return;
  const choice = row.dataset.themeChoice;
  if (choice === "system") {
    delete root.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    root.dataset.theme = choice;
    localStorage.setItem("theme", choice);
  }
  show();
  row.closest("[popover]")?.hidePopover();
});
addEventListener("storage", (event) => {
  if (event.key !== "theme") return;
  if (event.newValue) root.dataset.theme = event.newValue;
  else delete root.dataset.theme;
  show();
});
show();
