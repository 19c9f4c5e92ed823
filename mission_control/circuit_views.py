"""The page of the loop breaker: which agents wake each other, and who is stopped. Not: when a circuit opens (loops.py)."""

from __future__ import annotations

from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import render

from mission_control import loops
from mission_control.models import Circuit
from mission_control.views import PageRequest, is_part, page

MOST = 200


@page(needs="operate")
def circuits(request: PageRequest) -> HttpResponse:
    template = "mission_control/_circuits.html" if is_part(request) else "mission_control/circuits.html"
    return render(request, template, _listed())


@page("POST", needs="operate")
def reset(request: PageRequest, waker: str, woken: str) -> HttpResponse:
    loops.reset(request.actor, waker, woken)
    return render(request, "mission_control/_circuits.html", _listed())


def _listed() -> dict[str, object]:
    """Open ones first, the latest on top; of the others those that woke most."""
    found = Circuit.objects.order_by(F("opened_at").desc(nulls_last=True), "-wakes", "-id")[: MOST + 1]
    return {"circuits": found[:MOST], "is_cut": len(found) > MOST, "most": MOST}
