"""The calls around feedback: give it, read it, its figures. Not: rules (feedback.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import STEER, Call, endpoint
from mission_control.fields import Answer, StrictSerializer, Text, Whole
from mission_control.query import Param, Query, line
from tasks.models import Task
from tasks.teamwork import feedback
from tasks.transitions import visible


class FeedbackIn(StrictSerializer):
    aliases = {
        "feedback_quality": "quality", "feedback_timeliness": "timeliness", "feedback_notes": "notes", "comment": "notes",
        "quality_score": "quality", "timeliness_score": "timeliness",
    }  # fmt: skip
    quality = Whole(1, 5, required=True)
    timeliness = Whole(1, 5, required=True)
    notes = Text(10_000)


class FeedbackOut(Answer):
    quality = serializers.IntegerField(allow_null=True)
    timeliness = serializers.IntegerField(allow_null=True)
    notes = serializers.CharField(allow_blank=True)

    @classmethod
    def shape(cls, thing: Task, call: Any) -> dict[str, Any]:
        return {
            "quality": thing.feedback_quality, "timeliness": thing.feedback_timeliness, "notes": thing.feedback_notes,
        }  # fmt: skip


class FiguresOut(Answer):
    class AgentFigures(serializers.Serializer[Any]):
        agent = serializers.CharField(allow_null=True, help_text="Who worked on it last; null: a person.")
        count = serializers.IntegerField()
        quality = serializers.FloatField()
        timeliness = serializers.FloatField()

    count = serializers.IntegerField()
    quality = serializers.FloatField(allow_null=True, help_text="The average.")
    timeliness = serializers.FloatField(allow_null=True, help_text="The average.")
    by_quality = serializers.DictField(child=serializers.IntegerField())
    agents = AgentFigures(many=True)


@endpoint("GET", gives=FeedbackOut, name="feedback")
def read_feedback(call: Call, code: str) -> Task:
    """What was said of it; null while nobody did."""
    return visible(call.actor, code)


@endpoint("POST", needs=STEER, takes=FeedbackIn, gives=FeedbackOut, name="feedback", status=201, title="Give feedback")
def give_feedback(call: Call, code: str) -> Task:
    """How good it was and whether it came in time. Once, only when it is done, never of one's own work."""
    given = call.given
    return feedback.rate(call.actor, code, given["quality"], given["timeliness"], notes=given.get("notes", ""))


@endpoint(
    "GET", gives=FiguresOut, name="summary", title="Feedback in figures",
    query=Query(Param("venture", line(60), "Of this venture alone.", also=("venture_id", "workspace_id"))),
)  # fmt: skip
def feedback_figures(call: Call) -> dict[str, Any]:
    """Counts and averages of all feedback, and by the agent that worked on the task last."""
    return feedback.figures(call.actor, venture=call.query.get("venture", ""))
