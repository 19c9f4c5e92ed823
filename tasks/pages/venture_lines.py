"""What the pages of ventures show: money, throughput, who joined, the ledger. Only reads. Not: HTML, the boards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property

from django.db.models import Count
from django.db.models.functions import TruncDate

from agents.faces import Face, face
from mission_control import log
from mission_control.figures import compact, dollars, grouped
from mission_control.markdown import rendered
from mission_control.money import to_usd
from tasks.models import Task
from tasks.vocabulary import DONE, IN_PROGRESS, OPEN, REVIEW
from ventures.models import LedgerEntry, Venture
from ventures.serializers import COLUMN_KEYS

DAYS = 14
PAGE, MOST = 25, 500  # lines of the ledger
WARN, FULL = 80, 100  # percent of the budget
BAR, GAP, HEIGHT = 14, 6, 64  # of the chart


@dataclass(frozen=True)
class Day:
    """One bar of the chart, in the units of its drawing."""

    day: date
    done: int
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class EntryLine:
    entry: LedgerEntry

    @property
    def amount(self) -> str:
        return dollars(self.entry.amount_micro_usd)

    @property
    def tokens(self) -> str:
        return compact(self.entry.tokens)


class VentureLine:
    """One venture with its counts; each part is read when a template asks for it."""

    def __init__(self, venture: Venture, counts: dict[str, int], most: int = PAGE) -> None:
        self.venture, self.counts = venture, counts
        self.most = max(PAGE, min(most, MOST))

    @property
    def open(self) -> str:
        return grouped(sum(self.counts.get(status, 0) for status in OPEN))

    @property
    def running(self) -> str:
        return grouped(self.counts.get(IN_PROGRESS, 0))

    @property
    def review(self) -> str:
        return grouped(self.counts.get(REVIEW, 0))

    @property
    def done(self) -> str:
        return grouped(self.counts.get(DONE, 0))

    # ── money ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def spent(self) -> str:
        return dollars(self.venture.capital_spent_micro_usd)

    @property
    def reserved(self) -> str:
        return dollars(self.venture.capital_reserved_micro_usd) if self.venture.capital_reserved_micro_usd else ""

    @property
    def budget(self) -> str:
        return dollars(self.venture.capital_budget_micro_usd)

    @property
    def budget_field(self) -> str:
        return to_usd(self.venture.capital_budget_micro_usd) or ""

    @property
    def left_micro_usd(self) -> int | None:
        budget = self.venture.capital_budget_micro_usd
        if budget is None:
            return None
        return budget - self.venture.capital_spent_micro_usd - self.venture.capital_reserved_micro_usd

    @property
    def left(self) -> str:
        """What is left, or by how much it is over."""
        left = self.left_micro_usd or 0
        return f"{dollars(left)} left" if left >= 0 else f"{dollars(-left)} over"

    @property
    def percent(self) -> int | None:
        """Of the budget, spent and reserved, rounded down; None without a budget."""
        budget = self.venture.capital_budget_micro_usd
        if budget is None:
            return None
        used = self.venture.capital_spent_micro_usd + self.venture.capital_reserved_micro_usd
        return used * 100 // budget if budget else 100

    @property
    def tone(self) -> str:
        return "" if self.percent is None or self.percent < WARN else "warn" if self.percent < FULL else "full"

    # ── one venture ─────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def moment(self) -> datetime:
        return log.now()

    @cached_property
    def days(self) -> list[Day]:
        """What was finished on each of the last days and still is, the oldest first, by UTC."""
        first = self.moment.date() - timedelta(days=DAYS - 1)
        since = self.moment.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
        tasks = Task.objects.filter(venture=self.venture, status=DONE, status_changed_at__gte=since).order_by()
        found = dict(tasks.annotate(day=TruncDate("status_changed_at")).values_list("day").annotate(n=Count("pk")))
        highest = max(found.values(), default=0)
        days = []
        for place in range(DAYS):
            done = found.get(first + timedelta(days=place), 0)
            height = max(3, done * HEIGHT // highest) if done else 1
            days.append(Day(first + timedelta(days=place), done, place * (BAR + GAP), HEIGHT - height, height))
        return days

    @property
    def finished(self) -> int:
        return sum(day.done for day in self.days)

    @property
    def description(self) -> str:
        return rendered(self.venture.description)

    @cached_property
    def agents(self) -> list[Face]:
        return [face(agent, "still") for agent in self.venture.agents.order_by("name")[:200]]

    @cached_property
    def _ledger(self) -> list[LedgerEntry]:
        return list(LedgerEntry.objects.filter(venture=self.venture.slug).order_by("-id")[: self.most + 1])

    @property
    def ledger(self) -> list[EntryLine]:
        return [EntryLine(entry) for entry in self._ledger[: self.most]]

    @property
    def more(self) -> int:
        """How many lines the next page of the ledger has; 0 at its end."""
        return self.most + 2 * PAGE if len(self._ledger) > self.most and self.most < MOST else 0

    @property
    def limits(self) -> list[tuple[str, str, int | str]]:
        """Column, label, limit."""
        return [(key, key.replace("_", " ").capitalize(), self.venture.wip_limits.get(key, "")) for key in COLUMN_KEYS]


def every() -> list[VentureLine]:
    """All ventures, those that offer work first."""
    counts = log.counts_by_venture()
    rank = {status: place for place, (status, _) in enumerate(Venture.STATUSES)}
    ventures = sorted(Venture.objects.all(), key=lambda venture: (rank[venture.status], venture.name.lower()))
    return [VentureLine(venture, counts.get(venture.slug, {})) for venture in ventures]


def one(venture: Venture, most: int = PAGE) -> VentureLine:
    return VentureLine(venture, log.counts_by_venture().get(venture.slug, {}), most)
