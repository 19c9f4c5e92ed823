"""The page of one's own notifications: where one is told, of what and when. Not: the bell (views.py), the rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static

from mission_control.errors import Invalid
from mission_control.models import Channel, TellingTimes
from mission_control.outbound import channels, chat_services, web_push
from mission_control.outbound.notifications import WHY
from mission_control.views import PageRequest, page

WORKER = settings.BASE_DIR / "static" / "js" / "service-worker.js"
WORDS = {
    "review": "Verdict wanted", "approval": "Approval wanted", "question": "Question", "failed": "Failed",
    "mention": "Mention", "budget": "Budget", "idle": "Agent went silent", "webhook": "Webhook switched off",
    "yours": "What I asked for", "watching": "What I watch",
}  # fmt: skip
SIGNS = {"email": "i-mail", "push": "i-phone", "url": "i-comment"}


@dataclass
class Choice:
    """One reason to be told, as a box to tick."""

    value: str
    label: str
    is_on: bool

    @property
    def why(self) -> str:
        return WHY[self.value]


@dataclass
class Listed:
    """One channel in the list."""

    channel: Channel
    choices: list[Choice]

    @property
    def sign(self) -> str:
        return SIGNS[self.channel.type]

    @property
    def label(self) -> str:
        return self.channel.name or self.channel.shown


@page()
def notifications_page(request: PageRequest) -> HttpResponse:
    context = {
        **_channels(request), **_times(request), "sends_mail": channels.sends_mail(), "no_mail": channels.NO_MAIL,
        "push_key": web_push.public_key(), "zones": sorted(available_timezones()), "services": sorted(chat_services.SERVICES),
    }  # fmt: skip
    return render(request, "mission_control/telling.html", context)


@page()
def list_part(request: PageRequest) -> HttpResponse:
    return _list(request)


@page("POST")
def add(request: PageRequest) -> HttpResponse:
    form = request.POST
    subscription = None
    if form.get("subscription"):
        try:
            subscription = json.loads(form["subscription"])
        except ValueError:
            raise Invalid({"subscription": "This is not JSON."}) from None
    channels.add(
        request.actor, type=form.get("type", ""), address=_text(form, "address", 2000),
        subscription=subscription, name=_text(form, "name", 60),
    )  # fmt: skip
    return _list(request)


@page("POST")
def change(request: PageRequest, channel: str) -> HttpResponse:
    """The form with the boxes says which reasons; the switch says `enabled`."""
    form = request.POST
    changes: dict[str, Any] = {"enabled": form["enabled"] == "1"} if "enabled" in form else {}
    if "reasons-shown" in form:
        changes["reasons"] = form.getlist("reasons")
    channels.change(request.actor, channel, changes)
    return _list(request)


@page("POST")
def test(request: PageRequest, channel: str) -> HttpResponse:
    channels.test(request.actor, channel)
    return _list(request)


@page("POST")
def remove(request: PageRequest, channel: str) -> HttpResponse:
    channels.remove(request.actor, channel)
    return _list(request)


@page("POST")
def choose_times(request: PageRequest) -> HttpResponse:
    form = request.POST
    changes: dict[str, Any] = {
        "time_zone": form.get("time_zone", ""), "digest": form.get("digest", ""), "urgent": form.getlist("urgent"),
    }  # fmt: skip
    for name in ("quiet_from", "quiet_until", "digest_at"):
        try:
            changes[name] = channels.clock(form.get(name, ""))
        except ValueError as error:
            raise Invalid({name: str(error)}) from None
    if changes["digest_at"] is None:
        del changes["digest_at"]
    channels.choose_times(request.actor, changes)
    return render(request, "mission_control/_telling_times.html", {**_times(request), "saved": True})


# ── for the browser ─────────────────────────────────────────────────────────────────────────────────────────────────


def service_worker(request: HttpRequest) -> HttpResponse:
    """The script that shows a push when no page is open. At the root, so that it may stand for all of the product."""
    answer = HttpResponse(WORKER.read_text(encoding="utf-8"), content_type="text/javascript; charset=utf-8")
    answer["Cache-Control"] = "no-cache"
    return answer


def manifest(request: HttpRequest) -> JsonResponse:
    """What a phone needs to put the product on its home screen; iPhones take pushes only from there."""
    icon = {"src": static("img/mark.svg"), "type": "image/svg+xml", "sizes": "any"}
    told = {
        "name": "Mission Control", "short_name": "Control", "start_url": "/", "display": "standalone",
        "background_color": "#0f1216", "theme_color": "#0f1216", "icons": [icon],
    }  # fmt: skip
    return JsonResponse(told, content_type="application/manifest+json")


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def _list(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/_channels.html", _channels(request))


def _channels(request: PageRequest) -> dict[str, Any]:
    mine = channels.of_actor(request.actor)
    return {
        "listed": [Listed(channel, _choices(channel.reasons)) for channel in mine],
        "testing": any(channel.test_asked_at for channel in mine),
    }


def _times(request: PageRequest) -> dict[str, Any]:
    chosen = channels.times(channels.owner(request.actor))
    return {"times": chosen, "digests": TellingTimes.DIGESTS, "urgent": _choices(chosen.urgent)}


def _choices(chosen: list[str]) -> list[Choice]:
    return [Choice(reason, WORDS[reason], reason in chosen) for reason in channels.reasons()]


def _text(fields: Mapping[str, str], name: str, most: int) -> str:
    text = "".join(letter for letter in fields.get(name, "").strip() if letter.isprintable())
    if len(text) > most:
        raise Invalid({name: f"At most {most:,} characters."})
    return text
