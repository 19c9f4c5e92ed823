"""Everything a contributor must pass, stage after stage: each one runs, each failure is named at the end.

python tests/stages.py all | fast | check | chaos
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import servers  # noqa: E402 - the project is not installed, so the path comes first

BIN = Path(sys.executable).parent
MANAGE = [sys.executable, "manage.py"]
PYTEST = [sys.executable, "-m", "pytest", "-q"]
UNIT = [*PYTEST, "tests", "--ignore=tests/e2e", "--ignore=tests/chaos", "--ignore=tests/bench", "-n", "2"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# A contributor's own settings must not decide what the tests find.
OURS = (
    *("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "LOG_KEY", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DEBUG"),
    *("DATA_DIR", "STATIC_ROOT", "HOST", "PORT", "PUBLIC_URL", "TRUST_PROXY", "MISSION_CONTROL_OPEN", "DEMO"),
)


class StageFailed(Exception):
    """A stage cannot even begin; the message is one line for a person."""


@dataclass
class Stage:
    """One line of the summary: a command with what it needs, and what came of it."""

    name: str
    command: list[str]
    counts_tests: bool = False
    seconds_allowed: int = 300
    surroundings: Callable[[], "contextlib.AbstractContextManager[dict[str, str]]"] = field(
        default=lambda: contextlib.nullcontext({})
    )
    problem: str = ""
    tests: int = 0
    seconds: float = 0.0


def check_stages() -> list[Stage]:
    templates = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "templates").rglob("*.html"))
    return [
        Stage("lint", [str(BIN / "ruff"), "check", "."]),
        Stage("format", [str(BIN / "ruff"), "format", "--check", "--quiet", "."]),
        Stage("templates", [str(BIN / "djade"), "--check", "--target-version", "5.2", *templates]),
        Stage("types", [str(BIN / "mypy"), "--no-error-summary"]),
        Stage("migrations", [*MANAGE, "makemigrations", "--check", "--dry-run"]),
        Stage("system checks", [*MANAGE, "check"]),
        Stage("API schema", [*MANAGE, "spectacular", "--validate", "--fail-on-warn", "--file", os.devnull]),
    ]


def unit_on_sqlite(*selection: str) -> Stage:
    return Stage(
        "unit tests, SQLite", [*UNIT, *selection], counts_tests=True, seconds_allowed=1200, surroundings=_sqlite
    )


def unit_on_postgresql() -> Stage:
    command = [*UNIT, "-m", "not once"]
    return Stage("unit tests, PostgreSQL", command, counts_tests=True, seconds_allowed=1200, surroundings=_postgresql)


def chaos(*selection: str, seconds_allowed: int) -> Stage:
    command = [*PYTEST, "tests/chaos", *selection]
    return Stage("races and faults", command, True, seconds_allowed, surroundings=_own_servers)


def browser() -> Stage:
    return Stage("browser tests", [*PYTEST, "tests/e2e", "-n", "2"], True, seconds_allowed=1200, surroundings=_chromium)


def stages(which: str) -> list[Stage]:
    if which == "fast":
        return [*check_stages()[:2], unit_on_sqlite("-m", "not fuzz and not slow")]
    if which == "check":
        return check_stages()
    if which == "chaos":
        return [chaos("-v", "-s", seconds_allowed=4 * 3600)]
    if which == "all":
        unit = [unit_on_sqlite(), unit_on_postgresql()]
        return [*check_stages(), *unit, chaos("-m", "smoke", "-n", "2", seconds_allowed=600), browser()]
    raise SystemExit(__doc__)


def run(stage: Stage) -> None:
    """Run one stage to its end or its time limit; what came of it stands in the stage."""
    started = time.monotonic()
    print(f"\n── {stage.name} " + "─" * (70 - len(stage.name)), flush=True)
    with tempfile.TemporaryDirectory(prefix="mission-control-tests-") as folder:
        report = Path(folder) / "report.xml"
        command = [*stage.command, f"--junitxml={report}"] if stage.counts_tests else stage.command
        environment = {name: value for name, value in os.environ.items() if name not in OURS}
        environment["DATA_DIR"] = str(Path(folder) / "data")
        try:
            with stage.surroundings() as additions:
                stage.problem = _run(command, {**environment, **additions}, stage.seconds_allowed)
        except (servers.ServerUnavailable, StageFailed) as error:
            stage.problem = str(error)
            print(error, flush=True)
        if report.exists():
            stage.tests = sum(int(suite.get("tests", 0)) for suite in ElementTree.parse(report).iter("testsuite"))
    stage.seconds = time.monotonic() - started


def _run(command: list[str], environment: dict[str, str], seconds_allowed: int) -> str:
    """What was wrong with it, or an empty string."""
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            code = process.wait(seconds_allowed)
        except BaseException as error:  # time is up or somebody pressed Ctrl-C: nothing of it may stay behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return f"not done after {seconds_allowed} s"
            raise
    return {0: "", 5: "found no tests"}.get(code, f"exit code {code}")


@contextlib.contextmanager
def _sqlite() -> Iterator[dict[str, str]]:
    import sqlite3

    print(f"SQLite {sqlite3.sqlite_version}", flush=True)
    yield {}


@contextlib.contextmanager
def _postgresql() -> Iterator[dict[str, str]]:
    with servers.postgres() as server:
        print(server.version, flush=True)
        yield {"DATABASE_URL": server.url}


@contextlib.contextmanager
def _own_servers() -> Iterator[dict[str, str]]:
    """The fault tests start, kill and restart servers of their own: here they are only named."""
    print(" · ".join(servers.own_versions()), flush=True)
    yield {}


@contextlib.contextmanager
def _chromium() -> Iterator[dict[str, str]]:
    """A Chromium on PATH; on Debian as root it is installed when there is none."""
    if not _browser_on_path() and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Chromium …", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
        ):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    path = _browser_on_path()
    if not path:
        raise StageFailed("No Chromium on PATH: install it (Debian: apt-get install chromium) and run again.")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    print(said or path, flush=True)
    with _sqlite() as additions:
        yield additions


def _browser_on_path() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    planned = stages(arguments[0])
    for stage in planned:
        run(stage)
    width = max(len(stage.name) for stage in planned)
    print("\n" + "═" * 74)
    for stage in planned:
        tests = f"{stage.tests:>6} tests" if stage.counts_tests else " " * 12
        print(f"{stage.name:<{width}}  {tests} {stage.seconds:>7.1f} s  {stage.problem or 'passed'}")
    failed = [stage.name for stage in planned if stage.problem]
    print(f"FAILED: {', '.join(failed)}" if failed else "All passed.", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
