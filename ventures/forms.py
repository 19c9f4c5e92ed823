"""What people send about ventures from the pages, checked by the rules of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mission_control import strict_json
from mission_control.errors import Invalid
from mission_control.money import typed_decimal
from ventures.serializers import COLUMN_KEYS, VentureChange

TEXTS = ("name", "icon", "description", "status", "priority", "repo_url", "default_branch", "context_file", "workspace", "intake")  # fmt: skip
SWITCHES = ("review_required", "approval_required", "four_eyes", "open_to_all")


def name_and_icon(fields: Mapping[str, str]) -> dict[str, Any]:
    """Of a new venture. Without an icon it gets the usual one."""
    read = _read({name: _line(fields.get(name, "")) for name in ("name", "icon") if fields.get(name) or name == "name"})
    if not read.get("name"):
        raise Invalid({"name": "Give the venture a name."})
    return read


def settings(fields: Mapping[str, str]) -> tuple[dict[str, Any], int | None]:
    """What the form of a venture changes, whole, and the version that the person saw."""
    given: dict[str, Any] = {name: fields[name] for name in TEXTS if name in fields}
    given["description"] = given.get("description", "").replace("\r\n", "\n")
    given.update({name: bool(fields.get(name)) for name in SWITCHES})
    given["capital_budget"] = typed_decimal(fields.get("capital_budget", "")) or None
    given["max_failures"] = _whole("max_failures", fields)
    given["wip_limits"] = {key: _whole(f"wip_{key}", fields) for key in COLUMN_KEYS if fields.get(f"wip_{key}")}
    read = _read(given)
    read["capital_budget_micro_usd"] = read.pop("capital_budget")
    return read, _whole("version", fields)


def _read(given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if isinstance(value, str):
            strict_json.check_text(value, name)
    return VentureChange.read(given)


def _whole(name: str, fields: Mapping[str, str]) -> int | None:
    text = fields.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise Invalid({name: "Give a whole number."})
    return int(text)


def _line(text: str) -> str:
    return " ".join(text.split())
