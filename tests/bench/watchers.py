"""Many boards at once: what ten of them cost the server under a hundred events a second, whether any of them misses
something, what thousands of events do to the memory of a page, and twelve tabs of one browser.

One of the ten is a page in a browser; nine are programs that ask as it does (asking.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.bench.board import FEW
from tests.bench.browser import MOVE, READY_CARDS, chromium, open_board, person
from tests.bench.report import Fact, Row, median, percentile
from tests.bench.stand import Failed, Inside, Serve, Stand, program

BOARDS, TABS = 10, 12
RATE = 100  # events a second
AGENTS = 20
WANTED_PERCENT = 50  # of one core
SETTLED_SECONDS = 30

# How this page differs from the board as the server draws it now: cards in their order, what they say, true counts.
DIFFERS = """
async () => {
  const answer = await fetch("/", { headers: { "HX-Request": "true" } });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const column = (root, key) => [...root.querySelectorAll(`[data-cards="${key}"] .card`)].slice(0, 50).map((card) => [
    card.dataset.code, card.dataset.order, card.dataset.status, card.dataset.agent ?? "",
    card.querySelector(".card__title").textContent, card.querySelector("progress")?.value ?? "",
  ].join(" "));
  const found = [];
  for (const { dataset: { cards: key } } of fresh.querySelectorAll("[data-cards]")) {
    const [there, here] = [column(fresh, key), column(document, key)];
    if (here.length < Math.min(there.length, 15)) found.push(`${key} shows ${here.length} cards`);
    here.forEach((card, place) => { if (card !== there[place]) found.push(`${key} ${place}: ${card} instead of ${there[place]}`); });
    const count = (root) => root.querySelector(`#head-${key} .count`).textContent;
    if (count(fresh) !== count(document)) found.push(`${key} counts ${count(document)} instead of ${count(fresh)}`);
  }
  return found;
}
"""
ROUNDS = """
() => {
  const asked = performance.getEntriesByType("resource").filter(({ initiatorType }) => initiatorType === "fetch");
  const of = (path) => asked.filter(({ name }) => new URL(name).pathname === path).map(({ duration }) => duration);
  performance.clearResourceTimings();
  return { cards: of("/board/cards"), rail: of("/rail"), whole: of("/") };
}
"""


def measure(stand: Stand) -> Iterator[Row | Fact]:
    database = stand.fresh("sqlite")
    with database.inside() as inside, database.served() as server, chromium() as browser:
        inside("load", tasks=FEW, urgent=FEW // 5)
        keys = inside("keys", count=AGENTS)
        inside("settle")
        yield from _ten_boards(stand, inside, server, browser, keys)
        yield from _twelve_tabs(stand, inside, server, browser)


# ── ten boards ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Spent:
    """What a stretch of load cost the server, in percent of one core, and what the boards asked meanwhile."""

    percent: float
    events: int
    seconds: float
    asked: dict[str, Any]


class Load:
    """Agents that claim, report and complete at an even pace: RATE requests a second, each an event."""

    def __init__(self, inside: Inside, server: Serve, keys: list[str], threads: ThreadPoolExecutor) -> None:
        self.inside, self.server, self.keys, self.threads = inside, server, keys, threads

    def run(self, seconds: float, cookies: Sequence[str] = ()) -> Spent:
        """That long, with a board open for each of the cookies."""
        self.inside("refill", count=round(RATE * seconds / 3) + 500)
        head = self.inside("numbers")["head"]
        asking = self.threads.submit(
            program, "asking", {"port": self.server.port, "cookies": cookies, "head": head, "seconds": seconds}
        )
        cpu, began = self.server.cpu_seconds, time.monotonic()
        options = {
            "ports": [self.server.port], "keys": self.keys, "clients": AGENTS, "seconds": seconds, "wish": {"lease_seconds": 3600},
            "cycle": True, "per_second": RATE,
        }  # fmt: skip
        driven = program("drive", options)
        spent = time.monotonic() - began
        percent = (self.server.cpu_seconds - cpu) / spent * 100
        asked = asking.result()
        if driven["complaint"] or asked["failed"]:
            raise Failed(f"a request under load was answered {driven['complaint'] or asked['failed'][0]}")
        return Spent(percent, self.inside("numbers")["head"] - head, spent, asked)


def _ten_boards(stand: Stand, inside: Inside, server: Serve, browser: Any, keys: list[str]) -> Iterator[Row | Fact]:
    """The same load without anybody looking, and with ten boards open; the difference is what the boards cost."""
    seconds = 12 if stand.quick else 50
    cookies = [inside("session") for _ in range(BOARDS - 1)]
    with ThreadPoolExecutor(1) as threads:
        load = Load(inside, server, keys, threads)
        load.run(2)
        alone = load.run(seconds / 2)
        context = person(browser, server, inside)
        page = context.new_page()
        open_board(page, server)
        page.evaluate("performance.setResourceTimingBufferSize(100_000)")
        memory = Memory(context, page)
        load.run(seconds / 5)
        memory.sample()
        page.evaluate(ROUNDS)
        looked_at = load.run(seconds, cookies)
        settled, differences = _settled(page)
        rounds = page.evaluate(ROUNDS)
        memory.sample()
    took = looked_at.asked["took"]
    of_nine = {kind: len(some) / len(cookies) / seconds for kind, some in took.items()}
    yield Row(
        f"CPU of the server for {BOARDS} boards at {RATE} events/s", looked_at.percent - alone.percent, "%", WANTED_PERCENT,
        detail=f"of one core: {looked_at.percent:.0f} % with them, {alone.percent:.0f} % for the same requests of agents alone;"
        f" {looked_at.events / looked_at.seconds:.0f} events/s; a second each board asked {of_nine['cards']:.1f} times for its cards"
        f" (median {median(took['cards'] or [0]):.0f} ms), {of_nine['rail']:.1f} times for its rail, {of_nine['whole']:.1f} times for"
        f" everything; the browser {len(rounds['cards']) / seconds:.1f}, {len(rounds['rail']) / seconds:.1f},"
        f" {len(rounds['whole']) / seconds:.1f} times",
    )  # fmt: skip
    heads, head = looked_at.asked["heads"], inside("numbers")["head"]
    yield Fact(
        f"{len(cookies)} boards heard each of {looked_at.events} events",
        not looked_at.asked["missed"] and min(heads) == head,
        f"{looked_at.asked['missed']} missed; they ended at {min(heads)} to {max(heads)} of {head}",
    )
    yield Fact(
        f"the page after {looked_at.events} events is what the database says",
        not differences,
        f"{settled:.1f} s after the last event"
        if not differences
        else f"{len(differences)} differences: {differences[0]}",
    )
    yield from memory.rows(looked_at.events)
    context.close()


def _settled(page: Any) -> tuple[float, list[str]]:
    """Seconds until the page does not differ from a fresh one, and what still differs after SETTLED_SECONDS."""
    began = time.monotonic()
    while True:
        differences = page.evaluate(DIFFERS)
        waited = time.monotonic() - began
        if not differences or waited > SETTLED_SECONDS:
            return waited, differences
        time.sleep(0.1)


class Memory:
    """What a page holds after everything that can be let go was: heap, nodes, listeners."""

    def __init__(self, context: Any, page: Any) -> None:
        self.tools = context.new_cdp_session(page)
        self.tools.send("Performance.enable")
        self.samples: list[dict[str, float]] = []

    def sample(self) -> None:
        for _ in range(3):  # what only weak references hold goes with the second one
            self.tools.send("HeapProfiler.collectGarbage")
        metrics = self.tools.send("Performance.getMetrics")["metrics"]
        self.samples.append({metric["name"]: metric["value"] for metric in metrics})

    def rows(self, events: int) -> Iterator[Row]:
        first, last = self.samples[0], self.samples[-1]
        heap = [sample["JSHeapUsedSize"] / 1024 / 1024 for sample in (first, last)]
        nodes = [round(sample["Nodes"]) for sample in (first, last)]
        listeners = [round(sample["JSEventListeners"]) for sample in (first, last)]
        yield Row(
            f"memory that {events} events add to a board", heap[1] - heap[0], "MB", 1,
            detail=f"heap after collection {heap[0]:.1f} to {heap[1]:.1f} MB, nodes {nodes[0]} to {nodes[1]},"
            f" listeners {listeners[0]} to {listeners[1]}",
        )  # fmt: skip


# ── twelve tabs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _twelve_tabs(stand: Stand, inside: Inside, server: Serve, browser: Any) -> Iterator[Row | Fact]:
    """One browser holds at most six connections to a host for requests: none of the tabs may keep one."""
    context = person(browser, server, inside)
    pages = [context.new_page() for _ in range(TABS)]
    for page in pages:
        open_board(page, server)
    time.sleep(2)
    late = []
    for code in pages[0].evaluate(READY_CARDS)[: 6 if stand.quick else 20]:
        for page in pages:
            page.evaluate("(code) => { window.benchWait = benchWatchFor(code, 'inbox'); }", code)
        started, status = pages[0].evaluate(MOVE, [code, "inbox"])
        if status != 200:
            raise Failed(f"a move was answered {status}")
        late.append(max(page.evaluate("window.benchWait") for page in pages) - started)
        time.sleep(1)  # longer than a burst is merged for, also of a busy server: each change is alone
    live = sum(page.evaluate("document.documentElement.dataset.connection") == "live" for page in pages)
    yield Fact(f"{TABS} tabs of one browser are live", live == TABS, f"{live} of {TABS} after {len(late)} changes")
    yield Row(
        f"change seen in the last of {TABS} tabs: p95", percentile(late, 0.95), "ms", 1000,
        detail=f"median {median(late):.0f}, most {max(late):.0f} ms from the request on", rounds=late,
    )  # fmt: skip
    context.close()
