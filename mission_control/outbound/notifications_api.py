"""The calls on one's own notifications, with what they take and give. Not: who is told of what (notifications.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import Call, endpoint
from mission_control.errors import Invalid
from mission_control.fields import Answer, StrictSerializer, Whole
from mission_control.models import Notification
from mission_control.outbound import notifications
from mission_control.outbound.notifications import REASONS
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Param, Query, flag, one_of
from mission_control.strict_json import iso

MOST = 500


class NotificationOut(Answer):
    id = serializers.IntegerField()
    seq = serializers.IntegerField(help_text="The line of the log it tells of.")
    reason = serializers.ChoiceField(choices=REASONS)
    kind = serializers.CharField()
    level = serializers.CharField()
    actor = serializers.CharField()
    actor_type = serializers.CharField()
    venture = serializers.CharField(allow_null=True)
    task = serializers.CharField(allow_null=True)
    title = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    at = serializers.DateTimeField()
    read_at = serializers.DateTimeField(allow_null=True)

    @classmethod
    def shape(cls, thing: Notification, call: Any) -> dict[str, Any]:
        return {
            "id": thing.pk, "seq": thing.seq, "reason": thing.reason, "kind": thing.kind, "level": thing.level,
            "actor": thing.actor, "actor_type": thing.actor_type, "venture": thing.venture or None,
            "task": thing.task or None, "title": thing.title, "message": thing.message, "at": iso(thing.at),
            "read_at": iso(thing.read_at),
        }  # fmt: skip


class ReadIn(StrictSerializer):
    ids = serializers.ListField(child=serializers.IntegerField(min_value=1), max_length=MOST, required=False)
    until = Whole(help_text="All up to and with this id. Neither ids nor until: all of them.")


class ReadOut(Answer):
    marked = serializers.IntegerField(help_text="How many were unread.")
    unread = serializers.IntegerField(help_text="How many are left.")


@endpoint(
    "GET", gives=NotificationOut, name="notifications", paged=True,
    query=Query(
        LIMIT, CURSOR, Param("unread", flag, "Only those that are not read."),
        Param("reason", one_of(*REASONS), "Only those for this reason."),
    ),
)  # fmt: skip
def list_notifications(call: Call) -> Page:
    """What you should know of, newest first, with how many are `unread`. Everybody sees only their own."""
    own = notifications.of_actor(call.actor)
    shown = own
    if call.query.get("unread"):
        shown = shown.filter(read_at=None)
    if call.query.get("reason"):
        shown = shown.filter(reason=call.query["reason"])
    found = page(shown, call.query, orders={"id": None}, default="-id", bare=call.bare)
    found.more["unread"] = own.filter(read_at=None).count()
    return found


@endpoint("POST", takes=ReadIn, gives=ReadOut, title="Mark notifications as read")
def mark_notifications_read(call: Call) -> dict[str, int]:
    """Mark your own notifications as read: those with these `ids`, all `until` one, or all. Others' stay as they are."""
    given = call.given
    if "ids" in given and "until" in given:
        raise Invalid({"until": "Give either ids or until."})
    marked = notifications.mark_read(call.actor, given.get("ids"), until=given.get("until"))
    return {"marked": marked, "unread": notifications.unread(call.actor)}


@endpoint("POST", gives=NotificationOut, name="notification", title="Mark one notification as read")
def mark_notification_read(call: Call, number: int) -> Notification:
    """Mark one of your own notifications as read."""
    notifications.mark_read(call.actor, [number])
    return notifications.one(call.actor, number)
