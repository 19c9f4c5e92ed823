"""What lines of the log look like on the doors that show tasks and sessions as they are now. Not: the doors.

`v1` is for /api/v1/ws, `simple` for /api/ws and /api/events/stream. Each makes the messages of a whole batch with a
handful of statements; they run in a thread, once per process and batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mission_control import doors, live, log
from mission_control.live import Event
from tasks.models import Deliverable, Session, Task
from tasks.shapes import Around, session_shape, task_shape

Message = dict[str, Any]


def register() -> None:
    """Tell the floor. Called once, when the app is ready."""
    doors.shapes["v1"] = v1
    doors.shapes["simple"] = simple


class _Nouns:
    """The tasks, sessions and deliverables that a batch names, as they are now."""

    def __init__(self, events: Iterable[Event], *, bare: bool) -> None:
        self.bare = bare
        self.moment = log.now()
        events = [event for event in events if event.task or event.session]
        codes = {event.task for event in events if event.task}
        found = Task.objects.filter(code__in=codes).select_related("venture", "assignee", "holder", "held_by")
        self.tasks = {task.code: task for task in found}
        self.around = Around(self.tasks.values())
        keys = {event.session for event in events if event.session and _begins_or_ends(event)}
        self.sessions: dict[tuple[str, str], Session] = {}
        if keys:
            for session in (
                Session.objects.filter(key__in=keys).select_related("agent", "task", "parent").order_by("pk")
            ):
                code = session.task.code if session.task else ""
                self.sessions[code, session.key] = session  # the newest of a key that was used again
        numbers = [(e.task, e.data.get("number")) for e in events if e.kind == "deliverable.added"]
        self.deliverables: dict[tuple[str, int], Deliverable] = {}
        if numbers:
            rows = Deliverable.objects.filter(task__code__in={code for code, _ in numbers}).select_related("task")
            self.deliverables = {(row.task.code, row.number): row for row in rows}

    def task(self, event: Event) -> Message:
        """As it is now; of a deleted one what is left to say."""
        task = self.tasks.get(event.task)
        if task is None:
            return {"id": event.task, "title": event.title, "venture": event.venture, "deleted": True}
        return task_shape(task, self.around, self.moment, bare=self.bare)

    def session(self, event: Event) -> Message:
        session = self.sessions.get((event.task, event.session))
        if session is None:
            return {"id": event.session, "agent": event.agent, "task": event.task or None, **event.data}
        return session_shape(session)

    def deliverable(self, event: Event) -> Message:
        row = self.deliverables.get((event.task, event.data.get("number", 0)))
        description = row.description if row else ""
        return {"id": event.data.get("number"), "task": event.task, "description": description, **event.data}


def _begins_or_ends(event: Event) -> bool:
    return event.kind in ("session.started", "session.ended") or _begins_run(event) or _ends_run(event)


def _begins_run(event: Event) -> bool:
    return event.kind == "task.claimed"


def _ends_run(event: Event) -> bool:
    return event.status_from == "in_progress" and event.status_to != "in_progress" and bool(event.session)


def v1(events: list[Event]) -> list[list[Message]]:
    """`task:created|updated|deleted` with the task, `run:created|completed` with the session.

    A change that also begins or ends a run tells the run first, without the number: whoever loses the connection
    between the two gets both again.
    """
    nouns = _Nouns(events, bare=False)

    def message(name: str, data: Message, event: Event, *, numbered: bool = True) -> Message:
        number = {"seq": event.seq} if numbered else {}
        return {"type": name, "data": data, "timestamp": live.iso(event.at), **number}

    told: list[list[Message]] = []
    for event in events:
        parts: list[Message] = []
        if event.kind == "session.started":
            parts.append(message("run:created", nouns.session(event), event))
        elif event.kind == "session.ended":
            parts.append(message("run:completed", nouns.session(event), event))
        elif event.task:
            if _begins_run(event):
                parts.append(message("run:created", nouns.session(event), event, numbered=False))
            elif _ends_run(event):
                parts.append(message("run:completed", nouns.session(event), event, numbered=False))
            verb = {"task.created": "created", "task.deleted": "deleted"}.get(event.kind, "updated")
            parts.append(message(f"task:{verb}", nouns.task(event), event))
        told.append(parts)
    return told


def simple(events: list[Event]) -> list[list[Message]]:
    """One message for each line: `{"type", "payload", "seq"}`. What is not about a task is an activity_logged."""
    nouns = _Nouns(events, bare=True)
    told = []
    for event in events:
        name = _simple_type(event)
        told.append([{"type": name, "payload": _PAYLOADS[name](nouns, event), "seq": event.seq}])
    return told


def _simple_type(event: Event) -> str:
    kind, said = event.kind, event.data.get("activity_type")
    if kind == "session.started" or (kind == "activity.logged" and said == "spawned"):
        return "agent_spawned"
    if kind == "session.ended" or (kind == "activity.logged" and said == "completed"):
        return "agent_completed"
    if kind == "deliverable.added":
        return "deliverable_added"
    if kind in ("task.created", "task.deleted"):
        return kind.replace(".", "_")
    return "task_updated" if kind.startswith(("task.", "dependency.", "deliverable.", "plan.")) else "activity_logged"


def _of_agent(nouns: _Nouns, event: Event) -> Message:
    return nouns.session(event) if event.kind.startswith("session.") else live.as_json(event)


_PAYLOADS: dict[str, Callable[[_Nouns, Event], Message]] = {
    "agent_spawned": _of_agent,
    "agent_completed": _of_agent,
    "deliverable_added": _Nouns.deliverable,
    "task_created": _Nouns.task,
    "task_updated": _Nouns.task,
    "task_deleted": _Nouns.task,
    "activity_logged": lambda nouns, event: live.as_json(event),
}
