"""Booking what agents' telemetry reports, each amount once. Not: the format (otlp.py), the ledger (ventures.ledger)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from django.db.models.functions import Now

from mission_control import chores, log
from mission_control.actors import Actor
from mission_control.errors import NotThere
from tasks import sessions, transitions
from tasks.otlp import Point
from tasks.telemetry_models import Series
from ventures.ledger import Spent

KEPT_DAYS = 30  # after its last report


@dataclass
class Booked:
    """What came of a report: tasks that something was booked on, points that belong to none."""

    tasks: set[str] = field(default_factory=set)
    unmatched: int = 0


@log.verb
def take(actor: Actor, points: Sequence[Point]) -> Booked:
    """Book what is new in these points: the difference to what each series was booked for, on the task it names.

    A running total books what it grew by, and all of itself after a restart; a delta is booked once. What names no
    task that the caller sees is kept with its series, of one name and subject in one row, and recorded once as usage.unmatched. Locks the series in the
    order of their digests, then each task in the order of the codes.
    """
    result = Booked()
    spent: dict[tuple[str, str], Spent] = defaultdict(Spent)
    found: dict[tuple[str, str], str] = {}
    for point in sorted(points, key=lambda point: (point.digest, point.at_nanos)):
        series, new = _advanced(actor, point)
        if not new:
            continue
        names = (point.task, point.session)
        if names not in found:
            found[names] = _task_of(actor, *names)
        if found[names]:
            key = (found[names], point.model)
            spent[key] = _more(spent[key], point, new)
        else:
            result.unmatched += 1
            _keep(actor, series, point, new)
    for (code, model), amount in sorted(spent.items()):
        transitions.report_usage(actor, code, replace(amount, model=model, note="telemetry"))
        result.tasks.add(code)
    return result


def forget_old() -> int:
    """Chore: remove what was last reported so long ago that nobody repeats it. Returns how many."""
    gone, _ = Series.objects.filter(seen_at__lt=log.now() - timedelta(days=KEPT_DAYS)).delete()
    return gone


def register() -> None:
    """Tell the floor which chore there is. Called once, when the app is ready."""
    chores.register("forget telemetry", 3600, forget_old)


def _advanced(actor: Actor, point: Point) -> tuple[Series, int]:
    """The locked series and what is new in this point."""
    series, _ = Series.objects.get_or_create(
        digest=point.digest,
        defaults={"agent": actor.name, "name": point.name, "subject": (point.task or point.session)[:300]},
    )
    series = Series.objects.select_for_update().get(pk=series.pk)
    if point.at_nanos <= series.at_nanos:
        return series, 0  # a repeat, or older than what was booked
    new = point.amount
    if point.cumulative:
        same_run = point.start_nanos == series.start_nanos and point.amount >= series.value
        if point.start_nanos < series.start_nanos:
            return series, 0  # a run that is over
        if same_run:
            new = point.amount - series.value
        elif point.start_nanos == series.start_nanos and point.start_nanos:
            return series, 0  # a total of one run cannot fall
    series.start_nanos, series.at_nanos, series.value = point.start_nanos, point.at_nanos, point.amount
    series.seen_at = Now()
    series.save(update_fields=["start_nanos", "at_nanos", "value", "seen_at"])
    return series, new


def _task_of(actor: Actor, code: str, key: str) -> str:
    """The code of the task that is meant and that the caller sees; "" when there is none."""
    try:
        if code:
            return transitions.visible(actor, code).code
        task = sessions.by_key(actor, key).task if key else None
    except NotThere:
        return ""
    return task.code if task else ""


def _more(spent: Spent, point: Point, new: int) -> Spent:
    if point.sort == "cost":
        return replace(spent, amount_micro_usd=spent.amount_micro_usd + new)
    if point.sort == "tokens_out":
        return replace(spent, tokens_out=spent.tokens_out + new)
    return replace(spent, tokens_in=spent.tokens_in + new)


def _keep(actor: Actor, series: Series, point: Point, new: int) -> None:
    """With the first series of the sender that says the same: of log records each is a series of its own."""
    same = Series.objects.unmatched().filter(agent=series.agent, name=series.name, subject=series.subject)
    kept = same.select_for_update().order_by("pk").first()
    series = kept or series
    series.seen_at = Now()
    if point.sort == "cost":
        series.unmatched_micro_usd += new
    else:
        series.unmatched_tokens += new
    series.save(update_fields=["unmatched_tokens", "unmatched_micro_usd", "seen_at"])
    if kept is None:
        log.record(
            "usage.unmatched", actor, level="warning", agent=actor.agent.slug if actor.agent else "", title=point.name,
            message=f"Reported for {series.subject or 'no task'}, which is not there.",
            data={"name": point.name, "subject": series.subject},
        )  # fmt: skip
