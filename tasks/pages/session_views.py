"""The page of all runs and the part of it that is live. Not: what it shows (session_lines.py)."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from mission_control.views import PageRequest, is_part, page
from tasks.pages.session_lines import PAGE, Sessions


@page()
def sessions(request: PageRequest) -> HttpResponse:
    most = request.GET.get("most", "")
    shown = Sessions(request.GET, int(most) if most.isascii() and most.isdecimal() and len(most) < 6 else PAGE)
    template = "tasks/_all_sessions.html" if is_part(request) else "tasks/all_sessions.html"
    return render(request, template, {"sessions": shown})
