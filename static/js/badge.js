/* How much needs a person, in the title and the sign of the tab: what the rail says, told to who looks elsewhere. */
const icon = document.querySelector('link[rel="icon"]');
const calm = icon?.href;

function show() {
  const count = document.querySelector('.rail a[href="/inbox"] .count')?.textContent ?? "";
  const title = document.title.replace(/^\(\d[^)]*\) /, "");
  const text = count ? `(${count}) ${title}` : title;
  if (document.title !== text) document.title = text;
  if (!icon) return;
  const href = count ? new URL(icon.dataset.waiting, location.href).href : calm;
  if (icon.href !== href) icon.href = href;
}

document.addEventListener("htmx:after:swap", show);
const title = document.querySelector("title");
if (title) new MutationObserver(show).observe(title, { childList: true, characterData: true, subtree: true }); // a drawer gives the page its own
show();
