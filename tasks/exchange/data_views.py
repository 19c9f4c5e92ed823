"""The page where tasks come in and go out as files. Not: formats (import_formats.py, exporting.py), rules (importing.py)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from mission_control.errors import Invalid
from mission_control.plain_http import IMPORT_BYTES
from mission_control.views import PageRequest, page
from tasks.exchange import import_formats, importing
from ventures import catalogue
from ventures.models import Venture

ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
MOST_MB = IMPORT_BYTES // 1_000_000
SHOWN = 12  # of the tasks that would come


@page(needs="operate")
def data(request: PageRequest) -> HttpResponse:
    ventures = Venture.objects.exclude(status="archived")
    return render(request, "tasks/data.html", {"ventures": ventures, "most_mb": MOST_MB})


@page("POST", needs="operate")
def bring_in(request: PageRequest) -> HttpResponse:
    """What would come of the file, or with `do` = import what came of it."""
    file = request.FILES.get("file")
    if file is None:
        raise Invalid({"file": "Choose a file."})
    ending = Path(file.name or "").suffix.lower()
    if ending not in ENDINGS:
        raise Invalid({"file": f"Choose a file that ends in {', '.join(ENDINGS)}."})
    if (file.size or 0) > IMPORT_BYTES:
        raise Invalid({"file": f"At most {MOST_MB} MB."})
    venture = catalogue.by_slug(request.POST.get("venture", ""))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tasks{ending}"
        with path.open("wb") as copy:
            for piece in file.chunks():
                copy.write(piece)
        kind, drafts, report = import_formats.read(path)
    is_real = request.POST.get("do") == "import"
    importing.take(
        request.actor, drafts, source=f"{kind}:{venture.slug}", venture=venture, report=report,
        make_agents=bool(request.POST.get("make_agents")), dry_run=not is_real,
    )  # fmt: skip
    return render(request, "tasks/_import_report.html", _told(drafts, report, is_real=is_real))


def _told(drafts: list[importing.Draft], report: importing.Report, *, is_real: bool) -> dict[str, Any]:
    coming = [draft for draft in drafts if draft.id in report.created]
    return {
        "lines": report.lines(dry_run=not is_real),
        "coming": [(draft, report.created[draft.id]) for draft in coming[:SHOWN]],
        "hidden": max(0, len(coming) - SHOWN), "is_real": is_real,
    }  # fmt: skip
