"""What people send from the pages, checked and turned into what the verbs take. Refuses with one entry per field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.models import Agent
from mission_control import log
from mission_control.errors import Invalid
from mission_control.money import to_micro_usd, typed_decimal
from tasks.board import CREATABLE, DEADLINES, Filters
from tasks.models import Task
from tasks.pages.smart_line import Line, read
from tasks.vocabulary import ASSIGNED, MEDIUM, PRIORITIES, READY, STATUSES, priority_named
from ventures.models import Venture

TITLE, DESCRIPTION, TAG, TAGS, REASON, CRITERIA = 500, 50_000, 50, 20, 2000, 50


def filters_from(query: Any, board: str = "") -> Filters:
    """From a QueryDict; what makes no sense is left out."""

    def several(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(printable(value)[:60] for value in query.getlist(name)[:50] if printable(value)))

    return Filters(
        board=board,
        q=printable(query.get("q", "")).strip()[:200],
        ventures=() if board else several("venture"),
        assignees=several("assignee"),
        priorities=tuple(word for word in several("priority") if word in PRIORITIES.values()),
        tags=several("tag"),
        states=tuple(word for word in several("state") if word in STATUSES),
        deadlines=tuple(word for word in several("deadline") if word in DEADLINES),
        cancelled=bool(query.get("cancelled")),
    )


def smart_line(fields: Mapping[str, str]) -> Line:
    """What the title says of the task, in the zone of the browser (`zone`, a name like Europe/Paris; else UTC)."""
    try:
        zone = ZoneInfo(fields.get("zone") or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo("UTC")
    ventures = set(Venture.objects.exclude(status="archived").values_list("slug", flat=True))
    agents = set(Agent.objects.values_list("slug", flat=True))
    return read(fields.get("title", ""), ventures, agents, log.now().astimezone(zone))


def new_task(fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `transitions.create`. A ready task that is meant for somebody is an assigned one.

    What the title says goes before what the other fields say; tags and estimates are added.
    """
    wrong: dict[str, str] = {}
    line = smart_line(fields)
    given: dict[str, Any] = {"title": _title(line.title, wrong)}
    given["description"] = _text("description", fields.get("description", ""), DESCRIPTION, wrong)
    given["tags"] = _tags(",".join([fields.get("tags", ""), *line.tags]), wrong)
    given["priority"] = _priority(line.priority or fields.get("priority", ""), wrong)
    given["deadline"] = line.deadline or _moment(fields.get("deadline", ""), wrong)
    given["assignee"] = _agent(line.assignee or fields.get("assignee", ""), wrong)
    for name in ("estimated_hours", "estimated_cost_micro_usd"):
        if getattr(line, name) is not None:
            given[name] = getattr(line, name)
    slug = line.venture or printable(fields.get("venture", ""))
    if slug:
        given["venture"] = Venture.objects.filter(slug=slug).first()
        if given["venture"] is None:
            wrong["venture"] = "There is no such venture."
    status = fields.get("status", "")
    if status and status not in CREATABLE:
        wrong["status"] = "A new task is inbox, ready or assigned."
    given["status"] = ASSIGNED if given["assignee"] and status == READY else status
    if wrong:
        raise Invalid(wrong)
    return given


def changes(task: Task, fields: Mapping[str, str]) -> dict[str, Any]:
    """What an edit in place changes: one or a few of what the drawer shows as fields."""
    wrong: dict[str, str] = {}
    given: dict[str, Any] = {}
    if "title" in fields:
        given["title"] = _title(fields["title"], wrong)
    if "description" in fields:
        given["description"] = _text("description", fields["description"], DESCRIPTION, wrong)
    if "priority" in fields:
        given["priority"] = _priority(fields["priority"], wrong)
    if "assignee" in fields:
        given["assignee"] = _agent(fields["assignee"], wrong)
    if "deadline" in fields:
        given["deadline"] = _moment(fields["deadline"], wrong)
    if fields.get("add_tag"):
        given["tags"] = list(dict.fromkeys([*task.tags, *_tags(fields["add_tag"], wrong)]))
        if len(given["tags"]) > TAGS:
            wrong["tags"] = f"At most {TAGS} tags."
    if fields.get("add_skill"):
        skills = {tag.lower() for tag in _tags(fields["add_skill"], wrong)}
        given["required_capabilities"] = sorted({*task.required_capabilities, *skills})
        if len(given["required_capabilities"]) > TAGS:
            wrong["skills"] = f"At most {TAGS} skills."
    if "remove_skill" in fields:
        given["required_capabilities"] = [one for one in task.required_capabilities if one != fields["remove_skill"]]
    if "estimated_hours" in fields:
        given["estimated_hours"] = _hours(fields["estimated_hours"], wrong)
    if "estimated_cost" in fields:
        given["estimated_cost_micro_usd"] = _usd(fields["estimated_cost"], wrong)
    if "needs_approval" in fields:
        given["needs_approval"] = fields["needs_approval"] == "yes"
    if "add_criterion" in fields:
        text = " ".join(_text("criterion", fields["add_criterion"], TITLE, wrong).split())
        if not text or any(text.casefold() == one["criterion"].casefold() for one in task.success_criteria):
            wrong["criterion"] = "Write one that is not there yet."
        given["success_criteria"] = [*task.success_criteria, {"criterion": text}]
        if len(given["success_criteria"]) > CRITERIA:
            wrong["criterion"] = f"At most {CRITERIA} criteria."
    if "remove_criterion" in fields:
        gone = fields["remove_criterion"]
        given["success_criteria"] = [one for one in task.success_criteria if one["criterion"] != gone]
    if "remove_tag" in fields:
        given["tags"] = [tag for tag in task.tags if tag != fields["remove_tag"]]
    if wrong:
        raise Invalid(wrong)
    return given


def reason(fields: Mapping[str, str]) -> str:
    wrong: dict[str, str] = {}
    text = _text("reason", fields.get("reason", ""), REASON, wrong).strip()
    if wrong:
        raise Invalid(wrong)
    return text


def said(fields: Mapping[str, str], name: str, most: int) -> str:
    """What was written into one field; Invalid without a word."""
    wrong: dict[str, str] = {}
    text = _text(name, fields.get(name, ""), most, wrong)
    if not text.strip() and not wrong:
        wrong[name] = "Write something first."
    if wrong:
        raise Invalid(wrong)
    return text.strip()


def optional_line(fields: Mapping[str, str], name: str, most: int) -> str:
    """What was written into one field, on one line; "" when nothing was."""
    wrong: dict[str, str] = {}
    text = " ".join(_text(name, fields.get(name, ""), most, wrong).split())
    if wrong:
        raise Invalid(wrong)
    return text


def said_line(fields: Mapping[str, str], name: str, most: int) -> str:
    """As `said`, on one line."""
    return " ".join(said(fields, name, most).split())


def target_status(fields: Mapping[str, str]) -> str:
    if fields.get("status") not in STATUSES:
        raise Invalid({"status": "Unknown status."})
    return fields["status"]


def printable(text: str) -> str:
    """Without what no database and no page wants: NUL and lone surrogates."""
    return "".join(character for character in text if character != "\x00" and not "\ud800" <= character <= "\udfff")


def _title(text: str, wrong: dict[str, str]) -> str:
    title = " ".join(_text("title", text, TITLE, wrong).split())
    if not title and "title" not in wrong:
        wrong["title"] = "A task needs a title."
    return title


def _text(name: str, text: str, most: int, wrong: dict[str, str]) -> str:
    if text != printable(text):
        wrong[name] = "It holds characters that are not text."
    elif len(text) > most:
        wrong[name] = f"At most {most:,} characters."
    return text.replace("\r\n", "\n")


def _tags(text: str, wrong: dict[str, str]) -> list[str]:
    tags = list(dict.fromkeys(tag for tag in (" ".join(part.split()) for part in text.split(",")) if tag))
    if any(len(tag) > TAG or tag != printable(tag) for tag in tags):
        wrong["tags"] = f"A tag has at most {TAG} characters."
    if len(tags) > TAGS:
        wrong["tags"] = f"At most {TAGS} tags."
    return tags


def _priority(word: str, wrong: dict[str, str]) -> int:
    try:
        return priority_named(word) if word else MEDIUM
    except ValueError as error:
        wrong["priority"] = str(error)
        return MEDIUM


def _agent(slug: str, wrong: dict[str, str]) -> Agent | None:
    agent = Agent.objects.filter(slug=printable(slug)).first() if slug else None
    if slug and agent is None:
        wrong["assignee"] = "There is no such agent."
    return agent


def _hours(text: str, wrong: dict[str, str]) -> Decimal | None:
    if not text.strip():
        return None
    try:
        hours = Decimal(typed_decimal(text)).quantize(Decimal("0.01"))
    except InvalidOperation:
        hours = Decimal(-1)
    if not (hours.is_finite() and 0 <= hours < 1_000_000):
        wrong["estimated_hours"] = "Give hours as a number."
        return None
    return hours


def _usd(text: str, wrong: dict[str, str]) -> int | None:
    amount = typed_decimal(text)
    try:
        return to_micro_usd(amount) if amount else None
    except ValueError as error:
        wrong["estimated_cost"] = str(error)
        return None


def _moment(text: str, wrong: dict[str, str]) -> datetime | None:
    """ISO 8601; the browser sends UTC, a form without script local time without a zone, which is read as UTC."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        wrong["deadline"] = "Give a date and a time."
        return None
