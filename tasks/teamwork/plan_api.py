"""The calls on the plan of a task, with what they take and give. Not: rules (plan.py), a single step (plan_serializers.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import WORK, Call, endpoint
from mission_control.errors import Invalid
from mission_control.fields import Answer, Line
from mission_control.strict_json import iso
from tasks.api import shown, worker
from tasks.collaboration_models import PlanStep
from tasks.models import Task
from tasks.serializers import FenceIn
from tasks.teamwork import plan
from tasks.teamwork.plan import OVER
from tasks.teamwork.plan_serializers import STEP_NAMES, state_field, steps_field
from tasks.transitions import visible
from tasks.vocabulary import STEP_STATES


class PlanIn(FenceIn):
    """The whole plan as it now stands, or one more step at its end."""

    aliases = {**FenceIn.aliases, **STEP_NAMES, "plan": "steps", "checklist": "steps", "items": "steps"}
    steps = steps_field("In place of the steps there were.")
    title = Line(500, blank=False, help_text="Of one more step.")
    state = state_field()


class StepChange(FenceIn):
    aliases = {**FenceIn.aliases, **STEP_NAMES}
    title = Line(500, blank=False)
    state = state_field()


class StepOut(Answer):
    id = serializers.IntegerField(help_text="Its number within the task.")
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=STEP_STATES)
    changed_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: PlanStep, call: Any) -> dict[str, Any]:
        return {"id": thing.number, "title": thing.title, "state": thing.state, "changed_at": iso(thing.changed_at)}


class PlanOut(Answer):
    steps = StepOut(many=True)
    current = StepOut(allow_null=True, help_text="The step that runs.")
    done = serializers.IntegerField(help_text="Steps that are done or skipped.")
    total = serializers.IntegerField()

    @classmethod
    def shape(cls, thing: Task, call: Any) -> dict[str, Any]:
        steps = list(thing.plan.all())
        current = next((step for step in steps if step.state == "running"), None)
        return {
            "steps": StepOut.shapes(steps, call), "current": StepOut.shape(current, call) if current else None,
            "done": sum(step.state in OVER for step in steps), "total": len(steps),
        }  # fmt: skip


@endpoint("GET", gives=PlanOut, name="plan")
def read_plan(call: Call, code: str) -> Task:
    """The checklist of a task with its current step."""
    return visible(call.actor, code)


@endpoint("POST", needs=WORK, takes=PlanIn, gives=PlanOut, name="plan", fenced=True, title="Write the plan")
def write_plan(call: Call, code: str) -> Task:
    """Give `steps` for the whole plan as it now stands, or a `title` for one more step.

    By who works on the task or created it, an operator or a lead. A lease that is shown is checked, and extended.
    """
    given = call.given
    if ("steps" in given) == ("title" in given):
        raise Invalid({"steps": "Give steps for the whole plan, or a title for one more step."})
    if "steps" in given:
        if "state" in given:
            raise Invalid({"state": "The state belongs to a step: give it with a title, or within steps."})
        return plan.write(worker(call), code, given["steps"], fence=shown(call))
    plan.add(worker(call), code, given["title"], state=given.get("state", "pending"), fence=shown(call))
    return visible(call.actor, code)


@endpoint("PATCH", needs=WORK, takes=StepChange, gives=PlanOut, name="plan", fenced=True, title="Change a step")
def change_step(call: Call, code: str, number: int) -> Task:
    """Set the state or the title of one step. A step that begins to run finishes the one that ran."""
    given = call.given
    if not {"title", "state"} & set(given):
        raise Invalid({"state": "Give a state or a title."})
    plan.change(
        worker(call), code, number, title=given.get("title", ""), state=given.get("state", ""), fence=shown(call)
    )
    return visible(call.actor, code)
