"""The runs of a task: its primary sessions, attempt by attempt, with what each one was tried again for. Only reads."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery

from mission_control.errors import NotThere
from tasks.models import Session, Task


def of_task(task: Task) -> QuerySet[Session]:
    """Primary sessions annotated with the attempt before (`before_attempt`, its `before_state` and `before_error`) and
    the one after (`after_attempt`); their sub-agents are at hand as `subagents`.
    """
    runs = Session.objects.filter(task=task, type="primary")
    others = Session.objects.filter(task=OuterRef("task"), type="primary")
    before = others.filter(attempt__lt=OuterRef("attempt")).order_by("-attempt")
    after = others.filter(attempt__gt=OuterRef("attempt")).order_by("attempt")
    below = Session.objects.filter(type="subagent").select_related("agent", "task", "parent").order_by("id")
    return (
        runs.select_related("agent", "task", "parent")
        .annotate(
            before_attempt=Subquery(before.values("attempt")[:1]),
            before_state=Subquery(before.values("state")[:1]),
            before_error=Subquery(before.values("error")[:1]),
            after_attempt=Subquery(after.values("attempt")[:1]),
        )
        .prefetch_related(Prefetch("children", queryset=below, to_attr="subagents"))
    )


def by_attempt(task: Task, attempt: int) -> Session:
    run = of_task(task).filter(attempt=attempt).first()
    if run is None:
        raise NotThere("There is no such run.")
    return run


def retry_of(run: Any) -> int | None:
    """The attempt that failed before this one. A release or a pause is no failure: what follows it is no retry."""
    attempt: int | None = run.before_attempt
    return attempt if run.before_state == "failed" else None
