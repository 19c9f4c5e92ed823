"""What the board shows: filters, columns in their order, cards. Only reads, and only what an index gives at once.

A column is read as places first (a few plain columns per task, no joins): the page keeps the markup of each card by
its place's key and loads whole tasks only for those it has not drawn yet. Not: HTML (views.py), moves (transitions.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from heapq import merge
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection
from django.db.models import Q, Sum, TextField
from django.db.models.functions import Cast

from agents.faces import Face, face, letter_of
from agents.models import Agent
from mission_control import log
from mission_control.figures import compact, dollars, grouped
from tasks.models import Session, Task
from tasks.vocabulary import (
    ASSIGNED,
    BLOCKED,
    CANCELLED,
    COLUMN_OF,
    COLUMNS,
    DONE,
    FAILED,
    IN_PROGRESS,
    INBOX,
    PAUSED,
    PRIORITIES,
    READY,
    REVIEW,
    STATUSES,
)
from ventures.catalogue import COLUMN_KEYS
from ventures.models import Venture

PAGE = 50  # cards a column shows at first, and brings at a time
MOST = 300  # cards of one column in one answer
COUNTED = 500  # under a filter a column counts up to here: an honest "500+" instead of a slow number
DEADLINES: dict[str, tuple[str, int | None]] = {
    "overdue": ("Overdue", 0), "day": ("Within a day", 1), "week": ("Within a week", 7), "none": ("No deadline", None),
}  # fmt: skip
QUEUES = ("inbox", "ready", "assigned")  # ordered by sort_key, which people change; the others by what changed last
# As in the condition of the partial indexes: SQLite uses them only where it reads the same words in the statement.
IN_A_QUEUE = "tasks_task.status IN ('inbox', 'ready', 'assigned')"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOP = 2**63 - 1
DROPS = {"on_hold": PAUSED}  # the status that dropping a card on the column means, where it is not the column's name
EMPTY = {
    "inbox": "Ideas and requests that nobody has sorted yet.",
    "ready": "The queue is empty. Agents wait here for work.",
    "assigned": "Nothing is meant for anyone in particular.",
    "in_progress": "Nobody is working on anything.",
    "on_hold": "Nothing is held up.",
    "review": "Nothing waits for a verdict.",
    "done": "Nothing is done yet.",
    "cancelled": "Nothing was cancelled.",
}


# ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Filters:
    """What the address asks for. `board` is the venture whose board it is, `ventures` a choice on the board of all."""

    board: str = ""
    q: str = ""
    ventures: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()  # slugs; "-" is nobody
    priorities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    states: tuple[str, ...] = ()  # statuses
    deadlines: tuple[str, ...] = ()  # keys of DEADLINES
    cancelled: bool = False

    @property
    def narrows(self) -> bool:
        chosen = self.ventures or self.assignees or self.priorities or self.tags or self.states or self.deadlines
        return bool(self.q or chosen)

    @property
    def venture_slugs(self) -> tuple[str, ...]:
        return (self.board,) if self.board else self.ventures

    def query(self, **more: str) -> str:
        pairs: list[tuple[str, str]] = [("q", self.q)] if self.q else []
        for name, values in (
            ("venture", self.ventures), ("assignee", self.assignees), ("priority", self.priorities), ("tag", self.tags),
            ("state", self.states), ("deadline", self.deadlines),
        ):  # fmt: skip
            pairs += [(name, value) for value in values]
        pairs += [("cancelled", "1")] if self.cancelled else []
        return urlencode([*pairs, *more.items()])

    def narrowed(self, tasks: Any) -> Any:
        """The tasks that pass, ventures aside: those are read one by one (see `_stream`)."""
        if self.priorities:
            tasks = tasks.filter(priority__in=[rank for rank, word in PRIORITIES.items() if word in self.priorities])
        if self.assignees:
            tasks = tasks.filter(self._whose())
        if self.states:
            tasks = tasks.filter(status__in=self.states)
        if self.deadlines:
            tasks = tasks.filter(self._due())
        for tag in self.tags:
            tasks = tagged(tasks, tag)
        if self.q:
            tasks = tasks.filter(Q(title__icontains=self.q) | Q(code__startswith=self.q.lower()))
        return tasks

    def _due(self) -> Q:
        """Any of what was chosen, by the database's clock; what is over is late no more."""
        moment, due = log.now(), Q(pk__in=[])
        for key in self.deadlines:
            days = DEADLINES[key][1]
            if days is None:
                due |= Q(deadline=None)
            elif days == 0:
                due |= Q(deadline__lt=moment) & ~Q(status__in=(DONE, CANCELLED))
            else:
                due |= Q(deadline__gte=moment, deadline__lt=moment + timedelta(days=days))
        return due

    def _whose(self) -> Q:
        """Theirs by intent, in hand, or handed in by them. Each part is an index of its own."""
        slugs = [slug for slug in self.assignees if slug != "-"]
        agents = list(Agent.objects.filter(slug__in=slugs).values_list("pk", flat=True))
        theirs = (
            Task.objects.filter(assignee__in=agents)
            .values("pk")
            .union(
                Task.objects.filter(holder__in=agents).values("pk"),
                Session.objects.filter(agent__in=agents, type="primary", state="completed").order_by().values("task"),
            )
        )
        whose = Q(pk__in=theirs)
        if "-" in self.assignees:
            whose |= Q(assignee=None, holder=None, held_by=None) & ~Q(status__in=(REVIEW, DONE))
        return whose


def tagged(tasks: Any, tag: str) -> Any:
    """Those that carry the tag. PostgreSQL looks into the JSON, SQLite into its text, where Django escapes non-ASCII."""
    if connection.vendor == "postgresql":
        return tasks.filter(tags__contains=[tag])
    return tasks.alias(tags_text=Cast("tags", TextField())).filter(tags_text__contains=json.dumps(tag))


# ── places ──────────────────────────────────────────────────────────────────────────────────────────────────────────

PLACE_FIELDS = (
    "pk", "code", "status", "version", "sort_key", "status_changed_at", "lease_expires_at", "heartbeat_at",
    "venture_id", "assignee_id", "holder_id", "not_before",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where one card stands. `order` sorts as text in the order of the column; `key` changes when the card would."""

    pk: int
    code: str
    column: str
    order: str
    key: tuple[Any, ...]


@dataclass
class Column:
    key: str
    label: str
    count: int
    count_text: str
    places: list[Place]
    more: bool
    limit: int | None = None  # of the venture whose board it is; unknown on the board of all and under a filter
    may_limit: bool = False
    markup: str = ""  # of the cards, drawn by whoever shows the column

    @property
    def sign(self) -> str:
        return "paused" if self.key == "on_hold" else self.key

    @property
    def full(self) -> bool:
        return self.limit is not None and self.count >= self.limit

    @property
    def drop_status(self) -> str:
        return DROPS.get(self.key, self.key)

    @property
    def create_status(self) -> str:
        return self.key if self.key in QUEUES else ""

    @property
    def empty_text(self) -> str:
        return EMPTY[self.key]


class Names:
    """Ventures and agents by their primary key, read once per request: small tables, so that places need no joins."""

    @cached_property
    def ventures(self) -> dict[int, Venture]:
        return {venture.pk: venture for venture in Venture.objects.all()}

    @cached_property
    def agents(self) -> dict[int, Agent]:
        return {agent.pk: agent for agent in Agent.objects.all()}

    @cached_property
    def faces(self) -> int:
        """Another number as soon as an agent looks different."""
        return hash(tuple((agent.slug, agent.name, agent.avatar) for agent in self.agents.values()))

    @cached_property
    def tags(self) -> list[str]:
        return known_tags()

    def venture(self, pk: int) -> Venture:
        """Read anew when it was made after the others were read."""
        if pk not in self.ventures:
            del self.ventures
        return self.ventures[pk]

    def venture_ids(self, slugs: Sequence[str]) -> list[int]:
        return [pk for pk, venture in self.ventures.items() if venture.slug in slugs]


class Board:
    """The board of all ventures or of one, under filters; with `only` a part of it that no filter names."""

    def __init__(self, filters: Filters, *, only: Q | None = None, names: Names | None = None) -> None:
        self.filters, self.only = filters, only
        self.names = names or Names()

    @cached_property
    def venture(self) -> Venture | None:
        return next((v for v in self.names.ventures.values() if v.slug == self.filters.board), None)

    @property
    def keys(self) -> list[str]:
        return [key for key in COLUMNS if key != "cancelled" or self.filters.cancelled]

    def column(self, key: str, *, after: str = "", limit: int = PAGE, counted: bool = True) -> Column:
        """One column, or its cards after the one with this order."""
        label, statuses = COLUMNS[key]
        found = list(islice(self._places(key, after, limit + 1), limit + 1))
        count, text = self._count(statuses) if counted else (0, "")
        return self._limited(Column(key, label, count, text, found[:limit], len(found) > limit))

    def heads(self) -> list[Column]:
        """The columns without cards: true counts only."""
        heads = []
        for key in self.keys:
            label, statuses = COLUMNS[key]
            count, text = self._count(statuses)
            heads.append(self._limited(Column(key, label, count, text, [], False)))
        return heads

    def _limited(self, column: Column) -> Column:
        if self.venture is not None and not self.filters.narrows and column.key in COLUMN_KEYS:
            column.limit, column.may_limit = self.venture.wip_limits.get(column.key), True
        return column

    def places_of(self, codes: Sequence[str]) -> list[Place]:
        """Where the tasks with these codes stand on this board; those that it does not show are missing."""
        tasks = self.passing(Task.objects.filter(code__in=codes))
        if not self.filters.cancelled:
            tasks = tasks.exclude(status=CANCELLED)
        return [self.place(row) for row in tasks.values_list(*PLACE_FIELDS)]

    def passing(self, tasks: Any) -> Any:
        """Those of the tasks that this board shows, cancelled ones aside."""
        tasks = self.filters.narrowed(tasks)
        if self.filters.venture_slugs:
            tasks = tasks.filter(venture__in=self.names.venture_ids(self.filters.venture_slugs))
        return tasks

    def costs(self, key: str) -> tuple[int, int]:
        """What a column is estimated to cost, and what it has cost so far, in micro-USD. Reads all its tasks."""
        tasks = self.passing(Task.objects.filter(status__in=COLUMNS[key][1])).order_by()
        sums = tasks.aggregate(estimated=Sum("estimated_cost_micro_usd"), spent=Sum("actual_cost_micro_usd"))
        return sums["estimated"] or 0, sums["spent"] or 0

    def costs_of_all(self) -> dict[str, tuple[int, int]]:
        """The same of every column at once: key → estimated and spent, without those that cost nothing."""
        tasks = self.passing(Task.objects.all()).order_by().values("status")
        sums = tasks.annotate(estimated=Sum("estimated_cost_micro_usd"), spent=Sum("actual_cost_micro_usd"))
        found: dict[str, tuple[int, int]] = {}
        for status, estimated, spent in sums.values_list("status", "estimated", "spent"):
            before = found.get(COLUMN_OF[status], (0, 0))
            found[COLUMN_OF[status]] = (before[0] + (estimated or 0), before[1] + (spent or 0))
        return {key: both for key, both in found.items() if any(both)}

    def _places(self, key: str, after: str, limit: int) -> Iterable[Place]:
        """The streams of the column's statuses and ventures, each in index order, merged."""
        ventures: list[int | None] = [None]
        if self.filters.venture_slugs:
            ventures = list(self.names.venture_ids(self.filters.venture_slugs))
        streams = [
            self._stream(status, venture, key, after, limit) for status in COLUMNS[key][1] for venture in ventures
        ]
        return streams[0] if len(streams) == 1 else merge(*streams, key=lambda place: place.order)

    def _stream(self, status: str, venture: int | None, key: str, after: str, limit: int) -> list[Place]:
        tasks = Task.objects.filter(status=status)
        if venture is not None:
            tasks = tasks.filter(venture=venture)
        tasks = self.filters.narrowed(tasks)
        if self.only is not None:
            tasks = tasks.filter(self.only)
        if key in QUEUES:
            tasks = tasks.extra(where=[IN_A_QUEUE]).order_by("sort_key", "id")
            if after:
                sort_key, pk = read_order(after)
                tasks = tasks.filter(sort_key__gte=sort_key).exclude(sort_key=sort_key, id__lte=pk)
        else:
            tasks = tasks.order_by("-status_changed_at", "-id")
            if after:
                micros, pk = (TOP - number for number in read_order(after))
                at = EPOCH + timedelta(microseconds=micros)
                tasks = tasks.filter(status_changed_at__lte=at).exclude(status_changed_at=at, id__gte=pk)
        return [self.place(row) for row in tasks.values_list(*PLACE_FIELDS)[:limit]]

    def place(self, row: tuple[Any, ...]) -> Place:
        pk, code, status, version, sort_key, changed, expires, heartbeat, venture, assignee, holder, not_before = row
        column = COLUMN_OF[status]
        agent = self.names.agents.get(holder or assignee)
        worker = self.names.faces if status in (REVIEW, DONE) else 0  # who did it is read with the card only
        key = (
            version, sort_key, expires, heartbeat, not_before, self.names.venture(venture).version,
            agent.version if agent else worker,
        )  # fmt: skip
        order = order_of(sort_key, pk) if column in QUEUES else order_of(TOP - _micros(changed), TOP - pk)
        return Place(pk, code, column, order, key)

    @cached_property
    def _counts(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for slug, by_status in log.counts_by_venture().items():
            if not self.filters.board or slug == self.filters.board:
                total.update(by_status)
        return total

    def _count(self, statuses: Sequence[str]) -> tuple[int, str]:
        if not self.filters.narrows:
            count = sum(self._counts.get(status, 0) for status in statuses)
            return count, grouped(count)
        tasks = self.passing(Task.objects.filter(status__in=statuses))
        count = tasks.order_by()[: COUNTED + 1].count()
        return count, f"{COUNTED}+" if count > COUNTED else str(count)


def order_of(major: int, minor: int) -> str:
    """Two integers as text that sorts like them: 16 hexadecimal digits each."""
    return f"{major:016x}{minor:016x}"


def read_order(order: str) -> tuple[int, int]:
    """ValueError: it is not one of ours."""
    if len(order) != 32:
        raise ValueError("not an order")
    return int(order[:16], 16), int(order[16:], 16)


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


# ── cards ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Card:
    """What a card shows, ready to be printed. Times are ISO strings: the browser tells how long ago they are."""

    code: str
    title: str
    status: str
    column: str
    order: str
    venture_name: str
    venture_icon: str
    priority: str
    agent: str = ""  # slug of whose avatar it wears
    face: str = ""
    face_letter: str = ""
    face_hue: int = 0
    face_state: str = ""
    percent: int | None = None
    step: str = ""
    reason: str = ""
    reason_tone: str = ""  # "", ask, warn or bad
    tags: list[str] = field(default_factory=list)
    tags_hidden: int = 0
    deadline: str = ""
    deadline_date: str = ""
    blockers_open: int = 0
    deliverables: int = 0
    comments: int = 0
    tokens: str = ""
    cost: str = ""
    since: str = ""
    lease_expires_at: str = ""
    lease_seconds: int = 0
    heartbeat_at: str = ""
    idle_after: int = 0

    @property
    def has_row(self) -> bool:
        spent = not self.face and (self.tokens or self.cost)
        return bool(self.tags or self.deadline or self.blockers_open or self.deliverables or self.comments or spent)


TAGS_SHOWN = 3


def cards(places: Sequence[Place], names: Names) -> list[Card]:
    """The cards of these places. Two statements: the tasks, and who worked on those that are handed in."""
    tasks = (
        Task.objects.select_related("held_by").defer("description", "output").in_bulk([place.pk for place in places])
    )
    closed = [task.pk for task in tasks.values() if task.status in (REVIEW, DONE)]
    workers = dict(
        Session.objects.attempts().filter(task__in=closed).order_by("id").values_list("task_id", "agent_id")
    )  # the newest wins
    return [_card(place, tasks[place.pk], names, workers) for place in places if place.pk in tasks]


def _card(place: Place, task: Task, names: Names, workers: Mapping[Any, int]) -> Card:
    venture = names.venture(task.venture_id)
    spent = bool(task.actual_cost_micro_usd)
    estimate = task.estimated_cost_micro_usd
    card = Card(
        code=task.code, title=task.title, status=task.status, column=place.column, order=place.order,
        venture_name=venture.name, venture_icon=venture.icon, priority=PRIORITIES[task.priority],
        tags=task.tags[:TAGS_SHOWN], tags_hidden=max(0, len(task.tags) - TAGS_SHOWN),
        blockers_open=task.blockers_open, deliverables=task.deliverable_count, comments=task.comment_count,
        tokens=compact(task.tokens_used) if task.tokens_used else "",
        cost=dollars(task.actual_cost_micro_usd) if spent else f"~{dollars(estimate)}" if estimate else "",
    )  # fmt: skip
    if task.deadline and task.is_open:
        card.deadline, card.deadline_date = iso(task.deadline), f"{task.deadline:%-d %b}"
    _wear(card, task, names.agents.get(task.holder_id or task.assignee_id or workers.get(task.pk) or 0))
    if task.status == IN_PROGRESS:
        card.percent, card.step = task.progress_percent, task.progress_step
        if task.lease_expires_at:
            card.lease_expires_at, card.lease_seconds = iso(task.lease_expires_at), task.lease_seconds or 0
        if task.heartbeat_at and task.holder_id:
            card.heartbeat_at, card.idle_after = iso(task.heartbeat_at), settings.IDLE_WARNING_SECONDS
    elif task.status in (REVIEW, DONE):
        card.since = iso(task.status_changed_at)
    card.reason, card.reason_tone = reason_of(task)
    if task.status == BLOCKED and not task.blocked_reason:
        card.blockers_open = 0  # the reason says it
    return card


def _wear(card: Card, task: Task, agent: Agent | None) -> None:
    if task.held_by:
        name = task.held_by.get_username()
        card.face, card.face_letter, card.face_state = name, letter_of(name), "person"
    elif agent:
        worn: Face = face(agent)
        card.agent, card.face, card.face_letter, card.face_hue = worn.slug, worn.name, worn.letter, worn.hue
        card.face_state = "busy" if task.status == IN_PROGRESS else "still"


def reason_of(task: Task) -> tuple[str, str]:
    """Why it is held up, as one line, and its tone: `ask` wants an answer, `bad` failed, `warn` was paused."""
    if task.status == BLOCKED:
        if task.blocked_reason:
            asks = task.blocked_kind == "needs_input"
            return f"Needs an answer: {task.blocked_reason}" if asks else task.blocked_reason, "ask" if asks else ""
        return f"Blocked by {task.blockers_open} open {'task' if task.blockers_open == 1 else 'tasks'}", ""
    if task.status == PAUSED:
        return f"Paused: {task.paused_reason}" if task.paused_reason else "Paused", "warn"
    if task.status == FAILED:
        return f"Failed {task.failures} {'time' if task.failures == 1 else 'times'}", "bad"
    if task.awaits_approval and task.status in (READY, ASSIGNED):
        return "Waits for approval", "ask"
    if task.not_before:
        return f"Held back after {task.failures} {'failure' if task.failures == 1 else 'failures'}", "warn"
    return "", ""


# ── menus ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Option:
    value: str
    label: str
    on: bool
    emoji: str = ""
    sign: str = ""
    letter: str = ""
    hue: int = 0
    state: str = "still"


@dataclass
class Menu:
    key: str
    label: str
    options: list[Option]
    empty_text: str = ""

    @property
    def chosen(self) -> str:
        on = [option.label for option in self.options if option.on]
        return f"any of {len(on)}" if len(on) > 2 else ", ".join(on)


def menus(board: Board) -> list[Menu]:
    """The filter chips with what can be chosen in each."""
    filters, names = board.filters, board.names
    chosen = set(filters.assignees)
    whose = [Option("-", "Nobody", "-" in chosen, sign="i-person")]
    for agent in names.agents.values():
        worn = face(agent)
        whose.append(Option(worn.slug, worn.name, worn.slug in chosen, letter=worn.letter, hue=worn.hue))
    ranks = [
        Option(word, word.capitalize(), word in filters.priorities, sign=f"p-{word}")
        for _, word in sorted(PRIORITIES.items(), reverse=True)
    ]
    tags = [Option(tag, tag, tag in filters.tags) for tag in sorted({*names.tags, *filters.tags}, key=str.lower)]
    found = [
        Menu("assignee", "Assignee", whose),
        Menu("priority", "Priority", ranks),
        Menu("tag", "Tag", tags, "No task carries a tag."),
        Menu("state", "State", [Option(s, label, s in filters.states, sign=f"s-{s}") for s, label in STATUSES.items()]),
        Menu("deadline", "Deadline", [Option(k, label, k in filters.deadlines) for k, (label, _) in DEADLINES.items()]),
    ]
    if not filters.board:
        ventures = [Option(v.slug, v.name, v.slug in filters.ventures, emoji=v.icon) for v in names.ventures.values()]
        found.insert(0, Menu("venture", "Venture", ventures))
    return found


def known_tags(most: int = 60) -> list[str]:
    """The tags that the newest tasks carry, sorted."""
    recent = Task.objects.order_by("-id").values_list("tags", flat=True)[:300]
    counted = Counter(tag for tags in recent for tag in tags)
    return sorted((tag for tag, _ in counted.most_common(most)), key=str.lower)


# ── words and numbers ───────────────────────────────────────────────────────────────────────────────────────────────


def iso(moment: datetime | None) -> str:
    """`2026-11-21T02:10:00Z`: UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else ""


CREATABLE = (INBOX, READY, ASSIGNED)
