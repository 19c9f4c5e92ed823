"""What a hand feels in the browser: frames while a card is dragged, how soon a click or a key shows something.

Input goes through the browser's own queue, by its dev tools protocol. Frames are those that `requestAnimationFrame` saw;
the same path over an empty page, in turn with it, says what the machine gives.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.board import FEW
from tests.bench.browser import chromium, open_board, person, until
from tests.bench.report import Row, median, percentile
from tests.bench.stand import Failed, Serve, Stand

ON_THE_BOARD = 300
DRAG_SECONDS = 3
FRAME_MS = 1000 / 60
NOTICED_MS = 200  # web.dev/articles/inp: up to here an interaction feels immediate
LONG_MS = 50  # w3.org/TR/longtasks: what keeps the page busy for longer is a long task
WORD = "invoices"

FEEL = """
(() => {
  const frames = [];
  let counting = false;
  const frame = (at) => { if (!counting) return; frames.push(at); requestAnimationFrame(frame); };
  window.benchFramesBegin = () => { frames.length = 0; counting = true; requestAnimationFrame(frame); };
  window.benchFramesEnd = () => { counting = false; return frames.slice(1).map((at, place) => at - frames[place]); };
  const tasks = [], interactions = new Map();
  window.benchFeltBegin = () => { tasks.length = 0; interactions.clear(); };
  window.benchFelt = () => ({ tasks, interactions: [...interactions.values()] });
  new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) tasks.push(duration); }).observe({ type: "longtask" });
  new PerformanceObserver((list) => {
    for (const { interactionId: id, duration } of list.getEntries()) {
      if (id) interactions.set(id, Math.max(duration, interactions.get(id) ?? 0));
    }
  }).observe({ type: "event", durationThreshold: 16 });
  window.benchPainted = (shows) => new Promise((done, never) => {
    const began = performance.now();
    const look = () => {
      if (shows()) return requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
      if (performance.now() - began > 10000) return never(new Error("it was not shown within 10 s"));
      setTimeout(look, 4);
    };
    look();
  });
})();
"""
IN_SIGHT_COUNT = """
() => [...document.querySelectorAll(".card")].filter((card) => {
  const { top, bottom, left, right } = card.getBoundingClientRect();
  return top < innerHeight && bottom > 0 && left < innerWidth && right > 0 && bottom > top;
}).length
"""
# The clock of the page: when the pointer or the key went down, when what it asked for was painted.
CLICKED = """
(code) => {
  window.benchWait = new Promise((done) => document.addEventListener("pointerdown", async () => {
    const began = performance.now();
    done(await benchPainted(() => document.getElementById(`drawer-${code}`)) - began);
  }, { once: true, capture: true }));
}
"""
TYPED = """
(last) => {
  const main = document.querySelector("[data-board]");
  window.benchWait = new Promise((done) => {
    const typed = async ({ target }) => {
      if (target.value !== last) return;
      document.removeEventListener("input", typed, true);
      const began = performance.now();
      const shown = new Promise((found) => new MutationObserver((_, seen) => { seen.disconnect(); found(); }).observe(main, { childList: true }));
      await shown;
      done(await benchPainted(() => true) - began);
    };
    document.addEventListener("input", typed, true);
  });
}
"""


def measure(stand: Stand) -> Iterator[Row]:
    database = stand.loaded("sqlite", FEW)
    with database.inside() as inside, database.served() as server, chromium() as browser:
        context = person(browser, server, inside)
        context.add_init_script(FEEL)
        page, empty = context.new_page(), context.new_page()
        yield from _drag(stand, page, empty, server)
        empty.close()
        open_board(page, server)
        time.sleep(1)
        yield from _open_cards(stand, page)
        yield from _type(stand, page)


# ── frames ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _drag(stand: Stand, page: Any, empty: Any, server: Serve) -> Iterator[Row]:
    open_board(page, server)
    empty.goto(f"http://{server.address}/livez")
    there, in_sight = page.evaluate("document.querySelectorAll('.card').length"), page.evaluate(IN_SIGHT_COUNT)
    if there < ON_THE_BOARD:
        raise Failed(f"the board shows {there} cards")
    ours: list[float] = []
    nothing: list[float] = []
    for number in range(3 if stand.quick else 9):
        card = page.locator('[data-cards="ready"] .card').nth(1 + number % 4).bounding_box()
        frames = _frames(page, card, lifts=True)
        alone = _frames(empty, card)
        if number:  # the first drag loads its script
            ours += frames
            nothing += alone
    rate, possible = (1000 * len(some) / sum(some) for some in (ours, nothing))
    late, very_late = (sum(gap > 1.5 * wanted for gap in ours) for wanted in (FRAME_MS, 2 * FRAME_MS))
    yield Row(
        f"frames while a card is dragged among {ON_THE_BOARD}, against an empty page", rate / possible, "×", 0.97, least=True,
        detail=f"{rate:.1f} against {possible:.1f} a second; {there} cards on the board, {in_sight} in sight; of {len(ours)} frames {late} took over 16.7 ms"
        f" and {very_late} over 33.3 ms, most {max(ours):.0f} ms; over the empty page"
        f" {sum(gap > 1.5 * FRAME_MS for gap in nothing)} and {sum(gap > 3 * FRAME_MS for gap in nothing)} of {len(nothing)}",
        rounds=ours,
    )  # fmt: skip


def _frames(page: Any, card: dict[str, float], *, lifts: bool = False) -> list[float]:
    """Milliseconds between the frames while the pointer, pressed on the card, goes over all columns and back."""
    page.bring_to_front()
    mouse, width, height = page.mouse, *page.evaluate("[innerWidth, innerHeight]")
    x, y = card["x"] + 60, card["y"] + 12
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 20, y + 20, steps=4)
    if lifts:
        page.locator(".card--lifted").wait_for(timeout=5_000)
    page.evaluate("benchFramesBegin()")
    end = time.monotonic() + DRAG_SECONDS
    for step in itertools.count():
        turn = step / 60  # radians / pi: half a round in sixty steps, now wider, now narrower
        wide = 0.25 + 0.15 * math.sin(turn * 2.3)
        mouse.move(width * (0.55 + wide * math.cos(turn * math.pi)), height * (0.5 + wide * math.sin(turn * math.pi)))
        if time.monotonic() > end:
            break
    gaps: list[float] = page.evaluate("benchFramesEnd()")
    mouse.move(x, y, steps=4)
    mouse.up()
    page.wait_for_timeout(500)
    return gaps


# ── a click, a key ──────────────────────────────────────────────────────────────────────────────────────────────────


def _open_cards(stand: Stand, page: Any) -> Iterator[Row]:
    """Cards that were not opened before, one after the other."""
    codes = page.evaluate(
        "[...document.querySelectorAll('[data-cards=\"review\"] .card')].map((card) => card.dataset.code)"
    )
    shown = []
    page.evaluate("benchFeltBegin()")
    for code in codes[: 8 if stand.quick else 20]:
        page.evaluate(CLICKED, code)
        page.locator(f"#card-{code} .card__title").click()
        shown.append(page.evaluate("window.benchWait"))
        page.keyboard.press("Escape")
        until(page, "document.getElementById('drawer').hidden")
        page.wait_for_timeout(150)
    yield from _felt(page, "a card is opened and closed", f"{len(shown)} cards")
    yield Row(
        "from the click to the task: p95", percentile(shown, 0.95), "ms", NOTICED_MS,
        detail=f"median {median(shown):.0f}, most {max(shown):.0f} ms until the drawer with its text is painted", rounds=shown,
    )  # fmt: skip


def _type(stand: Stand, page: Any) -> Iterator[Row]:
    """A word in the search of the board, letter by letter as a hand does it, and out again."""
    search = page.locator("#search")
    shown = []
    page.evaluate("benchFeltBegin()")
    for _ in range(3 if stand.quick else 8):
        page.evaluate(TYPED, WORD)
        search.press_sequentially(WORD, delay=90)
        shown.append(page.evaluate("window.benchWait"))
        page.evaluate(TYPED, "")
        search.fill("")
        page.evaluate("window.benchWait")
        page.wait_for_timeout(200)
    yield from _felt(page, "somebody types in the search", f"{len(shown)} times {WORD!r}")
    yield Row(
        "from the last letter to what passes: p95", percentile(shown, 0.95), "ms",
        detail=f"median {median(shown):.0f}, most {max(shown):.0f} ms, 180 ms of them to wait for another letter", rounds=shown,
    )  # fmt: skip


def _felt(page: Any, what: str, of: str) -> Iterator[Row]:
    page.wait_for_timeout(300)  # what was observed is delivered
    felt = page.evaluate("benchFelt()")
    interactions, tasks = felt["interactions"], felt["tasks"]
    if not page.evaluate("PerformanceObserver.supportedEntryTypes.includes('longtask')"):
        raise Failed("this browser does not tell long tasks")
    yield Row(
        f"next paint while {what} (INP): p98", percentile(interactions, 0.98) if interactions else 16, "ms", NOTICED_MS,
        detail=f"{of}; {len(interactions)} interactions took 16 ms or more, median {median(interactions or [16]):.0f} ms;"
        f" {len(tasks)} long tasks, most {max(tasks, default=0):.0f} ms", rounds=interactions,
    )  # fmt: skip
    yield Row(f"longest task while {what}", max(tasks, default=0), "ms", 4 * LONG_MS, rounds=tasks)
