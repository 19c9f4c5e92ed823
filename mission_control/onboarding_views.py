"""The addresses of the texts for agents and of the command line: open to everybody, they hold no secret.

Not: the texts (onboarding.py), the file (command_line.py).
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe

from mission_control import command_line, onboarding, strict_json
from mission_control.endpoints import NOTHING_LOADS


@require_safe
def text(request: HttpRequest, name: str) -> HttpResponseBase:
    """One page; its ETag is its SHA-256, as skill.json has it."""
    kind = "text/markdown" if name.endswith(".md") else "text/plain"
    return _told(request, onboarding.page(name, address_of(request)), f"{kind}; charset=utf-8")


@require_safe
def guide(request: HttpRequest) -> HttpResponseBase:
    return _told(request, onboarding.guide(address_of(request)), "text/markdown; charset=utf-8")


@require_safe
def skill_json(request: HttpRequest) -> HttpResponseBase:
    return _told(request, strict_json.write(onboarding.as_json(address_of(request))).decode(), "application/json")


@require_safe
def mctl(request: HttpRequest) -> HttpResponseBase:
    """The command line as one file: `curl -fsS …/mctl -o mctl; python3 mctl list`."""
    content, digest = command_line.packed()
    return _answered(request, content, digest, "application/octet-stream")


def address_of(request: HttpRequest) -> str:
    """This server's address as the settings say it, else as it was called."""
    return settings.PUBLIC_URL or f"{request.scheme}://{request.get_host()}"


def _told(request: HttpRequest, said: str, kind: str) -> HttpResponse:
    return _answered(request, said.encode(), onboarding.digest(said), kind)


def _answered(request: HttpRequest, content: bytes, digest: str, kind: str) -> HttpResponse:
    tag = f'"{digest}"'
    if tag in request.headers.get("If-None-Match", ""):
        return HttpResponse(status=304, headers={"ETag": tag})
    return HttpResponse(
        content, content_type=kind,
        headers={"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": NOTHING_LOADS},
    )  # fmt: skip
