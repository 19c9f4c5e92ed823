/* The few events that are worth a message to whoever looks at the board: work handed in, work that failed for good.
   Several at once become one message. */
import { toast } from "./toasts.js";

const GAP = 4000; // ms between two messages
let waiting = [];
let timer = 0;

document.addEventListener("live", ({ detail }) => {
  if (document.hidden) return;
  for (const event of detail) {
    if (event.status_from === event.status_to) continue;
    if (event.status_to === "review" || event.status_to === "failed") waiting.push(event);
  }
  if (waiting.length && !timer) tell();
});

function tell() {
  timer = setTimeout(() => {
    timer = 0;
    if (waiting.length) tell();
  }, GAP);
  const events = waiting;
  waiting = [];
  const [event] = events;
  const failed = events.every((one) => one.status_to === "failed");
  const sign = failed ? "s-failed" : "s-review";
  if (events.length === 1) {
    const who = event.agent || event.actor?.name || "Somebody";
    const title = event.title || event.task;
    toast(failed ? "Failed for good:" : `${who} handed in`, { sign, key: "news", link: { href: `/tasks/${event.task}`, text: title.length > 60 ? `${title.slice(0, 58)}…` : title, code: event.task } });
  } else toast(`${events.length} tasks ${failed ? "failed" : "want a look"}`, { sign, key: "news" });
}
