"""Ventures (a board, a budget, perhaps a repository each) and the ledger of what was spent on them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mission_control.actors import Actor

DEFAULT_SLUG = "default"


class VentureQuerySet(models.QuerySet["Venture"]):
    def visible_to(self, actor: Actor) -> VentureQuerySet:
        """People see all; an agent sees those that are open to all and those it joined."""
        if not actor.is_agent or actor.can("admin"):
            return self
        return self.filter(Q(open_to_all=True) | Q(pk__in=actor.agent.ventures.values("pk")))

    def offering(self) -> VentureQuerySet:
        """Those whose tasks may be claimed."""
        return self.filter(status="active")


class Venture(models.Model):
    STATUSES = [("active", "Active"), ("paused", "Paused"), ("completed", "Completed"), ("archived", "Archived")]
    PRIORITIES = [(0, "Low"), (1, "Medium"), (2, "High"), (3, "Urgent")]
    INTAKES = [("ready", "Ready"), ("inbox", "Inbox")]

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)  # public identity: never changes, the log keeps it as text
    icon = models.CharField(max_length=16, default="🛰️", blank=True)
    color = models.CharField(max_length=7, default="", blank=True)  # #rrggbb
    description = models.TextField(blank=True, max_length=10_000)
    status = models.CharField(max_length=12, choices=STATUSES, default="active")
    priority = models.SmallIntegerField(choices=PRIORITIES, default=1)
    capital_budget_micro_usd = models.BigIntegerField(null=True, blank=True)  # null: no limit
    capital_spent_micro_usd = models.BigIntegerField(default=0)  # equals the ledger
    capital_reserved_micro_usd = models.BigIntegerField(default=0)  # equals the live holds
    repo_url = models.CharField(max_length=500, blank=True)
    default_branch = models.CharField(max_length=200, default="main")
    context_file = models.CharField(max_length=200, default="CONTEXT.md")
    workspace = models.CharField(max_length=1000, blank=True)  # a path, for agents on the same machine
    intake = models.CharField(max_length=8, choices=INTAKES, default="ready")
    review_required = models.BooleanField(default=False)
    approval_required = models.BooleanField(default=False)  # of tasks that are made here or moved here from now on
    four_eyes = models.BooleanField(default=False)  # people too never approve or accept their own
    open_to_all = models.BooleanField(default=True)  # else only agents that joined see it and work in it
    wip_limits = models.JSONField(default=dict, blank=True)  # {column key: most cards}; in_progress is a claim gate
    max_failures = models.PositiveSmallIntegerField(default=3)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())

    objects = VentureQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(
                name="venture_status", condition=Q(status__in=["active", "paused", "completed", "archived"])
            ),
            models.CheckConstraint(name="venture_max_failures", condition=Q(max_failures__gte=1)),
            models.CheckConstraint(
                name="venture_money",
                condition=Q(capital_spent_micro_usd__gte=0, capital_reserved_micro_usd__gte=0)
                & (Q(capital_budget_micro_usd=None) | Q(capital_budget_micro_usd__gte=0)),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class LedgerEntry(models.Model):
    """Append-only. Subjects are kept as text: what was spent stays spent when its task is deleted."""

    KINDS = [("cost", "Cost"), ("adjustment", "Adjustment"), ("reward", "Reward")]
    venture = models.CharField(max_length=60, db_index=True)
    task = models.CharField(max_length=8, blank=True)
    agent = models.CharField(max_length=60, blank=True)
    session = models.CharField(max_length=260, blank=True)
    attempt = models.PositiveIntegerField(null=True, blank=True)  # the claim epoch the report spoke of
    kind = models.CharField(max_length=12, choices=KINDS, default="cost")
    amount_micro_usd = models.BigIntegerField(default=0)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    model = models.CharField(max_length=120, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    note = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=255, null=True, blank=True, unique=True)
    at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        verbose_name_plural = "ledger entries"
        ordering = ["-id"]
        indexes = [models.Index(fields=["task", "agent", "attempt"], name="ledger_attempt", condition=~Q(task=""))]
        constraints = [
            models.CheckConstraint(name="ledger_tokens", condition=Q(tokens_in__gte=0, tokens_out__gte=0)),
            models.CheckConstraint(name="ledger_cost_is_spent", condition=~Q(kind="cost") | Q(amount_micro_usd__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.venture} {self.kind} {self.amount_micro_usd}"

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out
