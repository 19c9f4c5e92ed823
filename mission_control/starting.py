"""What has to be ready before the first request: settings that may run, a migrated database, collected static files."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core import checks
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from mission_control import static

ADVISORY_LOCK = (7077, 2)  # one migrates, the others wait and find it done


def check_settings() -> list[str]:
    """Refuse what must not run, one line each (CommandError); returns what is only a warning."""
    found = checks.run_checks(databases=["default"])
    problems = [_line(message) for message in found if message.is_serious() and not message.is_silenced()]
    if problems:
        raise CommandError("\n".join(problems))
    return [_line(message) for message in found if not message.is_silenced()]


def migrate(say: Callable[[str], object]) -> None:
    """Bring the database to this version. CommandError: it does not answer, or it is newer than this checkout."""
    _wait_for_database()
    with alone():
        executor = MigrationExecutor(connection)
        known = {app for app, _ in executor.loader.disk_migrations}
        newer = sorted(
            f"{app}.{name}"
            for app, name in executor.loader.applied_migrations
            if app in known and (app, name) not in executor.loader.graph.nodes
        )
        if newer:
            raise CommandError(f"The database was migrated by a newer version ({newer[-1]}). Start that version.")
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            say("Migrating the database …")
            call_command("migrate", interactive=False, verbosity=0)


def collect_static(say: Callable[[str], object]) -> None:
    """Hash and compress the static files when any of them has changed since the last time."""
    if settings.DEBUG:
        return
    root = Path(settings.STATIC_ROOT)
    root.mkdir(parents=True, exist_ok=True)
    stamp, now = root / ".stamp", _fingerprint()
    with _locked(root / ".lock"):
        if stamp.exists() and stamp.read_text() == now:
            return
        say("Collecting static files …")
        call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=list(static.UNUSED))
        stamp.write_text(now)


def _line(message: checks.CheckMessage) -> str:
    hint = f" {message.hint}" if message.hint else ""
    return f"{message.msg}{hint} ({message.id})"


def _wait_for_database() -> None:
    deadline = time.monotonic() + settings.DATABASE_WAIT_SECONDS
    while True:
        try:
            connection.ensure_connection()
            return
        except (OperationalError, DatabaseError) as error:
            connection.close()
            if time.monotonic() > deadline:
                raise CommandError(f"The database does not answer: {str(error).splitlines()[0]}") from None
            time.sleep(0.5)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One process migrates, restores or moves; a server that starts meanwhile waits until it is done."""
    if connection.vendor != "postgresql":
        with _locked(Path(settings.DATA_DIR) / ".migrating"):
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", ADVISORY_LOCK)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", ADVISORY_LOCK)
            cursor.execute("RESET lock_timeout")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process of this machine at a time."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fingerprint() -> str:
    """Of names, sizes and times of all static files, and of how they are stored."""
    digest = hashlib.sha256(settings.STORAGES["staticfiles"]["BACKEND"].encode())
    digest.update(Path(static.__file__).read_bytes())  # another way of making them
    for finder in get_finders():
        for name, storage in finder.list(list(static.UNUSED)):
            status = os.stat(storage.path(name))
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
