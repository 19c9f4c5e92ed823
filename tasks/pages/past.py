"""The board as it was at any moment, rebuilt from the log. Only reads; what was pruned from the log is not guessed.

Counts are those of today with every later change taken back. Where a task stood comes from the last line that told it,
what stands on its card from the lines that told it; both are looked for from the moment backwards. Where a
task began lies below the prune, its fields are those of today with every later change taken back. Not: HTML (past_views.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Max, QuerySet

from agents.faces import face, letter_of
from mission_control import log, sql
from mission_control.figures import grouped
from mission_control.models import Activity, Checkpoint
from tasks.board import PAGE, TAGS_SHOWN, Card, Column, Names, iso
from tasks.models import Task
from tasks.pages.feed import Line, line
from tasks.vocabulary import (
    BLOCKED,
    CANCELLED,
    COLUMN_OF,
    COLUMNS,
    DONE,
    FAILED,
    IN_PROGRESS,
    MEDIUM,
    OPEN,
    PAUSED,
    PRIORITIES,
    REVIEW,
)

FIELDS = ("title", "priority", "assignee", "tags", "deadline")
TELLING = (
    "task.created",
    "task.updated",
    "task.moved",
    "task.processed",
    "task.unacknowledged",
)  # the kinds whose data holds fields before and after
WORKED = (IN_PROGRESS, REVIEW, DONE)

# One pass over the lines up to the moment; what was pruned stands as the prune left it. A line that outlasted the prune
# tells nothing here: those that came after it may be gone.
_HELD = """
WITH latest AS (
    SELECT task, MAX(seq) AS seq FROM mission_control_activity
     WHERE seq BETWEEN %s AND %s AND task <> '' AND (status_from <> '' OR status_to <> '') GROUP BY task
), held AS (
    SELECT a.task, a.status_to AS status, a.venture, a.seq
      FROM latest JOIN mission_control_activity a ON a.seq = latest.seq WHERE a.status_to <> ''
     UNION ALL
    SELECT p.code, p.status, COALESCE(v.slug, ''), 0 FROM mission_control_prunedtask p
      LEFT JOIN latest ON latest.task = p.code LEFT JOIN tasks_task t ON t.code = p.code
      LEFT JOIN ventures_venture v ON v.id = t.venture_id WHERE latest.task IS NULL
), ranked AS (
    SELECT task, status, venture, seq,
           ROW_NUMBER() OVER (PARTITION BY status ORDER BY seq DESC, task) AS place
      FROM held WHERE %s = '' OR venture = %s
)
SELECT task, status, venture, seq FROM ranked WHERE place <= %s ORDER BY seq DESC, task
"""
FIRST_CHUNK, CHUNK, FAR = 1_000, 20_000, 100_000  # lines that are read at once on the way back, and at most


@dataclass(frozen=True)
class Stand:
    """Where a task stood: `seq` is the line that brought it there, 0 when that line is pruned."""

    code: str
    status: str
    venture: str
    seq: int


class Past:
    """The board of all ventures or of one as of a line of the log."""

    def __init__(self, seq: int, venture: str = "") -> None:
        """`seq` is brought within what the log still holds."""
        self.head = log.head()
        self.first = min(log.first(), self.head)
        self.seq = max(self.first, min(seq, self.head))
        self.names, self.slug = Names(), venture

    @cached_property
    def venture(self) -> Any:
        return next((one for one in self.names.ventures.values() if one.slug == self.slug), None)

    @cached_property
    def line(self) -> Line | None:
        """What happened last before this moment."""
        there = Activity.objects.filter(seq=self.seq).first()
        return line(there) if there else None

    @cached_property
    def title(self) -> str:
        return Activity.objects.filter(seq=self.seq).values_list("title", flat=True).first() or ""

    @cached_property
    def pruned_at(self) -> str:
        """The time of the last line that was pruned, "" when none was."""
        return iso(Checkpoint.objects.values_list("at", flat=True).first())

    @cached_property
    def _at(self) -> datetime | None:
        return Activity.objects.filter(seq=self.seq).values_list("at", flat=True).first()

    @property
    def begins_at(self) -> str:
        return iso(Activity.objects.filter(seq=self.first).values_list("at", flat=True).first())

    @cached_property
    def columns(self) -> list[Column]:
        """Each with its true count and its latest cards."""
        counted = log.counts_at(self.seq)
        told = [counted.get(self.slug, {})] if self.slug else list(counted.values())
        counts = {status: n for status in COLUMN_OF if (n := sum(venture.get(status, 0) for venture in told)) > 0}
        self._cards = self._drawn(self._stands(counts))
        shown = []
        for key, (label, statuses) in COLUMNS.items():
            count = sum(counts.get(status, 0) for status in statuses)
            if key != "cancelled" or count:
                shown.append(Column(key, label, count, grouped(count), [], count > PAGE))
        return shown

    def cards(self, column: Column) -> list[Card]:
        return [card for card in self._cards if card.column == column.key][:PAGE]

    def _stands(self, counts: dict[str, int]) -> list[Stand]:
        """The latest tasks of each status, PAGE at most, the latest first."""
        found = self._still_there({status: n for status, n in counts.items() if n <= PAGE})
        here = {stand.status for stand in found}
        wanted = {status: min(n, PAGE) for status, n in counts.items() if status not in here}
        return sorted([*found, *self._going_back(wanted)], key=lambda stand: (-stand.seq, stand.code))

    def _still_there(self, counts: dict[str, int]) -> list[Stand]:
        """Those in statuses that have so few, where all of them are there to this day: that saves the way back to them."""
        tasks = Task.objects.filter(venture__slug=self.slug) if self.slug else Task.objects.all()
        rows = [
            row
            for status, n in counts.items()
            for row in tasks.filter(status=status, status_changed_at__lte=self._at)
            .order_by("-status_changed_at", "-id")
            .values_list("code", "status", "venture__slug")[: 2 * n]
        ]
        lines = self._moves().filter(task__in=[code for code, *_ in rows]).order_by()
        last: dict[str, int] = dict(lines.values_list("task").annotate(seq=Max("seq")))
        found = [Stand(*row, last.get(row[0], 0)) for row in rows if last.get(row[0], 0) <= self.seq]
        whole = {status for status, n in counts.items() if sum(stand.status == status for stand in found) == n}
        return [stand for stand in found if stand.status in whole]

    def _going_back(self, wanted: dict[str, int]) -> list[Stand]:
        """Line by line: the first that names a task tells where it stood. Who stood still for long is left to the database."""
        found: list[Stand] = []
        seen: set[str] = set()
        below, chunk = self.seq + 1, FIRST_CHUNK
        while any(wanted.values()) and below > max(self.first, self.seq - FAR):
            lines = self._moves().filter(seq__lt=below, seq__gte=below - chunk).order_by("-seq")
            for seq, code, status, venture in lines.values_list("seq", "task", "status_to", "venture"):
                if code not in seen and wanted.get(status) and self.slug in ("", venture):
                    wanted[status] -= 1
                    found.append(Stand(code, status, venture, seq))
                seen.add(code)
            below, chunk = below - chunk, min(2 * chunk, CHUNK)
        missing = {status for status, n in wanted.items() if n}
        if not missing:
            return found
        rows = sql.rows(_HELD, [self.first, self.seq, self.slug, self.slug, PAGE])
        return [
            *(stand for stand in found if stand.status not in missing),
            *(Stand(*row) for row in rows if row[1] in missing),
        ]

    def _moves(self) -> QuerySet[Activity]:
        """The lines that tell where a task stands. One that outlasted the prune tells nothing: later ones may be gone."""
        return Activity.objects.filter(seq__gte=self.first).exclude(task="").exclude(status_from="", status_to="")

    def _drawn(self, stands: list[Stand]) -> list[Card]:
        codes = [stand.code for stand in stands]
        fields, told = self._fields(codes), Activity.objects.in_bulk([stand.seq for stand in stands if stand.seq])
        progress = self._progress({stand.code: stand.seq for stand in stands if stand.status == IN_PROGRESS})
        return [
            self._card(stand, fields[stand.code], told.get(stand.seq), progress.get(stand.code)) for stand in stands
        ]

    def _fields(self, codes: list[str]) -> dict[str, dict[str, Any]]:
        """FIELDS of each task as of this moment: from its beginning forwards, else from today backwards."""
        told = Activity.objects.filter(task__in=codes, kind__in=TELLING, seq__gte=self.first)
        known: dict[str, dict[str, Any]] = {}
        for code, kind, title, data in (
            told.filter(seq__lte=self.seq).order_by("seq").values_list("task", "kind", "title", "data")
        ):
            if kind == "task.created" or code in known:
                _take(known.setdefault(code, {}), data.get("after"))
                known[code]["title"] = title
        begun_before = [code for code in codes if code not in known]
        if begun_before:
            for task in Task.objects.filter(code__in=begun_before).select_related("assignee"):
                known[task.code] = {
                    "title": task.title, "priority": task.priority, "tags": task.tags, "deadline": iso(task.deadline),
                    "assignee": task.assignee.slug if task.assignee else "",
                }  # fmt: skip
            later = told.filter(seq__gt=self.seq, task__in=begun_before).order_by("-seq")
            for code, data in later.values_list("task", "data"):
                _take(known.setdefault(code, {}), data.get("before"))
        return {code: known.get(code, {}) for code in codes}

    def _progress(self, began: dict[str, int]) -> dict[str, dict[str, Any]]:
        """The last word on how far each had come since it was taken in hand: `began` is task → that line."""
        if not began:
            return {}
        since = max(self.first, min(began.values()))
        lines = Activity.objects.filter(task__in=began, seq__range=(since, self.seq), kind="task.progressed")
        found: dict[str, dict[str, Any]] = {}
        for code, seq, message, data in lines.order_by("seq").values_list("task", "seq", "message", "data").iterator():
            if seq > began[code]:
                percent = data.get("percent")
                found[code] = {
                    "percent": found.get(code, {}).get("percent") if percent is None else percent,
                    "step": message or data.get("step", ""),
                }
        return found

    def _card(
        self, stand: Stand, fields: dict[str, Any], told: Activity | None, progress: dict[str, Any] | None
    ) -> Card:
        venture = next((one for one in self.names.ventures.values() if one.slug == stand.venture), None)
        tags = fields.get("tags") or []
        card = Card(
            code=stand.code, title=fields.get("title") or (told.title if told else "") or stand.code,
            status=stand.status, column=COLUMN_OF[stand.status], order="",
            venture_name=venture.name if venture else stand.venture, venture_icon=venture.icon if venture else "",
            priority=PRIORITIES.get(fields.get("priority", MEDIUM), PRIORITIES[MEDIUM]),
            tags=tags[:TAGS_SHOWN], tags_hidden=max(0, len(tags) - TAGS_SHOWN),
        )  # fmt: skip
        if fields.get("deadline") and stand.status in OPEN:
            card.deadline = fields["deadline"]
            card.deadline_date = f"{datetime.fromisoformat(card.deadline):%-d %b}"
        if progress:
            card.percent, card.step = progress.get("percent"), progress.get("step", "")
        self._wear(card, told, fields.get("assignee", ""))
        card.reason, card.reason_tone = _reason(stand.status, told)
        return card

    def _wear(self, card: Card, told: Activity | None, assignee: str) -> None:
        slug = told.agent if told and card.status in WORKED and told.agent else assignee
        agent = next((one for one in self.names.agents.values() if one.slug == slug), None)
        if agent:
            worn = face(agent)
            card.face, card.face_letter, card.face_hue = worn.name, worn.letter, worn.hue
        elif slug or (told and told.kind == "task.started"):
            card.face = slug or (told.actor if told else "")
            card.face_letter = letter_of(card.face)
        card.face_state = "still" if slug else "person"


def _take(fields: dict[str, Any], values: Any) -> None:
    if isinstance(values, dict):
        fields.update({name: values[name] for name in FIELDS if name in values})


def _reason(status: str, told: Activity | None) -> tuple[str, str]:
    said = str(told.data.get("reason", "")) if told else ""
    if status == BLOCKED:
        return said or "Blocked", "ask" if told and told.data.get("kind") == "needs_input" else ""
    if status == PAUSED:
        return f"Paused: {said}" if said else "Paused", "warn"
    if status == FAILED:
        return "Failed too often", "bad"
    return (said, "") if status == CANCELLED else ("", "")


def line_at(moment: datetime) -> int:
    """The number of the last line that was written by then, 0 when none was. A search by halves: numbers are dense, and
    times never go back from one to the next."""
    low, high = log.first() - 1, log.head()
    while low < high:
        middle = (low + high + 1) // 2
        at = Activity.objects.filter(seq=middle).values_list("at", flat=True).first()
        low, high = (middle, high) if at is not None and at <= moment else (low, middle - 1)
    return low
