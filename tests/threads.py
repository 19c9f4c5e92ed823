"""Threads with database connections of their own, for tests of what happens at the same time.

Nothing here sleeps for luck: a thread is `held` at a known point, and another is `stuck` when the database says that
it waits for a lock (PostgreSQL) or when it waits for its turn to write (SQLite).
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection, connections, transaction

from mission_control import log

PATIENCE = 20.0


def own_connection(work: Callable[[], Any]) -> Any:
    """Call `work` and close this thread's connections, whatever it did."""
    try:
        return work()
    finally:
        connections.close_all()


def together(*works: Callable[[], Any]) -> list[Any]:
    """Run all at once, each in a thread of its own that starts at the same moment. Results or exceptions, in order."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        gate.wait(PATIENCE)
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as threads:
        futures = [threads.submit(own_connection, lambda work=work: run(work)) for work in works]
        return [future.result(PATIENCE * 3) for future in futures]


class Held:
    """Work that has been done in a transaction which stays open until `commit`."""

    def __init__(self) -> None:
        self.done, self.go_on = threading.Event(), threading.Event()
        self.result: Any = None
        self.future: Future[None] | None = None

    def commit(self) -> Any:
        """Let it commit; what the work returned. Raises what it raised."""
        self.go_on.set()
        assert self.future is not None
        self.future.result(PATIENCE)
        return self.result


@contextlib.contextmanager
def held(work: Callable[[], Any], *, flushed: bool = True) -> Iterator[Held]:
    """Run `work` in another thread inside an open transaction and hold it there, after or before its log is written."""
    hold = Held()

    def run() -> None:
        with _turn(), transaction.atomic() if flushed else log.unit():
            hold.result = work()
            hold.done.set()
            assert hold.go_on.wait(PATIENCE)

    with ThreadPoolExecutor(1) as thread:
        hold.future = thread.submit(own_connection, run)
        try:
            while not hold.done.wait(0.02):
                if hold.future.done():
                    hold.future.result()
            yield hold
        finally:
            hold.go_on.set()


@contextlib.contextmanager
def started(work: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Run `work` in another thread beside the test."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(own_connection, work)


def wait_until_stuck(future: Future[Any]) -> bool:
    """True as soon as that work waits for somebody's lock; False when it ended without having to wait."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if future.done():
            return False
        if _somebody_waits():
            return True
        time.sleep(0.01)
    raise AssertionError("it neither ended nor waited for a lock")


def _somebody_waits() -> bool:
    if connection.vendor != "postgresql":
        return _waiting.is_set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """On SQLite a held transaction takes the turn to write first, as every unit of work does."""
    with log._turn_to_write():
        yield


class _Turnstile:
    """Stands in for the lock of SQLite's writers and tells when a thread has to wait at it."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.lock.acquire(blocking=False):
            return True
        _waiting.set()
        try:
            return bool(self.lock.acquire(blocking, timeout))
        finally:
            _waiting.clear()

    def release(self) -> None:
        self.lock.release()


_waiting = threading.Event()
log._writer = _Turnstile(log._writer)  # type: ignore[assignment]
