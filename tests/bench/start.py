"""`make run` on a machine that has run it before: how long until the first page; and how long one call of `mctl` takes."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mission_control.mctl import MissionControl
from tests import servers
from tests.bench import machine
from tests.bench.report import Fact, Row, median
from tests.bench.stand import ROOT, Failed, Stand, fetch

WANTED_SECONDS = 4
WANTED_COMMAND_SECONDS = 0.3


def measure(stand: Stand) -> Iterator[Row | Fact]:
    folder = stand.folder / "start"
    folder.mkdir()
    first, _ = _started(folder)
    runs = [_started(folder) for _ in range(3 if stand.quick else 7)]
    warm = [seconds for seconds, _ in runs]
    yield Row(
        "`make run`, warm, to the first page", median(warm), "s", WANTED_SECONDS,
        detail=f"most {max(warm):.1f} s, {median([cpu for _, cpu in runs]):.1f} s of CPU; with an empty data folder {first:.1f} s", rounds=warm,
    )  # fmt: skip
    calls = list(_commanded(stand))
    yield Row(
        "`mctl list`, the downloaded file, from the command to its end", median(calls), "s", WANTED_COMMAND_SECONDS,
        detail=f"most {max(calls):.2f} s, one call of the server with 20 tasks in it", rounds=calls,
    )  # fmt: skip


def _commanded(stand: Stand) -> Iterator[float]:
    """Seconds of each call, after one that is not counted."""
    database = stand.fresh("sqlite")
    key = database.run_manage("create_agent", "ada", "--scopes", "work,orchestrate").strip()
    with database.served() as server:
        url = f"http://127.0.0.1:{server.port}"
        file = database.folder / "mctl"
        file.write_bytes(fetch(server.port, "GET", "/mctl", {})[2])
        control = MissionControl(url, key)
        control.add_many([{"title": f"Task {number}"} for number in range(20)])
        environment = {"PATH": os.environ["PATH"], "HOME": str(database.folder)}
        environment |= {"MISSION_CONTROL_URL": url, "MISSION_CONTROL_KEY": key}
        for count in range(6 if stand.quick else 21):
            started = time.monotonic()
            ran = subprocess.run([sys.executable, file, "list"], env=environment, capture_output=True, check=False)
            if ran.returncode:
                raise Failed(f"mctl list ended with {ran.returncode}: {ran.stderr.decode().strip()}")
            if count:
                yield time.monotonic() - started


def _started(folder: Path) -> tuple[float, float]:
    """`(seconds from the command to a page with status 200, CPU seconds of it all)`, on SQLite; then it is ended."""
    port = servers._free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, "PORT": str(port), "HOST": "127.0.0.1", "DATA_DIR": str(folder)}
    started = time.monotonic()
    with open(folder / "run.log", "wb") as log:
        process = subprocess.Popen(
            ["make", "--no-print-directory", "run"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        while time.monotonic() - started < 120:
            if process.poll() is not None:
                raise Failed(
                    f"make run ended: {' '.join((folder / 'run.log').read_text(errors='replace').split())[-400:]}"
                )
            with contextlib.suppress(OSError, http.client.HTTPException):
                if _page(port) == 200:
                    return time.monotonic() - started, machine.cpu_seconds(process.pid)
            time.sleep(0.02)
        raise Failed("make run showed no page within two minutes")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(35)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _page(port: int) -> int:
    """The status of the first page that a person would see, redirects to the login followed."""
    path = "/"
    for _ in range(4):
        status, headers, _ = fetch(port, "GET", path, {"Accept": "text/html"})
        if status not in (301, 302, 303, 307, 308):
            return status
        path = headers["location"]
    return status
