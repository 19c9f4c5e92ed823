"""Breaks one line of the product at a time, in a copy, and proves that the named test fails by its own assertion.

    python tests/sabotage.py [--list] [--jobs N] [NAME …]

The list is tests/sabotages.toml. A sabotage counts as caught only when the test that is named for it fails with an
AssertionError or with "DID NOT RAISE", and passed before. One that survives, or that breaks the test in another way,
fails the run: then a test is missing, or proves something else than it says.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import servers  # noqa: E402 - the project is not installed, so the path comes first

LIST = ROOT / "tests" / "sabotages.toml"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "data", "__pycache__", ".*_cache", "node_modules", "*.sqlite3*", "*.log"
)
BY_ASSERTION = ("AssertionError", "assert ", "Failed: DID NOT RAISE")
SECONDS_ALLOWED = 180


@dataclass(frozen=True)
class Sabotage:
    """One line made wrong: `old` stands exactly once in `file`; `test` has to notice, on `database`."""

    name: str
    file: str
    old: str
    new: str
    test: str
    database: str = "sqlite"

    def applied_to(self, text: str) -> str:
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: the line stands {text.count(self.old)} times in {self.file}, not once")
        return text.replace(self.old, self.new)


def listed() -> list[Sabotage]:
    return [Sabotage(**entry) for entry in tomllib.loads(LIST.read_text())["sabotage"]]


class Copy:
    """A copy of the tree in which one test at a time is run."""

    def __init__(self, folder: Path, database_urls: dict[str, str]) -> None:
        self.folder, self.database_urls = folder, database_urls
        self.tree = folder / "tree"
        shutil.copytree(ROOT, self.tree, ignore=LEFT_OUT)

    def run(self, *tests: str, database: str) -> dict[str, str]:
        """`{test: what came of it}`: passed, or what it failed with."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
            if name in os.environ
        }
        environment = {
            **kept,
            "DATA_DIR": str(self.folder / "data"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **({"DATABASE_URL": self.database_urls[database]} if database != "sqlite" else {}),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command, cwd=self.tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                timeout=SECONDS_ALLOWED, check=False,
            )  # fmt: skip
        return _outcomes(report)

    def sabotaged(self, sabotage: Sabotage) -> str:
        """What came of the named test with that line broken."""
        path = self.tree / sabotage.file
        text = path.read_text()
        path.write_text(sabotage.applied_to(text))
        try:
            return self.run(sabotage.test, database=sabotage.database).get(sabotage.test, "the test did not run")
        finally:
            path.write_text(text)


def _outcomes(report: Path) -> dict[str, str]:
    """A failure of the test itself goes before an error while it was cleaned up; parameters are put together."""
    outcomes: dict[str, str] = {}
    if not report.exists():
        return outcomes
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("classname", "").replace(".", "/") + ".py::" + case.get("name", "").split("[")[0]
        outcome = "passed"
        for kind in ("failure", "error", "skipped"):
            found = case.find(kind)
            if found is not None:
                first = " ".join((found.get("message") or "").split())[:150]
                outcome = first if kind == "failure" else f"{kind}: {first}"
                break
        if outcomes.get(name, "passed") == "passed":
            outcomes[name] = outcome
    return outcomes


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="try only those whose name holds this")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--jobs", type=int, default=2, help="copies at work at once; default 2")
    options = parser.parse_args(arguments)
    chosen = [one for one in listed() if not options.names or any(name in one.name for name in options.names)]
    if not chosen:
        parser.error("no sabotage has such a name")
    if options.list:
        for one in chosen:
            print(f"{one.name}\n    {one.file}\n    {one.test} on {one.database}")
        return 0
    try:
        return _try_all(chosen, max(1, options.jobs))
    except servers.ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 1


def _try_all(chosen: list[Sabotage], jobs: int) -> int:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mission-control-sabotage-")))
        database = None
        if any(one.database == "postgresql" for one in chosen):
            database = stack.enter_context(servers.postgres(own=True))
            print(database.version)
        copies: queue.Queue[Copy] = queue.Queue()
        for number in range(jobs):
            urls = {"postgresql": database.create_database(f"sabotage_{number}")} if database else {}
            (folder / str(number)).mkdir()
            copies.put(Copy(folder / str(number), urls))
        whole = _untouched(copies, chosen)
        started = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(jobs) as threads:
            results = list(threads.map(lambda one: _judged(copies, one, whole), chosen))
    width = max(len(one.name) for one in chosen)
    print(f"\n{len(chosen)} sabotages in {time.monotonic() - started:.0f} s\n" + "═" * (width + 60))
    for one, (caught, how) in zip(chosen, results, strict=True):
        print(f"{one.name:<{width}}  {'caught' if caught else 'NOT CAUGHT'}  {one.test.split('::')[-1]}\n    {how}")
    survivors = [one.name for one, (caught, _) in zip(chosen, results, strict=True) if not caught]
    print(f"NOT CAUGHT: {', '.join(survivors)}" if survivors else f"All {len(chosen)} were caught.")
    return 1 if survivors else 0


def _untouched(copies: queue.Queue[Copy], chosen: list[Sabotage]) -> dict[tuple[str, str], str]:
    """What the named tests say of the tree as it is: a test that fails anyway proves nothing."""
    copy = copies.get()
    whole = {}
    for database in sorted({one.database for one in chosen}):
        tests = sorted({one.test for one in chosen if one.database == database})
        for test, outcome in copy.run(*tests, database=database).items():
            whole[test, database] = outcome
    copies.put(copy)
    return whole


def _judged(copies: queue.Queue[Copy], one: Sabotage, whole: dict[tuple[str, str], str]) -> tuple[bool, str]:
    before = whole.get((one.test, one.database), "it did not run")
    if before != "passed":
        return False, f"it does not pass on the untouched tree: {before}"
    copy = copies.get()
    try:
        outcome = copy.sabotaged(one)
    finally:
        copies.put(copy)
    caught = outcome.startswith(BY_ASSERTION)
    print(f"{'·' if caught else '✗'} {one.name}", flush=True)
    return caught, outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
