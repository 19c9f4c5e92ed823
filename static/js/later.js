/* What the board needs only now and then: each part is loaded at the first sign that somebody wants it. */
document.addEventListener("click", async ({ target }) => {
  const count = target.closest?.("[data-limit]");
  if (count) (await import("./limits.js")).openLimit(count);
});
