/* The page of notifications: turns push on for this device, and proposes the time zone of this browser. */
import { toast } from "./toasts.js";

const form = document.getElementById("push-form");
const button = form.querySelector("[data-push]");
const note = document.getElementById("push-note");

if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) {
  button.disabled = true;
  note.textContent = window.isSecureContext
    ? "This browser takes no pushes. On an iPhone put Mission Control on the home screen first and open it there."
    : "Browsers take pushes over https only.";
}

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    await subscribe();
  } catch {
    toast("The browser could not subscribe to pushes.", { tone: "bad" });
  }
  button.disabled = false;
});

async function subscribe() {
  if ((await Notification.requestPermission()) !== "granted") {
    return toast("This browser does not allow notifications here. Allow them in its settings for this page.", { tone: "bad" });
  }
  await navigator.serviceWorker.register("/service-worker.js");
  const { pushManager } = await navigator.serviceWorker.ready;
  const made = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: form.dataset.pushKey });
  form.elements.subscription.value = JSON.stringify(made);
  form.elements.name.value = device();
  form.requestSubmit();
}

function device() {
  const said = navigator.userAgent;
  const browser = /Firefox/.test(said) ? "Firefox" : /Edg\//.test(said) ? "Edge" : /Chrom/.test(said) ? "Chrome" : "Safari";
  const system = [["iPhone", "iPhone"], ["iPad", "iPad"], ["Android", "Android"], ["Mac", "Mac"], ["Windows", "Windows"], ["Linux", "Linux"]].find(([sign]) => said.includes(sign));
  return system ? `${browser} on ${system[1]}` : browser;
}

// What was added leaves its field; a refusal leaves it there to be put right.
document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (ctx.sourceElement.matches?.("[data-emptied]") && ctx.response?.status < 400) ctx.sourceElement.reset();
});

const times = document.getElementById("times");
if (times.dataset.version === "0") times.elements.time_zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
