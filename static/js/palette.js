/* The command palette: go to anything, run what the page offers on the open or focused task. Loaded when first asked for. */
import { open as openTask } from "./drawer.js";
import { html, parse } from "./wire.js";

const RECENT = "recent", KEPT = 8, PAUSE_MS = 90;
let dialog = null, number = 0, finds = [], settled = null;

export async function show() {
  if (!dialog) {
    const text = await html("/palette");
    if (text === null || dialog) return;
    document.body.append(parse(text));
    dialog = document.getElementById("palette");
    const style = dialog.querySelector("link");
    await new Promise((resolve) => { style.addEventListener("load", resolve); style.addEventListener("error", resolve); });
    listen();
  }
  if (dialog.open || document.querySelector("dialog[open]")) return;
  input().value = "";
  dialog.returnTo = document.activeElement;
  dialog.showModal();
  draw();
}

const input = () => dialog.querySelector(".palette__input");
const list = () => dialog.querySelector(".palette__list");
const rows = () => [...list().querySelectorAll('[role="option"]')];

function listen() {
  input().addEventListener("input", draw);
  dialog.addEventListener("keydown", async (event) => {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { event.preventDefault(); choose(step); }
    else if (event.key === "Home" && !input().value) { event.preventDefault(); select(rows()[0]); }
    else if (event.key === "Enter") {
      event.preventDefault();
      await settled; // what is on the screen may belong to fewer letters
      if (dialog.open) run(chosen(), event.metaKey || event.ctrlKey);
    }
  });
  list().addEventListener("pointermove", (event) => { const row = event.target.closest('[role="option"]'); if (row && row !== chosen()) select(row, false); });
  list().addEventListener("click", (event) => {
    const row = event.target.closest('[role="option"]');
    if (!row || (row.href && (event.metaKey || event.ctrlKey || event.shiftKey))) return;
    event.preventDefault();
    run(row);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { number++; finds = []; settled = null; });
}

// ── what is offered ─────────────────────────────────────────────────────────────────────────────────────────────────
/** What the page has at once; what the server finds when the typing pauses. Until then the last finds stay. */
function draw() {
  const words = input().value.trim(), mine = ++number;
  const here = words ? [group("Do", offered(words)), group("Go to", places(words))] : [group("Recent", recent()), group("Do", offered("")), group("Go to", places(""))];
  if (words.length < 2) finds = [];
  fill([...here, ...finds], { searching: words.length > 1 });
  settled = words.length < 2 ? null : find(words, mine).then((found) => {
    if (mine !== number) return settled;
    finds = found;
    fill([...here, ...finds]);
  });
}

async function find(words, mine) {
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  if (mine !== number) return [];
  const text = await html(`/palette?q=${encodeURIComponent(words)}`, { quiet: true });
  return text === null ? [] : [...parse(text).children];
}

function fill(groups, { searching = false } = {}) {
  const kept = chosen()?.dataset.key;
  list().replaceChildren(...groups.filter(Boolean));
  rows().forEach((row, place) => { row.id = `palette-${place}`; row.dataset.key = row.getAttribute("href") ?? row.textContent; });
  select(rows().find((row) => row.dataset.key === kept) ?? rows()[0]);
  const found = rows().length;
  input().setAttribute("aria-expanded", found > 0);
  dialog.querySelector(".palette__none").hidden = found || searching;
  dialog.querySelector("[data-palette-status]").textContent = found === 1 ? "1 result" : `${found} results`;
}

/** What the page can do by a button now: the verbs of the open task, what stands in the bar, what goes for selected cards. */
function offered(words) {
  const buttons = [
    ...document.querySelectorAll("#drawer:not([hidden]) .task__verbs button, .drawer--page .task__verbs button"),
    ...document.querySelectorAll(".bar [data-new-task], .bar [data-dialog], .bar [data-theme-choice]"),
  ];
  const seen = new Set();
  return buttons.flatMap((button) => {
    const label = button.dataset.themeChoice ? `Theme: ${wordsOf(button)}` : button.dataset.palette ?? wordsOf(button);
    if (button.disabled || !label || seen.has(label) || !fits(label, words)) return [];
    seen.add(label);
    const row = option(label, button.closest("#drawer")?.dataset.code ?? "", button.querySelector(".icon")?.className ?? "icon i-check");
    row.act = () => button.click();
    return [row];
  }).concat(together(words));
}

/** What the bar of the selected cards offers: each choice of its lists, and its button. */
function together(words) {
  const bar = document.querySelector("#bulk:not([hidden])");
  if (!bar) return [];
  const count = bar.querySelector(".bulk__count").textContent;
  const choices = [...bar.querySelectorAll("select[data-act] option[value]:not([value=''])")].map((choice) => [
    `${choice.parentElement.options[0].text}: ${choice.text}`,
    () => {
      choice.selected = true;
      choice.parentElement.dispatchEvent(new Event("change", { bubbles: true }));
    },
  ]);
  for (const button of bar.querySelectorAll("button[data-act]")) choices.push([button.textContent, () => button.click()]);
  return choices.filter(([label]) => fits(label, words)).map(([label, act]) => Object.assign(option(label, count, "icon i-check"), { act }));
}

function wordsOf(button) {
  const copy = button.cloneNode(true);
  copy.querySelectorAll("kbd, .only-read").forEach((part) => part.remove());
  return copy.textContent.replace(/\s+/g, " ").trim();
}

function places(words) {
  return [...document.querySelectorAll(".rail__nav .rail__item")].filter((link) => fits(link.querySelector(".clip").textContent, words)).map((link) => {
    const row = option(link.querySelector(".clip").textContent, "", link.querySelector(".icon")?.className ?? "", link.querySelector(".emoji")?.textContent);
    row.dataset.href = link.getAttribute("href");
    return row;
  });
}

function recent() {
  return stored().map(({ href, label, code, icon, emoji }) => {
    const row = option(label, code ?? "", icon, emoji);
    row.dataset.href = href;
    if (code) row.dataset.code = code;
    return row;
  });
}

/** Each word that was typed begins one of the label's. */
const fits = (label, words) => words.toLowerCase().split(/\s+/).every((word) => label.toLowerCase().split(/[\s-]+/).some((part) => part.startsWith(word)));

function group(heading, options) {
  if (!options.length) return null;
  const box = document.createElement("div");
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", heading);
  box.dataset.heading = heading;
  box.append(...options);
  return box;
}

function option(label, hint, icon, emoji = "") {
  const row = Object.assign(document.createElement("button"), { type: "button", className: "palette__row", tabIndex: -1 });
  row.setAttribute("role", "option");
  const sign = Object.assign(document.createElement(emoji ? "span" : "i"), { className: emoji ? "emoji" : icon, textContent: emoji });
  row.append(sign, Object.assign(document.createElement("span"), { className: "clip", textContent: label }), Object.assign(document.createElement("span"), { className: "palette__hint", textContent: hint }));
  return row;
}

// ── choosing ────────────────────────────────────────────────────────────────────────────────────────────────────────
const chosen = () => list().querySelector('[aria-selected="true"]');

function choose(step) {
  const all = rows();
  select(all[(all.indexOf(chosen()) + step + all.length) % all.length]);
}

function select(row, scroll = true) {
  for (const other of rows()) other.setAttribute("aria-selected", other === row);
  if (!row) return input().removeAttribute("aria-activedescendant");
  input().setAttribute("aria-activedescendant", row.id);
  if (scroll) row.scrollIntoView({ block: "nearest" });
}

function run(row, aside = false) {
  if (!row) return;
  const href = row.getAttribute("href") ?? row.dataset.href;
  if (href) keep(row, href);
  dialog.close();
  if (row.act) {
    dialog.returnTo?.focus?.();
    return row.act();
  }
  if (aside) return void window.open(href, "_blank", "noopener");
  if (row.dataset.code) return void openTask(row.dataset.code);
  location.assign(href);
}

function stored() {
  try {
    const kept = JSON.parse(localStorage.getItem(RECENT) ?? "[]");
    return Array.isArray(kept) ? kept.filter((one) => typeof one?.href === "string" && one.href.startsWith("/") && !one.href.startsWith("//")) : [];
  } catch {
    return [];
  }
}

function keep(row, href) {
  const one = { href, label: row.querySelector(".clip").textContent, code: row.dataset.code, icon: row.querySelector("i.icon")?.className ?? "", emoji: row.querySelector(".emoji")?.textContent ?? "" };
  localStorage.setItem(RECENT, JSON.stringify([one, ...stored().filter((other) => other.href !== href)].slice(0, KEPT)));
}
