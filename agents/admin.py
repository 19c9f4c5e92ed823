"""Agents and their keys in the admin. Every edit is `roster.change`; a key is shown once, when it is made."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from agents import keys, roster
from agents.models import Agent, AgentKey
from mission_control.actors import SCOPES, Actor
from mission_control.admin import ReadOnlyRows, VerbAdmin, VerbForm, WordsField, action_of, actor_of, each
from ventures.models import Venture

HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)")


class AgentForm(VerbForm):
    capabilities = WordsField(fold=True, required=False, help_text="Words with commas, for example: python, sql")

    def clean_available_hours(self) -> dict[str, Any] | None:
        declared = self.cleaned_data["available_hours"]
        if not declared:
            return None
        if not isinstance(declared, dict) or set(declared) - {"timezone", "hours"}:
            raise ValidationError('For example {"timezone": "Europe/Warsaw", "hours": ["09:00-17:30"]}.')
        zone, hours = declared.get("timezone", "UTC"), declared.get("hours", [])
        if zone not in available_timezones():
            raise ValidationError("There is no such time zone.")
        if not isinstance(hours, list) or not all(isinstance(span, str) and HOURS.fullmatch(span) for span in hours):
            raise ValidationError('Hours are a list of spans like "09:00-17:30".')
        return {"timezone": zone, "hours": hours}


class JoinForm(ActionForm):
    """The bar of actions with a choice of the venture to join."""

    venture = forms.ModelChoiceField(Venture.objects.all(), required=False, to_field_name="slug")


class KeyRows(ReadOnlyRows):
    model = AgentKey
    fields = ("prefix", "scopes", "label", "created_by", "created_at", "expires_at", "revoked_at", "last_used_at")


@admin.register(Agent)
class AgentAdmin(VerbAdmin):
    form = AgentForm
    action_form = JoinForm
    log_field = "agent"
    list_display = (
        "slug", "name", "role", "model", "skills", "is_lead", "availability", "last_seen_at", "tasks_completed",
        "tokens_used",
    )  # fmt: skip
    list_filter = ("availability", "is_lead", "connection", ("claimed_at", admin.EmptyFieldListFilter))
    search_fields = ("slug", "name")
    prepopulated_fields = {"slug": ("name",)}
    inlines = (KeyRows,)
    fieldsets = (
        (None, {"fields": ("name", "slug", "role", "description", "avatar", "is_lead")}),
        ("What it is", {"fields": ("provider", "model", "capabilities", "connection")}),
        (
            "When it works",
            {
                "fields": (
                    "availability", "available_until", "heartbeat_interval", "available_hours", "max_concurrent",
                    "token_budget",
                )
            },
        ),
        (
            "Kept by the product",
            {
                "fields": (
                    "joined", "owner", "claimed_at", "last_seen_at", "seen_offline", "tokens_used", "tasks_completed",
                    "reputation", "version", "created_at",
                )
            },
        ),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        kept: tuple[str, ...] = self.fieldsets[-1][1]["fields"]  # type: ignore[assignment]
        return ("slug", *kept) if obj else kept

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else super().get_prepopulated_fields(request, obj)

    @admin.display(description="skills")
    def skills(self, row: Agent) -> str:
        return ", ".join(row.capabilities)

    @admin.display(description="Joined")
    def joined(self, row: Agent) -> str:
        return ", ".join(row.ventures.values_list("slug", flat=True)) if row.pk else ""

    def make(self, actor: Actor, fields: dict[str, Any]) -> Agent:
        return roster.create(actor, **fields)

    def edit(self, actor: Actor, row: Agent, changes: dict[str, Any]) -> None:
        roster.change(actor, row, changes)

    def remove(self, actor: Actor, row: Agent) -> None:
        roster.delete(actor, row)

    @admin.action(description="Join the chosen venture", permissions=["change"])
    def join(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        venture = Venture.objects.filter(slug=request.POST.get("venture", "")).first()
        if venture is None:
            self.message_user(request, "Choose the venture to join beside the action.", "ERROR")
            return
        each(request, queryset, lambda row: roster.join(actor_of(request), row, venture), f"joined {venture.slug}")

    actions = (
        "delete_selected",
        "join",
        *(
            action_of(
                word, label, lambda actor, row, _, word=word: roster.change(actor, row, {"availability": word}), word
            )
            for word, label in (("available", "Set available"), ("offline", "Set offline"))
        ),
    )


class KeyForm(VerbForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES], initial=["work"], widget=forms.CheckboxSelectMultiple,
        help_text="work: claim and report. orchestrate: create, sort and assign. admin: everything.",
    )  # fmt: skip
    overlap_hours = forms.IntegerField(
        required=False,
        min_value=0,
        help_text="To rotate: the agent's other keys end after so many hours. Empty: never.",
    )


@admin.register(AgentKey)
class AgentKeyAdmin(VerbAdmin):
    """Keys are made and revoked here, never edited or deleted: the log speaks of them."""

    form = KeyForm
    fields = ("agent", "scopes", "label", "overlap_hours")
    autocomplete_fields = ("agent",)
    list_display = (
        "__str__",
        "agent",
        "scopes",
        "label",
        "created_by",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    list_select_related = ("agent",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_fields = ("prefix__exact", "agent__slug", "label")
    log_field, log_name = "agent", "agent"
    actions = (
        action_of("revoke", "Revoke", lambda actor, row, _: keys.revoke(actor, row.agent, row.prefix), "revoked"),
    )

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False

    has_delete_permission = has_change_permission

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fields
        return (
            "agent",
            "prefix",
            "scopes",
            "label",
            "created_by",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        )

    def make(self, actor: Actor, fields: dict[str, Any]) -> AgentKey:
        key, secret = keys.create(actor, **fields)
        key.secret = secret  # type: ignore[attr-defined]  # for the one page that shows it
        return key

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        made = self.make(
            actor_of(request),
            {name: form.cleaned_data[name] for name in ("agent", "scopes", "label", "overlap_hours")},
        )
        obj.__dict__.update(made.__dict__)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The page that shows the key, once. No cookie or message carries it."""
        context = {**self.admin_site.each_context(request), "title": "Key made", "key": obj, "opts": self.opts}
        response = TemplateResponse(request, "admin/agents/agentkey/made.html", context)
        response["Cache-Control"] = "no-store"
        return response
