"""What the floor is told about the words of tasks: which kinds there are, which lines mean work for an agent."""

from __future__ import annotations

from collections.abc import Sequence

from agents.models import Agent
from mission_control import loops
from mission_control.models import Activity
from mission_control.outbound import deliveries, webhooks
from tasks.vocabulary import ASSIGNED, KINDS


def register() -> None:
    """Tell the floor. Called once, when the app is ready."""
    webhooks.known_kinds = KINDS
    deliveries.assigns = assigns
    loops.called_by = called_by


def assigns(line: Activity) -> bool:
    """Whether the task came to rest with its assignee by this line, or was handed from another one to it."""
    if line.status_to != ASSIGNED:
        return False
    return line.status_from != ASSIGNED or "assignee" in line.data.get("after", {})


def called_by(line: Activity) -> Sequence[str]:
    """The agents that a line calls to work: who is assigned, and whom a comment mentions."""
    if line.kind == "comment.added":
        named = line.data["mentions"]
        return list(Agent.objects.filter(slug__in=named).values_list("slug", flat=True)) if named else ()
    return (line.agent,) if line.agent and assigns(line) else ()
