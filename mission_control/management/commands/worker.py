"""The chores alone, in a process of their own."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from mission_control import chores, starting

WAIT_SECONDS = 120


class Command(BaseCommand):
    help = "Run the chores (sweeps, seals, counts) without a server. Any number of them may run."
    requires_system_checks = []

    def handle(self, **_: Any) -> None:
        starting.check_settings()
        stopping = threading.Event()
        for which in (signal.SIGINT, signal.SIGTERM):
            signal.signal(which, lambda *_: stopping.set())
        self._wait_until_migrated(stopping)
        if not stopping.is_set():
            runner = chores.begin()
            self.stdout.write(f"Chores: {', '.join(chores.registered)}")
            self.stdout.flush()
            stopping.wait()
            runner.stop()

    def _wait_until_migrated(self, stopping: threading.Event) -> None:
        """A server migrates; the worker waits for it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not stopping.is_set():
            try:
                executor = MigrationExecutor(connection)
                if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
                    connection.close()
                    return
            except DatabaseError:
                connection.close()
            if time.monotonic() > deadline:
                raise CommandError("The database is not migrated: start a server of this version first.")
            stopping.wait(1)
