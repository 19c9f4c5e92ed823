/* How this page talks HTTP: one fetch with the CSRF token, and the message when it was refused. */
import { plainly, sentence, toast } from "./toasts.js";

export function csrfToken() {
  try {
    return JSON.parse(document.body.getAttribute("hx-headers:inherited"))["X-CSRFToken"];
  } catch {
    return "";
  }
}

/**
 * The HTML of `url`, or null when it could not be had. `fields` are sent as a form. Says so in a toast unless `quiet`.
 * `status`: answers {text, status} instead; status 0 is no connection.
 */
export async function html(url, { status = false, ...how } = {}) {
  const answer = await ask(url, how);
  return status ? answer : answer.text;
}

async function ask(url, { method = "GET", fields = null, signal = null, quiet = false }) {
  let response;
  try {
    response = await fetch(url, {
      method,
      signal,
      body: fields && new URLSearchParams(fields),
      headers: { "HX-Request": "true", "HX-Current-URL": location.href, Accept: "text/html", ...(fields && { "X-CSRFToken": csrfToken() }) },
    });
    if (response.ok) return { text: await response.text(), status: response.status };
  } catch (error) { // also when the connection goes, or the caller, in the middle of the answer
    if (error.name !== "AbortError" && !quiet) toast(plainly(0), { tone: "bad" });
    return { text: null, status: 0 };
  }
  const { status } = response;
  if (status === 401) location.assign(response.headers.get("HX-Redirect") ?? "/account/login");
  else if (!quiet) toast(await sentence(response), { tone: "bad" });
  return { text: null, status };
}

/** A call of the API with a body of JSON. Says in a toast why it was refused; whether it went through. */
export async function call(method, url, body) {
  try {
    const response = await fetch(url, { method, body, headers: { "X-CSRFToken": csrfToken(), "Content-Type": "application/json" } });
    if (!response.ok) toast(await sentence(response), { tone: "bad" });
    return response.ok;
  } catch {
    toast(plainly(0), { tone: "bad" });
    return false;
  }
}

const EASY = 30; // ms that an answer takes when the server has little to do

/** How many times as long as usual to wait before asking again, after an answer that took so many ms: who has much to do
    is asked less often, and more is merged. What comes after a pause is asked for at once all the same. */
export const patience = (took, easy = EASY) => Math.min(4, Math.max(1, took / easy));

/** The elements of an HTML answer. Nothing in it runs. */
export function parse(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return template.content;
}

/**
 * Makes `old` look like `fresh` with as few changes as possible: children are compared by place, what is equal stays as
 * it is (with its focus and animation). Both must be the same kind of element.
 */
export function patch(old, fresh) {
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  const next = [...fresh.childNodes];
  next.forEach((node, index) => {
    const present = old.childNodes[index];
    if (!present) old.append(node);
    else if (!present.isEqualNode(node)) {
      if (present.nodeType === 1 && present.nodeName === node.nodeName && !present.id === !node.id) patch(present, node);
      else present.replaceWith(node);
    }
  });
  while (old.childNodes.length > next.length) old.lastChild.remove();
}
