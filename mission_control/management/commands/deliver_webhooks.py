"""What webhooks are owed, now: for those who run no worker and call this from a timer."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mission_control.outbound import sending


class Command(BaseCommand):
    help = (
        "Make the deliveries of webhooks from the log and send all that are due. The server and the worker do it too."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, default=600, help="begin nothing new after so long (600)")

    def handle(self, *, seconds: float, **_: Any) -> None:
        arrived, failed = sending.deliver(seconds=seconds)
        self.stdout.write(f"{arrived} arrived, {failed} failed.")
