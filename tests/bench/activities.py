"""Units of work that record one activity, from many writers, against transactions that only raise a counter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.bench import bare, machine
from tests.bench.report import Fact, Row, median
from tests.bench.stand import Stand, say

WRITERS = 16


def measure(stand: Stand) -> Iterator[Row | Fact]:
    rounds, seconds = (4, 3) if stand.quick else (9, 5)
    database = stand.fresh("postgresql")
    yardstick = bare.BarePostgres(stand.postgres, stand.folder)
    ratios, bares, ours = [], [], []
    with database.inside() as inside:
        for number in range(rounds + 1):
            before = yardstick.counted_lines_per_second(WRITERS, seconds / 2)
            found: dict[str, Any] = inside("write_lines", writers=WRITERS, seconds=seconds)
            after = yardstick.counted_lines_per_second(WRITERS, seconds / 2)
            if not number:
                continue
            ours.append(found)
            bares += [before, after]
            ratios.append(found["per_second"] / ((before + after) / 2))
            say(f"  {found['per_second']:.0f} activities/s, bare {(before + after) / 2:.0f}/s")
        numbers = inside("numbers")
    rate = median([each["per_second"] for each in ours])
    p95 = median([each["p95_ms"] for each in ours])
    median_ms, p95_ms = machine.fsync_ms(stand.data_folder("postgresql"))
    yield Row(
        f"activities, {WRITERS} writers", median(ratios), "of bare", 0.6, least=True,
        detail=f"{rate:.0f}/s (p95 {p95:.0f} ms) against {median(bares):.0f}/s of {yardstick.by} that raises a counter,"
        f" inserts and commits; {WRITERS} processes each; fsync {median_ms:.2f} ms",
        rounds=ratios,
    )  # fmt: skip
    dense = numbers["first"] == 1 and numbers["lines"] == numbers["last"] == numbers["head"]
    yield Fact("activity numbers are dense", dense, f"{numbers['lines']} lines, 1 to {numbers['last']}")
    yield Row("fsync there, 8 KB appended", median_ms, "ms", detail=f"p95 {p95_ms:.2f} ms")
