"""How finished tasks move out of the database into files. Not: what is in the file (task_files.py).

The log and the ledger keep what they say of a task that is gone, so the log verifies and the money adds up as before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import NotAllowed, NotThere, Refused
from tasks import transitions
from tasks.exchange import task_files
from tasks.models import Task
from tasks.vocabulary import CANCELLED, DONE


def finished(older_than: timedelta) -> list[str]:
    """The codes of tasks that have been done or cancelled for so long, those that others waited for last."""
    rows = Task.objects.filter(status__in=(DONE, CANCELLED), status_changed_at__lt=log.now() - older_than)
    return list(rows.order_by("-pk").values_list("code", flat=True))


def archive_all(actor: Actor, folder: Path, older_than: timedelta) -> Iterator[tuple[str, str]]:
    """Archive them one by one: `(code, name of the file)`, or `(code, "")` for one that another task still waits for.

    One transaction each: a task is gone only when its file is on the disk. Again and again while that frees another.
    """
    left = finished(older_than)
    while left:
        kept = []
        for code in left:
            try:
                yield code, archive(actor, code, folder, older_than).name
            except NotThere:
                continue  # somebody else deleted it
            except Refused as refusal:
                if refusal.code == "has_dependants":
                    kept.append(code)
                elif refusal.code != "not_finished":
                    raise
        if len(kept) == len(left):
            yield from ((code, "") for code in kept)
            return
        left = kept


@log.verb
def archive(actor: Actor, code: str, folder: Path, older_than: timedelta) -> Path:
    """Write one finished task with its files and everybody's notes, then delete it. Records task.deleted. Locks the task.

    Refused: it is not finished, or not for so long; another task waits for it.
    """
    if not actor.can("operate"):
        raise NotAllowed("Only an operator archives tasks.")
    task = transitions.lock(actor, code)
    if task.status not in (DONE, CANCELLED) or task.status_changed_at > task.db_now - older_than:
        raise Refused("It is not finished for so long.", code="not_finished")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{task_files.archive_name(task, task.db_now)}.tar.gz"
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            task_files.write_archive(file, task, task_files.notes_by_author(task), task.db_now)
            file.flush()
            os.fsync(file.fileno())
        _flush_folder(folder)
        transitions.delete(actor, code, reason=f"Archived as {target.name}.")
        log.flush()
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
