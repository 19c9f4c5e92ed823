"""The calls on the circuits between agents, with what they take and give. Not: when one opens (loops.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control import loops
from mission_control.endpoints import OPERATE, Call, endpoint
from mission_control.fields import Answer
from mission_control.models import Circuit
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Param, Query, flag
from mission_control.strict_json import iso


class CircuitOut(Answer):
    waker = serializers.CharField(help_text="The agent that hands over.")
    woken = serializers.CharField(help_text="The agent that is called to work.")
    open = serializers.BooleanField(help_text="Then the one may not call the other.")
    opened_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    wakes = serializers.IntegerField(help_text="In the ten minutes that are counted now.")

    @classmethod
    def shape(cls, thing: Circuit, call: Any) -> dict[str, Any]:
        return {
            "waker": thing.waker, "woken": thing.woken, "open": thing.opened_at is not None,
            "opened_at": iso(thing.opened_at), "reason": thing.reason, "wakes": thing.wakes,
        }  # fmt: skip


@endpoint(
    "GET", needs=OPERATE, gives=CircuitOut, name="circuits", paged=True, title="Which agents wake each other",
    query=Query(Param("open", flag, "Only these.", {"type": "boolean"}), LIMIT, CURSOR),
)  # fmt: skip
def list_circuits(call: Call) -> Page:
    """The pairs of agents of which one has handed work to the other, newest first, and which circuits are open."""
    circuits = Circuit.objects.all()
    if "open" in call.query:
        circuits = circuits.filter(opened_at__isnull=not call.query["open"])
    return page(circuits, call.query, orders={"id": None}, default="-id", bare=call.bare)


@endpoint("POST", needs=OPERATE, gives=CircuitOut, name="circuit", title="Reset a circuit")
def reset_circuit(call: Call, waker: str, woken: str) -> Circuit:
    """Let the one agent call the other again. The count of their turns begins anew."""
    return loops.reset(call.actor, waker, woken)
