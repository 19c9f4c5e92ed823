"""The claim's statements on a thousand tasks and on a million: the same work, or nearly. Both databases."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.report import Fact, Row, median
from tests.bench.stand import MILLION, URGENT_SHARE, Stand, say

FEW = 1_000


def measure(stand: Stand) -> Iterator[Row | Fact]:
    for kind in ("postgresql", "sqlite"):
        yield from _on(stand, kind)


def _on(stand: Stand, kind: str) -> Iterator[Row | Fact]:
    rounds, times = (5, 100) if stand.quick else (15, 200)
    few, many = stand.loaded(kind, FEW), stand.loaded(kind, MILLION)
    with few.inside() as small, many.inside() as large:
        ratios: list[float] = []
        took: dict[str, list[float]] = {"small": [], "large": []}
        parts: dict[str, list[float]] = {"heads": [], "lock": []}
        for number in range(rounds + 1):
            a, b = small("claim_statements", times=times), large("claim_statements", times=times)
            if not number:
                continue
            took["small"].append(median(a["heads"]) + median(a["lock"]))
            took["large"].append(median(b["heads"]) + median(b["lock"]))
            ratios.append(took["large"][-1] / took["small"][-1])
            for name in parts:
                parts[name].append(median(b[name]) / median(a[name]))
        plans = large("claim_plans")
        whole = [(median(small("whole_claims", times=20)), median(large("whole_claims", times=20))) for _ in range(3)]
    say(f"  {kind}: {median(took['small']):.3f} ms at {FEW}, {median(took['large']):.3f} ms at {MILLION}")
    yield Row(
        f"claim statements at {MILLION:,} / {FEW:,} tasks, {kind}".replace(",", " "), median(ratios), "×", 1.5,
        detail=f"{median(took['large']):.2f} against {median(took['small']):.2f} ms, {MILLION // URGENT_SHARE} urgent ones"
        f" of another skill in front; lane heads {median(parts['heads']):.2f} ×, lock {median(parts['lock']):.2f} ×",
        rounds=ratios,
    )  # fmt: skip
    steps = [step for each in plans.values() for step in each]
    by_index = bool(steps) and all("Index" in step or step.startswith("SEARCH") for step in steps)
    yield Fact(f"every statement of the claim reads tasks by index, {kind}", by_index, ", ".join(dict.fromkeys(steps)))
    small_ms, large_ms = median([pair[0] for pair in whole]), median([pair[1] for pair in whole])
    yield Row(
        f"whole claim with its commit, {kind}",
        large_ms / small_ms,
        "×",
        detail=f"{large_ms:.2f} against {small_ms:.2f} ms",
    )
