"""`make bench`: measures what docs/scaling.md speaks of, on this machine, and prints a table. JSON goes to bench-results/.

    make bench                          everything
    make bench ARGS="claims board"      sections by the beginning of their names
    make bench ARGS="--quick"           fewer and shorter rounds

Everything is started here, on loopback and in temp folders, and stopped at the end. Ratios are of two things measured
in turn within one run, because the speed of a machine drifts. Figures are not tests: the exit code says whether the
run went through, not whether a figure was reached.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

from tests.bench import (  # noqa: E402
    activities,
    board,
    browser,
    claims,
    crowd,
    events,
    hands,
    machine,
    memory,
    million,
    page,
    start,
    watchers,
)
from tests.bench.report import Fact, Row, table, write  # noqa: E402
from tests.bench.stand import Failed, Stand, say  # noqa: E402
from tests.servers import ServerUnavailable  # noqa: E402

SECTIONS: dict[str, Callable[[Stand], Iterator[Row | Fact]]] = {
    "claims-postgresql": claims.postgresql,
    "claims-sqlite": claims.sqlite,
    "claim-million": million.measure,
    "activities": activities.measure,
    "events": events.measure,
    "board": board.measure,
    "crowd": crowd.measure,
    "page": page.measure,
    "memory": memory.measure,
    "start": start.measure,
    "browser": browser.measure,
    "browser-hands": hands.measure,
    "browser-watchers": watchers.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"some of: {', '.join(SECTIONS)}; the beginning of a name will do")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--minutes", type=float, default=5, help="of load in the section memory (default: 5)")
    options = parser.parse_args()
    wanted = [
        name for name in SECTIONS if not options.sections or any(name.startswith(word) for word in options.sections)
    ]
    unknown = [word for word in options.sections if not any(name.startswith(word) for name in SECTIONS)]
    if unknown:
        parser.error(f"no section begins with {unknown[0]}: there are {', '.join(SECTIONS)}")

    rows: list[Row | Fact] = []
    problems: list[str] = []
    sections: dict[str, dict[str, float]] = {}
    with Stand(quick=options.quick, minutes=options.minutes) as stand:
        described = machine.described()
        median_ms, p95_ms = machine.fsync_ms(stand.folder)
        described |= {"fsync_ms": round(median_ms, 3), "fsync_p95_ms": round(p95_ms, 3)}
        for name in wanted:
            say(f"{name} …")
            started, load_before = time.monotonic(), os.getloadavg()[0]
            try:
                for row in SECTIONS[name](stand):
                    row.section = name
                    rows.append(row)
            except (Failed, ServerUnavailable) as problem:
                problems.append(f"{name}: {problem}")
                say(f"  {problem}")
            sections[name] = {"seconds": round(time.monotonic() - started, 1), "load_before": round(load_before, 1)}
        described |= {"servers": stand.versions()}
    print("\n" + ", ".join(f"{name} {value}" for name, value in described.items()) + "\n")
    print(table(rows))
    path = write(ROOT / "bench-results", described, rows, {"quick": options.quick, "sections": sections})
    print(f"\n{path.relative_to(ROOT)}")
    for problem in problems:
        print(f"not measured: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
