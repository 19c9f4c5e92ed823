/* A filter whose fields are the query of the address: what it narrows down fetches itself anew under that address. */
import { refresh } from "./watch.js";

const form = document.querySelector("[data-sift]");
const list = document.getElementById(form.dataset.sift);

function sift() {
  const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const address = asked.size ? `${form.getAttribute("action")}?${asked}` : form.getAttribute("action");
  if (list.dataset.src === address) return;
  list.dataset.src = address;
  history.replaceState(history.state, "", address);
  refresh(list);
}

form.addEventListener("change", sift);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  sift();
});
