"""The page of the board as it was: a slider over the log, and columns that nothing can change. Not: the rebuilding (past.py)."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.utils.safestring import mark_safe

from mission_control import log
from mission_control.errors import Invalid, NotThere
from mission_control.views import PageRequest, is_part
from tasks import forms
from tasks.pages.past import Past, line_at


def past_board(request: PageRequest, slug: str, path: str) -> HttpResponse:
    """The board at `?at=`: a moment in ISO 8601, the number of a line of the log, or `now`."""
    past = Past(_line_asked_for(forms.printable(request.GET["at"]).strip()), slug)
    if slug and past.venture is None:
        raise NotThere("There is no such venture.")
    template = get_template("tasks/_card.html")
    for column in past.columns:
        column.markup = mark_safe("\n".join(template.render({"card": card}).strip() for card in past.cards(column)))
    context = {"past": past, "path": path}
    return render(request, "tasks/_past.html" if is_part(request) else "tasks/past.html", context)


def _line_asked_for(text: str) -> int:
    if text in ("", "now"):
        return log.head()
    if text.isdecimal() and len(text) < 19:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
        return line_at((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC))
    except (ValueError, OverflowError):
        raise Invalid({"at": "Give a date and a time, or the number of an activity."}) from None
