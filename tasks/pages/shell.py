"""What the frame of every page shows: ventures with open counts, agents with state and current task, the freeze.

Computed when a template asks, at most once per request. Not: HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from agents.faces import Face, face_at_work, is_silent
from agents.models import Agent
from mission_control import log
from mission_control.figures import grouped
from mission_control.models import Fleet
from tasks.board import iso
from tasks.models import Session, Task
from tasks.pages.inbox import COUNTED, waiting
from tasks.vocabulary import IN_PROGRESS, OPEN
from ventures import ledger
from ventures.ledger import Spent
from ventures.models import Venture

AGENTS_SHOWN = 40  # in the rail; the agents page shows all
RANK = {"busy": 0, "idle": 1, "error": 2, "available": 3, "pending_claim": 4, "offline": 5}


@dataclass
class VentureLine:
    name: str
    slug: str
    icon: str
    status: str
    open: int

    @property
    def url(self) -> str:
        return f"/ventures/{self.slug}/board"

    @property
    def open_text(self) -> str:
        return grouped(self.open)


@dataclass
class AgentLine:
    agent: Agent
    face: Face
    tasks: list[Task]

    @property
    def task(self) -> Task | None:
        return self.tasks[0] if self.tasks else None

    @property
    def codes(self) -> str:
        return " ".join(task.code for task in self.tasks)

    @property
    def seen_at(self) -> str:
        """The later of the last call and the last heartbeat."""
        signs = [self.agent.last_seen_at, *(task.heartbeat_at for task in self.tasks)]
        return iso(max((sign for sign in signs if sign), default=None))


class Shell:
    @cached_property
    def moment(self) -> datetime:
        return log.now()

    @cached_property
    def fleet(self) -> Fleet:
        return Fleet.objects.get(pk=1)

    @property
    def head(self) -> int:
        return self.fleet.seq

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        return log.counts_by_venture()

    @cached_property
    def ventures(self) -> list[VentureLine]:
        return [
            VentureLine(v.name, v.slug, v.icon, v.status, sum(self.counts.get(v.slug, {}).get(s, 0) for s in OPEN))
            for v in Venture.objects.exclude(status="archived")
        ]

    @cached_property
    def agents_all(self) -> list[AgentLine]:
        """Every agent, those at work first."""
        held: dict[int, list[Task]] = {}
        running = Task.objects.filter(status=IN_PROGRESS, holder__isnull=False).order_by("-session_locked_at")
        for task in running.only(
            "code", "title", "holder_id", "heartbeat_at", "lease_expires_at", "lease_seconds", "progress_percent",
            "progress_step", "tokens_used", "actual_cost_micro_usd",
        ):  # fmt: skip
            held.setdefault(task.holder_id or 0, []).append(task)
        lines = [
            AgentLine(agent, face_at_work(agent, held.get(agent.pk, []), self.moment), held.get(agent.pk, []))
            for agent in Agent.objects.all()
        ]
        return sorted(lines, key=lambda line: (RANK.get(line.face.state, 9), line.agent.name.lower()))

    @cached_property
    def agents_today(self) -> list[tuple[AgentLine, str]]:
        """Every agent with the tokens and the cost of today."""
        today = ledger.today()
        return [(line, today.get(line.agent.slug, Spent()).figures) for line in self.agents_all]

    @property
    def agents(self) -> list[AgentLine]:
        return self.agents_all[:AGENTS_SHOWN]

    @property
    def agents_hidden(self) -> int:
        return max(0, len(self.agents_all) - AGENTS_SHOWN)

    @cached_property
    def waiting(self) -> int:
        """How much needs a person: as many lines as the inbox has, true at any number of tasks."""
        judged = sum(self.counts.get(line.slug, {}).get(status, 0) for line in self.ventures for status in COUNTED)
        asked = waiting("question").count() + waiting("approval").count()
        silent = sum(
            is_silent(line.agent, task.heartbeat_at, self.moment) for line in self.agents_all for task in line.tasks
        )
        return judged + asked + silent

    @property
    def waiting_text(self) -> str:
        return grouped(self.waiting)

    @cached_property
    def sessions_live(self) -> int:
        return Session.objects.live().count()

    @cached_property
    def subagents_active(self) -> int:
        return Session.objects.live().filter(type="subagent").count()


def may(actor: Any) -> dict[str, bool]:
    """What templates ask for: `{% if may.operate %}`."""
    return {ability: actor.can(ability) for ability in ("orchestrate", "operate", "admin")}
