"""What a team writes about a task it works on together: plan, participants, shared context, notes. Not: how it changes.

Comments are lines of the log (`comment.added`); the task counts them.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.models import Agent
from mission_control.actors import TYPES
from tasks import vocabulary


class PlanStep(models.Model):
    """One step of the checklist. The running one is the current step; what is beside it is done, or still to do."""

    task = models.ForeignKey("tasks.Task", on_delete=models.CASCADE, related_name="plan")
    number = models.PositiveIntegerField()  # 1, 2, 3 … within the task
    title = models.CharField(max_length=500)
    state = models.CharField(max_length=8, default="pending")
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="planstep_unique"),
            models.UniqueConstraint(fields=["task"], name="planstep_one_running", condition=Q(state="running")),
            models.CheckConstraint(name="planstep_state", condition=Q(state__in=list(vocabulary.STEP_STATES))),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.title}"


class Participant(models.Model):
    """An agent that works on the task with others, in a role of its own words."""

    task = models.ForeignKey("tasks.Task", on_delete=models.CASCADE, related_name="participants")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="participations")
    role = models.CharField(max_length=60)
    joined_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["task", "agent"], name="participant_unique")]

    def __str__(self) -> str:
        return f"{self.agent_id} as {self.role}"


class Authored(models.Model):
    """Somebody's words: the author stays as text, so that they outlive it."""

    by_type = models.CharField(max_length=8)  # user, agent or system
    by = models.CharField(max_length=200)  # a username or an agent's slug
    at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True


class ContextEntry(Authored):
    """What everyone who sees the task knows under this key now; what stood there before is in the log."""

    task = models.ForeignKey("tasks.Task", on_delete=models.CASCADE, related_name="context")
    key = models.CharField(max_length=200)
    value = models.JSONField(null=True)
    kind = models.CharField(max_length=12, default="share")

    class Meta:
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["task", "key"], name="contextentry_unique"),
            models.CheckConstraint(name="contextentry_kind", condition=Q(kind__in=list(vocabulary.CONTEXT_KINDS))),
            models.CheckConstraint(name="contextentry_author", condition=Q(by_type__in=TYPES)),
        ]

    def __str__(self) -> str:
        return self.key


class Note(Authored):
    """What one author keeps for itself about a task. Appended, never changed; shown to its author alone."""

    task = models.ForeignKey("tasks.Task", on_delete=models.CASCADE, related_name="notes")
    text = models.TextField(max_length=10_000)

    class Meta:
        ordering = ["-id"]
        constraints = [models.CheckConstraint(name="note_author", condition=Q(by_type__in=TYPES))]
        indexes = [models.Index(fields=["task", "by_type", "by", "id"], name="note_author_task")]

    def __str__(self) -> str:
        return f"note of {self.by}"
