"""One task with ten thousand comments and a thousand tasks that wait for it: what its completion and its pages take."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from tests.bench.board import FEW, Visitor
from tests.bench.report import Fact, Row, median, percentile
from tests.bench.stand import Failed, Stand

COMMENTS, DEPENDANTS = 10_000, 1_000
WANTED_MS = 1_000


def measure(stand: Stand) -> Iterator[Row | Fact]:
    for kind in ("postgresql", "sqlite"):
        yield from _on(stand, kind)


def _on(stand: Stand, kind: str) -> Iterator[Row | Fact]:
    database = stand.fresh(kind)
    comments = COMMENTS // 10 if stand.quick else COMMENTS
    with database.inside() as inside, database.served() as server:
        inside("load", tasks=FEW, urgent=FEW // 5)
        key = inside("keys", count=1)[0]
        code = inside("crowd", comments=comments, dependants=DEPENDANTS)
        inside("settle")
        visitor = Visitor(server, inside("session"))
        for path in ("/", f"/tasks/{code}", f"/tasks/{code}/drawer"):
            visitor.ask(path)
        board = [visitor.ask("/")[0] for _ in range(20)]
        page = [visitor.ask(f"/tasks/{code}")[0] for _ in range(20)]
        mine = {"Authorization": f"Bearer {key}"}
        status, _, body = server.post(f"/api/v1/tasks/{code}/claim", {"sessionKey": "crowd"}, **mine)
        if status != 200:
            raise Failed(f"the claim was answered {status} {body[:200]!r}")
        claimed = json.loads(body)
        fence = {"epoch": claimed["epoch"], "lease_token": claimed["lease_token"]}
        began = time.perf_counter()
        status, _, body = server.post(f"/api/v1/tasks/{code}/complete", {**fence, "summary": "Done"}, **mine)
        took = (time.perf_counter() - began) * 1000
        if status != 200:
            raise Failed(f"the completion was answered {status} {body[:200]!r}")
        freed = inside("waiting_for", code=code)
    about = f"{comments} comments, {DEPENDANTS} dependants, {kind}"
    yield Row(f"completion of a task with {about}", took, "ms", WANTED_MS)
    yield Row(
        f"its own page, with {about}: p95",
        percentile(page, 0.95),
        "ms",
        WANTED_MS,
        detail=f"median {median(page):.0f} ms",
    )
    yield Row(
        f"the board beside it, {kind}: p95", percentile(board, 0.95), "ms", 80, detail=f"median {median(board):.0f} ms"
    )
    yield Fact(f"each dependant was freed, {kind}", freed == 0, f"{freed} still wait")
