"""How things look in a terminal: text without what steers one, tables, one task, one line of the log. Not: what is shown."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from typing import Any

# What a terminal obeys, and what turns the order of what is read: C0, DEL, C1, marks of direction, tags.
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
SIGNS = {
    "inbox": "·", "ready": "○", "assigned": "◌", "in_progress": "●", "review": "◆", "blocked": "■", "paused": "‖",
    "done": "✓", "failed": "✗", "cancelled": "–",
}  # fmt: skip
COLUMNS = ("id", "status", "priority", "holder", "venture", "title")


def clean(text: Any) -> str:
    """Text as it is, lines kept, without what steers a terminal."""
    return STEERING.sub("", str(text))


def line(text: Any) -> str:
    """The same in one line."""
    return " ".join(clean(text).split())


def as_json(value: Any) -> str:
    """JSON that is safe to look at: what steers a terminal is spelled out."""
    return _spelled(json.dumps(value, ensure_ascii=False, indent=2))


def as_json_line(value: Any) -> str:
    return _spelled(json.dumps(value, ensure_ascii=False))


def _spelled(said: str) -> str:
    return STEERING.sub(lambda found: json.dumps(found[0])[1:-1], said)


def width(text: str) -> int:
    """How many places it takes in a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, places: int) -> str:
    """At most so many places, the end left out visibly."""
    if width(text) <= places:
        return text
    kept = ""
    for character in text:
        if width(kept + character) > places - 1:
            break
        kept += character
    return kept + "…"


def padded(text: str, places: int) -> str:
    return text + " " * max(0, places - width(text))


def table(rows: list[dict[str, Any]], columns: tuple[str, ...], places: int = 0) -> str:
    """Columns under their names; the last one takes what is left of the line (`places`; 0: of this terminal)."""
    cells = [[line("" if row.get(name) is None else row[name]) for name in columns] for row in rows]
    heads = [name.replace("_", " ") for name in columns]
    wide = [min(30, max(width(each[n]) for each in [heads, *cells])) for n in range(len(columns) - 1)]
    left = max(20, (places or shutil.get_terminal_size((120, 24)).columns) - sum(wide) - 2 * len(wide))
    lines = [
        "  ".join([*(padded(cut(each[n], wide[n]), wide[n]) for n in range(len(wide))), cut(each[-1], left)]).rstrip()
        for each in [heads, *cells]
    ]
    return "\n".join(lines)


def tasks(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No tasks."
    marked = [
        {
            **row,
            "status": f"{SIGNS.get(row['status'], '?')} {row['status']}",
            "holder": row["holder"] or row["assignee"],
        }
        for row in rows
    ]
    return table(marked, COLUMNS).replace("holder", "agent ", 1)


def task(told: dict[str, Any]) -> str:
    """One task in full: what is empty is left out."""
    facts = [
        ("status", _with(told["status"], told.get("blocked_reason") or told.get("paused_reason"))),
        ("priority", told["priority"]),
        ("venture", told["venture"]),
        ("assignee", told["assignee"]),
        ("held by", told["holder"] or told["held_by"]),
        ("lease until", told["lease_expires_at"]),
        ("progress", _with(_percent(told["progress_percent"]), told["progress_step"])),
        ("waits for", ", ".join(told["depends_on"])),
        ("needs", ", ".join(told["required_capabilities"])),
        ("tags", ", ".join(told["tags"])),
        ("deadline", told["deadline"]),
        ("branch", told["branch"]),
        ("cost", f"{told['actual_cost']} USD, {told['tokens_used']} tokens" if told["tokens_used"] else ""),
        ("deliverables", told["deliverable_count"] or ""),
        ("failures", told["failures"] or ""),
    ]
    lines = [f"{told['id']}  {line(told['title'])}", *(f"  {name:<13}{line(value)}" for name, value in facts if value)]
    for text in (told["description"], told["completion_summary"]):
        if text:
            lines += ["", *(f"  {each}" for each in clean(text).splitlines())]
    return "\n".join(lines)


def gates(told: list[dict[str, Any]]) -> str:
    lines = []
    for gate in told:
        lines.append(f"{'✓' if gate['open'] else '✗'} {line(gate['sentence'])}")
        if not gate["open"] and gate.get("action"):
            lines.append(f"  → {line(gate['action']['label'])}")
    return "\n".join(lines)


def event(told: dict[str, Any]) -> str:
    where = told.get("task") or told.get("agent") or told.get("venture") or ""
    at = str(told.get("at", ""))[11:19]
    said = told.get("message") or told.get("title") or ""
    return cut(
        f"{at} {told.get('seq', ''):>6}  {padded(line(told.get('kind', '')), 22)} {padded(line(where), 9)} {line(said)}",
        400,
    ).rstrip()


def _with(value: Any, more: Any) -> str:
    return f"{value}: {more}" if value and more else str(value or more or "")


def _percent(value: int | None) -> str:
    return "" if value is None else f"{value} %"
