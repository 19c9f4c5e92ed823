"""The machine under the figures: processors, versions, the price of an fsync, memory and threads of a process."""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import time
from pathlib import Path
from typing import Any

from tests.bench.report import percentile

PAGE = b"x" * 8192


def described() -> dict[str, Any]:
    import django

    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(_memory_kb() / 1024 / 1024, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "django": django.get_version(),
        "sqlite": sqlite3.sqlite_version,
    }


def fsync_ms(folder: Path, times: int = 200) -> tuple[float, float]:
    """`(median, p95)` in milliseconds of: append 8 KB, fsync. What a commit cannot be faster than, in that folder."""
    path = folder / "fsync-probe"
    taken = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for place in range(times):
            started = time.perf_counter()
            os.pwrite(descriptor, PAGE, place * len(PAGE))
            os.fsync(descriptor)
            taken.append((time.perf_counter() - started) * 1000)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
    return percentile(taken, 0.5), percentile(taken, 0.95)


def rss_mb(pid: int) -> float:
    """Resident memory of one process, in MB of 1024 KB."""
    return _status_number(pid, "VmRSS") / 1024


def tree_rss_mb(pid: int) -> float:
    """The same for a process and everything it started."""
    return sum(rss_mb(each) for each in [pid, *_descendants(pid)])


def threads(pid: int) -> int:
    return int(_status_number(pid, "Threads"))


def cpu_seconds(pid: int) -> float:
    """User and system time that the process and its children have used so far, also those that have ended."""
    used = 0
    for each in [pid, *_descendants(pid)]:
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        used += sum(map(int, fields[11:15]))
    return used / os.sysconf("SC_CLK_TCK")


def _status_number(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_kb() -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc/meminfo").read_text().split()[1])
    return 0
