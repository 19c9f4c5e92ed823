"""The files of other tools, read as drafts: CSV, JSON lines, Beads, Backlog.md, Task Master. Not: what becomes of them.

    csv          a header line, then a task a line; comma, semicolon or tab
    jsonl        a JSON object a line, or one JSON list of objects; names as the API takes them
    beads        .beads/issues.jsonl of the tool `bd`: an issue a line with its labels, dependencies and comments
    backlog      a Backlog.md folder: tasks/, completed/, drafts/ and archive/ with a Markdown file a task
    task-master  .taskmaster/tasks/tasks.json, with or without tags; a subtask becomes a task whose parent it names

Facts of these formats are from the tools' own public documents and files, as of 2026.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime

from mission_control import strict_json, strict_yaml
from mission_control.errors import Invalid
from tasks import vocabulary
from tasks.exchange.importing import ID_MOST, Draft, Report
from tasks.vocabulary import BLOCKED, CANCELLED, DONE, HIGH, INBOX, LOW, MEDIUM, PAUSED, READY, REVIEW, URGENT

MOST_BYTES = 100_000_000
FORMATS = ("csv", "jsonl", "beads", "backlog", "task-master")
PLACES = {  # what a folder holds → how it is read, and which file in it
    ".beads/issues.jsonl": "beads", ".beads/beads.jsonl": "beads", "issues.jsonl": "beads", "beads.jsonl": "beads",
    ".taskmaster/tasks/tasks.json": "task-master", "tasks/tasks.json": "task-master", "tasks.json": "task-master",
    "backlog/tasks": "backlog", ".backlog/tasks": "backlog", "tasks": "backlog",
}  # fmt: skip
STATUS_WORDS = {
    "open": READY, "to_do": READY, "hooked": READY, "pinned": READY, "draft": INBOX, "idea": INBOX,
    "deferred": PAUSED, "on_hold": PAUSED, "in_review": REVIEW, "canceled": CANCELLED, "archived": CANCELLED,
    "won_t_do": CANCELLED, "wont_do": CANCELLED, "finished": DONE, "resolved": DONE, "waiting": BLOCKED,
}  # fmt: skip
PRIORITY_WORDS = {
    "highest": URGENT, "blocker": URGENT, "major": HIGH, "minor": LOW, "lowest": LOW, "none": MEDIUM,
    "p0": URGENT, "p1": HIGH, "p2": MEDIUM, "p3": LOW, "p4": LOW,
}  # fmt: skip
COLUMNS = {  # of CSV and JSON lines: other names → ours
    "key": "id", "external_id": "id", "code": "id", "task_id": "id", "identifier": "id",
    "name": "title", "summary": "title", "subject": "title", "task": "title",
    "body": "description", "details": "description", "content": "description",
    "state": "status", "column": "status", "owner": "assignee", "assigned_to": "assignee", "assignees": "assignee",
    "labels": "tags", "label": "tags", "dependencies": "depends_on", "blocked_by": "depends_on", "requires": "depends_on",
    "parent_id": "parent", "parent_task_id": "parent", "due": "deadline", "due_date": "deadline", "due_at": "deadline",
    "estimate": "estimated_hours", "estimate_hours": "estimated_hours", "completion_summary": "summary_of_work",
}  # fmt: skip
OURS = (
    "id", "title", "description", "status", "priority", "assignee", "tags", "depends_on", "parent", "deadline",
    "estimated_hours", "actual_hours", "branch", "summary_of_work", "blocked_reason",
)  # fmt: skip
NO_PLACE = "This column has no place here: left out."
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def read(path: Path, kind: str = "") -> tuple[str, list[Draft], Report]:
    """`(format, drafts, what could not be read)`. Invalid: it cannot be read, or its format is not to be guessed."""
    report = Report()
    try:
        path, kind = _found(path, kind)
        drafts = list(READERS[kind](path, report))
    except OSError as error:
        raise Invalid({"file": f"{path} cannot be read: {error.strerror}."}) from None
    except UnicodeDecodeError:
        raise Invalid({"file": f"{path} is not UTF-8."}) from None
    except RecursionError:
        raise Invalid({"file": f"{path.name} is nested too deeply."}) from None
    return kind, [draft for draft in drafts if _is_whole(draft, report)], report


def _found(path: Path, kind: str) -> tuple[Path, str]:
    if path.is_dir():
        inside = [(path / place, named) for place, named in PLACES.items() if kind in ("", named)]
        for place, named in inside:
            if place.is_dir() if named == "backlog" else place.is_file():
                return (place.parent if named == "backlog" else place), named
        raise Invalid({"file": f"{path} holds no {kind or 'tasks of a known tool'}. Name the file itself."})
    if kind:
        return path, kind
    if path.suffix in (".csv", ".tsv"):
        return path, "csv"
    if path.suffix == ".md":
        return path, "backlog"
    if path.suffix in (".jsonl", ".ndjson", ".json"):
        return path, _kind_of_json(path)
    raise Invalid({"file": f"What is {path.name}? Say it with --format: {', '.join(FORMATS)}."})


def _kind_of_json(path: Path) -> str:
    if path.suffix == ".json":
        return "jsonl" if _whole(path).lstrip().startswith("[") else "task-master"
    for line in _whole(path).splitlines():
        if line.strip():
            first = _object(line)
            return "beads" if "issue_type" in first else "jsonl"
    return "jsonl"


def _is_whole(draft: Draft, report: Report) -> bool:
    """Whether it can be stored at all: an id, a title, and texts that both databases hold."""
    if not draft.id or len(draft.id) > ID_MOST or not draft.id.isprintable():
        report.lost(f"Has no id of at most {ID_MOST} characters: left out.", draft.id[:40] or draft.title[:40] or "?")
        return False
    if not draft.title.strip():
        report.lost("Has no title: left out.", draft.id)
        return False
    try:
        strict_json.check([draft.title, draft.description, draft.summary, draft.reason, *draft.tags, *draft.comments])
    except Invalid:
        report.lost("Holds characters that cannot be stored: left out.", draft.id)
        return False
    return True


# ── CSV and JSON lines ──────────────────────────────────────────────────────────────────────────────────────────────


def _csv(path: Path, report: Report) -> Iterator[Draft]:
    text = _whole(path)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(1_000_000)
    try:
        rows = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
        for row in rows:
            if None in row:
                report.lost("The line has more cells than the header: the rest is left out.", f"line {rows.line_num}")
            cells = {name: (value or "").strip() for name, value in row.items() if name}
            if any(cells.values()):
                yield _from_row(cells, report)
    except csv.Error as error:
        raise Invalid({"file": f"This is not CSV: {error}."}) from None


def _json_lines(path: Path, report: Report) -> Iterator[Draft]:
    for row in _rows(path):
        yield _from_row(row, report)


def _from_row(row: dict[str, Any], report: Report) -> Draft:
    ours: dict[str, Any] = {}
    for key, value in row.items():
        name = re.sub(r"\W+", "_", _HUMP.sub("_", key.strip())).strip("_").lower()
        name = name if name in OURS else COLUMNS.get(name, name)
        if value in ("", None, []):
            continue
        if name not in OURS or name in ours:
            if key not in report.losses.get(NO_PLACE, ()):
                report.lost(NO_PLACE, key)
        else:
            ours[name] = value
    title = _line(ours.get("title"))
    id = _line(ours.get("id")) or (f"title:{hashlib.sha256(title.encode()).hexdigest()[:16]}" if title else "")
    about = id or title or "?"
    return Draft(
        id=id, title=title, description=_text(ours.get("description")),
        status=status_of(ours.get("status"), report, about), priority=priority_of(ours.get("priority"), report, about),
        assignee=_first(ours.get("assignee"), report, about), tags=_list(ours.get("tags")),
        parent=_line(ours.get("parent")), depends_on=_list(ours.get("depends_on")),
        deadline=moment_of(ours.get("deadline"), report, about),
        estimated_hours=hours_of(ours.get("estimated_hours"), report, about),
        actual_hours=hours_of(ours.get("actual_hours"), report, about), branch=_line(ours.get("branch")),
        summary=_text(ours.get("summary_of_work")), reason=_text(ours.get("blocked_reason")),
    )  # fmt: skip


# ── Beads ───────────────────────────────────────────────────────────────────────────────────────────────────────────

BEADS_PRIORITY = {0: URGENT, 1: HIGH, 2: MEDIUM, 3: LOW, 4: LOW}
BEADS_BLOCKING = ("blocks", "waits-for")


def _beads(path: Path, report: Report) -> Iterator[Draft]:
    for issue in _rows(path):
        id = _line(issue.get("id"))
        if _folded(issue.get("status")) == "tombstone" or issue.get("deleted_at"):
            report.skipped += 1
            continue
        parent, depends_on = "", []
        for edge in _each(issue.get("dependencies")):
            if not isinstance(edge, dict):
                edge = {"depends_on_id": edge, "type": "blocks"}
            type_, other = edge.get("type") or "blocks", _line(edge.get("depends_on_id"))
            if type_ == "parent-child":
                parent = other
            elif type_ in BEADS_BLOCKING:
                depends_on.append(other)
            else:
                report.lost(f"Links of the type {_line(type_)} have no place here: left out.", f"{id} → {other}")
        kind, priority = _line(issue.get("issue_type")), issue.get("priority", 2)
        if not isinstance(priority, int) or priority not in BEADS_PRIORITY:
            report.lost("Its priority is none of 0 to 4: comes as medium.", id)
        yield Draft(
            id=id, title=_line(issue.get("title")), parent=parent, depends_on=depends_on,
            description=sections(
                issue.get("description"), ("Design", issue.get("design")),
                ("Acceptance criteria", issue.get("acceptance_criteria")), ("Notes", issue.get("notes")),
                ("Elsewhere", issue.get("external_ref")),
            ),
            status=status_of(issue.get("status") or "open", report, id),
            priority=BEADS_PRIORITY.get(priority, MEDIUM) if isinstance(priority, int) else MEDIUM,
            assignee=_line(issue.get("assignee")),
            tags=[*_list(issue.get("labels")), *([kind] if kind not in ("", "task") else [])],
            deadline=moment_of(issue.get("due_at"), report, id), estimated_hours=_minutes(issue.get("estimated_minutes"), report, id),
            summary=_text(issue.get("close_reason")), reason=_text(issue.get("close_reason")),
            comments=[_said(said) for said in _each(issue.get("comments")) if isinstance(said, dict) and said.get("text")],
        )  # fmt: skip


def _said(said: dict[str, Any]) -> str:
    who = " ".join(part for part in (_line(said.get("author")), _line(said.get("created_at"))) if part)
    return f"{_text(said['text'])}\n\n({who})" if who else _text(said["text"])


# ── Backlog.md ──────────────────────────────────────────────────────────────────────────────────────────────────────

BACKLOG_FOLDERS = {"tasks": "", "completed": DONE, "drafts": INBOX, "archive/tasks": CANCELLED}
_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_MARKER = re.compile(r"^[ \t]*<!--[ \t]*[A-Z0-9_-]+(?::[A-Z0-9_-]+)*[ \t]*-->[ \t]*\n?", re.MULTILINE)


def _backlog(path: Path, report: Report) -> Iterator[Draft]:
    if path.is_file():
        yield from _backlog_task(path, "", report)
        return
    for folder, status in BACKLOG_FOLDERS.items():
        for file in sorted((path / folder).glob("*.md")):
            if file.is_symlink() or not file.is_file():
                report.lost("Is a link, no file: left out.", file.name)
            elif file.name.lower() != "readme.md":
                yield from _backlog_task(file, status, report)


def _backlog_task(file: Path, status: str, report: Report) -> Iterator[Draft]:
    text = _whole(file)
    front = _FRONT.match(text)
    try:
        given = strict_yaml.words(front.group(1)) if front else None
    except Invalid as invalid:
        report.lost(f"Its front matter cannot be read: left out. {invalid.sentence}", file.name)
        return
    if not front or not isinstance(given, dict):
        report.lost("Has no front matter: left out.", file.name)
        return
    id = _backlog_id(given.get("id"))
    milestone = _line(given.get("milestone"))
    priority = given.get("priority")
    yield Draft(
        id=id, title=_line(given.get("title")), description=_MARKER.sub("", text[front.end() :]).strip(),
        status=status or status_of(given.get("status") or INBOX, report, id),
        priority=priority_of(priority, report, id), assignee=_first(given.get("assignee"), report, id),
        tags=[*_list(given.get("labels")), *([f"milestone {milestone}"] if milestone else [])],
        parent=_backlog_id(given.get("parent_task_id") or given.get("parent")),
        depends_on=[_backlog_id(other) for other in _list(given.get("dependencies"))],
        deadline=moment_of(given.get("due_date"), report, id), branch=_line(given.get("branch")),
    )  # fmt: skip


def _backlog_id(given: Any) -> str:
    """`BACK-7`, `back-7` and `task-7` are written for the same one; only a draft has numbers of its own."""
    word = _line(given).lower()
    match = re.fullmatch(r"(?:([a-z][a-z0-9_]*)-)?(\d+(?:\.\d+)*)", word)
    if not match:
        return word
    number = ".".join(str(int(part)) for part in match.group(2).split("."))
    return f"draft-{number}" if match.group(1) == "draft" else number


# ── Task Master ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _task_master(path: Path, report: Report) -> Iterator[Draft]:
    try:
        given = json.loads(_whole(path))
    except (ValueError, RecursionError):
        raise Invalid({"file": "This is not JSON."}) from None
    if isinstance(given, dict) and isinstance(given.get("tasks"), list):
        given = {"master": given}
    lists = (
        {tag: part["tasks"] for tag, part in given.items() if _is_list_of_tasks(part)}
        if isinstance(given, dict)
        else {}
    )
    if not lists:
        raise Invalid({"file": "This is no tasks.json: it has no list of tasks."})
    for tag, tasks in lists.items():
        for task in tasks:
            yield from _task_master_task(task, tag, "", report)


def _is_list_of_tasks(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("tasks"), list)


def _task_master_task(task: Any, tag: str, within: str, report: Report) -> Iterator[Draft]:
    """One task and its subtasks. A number among the dependencies of a subtask means its sibling, `5.1` any task's."""
    where = "" if tag == "master" else f"{tag}/"
    if not isinstance(task, dict):
        report.lost("Is no object: left out.", f"{where}{within or '?'}")
        return
    number = f"{within}.{_line(task.get('id'))}" if within else _line(task.get("id"))
    id = f"{where}{number}"
    depends_on = []
    for other in _each(task.get("dependencies")):
        other = _line(other)
        sibling = within and "." not in other
        depends_on.append(f"{where}{within}.{other}" if sibling else f"{where}{other}")
    yield Draft(
        id=id if _line(task.get("id")) else "", title=_line(task.get("title")),
        parent=f"{where}{within}" if within else "", depends_on=depends_on,
        description=sections(
            task.get("description"), ("Details", task.get("details")), ("Test strategy", task.get("testStrategy")),
            ("Acceptance criteria", task.get("acceptanceCriteria")),
        ),
        status=status_of(task.get("status") or "pending", report, id),
        priority=priority_of(task.get("priority"), report, id), assignee=_line(task.get("assignee")),
        tags=[tag] if where else [],
    )  # fmt: skip
    for part in _each(task.get("subtasks")):
        yield from _task_master_task(part, tag, number, report)


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────

READERS: dict[str, Callable[[Path, Report], Iterator[Draft]]] = {
    "csv": _csv, "jsonl": _json_lines, "beads": _beads, "backlog": _backlog, "task-master": _task_master,
}  # fmt: skip


def _whole(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise Invalid({"file": f"{path.name} has more than {MOST_BYTES:,} bytes."})
    return path.read_text(encoding="utf-8-sig")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines, or of one JSON list."""
    text = _whole(path)
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError):
            raise Invalid({"file": "This is not JSON."}) from None
        for place, row in enumerate(rows):
            if not isinstance(row, dict):
                raise Invalid({"file": f"Item {place} is no object."})
            yield row
        return
    for place, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _object(line, f"line {place}")


def _object(line: str, where: str = "the first line") -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise Invalid({"file": f"Not JSON: {where}."}) from None
    if not isinstance(row, dict):
        raise Invalid({"file": f"No JSON object: {where}."})
    return row


def sections(first: Any, *more: tuple[str, Any]) -> str:
    """A description, and what belongs to it under headings; the empty ones are left out."""
    parts = [
        _text(first).strip(),
        *(f"## {name}\n\n{_text(body).strip()}" for name, body in more if _text(body).strip()),
    ]
    return "\n\n".join(part for part in parts if part)


def _text(given: Any) -> str:
    if isinstance(given, list):
        return "\n".join(f"- {_text(item)}" for item in given)
    return given if isinstance(given, str) else "" if given is None else json.dumps(given, ensure_ascii=False)


def _line(given: Any) -> str:
    return " ".join(_text(given).split())


def _list(given: Any) -> list[str]:
    items = given if isinstance(given, list) else re.split(r"[,;|]", _text(given))
    return [word for word in (_line(item) for item in items) if word]


def _each(given: Any) -> list[Any]:
    """What should be a list, as one: a value alone is its only item."""
    return given if isinstance(given, list) else [given] if given else []


def _first(given: Any, report: Report, about: str) -> str:
    names = [name.lstrip("@") for name in _list(given)]
    if len(names) > 1:
        report.lost("Has more than one assignee: the first one counts.", about)
    return names[0] if names else ""


def _folded(given: Any) -> str:
    return "_".join(re.findall(r"[a-z0-9]+", _line(given).lower()))


def status_of(given: Any, report: Report, about: str) -> str:
    """Our status for a word of theirs; the inbox for one that nobody knows, which is told."""
    word = _folded(given)
    if not word:
        return ""
    if word in STATUS_WORDS:
        return STATUS_WORDS[word]
    try:
        return vocabulary.status_named(word)
    except ValueError:
        report.lost(f"The status {_line(given)[:40]} is unknown: comes to the inbox.", about)
        return INBOX


def priority_of(given: Any, report: Report, about: str) -> int:
    """Our rank for a word or number of theirs; medium for one that nobody knows, which is told."""
    word = _folded(given)
    if not word or word in PRIORITY_WORDS:
        return PRIORITY_WORDS.get(word, MEDIUM)
    try:
        return vocabulary.priority_named(int(word) if word.isdigit() else word)
    except ValueError:
        report.lost(f"The priority {_line(given)[:40]} is unknown: comes as medium.", about)
        return MEDIUM


def moment_of(given: Any, report: Report, about: str) -> datetime | None:
    """A time; without a zone it is UTC, and a day alone means its last second, as in the API."""
    text = _line(given)
    if not text:
        return None
    try:
        day = parse_date(text) if len(text) <= len("2026-12-01") else None
        moment = datetime.combine(day, time(23, 59, 59)) if day else parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or not 1970 <= moment.year <= 2200:
        report.lost("Its deadline is no time: left out.", about)
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def hours_of(given: Any, report: Report, about: str) -> Decimal | None:
    """`1.5` or `1.5h`; what is no number is told."""
    text = _line(given).removesuffix("h").strip()
    if not text:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        report.lost("Its hours are no number: left out.", about)
        return None


def _minutes(given: Any, report: Report, about: str) -> Decimal | None:
    minutes = hours_of(given, report, about)
    return minutes / 60 if minutes is not None and minutes.is_finite() else None
