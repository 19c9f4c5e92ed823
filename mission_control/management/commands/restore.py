"""Fills an empty instance from a backup."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from mission_control import starting
from mission_control.keeping import backups


class Command(BaseCommand):
    help = "Fill this instance from a backup, whole or not at all. Stop its servers and workers first."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="also when this instance holds something: it is lost"
        )
        parser.add_argument("--check", action="store_true", help="read the file to its end and change nothing")

    def handle(self, *, file: Path, replace: bool, check: bool, **_: Any) -> None:
        if check:
            with backups.unpacked(file.absolute()) as (manifest, _folder):
                self.stdout.write(f"{file} is whole: {backups.told(manifest)}")
            return
        starting.check_settings()
        manifest = backups.restore(file.absolute(), replace=replace, say=self.stdout.write)
        self.stdout.write(f"Restored: {backups.told(manifest)}")
