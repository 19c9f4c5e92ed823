"""The calls around processing: hand a task over, and who could do it. Not: rules (dispatch.py), choice (candidates.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import STEER, Call, endpoint
from mission_control.fields import Answer, Line, StrictSerializer
from tasks.dispatching import candidates, dispatch
from tasks.dispatching.candidates import Candidate
from tasks.dispatching.dispatch import HandedOver
from tasks.serializers import SessionOut, TaskOut, assignee_named
from tasks.transitions import visible
from tasks.vocabulary import HAND_OVER_WAYS


class ProcessIn(StrictSerializer):
    aliases = {"agent_id": "agent", "assignee": "agent"}
    agent = Line(60, help_text="The slug of who shall do it; without it the assignee, else the best one.")


class CandidateOut(Answer):
    class ReasonOut(serializers.Serializer[Any]):
        name = serializers.CharField()
        good = serializers.BooleanField()
        sentence = serializers.CharField()

    agent = serializers.CharField(help_text="Its slug.")
    name = serializers.CharField()
    able = serializers.BooleanField(help_text="It may be chosen: a claim by it would go through.")
    fit = serializers.BooleanField(help_text="It may be chosen unasked: nothing speaks against it now.")
    held = serializers.IntegerField(help_text="Tasks that it works on.")
    handed = serializers.IntegerField(help_text="Others that were handed to it and wait for its claim.")
    reasons = ReasonOut(many=True)
    ways = serializers.ListField(child=serializers.ChoiceField(choices=HAND_OVER_WAYS))

    @classmethod
    def shape(cls, thing: Candidate, call: Any) -> dict[str, Any]:
        return thing.as_dict()


class ProcessedOut(Answer):
    task = TaskOut()
    session = SessionOut()
    dispatched_via = serializers.ChoiceField(choices=HAND_OVER_WAYS, help_text="What is waited for first.")
    candidate = CandidateOut(help_text="The agent, and why.")

    @classmethod
    def shape(cls, thing: HandedOver, call: Any) -> dict[str, Any]:
        return {
            "task": TaskOut.shape(thing.task, call), "session": SessionOut.shape(thing.session, call),
            "dispatched_via": thing.via, "candidate": CandidateOut.shape(thing.candidate, call),
        }  # fmt: skip


@endpoint("POST", needs=STEER, takes=ProcessIn, gives=ProcessedOut, status=202, title="Process it")
def process(call: Call, code: str) -> HandedOver:
    """Hand it to an agent, with a model, a branch and a briefing that is kept. The claim by that agent acknowledges it.

    Not acknowledged in time it goes on by the agent's next way, and after the last one back to the queue.
    """
    return dispatch.process(call.actor, code, assignee_named(call.given.get("agent", ""), "agent"))


@endpoint("GET", gives=CandidateOut, name="candidates", title="Who could do it?")
def list_candidates(call: Call, code: str) -> list[Candidate]:
    """The agents, the one that would be chosen first, each with what speaks for and against it."""
    return candidates.candidates(visible(call.actor, code))
