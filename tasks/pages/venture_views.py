"""The pages of ventures: the list, one with its money and its agents, its settings. Not: their boards (views.py)."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render

from mission_control.views import PageRequest, is_part, page
from tasks.pages.venture_lines import PAGE, every, one
from ventures import catalogue, forms
from ventures.models import Venture


@page("GET", "HEAD", "POST")
def ventures(request: PageRequest) -> HttpResponse:
    """All of them; a POST makes one."""
    if request.method == "POST":
        made = catalogue.create(request.actor, **forms.name_and_icon(request.POST))
        return redirect(f"/ventures/{made.slug}")
    template = "tasks/_ventures.html" if is_part(request) else "tasks/ventures.html"
    return render(request, template, {"ventures": every()})


@page()
def venture(request: PageRequest, slug: str) -> HttpResponse:
    most = request.GET.get("most", "")
    line = one(catalogue.by_slug(slug), int(most) if most.isascii() and most.isdecimal() and len(most) < 6 else PAGE)
    template = "tasks/_venture.html" if is_part(request) else "tasks/venture.html"
    return render(request, template, {"line": line, **CHOICES})


@page("POST", needs="operate")
def settings(request: PageRequest, slug: str) -> HttpResponse:
    """The form again, as it was saved. Refused with 412 when somebody else changed the venture in between."""
    given, version = forms.settings(request.POST)
    saved = catalogue.change(request.actor, catalogue.by_slug(slug), given, version=version)
    return render(request, "tasks/_venture_settings.html", {"line": one(saved), "saved": True, **CHOICES})


CHOICES = {
    "statuses": Venture.STATUSES,
    "intakes": Venture.INTAKES,
    "ranks": [(label.lower(), rank, label) for rank, label in Venture.PRIORITIES],
}
