"""How far each series of an agent's telemetry has been booked. Not: reading it (otlp.py), booking it (telemetry.py)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

UNMATCHED = Q(unmatched_tokens__gt=0) | Q(unmatched_micro_usd__gt=0)


class SeriesQuerySet(models.QuerySet["Series"]):
    def unmatched(self) -> SeriesQuerySet:
        """With something that belongs to no task."""
        return self.filter(UNMATCHED)


class Series(models.Model):
    """One counter of one sender. What was reported before `at_nanos` is booked and never booked again."""

    digest = models.CharField(max_length=64, unique=True)  # of sender, resource, metric and attributes
    agent = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    subject = models.CharField(max_length=300, blank=True)  # the task or session that it names
    start_nanos = models.BigIntegerField(default=0)
    at_nanos = models.BigIntegerField(default=0)
    value = models.BigIntegerField(default=0)  # tokens or micro-USD, as last reported by a running total
    unmatched_tokens = models.BigIntegerField(default=0)
    unmatched_micro_usd = models.BigIntegerField(default=0)
    seen_at = models.DateTimeField(db_default=Now())  # when it was reported last

    objects = SeriesQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "series"
        indexes = [models.Index(fields=["-id"], name="series_unmatched", condition=UNMATCHED)]

    def __str__(self) -> str:
        return f"{self.name} {self.subject}".strip()
