"""Walks the chain of seals over the log."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mission_control import log


class Command(BaseCommand):
    help = "Check that no line of the log was changed, removed or put in since it was sealed."

    def handle(self, **_: Any) -> None:
        checked, complaint = log.verify_log()
        if complaint:
            raise CommandError(f"{complaint} ({checked} were in order before it).")
        self.stdout.write(f"{checked} activities are as they were sealed.")
