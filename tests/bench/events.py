"""From the commit to a thousand websockets: how late each one hears, what each one costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Self

from tests.bench.report import Fact, Row, median, percentile
from tests.bench.stand import ROOT, Failed, Inside, Serve, Stand

SOCKETS = 1_000
SUBSCRIBE = {"type": "subscribe", "channels": ["tasks"], "batch": True}


class Listener:
    """The process that holds the sockets (listen.py)."""

    def __init__(self, server: Serve, keys: list[str], path: str = "/ws") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.listen"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask(do="connect", port=server.port, path=path, keys=keys, subscribe=SUBSCRIBE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def say(self, **command: Any) -> None:
        print(json.dumps(command), file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the process with the sockets ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(f"websockets: {answer['error']}")
        return answer

    def ask(self, **command: Any) -> dict[str, Any]:
        self.say(**command)
        return self.answer()


def measure(stand: Stand) -> Iterator[Row | Fact]:
    seconds = 8 if stand.quick else 20
    database = stand.fresh("postgresql")
    with database.inside() as inside, database.served() as server:
        keys = inside("keys", count=20)
        inside("refill", count=5_000)
        with Listener(server, keys) as listener:
            listener.ask(do="reconnect", times=100)
            _claim_for(server, keys, 1, 20)
            memory, threads = server.rss_mb, server.threads
            opened = listener.ask(do="open", count=SOCKETS)
            _heard(listener, inside, server, keys, 2, 5)
            each_kb = (server.rss_mb - memory) * 1024 / SOCKETS
            more_threads = server.threads - threads
            for rate, wanted in ((10, 100), (40, None)):
                yield from _heard(listener, inside, server, keys, seconds, rate, wanted)
            yield Row(
                "memory of a websocket", each_kb, "KB", 60,
                detail=f"{SOCKETS} of them, opened in {opened['seconds']:.1f} s; the server went from {memory:.0f} MB",
            )  # fmt: skip
            yield Fact(
                "no thread of its own for a websocket",
                more_threads < 20,
                f"{threads} threads before, {threads + more_threads} with {SOCKETS}",
            )
            listener.ask(do="close")


def _heard(
    listener: Listener,
    inside: Inside,
    server: Serve,
    keys: list[str],
    seconds: float,
    rate: int,
    wanted: float | None = None,
) -> list[Row | Fact]:
    """Claims at an even pace while everyone listens. A commit's time is the one that PostgreSQL keeps for it."""
    head = inside("numbers")["head"]
    cpu, started = server.cpu_seconds, time.monotonic()
    listener.say(do="listen", seconds=seconds + 1.5)
    _claim_for(server, keys, seconds, rate)
    heard = listener.answer()
    busy = (server.cpu_seconds - cpu) / (time.monotonic() - started)
    committed = inside("committed_at", after=head)
    late, missing = [], 0
    for seq, at in committed.items():
        times = heard["heard"].get(seq, [])
        missing += SOCKETS - len(times)
        late += [(moment - at) * 1000 for moment in times]
    if not late:
        raise Failed("no event was heard")
    title = f"commit → event at {SOCKETS:,} websockets, {rate} commits/s".replace(",", " ")
    first = median([(min(heard["heard"][seq]) - at) * 1000 for seq, at in committed.items() if seq in heard["heard"]])
    return [
        Row(
            f"{title}: p95", percentile(late, 0.95), "ms", wanted,
            detail=f"median {median(late):.0f}, most {max(late):.0f} ms, first socket {first:.0f} ms; {len(committed)} events,"
            f" {heard['frames']} frames, server at {busy * 100:.0f} % of one core",
        ),
        Fact(f"{title}: everyone heard everything", not missing and not heard["lost"], f"{missing} missing, lost sockets {heard['lost']}"),
    ]  # fmt: skip


def _claim_for(server: Serve, keys: list[str], seconds: float, rate: int) -> None:
    """One claim at a time, evenly: each is one commit with one activity."""
    started = time.monotonic()
    for number in range(round(seconds * rate)):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        status, _, body = server.post(
            "/api/v1/tasks/claim", {"lease_seconds": 3600}, Authorization=f"Bearer {keys[number % len(keys)]}"
        )
        if status != 200:
            raise Failed(f"a claim was answered {status} {body[:200]!r}")
