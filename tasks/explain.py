"""Why a task is not moving: the ordered gates between it and an agent. Only reads; the claim itself decides anew.

A gate is open or shut; a shut one says what it waits for and names the one action that opens it. The gates are those of
claiming.py: when all of them are open, a claim by that agent goes through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Value
from django.db.models.functions import Now

from agents.models import Agent
from agents.roster import state_of
from mission_control.actors import Actor
from mission_control.models import Fleet
from tasks import approvals, handover
from tasks.models import Session, Task
from tasks.vocabulary import (
    ASSIGNED,
    BLOCKED,
    CANCELLED,
    COLUMNS,
    DONE,
    FAILED,
    IN_PROGRESS,
    INBOX,
    PAUSED,
    READY,
    REVIEW,
    STATUSES,
    WAYS,
)

API = "/api/v1"
NAMED = 8  # prerequisites named one by one, names listed in a sentence
COUNTED = 1000  # a place in the queue is counted up to here
LONG = 300  # letters quoted of what somebody wrote
BLOCK_WORDS = {
    "needs_input": "needs an answer",
    "dependency": "waits for something outside",
    "capability": "needs a skill that nobody here has",
    "transient": "waits for something to pass",
}


@dataclass(frozen=True)
class Action:
    """The one step that opens a gate: words for a button, and the call that does it. `body` is what to send with it."""

    label: str
    verb: str
    method: str
    url: str
    body: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Gate:
    """`until` is the time when it opens or changes by itself, where there is one."""

    name: str
    open: bool
    sentence: str
    action: Action | None = None
    until: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gates(task: Task, agent: Agent | None = None, *, viewer: Actor | None = None) -> list[Gate]:
    """The gates in the order in which a claim meets them; never empty. A handful of queries, whatever the size.

    `agent`: seen from this agent; without, from the whole fleet. `viewer`: the titles of prerequisites that this
    caller may not see are left out. Work in hand and finished work have one gate, their status.
    """
    fleet = Fleet.objects.annotate(moment=Now()).get(pk=1)
    moment: datetime = fleet.moment
    status = _status_gate(task, moment)
    if task.status in (IN_PROGRESS, REVIEW, DONE, CANCELLED):
        return [status]
    found = [_venture_gate(task), _fleet_gate(fleet)]
    if task.status != BLOCKED or task.blocked_reason or not task.blockers_open:
        found.append(status)
    found += _dependency_gates(task, viewer)
    if task.needs_approval:
        found.append(_approval_gate(task, agent))
    if task.not_before:
        found.append(_back_off_gate(task, moment))
    found += _agent_gates(task, agent, moment) if agent else _fleet_gates(task, moment)
    return found


def waits_for(task: Task, agent: Agent | None = None) -> str:
    """One sentence: what an unfinished task waits for."""
    found = gates(task, agent)
    return next((gate.sentence for gate in found if not gate.open), found[-1].sentence)


# ── venture, fleet, status ──────────────────────────────────────────────────────────────────────────────────────────


def _venture_gate(task: Task) -> Gate:
    venture = task.venture
    if venture.status == "active":
        return Gate("venture", True, f"{venture.name} is active.")
    action = Action(
        f"Activate {venture.name}", "change", "PATCH", f"{API}/ventures/{venture.slug}", {"status": "active"}
    )
    return Gate("venture", False, f"{venture.name} is {venture.status}: it offers no task.", action)


def _fleet_gate(fleet: Fleet) -> Gate:
    if not fleet.frozen_at:
        return Gate("freeze", True, "The fleet is not frozen.")
    sentence = f"The fleet is frozen by {fleet.frozen_by} since {_clock(fleet.frozen_at)}{_quoted(fleet.frozen_reason)}"
    return Gate("freeze", False, sentence, Action("Thaw the fleet", "thaw", "POST", f"{API}/fleet/thaw"))


def _status_gate(task: Task, moment: datetime) -> Gate:
    sentence, until = _standing(task, moment)
    is_open = task.status == READY or (task.status == ASSIGNED and task.assignee_id is not None)
    return Gate("status", is_open, sentence, None if is_open else _way_on(task), until)


def _standing(task: Task, moment: datetime) -> tuple[str, datetime | None]:
    """What the status says about the task, and when that changes by itself."""
    status = task.status
    if status == IN_PROGRESS:
        return _held(task, moment)
    if status == FAILED:
        last = _last_error(task)
        return f"It failed {_times(task.failures)} and waits for a person{_quoted(last)}", None
    if status == BLOCKED and task.blocked_reason:
        word = BLOCK_WORDS.get(task.blocked_kind, "is held up")
        return f"It is blocked and {word}{_quoted(task.blocked_reason)}", None
    if status == PAUSED:
        return f"It is paused{_quoted(task.paused_reason)}", None
    if status == ASSIGNED and task.handed_until and task.assignee:
        by = f"It was handed to {task.assignee.slug} by {WAYS[task.handed_by]}"
        return f"{by} and waits for the claim until {_clock(task.handed_until)}.", task.handed_until
    if status == ASSIGNED:
        whose = f"It is meant for {task.assignee.slug}." if task.assignee else "It is assigned, but to nobody yet."
        return whose, None
    return {
        INBOX: "It is in the inbox: somebody has to sort it and release it.",
        READY: "It is ready: any agent that fits may claim it.",
        BLOCKED: "It is blocked, and nothing is left that it waits for.",
        REVIEW: "It was handed in and waits for a verdict.",
        DONE: "It is done.",
        CANCELLED: "It was cancelled.",
    }[status], None


def _held(task: Task, moment: datetime) -> tuple[str, datetime | None]:
    if task.held_by_id:
        since = f" since {_clock(task.session_locked_at)}" if task.session_locked_at else ""
        return f"{task.held_by.get_username()} works on it by hand{since}.", None  # type: ignore[union-attr]
    holder, until = task.holder.slug if task.holder else "An agent", task.lease_expires_at
    if until is None or until > moment:
        return f"{holder} works on it: its lease (epoch {task.epoch}) lasts until {_clock(until)}.", until
    return f"The lease of {holder} ran out at {_clock(until)}: the next sweep takes the task back.", until


def _last_error(task: Task) -> str:
    ended = Session.objects.filter(task=task, type="primary", state="failed").order_by("-id")
    return ended.values_list("error", flat=True).first() or ""


def _way_on(task: Task) -> Action | None:
    """The one action that takes a task on from the status it stands in; None while others work on that."""
    url = f"{API}/tasks/{task.code}"
    steps = {
        INBOX: Action("Release it to the queue", "move", "PUT", f"{url}/move", {"status": READY}),
        ASSIGNED: Action("Choose an assignee", "edit", "PATCH", url, {"assignee": ""}),
        IN_PROGRESS: Action("Take it back", "release", "POST", f"{url}/release"),
        PAUSED: Action("Resume it", "resume", "POST", f"{url}/resume"),
        BLOCKED: Action("Answer and unblock it", "unblock", "POST", f"{url}/unblock", {"answer": ""}),
        REVIEW: Action("Accept it", "accept", "POST", f"{url}/accept"),
        FAILED: Action("Retry it", "retry", "POST", f"{url}/retry"),
        DONE: Action("Reopen it", "reopen", "POST", f"{url}/reopen"),
        CANCELLED: Action("Reopen it", "reopen", "POST", f"{url}/reopen"),
    }
    return steps.get(task.status)


# ── what it waits for ───────────────────────────────────────────────────────────────────────────────────────────────


def _dependency_gates(task: Task, viewer: Actor | None) -> list[Gate]:
    """One shut gate for each open prerequisite, those that will not open by themselves first."""
    if not task.blockers_open:
        return [Gate("dependencies", True, "It waits for no other task.")]
    prerequisites = Task.objects.filter(dependants__task=task).exclude(status=DONE)
    prerequisites = prerequisites.select_related("venture", "assignee", "holder", "held_by")
    before = sorted(prerequisites.order_by("pk")[:100], key=lambda other: other.status not in (FAILED, CANCELLED))
    seen: set[int] | None = None
    if viewer is not None:
        seen = set(Task.objects.visible_to(viewer).filter(pk__in=[o.pk for o in before]).values_list("pk", flat=True))
    named = [_prerequisite_gate(other, seen is None or other.pk in seen) for other in before[:NAMED]]
    left = task.blockers_open - len(named)
    if left > 0:
        named.append(Gate("dependency", False, f"It waits for {left} more."))
    return named


def _prerequisite_gate(other: Task, visible: bool) -> Gate:
    whose = f" ({other.holder.slug})" if visible and other.holder else ""
    title = f" “{_cut(other.title, 80)}”" if visible else ""
    state = {
        FAILED: "which failed and will not be done until somebody retries it",
        CANCELLED: "which was cancelled and will never be done as it is",
    }.get(other.status, f"which is {STATUSES[other.status].lower()}{whose}")
    action: Action | None = Action(f"See why {other.code} is not done", "why", "GET", f"{API}/tasks/{other.code}/why")
    if other.status in (FAILED, CANCELLED, PAUSED, REVIEW, INBOX) or (other.status == BLOCKED and other.blocked_reason):
        step = _way_on(other)
        assert step is not None
        label = step.label.replace(" it", f" {other.code}", 1)
        action = Action(label, step.verb, step.method, step.url, step.body)
    return Gate("dependency", False, f"It waits for {other.code}{title}, {state}.", action if visible else None)


def _approval_gate(task: Task, agent: Agent | None) -> Gate:
    said = "It waits for an operator to approve what will be read." if task.awaits_approval else ""
    if not said and agent:
        said = approvals.refusal(task, agent)
    elif not said and handover.is_stale(task):
        said = "What an agent will read has changed since it was approved: it has to be approved anew."
    if not said:
        return Gate("approval", True, f"{task.approved_by} approved it at {_clock(task.approved_at)}.")
    url = f"{API}/tasks/{task.code}/approve"
    return Gate(
        "approval", False, said, Action("Read and approve it", "approve", "POST", url, {"hash": handover.digest(task)})
    )


def _back_off_gate(task: Task, moment: datetime) -> Gate:
    until = task.not_before
    assert until is not None
    if until <= moment:
        return Gate(
            "back_off", False, "Its pause after a failure is over: it is offered again in a moment.", None, until
        )
    sentence = f"It failed {_times(task.failures)} and is offered again at {_clock(until)}."
    return Gate("back_off", False, sentence, None, until)


# ── seen from one agent ─────────────────────────────────────────────────────────────────────────────────────────────


def _agent_gates(task: Task, agent: Agent, moment: datetime) -> list[Gate]:
    joined = agent.ventures.filter(pk=task.venture_id).exists()
    found = [_claimed_gate(agent), _assignee_gate(task, agent), *standing_gates(task, agent, joined), wip_gate(task)]
    held = Task.objects.leased_to(agent).count() if agent.max_concurrent else 0
    found.append(_capacity_gate(agent, held))
    if task.offered:
        found.append(Gate("queue", True, f"Place {_place(task)} in its queue: {agent.slug} may claim it."))
    return [gate for gate in found if gate is not None]


def standing_gates(task: Task, agent: Agent, joined: bool) -> list[Gate]:
    """What lies between this agent and this task whoever it is meant for, and whatever the agent does now."""
    return [_skills_gate(task, agent), _joined_gate(task, agent, joined)]


def _claimed_gate(agent: Agent) -> Gate | None:
    if agent.claimed_at:
        return None
    return Gate("agent", False, f"{agent.slug} is new here: a person has to open its claim link first.")


def _assignee_gate(task: Task, agent: Agent) -> Gate:
    if task.assignee is None:
        return Gate("assignee", True, "It is meant for nobody in particular.")
    if task.assignee_id == agent.pk:
        return Gate("assignee", True, f"It is meant for {agent.slug}.")
    return Gate("assignee", False, f"It is meant for {task.assignee.slug}, not for {agent.slug}.", _assign(task, agent))


def _assign(task: Task, agent: Agent) -> Action:
    return Action(f"Assign it to {agent.slug}", "edit", "PATCH", f"{API}/tasks/{task.code}", {"assignee": agent.slug})


def _skills_gate(task: Task, agent: Agent) -> Gate:
    wanted = sorted(set(task.required_capabilities))
    if not wanted:
        return Gate("capabilities", True, "It asks for no special skill.")
    missing = sorted(set(wanted) - set(agent.capabilities))
    if not missing:
        return Gate("capabilities", True, f"It needs {_listed(wanted)}: {agent.slug} has it.")
    action = Action(
        f"Give {agent.slug} the skill", "change", "PATCH", f"{API}/agents/{agent.slug}",
        {"capabilities": sorted({*agent.capabilities, *missing})},
    )  # fmt: skip
    return Gate("capabilities", False, f"It needs {_listed(missing)}, which {agent.slug} does not have.", action)


def _joined_gate(task: Task, agent: Agent, joined: bool) -> Gate:
    venture = task.venture
    if venture.open_to_all:
        return Gate("joined", True, f"{venture.name} is open to every agent.")
    if joined:
        return Gate("joined", True, f"{agent.slug} has joined {venture.name}.")
    return Gate("joined", False, f"{agent.slug} has not joined {venture.name}.", _join(task, agent))


def _join(task: Task, agent: Agent) -> Action:
    slug = task.venture.slug
    return Action(
        f"Let {agent.slug} join {task.venture.name}", "join", "POST", f"{API}/ventures/{slug}/join",
        {"agent": agent.slug},
    )  # fmt: skip


def wip_gate(task: Task) -> Gate:
    venture, limit = task.venture, task.venture.wip_limits.get("in_progress")
    label = COLUMNS["in_progress"][0]
    if limit is None:
        return Gate("wip_limit", True, f"{venture.name} has no limit on “{label}”.")
    count = Task.objects.filter(venture=venture, status=IN_PROGRESS).count()
    if count < limit:
        return Gate("wip_limit", True, f"“{label}” of {venture.name} has room: {count} of {limit}.")
    action = Action(
        "Raise the limit", "change", "PATCH", f"{API}/ventures/{venture.slug}",
        {"wip_limits": {**venture.wip_limits, "in_progress": count + 1}},
    )  # fmt: skip
    return Gate("wip_limit", False, f"“{label}” of {venture.name} is full: {count} of {limit}.", action)


def _capacity_gate(agent: Agent, held: int) -> Gate:
    limit = agent.max_concurrent
    if not limit:
        return Gate("capacity", True, f"{agent.slug} has no limit on tasks at once.")
    if held < limit:
        return Gate("capacity", True, f"{agent.slug} has room: it holds {held} of {limit}.")
    action = Action("Raise its limit", "change", "PATCH", f"{API}/agents/{agent.slug}", {"max_concurrent": held + 1})
    return Gate("capacity", False, f"{agent.slug} holds {_tasks(held)}, its limit is {limit}.", action)


# ── seen from the whole fleet ───────────────────────────────────────────────────────────────────────────────────────


def fleet_of(task: Task) -> list[Agent]:
    """All claimed agents, each with `joined`: whether it belongs to the task's venture. One statement."""
    joined = Exists(Agent.ventures.through.objects.filter(agent=OuterRef("pk"), venture=task.venture_id))
    fleet = Agent.objects.filter(claimed_at__isnull=False)
    return list(fleet.annotate(joined=Value(True) if task.venture.open_to_all else joined))


def _fleet_gates(task: Task, moment: datetime) -> list[Gate]:
    """Narrows the fleet down gate by gate: whose it is, who has the skills, who joined, who has room."""
    agents = fleet_of(task)
    found: list[Gate] = []
    if task.assignee_id:
        agents = [agent for agent in agents if agent.pk == task.assignee_id]
        if task.status != ASSIGNED:  # there the status says it already
            found.append(Gate("assignee", True, f"It is meant for {task.assignee.slug}."))  # type: ignore[union-attr]
    skilled, gate = _who_has_the_skills(task, agents)
    found.append(gate)
    fit, gate = _who_joined(task, skilled)
    found += [gate, wip_gate(task)]
    if fit:
        found.append(_who_has_room(task, fit, moment))
    return found


def _who_has_the_skills(task: Task, agents: Sequence[Agent]) -> tuple[list[Agent], Gate]:
    wanted = set(task.required_capabilities)
    skilled = [agent for agent in agents if wanted <= set(agent.capabilities)]
    if not agents:
        if task.assignee:
            return [], Gate("agent", False, f"{task.assignee.slug} waits for a person to open its claim link.")
        action = Action("Connect an agent", "create", "POST", f"{API}/agents", {"name": ""})
        return [], Gate("agent", False, "There is no agent yet.", action)
    if not wanted:
        return skilled, Gate("capabilities", True, "It asks for no special skill.")
    needs = _listed(sorted(wanted))
    if skilled:
        names = _listed([agent.slug for agent in skilled])
        return skilled, Gate("capabilities", True, f"It needs {needs}: {names} {_plural(skilled, 'has', 'have')} it.")
    action = Action("Change what it needs", "edit", "PATCH", f"{API}/tasks/{task.code}", {"required_capabilities": []})
    if task.assignee:
        sentence = f"It needs {needs}, which {task.assignee.slug} does not have."
    else:
        sentence = f"It needs {needs}, and no agent has it."
    return [], Gate("capabilities", False, sentence, action)


def _who_joined(task: Task, agents: list[Agent]) -> tuple[list[Agent], Gate]:
    venture = task.venture
    if venture.open_to_all:
        return agents, Gate("joined", True, f"{venture.name} is open to every agent.")
    inside = [agent for agent in agents if agent.joined]  # type: ignore[attr-defined]
    if inside:
        names = _listed([agent.slug for agent in inside])
        return inside, Gate("joined", True, f"{names} {_plural(inside, 'has', 'have')} joined {venture.name}.")
    action = _join(task, agents[0]) if agents else None
    return [], Gate("joined", False, f"No agent that fits has joined {venture.name}.", action)


def _who_has_room(task: Task, fit: list[Agent], moment: datetime) -> Gate:
    """The last gate: an agent has to come. Shut when none that fits is there with room for it."""
    held: dict[int, int] = dict(
        Task.objects.filter(status=IN_PROGRESS, holder__in=[agent.pk for agent in fit])
        .values_list("holder").annotate(n=Count("pk"))
    )  # fmt: skip
    states = {agent.pk: state_of(agent, held.get(agent.pk, 0), moment) for agent in fit}
    roomy = [agent for agent in fit if not agent.max_concurrent or held.get(agent.pk, 0) < agent.max_concurrent]
    there = [agent for agent in roomy if states[agent.pk] != "offline"]
    available = sum(states[agent.pk] == "available" for agent in roomy)
    if not there:
        alone, full = len(fit) == 1, len(roomy) < len(fit)
        who = f"{fit[0].slug}, the only one that fits," if alone else f"{len(fit)} fit, but none"
        return Gate("agent", False, f"Waiting for an agent: {who} {_absent(alone, full)}.")
    place = f", place {_place(task)} in its queue" if task.offered else ""
    sentence = f"Waiting for an agent: {len(fit)} {_plural(fit, 'fits', 'fit')}, {available} available{place}."
    return Gate("agent", True, sentence)


def _absent(alone: bool, full: bool) -> str:
    if alone:
        return "is at its limit" if full else "is offline"
    return "is online with room for it" if full else "is online"


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _place(task: Task) -> str:
    """Its place among those that the same agents may take, counted along the index of the queue."""
    queue = Task.objects.filter(lane=task.lane_id).offered().filter(sort_key__lte=task.sort_key)
    earlier = queue.exclude(sort_key=task.sort_key, pk__gte=task.pk)
    ahead = earlier.order_by("sort_key", "id")[:COUNTED].count()
    return f"{ahead + 1}" if ahead < COUNTED else f"over {COUNTED}"


def _clock(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _quoted(text: str) -> str:
    """`: what somebody wrote.`, or only the full stop."""
    text = _cut(text, LONG)
    if not text:
        return "."
    return f": {text}" if text.endswith((".", "!", "?", "…")) else f": {text}."


def _listed(names: Sequence[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _plural(things: Sequence[Any], one: str, many: str) -> str:
    return one if len(things) == 1 else many


def _tasks(n: int) -> str:
    return f"{n} task" if n == 1 else f"{n} tasks"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
