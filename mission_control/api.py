"""The calls on the fleet, tickets for streams, and the document that describes all calls. Not: the log (tasks/api.py)."""

from __future__ import annotations

from typing import Any

from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers

from mission_control import log, tickets
from mission_control.endpoints import NO_STORE, OPERATE, Call, endpoint
from mission_control.fields import Answer, StrictSerializer, Text
from mission_control.models import Fleet
from mission_control.strict_json import iso


class FreezeIn(StrictSerializer):
    reason = Text(500)


class FleetOut(Answer):
    frozen = serializers.BooleanField()
    frozen_at = serializers.DateTimeField(allow_null=True)
    frozen_by = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)

    @classmethod
    def shape(cls, thing: Fleet, call: Any) -> dict[str, Any]:
        return {
            "frozen": thing.frozen_at is not None, "frozen_at": iso(thing.frozen_at),
            "frozen_by": thing.frozen_by or None, "reason": thing.frozen_reason,
        }  # fmt: skip


class TicketOut(Answer):
    ticket = serializers.CharField(help_text="Goes into `?ticket=` of one stream, once.")
    expires_in = serializers.IntegerField(help_text="Seconds.")


@endpoint("GET", gives=FleetOut, title="Is the fleet frozen?")
def read_freeze(call: Call) -> Fleet:
    """Whether the fleet is frozen: no new claims, leases stay."""
    return Fleet.objects.get(pk=1)


@endpoint("POST", needs=OPERATE, takes=FreezeIn, gives=FleetOut)
def freeze(call: Call) -> Fleet:
    """Freeze the fleet. No new claims anywhere until it is thawed; work in hand goes on."""
    return log.freeze(call.actor, call.given.get("reason", ""))


@endpoint("GET", gives=FleetOut, title="Is the fleet thawed?")
def read_thaw(call: Call) -> Fleet:
    """The same as for freeze."""
    return Fleet.objects.get(pk=1)


@endpoint("POST", needs=OPERATE, takes=StrictSerializer, gives=FleetOut)
def thaw(call: Call) -> Fleet:
    """Thaw the fleet. Claims go through again."""
    return log.thaw(call.actor)


@endpoint("POST", takes=StrictSerializer, gives=TicketOut, status=201, headers=NO_STORE)
def create_ticket(call: Call) -> dict[str, Any]:
    """Get a one-time ticket for a stream, for clients that cannot send a header there."""
    secret, seconds = tickets.create(call.actor)
    return {"ticket": secret, "expires_in": seconds}


class Schema(SpectacularAPIView):
    """The OpenAPI document, for anyone: it says nothing that the source does not."""

    authentication_classes = ()
    permission_classes = ()


@method_decorator(csp_update({"style-src": "'unsafe-inline'"}), name="dispatch")
class Docs(SpectacularSwaggerSplitView):
    """The document to read and to try out, with nothing from elsewhere."""

    authentication_classes = ()
    permission_classes = ()
    url_name = "schema"
