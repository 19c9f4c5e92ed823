"""Walks the chain of seals over the log; writes down where it stands, and holds it against what was written down."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control import log
from mission_control.errors import Refused
from mission_control.keeping import retention


class Command(BaseCommand):
    help = "Check that no line of the log was changed, removed or put in since it was sealed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--against", type=Path, metavar="FILE", help="also hold it against a checkpoint kept elsewhere"
        )
        parser.add_argument(
            "--export", type=Path, metavar="FILE", help="afterwards write a checkpoint to keep elsewhere"
        )

    def handle(self, *, against: Path | None, export: Path | None, **_: Any) -> None:
        checked, complaint = log.verify_log()
        if complaint:
            raise CommandError(f"{complaint} ({checked} were in order before it).")
        if against:
            self._hold_against(against)
        self.stdout.write(f"{checked} activities are as they were sealed.")
        if export:
            self._export(export)

    def _hold_against(self, file: Path) -> None:
        try:
            complaint = retention.contradiction(json.loads(file.read_bytes()))
        except (OSError, ValueError) as error:
            raise CommandError(f"{file}: {error}") from None
        if complaint:
            raise CommandError(f"{complaint}.")

    def _export(self, file: Path) -> None:
        try:
            file.write_text(json.dumps(retention.exported(), indent=1) + "\n")
        except (OSError, Refused) as error:
            raise CommandError(f"{file}: {error}") from None
