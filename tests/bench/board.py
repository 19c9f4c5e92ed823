"""The board page at ten thousand tasks and at a million: how long the server takes, and whether its counts are true."""

from __future__ import annotations

import http.client
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.bench.report import Fact, Row, median, percentile
from tests.bench.stand import MILLION, Failed, Inside, Serve, Stand

FEW = 10_000
COUNT = re.compile(r'id="head-(\w+)".*?class="count"[^>]*>([^<]*)<')
COLUMN_OF = {"paused": "on_hold", "blocked": "on_hold", "failed": "on_hold"}
WANTED_MS = 80


class Visitor:
    """One signed-in browser, without the browser: a kept connection that asks for the page as Chromium would."""

    def __init__(self, server: Serve, cookie: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.headers = {"Cookie": cookie, "Accept": "text/html", "Accept-Encoding": "gzip, deflate, br, zstd"}

    def ask(self, path: str = "/", **headers: str) -> tuple[float, dict[str, str], bytes]:
        """`(milliseconds from the request to the last byte, headers, body as sent)`"""
        started = time.perf_counter()
        self.connection.request("GET", path, headers={**self.headers, **headers})
        answer = self.connection.getresponse()
        body = answer.read()
        taken = (time.perf_counter() - started) * 1000
        if answer.status != 200:
            raise Failed(f"GET {path} was answered {answer.status}")
        return taken, {name.lower(): value for name, value in answer.getheaders()}, body


def measure(stand: Stand) -> Iterator[Row | Fact]:
    for kind in ("postgresql", "sqlite"):
        yield from _on(stand, kind)


def _on(stand: Stand, kind: str) -> Iterator[Row | Fact]:
    times = 40 if stand.quick else 150
    databases = {tasks: stand.loaded(kind, tasks) for tasks in (FEW, MILLION)}
    with databases[FEW].inside() as small, databases[MILLION].inside() as large:
        insides = {FEW: small, MILLION: large}
        with databases[FEW].served() as few, databases[MILLION].served() as many:
            servers = {FEW: few, MILLION: many}
            visitors = {tasks: Visitor(server, insides[tasks]("session")) for tasks, server in servers.items()}
            keys = {tasks: insides[tasks]("keys", count=1)[0] for tasks in servers}
            first = {tasks: visitor.ask()[0] for tasks, visitor in visitors.items()}
            quiet: dict[int, list[float]] = {FEW: [], MILLION: []}
            changed: dict[int, list[float]] = {FEW: [], MILLION: []}
            for visitor in visitors.values():
                for _ in range(5):
                    visitor.ask()
            before = {tasks: server.cpu_seconds for tasks, server in servers.items()}
            for _ in range(times):
                for tasks, visitor in visitors.items():
                    quiet[tasks].append(visitor.ask()[0])
            cpu_ms = {tasks: (server.cpu_seconds - before[tasks]) * 1000 / times for tasks, server in servers.items()}
            for _ in range(times // 2):
                for tasks, visitor in visitors.items():
                    _claim(servers[tasks], keys[tasks])
                    changed[tasks].append(visitor.ask()[0])
            for tasks, visitor in visitors.items():
                title = f"board at {tasks:,} tasks, {kind}".replace(",", " ")
                size = len(visitor.ask()[2])
                yield Row(
                    f"{title}: p95", percentile(quiet[tasks], 0.95), "ms", WANTED_MS,
                    detail=f"median {median(quiet[tasks]):.0f} ms, first one {first[tasks]:.0f} ms, {cpu_ms[tasks]:.0f} ms of the"
                    f" server's CPU each; {size // 1024} KB as sent; one client, request to last byte",
                )  # fmt: skip
                yield Row(
                    f"{title}: p95 with a claim before each", percentile(changed[tasks], 0.95), "ms", WANTED_MS,
                    detail=f"median {median(changed[tasks]):.0f} ms",
                )  # fmt: skip
                yield _true_counts(title, visitor, insides[tasks])


def _claim(server: Serve, key: str) -> None:
    status, _, body = server.post("/api/v1/tasks/claim", {"lease_seconds": 3600}, Authorization=f"Bearer {key}")
    if status != 200 or b'"lease_token"' not in body:
        raise Failed(f"a claim was answered {status} {body[:200]!r}")


def _true_counts(title: str, visitor: Visitor, inside: Inside) -> Fact:
    """What the page prints above each column, against SQL COUNT over the tasks themselves."""
    body = visitor.ask(**{"Accept-Encoding": "identity"})[2].decode()
    printed = {key: int(re.sub(r"\D", "", text)) for key, text in COUNT.findall(body)}
    found: dict[str, Any] = inside("counts")
    real: Counter[str] = Counter()
    for by_status in found["real"].values():
        for status, number in by_status.items():
            real[COLUMN_OF.get(status, status)] += number
    wrong = {key: (number, real[key]) for key, number in printed.items() if number != real[key]}
    good = bool(printed) and not wrong and found["shown"] == found["real"]
    return Fact(
        f"{title}: the counts are true",
        good,
        str(wrong) if wrong else f"{len(printed)} columns, {sum(real.values())} tasks",
    )
