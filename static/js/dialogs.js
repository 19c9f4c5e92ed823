/* Dialogs: open, close, ask for a reason before a verb goes out, and the form of a new task. */
import { forget, restore } from "./drafts.js";
import { plainly, toast } from "./toasts.js";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    opener.closest("[popover]")?.hidePopover();
    document.getElementById(opener.dataset.dialog)?.showModal();
  } else if (event.target.closest("[data-cancel]")) event.target.closest("dialog")?.close();
  else if (event.target instanceof HTMLDialogElement && event.target.open && outside(event)) event.target.close(); // the backdrop
  const maker = event.target.closest("[data-new-task]");
  if (maker) openNewTask(maker.dataset.newTask);
});

function outside({ target, clientX: x, clientY: y }) {
  const box = target.getBoundingClientRect();
  return x < box.left || x > box.right || y < box.top || y > box.bottom;
}

document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (ctx.sourceElement.matches?.("[data-close]")) ctx.sourceElement.closest("dialog")?.close();
});

// ── a reason ────────────────────────────────────────────────────────────────────────────────────────────────────────
/** Asks for a reason, or with `only` for nothing but a yes. Resolves to the text, or to null: the person thought again. */
export function askReason({ title, text = "", label, ok, required, danger, only }) {
  const dialog = document.getElementById("reason-dialog");
  const input = document.getElementById("reason-input");
  const error = document.getElementById("reason-error");
  document.getElementById("reason-title").textContent = title;
  document.getElementById("reason-text").textContent = text;
  input.parentElement.hidden = only;
  document.getElementById("reason-label").textContent = required ? label : `${label} (optional)`;
  const button = document.getElementById("reason-ok");
  button.textContent = ok;
  button.className = `btn ${danger ? "btn--danger" : "btn--primary"}`;
  input.value = "";
  error.textContent = "";
  dialog.showModal();
  (only ? button : input).focus();
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    let answer = null;
    const send = (event) => {
      event.preventDefault();
      if (required && !input.value.trim()) {
        error.textContent = "Say why: whoever takes it up needs to know.";
        return input.focus();
      }
      answer = input.value.trim();
      dialog.close();
    };
    const keys = (event) => {
      if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) send(event);
    };
    form.addEventListener("submit", send);
    input.addEventListener("keydown", keys);
    dialog.addEventListener("close", () => {
      form.removeEventListener("submit", send);
      input.removeEventListener("keydown", keys);
      resolve(answer);
    }, { once: true });
  });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset?.ask || form.asked) {
    if (form.asked) form.asked = false;
    return;
  }
  event.preventDefault();
  event.stopImmediatePropagation();
  const answer = await askReason({
    title: form.dataset.ask, text: form.dataset.askText, only: "askOnly" in form.dataset, label: form.dataset.askLabel || "Reason", ok: form.dataset.askOk,
    required: "askRequired" in form.dataset, danger: "askDanger" in form.dataset,
  });
  if (answer === null || !form.isConnected) return;
  const field = form.querySelector('input[name="reason"]') ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name: "reason" }));
  field.value = answer;
  form.asked = true;
  form.requestSubmit();
}, true);

// ── a new task ──────────────────────────────────────────────────────────────────────────────────────────────────────
const newTask = () => document.getElementById("new-task");

/** Opens the form, in the column of `status` if given. What was typed before is still there. */
export function openNewTask(status = "") {
  const dialog = newTask();
  if (!dialog || dialog.open) return;
  const form = dialog.querySelector("form");
  if (restore(dialog)) line(form.elements.title);
  form.elements.status.chosen = Boolean(status);
  if (status) form.elements.status.value = status;
  errors(form, {});
  sign(form);
  dialog.showModal();
  form.elements.title.focus();
}

/** What stands in the title may say more than a title. */
async function line(title) {
  if (/(^|\s)([!#@~\\]|due\s)/i.test(title.value)) (await import("./smart_line.js")).follow(title);
}
document.addEventListener("input", ({ target }) => target.matches?.(".new-task__title") && !target.followed && line(target));

function sign(form) {
  form.querySelector("[data-new-task-sign]").className = `icon s-${form.elements.status.value || "ready"}`;
}

function errors(form, fields) {
  for (const place of form.querySelectorAll("[data-error-for]")) {
    const name = place.dataset.errorFor;
    place.textContent = name ? fields[name] ?? "" : Object.entries(fields).filter(([key]) => !form.querySelector(`[data-error-for="${CSS.escape(key)}"]`) || !key).map(([key, text]) => (key ? `${key}: ${text}` : text)).join(" ");
  }
  for (const field of form.elements) if (field.name) field.setAttribute("aria-invalid", field.name in fields);
  form.querySelector('[aria-invalid="true"]')?.focus();
}

document.addEventListener("change", ({ target }) => {
  const form = target.form;
  if (!form?.matches("[data-new-task-form]")) return;
  const { status } = form.elements;
  if (target === status) status.chosen = true;
  else if (target.name === "venture" && !status.chosen) status.value = target.selectedOptions[0].dataset.intake;
  else if (target.name === "assignee" && status.value !== "inbox") status.value = target.value ? "assigned" : "ready";
  sign(form);
});
document.addEventListener("keydown", (event) => {
  const title = event.target;
  if (event.key !== "Enter" || event.isComposing || !title.matches?.(".new-task__title")) return;
  event.preventDefault();
  if (!event.metaKey && !event.ctrlKey) title.form.elements.description.focus();
});
document.addEventListener("htmx:before:request", (event) => {
  const { ctx } = event.detail;
  if (!ctx.sourceElement.matches?.("[data-new-task-form]")) return;
  const form = ctx.sourceElement;
  if (form.elements.title.value.trim()) return errors(form, {});
  event.preventDefault();
  errors(form, { title: "A task needs a title." });
});
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  const form = ctx.sourceElement;
  if (!form.matches?.("[data-new-task-form]")) return;
  if (ctx.response.status >= 400) {
    let body = {};
    try {
      body = JSON.parse(ctx.text);
    } catch {
      /* not JSON */
    }
    const fields = Object.fromEntries((body.details ?? []).map(({ field, message }) => [field, message]));
    if (!Object.keys(fields).length) fields[""] = body.error || plainly(ctx.response.status);
    return errors(form, fields);
  }
  const code = ctx.response.headers.get("X-Task-Code");
  const another = form.elements.another.checked;
  const kept = ["venture", "status", "priority", "assignee", "tags"].map((name) => [name, form.elements[name].value]);
  form.reset();
  forget(newTask());
  if (another) {
    for (const [name, value] of kept) form.elements[name].value = value;
    form.elements.another.checked = true;
    form.elements.title.focus();
  } else newTask().close();
  if (code) document.dispatchEvent(new CustomEvent("touched", { detail: [code] }));
  toast("Created", { tone: "good", key: "created", link: code && { href: `/tasks/${code}`, text: code, code } });
});
