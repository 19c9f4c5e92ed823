"""Claims over HTTP with everything recorded, against the barest thing the same database can do in the same minutes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.bench import bare, machine
from tests.bench.report import Fact, Row, median
from tests.bench.stand import Database, Inside, Serve, Stand, program, say

READY = 10_000
WISH = {"lease_seconds": 3600}


def postgresql(stand: Stand) -> Iterator[Row | Fact]:
    """20 clients; pgbench with 20 clients claims single rows in between."""
    clients, rounds, seconds = 20, 3 if stand.quick else 7, 3 if stand.quick else 6
    database = stand.fresh("postgresql")
    yardstick = bare.BarePostgres(stand.postgres, stand.folder)
    with database.inside() as inside:
        keys = inside("keys", count=clients)
        with database.served() as server:
            yield from _rounds(
                "1 process", [server], database, inside, keys, clients, rounds, seconds,
                lambda: yardstick.claims_per_second(clients, seconds / 2, 50_000), yardstick.by, wanted=(0.08, 0.12),
            )  # fmt: skip
        if not stand.quick:
            with contextlib.ExitStack() as both:
                servers = [both.enter_context(database.served(REDIS_URL=stand.valkey.url)) for _ in range(2)]
                yield from _rounds(
                    "2 processes", servers, database, inside, keys, clients, rounds, seconds,
                    lambda: yardstick.claims_per_second(clients, seconds / 2, 50_000), yardstick.by,
                )  # fmt: skip
        yield from _truth(inside)
    median_ms, p95_ms = machine.fsync_ms(stand.data_folder("postgresql"))
    yield Row("fsync there, 8 KB appended", median_ms, "ms", detail=f"p95 {p95_ms:.2f} ms")


def sqlite(stand: Stand) -> Iterator[Row | Fact]:
    """8 clients; one process commits single rows in the same folder in between."""
    clients, rounds, seconds = 8, 3 if stand.quick else 7, 3 if stand.quick else 6
    database = stand.fresh("sqlite")
    with database.inside() as inside:
        keys = inside("keys", count=clients)
        with database.served() as server:
            yield from _rounds(
                "", [server], database, inside, keys, clients, rounds, seconds,
                lambda: bare.sqlite_commits_per_second(database.folder, seconds / 2), "bare commits", wanted=(0.04, None),
            )  # fmt: skip
        yield from _truth(inside)
    median_ms, p95_ms = machine.fsync_ms(database.folder)
    yield Row("fsync there, 8 KB appended", median_ms, "ms", detail=f"p95 {p95_ms:.2f} ms")


def _rounds(
    how: str,
    servers: list[Serve],
    database: Database,
    inside: Inside,
    keys: list[str],
    clients: int,
    rounds: int,
    seconds: float,
    bare_rate: Any,
    bare_name: str,
    wanted: tuple[float | None, float | None] = (None, None),
) -> Iterator[Row | Fact]:
    """Yardstick, claims, yardstick, claims …: each ratio has its own two neighbours, the medians are reported."""
    is_sqlite = database.kind == "sqlite"
    singles: list[dict[str, Any]] = []
    batches: list[dict[str, Any]] = []
    bares, ratios, batch_ratios = [], [], []
    for number in range(rounds + 1):
        before = bare_rate()
        single = _drive(inside, servers, keys, clients, seconds, WISH)
        after = bare_rate()
        batch = _drive(inside, servers, keys, clients, seconds, {**WISH, "limit": 50})
        if not number:
            continue  # the first round warms the server, its connections and its plans
        singles.append(single)
        batches.append(batch)
        bares += [before, after]
        ratios.append(single["per_second"] / ((before + after) / 2))
        batch_ratios.append(batch["per_second"] / ((before + after) / 2))
        say(
            f"  {how} {single['per_second']:.0f} claims/s, bare {(before + after) / 2:.0f}/s, batches {batch['per_second']:.0f}/s"
        )
    rate, yardstick = median([each["per_second"] for each in singles]), median(bares)
    title = f"claims, {clients} clients" + (f", {how}" if how else "")
    cpu = median([each["client_cpu_us"] for each in singles])
    own = median([each["server_cpu_ms"] for each in singles])
    detail = f"{rate:.0f}/s against {yardstick:.0f}/s of {bare_name}, {own:.2f} ms of the server's CPU each"
    if wanted[1]:
        detail += f"; the aim is {wanted[1]}"
    if is_sqlite:
        detail += f"; {database.kind}, synchronous=FULL"
    yield Row(title, median(ratios), "of bare", wanted[0], least=True, detail=detail, rounds=ratios)
    p95 = median([each["p95_ms"] for each in singles])
    p99 = median([each["p99_ms"] for each in singles])
    middle = median([each["median_ms"] for each in singles])
    spread = (
        f"median {middle:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, most {max(each['most_ms'] for each in singles):.0f} ms"
    )
    judged = wanted[0] is not None
    if is_sqlite:
        yield Row(f"{title}: p99", p99, "ms", 500 if judged else None, detail=spread)
    else:
        yield Row(f"{title}: p95", p95, "ms", 60 if judged else None, detail=spread)
    batch_rate = median([each["per_second"] for each in batches])
    batch_p95 = median([each["p95_ms"] for each in batches])
    yield Row(
        f"{title}: batches of 50", median(batch_ratios), "of bare", 1 if judged and not is_sqlite else None, least=True,
        detail=f"{batch_rate:.0f} tasks/s, p95 of a batch {batch_p95:.0f} ms,"
        f" {median([each['server_cpu_ms'] for each in batches]):.2f} ms of the server's CPU a task",
        rounds=batch_ratios,
    )  # fmt: skip
    refused = [each["complaint"] for each in [*singles, *batches] if each["complaint"]]
    yield Fact(
        f"{title}: every answer is 200",
        not refused,
        refused[0] if refused else f"{_requests(singles, batches)} requests",
    )
    yield Row(
        f"{title}: client's own CPU", cpu, "µs a request", 100 if judged else None, detail="it is not what is measured"
    )


def _drive(
    inside: Inside, servers: list[Serve], keys: list[str], clients: int, seconds: float, wish: dict[str, Any]
) -> dict[str, Any]:
    batch = wish.get("limit", 1)
    inside("refill", count=READY * (4 if batch > 1 else 1))
    before = sum(server.cpu_seconds for server in servers)
    found: dict[str, Any] = program(
        "drive",
        {
            "ports": [server.port for server in servers],
            "keys": keys,
            "clients": clients,
            "seconds": seconds,
            "wish": wish,
        },
    )
    found["server_cpu_ms"] = (sum(server.cpu_seconds for server in servers) - before) * 1000 / max(1, found["claimed"])
    return found


def _truth(inside: Inside) -> Iterator[Row | Fact]:
    """What the clients were told is what the database holds."""
    found = inside("claimed")
    same = found["recorded"] == found["tasks"] == found["in_progress"]
    yield Fact(
        "no task was claimed twice, each claim recorded", same, f"{found['recorded']} claims on {found['tasks']} tasks"
    )
    numbers = inside("numbers")
    yield Fact(
        "activity numbers are dense",
        numbers["lines"] == numbers["last"] == numbers["head"],
        f"{numbers['lines']} lines",
    )


def _requests(*groups: list[dict[str, Any]]) -> int:
    return sum(each["requests"] for group in groups for each in group)
