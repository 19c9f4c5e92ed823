"""Brings in the tasks of other tools."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control.actors import system
from mission_control.errors import Refused
from tasks.exchange import import_formats, importing
from ventures import catalogue


class Command(BaseCommand):
    help = (
        "Create tasks from CSV, JSON lines, Beads, a Backlog.md folder or Task Master. Importing again changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path, help="or the folder of the project that holds it")
        parser.add_argument("--format", choices=import_formats.FORMATS, default="", help="guessed when it is not given")
        parser.add_argument("--venture", default="default", metavar="SLUG", help="where they go; %(default)s")
        parser.add_argument(
            "--source", default="", metavar="NAME", help="whose ids these are; by default format:venture"
        )
        parser.add_argument("--create-agents", action="store_true", help="make an agent of each unknown assignee")
        parser.add_argument("--dry-run", action="store_true", help="only say what would come of it")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *, file: Path, venture: str, **options: Any) -> None:
        try:
            kind, drafts, report = import_formats.read(file, options["format"])
            importing.take(
                system("import"), drafts, source=options["source"] or f"{kind}:{venture}",
                venture=catalogue.by_slug(venture), report=report, make_agents=options["create_agents"],
                dry_run=options["dry_run"],
            )  # fmt: skip
        except Refused as refusal:
            raise CommandError(refusal.sentence) from None
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report), ensure_ascii=False))
            return
        for line in report.lines(dry_run=options["dry_run"]):
            self.stdout.write(line)
