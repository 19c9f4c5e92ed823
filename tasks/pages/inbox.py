"""What needs a person, the most pressing first: approvals, verdicts, questions, failures, silent agents. Only reads. Not: HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import Count, QuerySet

from agents.faces import Face, face, is_silent
from mission_control import log
from mission_control.actors import Actor
from tasks.models import Session, Task
from tasks.pages.details import Verb, verbs
from tasks.vocabulary import ASSIGNED, BLOCKED, FAILED, IN_PROGRESS, OPEN, READY, REVIEW

SHOWN = 100
CANDIDATES = 200  # of each sort: the oldest, those with a deadline, those that hold others up
SAID = 400  # characters of what was said
SOON, NEAR = timedelta(hours=24), timedelta(hours=72)
AGED_MINUTES = 30 * 24 * 60  # beyond a month age alone makes nothing more pressing
WEIGHTS = {"past": 4, "soon": 3, "near": 2, "": 1}  # of a deadline
COUNTED = (REVIEW, FAILED)  # in these statuses every task needs a person


@dataclass(frozen=True)
class Sort:
    """One sort of thing that needs a person. `forward` and `back` are the verbs behind the keys a and r.

    An approval has no way onward here: it is given where all of the text is read that it is for.
    """

    key: str
    label: str
    sign: str
    forward: str
    back: str
    said: Callable[[Task, Session | None], str]


SORTS = (
    Sort("approval", "Waits for approval", "i-lock", "", "cancel", lambda task, run: task.description),
    Sort("review", "Waits for a verdict", "s-review", "accept", "return", lambda task, run: task.completion_summary),
    Sort("question", "Asks", "s-blocked", "unblock", "cancel", lambda task, run: task.blocked_reason),
    Sort("failed", "Failed", "s-failed", "retry", "cancel", lambda task, run: run.error if run else ""),
    Sort("silent", "Went silent", "s-in_progress", "", "release", lambda task, run: task.progress_step),
)


@dataclass(frozen=True)
class Item:
    """One line. `since`: from when on it needs a person. `holds_up`: open tasks that wait for it. `who` had it last."""

    sort: Sort
    task: Task
    since: datetime
    holds_up: int
    who: Face | None
    said: str
    moment: datetime
    forward: Verb | None
    back: Verb | None

    @property
    def to_read(self) -> bool:
        """Whether the way onward is to read it, and to approve it there."""
        return self.sort.key == "approval" and self.back is not None

    @property
    def key(self) -> str:
        return f"{self.sort.key}-{self.task.code}"

    @property
    def due(self) -> str:
        """`past`, `soon` (within a day), `near` (within three); empty when later or never."""
        if self.task.deadline is None:
            return ""
        left = self.task.deadline - self.moment
        return "past" if left <= timedelta() else "soon" if left <= SOON else "near" if left <= NEAR else ""

    @property
    def pressing(self) -> int:
        """What it holds up × its age × its deadline, as a number that only compares."""
        minutes = int((self.moment - self.since).total_seconds()) // 60
        return (1 + self.holds_up) * (1 + max(0, min(minutes, AGED_MINUTES))) * WEIGHTS[self.due]


@dataclass(frozen=True)
class Row:
    """A line with those that are like it: of one sort, one venture and one worker, with a way onward that asks nothing.

    `group` names them, "" for a line alone; `together` are their codes, on the first line of them only.
    """

    item: Item
    group: str = ""
    together: tuple[str, ...] = ()


class Inbox:
    """What waits for people, with the buttons that this one may press."""

    def __init__(self, actor: Actor) -> None:
        self.actor, self.moment = actor, log.now()

    @cached_property
    def items(self) -> list[Item]:
        """The most pressing, as many as one looks through."""
        found = [item for sort in SORTS for item in self._of(sort)]
        return sorted(found, key=lambda item: (-item.pressing, item.since, item.task.pk))[:SHOWN]

    @cached_property
    def rows(self) -> list[Row]:
        """The items, each with what can be said about those alike at once."""
        groups: dict[str, list[str]] = {}
        for item in self.items:
            groups.setdefault(_alike(item), []).append(item.task.code)
        rows = []
        for item in self.items:
            group = _alike(item)
            codes = groups[group]
            if not group or len(codes) < 2:
                rows.append(Row(item))
            else:
                rows.append(Row(item, group, tuple(codes) if codes[0] == item.task.code else ()))
        return rows

    def _of(self, sort: Sort) -> list[Item]:
        tasks = self._silent if sort.key == "silent" else candidates(waiting(sort.key))
        numbers = [task.pk for task in tasks]
        held, runs = _held_up_by(numbers), _last_runs(numbers)
        return [self._item(sort, task, held.get(task.pk, 0), runs.get(task.pk)) for task in tasks]

    @cached_property
    def _silent(self) -> list[Task]:
        held = Task.objects.filter(status=IN_PROGRESS, holder__isnull=False).select_related("venture", "holder")
        return [task for task in held if task.holder and is_silent(task.holder, task.heartbeat_at, self.moment)]

    def _item(self, sort: Sort, task: Task, holds_up: int, run: Session | None) -> Item:
        allowed = {verb.name: verb for verb in verbs(self.actor, task)}
        since = (task.heartbeat_at if sort.key == "silent" else None) or task.status_changed_at
        who = face(run.agent, "still") if run else None
        said = sort.said(task, run)[:SAID]
        return Item(
            sort, task, since, holds_up, who, said, self.moment, allowed.get(sort.forward), allowed.get(sort.back)
        )


def _alike(item: Item) -> str:
    if item.forward is None or item.forward.ask:
        return ""
    return f"{item.sort.key}-{item.task.venture.slug}-{item.who.slug if item.who else ''}"


def waiting(key: str) -> QuerySet[Task]:
    """Tasks that need a person for this reason. Those of archived ventures rest."""
    tasks = {"question": questions, "approval": unapproved}.get(key, lambda: Task.objects.filter(status=key))()
    return tasks.exclude(venture__status="archived")


def questions() -> QuerySet[Task]:
    """Tasks that only an answer holds up, by an index of their own: most blocked tasks wait for other tasks."""
    return Task.objects.filter(status=BLOCKED, blocked_kind="needs_input", blockers_open=0)


def unapproved() -> QuerySet[Task]:
    """Tasks that stand where agents look and may be started by nobody, by an index of those that are not approved."""
    return Task.objects.filter(needs_approval=True, approved_at=None, status__in=(READY, ASSIGNED))


def candidates(tasks: QuerySet[Task]) -> list[Task]:
    """Those that can be among the most pressing: high by one of the three things that count, each read by itself."""
    tasks = tasks.select_related("venture")
    holding = tasks.filter(dependants__task__status__in=OPEN)
    found: dict[int, Task] = {}
    for some in (
        tasks.order_by("status_changed_at", "id")[:CANDIDATES],
        tasks.filter(deadline__isnull=False).order_by("deadline", "id")[:CANDIDATES],
        holding.annotate(held_up=Count("dependants")).order_by("-held_up", "id")[:CANDIDATES],
    ):
        found.update((task.pk, task) for task in some)
    return list(found.values())


def _held_up_by(tasks: list[int]) -> dict[int, int]:
    """Task → how many open tasks wait for it directly."""
    held = Task.objects.filter(pk__in=tasks, dependants__task__status__in=OPEN)
    return dict(held.annotate(held_up=Count("dependants")).order_by().values_list("pk", "held_up"))


def _last_runs(tasks: list[int]) -> dict[int, Session]:
    """Task → the last attempt at it."""
    runs = Session.objects.attempts().filter(task__in=tasks).select_related("agent").order_by("id")
    return {run.task_id or 0: run for run in runs}
