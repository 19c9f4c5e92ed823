"""Where an imported task came from. Not: how it is imported (importing.py)."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Origin(models.Model):
    """The id that a task had elsewhere. It outlives the task, so that importing again does not bring it back."""

    source = models.CharField(max_length=120)  # whose ids: `beads:apollo`
    external_id = models.CharField(max_length=200)
    task = models.CharField(max_length=8)  # its code here
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "external_id"], name="origin_unique")]
        indexes = [models.Index(fields=["task"], name="origin_task")]

    def __str__(self) -> str:
        return f"{self.source} {self.external_id}"
