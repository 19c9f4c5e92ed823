"""Processing: pick an agent, name model and branch, keep what it is told, hand the task over and wait for the claim.

The line task.processed reaches every door of the agent at once: its webhook, its sockets, its waiting claims. What is
tried in order is which of them is waited for. A hand-over is a hint: it is acknowledged by the claim and by nothing else.
Not: the choice (candidates.py), the writes (transitions.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.utils.text import slugify

from agents.models import Agent
from mission_control import chores, log
from mission_control.actors import Actor, system
from mission_control.errors import NotAllowed, Refused
from mission_control.models import Activity, Delivery, Webhook
from tasks import claiming, explain, handover, shapes, transitions
from tasks.dispatching import candidates
from tasks.dispatching.candidates import Candidate
from tasks.leases import PLAIN, Fence
from tasks.models import Session, Task
from tasks.transitions import Handed
from tasks.vocabulary import HAND_OVER_WAYS, IN_PROGRESS, PRIORITIES

EVERY_SECONDS = 2
PAGE = 200
TITLE_LETTERS = 40


@dataclass(frozen=True)
class HandedOver:
    """The task, the run that was announced, and the way that is waited for first."""

    task: Task
    session: Session
    via: str
    candidate: Candidate


def register() -> None:
    """Tell the floor which chore there is. Called once, when the app is ready."""
    chores.register("hand over", EVERY_SECONDS, hand_on)


@log.verb
def process(actor: Actor, code: str, agent: Agent | None = None) -> HandedOver:
    """Hand it to `agent`, else to its assignee, else to the best one there is. Records task.processed. Locks the task.

    Refused: work in hand or over, open prerequisites, no approval that holds, a fleet that is frozen, a venture that
    is not active or has enough in progress; 403 for an agent that may not claim it, 409 `no_agent` when none fits.
    """
    if not transitions.leads(actor):
        raise NotAllowed("Only an operator or a lead may do this.")
    task = transitions.lock(actor, code)
    _refuse_not_now(task)
    found = candidates.candidates(task)
    wanted = agent or task.assignee
    chosen = _named(found, wanted) if wanted else _best(found, by_hand=actor.is_person)
    given = Handed(
        branch=_branch(chosen.agent, task), model=model_for(chosen.agent, task),
        way=chosen.ways[0], seconds=settings.HAND_OVER_SECONDS, reason=_why(chosen, asked=wanted is not None),
    )  # fmt: skip
    session = transitions.hand(actor, task, chosen.agent, given)
    session.context_provided = shapes.briefing_of(task)
    session.save(update_fields=["context_provided"])
    return HandedOver(task, session, given.way, chosen)


@log.verb
def move(
    actor: Actor, code: str, status: str, *, before: str = "", after: str = "", reason: str = "", fence: Fence = PLAIN,
    version: int | None = None,
) -> Task:  # fmt: skip
    """What the drop of a card means: on In progress it is processed, anywhere else it is `transitions.move`."""
    task = transitions.lock(actor, code)
    if status == IN_PROGRESS and task.status in transitions.MOVES["process"][0]:
        if version is not None:
            transitions.expect_version(actor, code, version)
        return process(actor, code).task
    return transitions.move(
        actor, code, status, before=before, after=after, reason=reason, fence=fence, version=version
    )


def _refuse_not_now(task: Task) -> None:
    if task.status not in transitions.MOVES["process"][0]:
        raise transitions.wrong_state(task, "process")
    if claiming.is_frozen():
        raise Refused("The fleet is frozen: thaw it first.", code="frozen")
    if task.venture.status != "active":
        raise Refused(f"The venture {task.venture.slug} is {task.venture.status}.", code="venture_inactive")
    if task.blockers_open:
        raise Refused(f"It waits for {task.blockers_open} unfinished.", code="dependencies_open")
    transitions.refuse_held_up(task)
    room = explain.wip_gate(task)
    if not room.open:
        raise Refused(room.sentence, code="wip_limit")
    transitions.refuse_unapproved(task)
    if handover.is_stale(task):
        raise Refused("It reads differently than what was approved: approve it anew.", code="approval_needed")


def _named(found: list[Candidate], wanted: Agent) -> Candidate:
    chosen = next((candidate for candidate in found if candidate.agent.pk == wanted.pk), None)
    if chosen is None:
        raise Refused(f"{wanted.slug} is new here: a person has to open its claim link first.", code="no_agent")
    if not chosen.able:
        raise NotAllowed(chosen.against, code="no_agent")
    return chosen


def _best(found: list[Candidate], *, by_hand: bool) -> Candidate:
    otherwise = " Press Start to work on it yourself." if by_hand else ""
    if not found:
        raise Refused(f"There is no agent yet.{otherwise}", code="no_agent")
    if not found[0].fit:
        raise Refused(f"No agent can take it now. The nearest: {found[0].against}{otherwise}", code="no_agent")
    return found[0]


def _why(chosen: Candidate, *, asked: bool) -> str:
    if asked:
        return f"{chosen.agent.slug} was asked for."
    return " ".join(reason.sentence for reason in chosen.reasons if reason.name in ("capabilities", "load", "success"))


def _branch(agent: Agent, task: Task) -> str:
    """The one that it has, since an attempt may have left work on it; anew when only we have named it so far."""
    ours = task.branch.startswith("agent/") and task.branch.endswith(f"-{task.code}")
    return task.branch if task.branch and (task.epoch or not ours) else branch_for(agent, task)


def branch_for(agent: Agent, task: Task) -> str:
    """`agent/<agent>-<title>-<code>`: letters, digits and dashes only, whatever the title holds."""
    title = slugify(task.title).replace("_", "-")[:TITLE_LETTERS].strip("-") or "task"
    return f"agent/{agent.slug.strip('-_')}-{title}-{task.code}"


def model_for(agent: Agent, task: Task) -> str:
    """By the instance's table of priorities, else the agent's own."""
    table: dict[str, Any] = settings.MODELS_BY_PRIORITY
    return str(table.get(PRIORITIES[task.priority]) or agent.model)[:120]


# ── waiting for the claim ───────────────────────────────────────────────────────────────────────────────────────────


def hand_on() -> int:
    """Chore: hand-overs that nobody acknowledged go on by the next way, and after the last one back to the queue."""
    waiting = Task.objects.filter(handed_until__isnull=False)
    due = list(waiting.filter(handed_until__lte=Now()).order_by("handed_until").values_list("pk", flat=True)[:PAGE])
    called = waiting.filter(handed_by="webhook", handed_until__gt=Now()).order_by("pk")
    rows = called.values_list("pk", "code", "assignee__slug")[:PAGE]
    due += [pk for pk, code, slug in rows if _was_refused(code, slug)]
    return sum(_next_way(pk) for pk in due)


@log.verb
def _next_way(pk: int) -> bool:
    """Decides again under the row's lock, by the database's clock."""
    task = Task.objects.filter(pk=pk, handed_until__isnull=False).locked(skip=True).first()
    if task is None or task.assignee is None or task.handed_until is None:
        return False
    if claiming.is_frozen():  # nobody can claim: the waiting begins anew with the thaw
        later = task.db_now + timedelta(seconds=settings.HAND_OVER_SECONDS)
        Task.objects.filter(pk=pk).update(handed_until=later)
        return False
    if task.handed_until > task.db_now and not (
        task.handed_by == "webhook" and _was_refused(task.code, task.assignee.slug)
    ):
        return False
    agent = task.assignee
    left = _ways_left(task, agent, task.db_now)
    if left:
        transitions.hand_on(system("dispatch"), task, left[0], settings.HAND_OVER_SECONDS)
    else:
        transitions.hand_back(system("dispatch"), task)
    return True


TOLD = ("task.processed", "task.dispatched")


def _ways_left(task: Task, agent: Agent, moment: datetime) -> list[str]:
    hooked = Webhook.objects.filter(agent=agent.slug, enabled=True).exists()
    ways = candidates.ways_to(agent, hooked, moment)
    return [way for way in ways if HAND_OVER_WAYS.index(way) > HAND_OVER_WAYS.index(task.handed_by)]


def ways_of(task: Task) -> list[tuple[str, str]]:
    """The ways of the hand-over that waits for its claim, in order: each `tried`, `now` or `next`. [] when none waits."""
    if task.handed_until is None or task.assignee is None:
        return []
    tried: list[str] = []
    for line in Activity.objects.filter(task=task.code, kind__in=TOLD).order_by("-seq")[: len(HAND_OVER_WAYS)]:
        first = line.kind == "task.processed"
        tried.insert(0, line.data["via"] if first else line.data["after"]["via"])
        if first:
            break
    left = _ways_left(task, task.assignee, log.now())
    return [*((way, "tried") for way in tried[:-1]), (task.handed_by, "now"), *((way, "next") for way in left)]


def _was_refused(code: str, slug: str) -> bool:
    """Whether the first call of the agent's webhook with this hand-over has failed: there is no use in waiting for it."""
    lines = Activity.objects.filter(task=code, kind="task.processed").order_by("-seq")
    seq = lines.values_list("seq", flat=True).first() or 0
    # `seq > 0` is in the index of what was sent once: without it each look would read all deliveries.
    sent = Delivery.objects.filter(webhook__agent=slug, seq=seq, seq__gt=0)
    return sent.filter(tries__gt=0, state__in=("pending", "dead")).exists()
