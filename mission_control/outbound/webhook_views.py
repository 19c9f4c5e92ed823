"""The pages of the webhooks: the list, one with how its deliveries went, its secret, its switch. Not: rules (webhooks.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect, render

from mission_control import log, strict_json
from mission_control.errors import Invalid
from mission_control.models import Delivery, Webhook
from mission_control.outbound import deliveries, webhooks
from mission_control.outbound.outgoing import host_of
from mission_control.outbound.webhooks_api import RedeliverIn, RotateIn, WebhookChange, WebhookIn
from mission_control.views import PageRequest, is_part, page

PAGE, MOST = 25, 500  # deliveries
SHOWN_ATTEMPTS = 5
OVERLAPS = ((24, "1 day"), (1, "1 hour"), (168, "7 days"), (0, "not at all"))


@dataclass(frozen=True)
class Line:
    """One webhook as its page and the list show it."""

    hook: Webhook
    moment: datetime
    dead: int = 0

    @property
    def state(self) -> str:
        """on, holding (its circuit is open: too many failures in a row) or off."""
        if not self.hook.enabled:
            return "off"
        return "holding" if self.hook.hold_until and self.hook.hold_until > self.moment else "on"

    @property
    def host(self) -> str:
        return host_of(self.hook.url)

    @property
    def told(self) -> str:
        if self.hook.agent:
            return f"what is assigned to {self.hook.agent}"
        return ", ".join(self.hook.kinds) or "everything"

    @property
    def old_secret_until(self) -> datetime | None:
        until = self.hook.old_secret_until
        return until if until and until > self.moment else None


@dataclass(frozen=True)
class Sent:
    """One delivery with its latest attempts, the last one first."""

    delivery: Delivery

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return list(reversed(self.delivery.attempts))[:SHOWN_ATTEMPTS]

    @property
    def last(self) -> dict[str, Any]:
        return self.attempts[0] if self.attempts else {}


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────


@page(needs="operate")
def hooks(request: PageRequest) -> HttpResponse:
    dead = Count("deliveries", filter=Q(deliveries__state="dead"))
    lines = [Line(hook, log.now(), hook.dead) for hook in Webhook.objects.annotate(dead=dead).order_by("-id")]
    template = "mission_control/_webhooks.html" if is_part(request) else "mission_control/webhooks.html"
    return render(request, template, {"lines": lines})


@page("POST", needs="operate")
def create(request: PageRequest) -> HttpResponse:
    """The form again, above it the secret of the new one, which is shown this once."""
    made, secret = webhooks.create(request.actor, **WebhookIn.read(_fields(request.POST)))
    return _once(request, "mission_control/_new_webhook.html", {"made": made, "secret": secret})


# ── one of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@page(needs="operate")
def hook(request: PageRequest, code: str) -> HttpResponse:
    template = "mission_control/_webhook.html" if is_part(request) else "mission_control/webhook.html"
    return render(request, template, _about(request, webhooks.by_code(code)))


@page("POST", needs="operate")
def change(request: PageRequest, code: str) -> HttpResponse:
    """Refused with 412 when somebody else changed it since the form was shown."""
    given = WebhookChange.read(_fields(request.POST))
    changed = webhooks.change(request.actor, code, given, version=_whole("version", request.POST))
    return _part(request, changed, saved=True)


@page("POST", needs="operate")
def switch(request: PageRequest, code: str) -> HttpResponse:
    """`enabled` is on or off."""
    return _part(request, webhooks.change(request.actor, code, {"enabled": request.POST.get("enabled") == "on"}))


@page("POST", needs="operate")
def rotate(request: PageRequest, code: str) -> HttpResponse:
    """The new secret, which is shown this once. It stands beside what is fetched again by itself."""
    given = RotateIn.read({"overlap_hours": _whole("overlap_hours", request.POST)})
    changed, secret = webhooks.rotate(request.actor, code, overlap_hours=given["overlap_hours"])
    return _once(request, "mission_control/_webhook_secret.html", {"hook": changed, "secret": secret})


@page("POST", needs="operate")
def test(request: PageRequest, code: str) -> HttpResponse:
    deliveries.test(request.actor, code)
    return _part(request, webhooks.by_code(code))


@page("POST", needs="operate")
def redeliver(request: PageRequest, code: str, message: str) -> HttpResponse:
    deliveries.redeliver(request.actor, code, message)
    return _part(request, webhooks.by_code(code))


@page("POST", needs="operate")
def redeliver_range(request: PageRequest, code: str) -> HttpResponse:
    """From one line of the log through another; without an end, up to now."""
    first = _whole("first", request.POST)
    given = RedeliverIn.read(
        {"since": first - 1 if first else first, "until": _whole("last", request.POST)}
        | ({"everything": True} if request.POST.get("everything") else {})
    )
    count = deliveries.redeliver_range(
        request.actor, code, since=given["since"], until=given["until"], everything=given["everything"]
    )
    return _part(request, webhooks.by_code(code), again=count, was_asked=True)


@page("POST", needs="operate")
def delete(request: PageRequest, code: str) -> HttpResponse:
    webhooks.delete(request.actor, code)
    if not is_part(request):
        return redirect("/settings/webhooks")
    answer = HttpResponse(status=204)
    answer["HX-Redirect"] = "/settings/webhooks"
    return answer


def _part(request: PageRequest, shown: Webhook, **more: Any) -> HttpResponse:
    return render(request, "mission_control/_webhook.html", {**_about(request, shown), **more})


def _about(request: PageRequest, shown: Webhook) -> dict[str, Any]:
    state = request.GET.get("state", "")
    state = state if state in dict(Delivery.STATES) else ""
    asked = request.GET.get("most", "")
    most = max(PAGE, min(MOST, int(asked))) if asked.isascii() and asked.isdecimal() and len(asked) < 6 else PAGE
    found = list(Delivery.objects.filter(webhook=shown, **({"state": state} if state else {}))[: most + 1])
    return {
        "line": Line(shown, log.now()),
        "sent": [Sent(delivery) for delivery in found[:most]],
        "more": most + 2 * PAGE if len(found) > most and most < MOST else 0,
        "most": most, "state": state, "states": Delivery.STATES, "overlaps": OVERLAPS,
    }  # fmt: skip


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def _once(request: PageRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """An answer with a secret in it: nobody keeps a copy on the way."""
    response = render(request, template, context)
    response["Cache-Control"] = "no-store"
    return response


def _fields(fields: Mapping[str, str]) -> dict[str, Any]:
    """As the API takes them; kinds and ventures stand in one line each, with commas or spaces between."""
    given: dict[str, Any] = {name: fields[name].strip() for name in ("url", "description") if name in fields}
    given |= {name: fields[name].replace(",", " ").split() for name in ("kinds", "ventures") if name in fields}
    if fields.get("concurrency"):
        given["concurrency"] = _whole("concurrency", fields)
    strict_json.check(list(given.values()))
    return given


def _whole(name: str, fields: Mapping[str, str]) -> int | None:
    text = fields.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Invalid({name: "Give a whole number."})
    return int(text)
