"""The server's memory after minutes of load with open boards, and after ten thousand reconnects."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.events import Listener
from tests.bench.report import Fact, Row
from tests.bench.stand import Failed, Stand, program, say

WANTED_MB = 200
RECONNECTS = 10_000
BOARDS = 50


def measure(stand: Stand) -> Iterator[Row | Fact]:
    """Claims, progress and completions from 20 clients, with boards listening all the while."""
    minutes = 1 if stand.quick else stand.minutes
    database = stand.fresh("postgresql")
    with database.inside() as inside, database.served() as server:
        keys = inside("keys", count=20)
        yield Row("memory of the server at its start", server.rss_mb, "MB")
        with Listener(server, keys) as listener:
            listener.ask(do="open", count=BOARDS)
            until, at, requests, samples = time.monotonic() + minutes * 60, 0.0, 0, []
            while (left := until - time.monotonic()) > 0:
                inside("refill", count=10_000)
                part = min(15.0, left)
                listener.say(do="listen", seconds=part)
                driven = program(
                    "drive",
                    {"ports": [server.port], "keys": keys, "clients": 20, "seconds": part, "wish": {}, "cycle": True},
                )
                listener.answer()
                requests += driven["requests"]
                if driven["complaint"]:
                    raise Failed(f"a request under load was answered {driven['complaint']}")
                at += part
                samples.append(server.rss_mb)
            say(f"  {' '.join(f'{sample:.0f}' for sample in samples)} MB")
            middle = samples[len(samples) // 2]
            yield Row(
                f"memory of the server after {minutes:g} minutes of load", samples[-1], "MB", WANTED_MB,
                detail=f"{requests} requests of 20 clients (claim, progress, complete), {BOARDS} boards listening;"
                f" half-way {middle:.0f}, most {max(samples):.0f} MB",
                rounds=samples,
            )  # fmt: skip
            listener.ask(do="close")
            _reconnect(listener, 1_000)
            before = server.rss_mb
            took = _reconnect(listener, RECONNECTS)
            after = server.rss_mb
    yield Row(
        f"memory that {RECONNECTS:,} reconnects add".replace(",", " "), after - before, "MB", 10,
        detail=f"{before:.0f} to {after:.0f} MB in {took:.0f} s, after a first thousand",
    )  # fmt: skip
    yield Row("memory of the server after load and reconnects", after, "MB", WANTED_MB)


def _reconnect(listener: Listener, times: int) -> float:
    return float(listener.ask(do="reconnect", times=times)["seconds"])
