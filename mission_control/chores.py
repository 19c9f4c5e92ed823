"""Chores: what has to be done every few seconds, whoever does it. Not: what each of them does (the apps register them).

They run in threads inside `serve` and alone in `manage.py worker`, in any number of processes at once: each chore
decides again under its own row locks, so a second one finds nothing to do. A kill in the middle loses nothing.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models.functions import Now

from mission_control import idempotency, live, log, tickets
from mission_control.accounts import invitations
from mission_control.outbound import announcing, deliveries, notifications, sending

logger = logging.getLogger(__name__)
WORKERS = 3
TICK_SECONDS = 0.2
LATE_SECONDS = 60  # a chore that did not end well for so long is in trouble


@dataclass
class Chore:
    """What to run how often, and how it went. Times are of the monotonic clock."""

    name: str
    every_seconds: float
    run: Callable[[], Any]
    due: float = 0.0
    running: bool = False
    ended_well: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    failures: int = 0


registered: dict[str, Chore] = {}


def register(name: str, every_seconds: float, run: Callable[[], Any]) -> None:
    """Called by each app when it is ready. The same name again replaces it."""
    registered[name] = Chore(name, every_seconds, run)


def register_own() -> None:
    """The floor's own chores."""
    register("fold counts", 5, log.fold_counts)
    register("seal log", 2, _seal_all)
    register("deliver webhooks", 0.5, lambda: sending.deliver(_is_stopping))
    register("notify", 2, notifications.make_from_log)
    register("tell people", 1, lambda: announcing.tell(_is_stopping))
    register("forget", 3600, forget_old)


def run_once(chore: Chore) -> bool:
    """Run it now, in this thread; whether it ended well. A failure is logged and never raised."""
    chore.running, began = True, time.monotonic()
    try:
        live.with_connection(chore.run)
        chore.ended_well, chore.failures = time.monotonic(), 0
        return True
    except Exception as error:
        chore.failures += 1
        # The first time with its traceback, then in one line: a database that is away would fill the log.
        logger.warning("chore %s failed, trying again: %s", chore.name, error, exc_info=chore.failures == 1)
        return False
    finally:
        chore.seconds = time.monotonic() - began
        pause = chore.every_seconds * min(2**chore.failures, 8) if chore.failures else chore.every_seconds
        chore.due = time.monotonic() + pause * random.uniform(0.95, 1.05)
        chore.running = False


class Runner:
    """Runs what is due until it is stopped. One thread keeps the time, three do the work."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="chore")
        self.clock = threading.Thread(target=self._keep_time, name="chores", daemon=True)

    def start(self) -> None:
        self.clock.start()

    def stop(self, seconds: float = 20) -> None:
        """Begin nothing new; wait for what runs."""
        self.stopping.set()
        self.clock.join(seconds)
        self.threads.shutdown(wait=True, cancel_futures=True)

    def _keep_time(self) -> None:
        while not self.stopping.wait(TICK_SECONDS):
            now = time.monotonic()
            for chore in registered.values():
                if now >= chore.due and not chore.running:
                    chore.running = True
                    self.threads.submit(run_once, chore)

    def late(self) -> list[str]:
        """The chores that have not ended well for too long; all of them when the clock has died."""
        now = time.monotonic()
        if not self.clock.is_alive():
            return list(registered)
        return [c.name for c in registered.values() if now - c.ended_well > LATE_SECONDS + c.every_seconds]


runner: Runner | None = None  # of this process


def begin() -> Runner:
    """Start the chores of this process."""
    global runner
    runner = Runner()
    runner.start()
    return runner


def forget_old() -> dict[str, int]:
    """Chore: what requests left behind and nobody may use any more."""
    expired, _ = Session.objects.filter(expire_date__lt=Now() - timedelta(days=1)).delete()
    return {
        "answers": idempotency.forget_old(), "tickets": tickets.forget_old(), "sessions": expired,
        "deliveries": deliveries.forget_old(), "notifications": notifications.forget_old(),
        "invitations": invitations.forget_old(),
    }  # fmt: skip


def _is_stopping() -> bool:
    return runner is not None and runner.stopping.is_set()


def _seal_all() -> int:
    sealed = 0
    while True:
        batch = log.seal_log()
        sealed += batch
        if batch < 1000:
            return sealed
