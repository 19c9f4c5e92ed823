/* Short messages at the foot of the page. Text is always set as text, never as markup. */
const region = document.getElementById("toasts");
const [calm, alert] = region ? region.children : [];

/**
 * Shows a message. `tone` is "bad", "good" or "". `link` is {href, text}, put after the text,
 * `act` {text, run} a button. `key` replaces the
 * message with the same key. Bad news stays 9 s, the rest 5 s, and longer under the pointer or the focus.
 */
export function toast(text, { tone = "", link = null, act = null, sign = "", key = "" } = {}) {
  if (!region) return;
  const list = tone === "bad" ? alert : calm;
  const item = document.createElement("div");
  item.className = `toast${tone && ` toast--${tone}`}`;
  item.dataset.key = key || text;
  const icon = document.createElement("i");
  icon.className = `icon ${sign || (tone === "bad" ? "i-alert" : "i-check")}`;
  const words = document.createElement("span");
  words.className = "toast__text";
  words.textContent = text;
  if (link) {
    const anchor = document.createElement("a");
    Object.assign(anchor, { href: link.href, textContent: link.text });
    if (link.code) anchor.dataset.drawer = link.code;
    words.append(" ", anchor);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn btn--quiet btn--icon btn--s";
  close.innerHTML = '<i class="icon icon--s i-x"></i><span class="only-read">Dismiss</span>';
  close.addEventListener("click", () => leave(item));
  item.append(icon, words);
  if (act) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "btn btn--s", textContent: act.text });
    button.addEventListener("click", () => {
      leave(item);
      act.run();
    });
    item.append(button);
  }
  item.append(close);
  for (const old of list.children) if (old.dataset.key === item.dataset.key) old.remove();
  list.append(item);
  while (list.children.length > 4) list.firstElementChild.remove();
  rise();
  stay(item, tone === "bad" ? 9000 : 5000);
}

function stay(item, milliseconds) {
  const again = () => {
    if (item.matches(":hover, :focus-within")) setTimeout(again, 1500);
    else leave(item);
  };
  setTimeout(again, milliseconds);
}

function leave(item) {
  item.remove();
  if (!region.querySelector(".toast") && region.matches(":popover-open")) region.hidePopover();
}

// The newest message lies above an open dialog too: both are in the top layer, the last to enter is on top.
function rise() {
  if (!region.showPopover) return;
  if (region.matches(":popover-open")) region.hidePopover();
  region.showPopover();
}

/** The sentence of a refusal: from the JSON body of an answer, else from its status. */
export async function sentence(response) {
  try {
    const body = await response.json();
    if (body.error) return body.error;
  } catch {
    /* not JSON: the status has to do */
  }
  return plainly(response.status);
}

export function plainly(status) {
  if (status === 401 || status === 403) return "You may not do this.";
  if (status === 404) return "It is not there any more.";
  if (status === 413) return "That is too large.";
  if (status === 429) return "Too many requests. Wait a moment.";
  if (status === 0) return "No connection. Nothing was changed.";
  return `The server could not do this (${status}). Nothing was changed.`;
}
