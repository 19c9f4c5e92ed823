"""`manage.py check_invariants`: is everything true that always is? Exit code 1 and the first offenders when not."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tasks import invariants


class Command(BaseCommand):
    help = "Check what is always true of tasks, leases, the log and the money. Safe beside a working fleet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("names", nargs="*", metavar="CHECK", help="check only these")
        parser.add_argument("--json", action="store_true", help="print the answer as JSON")
        parser.add_argument("--list", action="store_true", help="say what is checked")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["list"]:
            for name, check in invariants.CHECKS.items():
                self.stdout.write(f"{name:<32} {(check.__doc__ or '').splitlines()[0]}")
            return
        try:
            found = invariants.broken(options["names"])
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from None
        wrong = {name: complaints for name, complaints in found.items() if complaints}
        if options["json"]:
            self.stdout.write(json.dumps({"ok": not wrong, "checks": found}))
        else:
            for name, complaints in wrong.items():
                for sentence in complaints:
                    self.stdout.write(self.style.ERROR(f"{name}: {sentence}"))
        if wrong:
            raise CommandError(f"{len(wrong)} of {len(found)} invariants are broken.", returncode=1)
        if not options["json"]:
            self.stdout.write(f"All {len(found)} invariants hold.")
