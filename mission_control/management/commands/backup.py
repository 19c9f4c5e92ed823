"""Writes a backup beside a working fleet."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from mission_control.keeping import backups


class Command(BaseCommand):
    help = "Write the database, the uploads and the keys of this instance into one file (mode 600). Nobody has to stop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path, help="a name that is free, for example backup.tar.gz")

    def handle(self, *, file: Path, **_: Any) -> None:
        manifest = backups.make(file.absolute())
        self.stdout.write(f"{file}: {backups.told(manifest)}")
