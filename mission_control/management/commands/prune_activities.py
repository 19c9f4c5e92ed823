"""Takes old lines out of the log."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control import log
from mission_control.actors import system
from mission_control.ages import age
from mission_control.errors import Refused
from mission_control.keeping import retention


class Command(BaseCommand):
    help = "Take old lines out of the log, behind a signed checkpoint. Safe beside a working fleet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=age, required=True, metavar="AGE", help="36h, 90d, 12w")
        parser.add_argument("--dry-run", action="store_true", help="say up to which line, and change nothing")

    def handle(self, *, older_than: timedelta, dry_run: bool, **_: Any) -> None:
        try:
            if dry_run:
                self.stdout.write(f"The lines up to {retention.prunable(older_than)} of {log.head()} would go.")
                return
            gone = retention.prune(system("command"), older_than)
        except Refused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(f"{gone} activities are gone.")
