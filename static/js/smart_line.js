/* What the title of a new task says beside the title, as the server reads it, shown under it while it is written. Loaded
   at the first sign. */
import { tick } from "./clock.js";
import { html, parse } from "./wire.js";

const PAUSE_MS = 120;
let number = 0;

/** Follows what is written into `title` from now on. */
export function follow(title) {
  if (!title.followed) {
    title.followed = true;
    title.form.elements.zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    title.addEventListener("input", () => read(title));
    title.form.addEventListener("reset", () => show(title.form, ""));
  }
  read(title);
}

async function read(title) {
  const mine = ++number, form = title.form;
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  if (mine !== number) return;
  const query = new URLSearchParams({ title: title.value, zone: form.elements.zone.value });
  const text = await html(`/tasks/new/line?${query}`, { quiet: true });
  if (mine === number && text !== null) show(form, text);
}

function show(form, text) {
  number++; // what is still under way came too late
  const place = form.querySelector("[data-said]"), { status, venture } = form.elements;
  const before = place.querySelector("[data-intake]");
  place.replaceChildren(...parse(text).children);
  tick(place);
  const now = place.querySelector("[data-intake]") ?? (before && venture.selectedOptions[0]);
  if (now && !status.chosen) status.value = now.dataset.intake;
}
