/* The board as it was: the slider asks for another moment, the address tells which one is shown. */
import { now, tick } from "./clock.js";
import { html, parse, patch } from "./wire.js";

const main = () => document.querySelector("[data-past]");
const slider = () => main().querySelector(".past__slider");
let asking = null, timer = 0;

function moments() {
  const today = new Date(now()).toDateString();
  for (const time of main().querySelectorAll("time[data-moment]")) {
    const when = new Date(time.dateTime);
    const text = when.toDateString() === today ? `today at ${when.toLocaleTimeString(undefined, { hour12: false })}` : when.toLocaleString(undefined, { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
    if (time.textContent !== text) time.textContent = text;
  }
  slider().setAttribute("aria-valuetext", main().querySelector(".past__when").textContent);
  tick(main());
}

async function show(at) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const busy = setTimeout(() => main().classList.add("board--busy"), 200);
  const text = await html(`${main().dataset.past}?at=${at}`, { signal });
  clearTimeout(busy);
  main().classList.remove("board--busy");
  if (text === null || signal.aborted) return;
  const fresh = parse(text).querySelector("[data-past]");
  const board = main().querySelector(".past__board");
  const tops = [...board.querySelectorAll(".column__cards")].map((list) => [list.closest(".column").dataset.column, list.scrollTop]);
  patch(main().querySelector(".past__bar"), fresh.querySelector(".past__bar"));
  board.replaceChildren(...fresh.querySelector(".past__board").children);
  for (const [key, top] of tops) if (top) board.querySelector(`[data-column="${key}"] .column__cards`)?.scrollTo(0, top);
  main().dataset.seq = fresh.dataset.seq;
  if (Number(slider().value) !== Number(fresh.dataset.seq)) slider().value = fresh.dataset.seq;
  history.replaceState(history.state, "", `${main().dataset.past}?at=${fresh.dataset.seq}`);
  moments();
}

main().addEventListener("input", ({ target }) => {
  if (target !== slider()) return;
  clearTimeout(timer);
  timer = setTimeout(() => show(target.value), 60);
});
main().addEventListener("submit", (event) => event.preventDefault());
main().addEventListener("click", (event) => {
  const step = event.target.closest("[data-at]");
  if (!step || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  show(new URL(step.href).searchParams.get("at"));
});
moments();
if (slider().value !== main().dataset.seq) show(slider().value); // it was moved before this was loaded
