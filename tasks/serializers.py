"""What the calls on tasks take and give. Not: what they do (api.py), how the JSON is made (shapes.py)."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.acting import named as agent_named
from mission_control import live
from mission_control.actors import TYPES
from mission_control.fields import (
    Answer,
    AnyJson,
    Flag,
    Hours,
    Line,
    Matching,
    Metadata,
    Moment,
    Named,
    StrictSerializer,
    Text,
    Usd,
    Whole,
    Words,
)
from mission_control.models import Activity
from mission_control.strict_json import iso
from tasks import vocabulary
from tasks.models import Deliverable, Session, Task
from tasks.shapes import EXECUTION_STATES, Around, briefing_of, session_shape, task_shape
from tasks.teamwork.plan_serializers import steps_field
from tasks.vocabulary import BLOCK_KINDS, DELIVERABLE_TYPES, PRIORITIES, SESSION_TYPES, STATUSES

CODE = r"[a-z0-9]{8}"
KEY_LENGTH = 200


class Code(Matching):
    """The id of a task."""

    def __init__(self, **options: Any) -> None:
        super().__init__(8, CODE, "This is not the id of a task.", **options)


class SessionKey(Line):
    def __init__(self, **options: Any) -> None:
        super().__init__(KEY_LENGTH, trim_whitespace=False, **options)


def status_field(**options: Any) -> Named:
    return Named(vocabulary.status_named, help_text=f"One of {', '.join(STATUSES)}, or a word for it.", **options)


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 3}], "example": "high"}
)
class PriorityField(Named):
    """A word or a rank."""

    def __init__(self, **options: Any) -> None:
        super().__init__(vocabulary.priority_named, help_text="low, medium, high, urgent or 0 to 3.", **options)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, int):
            try:
                return vocabulary.priority_named(data)
            except ValueError as error:
                raise serializers.ValidationError(str(error)) from None
        return super().to_internal_value(data)


# ── in: tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────

TASK_NAMES = {
    "venture_id": "venture", "project_id": "venture", "workspace_id": "venture", "project": "venture",
    "assigned_to": "assignee", "assigned_agent_id": "assignee", "assignee_id": "assignee",
    "due_date": "deadline", "parent_task_id": "parent", "parent_id": "parent",
    "created_by_agent_id": "created_by", "capabilities": "required_capabilities", "criteria": "success_criteria",
    "approval_required": "needs_approval", "requires_approval": "needs_approval",
    "openclaw_session_id": "session_key", "updated_by_agent_id": "agent_id", "checklist": "plan", "steps": "plan",
}  # fmt: skip
TASK_READ_ONLY = (
    "id", "execution_state", "holder", "held_by", "session_locked_at", "lease_expires_at", "heartbeat_at", "blockers_open",
    "blocked_kind", "blocked_reason", "paused_reason", "failures", "not_before", "generation", "actual_cost",
    "tokens_used", "progress_percent", "progress_step", "completion_summary", "output", "deliverable_count", "comment_count",
    "version", "created_at", "status_changed_at", "assigned_agent_name", "updated_at", "approved_by", "approved_at",
    "approved_hash", "criteria_met", "feedback_quality", "feedback_timeliness", "feedback_notes",
)  # fmt: skip


class CriterionIn(StrictSerializer):
    aliases = {
        "text": "criterion",
        "name": "criterion",
        "description": "criterion",
        "expected": "measurable",
        "target": "measurable",
    }
    criterion = Line(500, required=True)
    measurable = AnyJson()


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 500},
            {
                "type": "object", "required": ["criterion"], "additionalProperties": False,
                "properties": {
                    "criterion": {"type": "string", "minLength": 1, "maxLength": 500},
                    "measurable": {"oneOf": [{"type": "boolean"}, {"type": "string", "minLength": 1, "maxLength": 200}]},
                },
            },
        ]
    }
)  # fmt: skip
class CriterionField(serializers.Field[dict[str, Any], Any, Any, Any]):
    """What has to come out, as a text; as an object with the value that it is held against, or whether it can be measured."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        given = dict(CriterionIn().run_validation({"criterion": data} if isinstance(data, str) else data))
        value = given.get("measurable")
        if isinstance(value, int | float) and not isinstance(value, bool):
            given["measurable"] = str(value)
        elif isinstance(value, str):
            if not value.strip() or len(value) > 200:
                raise serializers.ValidationError({"measurable": "Give 1 to 200 characters."})
        elif value is None:
            given.pop("measurable", None)
        elif not isinstance(value, bool):
            raise serializers.ValidationError({"measurable": "Give true, false or the value that it is held against."})
        return given


class CriteriaField(serializers.ListField):
    def __init__(self) -> None:
        super().__init__(child=CriterionField(), required=False, max_length=50)

    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        criteria: list[dict[str, Any]] = super().to_internal_value(data)
        if len({" ".join(c["criterion"].split()).casefold() for c in criteria}) < len(criteria):
            raise serializers.ValidationError("Each criterion once.")
        return criteria


class TaskFields(StrictSerializer):
    """What both a new task and a change of one may hold."""

    aliases = TASK_NAMES
    read_only_names = TASK_READ_ONLY

    description = Text(50_000)
    venture = Line(60, help_text="Its slug; without one, or 'default': the default venture.")
    priority = PriorityField()
    assignee = Line(60, help_text="The slug of the agent it is meant for.")
    status = status_field()
    deadline = Moment(allow_null=True)
    tags = Words(20, 50)
    required_capabilities = Words(20, 50, folded=True)
    parent = Code(blank=True)
    review_required = Flag()
    needs_approval = Flag(help_text="No agent starts it before an operator has approved what it will read.")
    success_criteria = CriteriaField()
    estimated_tokens = Whole(allow_null=True)
    estimated_cost = Usd(allow_null=True)
    estimated_hours = Hours(allow_null=True)
    branch = Line(250)


class TaskIn(TaskFields):
    title = Line(500, required=True)
    depends_on = serializers.ListField(child=Code(required=True), required=False, max_length=100)
    created_by = Line(60, help_text="The caller, or an agent that it may act for.")
    plan = steps_field("Its checklist: titles, or objects with title and state.")


class TaskChange(TaskFields):
    title = Line(500, blank=False)
    actual_hours = Hours(allow_null=True)
    reason = Text(10_000, help_text="Why, for a change of status that is a refusal, a pause or an end.")
    session_key = SessionKey(help_text="For {status: in_progress}, which claims; and for the verbs of a lease.")
    lease_seconds = Whole(15, 24 * 3600)
    epoch = Whole()
    lease_token = Line(64)
    agent_id = Line(60, help_text="Act for this agent.")


class TaskChangeById(TaskChange):
    id = Code(required=True)
    aliases = {**TASK_NAMES, "task_id": "id"}  # as the class above has it


# ── in: under the lease ─────────────────────────────────────────────────────────────────────────────────────────────


class FenceIn(StrictSerializer):
    """What proves the lease: epoch and token (here or as headers), or the session key with the caller's own key."""

    aliases = {"openclaw_session_id": "session_key", "token": "lease_token"}
    epoch = Whole(most=2**31 - 1)
    lease_token = Line(64)
    session_key = SessionKey()
    agent_id = Line(60, help_text="Act for this agent: itself, or as an operator or a lead.")


class SpentIn(FenceIn):
    """What the attempt has cost so far, in all: the ledger books the difference."""

    aliases = {**FenceIn.aliases, "cost": "actual_cost"}
    actual_cost = Usd()
    tokens_used = Whole(most=10**15)
    tokens_in = Whole(most=10**15)
    tokens_out = Whole(most=10**15)
    model = Line(120)
    provider = Line(60)


class ProgressIn(SpentIn):
    aliases = {**SpentIn.aliases, "progress": "percent"}
    percent = Whole(0, 100)
    message = Text(10_000)
    step = Line(500)
    status = Line(60, help_text="A word about the state of the work; it becomes the step when there is none.")


class ReleaseIn(SpentIn):
    reason = Text(10_000)


class FailIn(SpentIn):
    aliases = {**SpentIn.aliases, "reason": "error"}
    error = Text(10_000)


class BlockIn(SpentIn):
    aliases = {**SpentIn.aliases, "blocked_reason": "reason"}
    kind = serializers.ChoiceField(choices=BLOCK_KINDS, required=False, default="needs_input")
    reason = Text(10_000, required=True)


class DeliverableIn(FenceIn):
    aliases = {**FenceIn.aliases, "deliverable_type": "type", "url": "path"}
    read_only_names = ("id", "number", "size", "sha256", "attempt", "orphaned", "created_at", "filename")
    type = serializers.ChoiceField(choices=DELIVERABLE_TYPES, required=False, default="artifact")
    title = Line(500, required=True)
    path = Line(2000, help_text="Where it lies: a path on the agent's machine, or the URL.")
    description = Text(10_000)


class UploadIn(StrictSerializer):
    """A form with a file; the lease goes into the headers."""

    aliases = {"deliverable_type": "type"}
    type = serializers.ChoiceField(choices=DELIVERABLE_TYPES, required=False, default="file")
    title = Line(500)
    path = Line(2000)
    description = Text(10_000)
    session_key = SessionKey()
    agent_id = Line(60)
    file = serializers.FileField(max_length=255, allow_empty_file=True)


class HandedIn(StrictSerializer):
    """One deliverable of a completion."""

    aliases = {"deliverable_type": "type", "url": "path"}
    type = serializers.ChoiceField(choices=DELIVERABLE_TYPES, required=False, default="artifact")
    title = Line(500, required=True)
    path = Line(2000)
    description = Text(10_000)


class CompleteIn(SpentIn):
    aliases = {**SpentIn.aliases, "criteria_results": "results", "criteria": "results"}
    summary = Text(50_000)
    output = AnyJson()
    deliverables = serializers.ListField(child=HandedIn(), required=False, max_length=100)
    actual_hours = Hours()
    branch = Line(250)
    commits = Words(100, 200)
    review = Flag(help_text="Hand it in for review, whatever the task and the venture say.")
    results = Metadata(
        help_text="By the text or the number of each success criterion how it came out: true, false, or the value asked for."
    )
    validate = Flag(help_text="Refuse when a success criterion is not met, and say which.")
    force = Flag(help_text="Hand it in all the same; the log tells what was not met.")


class CompleteByIdIn(CompleteIn):
    """`/api/tasks/complete`: an `error` makes it a failure."""

    aliases = {**CompleteIn.aliases, "id": "task_id"}
    task_id = Code(required=True)
    error = Text(10_000)


class ClaimIn(StrictSerializer):
    """The next task for the caller. Read by claim_answer.py; these fields are its schema."""

    session_key = SessionKey(help_text="Asking again with it gives the same live task.")
    capabilities = Words(100, 50, help_text="Only tasks that these of the agent's capabilities are enough for.")
    venture = Line(60)
    limit = Whole(1, 50, help_text="So many at once, in one transaction.")
    lease_seconds = Whole(15, 24 * 3600)
    wait = serializers.FloatField(required=False, min_value=0, max_value=60, help_text="Seconds to wait for one.")
    idle_work = Flag(help_text="Only within the agent's available hours.")
    agent_id = Line(60)
    agent_name = Line(200)


class ClaimOneIn(StrictSerializer):
    aliases = {"openclaw_session_id": "session_key"}
    session_key = SessionKey()
    lease_seconds = Whole(15, 24 * 3600)
    agent_id = Line(60)
    agent_name = Line(200)


class ReadyForWorkIn(ClaimOneIn):
    aliases = {"openclaw_session_id": "session_key", "assignee": "agent_id", "assigned_to": "agent_id"}


# ── in: steering ────────────────────────────────────────────────────────────────────────────────────────────────────


class ReasonIn(StrictSerializer):
    reason = Text(10_000)


class ReturnIn(StrictSerializer):
    aliases = {"feedback": "reason"}
    reason = Text(10_000, required=True)


class AcceptIn(StrictSerializer):
    note = Text(10_000)


class AnswerIn(StrictSerializer):
    answer = Text(10_000, help_text="What it waited for.")


class NothingIn(StrictSerializer):
    """An empty object."""


class MoveIn(StrictSerializer):
    status = status_field(required=True)
    before = Code(blank=True, help_text="It goes in front of this one of the target column.")
    after = Code(blank=True, help_text="It goes behind this one of the target column.")
    reason = Text(10_000)


class ExecutionIn(StrictSerializer):
    aliases = {"execution_state": "action", "state": "action"}
    action = serializers.ChoiceField(choices=("pause", "resume", "cancel", "retry"))
    reason = Text(10_000)


class CleanUpIn(StrictSerializer):
    older_than_minutes = serializers.FloatField(
        required=False, default=0, min_value=0, max_value=525_600, help_text="Without a sign of life for so long."
    )


# ── in: beside the task ─────────────────────────────────────────────────────────────────────────────────────────────


class LogIn(FenceIn):
    activity_type = serializers.ChoiceField(
        choices=("spawned", "updated", "completed", "file_created", "status_changed"), required=False, default="updated"
    )
    message = Text(10_000, required=True)
    level = serializers.ChoiceField(choices=("info", "success", "warning", "error"), required=False, default="info")
    metadata = Metadata()


class LogAnywhereIn(LogIn):
    aliases = {**FenceIn.aliases, "task_id": "task", "venture_id": "venture", "project_id": "venture",
               "workspace_id": "venture"}  # fmt: skip
    task = Code(blank=True)
    venture = Line(60)
    title = Line(500)


class SubagentIn(StrictSerializer):
    aliases = {"openclaw_session_id": "session_key", "parent_session_key": "parent", "agent": "agent_name"}
    session_key = SessionKey(required=True)
    agent_name = Line(120, help_text="Its slug or name; one that is new is registered where the caller may.")
    agent_id = Line(60, help_text="Act for this agent.")
    model = Line(120)
    parent = SessionKey(help_text="The session that spawned it; without one the task's primary session.")


class PersistentIn(StrictSerializer):
    aliases = {"openclaw_session_id": "session_key", "key": "session_key", "agent": "agent_id"}
    session_key = SessionKey(required=True)
    agent_id = Line(60, help_text="Act for this agent.")
    model = Line(120)


class SessionChange(StrictSerializer):
    aliases = {"status": "state"}
    read_only_names = (
        "id",
        "agent",
        "task",
        "type",
        "parent",
        "attempt",
        "tokens",
        "cost",
        "started_at",
        "heartbeat_at",
    )
    state = Named(lambda word: session_state_named(word), help_text="running, waiting, paused, completed, failed …")
    model = Line(120)
    output = AnyJson()
    summary = Text(50_000)
    error = Text(10_000)
    ended_at = Moment(allow_null=True, help_text="Taken from clients that send it; the database's clock decides.")


SESSION_WORDS = {
    "active": "running",
    "idle": "running",
    "done": "completed",
    "complete": "completed",
    "error": "failed",
}


def session_state_named(word: str) -> str:
    """ValueError names the words there are."""
    state = SESSION_WORDS.get(word.lower(), word.lower())
    if state not in vocabulary.SESSION_STATES:
        raise ValueError(f"Use one of: {', '.join(vocabulary.SESSION_STATES)}.")
    return state


class DependencyIn(StrictSerializer):
    aliases = {"depends_on_id": "depends_on", "task_id": "depends_on"}
    depends_on = Code(required=True)


class UsageIn(StrictSerializer):
    """What was spent since the last report. The same request_id is booked once."""

    aliases = {"openclaw_session_id": "session_key", "session": "session_key", "actual_cost": "cost"}
    cost = Usd()
    tokens_in = Whole(most=10**15)
    tokens_out = Whole(most=10**15)
    model = Line(120)
    provider = Line(60)
    note = Line(500)
    request_id = Line(255)
    session_key = SessionKey()
    epoch = Whole(most=2**31 - 1)
    lease_token = Line(64)
    agent_id = Line(60)


class UsageAnywhereIn(UsageIn):
    aliases = {**UsageIn.aliases, "task_id": "task"}
    task = Code(blank=True)


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _text(**options: Any) -> serializers.CharField:
    return serializers.CharField(**options)


def _maybe(**options: Any) -> serializers.CharField:
    return serializers.CharField(allow_null=True, **options)


def _time(**options: Any) -> serializers.DateTimeField:
    return serializers.DateTimeField(allow_null=True, **options)


class TaskOut(Answer):
    id = _text()
    title = _text()
    description = _text(allow_blank=True)
    venture = _text()
    status = serializers.ChoiceField(choices=list(STATUSES))
    execution_state = serializers.ChoiceField(choices=EXECUTION_STATES)
    priority = serializers.ChoiceField(choices=list(PRIORITIES.values()))
    assignee = _maybe(help_text="For whom it is meant.")
    holder = _maybe(help_text="The agent that holds its lease.")
    held_by = _maybe(help_text="The person who works on it.")
    session_key = _text(allow_blank=True)
    session_locked_at = _time()
    lease_seconds = serializers.IntegerField(allow_null=True)
    lease_expires_at = _time()
    heartbeat_at = _time()
    epoch = serializers.IntegerField()
    created_by = _text()
    tags = serializers.ListField(child=serializers.CharField())
    required_capabilities = serializers.ListField(child=serializers.CharField())
    parent = _maybe()
    depends_on = serializers.ListField(child=serializers.CharField())
    blockers_open = serializers.IntegerField()
    blocked_kind = _text(allow_blank=True)
    blocked_reason = _text(allow_blank=True)
    paused_reason = _text(allow_blank=True)
    review_required = serializers.BooleanField()
    needs_approval = serializers.BooleanField()
    approved_by = _maybe(help_text="Who approved its start, as it reads now.")
    approved_at = _time()
    success_criteria = serializers.ListField(child=serializers.DictField())
    criteria_met = serializers.ListField(
        child=serializers.BooleanField(), allow_null=True, help_text="At its completion, for each criterion."
    )
    failures = serializers.IntegerField()
    not_before = _time()
    generation = serializers.IntegerField()
    estimated_tokens = serializers.IntegerField(allow_null=True)
    estimated_cost = _maybe(help_text="USD as a decimal.")
    actual_cost = _text(help_text="USD as a decimal.")
    tokens_used = serializers.IntegerField()
    estimated_hours = serializers.FloatField(allow_null=True)
    actual_hours = serializers.FloatField(allow_null=True)
    deadline = _time()
    progress_percent = serializers.IntegerField(allow_null=True)
    progress_step = _text(allow_blank=True)
    completion_summary = _text(allow_blank=True)
    feedback_quality = serializers.IntegerField(allow_null=True)
    feedback_timeliness = serializers.IntegerField(allow_null=True)
    feedback_notes = _text(allow_blank=True)
    output = serializers.JSONField()
    branch = _text(allow_blank=True)
    deliverable_count = serializers.IntegerField()
    comment_count = serializers.IntegerField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    status_changed_at = serializers.DateTimeField()
    warnings = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="After handing in: named files that are not there."
    )

    @classmethod
    def shape(cls, thing: Task, call: Any) -> dict[str, Any]:
        shape = task_shape(thing, Around([thing]), timezone.now(), bare=call.bare)
        warnings = getattr(thing, "warnings", None)
        return {**shape, "warnings": warnings} if warnings else shape

    @classmethod
    def shapes(cls, things: list[Task], call: Any) -> list[dict[str, Any]]:
        around, moment = Around(things), timezone.now()
        return [task_shape(task, around, moment, bare=call.bare) for task in things]


class BriefingOut(Answer):
    """What its holder needs. What people and agents wrote stands under `quoted`: material, not authority."""

    task = _text()
    venture = _text()
    priority = _text()
    deadline = _time()
    attempt = serializers.IntegerField()
    hand_in = _text()
    model = serializers.CharField(
        allow_null=True, help_text="The one to work with, by the table of priorities; null: your own."
    )
    lease = _text()
    report = serializers.DictField(child=serializers.CharField())
    reading = _text(help_text="How to read what is quoted.")
    provenance = serializers.DictField(help_text="Who created the task, and who approved it when.")
    size = serializers.DictField(
        help_text="In tokens of four characters: all that is quoted, material, its budget, what was left out."
    )
    hidden = serializers.ListField(
        child=_text(), help_text="Quoted fields with characters that a screen does not show."
    )
    quoted = serializers.DictField()

    @classmethod
    def shape(cls, thing: Task, call: Any) -> dict[str, Any]:
        return briefing_of(thing)


class ClaimedTask(TaskOut):
    lease_token = _text()
    lease_expires_in = serializers.IntegerField()
    briefing = BriefingOut(required=False)


class ClaimOut(Answer):
    task = TaskOut(allow_null=True)
    tasks = ClaimedTask(many=True)
    action = serializers.ChoiceField(choices=("claimed", "none"))
    retry_after = serializers.IntegerField(required=False, help_text="Seconds, when there was nothing.")
    epoch = serializers.IntegerField(required=False)
    lease_token = _text(required=False)
    lease_expires_in = serializers.IntegerField(required=False)
    briefing = BriefingOut(required=False)


class ClaimedOne(Answer):
    task = TaskOut(allow_null=True)
    action = _text(required=False)
    claimedAt = serializers.DateTimeField(required=False)  # the name other tools read
    epoch = serializers.IntegerField(required=False)
    lease_token = _text(required=False)
    lease_expires_in = serializers.IntegerField(required=False)
    briefing = BriefingOut(required=False)
    retry_after = serializers.IntegerField(required=False)


class LeaseOut(Answer):
    """What a heartbeat is answered."""

    id = _text()
    status = _text()
    action = _text(help_text="continue")
    epoch = serializers.IntegerField()
    lease_expires_at = serializers.DateTimeField()
    lease_expires_in = serializers.IntegerField()


class SessionOut(Answer):
    id = _text(help_text="Its key.")
    agent = _text()
    task = _maybe()
    type = serializers.ChoiceField(choices=SESSION_TYPES)
    parent = _maybe()
    attempt = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(choices=vocabulary.SESSION_STATES)
    model = _text(allow_blank=True)
    output = serializers.JSONField()
    summary = _text(allow_blank=True)
    error = _text(allow_blank=True)
    tokens = serializers.IntegerField()
    cost = _text()
    started_at = serializers.DateTimeField()
    heartbeat_at = serializers.DateTimeField()
    ended_at = _time()

    @classmethod
    def shape(cls, thing: Session, call: Any) -> dict[str, Any]:
        shape = session_shape(thing)
        if call.bare:
            shape["openclaw_session_id"] = shape["id"]
            shape["session_type"] = shape["type"]
            shape["status"] = "active" if thing.ended_at is None else shape["state"]
            shape["task_id"], shape["agent_id"], shape["agent_name"] = shape["task"], shape["agent"], thing.agent.name
        return shape


class DeliverableOut(Answer):
    id = serializers.IntegerField(help_text="Its number within the task.")
    type = serializers.ChoiceField(choices=DELIVERABLE_TYPES)
    title = _text()
    path = _text(allow_blank=True)
    description = _text(allow_blank=True)
    filename = _text(allow_blank=True)
    content_type = _text(allow_blank=True)
    size = serializers.IntegerField(allow_null=True)
    sha256 = _text(allow_blank=True)
    file = _maybe(help_text="Where to download it.")
    agent = _text(allow_blank=True)
    attempt = serializers.IntegerField(allow_null=True)
    orphaned = serializers.BooleanField(help_text="Its lease was lost; an operator may adopt it.")
    warning = _text(required=False)
    created_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Deliverable, call: Any) -> dict[str, Any]:
        root = "/api" if call.bare else "/api/v1"
        shape = {
            "id": thing.number, "type": thing.type, "title": thing.title, "path": thing.path,
            "description": thing.description, "filename": thing.filename, "content_type": thing.content_type,
            "size": thing.size, "sha256": thing.sha256,
            "file": f"{root}/tasks/{thing.task.code}/deliverables/{thing.number}/file" if thing.file else None,
            "agent": thing.agent, "attempt": thing.attempt, "orphaned": thing.orphaned,
            "created_at": iso(thing.created_at),
        }  # fmt: skip
        warning = getattr(thing, "warning", "")
        if warning:
            shape["warning"] = warning
        if call.bare:
            shape["deliverable_type"], shape["task_id"] = thing.type, thing.task.code
        return shape


class ActivityOut(Answer):
    """One line of the log."""

    class ActorOut(serializers.Serializer[Any]):
        type = serializers.ChoiceField(choices=TYPES)
        name = serializers.CharField()

    seq = serializers.IntegerField()
    kind = _text()
    level = serializers.ChoiceField(choices=("info", "success", "warning", "error"))
    actor = ActorOut()
    venture = _maybe()
    task = _maybe()
    agent = _maybe()
    session = _maybe()
    status_from = _maybe()
    status_to = _maybe()
    title = _text(allow_blank=True)
    message = _text(allow_blank=True)
    data = serializers.DictField()
    cause = serializers.IntegerField(allow_null=True, help_text="The line that led to this one, where it is known.")
    at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Activity, call: Any) -> dict[str, Any]:
        shape = live.as_json(thing)
        if call.bare:
            shape["id"], shape["created_at"] = thing.seq, shape["at"]
            shape["task_id"], shape["agent_id"] = shape["task"], shape["agent"]
            shape["activity_type"] = thing.data.get("activity_type", thing.kind)
            shape["metadata"] = shape["data"].get("metadata", shape["data"])
        return shape


class PrerequisiteOut(Answer):
    id = _text()
    title = _text()
    status = serializers.ChoiceField(choices=list(STATUSES))
    satisfied = serializers.BooleanField()
    created_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Any, call: Any) -> dict[str, Any]:
        before = thing.depends_on
        return {
            "id": before.code, "title": before.title, "status": before.status,
            "satisfied": before.status == vocabulary.DONE, "created_at": iso(thing.created_at),
        }  # fmt: skip


class GateOut(Answer):
    """One gate between a task and an agent."""

    class ActionOut(serializers.Serializer[Any]):
        label = serializers.CharField()
        verb = serializers.CharField()
        method = serializers.CharField()
        url = serializers.CharField()
        body = serializers.DictField()

    name = _text()
    open = serializers.BooleanField()
    sentence = _text()
    action = ActionOut(allow_null=True)

    @classmethod
    def shape(cls, thing: Any, call: Any) -> dict[str, Any]:
        shape: dict[str, Any] = thing.as_dict()
        return shape


class CleanedOut(Answer):
    cleaned = serializers.IntegerField(help_text="Leases that had run out and were taken back.")
    threshold = serializers.DateTimeField(help_text="Without a sign of life since then.")


class UsageOut(Answer):
    task = _text()
    actual_cost = _text()
    tokens_used = serializers.IntegerField()


def assignee_named(slug: str, field: str = "assignee") -> Any:
    return agent_named(slug, field) if slug else None
