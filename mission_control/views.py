"""Pages and parts of the floor: who may see a page, the freeze switch, the answers to what went wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

import brotli
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import patch_cache_control, patch_vary_headers

from mission_control import log, settings_tabs
from mission_control.accounts import first_run
from mission_control.actors import Actor, person
from mission_control.errors import NotAllowed, NotThere
from mission_control.forms import FirstAdminForm
from mission_control.outbound import notifications

View = Callable[..., HttpResponseBase]
COMPRESSED_FROM = 1000  # bytes


class PageRequest(HttpRequest):
    """A request that came through `page`: somebody is signed in."""

    actor: Actor


def page(*methods: str, needs: str = "read") -> Callable[[View], View]:
    """A view for people: signed in, with the ability it `needs`, by one of these methods (GET if none is named).

    The view finds the caller as `request.actor`. Parts (asked for by script) answer 401 with the way to the login
    instead of the login page itself.
    """

    def around(view: View) -> View:
        @wraps(view)
        def guarded(request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.method not in (methods or ("GET", "HEAD")):
                return HttpResponseNotAllowed(methods or ("GET", "HEAD"))
            if not request.user.is_authenticated:
                return _to_login(request)
            request.actor = person(request.user)
            if not request.actor.can(needs):
                raise NotAllowed("Your role does not allow this.")
            response = view(request, *args, **kwargs)
            patch_vary_headers(response, ["HX-Request", "Cookie"])
            if not response.has_header("Cache-Control"):
                patch_cache_control(response, private=True, no_cache=True)
                _compress(request, response)
            return response

        return guarded

    return around


def _to_login(request: HttpRequest) -> HttpResponse:
    if not is_part(request):
        return redirect(f"{settings.LOGIN_URL}?{urlencode({'next': request.get_full_path()})}")
    came_from = request.headers.get("HX-Current-URL", "/")
    path = "/" + came_from.split("://", 1)[-1].partition("/")[2]
    answer = JsonResponse({"error": "You are signed out.", "code": "signed_out"}, status=401)
    answer["HX-Redirect"] = f"{settings.LOGIN_URL}?{urlencode({'next': path})}"
    return answer


def _compress(request: HttpRequest, response: HttpResponseBase) -> None:
    """Pages and parts only: what holds a secret says no-store and comes as it is."""
    patch_vary_headers(response, ["Accept-Encoding"])
    if not isinstance(response, HttpResponse) or len(response.content) < COMPRESSED_FROM:
        return
    accepted = request.headers.get("Accept-Encoding", "")
    if "br" in accepted:
        response.content, response["Content-Encoding"] = brotli.compress(response.content, quality=5), "br"
    elif "gzip" in accepted:
        response.content, response["Content-Encoding"] = gzip.compress(response.content, 5, mtime=0), "gzip"


def is_part(request: HttpRequest) -> bool:
    """Whether script asks for a part of a page, not a person for a page."""
    return bool(request.headers.get("HX-Request"))


# ── the freeze ──────────────────────────────────────────────────────────────────────────────────────────────────────


@page("POST", needs="operate")
def freeze(request: PageRequest) -> HttpResponse:
    log.freeze(request.actor, reason=request.POST.get("reason", "")[:500].replace("\x00", ""))
    return _back(request)


@page("POST", needs="operate")
def thaw(request: PageRequest) -> HttpResponse:
    log.thaw(request.actor)
    return _back(request)


@page()
def fleet_banner(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/_banner.html")


@page()
def fleet_switch(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/_switch.html")


def _back(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204) if is_part(request) else redirect("/")


# ── notifications ───────────────────────────────────────────────────────────────────────────────────────────────────

RECENT = 30
SIGNS = {
    "review": "s-review", "failed": "s-failed", "question": "s-blocked", "unblocked": "s-ready", "idle": "i-agents",
    "mention": "i-comment", "assigned": "s-assigned",
}  # fmt: skip


@page()
def bell(request: PageRequest) -> HttpResponse:
    """The button with the number of unread ones."""
    return render(request, "mission_control/_bell.html")


@page()
def recent_notifications(request: PageRequest) -> HttpResponse:
    return _recent(request)


@page("POST")
def read_notifications(request: PageRequest) -> HttpResponse:
    """All of the person's own are read; answers the list."""
    notifications.mark_read(request.actor)
    return _recent(request)


def _recent(request: PageRequest) -> HttpResponse:
    lines = [
        {
            "href": f"/tasks/{n.task}" if n.task else f"/agents/{n.title}" if n.reason == "idle" else "/",
            "title": n.title or n.kind, "at": n.at, "read_at": n.read_at, "sign": SIGNS.get(n.reason, "i-bell"),
            "why": f"{notifications.WHY[n.reason]} · {n.actor}" + (f": {n.message}" if n.message else ""),
        }
        for n in notifications.of_actor(request.actor)[:RECENT]
    ]  # fmt: skip
    unread = any(line["read_at"] is None for line in lines)
    return render(request, "mission_control/_notifications.html", {"lines": lines, "unread": unread})


# ── the settings ────────────────────────────────────────────────────────────────────────────────────────────────────


@page()
def settings_frame(request: PageRequest) -> HttpResponse:
    """On to the first tab that the person may open."""
    return redirect(settings_tabs.of(request.actor)[0].path)


# ── the first run ───────────────────────────────────────────────────────────────────────────────────────────────────


def first_admin(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the printed link: it makes the admin, signs them in and goes on to the first agent."""
    if not first_run.is_valid(token):
        raise NotThere("This link was used already or is not one of ours.")
    form = FirstAdminForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        admin = first_run.make_admin(token, form.save(commit=False))
        login(request, admin, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("/connect")
    # No Referrer-Policy of its own: under no-referrer the browser sends "Origin: null" with the form, and it is refused.
    return render(request, "mission_control/first_run.html", {"form": form})


# ── what went wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def _answer(request: HttpRequest, status: int, sentence: str, template: str) -> HttpResponse:
    if is_part(request) or request.path.startswith("/api/"):
        return JsonResponse({"error": sentence, "code": template.split(".")[0]}, status=status)
    return render(request, template, status=status)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, 404, "It is not there.", "404.html")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, 403, "You may not do this.", "403.html")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, 403, "This page is too old for that: load it again.", "403.html")


def server_error(request: HttpRequest) -> HttpResponse:
    return _answer(request, 500, "The server could not do this. Nothing was changed.", "500.html")
