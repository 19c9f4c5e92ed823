"""The lease on a task: its token, and the fence that stops writes under an old one. Not: who gets it (claiming.py)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Greatest, Now

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
    facts: dict[str, Any] = {"status": task.status, "epoch": task.epoch}
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
    own = Session.objects.filter(task=task, agent=actor.agent, type="primary")
    if fence.epoch is not None:
        own = own.filter(attempt=fence.epoch)
    elif fence.session_key:
        own = own.filter(key=fence.session_key)
    return own.order_by("-id").first()


def later(task: Task) -> Any:
    """The new end of a live lease, by the database's clock; never earlier than the one it has."""
    return Greatest(F("lease_expires_at"), Now() + timedelta(seconds=task.lease_seconds or settings.LEASE_SECONDS))


def extend(task: Task) -> None:
    """A write under the lease is a sign of life. The caller has locked the row and checked the fence."""
    Task.objects.filter(pk=task.pk, epoch=task.epoch, status=IN_PROGRESS, held_by=None).update(
        lease_expires_at=later(task), heartbeat_at=Now()
    )
    Session.objects.live().filter(task=task, type="primary").update(heartbeat_at=Now())
