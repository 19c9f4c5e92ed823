"""What the calls on comments, participants, shared context and notes take and give. Not: what they do."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.actors import TYPES
from mission_control.fields import Answer, AnyJson, Line, Text, Words
from mission_control.models import Activity
from mission_control.strict_json import iso
from tasks.collaboration_models import ContextEntry, Note, Participant
from tasks.serializers import FenceIn
from tasks.vocabulary import CONTEXT_KINDS

TEXT_NAMES = {**FenceIn.aliases, "content": "text", "message": "text", "body": "text", "comment": "text"}


class CommentIn(FenceIn):
    aliases = TEXT_NAMES
    text = Text(10_000, required=True, help_text="Markdown; @slug or @username mentions somebody.")


class NoteIn(FenceIn):
    aliases = {**TEXT_NAMES, "note": "text"}
    text = Text(10_000, required=True)


class ParticipateIn(FenceIn):
    aliases = {**FenceIn.aliases, "agent": "agent_id"}
    role = Line(60, help_text="In its own words; contributor when it says nothing.")


class LeaveIn(FenceIn):
    aliases = {**FenceIn.aliases, "agent": "agent_id"}


class SyncIn(FenceIn):
    aliases = {**FenceIn.aliases, "text": "message", "checkpoint": "message", "summary": "message"}
    message = Text(10_000, required=True)


class DiscoverIn(FenceIn):
    aliases = {**FenceIn.aliases, "text": "message", "finding": "message", "discovery": "message"}
    message = Text(10_000, required=True)
    impact = Line(500, help_text="What it means for the others.")
    tags = Words(20, 50)


class ContextIn(FenceIn):
    aliases = {**FenceIn.aliases, "type": "kind", "content": "value", "data": "value", "name": "key"}
    key = Line(200, required=True)
    value = AnyJson(required=True, help_text="Any JSON, at most 64,000 characters of it.")
    kind = serializers.ChoiceField(choices=CONTEXT_KINDS, required=False, default="share")


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class AuthorOut(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=TYPES)
    name = serializers.CharField()


class CommentOut(Answer):
    id = serializers.IntegerField(help_text="Its number in the log.")
    text = serializers.CharField()
    by = AuthorOut()
    agent = serializers.CharField(allow_null=True, help_text="The agent that it speaks for.")
    mentions = serializers.ListField(child=serializers.CharField())
    at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Activity, call: Any) -> dict[str, Any]:
        shape = {
            "id": thing.seq, "text": thing.message, "by": {"type": thing.actor_type, "name": thing.actor},
            "agent": thing.agent or None, "mentions": thing.data.get("mentions", []), "at": iso(thing.at),
        }  # fmt: skip
        if call.bare:
            shape["task_id"], shape["content"], shape["created_at"] = thing.task, shape["text"], shape["at"]
            shape["author"] = thing.actor
        return shape


class ParticipantOut(Answer):
    agent = serializers.CharField()
    name = serializers.CharField()
    role = serializers.CharField()
    joined_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Participant, call: Any) -> dict[str, Any]:
        shape = {
            "agent": thing.agent.slug, "name": thing.agent.name, "role": thing.role, "joined_at": iso(thing.joined_at),
        }  # fmt: skip
        if call.bare:
            shape["agent_id"], shape["agent_name"] = shape["agent"], shape["name"]
        return shape


class ContextOut(Answer):
    """What everyone knows under one key."""

    key = serializers.CharField()
    value = serializers.JSONField()
    kind = serializers.ChoiceField(choices=CONTEXT_KINDS)
    by = AuthorOut()
    at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: ContextEntry, call: Any) -> dict[str, Any]:
        return {
            "key": thing.key, "value": thing.value, "kind": thing.kind,
            "by": {"type": thing.by_type, "name": thing.by}, "at": iso(thing.at),
        }  # fmt: skip


class NoteOut(Answer):
    text = serializers.CharField()
    by = AuthorOut()
    at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Note, call: Any) -> dict[str, Any]:
        return {"text": thing.text, "by": {"type": thing.by_type, "name": thing.by}, "at": iso(thing.at)}


class WatchOut(Answer):
    watching = serializers.BooleanField(help_text="Whether you are told what happens to it.")
