"""Merges the finished branches of a venture."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control.actors import system
from mission_control.errors import Refused
from tasks.dispatching import merging
from ventures.models import Venture


class Command(BaseCommand):
    help = (
        "Merge the branches of a venture's done tasks into its default branch, prerequisites first. A conflict blocks its"
        " task and names the files; what does not depend on it goes on. Exit 1 when there was one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("venture", metavar="VENTURE", help="its slug")
        parser.add_argument("--repository", type=Path, metavar="DIR", help="default: the workspace of the venture")
        parser.add_argument("--dry-run", action="store_true", help="only say what would happen")

    def handle(self, *, venture: str, repository: Path | None, dry_run: bool, **_: Any) -> None:
        found = Venture.objects.filter(slug=venture).first()
        if found is None:
            raise CommandError(f"There is no venture {venture}.")
        if not (repository or found.workspace) or (repository and not repository.is_dir()):
            raise CommandError("Name the directory of its repository: --repository DIR.")
        try:
            where = repository.absolute() if repository else merging.workspace_of(found)
            outcomes = merging.merge_branches(system("merge"), found, where, dry_run=dry_run)
        except Refused as refusal:
            raise CommandError(refusal.sentence) from None
        for outcome in outcomes:
            self.stdout.write(str(outcome))
        merged = sum(outcome.state == "merged" for outcome in outcomes)
        self.stderr.write(f"{'Would merge' if dry_run else 'Merged'} {merged} of {len(outcomes)}.")
        if any(outcome.state == "conflict" for outcome in outcomes):
            raise SystemExit(1)
