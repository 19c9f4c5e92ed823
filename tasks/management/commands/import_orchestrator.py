"""Brings in the folder of a task orchestrator."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control.actors import system
from mission_control.errors import Refused
from tasks.exchange import importing, orchestrator_folder
from ventures import catalogue


class Command(BaseCommand):
    help = (
        "Create tasks from the folder of a task orchestrator, with context and notes. Importing again changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path, help="with tasks.db, contexts, notes and archives")
        parser.add_argument("--venture", default="default", metavar="SLUG", help="where they go; %(default)s")
        parser.add_argument("--source", default="", metavar="NAME", help="whose ids these are; orchestrator:venture")
        parser.add_argument("--create-agents", action="store_true", help="make an agent of each unknown name")
        parser.add_argument("--dry-run", action="store_true", help="only say what would come of it")
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *, folder: Path, venture: str, **options: Any) -> None:
        try:
            drafts, report = orchestrator_folder.read(folder.absolute())
            importing.take(
                system("import"), drafts, source=options["source"] or f"orchestrator:{venture}",
                venture=catalogue.by_slug(venture), report=report, make_agents=options["create_agents"],
                dry_run=options["dry_run"],
            )  # fmt: skip
        except Refused as refusal:
            raise CommandError(refusal.sentence) from None
        except OSError as error:
            raise CommandError(f"Cannot read {folder}: {error.strerror}.") from None
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report), ensure_ascii=False))
            return
        for line in report.lines(dry_run=options["dry_run"]):
            self.stdout.write(line)
