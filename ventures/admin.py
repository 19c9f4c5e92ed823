"""Ventures and their books in the admin. Every edit is `catalogue.change`; the books are only read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import HttpRequest

from mission_control.actors import Actor
from mission_control.admin import ReadOnlyAdmin, UsdField, VerbAdmin, VerbForm, action_of, usd
from ventures import catalogue
from ventures.models import LedgerEntry, Venture


class VentureForm(VerbForm):
    color = forms.CharField(
        required=False, validators=[RegexValidator(r"^#[0-9a-fA-F]{6}$", "Give it as #rrggbb.")], help_text="#rrggbb"
    )
    capital_budget_micro_usd = UsdField(required=False, label="Capital budget", help_text="In USD. Empty: no limit.")
    wip_limits = forms.JSONField(
        required=False, initial=dict, label="WIP limits", help_text='By column, for example {"in_progress": 5}.'
    )

    def clean_wip_limits(self) -> dict[str, int]:
        limits = self.cleaned_data["wip_limits"] or {}
        numbers = isinstance(limits, dict) and all(type(most) is int and most >= 0 for most in limits.values())
        if not numbers:
            raise ValidationError("Give columns and whole numbers, zero or more.")
        return dict(limits)


@admin.register(Venture)
class VentureAdmin(VerbAdmin):
    form = VentureForm
    log_field = "venture"
    list_display = (
        "name", "slug", "status", "priority", usd("capital_spent_micro_usd", "spent"),
        usd("capital_budget_micro_usd", "budget"), "open_to_all", "created_at",
    )  # fmt: skip
    list_filter = ("status", "priority", "open_to_all")
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = (
        (None, {"fields": ("name", "slug", "icon", "color", "description", "status", "priority")}),
        ("Money", {"fields": ("capital_budget_micro_usd", "spent", "reserved")}),
        ("Work", {"fields": ("intake", "review_required", "open_to_all", "wip_limits", "max_failures")}),
        ("Code", {"fields": ("repo_url", "default_branch", "context_file", "workspace")}),
        ("Kept by the product", {"fields": ("version", "created_at")}),
    )
    spent = staticmethod(usd("capital_spent_micro_usd", "Spent"))
    reserved = staticmethod(usd("capital_reserved_micro_usd", "Reserved"))
    actions = (
        "delete_selected",
        *(
            action_of(
                word, label, lambda actor, row, _, word=word: catalogue.change(actor, row, {"status": word}), word
            )
            for word, label in (
                ("active", "Activate"),
                ("paused", "Pause: offer no task"),
                ("completed", "Complete"),
                ("archived", "Archive"),
            )
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        kept = ("spent", "reserved", "version", "created_at")
        return ("slug", *kept) if obj else kept

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else super().get_prepopulated_fields(request, obj)

    def make(self, actor: Actor, fields: dict[str, Any]) -> Venture:
        return catalogue.create(actor, **fields)

    def edit(self, actor: Actor, row: Venture, changes: dict[str, Any]) -> None:
        catalogue.change(actor, row, changes)

    def remove(self, actor: Actor, row: Venture) -> None:
        catalogue.delete(actor, row)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = (
        "id", "at", "kind", "venture", "task", "agent", "attempt", usd("amount_micro_usd", "amount"), "tokens_in",
        "tokens_out", "model", "note",
    )  # fmt: skip
    list_filter = ("kind",)
    search_fields = ("venture__exact", "task__exact", "agent__exact", "request_id__exact")
    search_help_text = "The slug of a venture or an agent, the code of a task, or a request id"
