"""What the calls on agents take and give. Not: what they do (api.py)."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import prefetch_related_objects
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.enrolment import MOST_HOURS, MOST_USES
from agents.faces import is_silent
from agents.models import Agent, AgentKey, EnrolmentToken
from agents.roster import state_of
from mission_control.actors import SCOPES
from mission_control.fields import Answer, Flag, Line, Matching, Moment, Named, StrictSerializer, Text, Whole, Words
from mission_control.strict_json import iso

SLUG = r"[-a-zA-Z0-9_]{1,60}"
AVAILABILITY_WORDS = {
    "available": "available", "standby": "available", "online": "available", "idle": "available", "ready": "available",
    "busy": "busy", "working": "busy", "active": "busy",
    "offline": "offline", "away": "offline",
}  # fmt: skip
STANDBY = {"available": "standby", "idle": "standby", "busy": "working"}  # what simple clients of /api read
NAMES = {
    "slug": "id", "agent_id": "id", "avatar_emoji": "avatar", "is_master": "is_lead", "status": "availability",
    "skills": "capabilities", "available_until": "until",
}  # fmt: skip
READ_ONLY = (
    "state", "owner", "last_seen_at", "tokens_used", "tasks_completed", "reputation", "ventures", "claimed",
    "current_tasks", "version", "created_at", "updated_at",
)  # fmt: skip
_SPAN = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)")


def availability_named(word: str) -> str:
    """ValueError names the words there are."""
    if word.strip().lower() not in AVAILABILITY_WORDS:
        raise ValueError("Use one of: available, busy, offline (or standby, working, online, idle).")
    return AVAILABILITY_WORDS[word.strip().lower()]


class HoursIn(serializers.Serializer[Any]):
    timezone = Line(60)
    hours = serializers.ListField(child=Line(11, required=True), required=False, max_length=20)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict) or set(data) - {"timezone", "hours"}:
            raise serializers.ValidationError({"": ["Give {timezone, hours: ['09:00-17:30']}."]})
        given: dict[str, Any] = super().to_internal_value(data)
        zone = given.get("timezone") or "UTC"
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise serializers.ValidationError({"timezone": ["There is no such time zone."]}) from None
        wrong = [span for span in given.get("hours", []) if not _SPAN.fullmatch(span)]
        if wrong:
            raise serializers.ValidationError({"hours": ["Give spans like 09:00-17:30."]})
        return {"timezone": zone, "hours": given.get("hours", [])}


class AgentFields(StrictSerializer):
    aliases = NAMES
    read_only_names = READ_ONLY

    role = Line(120)
    description = Text(10_000)
    avatar = Line(16, help_text="An emoji.")
    provider = Line(60)
    model = Line(120)
    capabilities = Words(100, 50, folded=True)
    is_lead = Flag()
    connection = serializers.ChoiceField(choices=("local", "remote"), required=False)
    availability = Named(availability_named, help_text="available, busy or offline; standby, working, online, idle.")
    until = Moment(allow_null=True, help_text="Until when it says so.")
    heartbeat_interval = Whole(5, 24 * 3600, allow_null=True, help_text="Seconds between its signs of life.")
    available_hours = HoursIn(required=False, allow_null=True)
    max_concurrent = Whole(1, 1000, allow_null=True)
    token_budget = Whole(allow_null=True, help_text="Per session.")


class AgentIn(AgentFields):
    id = Matching(
        60, SLUG, "Use letters, digits, - and _.", blank=False, help_text="Its slug: an agent that is there is changed."
    )
    name = Line(120, help_text="Needed for a new one.")


class AgentChange(AgentFields):
    name = Line(120, blank=False)


class MeChange(AgentChange):
    webhook_url = Line(2000, help_text="Told of task.assigned, signed by Standard Webhooks. Empty takes it away.")


class RegisterIn(AgentFields):
    id = Matching(60, SLUG, "Use letters, digits, - and _.", blank=False)
    name = Line(120, required=True)
    webhook_url = Line(2000, help_text="Told of task.assigned once the agent is claimed.")
    enrolment_token = Line(200, help_text="From an operator: nobody has to claim the agent then.")


class AvailabilityIn(StrictSerializer):
    aliases = {"availability": "status", "available_until": "until"}
    status = Named(availability_named, required=True, help_text="available, busy or offline.")
    until = Moment(allow_null=True)
    capabilities = Words(100, 50, folded=True)
    token_budget = Whole(allow_null=True)


class SessionState(StrictSerializer):
    aliases = {"key": "session_key", "openclaw_session_id": "session_key", "id": "session_key", "status": "state"}
    session_key = Line(200, required=True, trim_whitespace=False)
    state = Line(60)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 200},
            {
                "type": "object", "required": ["session_key"], "additionalProperties": False,
                "properties": {
                    "session_key": {"type": "string", "minLength": 1, "maxLength": 200},
                    "state": {"type": "string", "maxLength": 60},
                },
            },
        ]
    }
)  # fmt: skip
class SessionStateField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """A session's key, or an object with it."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        return dict(SessionState().run_validation({"session_key": data} if isinstance(data, str) else data))


class HeartbeatIn(StrictSerializer):
    aliases = {"availability": "status"}
    status = Named(availability_named)
    sessions = serializers.ListField(child=SessionStateField(), required=False, max_length=100)


class KeyIn(StrictSerializer):
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES), required=False, min_length=1, max_length=len(SCOPES)
    )
    label = Line(120)
    overlap_hours = Whole(0, 24 * 30, allow_null=True, help_text="Rotate: its other keys end after so many hours.")


class AgentOut(Answer):
    id = serializers.CharField(help_text="Its slug.")
    name = serializers.CharField()
    role = serializers.CharField(allow_blank=True)
    description = serializers.CharField(allow_blank=True)
    avatar = serializers.CharField(allow_blank=True)
    provider = serializers.CharField(allow_blank=True)
    model = serializers.CharField(allow_blank=True)
    capabilities = serializers.ListField(child=serializers.CharField())
    is_lead = serializers.BooleanField()
    connection = serializers.CharField()
    availability = serializers.CharField(help_text="What it says of itself.")
    until = serializers.DateTimeField(allow_null=True)
    state = serializers.CharField(help_text="What it is: pending_claim, available, busy, idle, offline.")
    status = serializers.CharField(help_text="The same, in the words of simple clients under /api.")
    current_tasks = serializers.ListField(child=serializers.CharField())
    claimed = serializers.BooleanField()
    owner = serializers.CharField(allow_null=True)
    last_seen_at = serializers.DateTimeField(allow_null=True)
    heartbeat_interval = serializers.IntegerField(allow_null=True)
    available_hours = serializers.JSONField()
    max_concurrent = serializers.IntegerField(allow_null=True)
    token_budget = serializers.IntegerField(allow_null=True)
    tokens_used = serializers.IntegerField()
    tasks_completed = serializers.IntegerField()
    reputation = serializers.IntegerField()
    ventures = serializers.ListField(child=serializers.CharField(), help_text="Those it joined.")
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Agent, call: Any) -> dict[str, Any]:
        return agent_shape(thing, bare=call.bare)

    @classmethod
    def shapes(cls, things: list[Agent], call: Any) -> list[dict[str, Any]]:
        prefetch_related_objects(things, "held_tasks", "ventures", "owner")
        return super().shapes(things, call)


def agent_shape(agent: Agent, *, bare: bool = False) -> dict[str, Any]:
    """One agent with the tasks it holds; who shows many prefetches `held_tasks`, `ventures` and `owner`."""
    leases, moment = list(agent.held_tasks.all()), timezone.now()
    silent = bool(leases) and all(is_silent(agent, lease.heartbeat_at, moment) for lease in leases)
    state = state_of(agent, len(leases), moment, silent)
    shape = {
        "id": agent.slug, "name": agent.name, "role": agent.role, "description": agent.description,
        "avatar": agent.avatar, "provider": agent.provider, "model": agent.model, "capabilities": agent.capabilities,
        "is_lead": agent.is_lead, "connection": agent.connection, "availability": agent.availability,
        "until": iso(agent.available_until), "state": state,
        "status": STANDBY.get(state, "offline") if bare else state,
        "current_tasks": [lease.code for lease in leases], "claimed": agent.claimed_at is not None,
        "owner": agent.owner.get_username() if agent.owner else None, "last_seen_at": iso(agent.last_seen_at),
        "heartbeat_interval": agent.heartbeat_interval, "available_hours": agent.available_hours,
        "max_concurrent": agent.max_concurrent, "token_budget": agent.token_budget, "tokens_used": agent.tokens_used,
        "tasks_completed": agent.tasks_completed, "reputation": agent.reputation,
        "ventures": sorted(venture.slug for venture in agent.ventures.all()), "version": agent.version,
        "created_at": iso(agent.created_at),
    }  # fmt: skip
    if bare:
        shape["avatar_emoji"], shape["is_master"] = agent.avatar, agent.is_lead
    return shape


class RegisteredOut(Answer):
    agent = AgentOut()
    api_key = serializers.CharField(help_text="Shown once.")
    claim_url = serializers.CharField(
        allow_null=True, help_text="A person opens it; until then the key only reads /agents/me. Null when enrolled."
    )
    skill_url = serializers.CharField()
    ws_url = serializers.CharField()
    webhook_secret = serializers.CharField(
        required=False, help_text="With a webhook_url: signs what it is sent. Shown once."
    )


class MeOut(Answer):
    class Lease(serializers.Serializer[Any]):
        task = serializers.CharField()
        title = serializers.CharField()
        session_key = serializers.CharField()
        epoch = serializers.IntegerField()
        lease_expires_at = serializers.DateTimeField()

    class Address(serializers.Serializer[Any]):
        url = serializers.CharField()
        enabled = serializers.BooleanField()
        disabled_reason = serializers.CharField(allow_blank=True)
        failing_since = serializers.DateTimeField(allow_null=True)

    class Live(serializers.Serializer[Any]):
        id = serializers.CharField(help_text="Its key.")
        type = serializers.CharField()
        task = serializers.CharField(allow_null=True)
        state = serializers.CharField()
        started_at = serializers.DateTimeField()
        heartbeat_at = serializers.DateTimeField()

    agent = AgentOut()
    leases = Lease(many=True)
    sessions = Live(many=True, help_text="Those that have not ended, newest first, 200 at most.")
    abilities = serializers.ListField(child=serializers.CharField(), help_text="What the key allows.")
    tokens_left = serializers.IntegerField(allow_null=True, help_text="Of the token budget; null: no budget.")
    tokens_without_work = serializers.IntegerField(help_text="Reported on no task in 30 days: what waiting has cost.")
    unread_notifications = serializers.IntegerField()
    frozen = serializers.BooleanField()
    webhook = Address(allow_null=True, help_text="Its own address, when it has named one.")
    webhook_secret = serializers.CharField(allow_null=True, help_text="In answer to a new webhook_url, once.")


class NextOut(Answer):
    class Known(serializers.Serializer[Any]):
        session_key = serializers.CharField()
        task = serializers.CharField(allow_null=True)
        action = serializers.CharField()

    action = serializers.ChoiceField(
        choices=("continue", "paused", "cancelled", "lease_lost", "frozen", "work_available", "none")
    )
    sessions = Known(many=True)
    next_heartbeat_in = serializers.IntegerField(help_text="Seconds.")


class KeyOut(Answer):
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    label = serializers.CharField(allow_blank=True)
    created_by = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="To the minute.")

    @classmethod
    def shape(cls, thing: AgentKey, call: Any) -> dict[str, Any]:
        return {
            "prefix": thing.prefix, "scopes": thing.scopes, "label": thing.label, "created_by": thing.created_by,
            "created_at": iso(thing.created_at), "expires_at": iso(thing.expires_at),
            "revoked_at": iso(thing.revoked_at), "last_used_at": iso(thing.last_used_at),
        }  # fmt: skip


class NewKeyOut(Answer):
    key = KeyOut()
    api_key = serializers.CharField(help_text="Shown once.")


class EnrolmentIn(StrictSerializer):
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=SCOPES), required=False, min_length=1, max_length=len(SCOPES)
    )
    label = Line(120)
    hours = Whole(1, MOST_HOURS, help_text="How long it is good; a day when not given.")
    most_uses = Whole(1, MOST_USES, help_text="How many agents may enrol with it; one when not given.")


class EnrolmentOut(Answer):
    prefix = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField())
    label = serializers.CharField(allow_blank=True)
    uses = serializers.IntegerField()
    most_uses = serializers.IntegerField()
    created_by = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)

    @classmethod
    def shape(cls, thing: EnrolmentToken, call: Any) -> dict[str, Any]:
        return {
            "prefix": thing.prefix, "scopes": thing.scopes, "label": thing.label, "uses": thing.uses,
            "most_uses": thing.most_uses, "created_by": thing.created_by, "created_at": iso(thing.created_at),
            "expires_at": iso(thing.expires_at), "revoked_at": iso(thing.revoked_at),
        }  # fmt: skip


class NewEnrolmentOut(Answer):
    enrolment = EnrolmentOut()
    enrolment_token = serializers.CharField(help_text="Shown once.")
