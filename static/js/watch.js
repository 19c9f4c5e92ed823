/* Elements that say what they show: data-watch="task:k3v9d2qa agent:ada", data-src="/…". When an event touches one of
   these names the element fetches itself again and is morphed in place. What a person has typed is never overwritten. */
import { dragging } from "./board.js";
import { html, patience } from "./wire.js";

const HIDDEN_PACE = 5000; // ms between two fetches of the rail in a tab that nobody looks at: its title counts all the same
const EASY = 100; // ms that an answer may take before a part is asked for less often: its counters are due within a second
const due = new Map(); // element → when it may ask again

function names(event) {
  const [noun] = String(event.type).split(".");
  const touched = [];
  if (event.task) touched.push(`task:${event.task}`, "tasks");
  if (event.agent) touched.push(`agent:${event.agent}`, "agents");
  if (event.venture) touched.push(`venture:${event.venture}`);
  if (noun === "venture") touched.push("ventures");
  if (noun === "fleet") touched.push("fleet");
  if (noun === "webhook") touched.push("webhooks");
  if (noun === "circuit") touched.push("circuits");
  if (noun === "user" || noun === "login") touched.push("people");
  return touched;
}

function touch(filter) {
  for (const element of document.querySelectorAll("[data-watch][data-src]")) if (filter(element)) mark(element);
}

function mark(element) {
  if (due.has(element)) return;
  const pace = document.hidden ? HIDDEN_PACE : Number(element.dataset.pace || 200) * (element.patience || 1);
  const last = element.fetchedAt || 0;
  due.set(element, setTimeout(() => refetch(element), Math.max(60, last + pace - Date.now())));
}

async function refetch(element) {
  due.delete(element);
  if (!element.isConnected) return;
  if (dragging() || (document.hidden && element.id !== "rail")) return void due.set(element, setTimeout(() => refetch(element), 700));
  const began = (element.fetchedAt = Date.now());
  const source = element.dataset.src;
  const answer = await html(source, { quiet: true, status: true });
  element.patience = patience(Date.now() - began, EASY);
  if (!element.isConnected) return;
  if (answer.status === 404) element.dispatchEvent(new CustomEvent("vanished", { bubbles: true }));
  if (answer.text === null) return;
  if (element.dataset.src !== source || dragging()) return mark(element); // it shows something else by now
  if (began < element.shownOf) return; // an answer to a later question was faster
  element.shownOf = began;
  await htmx.swap({ sourceElement: element, target: element, text: answer.text, swap: "outerMorph" });
}

/** Fetches an element anew now. */
export const refresh = refetch;

document.addEventListener("live", ({ detail }) => {
  const touched = new Set();
  for (const event of detail) {
    if (event.seq || event.offered) names(event).forEach((name) => touched.add(name));
    else signOfLife(event);
  }
  if (touched.size) touch((element) => element.dataset.watch.split(" ").some((name) => touched.has(name)));
});
document.addEventListener("resync", () => touch(() => true));
// What no line of the log tells: how sending goes on.
setInterval(() => touch((element) => "again" in element.dataset), 2000);

/** A heartbeat records nothing; it moves the clocks of its task and its agent that are on the page. */
function signOfLife({ task, heartbeat_at: at, lease_expires_at: end }) {
  if (!task || !at) return;
  for (const time of document.querySelectorAll(`[data-task-seen~="${CSS.escape(task)}"]`)) time.dateTime = at;
  const card = document.getElementById(`card-${task}`);
  if (card?.dataset.heartbeat) card.dataset.heartbeat = at;
  if (!end) return;
  for (const place of [card, document.getElementById(`drawer-${task}`)]) {
    for (const lease of place?.querySelectorAll("[data-lease]") ?? []) lease.dataset.lease = end;
    for (const text of place?.querySelectorAll("[data-left]") ?? []) text.dataset.left = end;
  }
}

const isField = (node) => node instanceof HTMLInputElement || node instanceof HTMLTextAreaElement || node instanceof HTMLSelectElement;

function isHalfTyped(field) {
  if (field === document.activeElement) return true;
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field instanceof HTMLSelectElement) return false;
  return field.type !== "hidden" && field.value !== field.defaultValue;
}

const isInUse = (place) => place?.contains(document.activeElement);

htmx.registerExtension("keep-what-is-typed", {
  htmx_before_morph_node: (node, { newNode }) => {
    if (node.matches?.("[data-edit-form]:not([hidden])")) return false; // being written in
    if (!isField(node) || !isHalfTyped(node)) return true;
    if (newNode.defaultValue === node.value) node.defaultValue = newNode.defaultValue; // it was saved meanwhile
    return false;
  },
  // Whether something is unfolded is the reader's business, not the server's.
  htmx_before_morph_attr: (node, { attrName }) => {
    if (attrName === "open") return !node.matches("dialog, details");
    if (attrName === "aria-expanded") return false;
    if (attrName !== "hidden") return true;
    if (node.dataset.reveal) return !isInUse(document.getElementById(node.dataset.reveal));
    return !node.matches("[data-view], [data-edit-form]") && !isInUse(node);
  },
});
