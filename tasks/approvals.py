"""Approval before the start: bound to the text that an agent will read. Not: the gate itself (claiming.py).

An approval holds for one text. Whatever changes that text takes it back: a change of the task, its plan or its shared
context at once, anything else (its venture, its parent) when somebody claims it.
"""

from __future__ import annotations

from django.db.models import Q

from agents.models import Agent
from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import NotAllowed, Refused
from tasks import handover, transitions
from tasks.models import Session, Task
from tasks.vocabulary import APPROVABLE

BARRED = "{} approved it and may not start it, neither itself nor by a sub-agent."
# What makes a text one's own.
WROTE = ("task.created", "task.updated", "context.shared", "context.removed", "plan.changed")


@log.verb
def approve_start(actor: Actor, code: str, seen: str) -> Task:
    """It may be started, as it reads now. `seen`: the digest of what the caller was shown; 409 `stale` for another.

    By an operator. Never by an agent for what it wrote, is assigned or has worked on, itself or by sub-agents; where the
    venture asks for four eyes neither by a person who wrote it. Records task.approved. Locks the task.
    """
    task = transitions.lock(actor, code)
    if not actor.can("operate"):
        raise NotAllowed("Only an operator approves a start.")
    if task.status not in APPROVABLE:
        raise transitions.wrong_state(task, "approve its start")
    if not task.needs_approval:
        raise Refused("It needs no approval.", code="no_approval_needed")
    _refuse_own(actor, task)
    now = handover.digest(task)
    if seen != now:
        raise Refused("It reads differently now: look at it again.", code="stale", hash=now)
    if task.approved_hash == now:
        return task
    writes = {
        "approved_by_type": actor.type, "approved_by": actor.name, "approved_at": task.db_now, "approved_hash": now,
    }  # fmt: skip
    for name, value in writes.items():
        setattr(task, name, value)
    transitions.note(
        task, "task.approved", actor, writes={**writes, "offered": transitions.is_offered(task, task.status)},
        data={"hash": now, "before": {"approved_by": ""}, "after": {"approved_by": actor.name}},
    )  # fmt: skip
    return task


def refusal(task: Task, agent: Agent) -> str:
    """Why this approval lets this agent not start the task: the text changed, or it approved it itself. "" when it does."""
    if task.approved_at is None:
        return ""
    if handover.is_stale(task):
        return "What the agent will read has changed since it was approved."
    if task.approved_by_type == "agent" and _is_of(task.approved_by, agent):
        return BARRED.format(task.approved_by)
    return ""


def barred(task: Task) -> set[int]:
    """The primary keys of the agents that may not start it because they approved it: one and its sub-agents, or none."""
    if task.approved_by_type != "agent":
        return set()
    under = Session.objects.live().filter(parent__agent__slug=task.approved_by).order_by().values("agent")
    approvers = Agent.objects.filter(Q(slug=task.approved_by) | Q(pk__in=under))
    return set(approvers.values_list("pk", flat=True))


def withdrawn(task: Task, agent: Agent) -> bool:
    """Whether the approval of this locked task was taken back just now, because it does not hold for this claim."""
    said = refusal(task, agent)
    if said:
        transitions.withdraw_approval(task, said)
    return bool(said)


def _refuse_own(actor: Actor, task: Task) -> None:
    own = transitions.did(actor, task, WROTE) or (task.created_by_type, task.created_by) == (actor.type, actor.name)
    if actor.agent:
        meant = task.assignee is not None and _is_of(actor.agent.slug, task.assignee)
        if own or meant or transitions.has_worked(actor.agent, task):
            raise NotAllowed("An agent never approves its own or its sub-agents' work.", code="own_work")
    elif own and task.venture.four_eyes:
        raise NotAllowed("Somebody else approves it: in this venture nobody approves their own.", code="own_work")


def _is_of(slug: str, agent: Agent) -> bool:
    """Whether the agent is the one of that name, or runs as its sub-agent."""
    return agent.slug == slug or Session.objects.live().filter(agent=agent, parent__agent__slug=slug).exists()
