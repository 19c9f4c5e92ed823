"""What a person sees: the first card in a warm browser, and a change in one browser showing up in another.

The browser itself stands here too, for all that is measured in one: hands.py, watchers.py.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.board import FEW
from tests.bench.report import Fact, Row, median, percentile
from tests.bench.stand import Failed, Inside, Serve, Stand

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# Runs before the page's own scripts: notes when the first card is painted, and what happens to cards later.
WATCH = """
(() => {
  window.benchSeen = {};
  new MutationObserver(() => {
    if (window.benchFirstCard || !document.querySelector(".card[data-code]")) return;
    window.benchFirstCard = -1;
    requestAnimationFrame(() => requestAnimationFrame(() => { window.benchFirstCard = performance.now(); }));
  }).observe(document, { childList: true, subtree: true });
  window.benchWatchFor = (code, column) => new Promise((found, never) => {
    setTimeout(() => never(new Error("the change was not seen within 10 s")), 10000);
    const look = () => {
      const card = document.getElementById(`card-${code}`);
      if (card && card.closest(`[data-cards="${column}"]`)) { seen.disconnect(); found(Date.now()); }
    };
    const seen = new MutationObserver(look);
    seen.observe(document.body, { childList: true, subtree: true, attributes: true });
    look();
  });
})();
"""
MOVE = """
async ([code, status]) => {
  const token = JSON.parse(document.body.getAttribute("hx-headers:inherited"))["X-CSRFToken"];
  const body = new URLSearchParams({ status });
  const started = Date.now();
  const answer = await fetch(`/tasks/${code}/move`, { method: "POST", body, headers: { "X-CSRFToken": token } });
  return [started, answer.status];
}
"""
MANY = 100_000
READY_CARDS = "[...document.querySelectorAll('[data-cards=\"ready\"] .card')].map((card) => card.dataset.code)"


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium: the one on PATH."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise Failed("there is no Chromium on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def person(browser: Any, server: Serve, inside: Inside, **how: Any) -> Any:
    """A browser profile of its own in which an operator is signed in; pages of it are the tabs of one browser."""
    name, value = inside("session").split("=", 1)
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **how})
    context.add_cookies([{"name": name, "value": value, "url": f"http://{server.address}"}])
    context.add_init_script(WATCH)
    return context


def open_board(page: Any, server: Serve) -> None:
    """The board of all ventures, its socket open."""
    page.goto(f"http://{server.address}/", wait_until="load")
    until(page, "document.documentElement.dataset.connection === 'live'")


def until(page: Any, holds: str, seconds: float = 15) -> None:
    """Wait until this expression is true in the page. The dev tools evaluate it, which the page's own policy allows."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(holds):
        if time.monotonic() > deadline:
            raise Failed(f"in {seconds:g} s it did not come true in the page: {holds}")
        time.sleep(0.01)


def measure(stand: Stand) -> Iterator[Row | Fact]:
    for tasks in (FEW, MANY):
        database = stand.loaded("sqlite", tasks)
        with database.inside() as inside, database.served() as server, chromium() as browser:
            mine = person(browser, server, inside).new_page()
            yield from _first_card(stand, mine, server, f"{tasks:,} tasks".replace(",", " "))
            if tasks == FEW:
                theirs = person(browser, server, inside).new_page()
                open_board(theirs, server)
                yield from _seen_elsewhere(stand, mine, theirs)


def _first_card(stand: Stand, page: Any, server: Serve, title: str) -> Iterator[Row | Fact]:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    times = []
    for number in range(9 if stand.quick else 31):
        page.goto(f"http://{server.address}/", wait_until="load")
        until(page, "window.benchFirstCard > 0")
        if number:
            times.append(page.evaluate("window.benchFirstCard"))
    yield Row(
        f"first card painted, {title}, warm, headless Chromium: p95", percentile(times, 0.95), "ms", 500,
        detail=f"median {median(times):.0f}, most {max(times):.0f} ms after the navigation began", rounds=times,
    )  # fmt: skip
    yield Fact(f"the browser's console is quiet, {title}", not errors, "; ".join(dict.fromkeys(errors))[:200])


def _seen_elsewhere(stand: Stand, mine: Any, theirs: Any) -> Iterator[Row | Fact]:
    """The same call that a dropped card makes, from ready to inbox; the other page waits for the card to stand there.

    Not back again: a card that is made ready anew goes to the end of its queue, which the page has not loaded.
    """
    until(theirs, "document.querySelectorAll('[data-cards=ready] .card').length > 10")
    time.sleep(2)  # its websocket is open and quiet
    late = []
    for code in theirs.evaluate(READY_CARDS)[: 15 if stand.quick else 45]:
        theirs.evaluate("(code) => { window.benchWait = benchWatchFor(code, 'inbox'); }", code)
        started, status = mine.evaluate(MOVE, [code, "inbox"])
        if status != 200:
            raise Failed(f"a move was answered {status}")
        late.append(theirs.evaluate("window.benchWait") - started)
        time.sleep(1)  # longer than a burst is merged for, also of a busy server: each change is alone
    yield Row(
        "change in one browser seen in another: p95", percentile(late, 0.95), "ms", 300,
        detail=f"median {median(late):.0f}, most {max(late):.0f} ms from the request to the card's new place; {len(late)} moves",
        rounds=late,
    )  # fmt: skip
