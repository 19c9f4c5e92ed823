"""What of the log each caller may see: one rule for the REST list and for every live door.

People and admin keys see everything. An agent sees the ventures that are open to all or that it joined, what concerns
itself, and the fleet. The app that knows agents stands to the right of this one: it sets `ventures_of` when it is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Q

from mission_control.actors import Actor

# The slugs of the ventures an agent sees. Set by the app of agents.
agent_ventures: Callable[[Actor], frozenset[str]] = lambda actor: frozenset()  # noqa: E731


def sees_all(actor: Actor) -> bool:
    return not actor.is_agent or actor.can("admin")


def ventures_of(actor: Actor) -> frozenset[str] | None:
    """The slugs of the ventures whose lines the caller sees now; None means all. One query for an agent."""
    return None if sees_all(actor) else agent_ventures(actor)


def may_see(actor: Actor, ventures: frozenset[str] | None, line: Any) -> bool:
    """Whether the caller sees this line (Event or Activity). `ventures` as given by `ventures_of`."""
    if ventures is None:
        return True
    if line.venture:
        return line.venture in ventures or line.agent == actor.name
    return line.agent == actor.name or line.kind.startswith("fleet.")


def visible_lines(actor: Actor) -> Q:
    """The same rule as a filter on Activity."""
    ventures = ventures_of(actor)
    if ventures is None:
        return Q()
    return Q(agent=actor.name) | Q(venture__in=ventures) | Q(venture="", kind__startswith="fleet.")


def changes_sight(actor: Actor, line: Any) -> bool:
    """Whether this line may have changed what an agent sees."""
    return line.kind.startswith("venture.") or (line.kind.startswith("agent.") and line.agent == actor.name)
