"""What the title of a new task says of the task itself: `Fix login !high #shop @ada ~2h due tomorrow`. Writes nothing."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from mission_control.money import to_micro_usd
from tasks.vocabulary import PRIORITIES, PRIORITY_WORDS

SIGNS, DUE = "!#@~", "due"
TAG = re.compile(r"[^\W\d_](?:[\w.:/-]{0,48}\w)?")  # no digit first: "#4" is an issue of somebody else
HOURS = re.compile(r"([0-9]{1,6}(?:[.,][0-9]{1,2})?)(h|m|min)")
USD = re.compile(r"\$([0-9]{1,9}(?:[.,][0-9]{1,6})?)")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Line:
    """The title without what was understood, and what that was. `deadline` is UTC, the last minute of the day."""

    title: str
    priority: str = ""
    venture: str = ""
    assignee: str = ""
    tags: tuple[str, ...] = ()
    estimated_hours: Decimal | None = None
    estimated_cost_micro_usd: int | None = None
    deadline: datetime | None = None


def read(text: str, ventures: Container[str], agents: Container[str], now: datetime) -> Line:
    """Whole words only, each thing once; what is not understood, or said a second time, stays in the title.

    `#` names a venture if one has that slug, else a tag. A backslash before a sign or before "due" keeps the word as it
    is. `ventures` and `agents` hold slugs; "today" and "tomorrow" are meant in the zone of `now`.
    """
    found: dict[str, Any] = {}
    tags: list[str] = []
    kept: list[str] = []
    words = deque(text.split())
    while words:
        word = words.popleft()
        if word[0] == "\\" and (word[1:2] in tuple(SIGNS) or word[1:].lower() == DUE):
            kept.append(word[1:])
            continue
        field, value = _said(word[0], word[1:], ventures, agents)
        if word.lower() == DUE and words:
            field, value = "deadline", _last_minute(words[0].lower(), now)
        if value is None or field in found:
            kept.append(word)
        elif field == "tag":
            tags.append(value)
        else:
            found[field] = value
            if field == "deadline":
                words.popleft()
    return Line(" ".join(kept), tags=tuple(dict.fromkeys(tags)), **found)


def _said(sign: str, word: str, ventures: Container[str], agents: Container[str]) -> tuple[str, Any]:
    """Which field this word fills, with what; None when it is only a word."""
    name = word.lower()
    if sign == "!":
        return "priority", PRIORITIES[PRIORITY_WORDS[name]] if name in PRIORITY_WORDS else None
    if sign == "@":
        return "assignee", name if name in agents else None
    if sign == "#":
        if name in ventures:
            return "venture", name
        return "tag", word if TAG.fullmatch(word) else None
    if sign == "~" and (hours := HOURS.fullmatch(name)):
        number = Decimal(hours[1].replace(",", "."))
        return "estimated_hours", (number if hours[2] == "h" else number / 60).quantize(Decimal("0.01"))
    if sign == "~" and (usd := USD.fullmatch(name)):
        return "estimated_cost_micro_usd", to_micro_usd(usd[1].replace(",", "."))
    return "", None


def _last_minute(word: str, now: datetime) -> datetime | None:
    try:
        if DAY.fullmatch(word):
            day = date.fromisoformat(word)
        elif word in ("today", "tomorrow"):
            day = now.date() + timedelta(days=word == "tomorrow")
        else:
            return None
        return datetime.combine(day, time(23, 59), now.tzinfo).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
