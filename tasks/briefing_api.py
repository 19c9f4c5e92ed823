"""The call that gives a briefing, as JSON or as text. Not: what stands in it (briefing.py)."""

from __future__ import annotations

from django.http import HttpResponse

from mission_control.endpoints import NO_STORE, Call, endpoint
from mission_control.query import Param, Query, one_of
from tasks import briefing
from tasks.models import Task
from tasks.serializers import BriefingOut
from tasks.shapes import briefing_of
from tasks.transitions import visible

TEXT = "text/markdown"
FORMS = Query(
    Param(
        "format", one_of("json", "text"), f"text: the same as {TEXT}; so does Accept.",
        {"type": "string", "enum": ["json", "text"]},
    )
)  # fmt: skip


@endpoint("GET", gives=BriefingOut, name="briefing", media=TEXT, query=FORMS, headers=NO_STORE, title="Read a briefing")
def read_briefing(call: Call, code: str) -> Task | HttpResponse:
    """What whoever works on it has to know, as it is now: the task, and material around it within a budget of tokens.

    What people and agents wrote stands under `quoted` alone, with who wrote it; as text, between random marks.
    """
    task = visible(call.actor, code)
    if call.query.get("format", _preferred(call)) != "text":
        return task
    return HttpResponse(briefing.as_text(briefing_of(task)), content_type=f"{TEXT}; charset=utf-8", headers=NO_STORE)


def _preferred(call: Call) -> str:
    accepted = call.headers.get("Accept", "").lower()
    return "text" if TEXT in accepted or accepted.startswith("text/plain") else "json"
