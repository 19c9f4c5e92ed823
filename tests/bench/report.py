"""What a run found: rows against the wanted figures, the table, the JSON. Not: how anything is measured."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

REACHED, HALF, MISSED = "yes", "half", "no"


@dataclass
class Row:
    """One measured figure. Without `wanted` it is information and is not judged.

    `least` says which side is good: True, the figure should be at least `wanted`; False, at most. A ratio of two
    things measured in the same run is the figure itself; `detail` then holds the two.
    """

    what: str
    value: float
    unit: str = ""
    wanted: float | None = None
    least: bool = False
    detail: str = ""
    rounds: Sequence[Any] = field(default_factory=list)
    section: str = ""

    @property
    def share(self) -> float | None:
        """How much of the wanted figure was reached; 1 and more is reached."""
        if self.wanted is None:
            return None
        if self.least:
            return self.value / self.wanted if self.wanted else 1.0
        return self.wanted / self.value if self.value else float("inf")

    @property
    def verdict(self) -> str:
        if self.share is None:
            return ""
        return REACHED if self.share >= 1 else HALF if self.share >= 0.5 else MISSED


@dataclass
class Fact:
    """Something that has to hold (no double claim, true counts) and either does or does not."""

    what: str
    holds: bool
    detail: str = ""
    section: str = ""

    @property
    def verdict(self) -> str:
        return REACHED if self.holds else MISSED


def shown(number: float) -> str:
    if number == float("inf"):
        return "∞"
    if number >= 100:
        return f"{number:,.0f}".replace(",", " ")
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 0.1 else f"{number:.3f}"


def cells(row: Row | Fact) -> tuple[str, ...]:
    if isinstance(row, Fact):
        return row.what, "holds" if row.holds else "BROKEN", "", "", row.verdict, row.detail
    measured = f"{shown(row.value)} {row.unit}".strip()
    wanted = "" if row.wanted is None else f"{'≥' if row.least else '≤'} {shown(row.wanted)} {row.unit}".strip()
    return row.what, measured, wanted, "" if row.share is None else shown(row.share), row.verdict, row.detail


def table(rows: Sequence[Row | Fact]) -> str:
    lines = [("what", "measured", "wanted", "share", "reached", "how it came about"), *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    printed = []
    section = None
    for place, line in enumerate(lines):
        if place and rows[place - 1].section != section:
            section = rows[place - 1].section
            printed.append(f"\n{section}")
        padded = [line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in range(1, 5)), line[5]]
        printed.append("  ".join(padded).rstrip())
    return "\n".join(printed)


def write(folder: Path, machine: dict[str, Any], rows: Sequence[Row | Fact], options: dict[str, Any]) -> Path:
    """One JSON file a run: the machine, the options, every row with its rounds."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y-%m-%dT%H%M%S', time.gmtime())}.json"
    found = [{**asdict(row), "verdict": row.verdict, "share": getattr(row, "share", None)} for row in rows]
    path.write_text(
        json.dumps({"machine": machine, "options": options, "rows": found}, indent=1, ensure_ascii=False, default=str)
    )
    return path


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of them lie; the middle two are averaged for an even median."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
