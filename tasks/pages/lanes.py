"""The board in rows, and as a table: the same tasks under the same filters as the columns. Only reads. Not: HTML (views.py).

A lane is what one agent, venture or priority has in each column. Lanes do not overlap, and each is read by the indexes
that the columns are read by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce

from agents.faces import face
from tasks.board import PLACE_FIELDS, Board, Card, Column, Filters, cards, iso
from tasks.models import Session, Task
from tasks.vocabulary import CANCELLED, DONE, OPEN, PRIORITIES, REVIEW, STATUSES

GROUPS = {"assignee": "Assignee", "venture": "Venture", "priority": "Priority"}
CELL = 8  # cards of a column in a lane
LANES = 12  # lanes in one answer
CLOSED = Q(status__in=(REVIEW, DONE))


@dataclass
class Lane:
    """`query` is the address of the board with this lane alone, "" where no filter names it."""

    key: str
    label: str
    count: int  # open tasks
    columns: list[Column]
    query: str = ""
    emoji: str = ""
    sign: str = ""
    letter: str = ""
    hue: int = 0


@dataclass(frozen=True)
class _Rule:
    """One lane before it is read: `only` is the condition of its tasks, `narrower` the filters that show it alone."""

    lane: Lane
    only: Q
    narrower: Filters | None = None


def lanes(board: Board, group: str) -> tuple[list[Lane], int]:
    """The lanes that have open tasks, and how many more there are than are shown."""
    rules = {"assignee": _by_assignee, "venture": _by_venture, "priority": _by_priority}[group](board)
    seen: set[int] = set()
    for rule in rules[:LANES]:
        rows = Board(board.filters, only=rule.only, names=board.names)
        for key in board.keys:
            column = rows.column(key, limit=CELL, counted=False)
            # Who worked on a task twice over could have it twice; it stays with the first.
            column.places = [place for place in column.places if place.pk not in seen]
            seen.update(place.pk for place in column.places)
            rule.lane.columns.append(column)
        rule.lane.query = rule.narrower.query() if rule.narrower else ""
    return [rule.lane for rule in rules[:LANES]], max(0, len(rules) - LANES)


def _open(board: Board) -> Any:
    return board.passing(Task.objects.filter(status__in=OPEN)).order_by()


def _by_venture(board: Board) -> list[_Rule]:
    counted = dict(_open(board).values_list("venture").annotate(n=Count("pk")))
    return [
        _Rule(
            Lane(venture.slug, venture.name, counted[pk], [], emoji=venture.icon), Q(venture=pk),
            None if board.filters.board else replace(board.filters, ventures=(venture.slug,)),
        )
        for pk, venture in board.names.ventures.items() if counted.get(pk)
    ]  # fmt: skip


def _by_priority(board: Board) -> list[_Rule]:
    counted = dict(_open(board).values_list("priority").annotate(n=Count("pk")))
    return [
        _Rule(
            Lane(word, word.capitalize(), counted[rank], [], sign=f"p-{word}"), Q(priority=rank),
            replace(board.filters, priorities=(word,)),
        )
        for rank, word in sorted(PRIORITIES.items(), reverse=True) if counted.get(rank)
    ]  # fmt: skip


def _by_assignee(board: Board) -> list[_Rule]:
    """In hand, else by intent; what is handed in and nobody's stands with who worked on it."""
    whose = _open(board).filter(held_by=None).annotate(whose=Coalesce("holder", "assignee"))
    counted = dict(whose.values_list("whose").annotate(n=Count("pk")))
    worked = Session.objects.filter(type="primary", state="completed").order_by()
    rules = []
    for pk, agent in board.names.agents.items():
        if not counted.get(pk):
            continue
        worn = face(agent)
        handed_in = CLOSED & Q(assignee=None, pk__in=worked.filter(agent=pk).values("task"))
        only = Q(holder=pk) | Q(holder=None, held_by=None, assignee=pk) | handed_in
        lane = Lane(worn.slug, worn.name, counted[pk], [], letter=worn.letter, hue=worn.hue)
        rules.append(_Rule(lane, only, replace(board.filters, assignees=(worn.slug,))))
    rules.sort(key=lambda rule: rule.lane.label.lower())
    people = _open(board).filter(held_by__isnull=False).count()
    if people:
        rules.append(
            _Rule(Lane("people", "In the hands of people", people, [], sign="i-person"), Q(held_by__isnull=False))
        )
    if counted.get(None):
        unworked = ~CLOSED | Q(~Exists(worked.filter(task=OuterRef("pk"))))
        nobody = Q(holder=None, held_by=None, assignee=None) & unworked
        lane = Lane("nobody", "Nobody", counted[None], [], sign="i-person")
        rules.append(_Rule(lane, nobody, replace(board.filters, assignees=("-",))))
    return rules


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = 100  # rows at first, and at a time
ROWS_MOST = 1000
HEADS = {
    "title": "Task", "status": "Status", "priority": "Priority", "venture": "Venture", "assignee": "Assignee",
    "deadline": "Deadline", "changed": "Changed", "tokens": "Tokens", "cost": "Cost",
}  # fmt: skip
SORTS: dict[str, str] = {
    "title": "title", "status": "status", "priority": "priority", "venture": "venture__name",
    "assignee": "assignee__name", "deadline": "deadline", "changed": "status_changed_at", "tokens": "tokens_used",
    "cost": "actual_cost_micro_usd",
}  # fmt: skip


@dataclass
class Listing:
    """`sort` is a key of SORTS, with - before it when the largest comes first."""

    rows: list[Row]
    more: bool
    sort: str

    @property
    def next(self) -> int:
        return len(self.rows) + ROWS

    @property
    def heads(self) -> Sequence[tuple[str, str, str]]:
        """`(label, what a click sorts by, aria-sort)` of each column."""
        return [
            (label, key if self.sort == f"-{key}" else f"-{key}" if self.sort == key else _first(key), _aria(self.sort, key))
            for key, label in HEADS.items()
        ]  # fmt: skip


@dataclass
class Row:
    """A card, and what a table says in words or to the second."""

    card: Card
    changed_iso: str

    @property
    def status(self) -> str:
        return self.card.status

    @property
    def label(self) -> str:
        return STATUSES[self.card.status]


def listing(board: Board, sort: str, most: int) -> Listing:
    """The tasks of the board in one order; empty cells last. `most` rows, between ROWS and ROWS_MOST."""
    name, most = sort.removeprefix("-"), max(ROWS, min(ROWS_MOST, most))
    if name not in SORTS:
        sort, name = "-changed", "changed"
    tasks = board.passing(Task.objects.all())
    if not board.filters.cancelled:
        tasks = tasks.exclude(status=CANCELLED)
    column = F(SORTS[name])
    order = column.desc(nulls_last=True) if sort.startswith("-") else column.asc(nulls_last=True)
    found = list(tasks.order_by(order, "-id").values_list(*PLACE_FIELDS)[: most + 1])
    places = [board.place(row) for row in found[:most]]
    changed = {row[0]: row[5] for row in found}
    drawn = {card.code: card for card in cards(places, board.names)}
    rows = [Row(drawn[p.code], iso(changed[p.pk])) for p in places if p.code in drawn]
    return Listing(rows, len(found) > most and most < ROWS_MOST, sort)


def _first(key: str) -> str:
    """Numbers and times begin with the largest, except deadlines: the next one is what matters."""
    return f"-{key}" if key in ("priority", "changed", "tokens", "cost") else key


def _aria(sort: str, key: str) -> str:
    return "ascending" if sort == key else "descending" if sort == f"-{key}" else ""
