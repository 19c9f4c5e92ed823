"""Views of the board that people have saved under a name. Not: how they are saved (bookmarks.py)."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class SavedView(models.Model):
    """An address of the board under a name: its owner's own, or shared with all."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=80)
    path = models.CharField(max_length=100)  # / or /ventures/<slug>/board
    query = models.CharField(max_length=1000, blank=True)
    shared = models.BooleanField(default=False, db_index=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name", "id"]
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="saved_view_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path
