"""Time does its work on tasks: leases that ran out, tasks whose back-off is over. Not: what expiring means (transitions).

Each function may run in any number of processes at once. What is done is decided again under the row's lock, by the
database's clock, so two that see the same task do it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from django.db.models import Q
from django.db.models.functions import Now

from mission_control import chores, live, log, metrics
from mission_control.actors import Actor, system
from mission_control.errors import NotAllowed
from mission_control.models import Watermark
from tasks import transitions
from tasks.models import Task
from tasks.vocabulary import ASSIGNED, IN_PROGRESS, READY

SWEEP_SECONDS = 5
GAP_SECONDS = 30  # no sweep for longer: the fleet was asleep, its leases are not to blame
PAGE = 200


class Swept(NamedTuple):
    """How many leases expired, and how many were extended because nobody swept while they ran out."""

    expired: int
    extended: int


def register() -> None:
    """Tell the floor which chores there are. Called once, when the app is ready."""
    chores.register("sweep", SWEEP_SECONDS, sweep)
    chores.register("offer again", 1, offer_again)


def sweep() -> Swept:
    """Chore: expire the leases that have run out, oldest first.

    When no sweep ran for over 30 s, leases that ran out in between are extended first, once for each sign of life.
    """
    until, extended = _begin_round()
    if until is None:
        return Swept(0, 0)
    expired = 0
    for pk in _pages(Task.objects.filter(status=IN_PROGRESS, lease_expires_at__lt=until)):
        expired += transitions.expire(system("sweep"), pk) is not None
    metrics.swept.labels("expired").inc(expired)
    metrics.swept.labels("extended").inc(extended)
    return Swept(expired, extended)


@log.verb
def _begin_round() -> tuple[datetime | None, int]:
    """`(this round's end, leases extended)`; no end when another process has just begun one.

    Locks the watermark `swept`: after a gap the first process extends, the others wait for it and see no gap.
    """
    mark = Watermark.objects.select_for_update().get(pk="swept")
    now = log.now()
    since = (now - mark.at).total_seconds() if mark.at else 0.0
    if mark.at and 0 <= since < SWEEP_SECONDS / 2:
        return None, 0
    extended = _extend(mark.at, now) if mark.at and since > GAP_SECONDS else 0
    Watermark.objects.filter(pk="swept").update(at=now)
    return now, extended


def _extend(gap_began: datetime, now: datetime) -> int:
    """Give each lease that ran out in the gap its own length again. Once: a second gap finds no new sign of life."""
    ran_out = Q(lease_expires_at__gt=gap_began, lease_expires_at__lte=now)
    extended = 0
    for task in Task.objects.filter(ran_out, status=IN_PROGRESS).order_by("pk").locked(skip=True):
        assert task.heartbeat_at and task.lease_seconds and task.lease_expires_at
        if task.lease_expires_at > task.heartbeat_at + timedelta(seconds=task.lease_seconds + 1):
            continue  # it was extended before
        until = now + timedelta(seconds=task.lease_seconds)
        live_lease = Task.objects.filter(pk=task.pk, epoch=task.epoch, status=IN_PROGRESS, lease_expires_at__lte=now)
        if live_lease.update(lease_expires_at=until):
            extended += 1
            log.after_commit(_ping(task.code, until))
    return extended


def _ping(code: str, until: datetime) -> Any:
    return lambda: live.ping({"task": code, "lease_expires_at": until})


def release_stale(actor: Actor, *, older_than_minutes: float = 0, dry_run: bool = False) -> list[str]:
    """Expire the leases that have run out and show no sign of life for so long; the codes. A live lease is never touched.

    Somebody asked for it, so nothing is extended here. `dry_run`: only say which.
    """
    if not actor.can("operate"):
        raise NotAllowed("Only an operator cleans up.")
    stale = Task.objects.stale()
    if older_than_minutes:
        stale = stale.filter(heartbeat_at__lt=Now() - timedelta(minutes=older_than_minutes))
    if dry_run:
        return list(stale.order_by("lease_expires_at", "id").values_list("code", flat=True))
    done = (transitions.expire(actor, pk) for pk in _pages(stale))
    return [task.code for task in done if task is not None]


def _pages(tasks: Any) -> Iterator[int]:
    """Primary keys in the order in which the leases ran out, a page at a time: each page is read when it is needed."""
    after = Q()
    while True:
        page = list(tasks.filter(after).order_by("lease_expires_at", "id").values_list("lease_expires_at", "pk")[:PAGE])
        yield from (pk for _, pk in page)
        if len(page) < PAGE:
            return
        at, last = page[-1]
        after = Q(lease_expires_at__gt=at) | Q(lease_expires_at=at, pk__gt=last)


def offer_again() -> int:
    """Chore: tasks that were held back after a failure stand in their queue again. Returns how many.

    Nothing is recorded (the failure said when it would be so); waiting claimers are woken, open screens draw them anew.
    """
    due = Task.objects.filter(not_before__lte=Now())
    return _offered_again() if due.exists() else 0


@log.verb
def _offered_again() -> int:
    due = list(Task.objects.filter(not_before__lte=Now()).order_by("not_before").locked(skip=True)[:PAGE])
    held = Task.objects.filter(pk__in=[task.pk for task in due])
    waits = Q(status=READY) | Q(status=ASSIGNED, assignee__isnull=False)
    unapproved = Q(needs_approval=True, approved_at=None)
    offered = held.filter(waits, blockers_open=0).exclude(unapproved).update(not_before=None, offered=True)
    held.exclude(not_before=None).update(not_before=None)
    for task in due:
        log.after_commit(partial(live.ping, {"task": task.code, "offered": True}))
    return offered
