"""What agents and people write: on no page and in no message does it run, load anything, or look like our controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Person, Server
from tests.e2e.hostile import CORPUS

# What an element of somebody's text may be. `problems(root)` lists what is more than that.
WATCH = """
window.owned = () => { window.ranSomething = true; };
window.problems = (root) => {
  const told = [], own = location.origin + "/static/";
  for (const element of root.querySelectorAll("*")) {
    const name = element.localName, attributes = element.getAttributeNames();
    const strange = attributes.filter((one) => /^on|^hx-on|^data-hx|^formaction$|^srcdoc$|^ping$|^srcset$/.test(one));
    if (strange.length) told.push(`${name} with ${strange}`);
    if (/^(iframe|object|embed|base|meta|frameset|plaintext|xmp|marquee|style|video|audio|math)$/.test(name)) told.push(name);
    if (name === "script" && !element.src.startsWith(own)) told.push("script");
    if (name === "link" && !element.href.startsWith(own)) told.push("link");
    const address = element.getAttribute("href") ?? element.getAttribute("src") ?? "";
    if (/^\\s*(javascript|vbscript|data|blob|file):/i.test(address)) told.push(`${name} to ${address}`);
    if (element.closest(".prose")) {
      if (!/^(div|p|br|hr|h[4-6]|[uo]l|li|strong|b|em|s|code|pre|blockquote|a|table|thead|tbody|tr|th|td)$/.test(name)) told.push(`${name} in prose`);
      const more = element.matches(".prose") ? [] : attributes.filter((one) => !["href", "rel", "target", "start"].includes(one));
      if (more.length) told.push(`${name} in prose with ${more}`);
      if (name === "a" && address && !/^(https?:|mailto:)/.test(address)) told.push(`prose leads to ${address}`);
    }
  }
  if (window.ranSomething) told.push("it ran");
  return told;
};
"""
EACH_DRAWER = """
async (codes) => {
  const told = [];
  for (const [code, title] of Object.entries(codes)) {
    const place = document.createElement("div");
    place.innerHTML = await (await fetch(`/tasks/${code}/drawer`)).text();
    document.body.append(place);
    htmx.process(place);
    const shown = place.querySelector("textarea.task__title")?.value;
    if (shown !== title) told.push(`${title} is shown as ${shown}`);
    told.push(...problems(place).map((one) => `${title}: ${one}`));
    place.remove();
  }
  return told;
}
"""


def as_line(text: str) -> str:
    """As it fits into a field of one line."""
    return " ".join(text.split())


def sent(server: Server, calls: Iterable[tuple[str, Any]]) -> list[Any]:
    """The answers of the calls that were taken; a text that is refused with 400 does no harm either."""

    def send(one: tuple[str, Any]) -> Any:
        try:
            return server.call("otto", "POST", *one)
        except HTTPError as refusal:
            assert refusal.code == 400, (one, refusal.read())
            return None

    with ThreadPoolExecutor(3) as threads:
        return [answer for answer in threads.map(send, calls) if answer]


def fill(server: Server) -> tuple[dict[str, str], str]:
    """The corpus in every field that a key can write: tasks by their code with their title, and one that is talked about."""
    made = sent(
        server,
        (("/api/v1/tasks", {
            "title": as_line(text), "description": f"{text}\n\n{text}", "tags": [as_line(text).replace(",", " ")[:50]], "success_criteria": [as_line(text)],
        }) for text in CORPUS),
    )  # fmt: skip
    codes = {answer["task"]["id"]: answer["task"]["title"] for answer in made}
    assert len(codes) >= 150
    talked = next(iter(codes))
    at, lease = f"/api/v1/tasks/{talked}", server.claim("otto", talked)
    calls = []
    for text in CORPUS:
        calls += [
            (f"{at}/comments", {"text": text}), (f"{at}/context", {"key": as_line(text)[:200], "value": {text: text}}),
            (f"{at}/deliverables", {"type": "url", "title": as_line(text), "path": as_line(text), "description": text}),
        ]  # fmt: skip
    calls += [(f"{at}/progress", {**lease, "step": as_line(text), "message": text}) for text in CORPUS[::5]]
    calls += [(f"{at}/plan", {"steps": [{"title": as_line(text)} for text in CORPUS[:40]]})]
    calls += [(f"{at}/join", {"role": as_line(CORPUS[0])[:60]})]
    assert len(sent(server, calls)) > 3 * 150
    for number, code in enumerate(list(codes)[1:6]):
        held = server.claim("evil" if number % 2 else "otto", code)
        how = ("complete", {"summary": CORPUS[number]}) if number < 3 else ("block", {"reason": CORPUS[number]})
        server.call("evil" if number % 2 else "otto", "POST", f"/api/v1/tasks/{code}/{how[0]}", {**held, **how[1]})
    return codes, talked


def clean(page: Page) -> None:
    assert page.evaluate("problems(document.body)") == [], page.url
    assert page.title() != "owned"


def test_none_of_it_runs_loads_or_looks_like_ours(sign_in: Callable[..., Person], own_server: Server):
    own_server.fill()
    olivia, oscar = sign_in("olivia", at=own_server), sign_in("oscar", at=own_server)
    foreign: list[str] = []
    for person in (olivia, oscar):
        person.page.add_init_script(WATCH)
        person.page.on(
            "request", lambda r: None if r.url.startswith((own_server.url, "data:")) else foreign.append(r.url)
        )
    oscar.open("/")
    codes, talked = fill(own_server)
    clean(oscar.page)  # it came in live, with its messages

    page = olivia.open("/")
    clean(page)
    assert page.evaluate(EACH_DRAWER, codes) == []
    for tab in ("overview", "activity", "deliverables", "sessions", "context", "audit"):
        olivia.open(f"/tasks/{talked}?tab={tab}&most=1000")
        clean(page)
    for path in (
        "/inbox",
        "/sessions",
        "/agents",
        "/agents/evil",
        "/ventures/default/board",
        "/admin/tasks/task/",
        f"/board/column/ready?q={CORPUS[0]}",
    ):
        page.goto(own_server.url + path)
        page.wait_for_timeout(150)
        clean(page)
    olivia.open("/?q=%22%3E%3Csvg%20onload=owned()%3E&tag=%3Cscript%3E")
    page.keyboard.press("Control+k")
    page.locator(".palette__input").fill("owned")
    expect(page.locator(".palette__row").nth(2)).to_be_visible()
    clean(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Notifications").click()
    page.wait_for_timeout(300)
    clean(page)
    assert own_server.one("SELECT frozen_at FROM mission_control_fleet") is None
    assert foreign == []
