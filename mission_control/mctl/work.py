"""The verb `work`: what the command line asks of the runner. Not: the running (runner.py)."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .options import LEASE_SECONDS, PRESETS, SLUG, Options
from .verbs import Call, Usage, Verb


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `work`."""
    parser.add_argument("--agent", required=True, metavar="SLUG", help="whose key it is")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="so many tasks at once")
    parser.add_argument(
        "--repository", action="append", default=[], metavar="[VENTURE=]DIR",
        help="work in this git repository; of one venture, or of all others (default: the current one)",
    )  # fmt: skip
    parser.add_argument("--preset", choices=sorted(PRESETS), default="", help="how a known agent is started")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="N", help="the longest that one attempt may run")
    parser.add_argument("--tokens", type=int, default=0, metavar="N", help="the most that one attempt may use")
    parser.add_argument("--tasks", type=int, default=0, metavar="N", help="end after so many tasks")
    parser.add_argument(
        "--lease", type=int, default=LEASE_SECONDS, metavar="SECONDS", help="how soon a task comes back after a crash"
    )
    parser.add_argument("--grace", type=float, default=3.0, metavar="SECONDS", help="between SIGTERM and SIGKILL")
    parser.add_argument(
        "--finish", type=float, default=30.0, metavar="SECONDS", help="what runs may go on for after SIGTERM"
    )
    parser.add_argument("--folder", type=Path, default=None, metavar="DIR", help="where working trees are made")
    parser.add_argument(
        "--call-back", action="store_true", help="give the key and the lease to the command's environment"
    )
    parser.add_argument(
        "command", nargs="*", metavar="-- COMMAND", help="what does the work, or with a preset what it is given more"
    )


def options_of(given: argparse.Namespace, command: Sequence[str]) -> Options:
    """Checked, or ValueError with a sentence."""
    if not SLUG.fullmatch(given.agent):
        raise ValueError("--agent is the slug of an agent: small letters, digits and dashes.")
    if not command and given.preset in ("", "shell"):
        raise ValueError("Name the command behind --, or a preset.")
    program = PRESETS[given.preset][0] if given.preset else command[0]
    if not shutil.which(program):
        raise ValueError(f"There is no command {program} here.")
    numbers = (given.minutes, given.tokens, given.tasks, given.grace, given.finish, given.lease)
    if given.parallel < 1 or not all(0 <= number < math.inf for number in numbers):
        raise ValueError("Numbers are positive.")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Options(
        agent=given.agent, command=list(command), parallel=given.parallel,
        repositories=_repositories(given.repository), minutes=given.minutes, tokens=given.tokens, tasks=given.tasks,
        lease_seconds=given.lease, grace=given.grace, finish=given.finish, call_back=given.call_back,
        preset=given.preset, folder=(given.folder or Path(state) / "mctl").absolute(),
    )  # fmt: skip


def _repositories(given: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for word in given:
        venture, _, folder = word.rpartition("=")
        if venture and not SLUG.fullmatch(venture):
            raise ValueError(f"{venture} is not the slug of a venture.")
        if not Path(folder).is_dir():
            raise ValueError(f"There is no folder {folder}.")
        found[venture] = Path(folder).absolute()
    if "" not in found and any((parent / ".git").exists() for parent in (Path.cwd(), *Path.cwd().parents)):
        found[""] = Path.cwd()
    return found


def work(call: Call) -> int:
    """Run until SIGTERM or SIGINT. 0: in order; 1: the server refused for good."""
    if not call.url:
        raise Usage("Where is the server? Say `mctl login URL`, or set MISSION_CONTROL_URL.")
    if sys.platform == "win32":
        raise Usage("The runner needs Linux, macOS or WSL.")
    from .runner import Runner  # what it takes to run a command is loaded when one is run
    from .worktree import Trouble

    try:
        runner = Runner(call.url, call.key, options_of(call.given, call.given.command))
        runner.check_agent()  # while it waits for the server, a signal ends it at once
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        return runner.run()
    except (ValueError, Trouble) as wrong:
        raise Usage(str(wrong)) from None


VERBS = (Verb("work", "take tasks and give each to a command", add_arguments, work),)
