"""How a person opens a shut gate from the page of a task. Not: the gates and what opens them (explain.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mission_control.actors import Actor
from tasks.explain import API, Action, Gate
from tasks.models import Task

OPENS_AS = {"move": "to-ready"}  # the button of the drawer that does what the action of a gate names
FIELDS = {"assignee": "assignee", "required_capabilities": "skills"}  # left to the person: where it is edited


@dataclass(frozen=True)
class Step:
    """The control beside a shut gate; exactly one of the four says what it does.

    `verb`: the name of a button of the drawer. `call`: method and address of the API, with `body`, sent as it stands.
    `task`: code of another task to open. `place`: an address, also of a place on this page.
    """

    label: str
    verb: str = ""
    call: str = ""
    body: str = ""
    task: str = ""
    place: str = ""


def step(actor: Actor, task: Task, gate: Gate) -> Step | None:
    """None where nothing opens it but time, or where the reader may not."""
    action = gate.action
    if action is None:
        return None
    own = f"{API}/tasks/{task.code}"
    if action.url.startswith(f"{API}/tasks/") and not (action.url == own or action.url.startswith(f"{own}/")):
        return Step(action.label, task=action.url.removeprefix(f"{API}/tasks/").split("/")[0])
    if not actor.can("operate"):
        return None
    if action.verb == "approve":
        return Step(action.label, place=f"#approval-{task.code}")
    if action.verb == "create":
        return Step(action.label, place="/agents")
    if open_field := _left_to_the_person(action):
        return Step(action.label, place=f"#{open_field}-{task.code}")
    if action.url.startswith(own) and action.verb != "edit":
        return Step(action.label, verb=OPENS_AS.get(action.verb, action.verb))
    return Step(action.label, call=f"{action.method} {action.url}", body=json.dumps(dict(action.body)))


def _left_to_the_person(action: Action) -> str:
    """The field that the action leaves empty."""
    return next((FIELDS[name] for name, value in action.body.items() if name in FIELDS and not value), "")
