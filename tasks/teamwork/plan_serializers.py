"""How the steps of a plan are given: with a new task, or to the plan of one. Not: the calls (plan_api.py), rules (plan.py)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mission_control.fields import Line, Named, StrictSerializer
from tasks.vocabulary import STEP_STATES, STEPS_MOST, step_state_named

STEP_NAMES = {"text": "title", "content": "title", "name": "title", "description": "title", "status": "state"}


def state_field() -> Named:
    return Named(step_state_named, help_text=f"One of {', '.join(STEP_STATES)}, or a word for it.")


class StepIn(StrictSerializer):
    aliases = STEP_NAMES
    read_only_names = ("id", "number", "changed_at")
    title = Line(500, required=True)
    state = state_field()


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 500},
            {
                "type": "object", "required": ["title"], "additionalProperties": False,
                "properties": {"title": {"type": "string", "minLength": 1, "maxLength": 500}, "state": {"type": "string"}},
            },
        ]
    }
)  # fmt: skip
class StepField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """A step as an object, or its title alone."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        return dict(StepIn().run_validation({"title": data} if isinstance(data, str) else data))


def steps_field(help_text: str) -> serializers.ListField:
    return serializers.ListField(child=StepField(), required=False, max_length=STEPS_MOST, help_text=help_text)
