"""The lease on a task: its token, and the fence that stops writes under an old one. Not: who gets it (claiming.py)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from mission_control import sql
from mission_control.actors import Actor
from mission_control.errors import Refused
from tasks.models import Session, Task
from tasks.vocabulary import CANCELLED, IN_PROGRESS, PAUSED, STATUSES


@dataclass(frozen=True)
class Fence:
    """What a caller shows to prove that its lease is the live one.

    Epoch and token together, or the session key with the caller's API key, or (plain lease, weaker) the API key alone.
    """

    epoch: int | None = None
    token: str = ""
    session_key: str = ""


PLAIN = Fence()


def lease_token(task: Task) -> str:
    """An HMAC of the task and its epoch: the same answer can be given again without storing it."""
    message = f"lease:{task.pk}:{task.epoch}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()[:32]


def is_held(actor: Actor, task: Task, fence: Fence) -> bool:
    """Whether this caller holds the live lease on this locked row."""
    if task.status != IN_PROGRESS or task.holder_id is None or not actor.agent or actor.agent.pk != task.holder_id:
        return False
    if fence.epoch is not None or fence.token:
        return fence.epoch == task.epoch and hmac.compare_digest(fence.token, lease_token(task))
    if fence.session_key:
        return fence.session_key == task.session_key
    return True


def lost(actor: Actor, task: Task, fence: Fence, *, keep: bool = False) -> Refused:
    """The refusal for a caller that does not hold the lease, with the reason."""
    facts: dict[str, Any] = {"status_now": task.status, "epoch": task.epoch}
    if task.status == CANCELLED:
        return Refused("This task was cancelled. Stop working on it.", code="cancelled", keep=keep, **facts)
    if task.status == PAUSED:
        reason = f": {task.paused_reason}" if task.paused_reason else ""
        return Refused(
            f"This task was paused{reason}. Stop here; it will be offered again.", code="paused", keep=keep, **facts
        )
    if task.status != IN_PROGRESS:
        sentence = f"Your lease on this task is over: it is {STATUSES[task.status].lower()} now."
    elif task.held_by_id:
        sentence = "Your lease on this task is over: a person works on it now."
    elif actor.agent and task.holder_id == actor.agent.pk:
        sentence = f"This is not the live lease on this task: its epoch is {task.epoch} and its session another."
    else:
        sentence = f"Your lease on this task is over: {task.holder.slug if task.holder else 'another'} holds it now."
    return Refused(sentence, code="lease_lost", keep=keep, reason=sentence, **facts)


def attempt_of(actor: Actor, task: Task, fence: Fence) -> Session | None:
    """The caller's own session on this task that the fence speaks of, live or ended; None when it never had one."""
    if not actor.agent:
        return None
    own = Session.objects.attempts().filter(task=task, agent=actor.agent)
    if fence.epoch is not None:
        own = own.filter(attempt=fence.epoch)
    elif fence.session_key:
        own = own.filter(key=fence.session_key)
    return own.order_by("-id").first()


def extend(task: Task) -> datetime | None:
    """A sign of life under this epoch: the lease ends later, never earlier. The new end, None when it is not live.

    By the database's clock, in one guarded statement; also marks the session.
    """
    seconds = task.lease_seconds or settings.LEASE_SECONDS
    postgresql = connection.vendor == "postgresql"
    rows = sql.rows(_EXTEND_POSTGRESQL if postgresql else _EXTEND_SQLITE, [seconds, task.pk, task.epoch])
    if not rows:
        return None
    now = "now()" if postgresql else "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"
    sql.change(
        f"UPDATE tasks_session SET heartbeat_at = {now} WHERE task_id = %s AND ended_at IS NULL AND type = 'primary'",  # noqa: S608
        [task.pk],
    )
    until: datetime = rows[0][0]
    return until if postgresql else until.replace(tzinfo=UTC)  # the driver has read the column's type


_EXTEND = (
    "UPDATE tasks_task SET lease_expires_at = {later}, heartbeat_at = {now}"
    " WHERE id = %s AND epoch = %s AND status = 'in_progress' AND holder_id IS NOT NULL RETURNING lease_expires_at"
)
_EXTEND_POSTGRESQL = _EXTEND.format(
    later="GREATEST(lease_expires_at, clock_timestamp() + make_interval(secs => %s))", now="clock_timestamp()"
)
_EXTEND_SQLITE = _EXTEND.format(
    later="MAX(lease_expires_at, STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', '+' || %s || ' seconds'))",
    now="STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",
)
