"""The folder of a task orchestrator, written from this instance and read into it. Not: one task as files (task_files.py).

    tasks.db                              SQLite: tasks, dependencies, participants, notifications
    contexts/<task>.yaml                  what everyone on it knows
    contexts/<task>_progress.jsonl        what was reported, a line each
    notes/<task>_<agent>.md               what an agent keeps for itself
    archives/task_<task>_<time>.tar.gz    context and notes of a finished task

Two sets of columns are about. The older one (2.2) has id, title, description, status, priority, assignee, created_at,
updated_at, completed_at; the newer one (2.3) adds success_criteria, feedback_quality, feedback_timeliness,
feedback_notes, completion_summary, deadline, estimated_hours, actual_hours, and a role to participants. Both are read; the
newer one is written, with columns of our own behind it (`mc_…`), which that tool leaves alone. Facts of the layout are
from the tool's public documents.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.utils.dateparse import parse_datetime

from mission_control import log, strict_yaml
from mission_control.errors import Invalid, Refused
from mission_control.keeping import archives, carrying
from mission_control.models import Activity
from mission_control.strict_json import iso
from tasks.exchange import task_files
from tasks.exchange.import_formats import hours_of, moment_of, priority_of, status_of
from tasks.exchange.importing import Draft, Report, Said
from tasks.models import Dependency, Task
from tasks.vocabulary import (
    ASSIGNED,
    CANCELLED,
    CONTEXT_KINDS,
    DONE,
    IN_PROGRESS,
    INBOX,
    PRIORITIES,
    READY,
    REVIEW,
    URGENT,
)

BOOK = "tasks.db"
OURS = 0x4D43_4F31  # the application id in a tasks.db that was written here
FILE_MOST = 1_000_000  # bytes of a context or of notes
BOOK_MOST = 500_000_000
STEPS_MOST = 200_000_000  # of SQLite's machine, for all reading of a file that somebody else made
WORDS = {INBOX: "pending", READY: "pending", ASSIGNED: "pending", IN_PROGRESS: "in_progress", REVIEW: "in_progress", DONE: "completed", CANCELLED: "cancelled"}  # fmt: skip
_CONTEXT = re.compile(r"([A-Za-z0-9-]{1,64})\.yaml")
_NOTES = re.compile(r"([A-Za-z0-9-]{1,64})_([\w.:@-]{1,120})\.md", re.ASCII)
_ARCHIVE = re.compile(r"task_([A-Za-z0-9-]{1,64})_(\d{8}_\d{6})\.tar\.gz")

SCHEMA = """
CREATE TABLE tasks (
  id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT, status TEXT DEFAULT 'pending',
  priority TEXT DEFAULT 'medium', assignee TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, completed_at TEXT,
  success_criteria TEXT, feedback_quality INTEGER, feedback_timeliness INTEGER, feedback_notes TEXT,
  completion_summary TEXT, deadline TEXT, estimated_hours REAL, actual_hours REAL,
  mc_status TEXT, mc_venture TEXT, mc_parent TEXT, mc_tags TEXT, mc_reason TEXT
);
CREATE TABLE dependencies (
  task_id TEXT NOT NULL, depends_on TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (task_id, depends_on)
);
CREATE TABLE participants (
  task_id TEXT NOT NULL, agent_id TEXT NOT NULL, role TEXT, joined_at TEXT NOT NULL, PRIMARY KEY (task_id, agent_id)
);
CREATE TABLE notifications (
  id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT, task_id TEXT, type TEXT NOT NULL, message TEXT NOT NULL,
  created_at TEXT NOT NULL, read BOOLEAN DEFAULT 0
);
"""


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def export(folder: Path, *, only: set[str] | None = None) -> int:
    """Write every task into the folder; how many. What was written there before is replaced, file by file.

    `only`: the codes whose contexts and notes may have changed since.
    Everything is read in one snapshot, private notes too, so the folder is made for its owner alone. Refused: its
    tasks.db is of another tool, or a part of the folder is a link.
    """
    _check_is_ours(folder / BOOK)
    for part in ("contexts", "notes", "archives"):
        if (folder / part).is_symlink():
            raise Refused(f"{folder / part} is a link. Name a folder of its own.", code="link")
        (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    with carrying.snapshot():
        _write_book(folder / BOOK)
        for task in _with_words(only):
            _replace(folder / "contexts" / f"{task.code}.yaml", task_files.context_yaml(task).encode())
            progress = task_files.progress_jsonl(task)
            if progress:
                _replace(folder / "contexts" / f"{task.code}_progress.jsonl", progress.encode())
            for name, by, notes in task_files.notes_by_author(task):
                _replace(folder / "notes" / name, task_files.notes_md(task, by, notes).encode())
        return Task.objects.count()


def mirror(folder: Path, every_seconds: float, stopping: threading.Event) -> None:
    """Keep the folder as this instance is until told to stop: after each change, at most so often. Refused as `export`.

    Level-triggered: it asks the log for its head, so whatever was missed is caught up with. tasks.db is written whole, the
    other files only of tasks that the log names since.
    """
    seen = log.head()
    export(folder)
    while not stopping.wait(every_seconds):
        head = log.head()
        if head > seen:
            lines = Activity.objects.filter(seq__gt=seen, seq__lte=head).exclude(task="")
            export(folder, only=set(lines.values_list("task", flat=True)))
            seen = head


def _with_words(only: set[str] | None) -> Iterator[Task]:
    """The tasks on which somebody wrote something; of `only` those."""
    kinds = [*task_files.SAID, "task.progressed"]
    said = Activity.objects.filter(task=OuterRef("code"), kind__in=kinds)
    there = Q(context__isnull=False) | Q(participants__isnull=False) | Q(plan__isnull=False) | Q(notes__isnull=False)
    tasks = Task.objects.filter(there | Exists(said)).distinct().order_by("pk")
    for codes in (None,) if only is None else _chunks(sorted(only)):
        yield from (tasks if codes is None else tasks.filter(code__in=codes)).iterator(chunk_size=500)


def _chunks(codes: list[str]) -> Iterator[list[str]]:
    return (codes[start : start + 500] for start in range(0, len(codes), 500))


def _check_is_ours(book: Path) -> None:
    if book.is_symlink():
        raise Refused(f"{book} is a link. Name a folder of its own.", code="link")
    if not book.exists():
        return
    with _opened(book) as database:
        if database.execute("PRAGMA application_id").fetchone()[0] != OURS:
            raise Refused(f"{book} was written by another tool. Name a folder of its own.", code="not_ours")


def _write_book(target: Path) -> None:
    descriptor, beside = tempfile.mkstemp(prefix=".tasks-", dir=target.parent)
    os.close(descriptor)
    try:
        with contextlib.closing(sqlite3.connect(beside)) as database:
            database.executescript(f"PRAGMA application_id = {OURS};{SCHEMA}")
            with database:
                database.executemany(f"INSERT INTO tasks VALUES ({', '.join('?' * 22)})", _task_rows())  # noqa: S608  # marks
                edges = Dependency.objects.values_list("task__code", "depends_on__code", "created_at").order_by("pk")
                database.executemany(
                    "INSERT INTO dependencies VALUES (?, ?, ?)", ((a, b, iso(at)) for a, b, at in edges.iterator())
                )
                members = Task.objects.filter(participants__isnull=False).values_list(
                    "code", "participants__agent__slug", "participants__role", "participants__joined_at"
                )
                database.executemany(
                    "INSERT INTO participants VALUES (?, ?, ?, ?)", ((*who, iso(at)) for *who, at in members.iterator())
                )
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


def _task_rows() -> Iterator[tuple[Any, ...]]:
    for task in Task.objects.select_related("venture", "assignee", "parent").order_by("pk").iterator(chunk_size=500):
        yield (
            task.code, task.title, task.description, WORDS.get(task.status, "blocked"),
            "critical" if task.priority == URGENT else PRIORITIES[task.priority],
            task.assignee.slug if task.assignee else None, iso(task.created_at), iso(task.status_changed_at),
            iso(task.status_changed_at) if task.status == DONE else None,
            json.dumps(task.success_criteria, ensure_ascii=False) if task.success_criteria else None, None, None, None,
            task.completion_summary or None, iso(task.deadline), _real(task.estimated_hours), _real(task.actual_hours),
            task.status, task.venture.slug, task.parent.code if task.parent else None, json.dumps(task.tags),
            task.blocked_reason or task.paused_reason or None,
        )  # fmt: skip


def _real(hours: Any) -> float | None:
    return float(hours) if hours is not None else None


def _replace(target: Path, content: bytes) -> None:
    """The file holds this, whole or as before; an unchanged one is not touched."""
    if target.is_file() and not target.is_symlink() and target.read_bytes() == content:
        return
    descriptor, beside = tempfile.mkstemp(prefix=".new-", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise


# ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(folder: Path) -> tuple[list[Draft], Report]:
    """The tasks of such a folder as drafts, and what could not be read. Tasks that were exported from here are left out.

    Invalid: there is no tasks.db, or it is none.
    """
    report = Report()
    if (folder / ".task-orchestrator").is_dir():
        folder = folder / ".task-orchestrator"
    with _opened(folder / BOOK) as database:
        try:
            tasks = list(_rows(database, "tasks"))
            edges = list(_rows(database, "dependencies"))
            members = list(_rows(database, "participants"))
            told = sum(1 for _ in _rows(database, "notifications"))
        except sqlite3.Error as error:
            raise Invalid({"folder": f"{folder / BOOK} cannot be read: {error}."}) from None
    if not tasks and not (folder / BOOK).stat().st_size:
        raise Invalid({"folder": f"{folder / BOOK} is empty."})
    own = _from_here(tasks)
    report.known += len(own)
    if told:
        report.lost("Notifications stay there: people hear of what happens from now on.", f"{told} of them")
    depends_on: dict[str, list[str]] = {}
    for edge in edges:
        depends_on.setdefault(str(edge.get("task_id")), []).append(str(edge.get("depends_on")))
    drafts = {
        str(row["id"]): _draft(row, depends_on.get(str(row["id"]), []), report)
        for row in tasks
        if row.get("id") and row.get("title") and str(row["id"]) not in own
    }
    for row in members:
        draft = drafts.get(str(row.get("task_id")))
        if draft:
            draft.said.append(Said("joined", str(row.get("agent_id")), str(row.get("role") or "")))
    _read_words(folder, drafts, own, report)
    return list(drafts.values()), report


def _from_here(tasks: list[dict[str, Any]]) -> set[str]:
    """Ids of tasks that are here under that very code, made at that very moment: an export that came home."""
    created = {str(row.get("id")): _time(row.get("created_at")) for row in tasks}
    here = Task.objects.filter(code__in=[id for id in created if re.fullmatch(r"[a-z0-9]{8}", id)])
    return {code for code, at in here.values_list("code", "created_at") if created[code] == at}


def _time(given: Any) -> datetime | None:
    try:
        return parse_datetime(str(given))
    except ValueError:
        return None


def _draft(row: dict[str, Any], depends_on: list[str], report: Report) -> Draft:
    id = str(row["id"])
    summary, reason = str(row.get("completion_summary") or ""), str(row.get("mc_reason") or "")
    status = row.get("mc_status") or row.get("status") or "pending"
    if status == "blocked" and not row.get("mc_status"):
        status = "pending" if depends_on else "blocked"  # there it says that something is open before it
    rated = [
        f"{name} {row[f'feedback_{name}']} of 5" for name in ("quality", "timeliness") if row.get(f"feedback_{name}")
    ]
    notes = str(row.get("feedback_notes") or "")
    return Draft(
        id=id, title=str(row["title"]), depends_on=depends_on, status=status_of(status, report, id),
        description=str(row.get("description") or ""), criteria=_criteria(row.get("success_criteria")),
        priority=priority_of(row.get("priority"), report, id), assignee=str(row.get("assignee") or ""),
        tags=_tags(row.get("mc_tags")), parent=str(row.get("mc_parent") or ""), deadline=moment_of(row.get("deadline"), report, id),
        estimated_hours=hours_of(row.get("estimated_hours"), report, id),
        actual_hours=hours_of(row.get("actual_hours"), report, id), summary=summary, reason=reason,
        comments=[f"Feedback there: {', '.join(rated)}. {notes}".strip()] if rated or notes else [],
    )  # fmt: skip


def _criteria(given: Any) -> list[dict[str, Any]]:
    """The criteria of a JSON list, or a text as the only one. They are compared, never run."""
    try:
        listed = json.loads(given) if given else []
    except (ValueError, TypeError, RecursionError):
        listed = [str(given)]
    return [
        one if isinstance(one, dict) else {"criterion": one}
        for one in (listed if isinstance(listed, list) else [listed])
    ]


def _tags(given: Any) -> list[str]:
    try:
        tags = json.loads(given) if given else []
    except (ValueError, TypeError, RecursionError):
        tags = []
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _read_words(folder: Path, drafts: dict[str, Draft], own: set[str], report: Report) -> None:
    """Contexts, progress and notes; for a finished task those of its newest archive where the folder has none."""
    with_context: set[str] = set()
    for file in _files(folder / "contexts", report):
        match = _CONTEXT.fullmatch(file.name)
        if match and _is_wanted(match.group(1), file.name, drafts, own, report):
            with_context.add(match.group(1))
            _take_context(drafts[match.group(1)], _text(file, report), report)
        id = file.name.removesuffix("_progress.jsonl")
        if id != file.name and _is_wanted(id, file.name, drafts, own, report):
            _take_progress(drafts[id], _text(file, report), report)
    for file in _files(folder / "notes", report):
        match = _NOTES.fullmatch(file.name)
        if match and _is_wanted(match.group(1), file.name, drafts, own, report):
            drafts[match.group(1)].said += _notes(match.group(2), _text(file, report))
    newest: dict[str, Path] = {}
    for file in sorted(_files(folder / "archives", report)):
        match = _ARCHIVE.fullmatch(file.name)
        if match and _is_wanted(match.group(1), file.name, drafts, own, report):
            newest[match.group(1)] = file
    for id, file in newest.items():
        if id not in with_context:
            _take_archive(drafts[id], file, report)


def _is_wanted(id: str, name: str, drafts: dict[str, Draft], own: set[str], report: Report) -> bool:
    if id not in drafts and id not in own:
        report.lost("Belongs to no task of tasks.db: left out.", name)
    return id in drafts


def _files(folder: Path, report: Report) -> Iterable[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return
    for file in sorted(folder.iterdir()):
        if file.is_symlink() or not file.is_file():
            report.lost("Is a link or no file: left out.", file.name)
        else:
            yield file


def _text(file: Path, report: Report) -> str:
    if file.stat().st_size > FILE_MOST:
        report.lost(f"Has more than {FILE_MOST:,} bytes: left out.", file.name)
        return ""
    return file.read_text(encoding="utf-8", errors="replace").replace("\0", "")


def _take_context(draft: Draft, text: str, report: Report) -> None:
    try:
        given = strict_yaml.read(text) if text.strip() else {}
    except Invalid as invalid:
        report.lost(f"Its context cannot be read: left out. {invalid.sentence}", draft.id)
        return
    given = given if isinstance(given, dict) else {"context": {"context": given}}
    keys = set()
    contributions = given.get("contributions")
    for place, one in enumerate(contributions if isinstance(contributions, list) else [], start=1):
        if not isinstance(one, dict):
            continue
        by, type_, content = str(one.get("agent") or "unknown"), str(one.get("type") or "share"), one.get("content")
        if type_ in ("sync", "discovery"):
            draft.said.append(Said(type_, by, str(content)))
        else:
            key = str(one.get("key") or f"{type_}-{place}")
            keys.add(key)
            draft.said.append(Said("shared", by, type_ if type_ in CONTEXT_KINDS else "share", key, content))
    context = given.get("context")
    for key, value in (context if isinstance(context, dict) else {}).items():
        if key not in keys:
            kind = key.removesuffix("s") if key.removesuffix("s") in CONTEXT_KINDS else "share"
            draft.said.append(Said("shared", str(given.get("updated_by") or "unknown"), kind, key, value))


def _take_progress(draft: Draft, text: str, report: Report) -> None:
    for place, line in enumerate(text.splitlines(), start=1):
        try:
            given = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            given = None
            report.lost("Lines of progress that are no JSON: left out.", f"{draft.id} line {place}")
        if isinstance(given, dict):
            when = {
                name: str(given[name])[:100]
                for name in ("timestamp", "progress", "step")
                if given.get(name) is not None
            }
            draft.said.append(
                Said("progress", str(given.get("agent") or "unknown"), str(given.get("message") or ""), value=when)
            )


def _notes(by: str, text: str) -> list[Said]:
    return [Said("note", by, note) for note in task_files.notes_in(text)]


def _take_archive(draft: Draft, file: Path, report: Report) -> None:
    found: list[tuple[str, bytes]] = []
    try:
        with file.open("rb") as packed:
            found += [(name, content) for name, content in archives.read(packed) if len(content) <= FILE_MOST]
    except Refused as refusal:
        report.lost(f"{refusal.sentence} Left out.", file.name)
        return
    for name, content in found:
        text = content.decode("utf-8", errors="replace").replace("\0", "")
        notes = _NOTES.fullmatch(name.rsplit("/", 1)[-1])
        if name.endswith("/context.yaml"):
            _take_context(draft, text, report)
        elif name.endswith("/progress.jsonl"):
            _take_progress(draft, text, report)
        elif notes and "/notes/" in name:
            draft.said += _notes(notes.group(2), text)


# ── a database of somebody else ─────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _opened(book: Path) -> Iterator[sqlite3.Connection]:
    """A private copy, with what its write-ahead log holds, read without trusting what is defined in it."""
    if book.is_symlink() or not book.is_file():
        raise Invalid({"folder": f"There is no {book}."})
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as private:
        for name in (book.name, f"{book.name}-wal"):
            source = book.parent / name
            if source.is_file() and not source.is_symlink():
                if source.stat().st_size > BOOK_MOST:
                    raise Invalid({"folder": f"{source} has more than {BOOK_MOST:,} bytes."})
                shutil.copyfile(source, Path(private) / name)
        with contextlib.closing(sqlite3.connect(Path(private) / book.name)) as database:
            steps = iter(range(STEPS_MOST // 10_000))
            database.set_progress_handler(lambda: next(steps, None) is None, 10_000)
            database.row_factory = sqlite3.Row
            database.text_factory = lambda text: text.decode("utf-8", errors="replace").replace("\0", "")
            try:
                database.execute("PRAGMA trusted_schema = OFF")
                database.execute("PRAGMA query_only = ON")
                database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            except sqlite3.Error as error:
                raise Invalid({"folder": f"{book} is no SQLite file: {error}."}) from None
            yield database


def _rows(database: sqlite3.Connection, table: str) -> Iterator[dict[str, Any]]:
    """The rows of a table by the names of its columns, whichever it has; none where there is no such table."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [table]).fetchone():
        for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608  # a name of ours
            yield {name: None if isinstance(row[name], bytes) else row[name] for name in row.keys()}  # noqa: SIM118
