"""The menu of saved views in the rail: fetched when it is opened, so that no page pays for it."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.http import HttpResponse
from django.shortcuts import render

from mission_control.views import PageRequest, page
from tasks import forms
from tasks.pages import bookmarks


@page()
def menu(request: PageRequest) -> HttpResponse:
    return _menu(request)


@page("POST")
def save(request: PageRequest) -> HttpResponse:
    """The address is the page's own, as the browser tells it."""
    here = urlsplit(forms.printable(request.headers.get("HX-Current-URL", "")))
    name = forms.said_line(request.POST, "name", bookmarks.NAME)
    bookmarks.keep(request.actor, name, f"{here.path}?{here.query}", shared=bool(request.POST.get("shared")))
    return _menu(request)


@page("POST")
def delete(request: PageRequest, number: int) -> HttpResponse:
    bookmarks.delete(request.actor, number)
    return _menu(request)


def _menu(request: PageRequest) -> HttpResponse:
    path = urlsplit(request.headers.get("HX-Current-URL", "")).path
    context = {"views": bookmarks.of(request.actor), "on_board": bool(bookmarks.PATH.fullmatch(path))}
    return render(request, "tasks/_saved_views.html", context)
