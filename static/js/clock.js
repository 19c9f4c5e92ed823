/* Everything that the passing of time changes: ages, deadlines, lease rings, idle warnings. One tick a second, by the
   server's clock. Not: what a change of data changes. */
let offset = Date.parse(document.documentElement.dataset.now || "") - Date.now() || 0;

/** Milliseconds of the server's clock. */
export const now = () => Date.now() + offset;

/** Takes the server's time from an ISO string, as the socket tells it. */
export function setServerTime(iso) {
  const told = Date.parse(iso);
  if (told) offset = told - Date.now();
}

const DAY = 86400;
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/** "4s", "11m", "3h", "5d" */
export function short(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < DAY) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / DAY)}d`;
}

/** "just now", "12 min", "3 h", "5 days" */
export function long(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < DAY) return `${Math.floor(seconds / 3600)} h`;
  return plural(Math.floor(seconds / DAY), "day");
}

/** "3:54", "1:02:10": what is left of a lease. */
function countdown(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)}:${pad(s % 60)}`;
  return `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function age(time, at) {
  const seconds = (at - Date.parse(time.dateTime)) / 1000;
  if (Number.isNaN(seconds)) return;
  const how = time.dataset.since;
  if (how === "long") put(time, seconds < 45 ? "just now" : `${long(seconds)} ago`);
  else put(time, how === "plain" ? long(seconds) : short(seconds));
  if (!time.title) time.title = new Date(time.dateTime).toLocaleString();
}

function due(time, at) {
  const when = new Date(time.dateTime);
  const left = (when - at) / 1000;
  const days = Math.round((new Date(when).setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 864e5);
  let text;
  if (left < 0) text = `${long(-left)} late`;
  else if (days === 0) text = left < 5400 ? `in ${long(left)}` : "today";
  else if (days === 1) text = "tomorrow";
  else if (days < 7) text = when.toLocaleDateString(undefined, { weekday: "long" });
  else text = when.toLocaleDateString(undefined, { day: "numeric", month: "short", ...(days > 300 && { year: "numeric" }) });
  put(time.querySelector("span") || time, text);
  time.classList.toggle("due--past", left < 0);
  time.classList.toggle("due--soon", left >= 0 && left < 48 * 3600);
  time.title = `Deadline ${when.toLocaleString()}`;
}

function ring(lease, at) {
  const left = (Date.parse(lease.dataset.lease) - at) / 1000;
  const share = Math.max(0, Math.min(1, left / (Number(lease.dataset.leaseSeconds) || 300)));
  lease.querySelector("circle:last-child").setAttribute("stroke-dasharray", `${(share * 100).toFixed(1)} 100`);
  lease.classList.toggle("lease--low", share < 0.2);
  lease.title = left > 0 ? `Lease ${countdown(left)}` : "Lease ran out";
}

function silence(card, at) {
  const seconds = (at - Date.parse(card.dataset.heartbeat)) / 1000;
  const idle = seconds > Number(card.dataset.idleAfter);
  card.classList.toggle("card--idle", idle);
  let line = card.querySelector("[data-idle]");
  if (!idle) return line?.remove();
  if (!line) {
    line = document.createElement("p");
    line.className = "card__step card__step--warn";
    line.dataset.idle = "";
    card.querySelector(".card__title").after(line);
  }
  put(line, `No sign of life for ${long(seconds)}`);
}

/** Brings every time inside `root` up to date. Call it for markup that has just arrived. */
export function tick(root = document) {
  const at = now();
  for (const time of root.querySelectorAll("time[data-since]")) age(time, at);
  for (const time of root.querySelectorAll("time[data-due]")) due(time, at);
  for (const lease of root.querySelectorAll("[data-lease]")) ring(lease, at);
  for (const text of root.querySelectorAll("[data-left]")) put(text, countdown((Date.parse(text.dataset.left) - at) / 1000));
  for (const time of root.querySelectorAll("time[data-clock]:empty")) {
    const when = new Date(time.dateTime);
    const today = when.toDateString() === new Date(at).toDateString();
    put(time, today ? when.toLocaleTimeString(undefined, { hour12: false }) : when.toLocaleDateString(undefined, { day: "numeric", month: "short" }) + " " + when.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hour12: false }));
  }
  for (const input of root.querySelectorAll("input[data-local-time]")) {
    // The wire speaks UTC, the field speaks the reader's zone.
    const when = new Date(input.dataset.localTime);
    delete input.dataset.localTime;
    if (!Number.isNaN(+when)) input.defaultValue = input.value = toLocalInput(when);
  }
  const scope = root.matches?.("[data-heartbeat]") ? [root] : root.querySelectorAll("[data-heartbeat]");
  for (const card of scope) silence(card, at);
}

const toLocalInput = (when) => new Date(when - when.getTimezoneOffset() * 6e4).toISOString().slice(0, 16);

setInterval(() => document.hidden || tick(), 1000);
document.addEventListener("visibilitychange", () => document.hidden || tick());
document.addEventListener("htmx:after:swap", () => tick());
tick();
