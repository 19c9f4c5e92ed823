/* The task over the board: opens by its link, has its own address, closes by Esc, button or Back. A task that is opened
   by its address is a page of its own and needs nothing of this but the saving of forms. */
import { tick } from "./clock.js";
import { forget, restore } from "./drafts.js";
import { justDropped } from "./board.js";
import { refresh } from "./watch.js";
import { call, html } from "./wire.js";
import { plainly, toast } from "./toasts.js";

const drawer = () => document.getElementById("drawer");
const baseTitle = document.title;
let opener = null;

const waiting = '<div class="drawer__waiting" aria-busy="true"><span class="skeleton"></span><span class="skeleton"></span><span class="skeleton"></span><span class="skeleton"></span></div>';

/** Shows task `code`. `push`: with an entry in the history of the browser. */
export async function open(code, { push = true } = {}) {
  const place = drawer();
  if (!place) return void location.assign(`/tasks/${code}`);
  if (place.hidden) opener = document.activeElement;
  place.dataset.code = code;
  if (push) {
    const state = { drawer: code };
    if (history.state?.drawer) history.replaceState(state, "", `/tasks/${code}`);
    else history.pushState(state, "", `/tasks/${code}`);
  }
  mark();
  if (place.hidden || !place.firstElementChild) place.innerHTML = waiting;
  place.hidden = false;
  const text = await html(`/tasks/${code}/drawer`);
  if (place.dataset.code !== code || place.hidden) return;
  if (text === null) return void close();
  place.innerHTML = text;
  place.scrollTop = 0;
  htmx.process(place);
  arrived(place);
  place.tabIndex = -1;
  place.focus({ preventScroll: true });
}

export function close({ pop = false } = {}) {
  const place = drawer();
  if (!place || place.hidden) return false;
  if (!pop && history.state?.drawer) {
    history.back(); // popstate closes it
    return true;
  }
  const code = place.dataset.code;
  place.hidden = true;
  place.replaceChildren();
  delete place.dataset.code;
  mark();
  document.title = baseTitle;
  const card = document.getElementById(`card-${code}`);
  (card?.querySelector("a") ?? opener)?.focus?.({ preventScroll: true });
  return true;
}

/** The card of the open task wears a frame. */
function mark() {
  const code = drawer()?.dataset.code;
  for (const card of document.querySelectorAll(".card--open")) if (card.dataset.code !== code) card.classList.remove("card--open");
  if (code) document.getElementById(`card-${code}`)?.classList.add("card--open");
}
document.addEventListener("board", mark);

function arrived(place) {
  const task = place.querySelector?.(".task");
  if (task && drawer()) {
    document.title = task.dataset.title;
    drawer().setAttribute("aria-label", task.dataset.title);
  }
  tick(place);
  for (const form of place.querySelectorAll?.("[data-edit-form][data-draft]") ?? []) if (form.hidden && restore(form)) unfold(form, true);
  for (const form of place.querySelectorAll?.(".say[data-draft]") ?? []) if (!form.contains(document.activeElement)) restore(form);
}

/** Who writes "@" is offered names; the list is loaded at the first one. */
document.addEventListener("input", async ({ target, data }) => {
  if (data === "@" && target.matches?.("[data-mentions]")) (await import("./mentions.js")).offer(target);
});

addEventListener("popstate", ({ state }) => {
  if (!drawer()) return;
  if (state?.drawer) open(state.drawer, { push: false });
  else close({ pop: true });
});

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest("a");
  if (justDropped() && link?.closest(".card")) return void event.preventDefault();
  const code = link?.closest(".card__title") ? link.closest(".card").dataset.code : link?.dataset.drawer;
  if (code && drawer()) {
    event.preventDefault();
    open(code);
  } else if (event.target.closest("[data-drawer-close]")) close();
});

// ── what opens a shut gate: a place in the task, or a call of the API as it stands ──────────────────────────────────
document.addEventListener("click", async (event) => {
  const place = event.target.closest('.task a[href^="#"]');
  if (place) {
    event.preventDefault(); // a step in the history would close the drawer
    const target = document.getElementById(place.hash.slice(1));
    target?.scrollIntoView({ block: "center" });
    (target?.matches("select, input") ? target : target?.parentElement.querySelector("button"))?.focus({ preventScroll: true });
  }
  const button = event.target.closest(".task [data-call]");
  if (!button) return;
  button.disabled = true;
  const [method, url] = button.dataset.call.split(" ");
  await call(method, url, button.dataset.body);
  button.disabled = false;
  refresh(button.closest("[data-src]") ?? document.body);
});

// ── edit in place ───────────────────────────────────────────────────────────────────────────────────────────────────
function unfold(form, openIt) {
  form.hidden = !openIt;
  const id = form.id;
  document.querySelector(`[data-view="${CSS.escape(id)}"]`)?.toggleAttribute("hidden", openIt);
  const button = document.querySelector(`[data-edit="${CSS.escape(id)}"]`);
  button?.setAttribute("aria-expanded", openIt);
  button?.toggleAttribute("hidden", openIt);
}

document.addEventListener("click", (event) => {
  const edit = event.target.closest("[data-edit]");
  const cancel = event.target.closest("[data-edit-cancel]");
  if (edit) {
    const form = document.getElementById(edit.dataset.edit);
    unfold(form, true);
    form.querySelector("textarea").focus();
  } else if (cancel) {
    const form = document.getElementById(cancel.dataset.editCancel);
    form.reset();
    forget(form);
    unfold(form, false);
    refresh(form.closest(".task")); // what changed while it was open was not shown
    document.querySelector(`[data-edit="${CSS.escape(form.id)}"]`)?.focus();
  }
});

document.addEventListener("keydown", (event) => {
  const field = event.target;
  if (!(field instanceof HTMLElement) || !field.closest("form")) return;
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) {
    event.preventDefault();
    field.closest("form").requestSubmit();
  } else if (event.key === "Enter" && "enterSaves" in field.dataset && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    field.blur(); // blur fires change, change saves
  } else if (event.key === "Escape" && field.matches(".in-place") && field.value !== field.defaultValue && field.defaultValue !== undefined) {
    event.stopPropagation();
    field.value = field.defaultValue;
    field.blur();
  }
}, true);

// A local date and time becomes the instant it means; an empty field says "none".
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  const form = ctx.sourceElement.closest("form") ?? ctx.sourceElement;
  const body = ctx.request.body;
  for (const input of form.querySelectorAll?.('input[type="datetime-local"][name]') ?? []) {
    if (body?.has?.(input.name) && input.value) body.set(input.name, new Date(input.value).toISOString());
  }
});

// What was saved is no longer half typed.
document.addEventListener("htmx:before:swap", ({ detail: { ctx } }) => {
  if (!ctx.response || ctx.request.method === "GET" || ctx.response.status >= 400) return;
  const source = ctx.sourceElement;
  const fields = source.matches("form") ? source.querySelectorAll("input, textarea") : [source];
  for (const field of fields) {
    if (field.type === "hidden") continue;
    if (field.name === "add_tag" || field.name === "depends_on" || "sentEmpty" in field.dataset) field.value = "";
    if (field.defaultValue !== undefined) field.defaultValue = field.value;
  }
  if (source.matches("[data-draft]")) forget(source);
  if (source.matches("[data-edit-form]")) unfold(source, false);
  const task = source.closest(".task");
  if (task) document.dispatchEvent(new CustomEvent("touched", { detail: [task.dataset.task] }));
});

document.addEventListener("htmx:after:swap", (event) => {
  const task = event.target.closest?.(".task") ?? document.querySelector(".task");
  if (!task) return;
  arrived(task.parentElement);
  const tab = new URL(task.dataset.src, location.href).searchParams.get("tab");
  const address = `/tasks/${task.dataset.task}${tab && tab !== "overview" ? `?tab=${tab}` : ""}`;
  if (location.pathname === `/tasks/${task.dataset.task}` && location.pathname + location.search !== address) history.replaceState(history.state, "", address);
});

// ── what a request that failed says ─────────────────────────────────────────────────────────────────────────────────
document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => {
  const { status } = ctx.response;
  if (ctx.sourceElement.matches?.("[data-new-task-form]") && status === 400) return; // shown at its fields
  let text = "";
  try {
    text = JSON.parse(ctx.text).error;
  } catch {
    /* not JSON */
  }
  toast(text || plainly(status), { tone: "bad" });
  const field = ctx.sourceElement;
  if (field instanceof HTMLSelectElement) for (const option of field.options) option.selected = option.defaultSelected;
});
document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  if (ctx && !ctx.response) toast(plainly(0), { tone: "bad" });
});

document.addEventListener("vanished", ({ target: task }) => {
  if (!task.matches(".task")) return;
  toast(`${task.dataset.task} was deleted.`);
  if (!close()) location.assign("/");
});

// ── small helpers of the drawer ─────────────────────────────────────────────────────────────────────────────────────
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    toast("Copied", { tone: "good", key: "copied" });
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("code") ?? button);
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-reveal]");
  if (!button) return;
  const place = document.getElementById(button.dataset.reveal);
  button.hidden = true;
  place.hidden = false;
  const field = place.querySelector("input");
  field.focus();
  try {
    field.showPicker();
  } catch {
    /* it can be typed as well */
  }
});

let suggesting = 0;
document.addEventListener("input", ({ target }) => {
  if (!target.dataset?.suggest) return;
  clearTimeout(suggesting);
  suggesting = setTimeout(async () => {
    const text = target.value.trim() && (await html(`${target.dataset.suggest}&q=${encodeURIComponent(target.value)}`, { quiet: true }));
    if (text) document.getElementById(target.getAttribute("list")).innerHTML = text;
  }, 160);
});

arrived(document);
