"""What the calls on ventures take and give. Not: what they do (api.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.fields import Answer, Flag, Line, Matching, Named, SignedUsd, StrictSerializer, Text, Usd, Whole
from mission_control.money import to_usd
from mission_control.strict_json import iso
from ventures.catalogue import COLUMN_KEYS, LIMIT_MOST
from ventures.models import LedgerEntry, Venture

SLUG = r"[-a-zA-Z0-9_]{1,60}"
PRIORITIES = dict(Venture.PRIORITIES)
PRIORITY_WORDS = {**{label.lower(): rank for rank, label in PRIORITIES.items()}, "normal": 1, "critical": 3}
NAMES = {"slug": "id", "budget": "capital_budget", "repository": "repo_url", "repo": "repo_url", "emoji": "icon"}
READ_ONLY = (
    "capital_spent", "capital_reserved", "capital_left", "version", "created_at", "updated_at",
)  # fmt: skip


def priority_named(word: str) -> int:
    """ValueError names the words there are."""
    if word.strip().lower() not in PRIORITY_WORDS:
        raise ValueError("Unknown priority. Use one of: low, medium, high, urgent.")
    return PRIORITY_WORDS[word.strip().lower()]


class Limits(serializers.DictField):
    """`{column: most cards}`; null takes a limit away."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Whole(1, LIMIT_MOST, allow_null=True), **{"required": False, **options})

    def to_internal_value(self, data: Any) -> dict[str, int]:
        limits = super().to_internal_value(data)
        unknown = sorted(set(limits) - set(COLUMN_KEYS))
        if unknown:
            raise serializers.ValidationError(f"No such column: {', '.join(unknown)[:200]}.")
        return {column: most for column, most in limits.items() if most is not None}


class VentureFields(StrictSerializer):
    aliases = NAMES
    read_only_names = READ_ONLY

    icon = Line(16)
    color = Matching(7, r"#[0-9a-fA-F]{6}|", "Give a colour like #4f7cff.")
    description = Text(10_000)
    status = serializers.ChoiceField(choices=Venture.STATUSES, required=False)
    priority = Named(priority_named, help_text="low, medium, high or urgent.")
    capital_budget = Usd(allow_null=True, help_text="null: no limit.")
    repo_url = Line(500)
    default_branch = Line(200, blank=False)
    context_file = Line(200, blank=False)
    workspace = Line(1000, help_text="A path, for agents on the same machine.")
    intake = serializers.ChoiceField(choices=Venture.INTAKES, required=False)
    review_required = Flag()
    approval_required = Flag(help_text="Tasks made here or moved here from now on wait for approval before the start.")
    four_eyes = Flag(help_text="People too never approve or accept their own.")
    open_to_all = Flag(help_text="Else only agents that joined see it and work in it.")
    wip_limits = Limits()
    max_failures = Whole(1, 100)


class VentureIn(VentureFields):
    id = Matching(60, SLUG, "Use letters, digits, - and _.", blank=False, help_text="Its slug; one is made without.")
    name = Line(120, required=True)


class VentureChange(VentureFields):
    name = Line(120, blank=False)


class VentureChangeById(VentureChange):
    id = Line(60, required=True)


class JoinIn(StrictSerializer):
    aliases = {"agent": "agent_id"}
    agent_id = Line(60, help_text="Let this agent join; without one, the caller.")


class VentureOut(Answer):
    id = serializers.CharField(help_text="Its slug.")
    name = serializers.CharField()
    icon = serializers.CharField(allow_blank=True)
    color = serializers.CharField(allow_blank=True)
    description = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(choices=Venture.STATUSES)
    priority = serializers.CharField()
    capital_budget = serializers.CharField(allow_null=True, help_text="USD as a decimal; null: no limit.")
    capital_spent = serializers.CharField()
    capital_reserved = serializers.CharField()
    repo_url = serializers.CharField(allow_blank=True)
    default_branch = serializers.CharField()
    context_file = serializers.CharField()
    workspace = serializers.CharField(allow_blank=True)
    intake = serializers.CharField()
    review_required = serializers.BooleanField()
    approval_required = serializers.BooleanField()
    four_eyes = serializers.BooleanField()
    open_to_all = serializers.BooleanField()
    wip_limits = serializers.DictField(child=serializers.IntegerField())
    max_failures = serializers.IntegerField()
    version = serializers.IntegerField()
    created_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Venture, call: Any) -> dict[str, Any]:
        return {
            "id": thing.slug, "name": thing.name, "icon": thing.icon, "color": thing.color,
            "description": thing.description, "status": thing.status, "priority": PRIORITIES[thing.priority].lower(),
            "capital_budget": to_usd(thing.capital_budget_micro_usd),
            "capital_spent": to_usd(thing.capital_spent_micro_usd),
            "capital_reserved": to_usd(thing.capital_reserved_micro_usd), "repo_url": thing.repo_url,
            "default_branch": thing.default_branch, "context_file": thing.context_file, "workspace": thing.workspace,
            "intake": thing.intake, "review_required": thing.review_required,
            "approval_required": thing.approval_required, "four_eyes": thing.four_eyes, "open_to_all": thing.open_to_all,
            "wip_limits": thing.wip_limits, "max_failures": thing.max_failures, "version": thing.version,
            "created_at": iso(thing.created_at),
        }  # fmt: skip


class AdjustmentIn(StrictSerializer):
    read_only_names = ("id", "venture", "at", "agent")
    kind = serializers.ChoiceField(choices=("adjustment",), required=False, default="adjustment")
    amount = SignedUsd(required=True)
    note = Line(500, required=True, help_text="Why.")
    request_id = Line(255)


class EntryOut(Answer):
    """One line of the ledger."""

    id = serializers.IntegerField()
    venture = serializers.CharField()
    task = serializers.CharField(allow_null=True)
    agent = serializers.CharField(allow_null=True)
    session = serializers.CharField(allow_null=True)
    attempt = serializers.IntegerField(allow_null=True)
    kind = serializers.ChoiceField(choices=LedgerEntry.KINDS)
    amount = serializers.CharField(help_text="USD as a decimal.")
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    model = serializers.CharField(allow_blank=True)
    provider = serializers.CharField(allow_blank=True)
    note = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField(allow_null=True)
    at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: LedgerEntry, call: Any) -> dict[str, Any]:
        return {
            "id": thing.pk, "venture": thing.venture, "task": thing.task or None, "agent": thing.agent or None,
            "session": thing.session or None, "attempt": thing.attempt, "kind": thing.kind,
            "amount": to_usd(thing.amount_micro_usd), "tokens_in": thing.tokens_in, "tokens_out": thing.tokens_out,
            "model": thing.model, "provider": thing.provider, "note": thing.note, "request_id": thing.request_id,
            "at": iso(thing.at),
        }  # fmt: skip
