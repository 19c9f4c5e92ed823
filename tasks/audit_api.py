"""The audit trail as a call: the lines of the log that say what was before and after, and who came in. Not: the log."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from rest_framework import serializers

from mission_control import sight
from mission_control.endpoints import Call, endpoint
from mission_control.fields import Answer
from mission_control.models import Activity
from mission_control.paging import Page
from mission_control.query import Param, Query, line
from tasks.api import LOG_FILTERS, log_page
from tasks.audit import TOLD, changes
from tasks.serializers import ActivityOut


class AuditOut(Answer):
    class ChangeOut(serializers.Serializer[Any]):
        field = serializers.CharField()
        before = serializers.JSONField()
        after = serializers.JSONField()

    seq = serializers.IntegerField()
    kind = serializers.CharField()
    actor = ActivityOut.ActorOut()
    venture = serializers.CharField(allow_null=True)
    task = serializers.CharField(allow_null=True)
    agent = serializers.CharField(allow_null=True)
    title = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    changes = ChangeOut(many=True)
    at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Activity, call: Any) -> dict[str, Any]:
        shape = ActivityOut.shape(thing, call)
        names = ("seq", "kind", "actor", "venture", "task", "agent", "title", "message", "at")
        return {**{name: shape[name] for name in names}, "changes": changes(thing)}


@endpoint(
    "GET", gives=AuditOut, name="entries", paged=True, title="What was changed, by whom",
    also={410: "The log begins later than `since`."},
    query=Query(
        Param("task", line(8), "Of this task, also of one that was deleted.", also=("task_id",)),
        Param("venture", line(60), "Of this venture.", also=("venture_id", "workspace_id", "project_id")),
        *LOG_FILTERS,
    ),
)  # fmt: skip
def audit(call: Call) -> Page:
    """Every change with before and after, newest first, and how people came in. It outlives what it tells of."""
    told = TOLD | Q(kind__startswith="login.") | Q(kind="user.changed")
    return log_page(call, Activity.objects.filter(sight.visible_lines(call.actor)).filter(told))
