/* The one socket: what changed, by number, and whether this page is live. Events go out as "live" on document, merged in
   bursts. Not: what anything looks like afterwards. */
import { setServerTime } from "./clock.js";

const root = document.documentElement;
const BURST = 30; // ms: the events of one burst go out together
const SILENCE = 25_000; // ms without any word from the server before we ask
const ANSWER = 6_000; // ms to answer a ping
const STALE = 20_000; // ms without a connection before the page is called stale

let socket = null;
let seq = Number(document.body.dataset.head || 0);
let attempt = 0;
let heard = 0;
let asked = 0;
let lost = Date.now();
let retryAt = 0;
let retry = 0;
let pending = [];
let flushing = 0;
let over = false;

/** Number of the last event this page has taken in. */
export const head = () => seq;

function connect() {
  clearTimeout(retry);
  if (over || socket) return;
  retryAt = 0;
  const mine = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket = mine;
  heard = Date.now();
  asked = 0;
  mine.onopen = () => mine.send(JSON.stringify({ type: "subscribe", channels: ["all"], since: seq }));
  mine.onmessage = ({ data }) => {
    if (socket !== mine) return;
    heard = Date.now();
    asked = 0;
    take(JSON.parse(data));
  };
  mine.onclose = ({ code }) => {
    if (socket !== mine) return;
    socket = null;
    lost ||= Date.now();
    if (code === 4401 || code === 4403) return end();
    wait(code === 1012 ? 0.4 : 1);
  };
}

function take(event) {
  if (event.now) setServerTime(event.now);
  switch (event.type) {
    case "pong":
      break;
    case "ping":
      socket.send('{"type":"pong"}');
      break;
    case "hello":
      if (event.head < seq) resync(event.head); // another database stands behind this address: begin anew
      break;
    case "subscribed":
      attempt = 0;
      lost = 0;
      break;
    case "gone": // the log no longer reaches back to where we were; the server hangs up, we come back with its head
      resync(event.head);
      break;
    default:
      if (event.seq <= seq) return;
      if (event.seq) seq = event.seq;
      push(event);
  }
  show();
}

function push(event) {
  pending.push(event);
  flushing ||= setTimeout(flush, BURST);
}

function flush() {
  flushing = 0;
  const events = pending;
  pending = [];
  if (events.length) document.dispatchEvent(new CustomEvent("live", { detail: events }));
}

function resync(at) {
  seq = at;
  document.dispatchEvent(new CustomEvent("resync"));
}

function end() {
  over = true;
  show("signed out");
  location.assign(`/account/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** Waits twice as long each time, up to 15 s, with ± 30 % so that a fleet of pages does not come back at once. */
function wait(factor = 1) {
  const seconds = Math.min(15, 0.8 * 2 ** attempt++ * factor) * (0.7 + Math.random() * 0.6);
  retryAt = Date.now() + seconds * 1000;
  retry = setTimeout(connect, seconds * 1000);
  show();
}

function drop() {
  const old = socket;
  socket = null;
  lost ||= Date.now();
  if (!old) return;
  old.onmessage = old.onclose = null;
  old.close();
}

/** Connects now, whatever the waiting time. */
export function reconnect() {
  attempt = 0;
  drop();
  connect();
  show();
}

function show(word) {
  const live = socket && !lost;
  const stale = !live && Date.now() - lost > STALE;
  const state = live ? "live" : stale ? "stale" : "waiting";
  const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
  const text = word || (live ? "live" : retryAt ? `${stale ? "stale, " : ""}reconnecting in ${seconds} s` : stale ? "stale, connecting" : "connecting");
  if (root.dataset.connection !== state) root.dataset.connection = state;
  for (const element of document.querySelectorAll("[data-live-text]")) if (element.textContent !== text) element.textContent = text;
  for (const element of document.querySelectorAll("[data-live-seq]")) if (element.textContent !== String(seq)) element.textContent = seq;
  for (const element of document.querySelectorAll("[data-link-state]")) {
    const note = live || Date.now() - lost < 2500 ? "" : stale ? "Not up to date" : "Reconnecting";
    if (element.textContent !== note) element.textContent = note;
  }
}

setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN) {
    if (asked && Date.now() - asked > ANSWER) {
      drop();
      wait();
    } else if (!asked && Date.now() - heard > SILENCE) ask();
  } else if (socket && Date.now() - heard > 15_000) {
    drop(); // neither open nor closed: a half-dead network
    wait();
  }
  show();
}, 1000);

function ask() {
  asked = Date.now();
  socket.send('{"type":"ping"}');
}

addEventListener("online", reconnect);
addEventListener("offline", () => {
  drop();
  wait();
});
addEventListener("pageshow", (event) => event.persisted && reconnect());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (socket?.readyState !== WebSocket.OPEN) reconnect();
  else if (!asked && Date.now() - heard > 4000) ask(); // back from sleep: is anybody there?
});
// A morphed rail brings the server's words back: put ours in again.
document.addEventListener("htmx:after:swap", () => show());

/** Opens the socket. Call it once all listeners for "live" stand. */
export const start = connect;
