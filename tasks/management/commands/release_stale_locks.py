"""Gives back tasks whose lease has run out, by hand or by cron."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mission_control.actors import system
from tasks import sweeping


class Command(BaseCommand):
    help = "Expire the leases that have run out. A live lease is never touched."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than-minutes", type=float, default=0, metavar="N",
            help="only those without a sign of life for so long",
        )  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="only say which")

    def handle(self, *, older_than_minutes: float, dry_run: bool, **_: Any) -> None:
        codes = sweeping.release_stale(
            system("release_stale_locks"), older_than_minutes=older_than_minutes, dry_run=dry_run
        )
        for code in codes:
            self.stdout.write(code)
        self.stderr.write(f"{'Would release' if dry_run else 'Released'} {len(codes)}.")
