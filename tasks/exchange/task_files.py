"""A task as files: context as YAML, progress as JSON lines, notes as Markdown, and all of it as an archive.

The layout is that of a task orchestrator's folder (contexts/, notes/, archives/); names are made from codes and slugs, never
from what somebody typed. Not: the folder as a whole (orchestrator_folder.py), who may ask (files_api.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.utils.text import slugify

from mission_control import live, strict_yaml
from mission_control.errors import Refused
from mission_control.keeping import archives
from mission_control.models import Activity
from mission_control.strict_json import iso
from tasks.collaboration_models import Note
from tasks.models import Task
from tasks.vocabulary import PRIORITIES

SAID = {"checkpoint.posted": "sync", "finding.shared": "discovery"}  # kinds of the log → types of a contribution
ARCHIVE_MOST_BYTES = 150_000_000
_APART = re.compile(r"\n*^---\n(?=\d{4}-\d\d-\d\dT\S+$)", re.MULTILINE)
_HEAD = re.compile(r"\A# Task Notes:.*\n(?:##? (?:Agent|Updated):.*\n)*\n*")


# ── context ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def context_yaml(task: Task) -> str:
    """What everyone on it knows: `context` by key, and `contributions` in their order with who and when."""
    entries = list(task.context.order_by("at", "id"))
    said = Activity.objects.filter(task=task.code, kind__in=SAID).order_by("seq")
    contributions = [
        (entry.at, {"agent": entry.by, "type": entry.kind, "key": entry.key, "content": entry.value})
        for entry in entries
    ] + [
        (line.at, {"agent": line.agent or line.actor, "type": SAID[line.kind], "content": line.message})
        for line in said
    ]
    contributions.sort(key=lambda one: one[0])
    latest = contributions[-1] if contributions else None
    return strict_yaml.write(
        {
            "task_id": task.code, "title": task.title, "status": task.status, "created": iso(task.created_at),
            "updated_at": iso(latest[0] if latest else task.created_at), "updated_by": latest[1]["agent"] if latest else None,
            "context": {entry.key: entry.value for entry in sorted(entries, key=lambda entry: entry.key)},
            "contributions": [{"timestamp": iso(at), **what} for at, what in contributions],
            "participants": [
                {"agent": who.agent.slug, "role": who.role, "joined_at": iso(who.joined_at)}
                for who in task.participants.select_related("agent").order_by("id")
            ],
            "plan": [
                {"step": step.number, "title": step.title, "state": step.state} for step in task.plan.order_by("number")
            ],
        }
    )  # fmt: skip


# ── progress ────────────────────────────────────────────────────────────────────────────────────────────────────────


def progress_jsonl(task: Task) -> str:
    """What was reported while it was worked on, a JSON object a line, oldest first."""
    lines = Activity.objects.filter(task=task.code, kind="task.progressed").order_by("seq")
    return "".join(
        json.dumps(
            {
                "timestamp": iso(line.at), "agent": line.agent or line.actor, "progress": line.data.get("percent"),
                "message": line.message, "step": line.data.get("step", ""), "seq": line.seq,
            },
            ensure_ascii=False,
        )
        + "\n"
        for line in lines.iterator(chunk_size=1000)
    )  # fmt: skip


# ── notes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def notes_md(task: Task, by: str, notes: Iterable[Note]) -> str:
    """The notes of one author as one Markdown text, oldest first."""
    ordered = sorted(notes, key=lambda note: note.pk)
    updated = iso(ordered[-1].at if ordered else task.created_at)
    parts = [f"# Task Notes: {task.code}\n## Agent: {by}\n## Updated: {updated}\n"]
    parts += [f"---\n{iso(note.at)}\n{note.text}\n" for note in ordered]
    return "\n".join(parts)


def notes_in(text: str) -> list[str]:
    """The notes in such a text: what stands between its dated lines."""
    found = _APART.split("\n" + _HEAD.sub("", text.replace("\r\n", "\n")))
    first, dated = found[0], found[1:]
    return [note for note in (first.strip(), *(part.partition("\n")[2].strip() for part in dated)) if note]


def notes_by_author(task: Task) -> Iterator[tuple[str, str, list[Note]]]:
    """`(name of the file without folder, author, notes)` for each who keeps notes on it."""
    by_author: dict[tuple[str, str], list[Note]] = {}
    for note in task.notes.order_by("id"):
        by_author.setdefault((note.by_type, note.by), []).append(note)
    for (by_type, by), notes in by_author.items():
        yield notes_name(task, by_type, by), by, notes


def notes_name(task: Task, by_type: str, by: str) -> str:
    name = slugify(by)[:60] or "somebody"
    return f"{task.code}_{name if by_type == 'agent' else f'{by_type}-{name}'}.md"


# ── all of it ───────────────────────────────────────────────────────────────────────────────────────────────────────


def archive_name(task: Task, moment: datetime) -> str:
    return f"task_{task.code}_{moment:%Y%m%d_%H%M%S}"


def write_archive(
    target: IO[bytes], task: Task, notes: Iterable[tuple[str, str, list[Note]]], moment: datetime
) -> None:
    """The task as a tar.gz: task.json, context.yaml, progress.jsonl, notes/, deliverables/, activities.jsonl.

    `notes`: those the reader may see. Refused 413: its deliverables have more than ARCHIVE_MOST_BYTES.
    """
    size = sum(size or 0 for size in task.deliverables.exclude(file="").values_list("size", flat=True))
    if size > ARCHIVE_MOST_BYTES:
        raise Refused(
            f"Its files have more than {ARCHIVE_MOST_BYTES:,} bytes: fetch them one by one.",
            code="too_large",
            status=413,
        )
    archives.write(target, _members(archive_name(task, moment), task, notes), moment)


def _members(root: str, task: Task, notes: Iterable[tuple[str, str, list[Note]]]) -> Iterator[tuple[str, bytes | Path]]:
    yield f"{root}/task.json", json.dumps(task_json(task), ensure_ascii=False, indent=1).encode()
    yield f"{root}/context.yaml", context_yaml(task).encode()
    yield f"{root}/progress.jsonl", progress_jsonl(task).encode()
    for name, by, written in notes:
        yield f"{root}/notes/{name}", notes_md(task, by, written).encode()
    for row in task.deliverables.exclude(file="").order_by("number"):
        path = Path(settings.MEDIA_ROOT) / str(row.file)
        if path.is_file():
            yield f"{root}/deliverables/{row.number}{_ending(row.filename)}", path
    yield f"{root}/activities.jsonl", _activities(task).encode()


def _ending(filename: str) -> str:
    suffix = Path(filename).suffix
    return suffix.lower() if re.fullmatch(r"[.][A-Za-z0-9]{1,10}", suffix) else ""


def task_json(task: Task) -> dict[str, Any]:
    """The task as it stands, in plain JSON."""
    hours = {name: str(value) if (value := getattr(task, name)) is not None else None for name in HOURS}
    return {
        "id": task.code, "title": task.title, "description": task.description, "venture": task.venture.slug,
        "status": task.status, "priority": PRIORITIES[task.priority],
        "assignee": task.assignee.slug if task.assignee else None, "tags": task.tags,
        "parent": task.parent.code if task.parent else None,
        "depends_on": list(task.dependencies.order_by("id").values_list("depends_on__code", flat=True)),
        "deadline": iso(task.deadline), **hours, "branch": task.branch, "completion_summary": task.completion_summary,
        "output": task.output, "success_criteria": task.success_criteria, "created_by": task.created_by, "created_at": iso(task.created_at),
        "status_changed_at": iso(task.status_changed_at),
        "deliverables": [
            {
                "number": row.number, "type": row.type, "title": row.title, "path": row.path, "filename": row.filename,
                "size": row.size, "sha256": row.sha256, "agent": row.agent,
            }
            for row in task.deliverables.order_by("number")
        ],
    }  # fmt: skip


HOURS = ("estimated_hours", "actual_hours")


def _activities(task: Task) -> str:
    columns = ("seq", "kind", "level", "actor_type", "actor", "agent", "session", "message", "data", "at")
    lines = Activity.objects.filter(task=task.code).order_by("seq").values(*columns)
    return "".join(
        json.dumps({**line, "data": live.shown(line["data"]), "at": iso(line["at"])}, ensure_ascii=False) + "\n"
        for line in lines.iterator(chunk_size=1000)
    )
