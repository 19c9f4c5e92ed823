"""The calls that give tasks as files: all in one; of one its context, progress, notes, archive. Not: their formats (task_files.py)."""

from __future__ import annotations

import hashlib
import tempfile

from django.http import FileResponse, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes

from mission_control import log
from mission_control.endpoints import NOTHING_LOADS, Call, endpoint
from mission_control.query import Param, Query, line, one_of, several
from tasks import vocabulary
from tasks.exchange import exporting, task_files
from tasks.models import Task
from tasks.teamwork import collaboration
from tasks.transitions import visible

KEPT_IN_MEMORY = 5_000_000
EXPORTED = Query(
    Param("format", one_of(*exporting.FORMATS), "json unless said otherwise.", {"type": "string", "enum": list(exporting.FORMATS)}),
    Param("venture", line(60), "The slug of one venture."),
    Param("status", several(vocabulary.status_named), "Statuses, with commas."),
)  # fmt: skip


@endpoint(
    "GET", raw=OpenApiTypes.ANY, media=", ".join(exporting.FORMATS.values()), query=EXPORTED, title="Export the tasks"
)
def export(call: Call) -> HttpResponseBase:
    """All tasks that the caller sees as one file, oldest first, in the columns that an import reads."""
    kind = call.query.get("format", "json")
    tasks = exporting.chosen(call.actor, venture=call.query.get("venture", ""), statuses=call.query.get("status", ()))
    file = tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY)  # noqa: SIM115  # the response closes it
    try:
        for piece in exporting.written(kind, tasks):
            file.write(piece.encode())
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    media = exporting.FORMATS[kind]
    response = FileResponse(file, content_type=media if kind == "json" else f"{media}; charset=utf-8")
    response["Content-Length"] = str(size)
    return _closed(response, f"tasks.{exporting.ENDINGS[kind]}")


@endpoint("GET", raw=OpenApiTypes.OBJECT, media="application/yaml", title="Read the shared context as YAML")
def context_yaml(call: Call, code: str) -> HttpResponseBase:
    """What everyone on this task should know: `context` by key, and each contribution with who and when."""
    task = visible(call.actor, code)
    return _text(call, task_files.context_yaml(task), "application/yaml", f"{task.code}.yaml")


@endpoint("GET", raw=OpenApiTypes.STR, media="application/x-ndjson", title="Read the progress as JSON lines")
def progress_jsonl(call: Call, code: str) -> HttpResponseBase:
    """What was reported while it was worked on, a JSON object a line, oldest first."""
    task = visible(call.actor, code)
    return _text(call, task_files.progress_jsonl(task), "application/x-ndjson", f"{task.code}_progress.jsonl")


@endpoint("GET", raw=OpenApiTypes.STR, media="text/markdown", title="Read the own notes as Markdown")
def notes_md(call: Call, code: str) -> HttpResponseBase:
    """The caller's own notes on this task, oldest first. Nobody else reads them."""
    task = visible(call.actor, code)
    name, by, notes = _own_notes(call, task)
    return _text(call, task_files.notes_md(task, by, notes), "text/markdown", name)


@endpoint("GET", raw=OpenApiTypes.BINARY, media="application/gzip", title="Download a task as an archive")
def archive(call: Call, code: str) -> HttpResponseBase:
    """A tar.gz of the task: task.json, context, progress, the caller's own notes, the files handed in, its activities."""
    task = visible(call.actor, code)
    own = _own_notes(call, task)
    moment = log.now()
    file = tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY)  # noqa: SIM115  # the response closes it
    try:
        task_files.write_archive(file, task, [own] if own[2] else [], moment)
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    response = FileResponse(file, content_type="application/gzip")
    response["Content-Length"] = str(size)
    return _closed(response, f"{task_files.archive_name(task, moment)}.tar.gz")


def _own_notes(call: Call, task: Task) -> tuple[str, str, list[collaboration.Note]]:
    by_type, by = collaboration.author(call.actor)
    return task_files.notes_name(task, by_type, by), by, list(collaboration.notes_of(call.actor, task))


def _text(call: Call, text: str, media: str, name: str) -> HttpResponseBase:
    body = text.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if call.headers.get("If-None-Match", "") == tag:
        return HttpResponseNotModified(headers={"ETag": tag})
    response = _closed(HttpResponse(body, content_type=f"{media}; charset=utf-8"), name)
    response["ETag"] = tag
    return response


def _closed(response: HttpResponseBase, name: str) -> HttpResponseBase:
    """An attachment: what people and agents wrote is never opened in the board's own origin."""
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = f"{NOTHING_LOADS}; sandbox"
    response["Cache-Control"] = "private, no-cache"
    return response
