"""What the floor is told about the words of tasks: which kinds there are, which lines mean work for an agent."""

from __future__ import annotations

from mission_control import deliveries, webhooks
from mission_control.models import Activity
from tasks.vocabulary import ASSIGNED, KINDS


def register() -> None:
    """Tell the floor. Called once, when the app is ready."""
    webhooks.known_kinds = KINDS
    deliveries.assigns = assigns


def assigns(line: Activity) -> bool:
    """Whether the task came to rest with its assignee by this line, or was handed from another one to it."""
    if line.status_to != ASSIGNED:
        return False
    return line.status_from != ASSIGNED or "assignee" in line.data.get("after", {})
