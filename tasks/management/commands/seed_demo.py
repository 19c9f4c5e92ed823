"""`seed_demo`: fills an empty board with a small fleet's last six days. On a board that has tasks it does nothing."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control.errors import Refused
from tasks.demo import seeding
from tasks.models import Task


class Command(BaseCommand):
    help = "Fill an empty board with ventures, agents and tasks that have six days of history."

    def handle(self, *args: Any, **options: Any) -> None:
        if seeding.is_told():
            self.stdout.write("The demo is there already. Nothing was changed.")
            return
        if Task.objects.exists():
            self.stdout.write("This board has tasks already: the demo is for an empty one. Nothing was changed.")
            return
        try:
            tasks = seeding.tell()
        except Refused as refusal:
            raise CommandError(f"{refusal.sentence} Nothing was changed.") from None
        self.stdout.write(f"The demo is written: {tasks} tasks of the last {seeding.DAYS} days.")
