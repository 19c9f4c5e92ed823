/* Shows a push when no page is open, and opens what it is about. It keeps nothing and answers no request of a page. */
self.addEventListener("push", (event) => {
  const told = event.data?.json() ?? {};
  const shown = { body: told.body, icon: "/static/img/mark.svg", tag: told.path, data: told.path };
  event.waitUntil(self.registration.showNotification(told.title ?? "Mission Control", shown));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data));
});

async function open(path) {
  const address = new URL(path ?? "/", self.location.origin);
  if (address.origin !== self.location.origin) return;
  const [page] = await self.clients.matchAll({ type: "window" });
  if (!page) return void (await self.clients.openWindow(address.href));
  await page.focus();
  await page.navigate(address.href);
}
