"""Keeps the folder of a task orchestrator as this instance is."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control.errors import Refused
from tasks.exchange import orchestrator_folder


class Command(BaseCommand):
    help = "Write every task as the folder of a task orchestrator, and again after each change, until it is stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path, help="made when it is not there")
        parser.add_argument("--every", type=float, default=2.0, metavar="SECONDS", help="at most so often; %(default)s")

    def handle(self, *, folder: Path, every: float, **_: Any) -> None:
        if not 0.1 <= every <= 3600:
            raise CommandError("Between 0.1 and 3600 seconds.", returncode=2)
        stopping = threading.Event()
        for which in (signal.SIGINT, signal.SIGTERM):
            signal.signal(which, lambda *_: stopping.set())
        try:
            orchestrator_folder.mirror(folder.absolute(), every, stopping)
        except Refused as refusal:
            raise CommandError(refusal.sentence) from None
        except OSError as error:
            raise CommandError(f"Cannot write {folder}: {error.strerror}.") from None
