"""One act on many tasks that a person has selected: each by its own verb, in a unit of its own, with its own answer.

Not: what each verb allows (transitions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mission_control.actors import Actor
from mission_control.errors import Invalid, Refused
from tasks import forms, transitions
from tasks.dispatching import dispatch
from tasks.vocabulary import CANCELLED, STATUSES

MOST = 200  # tasks in one act


@dataclass(frozen=True)
class Outcome:
    """What became of one of them; `refusal` is a sentence, "" when it was done."""

    code: str
    refusal: str = ""


def apply(actor: Actor, codes: Sequence[str], act: str, value: str) -> list[Outcome]:
    """Do it to each, in this order; one that is refused holds up no other. Invalid: there is no such act, or too many."""
    if act not in ACTS:
        raise Invalid({"act": f"Use one of: {', '.join(ACTS)}."})
    if not 1 <= len(codes) <= MOST:
        raise Invalid({"codes": f"Give between 1 and {MOST} tasks."})
    return [_one(actor, code, act, value) for code in dict.fromkeys(codes)]


def _one(actor: Actor, code: str, act: str, value: str) -> Outcome:
    try:
        ACTS[act](actor, code, value)
    except Refused as refusal:
        return Outcome(code, refusal.sentence)
    return Outcome(code)


def _edit(field: str) -> Callable[[Actor, str, str], object]:
    def act(actor: Actor, code: str, value: str) -> object:
        return transitions.edit(actor, code, lambda task: forms.changes(task, {field: value}))

    return act


def _move(actor: Actor, code: str, value: str) -> object:
    if value not in STATUSES:
        raise Invalid({"status": "Unknown status."})
    return dispatch.move(actor, code, value)


# assign: a slug, "" for nobody; priority: a word; tag, untag: one tag; move: a status; cancel: the reason, or "".
ACTS: dict[str, Callable[[Actor, str, str], object]] = {
    "assign": _edit("assignee"),
    "priority": _edit("priority"),
    "tag": _edit("add_tag"),
    "untag": _edit("remove_tag"),
    "move": _move,
    "cancel": lambda actor, code, value: transitions.move(
        actor, code, CANCELLED, reason=forms.reason({"reason": value})
    ),
}
