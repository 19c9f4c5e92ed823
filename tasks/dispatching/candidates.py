"""Which agent would do a task, and why: the choice that processing makes. Only reads. Not: the hand-over (dispatch.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count

from agents.models import Agent
from agents.roster import state_of
from mission_control import log
from mission_control.models import Webhook
from tasks import approvals, explain
from tasks.claiming import within_hours
from tasks.models import Task
from tasks.vocabulary import IN_PROGRESS

CONNECTED_SECONDS = 60  # who called so lately is told at once: it waits, listens or works


@dataclass(frozen=True)
class Reason:
    """`name` says what was looked at; `good` whether it speaks for the agent."""

    name: str
    good: bool
    sentence: str


@dataclass(frozen=True)
class Candidate:
    """`able`: a claim by it would go through. `fit`: it may be chosen unasked. `ways`: how it is reached, best first.

    `held` tasks are in its hands, `handed` ones wait for its claim.
    """

    agent: Agent
    able: bool
    fit: bool
    held: int
    handed: int
    reasons: Sequence[Reason]
    ways: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent.slug, "name": self.agent.name, "able": self.able, "fit": self.fit, "held": self.held,
            "handed": self.handed, "reasons": [asdict(reason) for reason in self.reasons], "ways": list(self.ways),
        }  # fmt: skip

    @property
    def against(self) -> str:
        """The first thing that speaks against it."""
        return next((reason.sentence for reason in self.reasons if not reason.good), "")


def candidates(task: Task) -> list[Candidate]:
    """All claimed agents, the one that would be chosen first: who fits, then the lowest load, then the reputation.

    Five statements, whatever the size of the fleet.
    """
    moment = log.now()
    agents = explain.fleet_of(task)
    held: dict[int, int] = dict(
        Task.objects.filter(status=IN_PROGRESS, holder__in=agents).values_list("holder").annotate(n=Count("pk"))
    )
    waiting = Task.objects.filter(handed_until__isnull=False).exclude(pk=task.pk)
    handed: dict[int, int] = dict(waiting.values_list("assignee").annotate(n=Count("pk")))
    hooked = set(Webhook.objects.filter(enabled=True).exclude(agent="").values_list("agent", flat=True))
    barred = approvals.barred(task)
    found = [
        _candidate(
            task, agent, held.get(agent.pk, 0), handed.get(agent.pk, 0), hooked=agent.slug in hooked,
            barred=agent.pk in barred, moment=moment,
        )
        for agent in agents
    ]  # fmt: skip
    return sorted(found, key=_rank)


def _rank(candidate: Candidate) -> tuple[bool, bool, int, int, str]:
    agent = candidate.agent
    return not candidate.fit, not candidate.able, candidate.held + candidate.handed, -agent.reputation, agent.slug


def _candidate(
    task: Task, agent: Agent, held: int, handed: int, *, hooked: bool, barred: bool, moment: datetime
) -> Candidate:
    ways = ways_to(agent, hooked, moment)
    hard = [Reason(gate.name, gate.open, gate.sentence) for gate in explain.standing_gates(task, agent, agent.joined)]  # type: ignore[attr-defined]
    if barred:
        hard.append(Reason("approval", False, approvals.BARRED.format(task.approved_by)))
    soft = [_hours(agent, moment), _load(agent, held, handed), _presence(agent, held, ways, moment)]
    able = all(reason.good for reason in hard)
    reasons = [*hard, *soft, _success(agent)]
    return Candidate(agent, able, able and all(reason.good for reason in soft), held, handed, reasons, ways)


def ways_to(agent: Agent, hooked: bool, moment: datetime) -> list[str]:
    """How it can be told of work, in the order in which a hand-over tries them; the last one is always there.

    `hooked`: it has an address of its own that is called.
    """
    lately = agent.last_seen_at is not None and moment - agent.last_seen_at < timedelta(seconds=CONNECTED_SECONDS)
    last = "runner" if agent.connection == "local" else "poll"
    return [*(["webhook"] if hooked else []), *(["push"] if lately else []), last]


def _hours(agent: Agent, moment: datetime) -> Reason:
    declared = agent.available_hours
    if not declared or not declared.get("hours"):
        return Reason("hours", True, f"{agent.slug} works at any hour.")
    spans = f"{', '.join(declared['hours'])} {declared.get('timezone') or 'UTC'}"
    good = within_hours(agent, moment)
    return Reason("hours", good, f"It is {'within' if good else 'outside'} its hours, {spans}.")


def _load(agent: Agent, held: int, handed: int) -> Reason:
    limit = agent.max_concurrent
    waits = f" {handed} more {'waits' if handed == 1 else 'wait'} for its claim." if handed else ""
    if not limit:
        return Reason("load", True, f"It holds {held} now, without a limit.{waits}")
    return Reason("load", held + handed < limit, f"{agent.slug} holds {held} of at most {limit}.{waits}")


def _presence(agent: Agent, held: int, ways: Sequence[str], moment: datetime) -> Reason:
    state = state_of(agent, held, moment)
    if agent.availability != "available" and (agent.available_until is None or agent.available_until > moment):
        return Reason("presence", False, f"{agent.slug} says that it is {agent.availability}.")
    if state == "offline" and "webhook" not in ways:
        return Reason("presence", False, f"{agent.slug} is offline and has no address to call.")
    here = "is offline, but has an address to call" if state == "offline" else "is here"
    return Reason("presence", True, f"{agent.slug} {here}.")


def _success(agent: Agent) -> Reason:
    done = agent.tasks_completed
    sentence = f"It has finished {done} task{'' if done == 1 else 's'}. Reputation {agent.reputation}."
    return Reason("success", True, sentence)
