"""Moves finished tasks out of the database into files."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from mission_control.actors import system
from mission_control.ages import age
from mission_control.errors import Refused
from tasks.exchange import archiving


class Command(BaseCommand):
    help = "Write tasks that are done or cancelled for so long to files, and delete them. Safe beside a working fleet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", type=age, required=True, metavar="AGE", help="36h, 90d, 12w")
        parser.add_argument(
            "--to", type=Path, default=Path(settings.DATA_DIR) / "archives", metavar="DIR", help="%(default)s"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say which")

    def handle(self, *, older_than: timedelta, to: Path, dry_run: bool, **_: Any) -> None:
        if dry_run:
            for code in archiving.finished(older_than):
                self.stdout.write(code)
            return
        count = 0
        try:
            for code, name in archiving.archive_all(system("archive"), to.absolute(), older_than):
                self.stdout.write(f"{code} {name}" if name else f"{code} stays: another task still waits for it")
                count += bool(name)
        except Refused as refusal:
            raise CommandError(refusal.sentence) from None
        except OSError as error:
            raise CommandError(f"Cannot write to {to}: {error.strerror}.") from None
        self.stderr.write(f"Archived {count} in {to}.")
