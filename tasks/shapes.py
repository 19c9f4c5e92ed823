"""How a task, a session and a claim look as JSON. Not: briefings (briefing.py), what the schema says (serializers.py).

Plain functions over rows that are there already: they run for every claim and for every line of a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from agents.faces import is_silent
from mission_control import sql
from mission_control.money import to_usd
from mission_control.strict_json import iso
from tasks.briefing import Material, briefing
from tasks.claiming import Claim
from tasks.models import Session, Task
from tasks.vocabulary import (
    ASSIGNED,
    BLOCKED,
    CANCELLED,
    DONE,
    FAILED,
    IN_PROGRESS,
    PAUSED,
    PRIORITIES,
    READY,
    REVIEW,
)

EXECUTION_STATES = ("queued", "running", "waiting", "idle", "failed", "completed", "cancelled")


class Around:
    """What tasks name besides themselves: prerequisites, parents, and which of them lost a lease. Read once for all."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        self.prerequisites: dict[int, list[tuple[str, str, str, str, str]]] = {}
        self.parents: dict[int, tuple[str, str]] = {}
        self.dropped: set[int] = set()
        pks: list[int] = []
        above: set[int] = set()
        dropped: list[Task] = []
        for task in tasks:
            if task.has_prerequisites:
                pks.append(task.pk)
            if task.parent_id:
                above.add(task.parent_id)
            if task.failures and task.status in (READY, ASSIGNED):
                dropped.append(task)
        if pks:
            self._read_prerequisites(pks)
        if above:
            for pk, code, title in Task.objects.filter(pk__in=above).values_list("pk", "code", "title"):
                self.parents[pk] = (code, title)
        if dropped:
            last = {task.pk: task.epoch for task in dropped}
            expired = Session.objects.filter(task__in=last, type="primary", state="failed", error="lease expired")
            for pk, attempt in expired.values_list("task_id", "attempt"):
                if last[pk] == attempt:
                    self.dropped.add(pk)

    def _read_prerequisites(self, pks: Sequence[int]) -> None:
        rows = sql.rows(
            "SELECT d.task_id, t.code, t.status, t.title, t.completion_summary, t.branch FROM tasks_dependency d"  # noqa: S608
            f" JOIN tasks_task t ON t.id = d.depends_on_id WHERE d.task_id IN ({sql.marks(pks)}) ORDER BY d.id",
            pks,
        )
        for pk, *prerequisite in rows:
            self.prerequisites.setdefault(pk, []).append(tuple(prerequisite))

    def depends_on(self, task: Task) -> list[str]:
        return [code for code, *_ in self.prerequisites.get(task.pk, ())]


def execution_state(task: Task, moment: datetime, dropped: bool = False) -> str:
    """What a bot sees: derived, never stored. `dropped`: its last lease ran out and nobody has taken it since."""
    if task.status == IN_PROGRESS:
        silent = task.holder is not None and is_silent(task.holder, task.heartbeat_at, moment)
        return "idle" if silent else "running"
    if task.status in (PAUSED, BLOCKED, REVIEW) or (task.status in (READY, ASSIGNED) and task.awaits_approval):
        return "waiting"
    return {DONE: "completed", FAILED: "failed", CANCELLED: "cancelled"}.get(
        task.status, "idle" if dropped else "queued"
    )


def task_shape(task: Task, around: Around, moment: datetime, *, bare: bool = False) -> dict[str, Any]:
    """One task; `bare` adds what simple clients of /api read. Needs its venture, assignee, holder and held_by."""
    assignee = task.assignee
    parent = around.parents.get(task.parent_id) if task.parent_id else None
    shape = {
        "id": task.code,
        "title": task.title,
        "description": task.description,
        "venture": task.venture.slug,
        "status": task.status,
        "execution_state": execution_state(task, moment, task.pk in around.dropped),
        "priority": PRIORITIES[task.priority],
        "assignee": assignee.slug if assignee else None,
        "holder": task.holder.slug if task.holder else None,
        "held_by": task.held_by.get_username() if task.held_by else None,
        "session_key": task.session_key,
        "session_locked_at": iso(task.session_locked_at),
        "lease_seconds": task.lease_seconds,
        "lease_expires_at": iso(task.lease_expires_at),
        "heartbeat_at": iso(task.heartbeat_at),
        "epoch": task.epoch,
        "created_by": task.created_by,
        "tags": task.tags,
        "required_capabilities": task.required_capabilities,
        "parent": parent[0] if parent else None,
        "depends_on": around.depends_on(task),
        "blockers_open": task.blockers_open,
        "blocked_kind": task.blocked_kind,
        "blocked_reason": task.blocked_reason,
        "paused_reason": task.paused_reason,
        "review_required": task.review_required,
        "needs_approval": task.needs_approval,
        "approved_by": task.approved_by or None,
        "approved_at": iso(task.approved_at),
        "success_criteria": task.success_criteria,
        "criteria_met": task.criteria_met,
        "failures": task.failures,
        "not_before": iso(task.not_before),
        "generation": task.generation,
        "estimated_tokens": task.estimated_tokens,
        "estimated_cost": to_usd(task.estimated_cost_micro_usd),
        "actual_cost": to_usd(task.actual_cost_micro_usd),
        "tokens_used": task.tokens_used,
        "estimated_hours": _number(task.estimated_hours),
        "actual_hours": _number(task.actual_hours),
        "deadline": iso(task.deadline),
        "progress_percent": task.progress_percent,
        "progress_step": task.progress_step,
        "completion_summary": task.completion_summary,
        "feedback_quality": task.feedback_quality,
        "feedback_timeliness": task.feedback_timeliness,
        "feedback_notes": task.feedback_notes,
        "output": task.output,
        "branch": task.branch,
        "deliverable_count": task.deliverable_count,
        "comment_count": task.comment_count,
        "version": task.version,
        "created_at": iso(task.created_at),
        "status_changed_at": iso(task.status_changed_at),
    }
    if bare:
        shape["assigned_agent_id"] = shape["assignee"] or shape["holder"]
        named = assignee or task.holder
        shape["assigned_agent_name"] = named.name if named else None
        shape["workspace_id"] = shape["venture"]
        shape["due_date"] = shape["deadline"]
    return shape


def session_shape(session: Session) -> dict[str, Any]:
    """One run. Needs its agent, task and parent."""
    return {
        "id": session.key,
        "agent": session.agent.slug,
        "task": session.task.code if session.task else None,
        "type": session.type,
        "parent": session.parent.key if session.parent else None,
        "attempt": session.attempt,
        "state": session.state,
        "model": session.model,
        "output": session.output,
        "summary": session.summary,
        "error": session.error,
        "tokens": session.tokens,
        "cost": to_usd(session.cost_micro_usd),
        "started_at": iso(session.started_at),
        "heartbeat_at": iso(session.heartbeat_at),
        "ended_at": iso(session.ended_at),
    }


def claim_shape(claims: Sequence[Claim], *, bare: bool, batch: bool) -> dict[str, Any]:
    """The answer of a claim. `batch`: each task of the list carries its own briefing."""
    for claim in claims:
        if claim.task.assignee_id == claim.task.holder_id:
            claim.task.assignee = claim.task.holder  # the same agent: spares a look-up
    around = Around(claim.task for claim in claims)
    told = claims if batch else claims[:1]
    material = Material([claim.task for claim in told], around.prerequisites)
    plain = [task_shape(claim.task, around, _moment(claim), bare=bare) for claim in claims]
    tasks = [
        {**shape, "lease_token": claim.lease_token, "lease_expires_in": claim.expires_in}
        for shape, claim in zip(plain, claims, strict=True)
    ]
    if batch:
        for shape, claim in zip(tasks, claims, strict=True):
            shape["briefing"] = _briefing(claim.task, around, material)
    first = claims[0]
    lease = {
        "epoch": first.epoch,
        "lease_token": first.lease_token,
        "lease_expires_in": first.expires_in,
        "briefing": _briefing(first.task, around, material),
    }
    if bare:
        return {**tasks[0], **lease, **({"tasks": tasks} if batch else {})}
    return {"task": plain[0], "tasks": tasks, "action": "claimed", **lease}


def _moment(claim: Claim) -> datetime:
    """A lease that was just given is fresh by its own clock."""
    moment = claim.task.heartbeat_at
    assert moment is not None
    return moment


def briefing_of(task: Task) -> dict[str, Any]:
    """What its holder would be told now. Needs its venture; reads everything else."""
    around = Around([task])
    return _briefing(task, around, Material([task], around.prerequisites))


def _briefing(task: Task, around: Around, material: Material) -> dict[str, Any]:
    parent = around.parents.get(task.parent_id) if task.parent_id else None
    return briefing(task, parent, around.prerequisites.get(task.pk, ()), material)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
