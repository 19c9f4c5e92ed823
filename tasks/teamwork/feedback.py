"""What was said of finished work, once per task, and its figures by agent. Not: the verdict (transitions.accept)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Avg, Count, OuterRef, QuerySet, Subquery

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Invalid, Refused
from tasks import transitions
from tasks.models import Session, Task
from tasks.vocabulary import DONE

GRADES = range(1, 6)


@log.verb
def rate(actor: Actor, code: str, quality: int, timeliness: int, *, notes: str = "") -> Task:
    """How good it was and whether it came in time, 1 to 5. Once, only when it is done. Records task.rated.

    By an operator or a lead, never by an agent for its own or its sub-agents' work. Locks the task.
    """
    wrong = {
        name: "Give 1 to 5."
        for name, grade in (("quality", quality), ("timeliness", timeliness))
        if grade not in GRADES
    }
    if wrong:
        raise Invalid(wrong)
    task = transitions.lock(actor, code)
    transitions.may_judge(actor, task)
    if task.status != DONE:
        raise transitions.wrong_state(task, "give feedback")
    if task.feedback_quality is not None:
        raise Refused(
            "Feedback was given already.",
            code="already_rated",
            quality=task.feedback_quality,
            timeliness=task.feedback_timeliness,
        )
    transitions.note(
        task, "task.rated", actor, message=notes, data={"quality": quality, "timeliness": timeliness},
        writes={"feedback_quality": quality, "feedback_timeliness": timeliness, "feedback_notes": notes},
    )  # fmt: skip
    return task


def figures(actor: Actor, *, venture: str = "") -> dict[str, Any]:
    """Counts and averages over all rated tasks that the caller may see, and by the agent that last worked on each."""
    rated: QuerySet[Task] = Task.objects.visible_to(actor).exclude(feedback_quality=None)
    if venture:
        rated = rated.filter(venture__slug=venture)
    last = Session.objects.attempts().filter(task=OuterRef("pk")).order_by("-id").values("agent__slug")[:1]
    of = {"count": Count("pk"), "quality": Avg("feedback_quality"), "timeliness": Avg("feedback_timeliness")}
    by_agent = rated.annotate(agent=Subquery(last)).values("agent").annotate(**of).order_by("agent")
    grades = dict(rated.values_list("feedback_quality").annotate(n=Count("pk")).order_by())
    return {
        **_rounded(rated.aggregate(**of)), "by_quality": {str(grade): grades.get(grade, 0) for grade in GRADES},
        "agents": [{"agent": row["agent"], **_rounded(row)} for row in by_agent],
    }  # fmt: skip


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    averages = {name: None if row[name] is None else round(float(row[name]), 2) for name in ("quality", "timeliness")}
    return {"count": row["count"], **averages}
