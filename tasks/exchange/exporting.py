"""All tasks as one file: CSV, JSON or Markdown, in the columns that an import reads. Not: one task as files (task_files.py)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mission_control.actors import Actor
from mission_control.money import to_usd
from mission_control.strict_json import iso
from tasks.models import Dependency, Task
from tasks.vocabulary import PRIORITIES, STATUSES

FORMATS = {"csv": "text/csv", "json": "application/json", "markdown": "text/markdown"}  # → media type
ENDINGS = {"csv": "csv", "json": "json", "markdown": "md"}
COLUMNS = (
    "id", "title", "description", "status", "priority", "venture", "assignee", "tags", "depends_on", "parent", "deadline",
    "estimated_hours", "actual_hours", "branch", "summary_of_work", "blocked_reason", "cost", "tokens", "created_at",
    "status_changed_at",
)  # fmt: skip
CHUNK = 500  # tasks that are read at once
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would compute


def chosen(actor: Actor, *, venture: str = "", statuses: Iterable[str] = ()) -> Any:
    """The tasks that the caller sees, oldest first; of one venture and in some statuses only, when they are named."""
    tasks = Task.objects.visible_to(actor).select_related("venture", "assignee", "parent").order_by("pk")
    tasks = tasks.filter(venture__slug=venture) if venture else tasks
    return tasks.filter(status__in=list(statuses)) if statuses else tasks


def written(kind: str, tasks: Any) -> Iterator[str]:
    """The file in pieces. `kind` is a key of FORMATS."""
    return {"csv": _csv, "json": _json, "markdown": _markdown}[kind](_rows(tasks))


def _rows(tasks: Any) -> Iterator[dict[str, Any]]:
    """Money and hours are decimals as text, times ISO 8601 in UTC."""
    coming = tasks.iterator(chunk_size=CHUNK)
    while chunk := list(islice(coming, CHUNK)):
        before: dict[int, list[str]] = {}
        edges = Dependency.objects.filter(task__in=[task.pk for task in chunk]).order_by("pk")
        for pk, code in edges.values_list("task_id", "depends_on__code"):
            before.setdefault(pk, []).append(code)
        for task in chunk:
            yield _row(task, before.get(task.pk, []))


def _row(task: Task, before: list[str]) -> dict[str, Any]:
    return {
        "id": task.code, "title": task.title, "description": task.description, "status": task.status,
        "priority": PRIORITIES[task.priority], "venture": task.venture.slug,
        "assignee": task.assignee.slug if task.assignee else None, "tags": list(task.tags), "depends_on": before,
        "parent": task.parent.code if task.parent else None, "deadline": iso(task.deadline),
        "estimated_hours": _plain(task.estimated_hours), "actual_hours": _plain(task.actual_hours),
        "branch": task.branch, "summary_of_work": task.completion_summary, "blocked_reason": task.blocked_reason,
        "cost": to_usd(task.actual_cost_micro_usd), "tokens": task.tokens_used, "created_at": iso(task.created_at),
        "status_changed_at": iso(task.status_changed_at),
    }  # fmt: skip


def _plain(hours: Any) -> str | None:
    return None if hours is None else str(hours)


def _csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """With a mark that tells spreadsheets UTF-8. What would be a formula there begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    text.write("\ufeff")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _cell(value: Any) -> str:
    text = ",".join(value) if isinstance(value, list) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """An array, one task a line."""
    yield "["
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n{json.dumps(row, ensure_ascii=False)}"
    yield "\n]\n"


def _markdown(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """A list to read, in the order of the file, each with its status."""
    yield "# Tasks\n"
    for row in rows:
        facts = [
            STATUSES[row["status"]],
            row["priority"],
            row["venture"],
            *filter(None, [row["assignee"], row["deadline"]]),
        ]
        yield f"\n- [{'x' if row['status'] == 'done' else ' '}] `{row['id']}` {_escaped(row['title'])} ({', '.join(facts)})\n"


def _escaped(title: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|" else sign for sign in title)
