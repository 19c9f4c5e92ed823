"""The checklist of a task: written, extended, and moved on step by step. Not: how far the work is in percent alone
(transitions.progress).

At most one step runs: the current one. Moving on to a step finishes the one that ran. While the task is in progress
the current step and the share of steps that are over are shown on the task itself, until something else is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, NotThere
from tasks import leases, transitions
from tasks.collaboration_models import PlanStep
from tasks.leases import PLAIN, Fence
from tasks.models import Task
from tasks.transitions import steps_shown
from tasks.vocabulary import IN_PROGRESS, STEPS_MOST
from ventures.ledger import Spent

OVER = ("done", "skipped")


@log.verb
def write(actor: Actor, code: str, steps: Sequence[dict[str, Any]], *, fence: Fence | None = None) -> Task:
    """The plan as it now stands: `{title, state}` in their order, in place of the steps there were.

    Records plan.changed with all steps before and after; nothing when nothing differs. By the lease holder, or by who
    steers or created the task. Locks the task.
    """
    task, held = _locked(actor, code, fence)
    before, after = list(task.plan.all()), transitions.planned(steps, task.db_now)
    for step in after:
        step.task = task
    if steps_shown(before) != steps_shown(after):
        task.plan.all().delete()
        PlanStep.objects.bulk_create(after)
        _told(actor, task, "written", before, after, after)
    if held:
        leases.extend(task)
    return task


@log.verb
def add(actor: Actor, code: str, title: str, *, state: str = "pending", fence: Fence | None = None) -> PlanStep:
    """One more step at the end. Records plan.changed. Locks the task."""
    task, held = _locked(actor, code, fence)
    steps = list(task.plan.all())
    if len(steps) >= STEPS_MOST:
        raise Invalid({"title": f"Use at most {STEPS_MOST} steps."})
    number = steps[-1].number + 1 if steps else 1
    gone, now = _begun(task, steps) if state == "running" else ([], [])
    step = PlanStep.objects.create(task=task, number=number, title=title, state=state, changed_at=task.db_now)
    _told(actor, task, "added", gone, [*now, step], [*steps, step])
    if held:
        leases.extend(task)
    return step


@log.verb
def change(
    actor: Actor, code: str, number: int, *, title: str = "", state: str = "", fence: Fence | None = None
) -> PlanStep:
    """Another title or state for one step. Records plan.changed with the steps that changed. Locks the task.

    A step that begins to run finishes the one that ran.
    """
    task, held = _locked(actor, code, fence)
    steps = list(task.plan.all())
    step = next((step for step in steps if step.number == number), None)
    if step is None:
        raise NotThere("There is no such step.")
    _changed(actor, task, steps, step, title=title or step.title, state=state or step.state)
    if held:
        leases.extend(task)
    return step


@log.verb
def progress(
    actor: Actor,
    code: str,
    fence: Fence = PLAIN,
    *,
    percent: int | None = None,
    message: str = "",
    step: str = "",
    total: Spent | None = None,
) -> Task:
    """As transitions.progress. A `step` that is the number or the title of a step of the plan moves the plan on to it.

    Records task.progressed and, when the plan moved, plan.changed. Locks the task.
    """
    task = transitions.lock(actor, code)
    steps = list(task.plan.all()) if step else []
    named = _named(steps, step)
    task = transitions.progress(
        actor, code, fence, percent=percent, message=message, step=named.title if named else step, total=total
    )
    if named:
        _changed(actor, task, steps, named, title=named.title, state="running", percent=percent)
    return task


def _locked(actor: Actor, code: str, fence: Fence | None) -> tuple[Task, bool]:
    """The locked task, and whether the caller holds its lease. An agent that lost its lease is not let in by its role."""
    task = transitions.lock(actor, code)
    if leases.is_held(actor, task, fence or PLAIN):
        return task, True
    if fence is not None or leases.attempt_of(actor, task, PLAIN):
        raise leases.lost(actor, task, fence or PLAIN)
    created = actor.can("work") and (task.created_by_type, task.created_by) == (actor.type, actor.name)
    if not (transitions.leads(actor) or created):
        raise NotAllowed("Only who works on it or created it, an operator or a lead changes its plan.")
    return task, False


def _named(steps: Iterable[PlanStep], text: str) -> PlanStep | None:
    wanted = text.strip().casefold()
    return next((step for step in steps if wanted in (str(step.number), step.title.casefold())), None)


def _changed(
    actor: Actor, task: Task, steps: list[PlanStep], step: PlanStep, *, title: str, state: str,
    percent: int | None = None,
) -> None:  # fmt: skip
    if (step.title, step.state) == (title, state):
        return
    before = [PlanStep(number=step.number, title=step.title, state=step.state)]
    gone, now = _begun(task, steps, step) if state == "running" else ([], [])
    step.title, step.state, step.changed_at = title, state, task.db_now
    PlanStep.objects.filter(pk=step.pk).update(title=title, state=state, changed_at=task.db_now)
    _told(actor, task, "changed", [*gone, *before], [*now, step], steps, percent)


def _begun(task: Task, steps: list[PlanStep], beside: PlanStep | None = None) -> tuple[list[PlanStep], list[PlanStep]]:
    """Finish the step that runs, if it is another one: how it was, and how it is."""
    running = next((step for step in steps if step.state == "running" and step is not beside), None)
    if running is None:
        return [], []
    before = PlanStep(number=running.number, title=running.title, state=running.state)
    running.state, running.changed_at = "done", task.db_now
    PlanStep.objects.filter(pk=running.pk).update(state="done", changed_at=task.db_now)
    return [before], [running]


def _told(
    actor: Actor, task: Task, how: str, before: list[PlanStep], after: list[PlanStep], steps: list[PlanStep],
    percent: int | None = None,
) -> None:  # fmt: skip
    """Records plan.changed: `how` is written, added or changed; `before` and `after` hold the steps that differ."""
    current = next((step for step in steps if step.state == "running"), None)
    writes: dict[str, Any] = {}
    if task.status == IN_PROGRESS:
        if percent is None and steps:
            writes["progress_percent"] = 100 * sum(step.state in OVER for step in steps) // len(steps)
        if current:
            writes["progress_step"] = current.title
    transitions.note(
        task, "plan.changed", actor, session=task.session_key, message=current.title if current else "", writes=writes,
        data={"how": how, "before": {"steps": steps_shown(before)}, "after": {"steps": steps_shown(after)}},
    )  # fmt: skip
