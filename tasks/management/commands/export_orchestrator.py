"""Writes all tasks as the folder of a task orchestrator."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control.errors import Refused
from tasks.exchange import orchestrator_folder


class Command(BaseCommand):
    help = "Write every task as the folder of a task orchestrator, private notes too. Nobody has to stop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "folder", metavar="DIR", type=Path, help="made when it is not there; written anew each time"
        )

    def handle(self, *, folder: Path, **_: Any) -> None:
        try:
            count = orchestrator_folder.export(folder.absolute())
        except Refused as refusal:
            raise CommandError(refusal.sentence) from None
        except OSError as error:
            raise CommandError(f"Cannot write {folder}: {error.strerror}.") from None
        self.stdout.write(f"{folder}: {count} tasks.")
