"""What people send about agents from the pages, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mission_control.actors import SCOPES
from mission_control.errors import Invalid

NAME, LABEL = 120, 120
OVERLAPS = {"": "stay", "24": "end in a day", "1": "end in an hour", "0": "end now"}  # hours → what the other keys do


def name(fields: Mapping[str, str]) -> str:
    given = " ".join(fields.get("name", "").split())
    if not given or "\x00" in given:
        raise Invalid({"name": "Give the agent a name."})
    if len(given) > NAME:
        raise Invalid({"name": f"At most {NAME} characters."})
    return given


def key(fields: Any) -> dict[str, Any]:
    """`scopes` and `label` of a new key."""
    scopes = [scope for scope in SCOPES if scope in fields.getlist("scopes")]
    label = " ".join(fields.get("label", "").split())[:LABEL].replace("\x00", "")
    if not scopes:
        raise Invalid({"scopes": "Choose what the key may do."})
    return {"scopes": scopes, "label": label}


def enrolment(fields: Any) -> dict[str, Any]:
    """What a new enrolment token is made of."""
    numbers = {}
    for name in ("hours", "most_uses"):
        given = fields.get(name, "").strip()
        if not (given.isascii() and given.isdigit() and len(given) < 6):
            raise Invalid({name: "Give a whole number."})
        numbers[name] = int(given)
    return {**key(fields), **numbers}


def overlap(fields: Any) -> int | None:
    """For how many hours the agent's other keys go on when this one takes their place; None: it does not."""
    given = fields.get("overlap_hours", "")
    if given not in OVERLAPS:
        raise Invalid({"overlap_hours": f"One of {', '.join(filter(None, OVERLAPS))}, or nothing."})
    return int(given) if given else None
