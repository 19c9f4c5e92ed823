"""The calls on webhooks and their deliveries, with what they take and give. Not: rules (webhooks.py, deliveries.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import NO_STORE, OPERATE, Call, endpoint
from mission_control.fields import Answer, Flag, Line, Matching, StrictSerializer, Whole, Words
from mission_control.models import Delivery, Webhook
from mission_control.outbound import deliveries, webhooks
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Param, Query, line, one_of
from mission_control.strict_json import iso

SLUG = r"[-a-zA-Z0-9_]{1,60}"
STATES = tuple(state for state, _ in Delivery.STATES)
SECRET = "whsec_ and the base64 of 24 to 64 bytes; one is made without."  # noqa: S105  # a help text


class WebhookFields(StrictSerializer):
    aliases = {"event_types": "kinds", "events": "kinds", "active": "enabled", "name": "description"}
    read_only_names = (
        "id", "disabled_reason", "failures", "failing_since", "hold_until", "delivered_at", "created_by", "created_at",
        "version",
    )  # fmt: skip

    description = Line(500)
    kinds = Words(100, 40, help_text="Kinds of the log, task.completed, or all of a noun, task.*. None: everything.")
    ventures = Words(100, 60, help_text="Slugs. None: all, and what belongs to none.")
    concurrency = Whole(1, 20, help_text="How many messages it takes at once. 1 keeps the order as long as all arrive.")


class WebhookIn(WebhookFields):
    url = Line(2000, required=True, help_text="https:// or http://, on the internet or listed in OUTGOING_ALLOWED.")
    secret = Line(200, help_text=SECRET)
    agent = Matching(
        60,
        SLUG,
        "Use letters, digits, - and _.",
        blank=False,
        help_text="Its own address: told of its assignments only.",
    )


class WebhookChange(WebhookFields):
    url = Line(2000, blank=False)
    enabled = Flag()


class RotateIn(StrictSerializer):
    overlap_hours = Whole(0, 24 * 30, default=24, help_text="So long the old secret signs as well.")
    secret = Line(200, help_text=SECRET)


class RedeliverIn(StrictSerializer):
    since = Whole(required=True, help_text="Only lines of the log with a higher number.")
    until = Whole(allow_null=True, help_text="And none with a higher one than this.")
    everything = Flag(default=False, help_text="Also what arrived. Else what failed or was missed while disabled.")


class WebhookOut(Answer):
    id = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    kinds = serializers.ListField(child=serializers.CharField())
    ventures = serializers.ListField(child=serializers.CharField())
    agent = serializers.CharField(allow_null=True, help_text="Whose own address it is.")
    concurrency = serializers.IntegerField()
    enabled = serializers.BooleanField()
    disabled_reason = serializers.CharField(allow_blank=True)
    failures = serializers.IntegerField(help_text="In a row.")
    failing_since = serializers.DateTimeField(allow_null=True)
    hold_until = serializers.DateTimeField(allow_null=True, help_text="Until then nothing is sent there.")
    delivered_at = serializers.DateTimeField(allow_null=True, help_text="When something arrived last.")
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    version = serializers.IntegerField()

    @classmethod
    def shape(cls, thing: Webhook, call: Any) -> dict[str, Any]:
        return {
            "id": thing.code, "url": thing.url, "description": thing.description, "kinds": thing.kinds,
            "ventures": thing.ventures, "agent": thing.agent or None, "concurrency": thing.concurrency,
            "enabled": thing.enabled, "disabled_reason": thing.disabled_reason, "failures": thing.failures,
            "failing_since": iso(thing.failing_since), "hold_until": iso(thing.hold_until),
            "delivered_at": iso(thing.delivered_at), "created_by": thing.created_by,
            "created_at": iso(thing.created_at), "version": thing.version,
        }  # fmt: skip


class NewWebhookOut(Answer):
    webhook = WebhookOut()
    secret = serializers.CharField(help_text="Signs the messages. Shown once.")


class AttemptOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    milliseconds = serializers.IntegerField(allow_null=True)


class DeliveryOut(Answer):
    id = serializers.CharField(help_text="The webhook-id of each attempt.")
    webhook = serializers.CharField()
    seq = serializers.IntegerField(allow_null=True, help_text="The line of the log; null: a test.")
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=Delivery.STATES)
    tries = serializers.IntegerField()
    next_at = serializers.DateTimeField(allow_null=True)
    attempts = AttemptOut(many=True, help_text="The latest ones.")
    answer = serializers.CharField(allow_blank=True, help_text="How the endpoint's last answer began.")
    created_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Delivery, call: Any) -> dict[str, Any]:
        return {
            "id": thing.message_id, "webhook": thing.webhook.code, "seq": thing.seq or None, "kind": thing.kind,
            "state": thing.state, "tries": thing.tries,
            "next_at": iso(thing.next_at) if thing.state == "pending" else None, "attempts": thing.attempts,
            "answer": thing.answer, "created_at": iso(thing.created_at),
        }  # fmt: skip


class RedeliveredOut(Answer):
    messages = serializers.IntegerField(help_text="How many go out again.")


@endpoint(
    "GET", needs=OPERATE, gives=WebhookOut, name="webhooks", paged=True,
    query=Query(Param("agent", line(60), "The own address of this one."), LIMIT, CURSOR),
)  # fmt: skip
def list_webhooks(call: Call) -> Page:
    """List the webhooks, newest first. Secrets are not shown again."""
    hooks = Webhook.objects.all()
    if call.query.get("agent"):
        hooks = hooks.filter(agent=call.query["agent"])
    return page(hooks, call.query, orders={"created_at": None}, default="-created_at", bare=call.bare)


@endpoint("POST", needs=OPERATE, takes=WebhookIn, gives=NewWebhookOut, status=201, headers=NO_STORE, title="Subscribe")
def create_webhook(call: Call) -> dict[str, Any]:
    """Subscribe an address to lines of the log: by kind, by venture, or as the own address of an agent."""
    hook, secret = webhooks.create(call.actor, **call.given)
    return {"webhook": WebhookOut.shape(hook, call), "secret": secret}


@endpoint("GET", needs=OPERATE, gives=WebhookOut, name="webhook")
def read_webhook(call: Call, hook: str) -> Webhook:
    """Read one webhook."""
    return webhooks.by_code(hook)


@endpoint("PATCH", needs=OPERATE, takes=WebhookChange, gives=WebhookOut, name="webhook")
def change_webhook(call: Call, hook: str) -> Webhook:
    """Change a webhook, disable or enable it. What it missed while disabled is sent by redeliver."""
    return webhooks.change(call.actor, hook, call.given, version=call.version)


@endpoint("DELETE", needs=OPERATE, status=204)
def delete_webhook(call: Call, hook: str) -> None:
    """Delete a webhook and its deliveries."""
    webhooks.delete(call.actor, hook)


@endpoint("POST", needs=OPERATE, takes=RotateIn, gives=NewWebhookOut, headers=NO_STORE, title="Rotate the secret")
def rotate_secret(call: Call, hook: str) -> dict[str, Any]:
    """Make a new secret. Until the overlap ends each message carries a signature by both."""
    changed, secret = webhooks.rotate(
        call.actor, hook, overlap_hours=call.given["overlap_hours"], secret=call.given.get("secret", "")
    )
    return {"webhook": WebhookOut.shape(changed, call), "secret": secret}


@endpoint("POST", needs=OPERATE, gives=DeliveryOut, name="delivery", status=202, title="Send a test")
def test_webhook(call: Call, hook: str) -> Delivery:
    """Send one message of type webhook.test. Its delivery tells how that went, within a second or two."""
    return deliveries.test(call.actor, hook)


@endpoint(
    "GET", needs=OPERATE, gives=DeliveryOut, name="deliveries", paged=True, title="How deliveries went",
    query=Query(
        Param("state", one_of(*STATES), "Only these; dead ones are the dead letters.", {"type": "string", "enum": list(STATES)}),
        Param("kind", line(40), "Only messages of this type."),
        LIMIT, CURSOR,
    ),
)  # fmt: skip
def list_deliveries(call: Call, hook: str) -> Page:
    """The deliveries of a webhook with their attempts, newest first. Finished ones are kept for 30 days."""
    rows = Delivery.objects.filter(webhook=webhooks.by_code(hook)).select_related("webhook")
    for name in ("state", "kind"):
        if call.query.get(name):
            rows = rows.filter(**{name: call.query[name]})
    return page(rows, call.query, orders={"created_at": None}, default="-created_at", bare=call.bare)


@endpoint("POST", needs=OPERATE, gives=DeliveryOut, name="delivery", status=202, title="Redeliver one")
def redeliver_one(call: Call, hook: str, message: str) -> Delivery:
    """Send a message again, under the same webhook-id."""
    return deliveries.redeliver(call.actor, hook, message)


@endpoint("POST", needs=OPERATE, takes=RedeliverIn, gives=RedeliveredOut, status=202, title="Redeliver a range")
def redeliver_range(call: Call, hook: str) -> dict[str, Any]:
    """Send a range of the log again: what failed and what was missed while disabled, or everything."""
    given = call.given
    return {
        "messages": deliveries.redeliver_range(
            call.actor, hook, since=given["since"], until=given.get("until"), everything=given["everything"]
        )
    }
