"""What people and agents log by hand about a task. Records activity.logged. Not: what the verbs record by themselves."""

from __future__ import annotations

from typing import Any

from mission_control import log, strict_json
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed
from mission_control.models import Activity
from tasks import leases, transitions
from tasks.leases import PLAIN, Fence
from ventures.models import Venture

TYPES = ("spawned", "updated", "completed", "file_created", "status_changed")


@log.verb
def write(
    actor: Actor,
    *,
    message: str,
    code: str = "",
    venture: Venture | None = None,
    activity_type: str = "updated",
    title: str = "",
    level: str = "info",
    metadata: dict[str, Any] | None = None,
    fence: Fence | None = None,
) -> Activity:
    """Log one line, about a task or about a venture or about nothing in particular. Returns it with its number.

    Needs no lease; one that is given is checked, and a live one is extended. Locks the task.
    """
    if activity_type not in TYPES:
        raise Invalid({"activity_type": f"Use one of: {', '.join(TYPES)}."})
    if not (actor.can("work") or actor.can("orchestrate") or actor.can("operate")):
        raise NotAllowed("This key only reads.", code="scope_missing")
    data = {"activity_type": activity_type, "metadata": _kept(metadata or {})}
    if not code:
        line = log.record(
            "activity.logged", actor, level=level, venture=venture.slug if venture else "",
            agent=actor.agent.slug if actor.agent else "", title=title, message=message, data=data,
        )  # fmt: skip
    else:
        task = transitions.lock(actor, code)
        held = leases.is_held(actor, task, fence or PLAIN)
        if fence is not None and not held:
            raise leases.lost(actor, task, fence)
        line = transitions.note(
            task, "activity.logged", actor, level=level, session=task.session_key if held else "", message=message,
            data=data,
        )  # fmt: skip
        if held:
            leases.extend(task)
    log.flush()
    return Activity.objects.get(pk=line.seq)


def _kept(metadata: dict[str, Any]) -> dict[str, Any] | str:
    """As the log keeps it, which holds no floats: where there are some, the JSON text, which readers are shown as JSON."""
    return strict_json.write(metadata).decode() if _has_floats(metadata) else metadata


def _has_floats(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_floats, value.values()))
    return any(map(_has_floats, value)) if isinstance(value, list) else isinstance(value, float)
