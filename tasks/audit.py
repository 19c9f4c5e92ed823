"""What a line of the log says was before and is after. Not: the call (audit_api.py), lines as sentences (feed.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q

from mission_control.figures import dollars
from mission_control.models import Activity
from tasks.pages.feed import FIELD_WORDS, Line, line
from tasks.vocabulary import PRIORITIES, STATUSES

TOLD = Q(data__has_any_keys=["before", "after"]) | ~Q(status_from=F("status_to"))  # lines that changed something

LONG, LONG_LINES = 200, 7  # characters and lines that fit into what the page shows of a value, on a telephone as well
WORDS: dict[str, Mapping[Any, str]] = {"status": STATUSES, "priority": PRIORITIES}


def changes(entry: Activity) -> list[dict[str, Any]]:
    """Field by field what a line of the log changed; a value is null where there was none."""
    found = {side: entry.data.get(side) for side in ("before", "after")}
    before, after = (value if isinstance(value, dict) else {"value": value} for value in found.values())
    if entry.status_from != entry.status_to:
        before, after = {**before, "status": entry.status_from or None}, {**after, "status": entry.status_to or None}
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return [{"field": name, "before": before.get(name), "after": after.get(name)} for name in names]


@dataclass(frozen=True)
class Change:
    """One field as a person reads it; "" where there was or is nothing."""

    field: str
    before: str
    after: str

    @property
    def long(self) -> bool:
        """Whether a value may be higher than what is shown of it, so that it has to be scrolled."""
        return any(len(value) > LONG or value.count("\n") >= LONG_LINES for value in (self.before, self.after))


@dataclass(frozen=True)
class AuditLine:
    line: Line
    changes: list[Change]


def audit_line(entry: Activity) -> AuditLine:
    told = [
        Change(FIELD_WORDS.get(name, name.replace("_", " ")), _read(name, one["before"]), _read(name, one["after"]))
        for one in changes(entry)
        if (name := one["field"])
    ]
    return AuditLine(line(entry), [change for change in told if change.before or change.after])


def _read(name: str, value: Any) -> str:
    words = WORDS.get(name)
    if words and isinstance(value, (str, int)) and value in words:
        return words[value]
    if name.endswith("_micro_usd") and isinstance(value, int):
        return dollars(value)
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return str(value) if isinstance(value, (str, int)) else json.dumps(value, ensure_ascii=False, indent=2)
