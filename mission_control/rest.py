"""REST's edges: what comes in, what goes out, who calls. Not: the calls and how they are bound (endpoints.py).

Named in the settings, so nothing here imports the framework's views: they read the settings when they are imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.authentication import BaseAuthentication, CSRFCheck
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from mission_control import callers, strict_json
from mission_control.actors import Actor, person
from mission_control.errors import NotAllowed, as_refusal

JSON = "application/json"
ANYONE: tuple[str, ...] | None = None  # no credentials needed
KNOWN: tuple[str, ...] = ()  # any live key or login, also of an agent that nobody claimed yet
READ = ("read",)


# ── in and out ──────────────────────────────────────────────────────────────────────────────────────────────────────


class StrictJSONParser(BaseParser):
    """See strict_json.read."""

    media_type = JSON

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return strict_json.read(stream.read(strict_json.MOST_BYTES + 1))


class UploadParser(MultiPartParser):
    """multipart/form-data, for deliverables."""


class Renderer(JSONRenderer):
    """See strict_json.write."""

    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else strict_json.write(data)


def answer_exception(error: Exception, _context: Any = None) -> HttpResponseBase | None:
    """What the API answers to an exception; None for a fault of ours, which is raised on and logged."""
    refused = as_refusal(error)
    if refused is None:
        return None
    body = strict_json.write(refused.body())
    response = HttpResponse(body, status=refused.status, content_type="application/json")
    for name, value in refused.headers().items():
        response[name] = value
    return response


class JsonOnly(BaseContentNegotiation):
    """Whatever Accept says, the answer is JSON."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)

    def select_renderer(self, request: Request, renderers: Iterable[Any], format_suffix: Any = None) -> Any:
        first = next(iter(renderers))
        return first, first.media_type


# ── who ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class CallerAuthentication(BaseAuthentication):
    """An agent's key, a person's session with its CSRF token, or the open mode; `request.user` is the Actor."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        django_request = request._request
        headers = lower(request)
        remote = callers.remote_of(request.META.get("REMOTE_ADDR", ""), headers)
        if "authorization" not in headers:
            user = django_request.user
            if user.is_authenticated:
                callers.refuse_key_in(request.META.get("QUERY_STRING", ""))
                self._enforce_csrf(django_request)
                return person(user), None
        actor = callers.identify(headers, remote, request.META.get("QUERY_STRING", ""))
        return (actor, None) if actor else None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Mission Control"'

    def _enforce_csrf(self, request: HttpRequest) -> None:
        check = CSRFCheck(lambda _: HttpResponse())
        check.process_request(request)
        reason = check.process_view(request, lambda _: HttpResponse(), (), {})
        if reason:
            raise NotAllowed(f"The CSRF token is missing or wrong: {reason}", code="csrf")


class MayRead(BasePermission):
    """What the endpoint needs; without one, that the caller may read."""

    def has_permission(self, request: Request, view: Any) -> bool:
        endpoints: Mapping[str, Any] = getattr(view, "endpoints", {})
        made = endpoints.get("GET" if request.method == "HEAD" else request.method or "")
        if endpoints and made is None:
            return True  # 405 says more
        needs = made.needs if made else READ
        if needs is ANYONE:
            return True
        actor = request.user if isinstance(request.user, Actor) else None
        if actor is None:
            raise callers.Unknown
        if needs:
            callers.require(actor, *needs)
        return True


def lower(request: Request | HttpRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}
