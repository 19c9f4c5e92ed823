"""The part of a venture's page that merges its finished branches: first what would happen, then it. Not: git (merging.py)."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from mission_control.views import PageRequest, page
from tasks.dispatching import merging
from ventures import catalogue


@page("GET", "POST", needs="operate")
def branches(request: PageRequest, slug: str) -> HttpResponse:
    """What would become of each branch; a POST does it and shows what became of it."""
    merge = merging.merge(request.actor, catalogue.by_slug(slug), dry_run=request.method == "GET")
    return render(request, "tasks/_branches.html", {"venture": merge.venture, "merge": merge})
