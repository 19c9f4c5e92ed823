"""Tasks with what belongs to them in the admin. State is read-only; the verbs of transitions.py are the actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from mission_control.actors import Actor
from mission_control.admin import (
    ReadOnlyAdmin,
    ReadOnlyRows,
    ReasonForm,
    UsdField,
    VerbAdmin,
    VerbForm,
    WordsField,
    action_of,
    usd,
    words_filter,
)
from mission_control.errors import Invalid
from tasks import transitions
from tasks.collaboration_models import ContextEntry, Participant, PlanStep
from tasks.explain import waits_for
from tasks.models import Deliverable, Dependency, Session, Task
from tasks.view_models import SavedView
from tasks.vocabulary import ASSIGNED, CONTEXT_KINDS, INBOX, READY, SESSION_STATES, SESSION_TYPES, STATUSES


class TaskForm(VerbForm):
    tags = WordsField(required=False, help_text="Words with commas")
    required_capabilities = WordsField(
        fold=True, required=False, help_text="Only agents that have them all may take it"
    )
    estimated_cost_micro_usd = UsdField(required=False, label="Estimated cost", help_text="In USD")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["title"].widget.attrs["class"] = "vLargeTextField"


class NewTaskForm(TaskForm):
    start_as = forms.ChoiceField(
        required=False, label="Status",
        choices=[("", "As the venture takes them in"), *((word, STATUSES[word]) for word in (INBOX, READY, ASSIGNED))],
    )  # fmt: skip


def _by_code(verb: Callable[..., object], *takes: str) -> Callable[[Actor, Task, str], None]:
    """`verb(actor, code, <name>=reason)` for the action bar; without a name the verb takes no reason."""

    def call(actor: Actor, task: Task, reason: str) -> None:
        verb(actor, task.code, **dict.fromkeys(takes, reason))

    return call


def _moved(status: str) -> Callable[[Actor, Task, str], object]:
    return lambda actor, task, _: transitions.move(actor, task.code, status)


def _blocked(actor: Actor, task: Task, reason: str) -> None:
    transitions.block(actor, task.code, kind="needs_input", reason=reason)


class DependencyRows(ReadOnlyRows):
    model = Dependency
    fk_name = "task"
    fields = ("depends_on", "state", "created_at")
    readonly_fields = ("state",)
    verbose_name_plural = "waits for"

    @admin.display(description="state")
    def state(self, row: Dependency) -> str:
        return STATUSES[row.depends_on.status]


class StepRows(ReadOnlyRows):
    model = PlanStep
    fields = ("number", "title", "state", "changed_at")


class ParticipantRows(ReadOnlyRows):
    model = Participant
    fields = ("agent", "role", "joined_at")


class SessionRows(ReadOnlyRows):
    model = Session
    fields = ("key", "agent", "type", "attempt", "state", "tokens", "started_at", "ended_at")


class DeliverableRows(ReadOnlyRows):
    model = Deliverable
    fields = ("number", "type", "title", "size", "agent", "attempt", "orphaned")


@admin.register(Task)
class TaskAdmin(VerbAdmin):
    form = TaskForm
    action_form = ReasonForm
    log_field, log_name = "task", "code"
    list_display = (
        "code", "title", "venture", "status", "priority", "assignee", "holder", "failures",
        usd("actual_cost_micro_usd", "cost"), "status_changed_at",
    )  # fmt: skip
    list_display_links = ("code", "title")
    list_select_related = ("venture", "assignee", "holder")
    list_filter = ("status", "priority", "venture")
    search_fields = ("code__exact", "title")
    ordering = ("-id",)
    autocomplete_fields = ("venture", "assignee")
    raw_id_fields = ("parent",)
    inlines = (StepRows, DependencyRows, DeliverableRows, SessionRows, ParticipantRows)
    plain = (
        "title", "description", "venture", "priority", "assignee", "deadline", "tags", "required_capabilities",
        "parent", "review_required", "needs_approval", "approved_by", "approved_at", "branch",
    )  # fmt: skip
    estimates = (
        "estimated_cost_micro_usd", "estimated_tokens", "estimated_hours", "actual_hours",
    )  # fmt: skip
    state = (
        "status", "why", "status_changed_at", "offered", "not_before", "remembered", "blocked_kind", "blocked_reason",
        "paused_reason", "blockers_open", "failures", "generation", "progress_percent", "progress_step",
        "completion_summary", "cost", "tokens_used",
    )  # fmt: skip
    lease = (
        "holder", "held_by", "epoch", "session_key", "session_locked_at", "lease_expires_at", "heartbeat_at",
    )  # fmt: skip
    kept = ("code", "created_by_type", "created_by", "created_at", "version", "sort_key")
    cost = staticmethod(usd("actual_cost_micro_usd", "Actual cost"))
    actions = (
        action_of("to_ready", "Move to Ready", _moved(READY), "moved to Ready"),
        action_of("to_inbox", "Move to Inbox", _moved(INBOX), "moved to Inbox"),
        action_of("release", "Release", _by_code(transitions.release, "reason"), "released"),
        action_of("pause", "Pause", _by_code(transitions.pause, "reason"), "paused"),
        action_of("resume", "Resume", _by_code(transitions.resume), "resumed"),
        action_of("block", "Block: it needs an answer (give the question)", _blocked, "blocked"),
        action_of("unblock", "Unblock (give the answer)", _by_code(transitions.unblock, "answer"), "unblocked"),
        action_of("complete", "Complete", _by_code(transitions.complete, "summary"), "completed"),
        action_of("accept", "Accept", _by_code(transitions.accept, "note"), "accepted"),
        action_of("return", "Return (say what is missing)", _by_code(transitions.return_, "reason"), "returned"),
        action_of("retry", "Retry", _by_code(transitions.retry), "offered again"),
        action_of("reopen", "Reopen", _by_code(transitions.reopen, "reason"), "reopened"),
        action_of("cancel", "Cancel", _by_code(transitions.cancel, "reason"), "cancelled"),
        "delete_selected",
    )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **({} if change else {"form": NewTaskForm}) | kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("start_as", *self.plain)}), ("Estimates", {"fields": self.estimates[:-1]})]
        return [
            (None, {"fields": self.plain}),
            ("Estimates", {"fields": self.estimates}),
            ("State: changed by the actions of the list", {"fields": self.state}),
            ("Who holds it", {"fields": self.lease}),
            ("Kept by the product", {"fields": self.kept}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.state, *self.lease, *self.kept) if obj else ()

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    @admin.display(description="Waits for")
    def why(self, row: Task) -> str:
        return waits_for(row)

    def make(self, actor: Actor, fields: dict[str, Any]) -> Task:
        status = fields.pop("start_as", "")
        return transitions.create(actor, **fields, **({"status": status} if status else {}))

    def edit(self, actor: Actor, row: Task, changes: dict[str, Any]) -> None:
        transitions.edit(actor, row.code, changes)

    def remove(self, actor: Actor, row: Task) -> None:
        transitions.delete(actor, row.code)


@admin.register(Dependency)
class DependencyAdmin(VerbAdmin):
    list_display = ("task", "depends_on", "created_at")
    list_select_related = ("task", "depends_on")
    search_fields = ("task__code__exact", "depends_on__code__exact")
    ordering = ("-id",)
    raw_id_fields = ("task", "depends_on")
    fields = ("task", "depends_on")

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def make(self, actor: Actor, fields: dict[str, Any]) -> Dependency:
        if len(fields) < 2:
            raise Invalid({"": "Give both tasks."})
        return transitions.add_dependency(actor, fields["task"].code, fields["depends_on"].code)

    def remove(self, actor: Actor, row: Dependency) -> None:
        transitions.remove_dependency(actor, row.task.code, row.depends_on.code)


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = (
        "id", "key", "agent", "task", "type", "attempt", "state", "tokens", usd("cost_micro_usd", "cost"),
        "started_at", "ended_at",
    )  # fmt: skip
    list_select_related = ("agent", "task")
    list_filter = (
        ("ended_at", admin.EmptyFieldListFilter), words_filter("type", "type", SESSION_TYPES),
        words_filter("state", "state", SESSION_STATES),
    )  # fmt: skip
    search_fields = ("key__exact", "agent__slug__exact", "task__code__exact")
    search_help_text = "A session key, the slug of an agent or the code of a task"


@admin.register(Deliverable)
class DeliverableAdmin(ReadOnlyAdmin):
    list_display = ("title", "task", "number", "type", "size", "agent", "attempt", "orphaned", "created_at")
    list_select_related = ("task",)
    list_filter = ("orphaned",)
    search_fields = ("task__code__exact", "title")
    ordering = ("-id",)
    fields = (
        "task", "number", "type", "title", "path", "description", "download", "filename", "content_type", "size",
        "sha256", "agent", "attempt", "orphaned", "created_at",
    )  # fmt: skip
    readonly_fields = ("download",)
    actions = (
        action_of(
            "adopt", "Adopt the orphaned result",
            lambda actor, row, _: transitions.adopt(actor, row.task.code, row.number), "adopted",
        ),
    )  # fmt: skip

    @admin.display(description="file")
    def download(self, row: Deliverable) -> str:
        if not row.file:
            return "–"
        address = f"/api/v1/tasks/{row.task.code}/deliverables/{row.number}/file"
        return format_html('<a href="{}">{}</a>', address, row.filename or row.title)


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    list_display = ("name", "owner", "shared", "url", "created_at")
    list_select_related = ("owner",)
    list_filter = ("shared",)
    search_fields = ("name", "owner__username__exact")


# Notes are for their author alone: they are not here.
@admin.register(ContextEntry)
class ContextEntryAdmin(ReadOnlyAdmin):
    list_display = ("task", "key", "kind", "by", "at")
    list_select_related = ("task",)
    list_filter = (words_filter("kind", "kind", CONTEXT_KINDS),)
    search_fields = ("task__code__exact", "key")
    ordering = ("-at", "-id")
