"""Booking what agents' telemetry reports, each amount once. Not: the format (otlp.py), the ledger (ventures.ledger)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from django.db.models import Sum
from django.db.models.functions import Now

from agents import roster
from agents.models import Agent
from mission_control import chores, log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotThere
from tasks import sessions, transitions
from tasks.protocols.otlp import Point
from tasks.telemetry_models import Series
from ventures.ledger import Spent

KEPT_DAYS = 30  # after its last report
MOST_SUBJECTS = 200  # tasks and sessions of one request
PAGE = 500  # series in one statement


@dataclass
class Booked:
    """What came of a report: tasks that something was booked on, points that belong to none."""

    tasks: set[str] = field(default_factory=set)
    unmatched: int = 0


@log.verb
def take(actor: Actor, points: Sequence[Point]) -> Booked:
    """Book what is new in these points: the difference to what each series was booked for, on the task it names.

    A running total books what it grew by, and all of itself after a restart; a delta is booked once. What names no
    task that the caller sees is kept with its series, of one name and subject in one row, and recorded once as
    usage.unmatched. Invalid: more than MOST_SUBJECTS tasks and sessions. Locks the series in the order of their digests,
    then each task in the order of the codes. As many statements as there are subjects, however many the points.
    """
    subjects = dict.fromkeys((point.task, point.session) for point in points)
    if len(subjects) > MOST_SUBJECTS:
        raise Invalid({"": f"More than {MOST_SUBJECTS} tasks and sessions in one request: send fewer at once."})
    result = Booked()
    spent: dict[tuple[str, str], Spent] = defaultdict(Spent)
    lost: dict[tuple[str, str], _Lost] = {}
    new = _advanced(actor, points)
    found = {names: _task_of(actor, *names) for names in dict.fromkeys((p.task, p.session) for p, _, _ in new)}
    for point, series, amount in new:
        code = found[point.task, point.session]
        if code:
            spent[code, point.model] = _more(spent[code, point.model], point, amount)
        else:
            result.unmatched += 1
            lost.setdefault((series.name, series.subject), _Lost(series)).add(point, amount)
    for _, those in sorted(lost.items()):
        _keep(actor, those)
    for (code, model), amounts in sorted(spent.items()):
        transitions.report_usage(actor, code, replace(amounts, model=model, note="telemetry"))
        result.tasks.add(code)
    return result


def forget_old() -> int:
    """Chore: remove what was last reported so long ago that nobody repeats it. Returns how many."""
    gone, _ = Series.objects.filter(seen_at__lt=log.now() - timedelta(days=KEPT_DAYS)).delete()
    return gone


def register() -> None:
    """Tell the others which chore there is and what was spent on no task. Called once, when the app is ready."""
    chores.register("forget telemetry", 3600, forget_old)
    roster.tokens_without_work = tokens_without_work


def tokens_without_work(agent: Agent) -> int:
    """Reported by the agent on no task in the last 30 days: what its waiting has cost. It should be none."""
    kept = Series.objects.unmatched().filter(agent=agent.slug)
    return int(kept.aggregate(sum=Sum("unmatched_tokens"))["sum"] or 0)


def _advanced(actor: Actor, points: Sequence[Point]) -> list[tuple[Point, Series, int]]:
    """The points that say something new, each with its series and with what is new in it. Locks and writes the series."""
    rows = _locked(actor, points)
    new, moved = [], dict[str, Series]()
    for point in sorted(points, key=lambda point: (point.digest, point.at_nanos)):
        series = rows[point.digest]
        amount = _amount(series, point)
        if amount is None:
            continue
        series.start_nanos, series.at_nanos, series.value = point.start_nanos, point.at_nanos, point.amount
        moved[point.digest] = series
        if amount:
            new.append((point, series, amount))
    moment = log.now()
    for series in moved.values():
        series.seen_at = moment
    Series.objects.bulk_create(
        moved.values(), batch_size=PAGE, update_conflicts=True, unique_fields=["digest"],
        update_fields=["start_nanos", "at_nanos", "value", "seen_at"],
    )  # fmt: skip
    return new


def _locked(actor: Actor, points: Sequence[Point]) -> dict[str, Series]:
    """Digest → series; one that is not there yet is made."""
    by_digest = {point.digest: point for point in points}
    digests = sorted(by_digest)
    for page in _pages(digests):
        known = set(Series.objects.filter(digest__in=page).values_list("digest", flat=True))
        fresh = [
            Series(digest=digest, agent=actor.name, name=point.name, subject=(point.task or point.session)[:300])
            for digest in page
            if digest not in known and (point := by_digest[digest])
        ]
        Series.objects.bulk_create(fresh, ignore_conflicts=True)
    return {
        series.digest: series
        for page in _pages(digests)
        for series in Series.objects.select_for_update().filter(digest__in=page).order_by("digest")
    }


def _pages(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    return (digests[start : start + PAGE] for start in range(0, len(digests), PAGE))


def _amount(series: Series, point: Point) -> int | None:
    """What is new in this point; None for one that tells nothing of its series."""
    if point.at_nanos <= series.at_nanos:
        return None  # a repeat, or older than what was booked
    if not point.cumulative:
        return point.amount
    if point.start_nanos < series.start_nanos:
        return None  # a run that is over
    if point.start_nanos == series.start_nanos and point.amount >= series.value:
        return point.amount - series.value
    if point.start_nanos == series.start_nanos and point.start_nanos:
        return None  # a total of one run cannot fall
    return point.amount


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


@dataclass
class _Lost:
    """What belongs to no task, of one name and subject; `series` is the first that says so."""

    series: Series
    tokens: int = 0
    micro_usd: int = 0

    def add(self, point: Point, amount: int) -> None:
        if point.sort == "cost":
            self.micro_usd += amount
        else:
            self.tokens += amount


def _keep(actor: Actor, lost: _Lost) -> None:
    """With the first series of the sender that says the same: of log records each is a series of its own."""
    series = lost.series
    same = Series.objects.unmatched().filter(agent=series.agent, name=series.name, subject=series.subject)
    kept = same.select_for_update().order_by("pk").first()
    row = kept or series
    row.seen_at = Now()
    row.unmatched_tokens += lost.tokens
    row.unmatched_micro_usd += lost.micro_usd
    row.save(update_fields=["unmatched_tokens", "unmatched_micro_usd", "seen_at"])
    if kept is None:
        log.record(
            "usage.unmatched", actor, level="warning", agent=actor.agent.slug if actor.agent else "", title=series.name,
            message=f"Reported for {series.subject or 'no task'}, which is not there.",
            data={"name": series.name, "subject": series.subject},
        )  # fmt: skip
