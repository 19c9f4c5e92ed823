"""The calls on one's own channels and on when one is told, with what they take and give. Not: rules (channels.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import Call, endpoint
from mission_control.fields import Answer, AnyJson, Flag, Line, Named, StrictSerializer, Words
from mission_control.models import Channel, TellingTimes
from mission_control.outbound import channels, web_push
from mission_control.strict_json import iso

WHY_TOLD = "Reasons of notifications: review, approval, question, failed, mention, idle …"
DIGESTS = tuple(name for name, _ in TellingTimes.DIGESTS)


class ChannelIn(StrictSerializer):
    aliases = {"kind": "type", "url": "address", "email": "address"}

    type = Line(8, help_text="email, push or url.")
    address = Line(2000, help_text="Of email and url: where to. Shown in part only from then on.")
    subscription = AnyJson(help_text="Of push: what the browser's PushSubscription.toJSON() says.")
    name = Line(60)
    reasons = Words(20, 20, help_text=f"{WHY_TOLD} Without: what waits for a person.")


class ChannelChange(StrictSerializer):
    read_only_names = ("id", "type", "shown", "error", "failures", "retry_at", "sent_at", "tested_at", "version")

    name = Line(60)
    reasons = Words(20, 20, help_text=WHY_TOLD)
    enabled = Flag()


class TimesIn(StrictSerializer):
    read_only_names = ("reasons", "version")

    time_zone = Line(60, blank=False, help_text="A name of the time zone database: Europe/Berlin.")
    quiet_from = Named(channels.clock, allow_null=True, help_text="22:00; null with quiet_until: no quiet hours.")
    quiet_until = Named(channels.clock, allow_null=True)
    digest = Line(8, blank=False, help_text="off, hourly or daily.")
    digest_at = Named(channels.time_of_day, help_text="When the daily one goes out: 08:00.")
    urgent = Words(20, 20, help_text="Reasons that wait neither for a digest nor for the end of the quiet hours.")


class ChannelOut(Answer):
    id = serializers.CharField()
    type = serializers.ChoiceField(choices=channels.TYPES)
    name = serializers.CharField(allow_blank=True)
    shown = serializers.CharField(help_text="What of the address may be seen.")
    reasons = serializers.ListField(child=serializers.CharField())
    enabled = serializers.BooleanField()
    failures = serializers.IntegerField(help_text="In a row.")
    error = serializers.CharField(allow_blank=True, help_text="Why the last message did not arrive.")
    retry_at = serializers.DateTimeField(allow_null=True)
    sent_at = serializers.DateTimeField(allow_null=True, help_text="When something arrived last.")
    testing = serializers.BooleanField(help_text="A test is on its way.")
    tested_at = serializers.DateTimeField(allow_null=True)
    test_error = serializers.CharField(allow_blank=True, help_text="Why the last test did not arrive; empty: it did.")
    version = serializers.IntegerField()

    @classmethod
    def shape(cls, thing: Channel, call: Any) -> dict[str, Any]:
        return {
            "id": thing.code, "type": thing.type, "name": thing.name, "shown": thing.shown, "reasons": thing.reasons,
            "enabled": thing.enabled, "failures": thing.failures, "error": thing.error,
            "retry_at": iso(thing.retry_at), "sent_at": iso(thing.sent_at),
            "testing": thing.test_asked_at is not None, "tested_at": iso(thing.tested_at),
            "test_error": thing.test_error, "version": thing.version,
        }  # fmt: skip


class TimesOut(Answer):
    time_zone = serializers.CharField()
    quiet_from = serializers.CharField(allow_null=True)
    quiet_until = serializers.CharField(allow_null=True)
    digest = serializers.ChoiceField(choices=DIGESTS)
    digest_at = serializers.CharField()
    urgent = serializers.ListField(child=serializers.CharField())
    reasons = serializers.ListField(child=serializers.CharField(), help_text="All there are for people.")
    version = serializers.IntegerField(help_text="0: never chosen.")

    @classmethod
    def shape(cls, thing: TellingTimes, call: Any) -> dict[str, Any]:
        def clock(moment: Any) -> str | None:
            return f"{moment:%H:%M}" if moment else None

        return {
            "time_zone": thing.time_zone, "quiet_from": clock(thing.quiet_from),
            "quiet_until": clock(thing.quiet_until), "digest": thing.digest, "digest_at": clock(thing.digest_at),
            "urgent": thing.urgent, "reasons": channels.reasons(), "version": thing.version,
        }  # fmt: skip


class PushKeyOut(Answer):
    public_key = serializers.CharField(help_text="The applicationServerKey to subscribe a device with.")


@endpoint("GET", gives=ChannelOut, name="channels")
def list_channels(call: Call) -> list[Channel]:
    """Your own channels. People only: agents are told by webhook, socket or long poll."""
    return list(channels.of_actor(call.actor))


@endpoint("POST", takes=ChannelIn, gives=ChannelOut, name="channel", status=201, title="Add a channel")
def add_channel(call: Call) -> Channel:
    """Be told by e-mail, on a device, or by a channel URL such as ntfys://host/topic. The same address is added once."""
    return channels.add(call.actor, **call.given)


@endpoint("GET", gives=ChannelOut, name="channel")
def read_channel(call: Call, channel: str) -> Channel:
    """Read one of your channels: whether it works, and how the last test went."""
    return channels.by_code(call.actor, channel)


@endpoint("PATCH", takes=ChannelChange, gives=ChannelOut, name="channel")
def change_channel(call: Call, channel: str) -> Channel:
    """Choose what is told there, rename it, switch it off and on."""
    return channels.change(call.actor, channel, call.given, version=call.version)


@endpoint("DELETE", status=204)
def remove_channel(call: Call, channel: str) -> None:
    """Remove a channel and what waits for it."""
    channels.remove(call.actor, channel)


@endpoint("POST", gives=ChannelOut, name="channel", status=202, title="Send a test")
def test_channel(call: Call, channel: str) -> Channel:
    """Send one message to try a channel, at once. Reading it tells how that went, within some seconds."""
    return channels.test(call.actor, channel)


@endpoint("GET", gives=TimesOut, name="schedule", title="When you are told")
def read_times(call: Call) -> TellingTimes:
    """Your time zone, quiet hours and digest."""
    return channels.times(channels.owner(call.actor))


@endpoint("PATCH", takes=TimesIn, gives=TimesOut, name="schedule", title="Choose when you are told")
def change_times(call: Call) -> TellingTimes:
    """What falls in quiet hours, or between two digests, comes in one message afterwards; `urgent` reasons do not wait."""
    return channels.choose_times(call.actor, call.given)


@endpoint("GET", gives=PushKeyOut, title="The key of push")
def read_push_key(call: Call) -> dict[str, str]:
    """What a browser subscribes with."""
    channels.owner(call.actor)
    return {"public_key": web_push.public_key()}
