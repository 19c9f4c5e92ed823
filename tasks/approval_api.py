"""The calls around approval before the start: what would be approved, and the approval. Not: rules (approvals.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import STEER, Call, endpoint
from mission_control.fields import Answer, Matching, StrictSerializer
from mission_control.strict_json import iso
from tasks import approvals, handover
from tasks.models import Task
from tasks.serializers import TaskOut
from tasks.transitions import visible


class ApproveIn(StrictSerializer):
    aliases = {"approved_hash": "hash", "seen": "hash"}
    hash = Matching(64, "[0-9a-f]{64}", "Give the hash of what was read.", required=True)


class ApprovalOut(Answer):
    needed = serializers.BooleanField(help_text="No agent starts it without.")
    given = serializers.BooleanField(help_text="It is approved as it reads now.")
    approved_by = serializers.CharField(allow_null=True)
    approved_at = serializers.DateTimeField(allow_null=True)
    hash = serializers.CharField(help_text="Of `text`; it goes with the approval.")
    text = serializers.DictField(help_text="All that an agent will read, but for results of prerequisites.")

    @classmethod
    def shape(cls, thing: Task, call: Any) -> dict[str, Any]:
        now = handover.digest(thing)
        return {
            "needed": thing.needs_approval, "given": thing.approved_at is not None and thing.approved_hash == now,
            "approved_by": thing.approved_by or None, "approved_at": iso(thing.approved_at), "hash": now,
            "text": handover.handed_over(thing),
        }  # fmt: skip


@endpoint("GET", gives=ApprovalOut, name="approval", title="What would be approved")
def read_approval(call: Call, code: str) -> Task:
    """What an agent will read of this task, with the hash that an approval of it has to carry."""
    return visible(call.actor, code)


@endpoint("POST", needs=STEER, takes=ApproveIn, gives=TaskOut, name="task", title="Approve the start")
def approve(call: Call, code: str) -> Task:
    """Let it be started as it reads now. Carries the hash of what was read: 409 `stale` when it reads differently.

    Never by an agent for its own or its sub-agents' work. Any later change of what an agent will read takes it back.
    """
    return approvals.approve_start(call.actor, code, call.given["hash"])
