"""The inbox of people: the page, its list, and the verbs pressed on it. Not: what stands in it (inbox.py)."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from mission_control.errors import NotThere, Refused
from mission_control.views import PageRequest, is_part, page
from tasks import forms
from tasks.pages.inbox import SHOWN, SORTS, Inbox
from tasks.views import VERBS

PRESSED = {name for sort in SORTS for name in (sort.forward, sort.back) if name}


@page()
def inbox(request: PageRequest) -> HttpResponse:
    return _answer(request, "tasks/_inbox.html" if is_part(request) else "tasks/inbox.html")


@page("POST")
def act(request: PageRequest, code: str, name: str) -> HttpResponse:
    """A button of a line, and the list after it. Who may press it, the verb itself decides."""
    if name not in PRESSED:
        raise NotThere("There is no such verb.")
    VERBS[name](request.actor, code, forms.reason(request.POST))
    return _answer(request, "tasks/_inbox.html")


@page("POST")
def act_on_alike(request: PageRequest, name: str) -> HttpResponse:
    """A way onward for all `codes` that the page named, each in a unit of its own. Refused: what did not go, and why."""
    codes = [code for code in forms.printable(request.POST.get("codes", "")).split(",") if code]
    if name not in {sort.forward for sort in SORTS if sort.forward} or not 1 <= len(codes) <= SHOWN:
        raise NotThere("There is no such verb.")
    refused = []
    for code in dict.fromkeys(codes):
        try:
            VERBS[name](request.actor, code, "")
        except Refused as refusal:
            refused.append(f"{code}: {refusal.sentence}")
    if refused:
        raise Refused(f"{len(refused)} of {len(codes)} did not go. {' '.join(refused[:3])}", code="some_refused")
    return _answer(request, "tasks/_inbox.html")


def _answer(request: PageRequest, template: str) -> HttpResponse:
    return render(request, template, {"inbox": Inbox(request.actor), "shown": SHOWN})
