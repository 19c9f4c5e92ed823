"""The audit trail as a call: the lines of the log that say what was before and what is after. Not: the log itself."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Q
from rest_framework import serializers

from mission_control import sight
from mission_control.endpoints import Call, endpoint
from mission_control.fields import Answer
from mission_control.models import Activity
from mission_control.paging import Page
from mission_control.query import Param, Query, line
from tasks.api import LOG_FILTERS, log_page
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
    changes = ChangeOut(many=True)
    at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Activity, call: Any) -> dict[str, Any]:
        shape = ActivityOut.shape(thing, call)
        names = ("seq", "kind", "actor", "venture", "task", "agent", "title", "at")
        return {**{name: shape[name] for name in names}, "changes": changes(thing)}


def changes(entry: Activity) -> list[dict[str, Any]]:
    """Field by field what a line of the log changed; a value is null where there was none."""
    found = {side: entry.data.get(side) for side in ("before", "after")}
    before, after = (value if isinstance(value, dict) else {"value": value} for value in found.values())
    if entry.status_from != entry.status_to:
        before, after = {**before, "status": entry.status_from or None}, {**after, "status": entry.status_to or None}
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return [{"field": name, "before": before.get(name), "after": after.get(name)} for name in names]


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
    """Every change with before and after, newest first. It outlives what it tells of."""
    told = Q(data__has_any_keys=["before", "after"]) | ~Q(status_from=F("status_to"))
    return log_page(call, Activity.objects.filter(sight.visible_lines(call.actor)).filter(told))
