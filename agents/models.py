"""Agents and their keys. Not: what they work on (tasks), how a key is checked (keys.py)."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from ventures.models import Venture


class Agent(models.Model):
    AVAILABILITIES = [("available", "Available"), ("busy", "Busy"), ("offline", "Offline")]
    CONNECTIONS = [("local", "Local"), ("remote", "Remote")]

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)  # public identity: never changes, the log keeps it as text
    role = models.CharField(max_length=120, blank=True)
    description = models.TextField(blank=True, max_length=10_000)
    avatar = models.CharField(max_length=16, blank=True)  # an emoji; without one the initial is shown
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    capabilities = models.JSONField(default=list, blank=True)  # sorted lower-case words
    is_lead = models.BooleanField(default=False)
    connection = models.CharField(max_length=8, choices=CONNECTIONS, default="remote")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    availability = models.CharField(max_length=12, choices=AVAILABILITIES, default="available")  # what it says
    available_until = models.DateTimeField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    seen_offline = models.BooleanField(default=True)  # went_offline was recorded and seen_again not yet
    heartbeat_interval = models.PositiveIntegerField(null=True, blank=True)  # seconds
    available_hours = models.JSONField(null=True, blank=True)  # {"timezone": "Europe/Berlin", "hours": ["09:00-17:30"]}
    max_concurrent = models.PositiveIntegerField(null=True, blank=True)
    token_budget = models.BigIntegerField(null=True, blank=True)  # per session
    tokens_used = models.BigIntegerField(default=0)
    tasks_completed = models.PositiveIntegerField(default=0)
    reputation = models.SmallIntegerField(default=50)
    ventures = models.ManyToManyField(Venture, blank=True, related_name="agents")  # joined
    claim_digest = models.CharField(max_length=64, blank=True)  # of the link that a person opens; "" once claimed
    claimed_at = models.DateTimeField(null=True, blank=True)  # null: pending, may only read itself
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["slug"]
        indexes = [models.Index(fields=["last_seen_at"], name="agent_last_seen")]
        constraints = [
            models.CheckConstraint(
                name="agent_availability", condition=Q(availability__in=["available", "busy", "offline"])
            ),
            models.CheckConstraint(name="agent_connection", condition=Q(connection__in=["local", "remote"])),
            models.CheckConstraint(name="agent_reputation", condition=Q(reputation__gte=0, reputation__lte=100)),
            models.CheckConstraint(
                name="agent_max_concurrent", condition=Q(max_concurrent=None) | Q(max_concurrent__gte=1)
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class AgentKey(models.Model):
    """The right to call as an agent. The secret is shown once; a prefix to find it and its SHA-256 are kept."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="keys")
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)  # of work, orchestrate, admin
    label = models.CharField(max_length=120, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)  # rotation: the old key overlaps until then
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute, see keys.note_used

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"mc_{self.prefix}…"


class EnrolmentToken(models.Model):
    """The right to register as an agent that a person answers for. Like a key, only a prefix and a digest are kept."""

    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)  # of the key that each agent gets
    label = models.CharField(max_length=120, blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)  # answers
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    uses = models.PositiveIntegerField(default=0)
    most_uses = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="enrolment_uses", condition=Q(uses__lte=models.F("most_uses"), most_uses__gte=1)
            )
        ]

    def __str__(self) -> str:
        return f"mce_{self.prefix}…"
