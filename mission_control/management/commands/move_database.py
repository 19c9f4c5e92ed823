"""Moves an instance from an SQLite file to PostgreSQL."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from mission_control import starting
from mission_control.keeping import backups


class Command(BaseCommand):
    help = "Copy an SQLite file into the empty PostgreSQL database of DATABASE_URL. Stop servers and workers first."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "source", metavar="FILE", type=Path, nargs="?", default=settings.SQLITE_FILE,
            help="the SQLite file, that in DATA_DIR when none is named",
        )  # fmt: skip

    def handle(self, *, source: Path, **_: Any) -> None:
        starting.check_settings()
        rows = backups.move(source.absolute(), say=self.stdout.write)
        self.stdout.write(f"Moved {rows} rows. Start the servers with this DATABASE_URL.")
