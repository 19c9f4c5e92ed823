/* Text that is half typed survives closing, live updates and a reload: kept per tab until it is sent.
   A form or dialog says data-draft="<key>"; fields that say data-no-draft are left out. */
const keyOf = (place) => `draft:${place.dataset.draft}`;
const fieldsOf = (place) => [...place.querySelectorAll("input[name], textarea[name], select[name]")].filter((field) => field.type !== "hidden" && !("noDraft" in field.dataset));

document.addEventListener("input", (event) => {
  const place = event.target.closest("[data-draft]");
  if (place) save(place);
});

function save(place) {
  const draft = {};
  for (const field of fieldsOf(place)) if (field.value !== initial(field)) draft[field.name] = field.value;
  if (Object.keys(draft).length) sessionStorage.setItem(keyOf(place), JSON.stringify(draft));
  else sessionStorage.removeItem(keyOf(place));
}

const initial = (field) => (field instanceof HTMLSelectElement ? ([...field.options].find((o) => o.defaultSelected) ?? field.options[0])?.value : field.defaultValue);

/** Puts the kept text back. True when there was some. */
export function restore(place) {
  let draft = null;
  try {
    draft = JSON.parse(sessionStorage.getItem(keyOf(place)));
  } catch {
    sessionStorage.removeItem(keyOf(place));
  }
  if (!draft) return false;
  for (const field of fieldsOf(place)) if (field.name in draft) field.value = draft[field.name];
  return true;
}

export function forget(place) {
  sessionStorage.removeItem(keyOf(place));
}
