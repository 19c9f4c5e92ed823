"""What a verb of the command line is made of: its name, its arguments, what it does. Not: the verbs (cli.py and others)."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from . import keeping, show
from .client import MissionControl


class Usage(Exception):
    """It was called in a way that cannot be meant: exit code 2."""


class Call:
    """One call of the command: its arguments, the server, and what is printed."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.url, key = keeping.login()
        if given.url:
            self.url, key = given.url, key if given.url.rstrip("/") == self.url.rstrip("/") else ""
        self.key = key
        self.held = ""
        self._control: MissionControl | None = None

    @property
    def control(self) -> MissionControl:
        """The client; Usage when nobody said where the server is."""
        if self._control is None:
            if not self.url:
                raise Usage("Where is the server? Say `mctl login URL`, or set MISSION_CONTROL_URL.")
            try:
                self._control = MissionControl(self.url, self.key, self.given.agent_id, patience=self.given.patience)
            except ValueError as wrong:
                raise Usage(str(wrong)) from None
        return self._control

    def task(self) -> str:
        """The task of `--task`, else the one whose lease this folder holds; reports go out under that lease."""
        url = self.control.wire.url
        lease = keeping.lease(url)
        named = getattr(self.given, "task", "")
        if lease and named in ("", lease.task):
            self.control.leases[lease.task] = lease
            self.held = lease.task
            return lease.task
        if not named:
            raise Usage("Which task? This folder holds none: say `mctl next` first, or name one with --task.")
        return str(named)

    def forget_what_was_lost(self) -> None:
        """A lease that the server refused is of no use to the next call."""
        if self.held and self.held not in self.control.leases:
            keeping.forget_lease(self.control.wire.url, self.held)

    def say(self, text: str, told: Any) -> None:
        """To people, or with --json the answer as it is."""
        print(show.as_json(told) if self.given.json else show.clean(text))


class Verb(NamedTuple):
    """`arguments` adds to the parser what it takes; `run` does it and returns the exit code, or None for 0."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[Call], int | None]


def nothing(parser: argparse.ArgumentParser) -> None:
    """A verb without arguments of its own."""


def on_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-t", "--task", default="", metavar="TASK", help="its code; else the one claimed in this folder"
    )


def seconds(text: str) -> float:
    """A span of time as an argument: a number from 0 on. ValueError for anything else."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def warn(text: str) -> None:
    """One line, whatever it is made of. Where nobody reads it or the disk is full, it is not said."""
    with contextlib.suppress(OSError):
        print(show.line(text), file=sys.stderr, flush=True)
