"""Every way a task changes. One function is one verb: lock → check → write → record, in one transaction.

The status of a task is written in one place, `_move`. Claiming chooses and locks its tasks in claiming.py and comes
here for the write. Lock order everywhere: task, agent, venture, the fleet's counter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import Count, F, Q
from django.db.models.functions import Now

from agents.models import Agent
from mission_control import live, log, sql
from mission_control.actors import Actor, system
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity
from tasks import criteria, handover, leases
from tasks.collaboration_models import PlanStep
from tasks.leases import PLAIN, Fence
from tasks.models import (
    BONUS,
    ROOM,
    Deliverable,
    Dependency,
    Lane,
    Session,
    Task,
    new_code,
    read,
    sort_key_at,
    visible_sql,
)
from tasks.vocabulary import (
    ASSIGNED,
    BLOCK_KINDS,
    BLOCKED,
    CANCELLED,
    DONE,
    FAILED,
    IN_PROGRESS,
    INBOX,
    OPEN,
    PAUSED,
    READY,
    REVIEW,
    STATUSES,
    STEPS_MOST,
)
from ventures import catalogue, ledger
from ventures.ledger import Spent
from ventures.models import Venture

# Verb: from which statuses, to which. What is not here is refused.
RESTING = (BLOCKED, INBOX, REVIEW, ASSIGNED, READY, FAILED)
MOVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "move": ((INBOX, READY, ASSIGNED), (INBOX, READY, ASSIGNED)),
    "claim": ((READY, ASSIGNED), (IN_PROGRESS,)),
    "start": ((READY, ASSIGNED), (IN_PROGRESS,)),
    "process": ((INBOX, READY, ASSIGNED, PAUSED), (ASSIGNED,)),
    "hand_back": ((ASSIGNED,), (READY,)),
    "release": ((IN_PROGRESS,), RESTING),
    "fail": ((IN_PROGRESS,), RESTING),
    "expire": ((IN_PROGRESS,), RESTING),
    "block": ((INBOX, READY, ASSIGNED, IN_PROGRESS, PAUSED, REVIEW, FAILED), (BLOCKED,)),
    "unblock": ((BLOCKED,), RESTING),
    "pause": ((INBOX, READY, ASSIGNED, IN_PROGRESS, BLOCKED, REVIEW, FAILED), (PAUSED,)),
    "resume": ((PAUSED,), RESTING),
    "complete": ((IN_PROGRESS, ASSIGNED), (REVIEW, DONE)),
    "accept": ((REVIEW,), (DONE,)),
    "return": ((REVIEW,), (ASSIGNED, READY, BLOCKED)),
    "cancel": (OPEN, (CANCELLED,)),
    "reopen": ((DONE, CANCELLED), (READY, BLOCKED)),
    "retry": ((FAILED,), (READY, ASSIGNED, BLOCKED)),
}
WHAT_WOULD_WORK = {
    INBOX: "It is in the inbox: move it to Ready or assign it first.",
    READY: "It is ready: it has to be claimed or started first.",
    ASSIGNED: "It is assigned and nobody has started it yet.",
    IN_PROGRESS: "It is being worked on: release, pause or complete it first.",
    PAUSED: "It is paused: resume it first.",
    BLOCKED: "It is blocked: unblock it first, or finish what it waits for.",
    REVIEW: "It waits for a verdict: accept it or return it.",
    DONE: "It is done: reopen it first.",
    FAILED: "It failed too often: retry it first.",
    CANCELLED: "It is cancelled: reopen it first.",
}
REMEMBERED = (INBOX, REVIEW, FAILED)  # where a paused or blocked task goes back to
WORKED = ("task.started", "task.completed")  # what makes the work one's own
BATCH = 500
BACKOFF_SECONDS, BACKOFF_MOST = 5, 600


@dataclass(frozen=True)
class Handed:
    """What goes with a hand-over. `way`: how it is told first, for `seconds`; `reason`: why this agent."""

    branch: str
    model: str
    way: str
    seconds: int
    reason: str


# ── create ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def create(actor: Actor, **fields: Any) -> Task:
    """One task; see create_many for the fields."""
    return create_many(actor, [fields])[0]


@log.verb
def create_many(actor: Actor, many: Sequence[dict[str, Any]]) -> list[Task]:
    """Up to 500 tasks in one transaction. Each records task.created. Needs the ability to orchestrate.

    Fields as on Task, with `venture` (Venture), `assignee` (Agent), `parent` (Task), `depends_on` (list of Task) as
    objects and `status` inbox, ready or assigned, or none: the venture's intake. `plan` is a list of steps as
    plan.write takes it. `created_by` is an Agent in whose name the caller creates it. Locks the prerequisites.
    """
    if not actor.can("orchestrate"):
        raise NotAllowed("This key may not create tasks: it needs the scope orchestrate.", code="scope_missing")
    if not 1 <= len(many) <= BATCH:
        raise Invalid({"": f"Give between 1 and {BATCH} tasks."})
    now = log.now()
    wanted = {before.pk for fields in many for before in fields.get("depends_on") or ()}
    prerequisites = {
        task.pk: task for task in Task.objects.filter(pk__in=wanted).select_for_update(no_key=True).order_by("pk")
    }
    tasks, edges, steps = [], [], {}
    lanes: dict[Any, Lane] = {}
    default = catalogue.default() if any(not fields.get("venture") for fields in many) else None
    for place, given in enumerate(many):
        fields = {**given, "venture": given.get("venture") or default}
        named = {task.pk for task in fields.pop("depends_on", None) or ()}
        steps[place] = planned(fields.pop("plan", None) or (), now, "plan")
        before = [prerequisites[pk] for pk in sorted(named) if pk in prerequisites]
        task = _built(actor, now, place, fields, blockers=sum(1 for other in before if other.status != DONE))
        queue = (task.venture_id, task.assignee_id, *sorted(set(task.required_capabilities)))
        task.lane = lanes.get(queue) or lanes.setdefault(queue, lane_for(task))
        tasks.append(task)
        edges += [Dependency(task=task, depends_on=other) for other in before]
    _insert(tasks)
    Dependency.objects.bulk_create(edges)
    for place, task in enumerate(tasks):
        for step in steps[place]:
            step.task = task
        after = {**_shown(task, EDITABLE), **({"plan": steps_shown(steps[place])} if steps[place] else {})}
        _record(task, "task.created", actor, status_to=task.status, data={"after": after})
    PlanStep.objects.bulk_create([step for place in steps for step in steps[place]], batch_size=BATCH)
    return tasks


def _built(actor: Actor, now: Any, place: int, fields: dict[str, Any], blockers: int) -> Task:
    venture: Venture = fields.pop("venture")
    creator: Agent | None = fields.pop("created_by", None)
    assignee: Agent | None = fields.pop("assignee", None)
    status = fields.pop("status", "") or (ASSIGNED if assignee else venture.intake)
    if status not in (INBOX, READY, ASSIGNED):
        raise Invalid({"status": "A new task is inbox, ready or assigned."})
    if status == READY and assignee:
        raise Invalid({"assignee": "A ready task is nobody's. Leave the status out, or make it assigned."})
    remembered = ""
    if blockers:
        status, remembered = BLOCKED, INBOX if status == INBOX else ""
    unknown = set(fields) - set(EDITABLE)
    if unknown:
        raise Invalid(dict.fromkeys(sorted(unknown), "This cannot be set."))
    if venture.approval_required:
        fields["needs_approval"] = True
    task = Task(
        **fields, venture=venture, assignee=assignee, created_by_type="agent" if creator else actor.type,
        created_by=creator.slug if creator else actor.name,
        blockers_open=blockers, remembered=remembered, created_at=now, status_changed_at=now,
    )  # fmt: skip
    task.status, task.offered = status, is_offered(task, status)
    task.sort_key = sort_key_at(now, task.priority, place)
    return task


def planned(steps: Sequence[dict[str, Any]], moment: Any, field: str = "steps") -> list[PlanStep]:
    """Steps as they are given, numbered, not saved and without their task. Invalid: too many, or two that run."""
    if len(steps) > STEPS_MOST:
        raise Invalid({field: f"Use at most {STEPS_MOST} steps."})
    if sum(step.get("state") == "running" for step in steps) > 1:
        raise Invalid({field: "One step runs at a time."})
    return [
        PlanStep(number=n, title=step["title"], state=step.get("state") or "pending", changed_at=moment)
        for n, step in enumerate(steps, start=1)
    ]


def steps_shown(steps: Iterable[PlanStep]) -> list[dict[str, Any]]:
    """Steps as the log keeps them."""
    return [{"number": step.number, "title": step.title, "state": step.state} for step in steps]


def _insert(tasks: list[Task]) -> None:
    """Insert; a code that is taken is rolled again."""
    for _ in range(3):
        try:
            with log.step():
                Task.objects.bulk_create(tasks)
            return
        except IntegrityError:
            taken = set(Task.objects.filter(code__in=[task.code for task in tasks]).values_list("code", flat=True))
            if not taken:
                raise
            for task in tasks:
                task.pk = None
                if task.code in taken:
                    task.code = new_code()
    raise log.Busy


# ── edit ────────────────────────────────────────────────────────────────────────────────────────────────────────────

EDITABLE = (
    "title", "description", "venture", "priority", "assignee", "deadline", "tags", "required_capabilities", "parent",
    "review_required", "needs_approval", "success_criteria", "estimated_tokens", "estimated_cost_micro_usd", "estimated_hours", "actual_hours", "branch",
)  # fmt: skip


@log.verb
def edit(
    actor: Actor, code: str, changes: dict[str, Any] | Callable[[Task], dict[str, Any]], *, version: int | None = None
) -> Task:  # fmt: skip
    """Change fields of EDITABLE. Records task.updated with before and after, once; nothing when nothing differs.

    Giving a ready task an assignee assigns it. `version`: 412 when somebody changed it in between. What adds to a list
    or takes from it comes as a function of the locked task, so that of two at once neither is lost. Locks the task.
    """
    task = lock(actor, code)
    _may_triage(actor, task)
    _same_version(task, version)
    changes = changes(task) if callable(changes) else changes
    unknown = set(changes) - set(EDITABLE)
    if unknown:
        raise Invalid(dict.fromkeys(sorted(unknown), "This cannot be changed."))
    after = {name: value for name, value in changes.items() if getattr(task, name) != value}
    if not after:
        return task
    if after.get("parent") is not None:
        _refuse_own_ancestor(task, after["parent"])
    if "venture" in after and task.status == IN_PROGRESS:
        raise Refused("It is being worked on: release it before it changes venture.", code="wrong_state")
    if after.get("needs_approval") is False and not actor.can("operate"):
        raise NotAllowed("Only an operator lets it start without approval.", code="operators_only")
    if after.get("venture", task.venture).approval_required and not after.get("needs_approval", task.needs_approval):
        if "venture" not in after:
            raise Refused("Its venture wants every task approved before the start.", code="approval_required")
        after["needs_approval"] = True
    before, venture_from = _shown(task, after), task.venture.slug
    shift = (task.priority - after.get("priority", task.priority)) * BONUS
    for name, value in after.items():
        setattr(task, name, value)
    approved_by = task.approved_by
    writes: dict[str, Any] = {
        **after, "sort_key": task.sort_key + shift, "lane": lane_for(task), **_approval_withdrawn(task),
    }  # fmt: skip
    data = {"before": before, "after": _shown(task, after)}
    if approved_by != task.approved_by:
        data = {"before": {**before, "approved_by": approved_by}, "after": {**data["after"], "approved_by": ""}}
    moved_venture = venture_from if venture_from != task.venture.slug else ""
    if task.status == READY and task.assignee:
        _move([task], "move", ASSIGNED, **writes)
        _record(
            task, "task.updated", actor, status_from=READY, status_to=ASSIGNED, venture_from=moved_venture, data=data
        )
        return task
    if "assignee" in after and task.handed_until:
        _end_queued(task, "assigned to another")
        writes.update(NOT_HANDED)
    _write(task, **writes, offered=is_offered(task, task.status))
    status = task.status if moved_venture else ""
    _record(task, "task.updated", actor, status_from=status, status_to=status, venture_from=moved_venture, data=data)
    return task


@log.verb
def move(
    actor: Actor,
    code: str,
    status: str,
    *,
    before: str = "",
    after: str = "",
    reason: str = "",
    fence: Fence = PLAIN,
    version: int | None = None,
) -> Task:
    """Bring a task to another status by the verb for that move, or to another place in its queue.

    `before` and `after` are codes of neighbours in the target column; `fence` is for the verbs of a lease holder. A move
    that no verb makes is refused with what would work. Records what that verb records; a new place records task.moved.
    """
    task = lock(actor, code)
    _same_version(task, version)
    here = task.status
    if status == here or (status == PAUSED and here in (PAUSED, BLOCKED, FAILED)):
        return _placed(actor, task, before, after)
    if here in (INBOX, READY, ASSIGNED) and status in (INBOX, READY, ASSIGNED):
        return _triaged(actor, task, status, before, after)
    if status == IN_PROGRESS and here in (READY, ASSIGNED) and actor.is_person:
        return start(actor, code)
    if status in (REVIEW, DONE) and here in MOVES["complete"][0]:
        return complete(actor, code, fence, review=status == REVIEW)
    if status == DONE and here == REVIEW:
        return accept(actor, code)
    if status == PAUSED:
        return pause(actor, code, reason=reason)
    if status == BLOCKED:
        return block(actor, code, fence, kind="needs_input", reason=reason or "Blocked by hand.")
    if status == CANCELLED:
        return cancel(actor, code, reason=reason)
    if status in (INBOX, READY, ASSIGNED):
        if here == IN_PROGRESS:
            return release(actor, code, fence, reason=reason)
        if here == REVIEW and status != INBOX:
            return return_(actor, code, reason=reason or "Moved back by hand.")
        if here == PAUSED:
            return resume(actor, code)
        if here == BLOCKED:
            return unblock(actor, code)
        if here == FAILED:
            return retry(actor, code)
        if here in (DONE, CANCELLED) and status == READY:
            return reopen(actor, code)
    raise wrong_state(task, f"move to {STATUSES[status]}")


def _triaged(actor: Actor, task: Task, status: str, before: str, after: str) -> Task:
    _may_triage(actor, task)
    here, gone = task.status, None
    writes: dict[str, Any] = {"not_before": None} if status == INBOX else {}
    if status == READY:
        if task.assignee:
            gone, writes["assignee"] = task.assignee.slug, None
            task.assignee = None
        if here == INBOX:
            task.sort_key = sort_key_at(task.db_now, task.priority)
    writes["lane"] = lane_for(task)
    key, pushed = _key_between(task, status, before, after) if before or after else (task.sort_key, 0)
    _move([task], "move", status, **writes, sort_key=key)
    data: dict[str, Any] = {"before": {"status": here}, "after": {"status": status}, "renumbered": pushed}
    if gone:
        data["before"]["assignee"] = gone
        data["after"]["assignee"] = ""
    _record(task, "task.moved", actor, status_from=here, status_to=status, data=data)
    return task


def _placed(actor: Actor, task: Task, before: str, after: str) -> Task:
    if not before and not after:
        return task
    _may_triage(actor, task)
    key, pushed = _key_between(task, task.status, before, after)
    if key != task.sort_key:
        data = {"before": {"sort_key": task.sort_key}, "after": {"sort_key": key}, "renumbered": pushed}
        _write(task, sort_key=key)
        _record(task, "task.moved", actor, data=data)
    return task


def _key_between(task: Task, status: str, before: str, after: str) -> tuple[int, int]:
    """A sort key between the neighbours in the order of that status, and how many others were renumbered to make room.

    Screens that show the column read it anew when others were renumbered: those record nothing of their own. Neighbours that have left the column meanwhile are ignored: the card goes beside the one that is still there.
    """
    column = Task.objects.filter(status=status).exclude(pk=task.pk)
    left = column.filter(code=after).values_list("sort_key", flat=True).first() if after else None
    right = column.filter(code=before).values_list("sort_key", flat=True).first() if before else None
    keys = column.values_list("sort_key", flat=True)
    if left is not None:
        right = keys.filter(sort_key__gt=left).order_by("sort_key").first()
    elif right is not None:
        left = keys.filter(sort_key__lt=right).order_by("-sort_key").first()
    else:
        return task.sort_key, 0
    if left is None or right is None:
        return right - 1000 * ROOM if right is not None else (left or 0) + 1000 * ROOM, 0
    return ((left + right) // 2, 0) if right - left >= 2 else _renumbered(column, left)


def _renumbered(column: Any, left: int) -> tuple[int, int]:
    """Push what stands right of `left` apart, as few rows as it takes: the key in the new gap, and how many rows."""
    rows = list(column.filter(sort_key__gt=left).order_by("sort_key", "id").select_for_update(no_key=True)[:500])
    upto = len(rows)
    for place, row in enumerate(rows):
        if row.sort_key - left >= (place + 2) * ROOM:
            upto = place
            break
    for place, row in enumerate(rows[:upto]):
        Task.objects.filter(pk=row.pk).update(sort_key=left + (place + 2) * ROOM)
    return left + ROOM, upto


# ── the work itself ─────────────────────────────────────────────────────────────────────────────────────────────────


def take(actor: Actor, tasks: list[Task], session_key: str, seconds: int) -> None:
    """Lease locked, checked, offered tasks to the actor's agent: the write of every claim.

    One guarded UPDATE, one session and one task.claimed each. The keys of a batch are `<session_key>:<code>`.
    Called by claiming.py inside its unit; the rows carry `db_now`.
    """
    agent, now = actor.agent, tasks[0].db_now
    until = now + timedelta(seconds=seconds)
    awaited = [task for task in tasks if task.handed_until]
    by_status: dict[str, list[Task]] = {}
    for task in tasks:
        by_status.setdefault(task.status, []).append(task)
    for status, group in by_status.items():
        _move(
            group, "claim", IN_PROGRESS, holder=agent, session_locked_at=now, lease_seconds=seconds,
            lease_expires_at=until, heartbeat_at=now, progress_percent=None, progress_step="",
            session_key=_session_key(tasks, agent, session_key),
        )  # fmt: skip
        for task in group:
            task.session_key = _session_key(
                [task], agent, f"{session_key}:{task.code}" if len(tasks) > 1 and session_key else session_key
            )
            _record(
                task, "task.claimed", actor, agent=agent.slug, session=task.session_key, status_from=status,
                status_to=IN_PROGRESS, data={"epoch": task.epoch, "lease_seconds": seconds},
            )  # fmt: skip
    begun = [task for task in awaited if _begin_queued(agent, task)]
    unannounced = [task for task in tasks if task not in begun]
    if unannounced:
        _open_sessions(agent, unannounced)


def _begin_queued(agent: Agent, task: Task) -> int:
    """The run that a hand-over announced begins: it keeps what the agent was given."""
    queued = Session.objects.live().filter(task=task, agent=agent, type="primary", state="queued")
    return queued.update(
        state="running", key=task.session_key, attempt=task.epoch, started_at=task.db_now, heartbeat_at=task.db_now
    )


def _open_sessions(agent: Agent, tasks: list[Task]) -> None:
    keys, pks, epochs = zip(*((task.session_key, task.pk, task.epoch) for task in tasks), strict=True)
    shared = [agent.pk, agent.model, tasks[0].db_now, tasks[0].db_now]
    if connection.vendor == "postgresql":
        sql.change(
            f"INSERT INTO tasks_session ({_SESSION}) SELECT {_RUNNING}, v.key, v.task, v.attempt"  # noqa: S608
            " FROM unnest(%s::text[], %s::bigint[], %s::int[]) AS v(key, task, attempt)",
            [*shared, list(keys), list(pks), list(epochs)],
        )
        return
    sql.change(
        f"INSERT INTO tasks_session ({_SESSION}) VALUES {', '.join([f'({_RUNNING}, %s, %s, %s)'] * len(tasks))}",  # noqa: S608
        [cell for row in zip(keys, pks, epochs, strict=True) for cell in (*shared, *row)],
    )


_SESSION = (
    "agent_id, model, started_at, heartbeat_at, type, state, summary, error, tokens, cost_micro_usd,"
    " key, task_id, attempt"
)
_RUNNING = "%s, %s, %s, %s, 'primary', 'running', '', '', 0, 0"


def _session_key(tasks: list[Task], agent: Agent, given: str) -> Any:
    """The key of one claimed task, or the SQL that makes it for each of a batch."""
    if len(tasks) == 1:
        return given or f"{agent.slug}:{tasks[0].code}:{tasks[0].epoch + (tasks[0].status != IN_PROGRESS)}"
    if given:
        return Sql("%s || code", f"{given}:")
    return Sql("%s || code || ':' || (epoch + 1)", f"{agent.slug}:")


def hand(actor: Actor, task: Task, agent: Agent, given: Handed) -> Session:
    """Put a locked task before one agent and announce its run: the write of process.

    The lane and the branch are written with it. An approval that holds goes on to hold: the branch is named by us from
    the text that was read. Records task.processed. Called by dispatch.py inside its unit.
    """
    here, before, stale = task.status, task.assignee, handover.is_stale(task)
    _end_queued(task, "handed over anew")
    task.assignee, task.branch, task.not_before = agent, given.branch, None
    writes: dict[str, Any] = {
        "assignee": agent, "branch": given.branch, "not_before": None, "remembered": "", "paused_reason": "",
        "handed_until": task.db_now + timedelta(seconds=given.seconds), "handed_by": given.way, "lane": lane_for(task),
    }  # fmt: skip
    if task.approved_at and not stale:
        writes["approved_hash"] = handover.digest(task)
    if here == INBOX:
        writes["sort_key"] = sort_key_at(task.db_now, task.priority)
    _move([task], "process", ASSIGNED, **writes)
    session = Session.objects.create(
        key=f"{agent.slug}:{task.code}:{task.epoch + 1}:{task.version}", agent=agent, task=task, state="queued",
        model=given.model, started_at=task.db_now, heartbeat_at=task.db_now,
    )  # fmt: skip
    _record(
        task, "task.processed", actor, agent=agent.slug, session=session.key, status_from=here, status_to=ASSIGNED,
        message=given.reason, data={
            "before": {"assignee": before.slug if before else ""}, "after": {"assignee": agent.slug},
            "via": given.way, "seconds": given.seconds, "model": given.model, "branch": given.branch,
        },
    )  # fmt: skip
    return session


def hand_on(actor: Actor, task: Task, way: str, seconds: int) -> None:
    """Nobody took up the locked task by the way it was handed over: wait for the next one. Records task.dispatched."""
    before = task.handed_by
    _write(task, handed_by=way, handed_until=task.db_now + timedelta(seconds=seconds))
    _record(
        task, "task.dispatched", actor, agent=task.assignee.slug if task.assignee else "",
        data={"before": {"via": before}, "after": {"via": way}, "seconds": seconds},
    )  # fmt: skip


def hand_back(actor: Actor, task: Task) -> None:
    """No way led to the agent: the locked task is anybody's again. Records task.unacknowledged."""
    gone, way = task.assignee.slug if task.assignee else "", task.handed_by
    task.assignee = None
    _move([task], "hand_back", READY, assignee=None, lane=lane_for(task))
    _record(
        task, "task.unacknowledged", actor, level="warning", agent=gone, status_from=ASSIGNED, status_to=READY,
        data={"before": {"assignee": gone, "via": way}, "after": {"assignee": ""}},
    )  # fmt: skip


def _end_queued(task: Task, error: str) -> None:
    """The run that a hand-over announced will not begin."""
    queued = Session.objects.live().filter(task=task, type="primary", state="queued")
    queued.update(state="cancelled", ended_at=task.db_now, error=error)


@log.verb
def start(actor: Actor, code: str) -> Task:
    """A person takes it in hand, without a lease. Raises the epoch. Records task.started. Locks the task."""
    if not (actor.is_person and actor.can("operate")):
        raise NotAllowed("Only an operator starts a task by hand; an agent claims it.")
    task = lock(actor, code)
    here = task.status
    _check(task, "start")
    refuse_unapproved(task)
    _move([task], "start", IN_PROGRESS, held_by=actor.user, session_locked_at=task.db_now)
    _record(task, "task.started", actor, status_from=here, status_to=IN_PROGRESS, data={"epoch": task.epoch})
    return task


def heartbeat(actor: Actor, code: str, fence: Fence = PLAIN) -> Task:
    """A sign of life: extends the lease, records nothing, reaches the screens as an unnumbered ping.

    One guarded statement without a lock of its own. `lease_lost`, `cancelled` or `paused` when the lease is not live.
    """
    task = visible(actor, code)
    if not leases.is_held(actor, task, fence):
        raise leases.lost(actor, task, fence)
    task.lease_expires_at = leases.extend(task)
    if task.lease_expires_at is None:  # it ended between the two statements
        raise leases.lost(actor, visible(actor, code), fence)
    task.heartbeat_at = task.db_now
    live.ping({"task": task.code, "lease_expires_at": task.lease_expires_at, "heartbeat_at": task.heartbeat_at})
    return task


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
    """How far it is. Extends the lease, books what the attempt has cost so far. Records task.progressed."""
    task = lock(actor, code)
    if not leases.is_held(actor, task, fence):
        raise _fenced_off(actor, task, fence, total)
    writes: dict[str, Any] = {}
    if percent is not None:
        writes["progress_percent"] = percent
    if step or message:
        writes["progress_step"] = (step or message)[:500]
    writes.update(_booked(actor, task, total))
    _write(task, **writes)
    leases.extend(task)
    _record(
        task, "task.progressed", actor, session=task.session_key, message=message or step,
        data={"percent": percent, "step": step, "epoch": task.epoch},
    )  # fmt: skip
    return task


@log.verb
def release(actor: Actor, code: str, fence: Fence = PLAIN, *, reason: str = "", total: Spent | None = None) -> Task:
    """Give it back unfinished. Not a failure; keeps its place in the queue. Records task.released. Locks the task."""
    task = lock(actor, code)
    if not _is_steering(actor, task):
        if task.status != IN_PROGRESS and not leases.attempt_of(actor, task, fence):
            raise wrong_state(task, "release")
        _held_or_fenced(actor, task, fence, total)
    _check(task, "release")
    session = _end_lease(task, "cancelled", error=reason or "released")
    place = rest(task)
    _move([task], "release", place, **_booked(actor, task, total, session))
    _record(
        task, "task.released", actor, session=session.key if session else "", status_from=IN_PROGRESS,
        status_to=place, message=reason, data={"reason": reason, "epoch": task.epoch},
    )  # fmt: skip
    return task


@log.verb
def fail(actor: Actor, code: str, fence: Fence = PLAIN, *, error: str = "", total: Spent | None = None) -> Task:
    """The attempt failed: offered again after a back-off, or failed for good at the venture's limit.

    Books the cost all the same. Records task.failed. Locks the task.
    """
    task = lock(actor, code)
    if task.status != IN_PROGRESS and not leases.attempt_of(actor, task, fence):
        raise wrong_state(task, "fail")
    _held_or_fenced(actor, task, fence, total)
    return _attempt_failed(actor, task, "fail", "task.failed", error or "failed", total)


@log.verb
def expire(actor: Actor, pk: int) -> Task | None:
    """The lease ran out: counts as a failure. None when the row is locked or the lease is live after all.

    Re-checks the time under the lock, by the database's clock. Records task.expired.
    """
    task = Task.objects.stale().locked(skip=True).filter(pk=pk).first()
    if task is None:
        return None
    return _attempt_failed(actor, task, "expire", "task.expired", "lease expired", None)


def _attempt_failed(actor: Actor, task: Task, verb: str, kind: str, error: str, total: Spent | None) -> Task:
    holder = task.holder.slug if task.holder else ""
    session = _end_lease(task, "failed", error=error)
    failures = task.failures + 1
    place = FAILED if failures >= task.venture.max_failures else rest(task)
    writes: dict[str, Any] = {"failures": failures, **_booked(actor, task, total, session)}
    now = task.db_now
    if place in (READY, ASSIGNED):
        seconds = min(2**failures * BACKOFF_SECONDS, BACKOFF_MOST) * random.uniform(0.8, 1.2)
        writes["not_before"] = now + timedelta(seconds=seconds)
        writes["sort_key"] = sort_key_at(now, task.priority)
    _move([task], verb, place, **writes)
    _record(
        task, kind, actor, level="error" if place == FAILED else "warning", agent=holder,
        session=session.key if session else "", status_from=IN_PROGRESS, status_to=place, message=error,
        data={"error": error, "failures": failures, "limit": task.venture.max_failures, "epoch": task.epoch},
    )  # fmt: skip
    return task


@log.verb
def complete(
    actor: Actor,
    code: str,
    fence: Fence = PLAIN,
    *,
    summary: str = "",
    output: Any = None,
    deliverables: Sequence[dict[str, Any]] = (),
    total: Spent | None = None,
    actual_hours: Any = None,
    branch: str = "",
    commits: Sequence[str] = (),
    review: bool = False,
    results: Mapping[str, Any] | None = None,
    validate: bool = False,
    force: bool = False,
) -> Task:
    """Hand in. To review when the task or its venture asks for it or `review` is set, else done.

    By the lease holder, also after expiry while no sweep came by; by a person, a lead or an orchestrator without a
    fence. A caller whose lease is gone is refused: its cost is booked and its deliverables are kept as orphaned.
    `results` says by the text or the number of each success criterion how it came out; `validate` refuses with those
    that are not met, unless `force` is set.
    The step of the plan that ran is finished with it. Records task.completed, and task.unblocked for each task that waited for this one alone. Locks task and dependants.
    """
    task = lock(actor, code)
    here = task.status
    if not _is_steering(actor, task):
        if here != IN_PROGRESS and not leases.attempt_of(actor, task, fence):
            if here == ASSIGNED:
                raise NotAllowed("Claim it first; only its lease holder, a lead or a person completes it.")
            raise wrong_state(task, "complete")
        _held_or_fenced(actor, task, fence, total, deliverables)
    _check(task, "complete")
    if here == ASSIGNED:
        refuse_unapproved(task)
    met = criteria.compared(task.success_criteria, results, asked=validate)
    if validate and not force:
        criteria.refuse_unmet(task.success_criteria, met or [])
    worker = task.holder
    place = REVIEW if review or task.review_required or task.venture.review_required else DONE
    waiting = _dependants(task) if place == DONE else []
    session = _end_lease(task, "completed", summary=summary, output=output)
    add_deliverables(actor, task, deliverables, attempt=session.attempt if session else None)
    writes: dict[str, Any] = {
        "completion_summary": summary, "output": output, "deliverable_count": task.deliverable_count,
        "criteria_met": met, **_booked(actor, task, total, session),
    }  # fmt: skip
    if actual_hours is not None:
        writes["actual_hours"] = actual_hours
    if branch:
        writes["branch"] = branch
    if place == DONE:
        writes["progress_percent"] = 100
    _move([task], "complete", place, **writes)
    _record(
        task, "task.completed", actor, level="success", session=session.key if session else "", status_from=here,
        status_to=place, message=summary,
        data={
            "epoch": task.epoch, "branch": task.branch, "commits": list(commits), "deliverables": len(deliverables),
            "finished_step": _finish_step(task), **criteria.told(met, validate=validate, force=force),
        },
    )  # fmt: skip
    if place == DONE:
        _finished(actor, task, waiting, worker)
    return task


def _finish_step(task: Task) -> int | None:
    """What is handed in is past the step that ran: its number, None when none did."""
    running = PlanStep.objects.filter(task=task, state="running").first()
    if running is None:
        return None
    PlanStep.objects.filter(pk=running.pk).update(state="done", changed_at=task.db_now)
    return running.number


# ── hold and let go ─────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def block(actor: Actor, code: str, fence: Fence = PLAIN, *, kind: str, reason: str, total: Spent | None = None) -> Task:
    """Stop it for a stated reason until somebody unblocks it. Ends the lease. Records task.blocked. Locks the task."""
    if kind not in BLOCK_KINDS:
        raise Invalid({"kind": f"Use one of: {', '.join(BLOCK_KINDS)}."})
    if not reason.strip():
        raise Invalid({"reason": "Say what it waits for."})
    task = lock(actor, code)
    if not _is_steering(actor, task):
        if task.status != IN_PROGRESS and not leases.attempt_of(actor, task, fence):
            raise NotAllowed("Only its lease holder or an operator blocks a task.")
        _held_or_fenced(actor, task, fence, total)
    _check(task, "block")
    here = task.status
    session = _end_lease(task, "waiting", error=reason)
    _move(
        [task], "block", BLOCKED, blocked_kind=kind, blocked_reason=reason, remembered=_remember(task), not_before=None,
        **_booked(actor, task, total, session),
    )  # fmt: skip
    _record(
        task, "task.blocked", actor, level="warning", session=session.key if session else "", status_from=here,
        status_to=BLOCKED, message=reason, data={"kind": kind, "reason": reason, "epoch": task.epoch},
    )  # fmt: skip
    return task


@log.verb
def unblock(actor: Actor, code: str, *, answer: str = "") -> Task:
    """Let go of a stated reason. Refused while prerequisites are open, with their codes. Records task.unblocked."""
    _may_steer(actor)
    task = lock(actor, code)
    _check(task, "unblock")
    if task.blockers_open:
        waiting = list(
            task.dependencies.exclude(depends_on__status=DONE).values_list("depends_on__code", flat=True)[:5]
        )
        raise Refused(
            f"It waits for {task.blockers_open} unfinished: {', '.join(waiting)}. Finish or remove them first.",
            code="dependencies_open", waits_for=waiting,
        )  # fmt: skip
    reason, task.blocked_reason = task.blocked_reason, ""
    place = rest(task)
    _move([task], "unblock", place, blocked_kind="", blocked_reason="", remembered="")
    _record(
        task, "task.unblocked", actor, status_from=BLOCKED, status_to=place, message=answer,
        data={"reason": reason, "answer": answer},
    )  # fmt: skip
    return task


@log.verb
def pause(actor: Actor, code: str, *, reason: str = "") -> Task:
    """Hold it back. Ends the lease: the agent learns it on its next call. Records task.paused. Locks the task."""
    _may_steer(actor)
    task = lock(actor, code)
    _check(task, "pause")
    here = task.status
    session = _end_lease(task, "paused", error=reason)
    _move([task], "pause", PAUSED, paused_reason=reason, remembered=_remember(task), not_before=None)
    _record(
        task, "task.paused", actor, level="warning", session=session.key if session else "", status_from=here,
        status_to=PAUSED, message=reason, data={"reason": reason, "epoch": task.epoch},
    )  # fmt: skip
    return task


@log.verb
def resume(actor: Actor, code: str) -> Task:
    """Back to where it rests. Records task.resumed. Locks the task."""
    _may_steer(actor)
    task = lock(actor, code)
    _check(task, "resume")
    place = rest(task)
    _move([task], "resume", place, paused_reason="", remembered=task.remembered if place == BLOCKED else "")
    _record(task, "task.resumed", actor, status_from=PAUSED, status_to=place)
    return task


@log.verb
def cancel(actor: Actor, code: str, *, reason: str = "") -> Task:
    """Stop it for good. A lease holder hears `cancelled` on its next call. Records task.cancelled. Locks the task."""
    _may_steer(actor)
    task = lock(actor, code)
    _check(task, "cancel")
    here = task.status
    session = _end_lease(task, "cancelled", error=reason or "cancelled")
    _move([task], "cancel", CANCELLED, not_before=None, remembered="", blocked_kind="", blocked_reason="")
    _record(
        task, "task.cancelled", actor, level="warning", session=session.key if session else "", status_from=here,
        status_to=CANCELLED, message=reason, data={"reason": reason, "epoch": task.epoch},
    )  # fmt: skip
    return task


@log.verb
def retry(actor: Actor, code: str) -> Task:
    """Offer a failed task again with a clean count. Records task.retried. Locks the task."""
    _may_steer(actor)
    task = lock(actor, code)
    _check(task, "retry")
    task.remembered = ""
    place, failures = rest(task), task.failures
    key = sort_key_at(task.db_now, task.priority)
    _move([task], "retry", place, failures=0, not_before=None, remembered="", sort_key=key)
    _record(task, "task.retried", actor, status_from=FAILED, status_to=place, data={"failures": failures})
    return task


# ── the verdict ─────────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def accept(actor: Actor, code: str, *, note: str = "") -> Task:
    """Review → done, by an operator or a lead, never by an agent for its own or its sub-agents' work.

    Records task.accepted, and task.unblocked for each task that waited for this one alone. Locks task and dependants.
    """
    task = lock(actor, code)
    may_judge(actor, task)
    _check(task, "accept")
    _move([task], "accept", DONE, progress_percent=100)
    _record(
        task, "task.accepted", actor, level="success", status_from=REVIEW, status_to=DONE, message=note,
        data={"note": note},
    )  # fmt: skip
    session = Session.objects.attempts().filter(task=task).select_related("agent").order_by("-id").first()
    _finished(actor, task, _dependants(task), session.agent if session else None)
    return task


@log.verb
def return_(actor: Actor, code: str, *, reason: str) -> Task:
    """Review → assigned or ready, with what is missing. Renews its place in the queue. Records task.returned."""
    if not reason.strip():
        raise Invalid({"reason": "Say what is missing."})
    task = lock(actor, code)
    may_judge(actor, task)
    _check(task, "return")
    place = rest(task)
    _move([task], "return", place, sort_key=sort_key_at(task.db_now, task.priority), progress_percent=None)
    _record(
        task, "task.returned", actor, level="warning", status_from=REVIEW, status_to=place, message=reason,
        data={"reason": reason},
    )  # fmt: skip
    return task


@log.verb
def reopen(actor: Actor, code: str, *, reason: str = "") -> Task:
    """Done or cancelled → ready, one generation on. Dependants that are not leased block again. Records task.reopened.

    Locks the task, then its dependants in the order of their ids.
    """
    _may_steer(actor)
    task = lock(actor, code)
    _check(task, "reopen")
    here, task.assignee = task.status, None
    place = BLOCKED if task.blockers_open else READY
    _move(
        [task], "reopen", place, assignee=None, lane=lane_for(task), generation=task.generation + 1, failures=0,
        sort_key=sort_key_at(task.db_now, task.priority), progress_percent=None, progress_step="",
    )  # fmt: skip
    _record(
        task, "task.reopened", actor, level="warning", status_from=here, status_to=place, message=reason,
        data={"reason": reason, "generation": task.generation},
    )  # fmt: skip
    if here == DONE:
        raise_blockers(actor, _dependants(task), f"{task.code} was reopened")
    return task


@log.verb
def delete(actor: Actor, code: str, *, reason: str = "") -> None:
    """Remove it; its log and its ledger stay. Refused while it is held or others depend on it. Records task.deleted."""
    _may_steer(actor)
    task = lock(actor, code)
    if task.status == IN_PROGRESS:
        raise Refused("It is being worked on: release or cancel it first.", code="leased")
    waiting = list(task.dependants.values_list("task__code", flat=True)[:5])
    if waiting:
        raise Refused(
            f"Others wait for it: {', '.join(waiting)}. Remove those dependencies first.",
            code="has_dependants", dependants=waiting,
        )  # fmt: skip
    _record(
        task, "task.deleted", actor, level="warning", status_from=task.status, message=reason,
        data={"before": _shown(task, EDITABLE), "status": task.status, "reason": reason},
    )  # fmt: skip
    files = [deliverable.file for deliverable in task.deliverables.exclude(file="")]
    Session.objects.live().filter(task=task).update(ended_at=Now(), state="cancelled")
    task.delete()
    for file in files:
        log.after_commit(partial(file.storage.delete, str(file.name)))


# ── cost ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def report_usage(actor: Actor, code: str, spent: Spent, *, fence: Fence = PLAIN, request_id: str | None = None) -> Task:
    """Book what was spent since the last report (a delta). Needs no lease: the money is gone. Records cost.recorded.

    The same `request_id` is booked once. Extends the lease when the caller holds it. Locks task, agent, venture.
    """
    task = lock(actor, code)
    session = leases.attempt_of(actor, task, fence)
    booked = ledger.book(
        actor, spent, venture=task.venture.slug, task=task.code, agent=actor.agent.slug if actor.agent else "",
        session=session.key if session else "", attempt=session.attempt if session else None, request_id=request_id,
        announce=True,
    )  # fmt: skip
    if booked:
        _write(task, **_added(task, spent, session))
    if leases.is_held(actor, task, fence):
        leases.extend(task)
    return task


def _booked(actor: Actor, task: Task, total: Spent | None, session: Session | None = None) -> dict[str, Any]:
    """Book what is missing up to the attempt's reported total; the task's columns that change with it."""
    session = session or Session.objects.attempts().live().filter(task=task).first() if total else session
    if not total or not session:
        return {}
    agent_slug = actor.agent.slug if actor.agent else ""
    new = ledger.difference(total, task=task.code, agent=agent_slug, attempt=session.attempt or 0)
    ledger.book(
        actor, new, venture=task.venture.slug, task=task.code, agent=agent_slug, session=session.key,
        attempt=session.attempt,
    )  # fmt: skip
    return _added(task, new, session)


def _added(task: Task, spent: Spent, session: Session | None) -> dict[str, Any]:
    if session and spent:
        sql.change(
            "UPDATE tasks_session SET tokens = tokens + %s, cost_micro_usd = cost_micro_usd + %s WHERE id = %s",
            [spent.tokens, spent.amount_micro_usd, session.pk],
        )
        sql.change(
            "UPDATE agents_agent SET tokens_used = tokens_used + %s WHERE id = %s", [spent.tokens, session.agent_id]
        )
    return {
        "tokens_used": task.tokens_used + spent.tokens,
        "actual_cost_micro_usd": task.actual_cost_micro_usd + spent.amount_micro_usd,
    }


# ── deliverables ────────────────────────────────────────────────────────────────────────────────────────────────────


def add_deliverables(
    actor: Actor, task: Task, given: Sequence[dict[str, Any]], *, attempt: int | None, orphaned: bool = False
) -> list[Deliverable]:
    """Add rows to a locked task, numbered on. Each records deliverable.added. The caller writes `deliverable_count`."""
    rows = []
    for fields in given:
        task.deliverable_count += 1
        rows.append(
            Deliverable(
                **fields, task=task, number=task.deliverable_count, agent=actor.name, attempt=attempt,
                orphaned=orphaned, created_at=task.db_now,
            )
        )  # fmt: skip
    for row in rows:
        row.save()  # one by one: each may carry a file
        _record(
            task, "deliverable.added", actor, message=row.title,
            data={
                "number": row.number, "type": row.type, "title": row.title, "path": row.path, "size": row.size,
                "sha256": row.sha256, "attempt": attempt, "orphaned": orphaned,
            },
        )  # fmt: skip
    return rows


@log.verb
def deliver(
    actor: Actor, code: str, given: Sequence[dict[str, Any]], *, fence: Fence | None = None
) -> list[Deliverable]:
    """Add deliverables outside a completion. Needs no lease; one that is given is checked, and extended.

    An old lease is refused and the deliverables are kept as orphaned. Records deliverable.added. Locks the task.
    """
    task = lock(actor, code)
    held = leases.is_held(actor, task, fence or PLAIN)
    if fence is not None and not held:
        raise _fenced_off(actor, task, fence, None, given)
    rows = add_deliverables(actor, task, given, attempt=task.epoch if held else None)
    _write(task, deliverable_count=task.deliverable_count)
    if held:
        leases.extend(task)
    return rows


@log.verb
def adopt(actor: Actor, code: str, number: int) -> Deliverable:
    """An orphaned result becomes a deliverable. Records deliverable.adopted. Locks the task."""
    _may_steer(actor)
    task = lock(actor, code)
    row = task.deliverables.filter(number=number).first()
    if row is None:
        raise NotThere("There is no such deliverable.")
    if not row.orphaned:
        raise Refused("It is a deliverable already.", code="not_orphaned")
    Deliverable.objects.filter(pk=row.pk).update(orphaned=False)
    row.orphaned = False
    _write(task)
    _record(task, "deliverable.adopted", actor, message=row.title, data={"number": number, "attempt": row.attempt})
    return row


# ── dependencies ────────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def add_dependency(actor: Actor, code: str, depends_on: str) -> Dependency:
    """`code` waits for `depends_on`. Refused: itself, a cycle. Records dependency.added; blocks when it is open.

    Edges are added one at a time under one advisory lock: two concurrent ones could close a cycle otherwise.
    The prerequisite is locked first.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7077, 1)")
    before = lock(actor, depends_on)
    if depends_on == code:
        raise Refused("A task cannot wait for itself.", code="cycle")
    task = lock(actor, code)
    _may_triage(actor, task)
    if task.status in (DONE, CANCELLED):
        raise Refused(WHAT_WOULD_WORK[task.status], code="wrong_state", status_now=task.status)
    existing = Dependency.objects.filter(task=task, depends_on=before).first()
    if existing:
        return existing
    if _reaches(before.pk, task.pk):
        raise Refused(f"{depends_on} waits for {code} already: that would be a cycle.", code="cycle")
    edge = Dependency.objects.create(task=task, depends_on=before, created_at=task.db_now)
    _record(task, "dependency.added", actor, data={"depends_on": before.code, "depends_on_title": before.title})
    if before.status == DONE:
        _write(task)
    else:
        raise_blockers(actor, [task], f"It waits for {before.code}")
    return edge


@log.verb
def remove_dependency(actor: Actor, code: str, depends_on: str) -> None:
    """Records dependency.removed, and task.unblocked when nothing else holds it. Locks both."""
    before = lock(actor, depends_on)
    task = lock(actor, code)
    _may_triage(actor, task)
    gone, _ = Dependency.objects.filter(task=task, depends_on=before).delete()
    if not gone:
        raise NotThere("There is no such dependency.")
    _record(task, "dependency.removed", actor, data={"depends_on": before.code, "depends_on_title": before.title})
    if before.status == DONE:
        _write(task)
    else:
        lower_blockers(actor, [task], f"It no longer waits for {before.code}")


def raise_blockers(actor: Actor, tasks: list[Task], reason: str) -> None:
    """One more open prerequisite for each locked task; those that nobody holds block."""
    Task.objects.filter(pk__in=[task.pk for task in tasks]).update(
        blockers_open=F("blockers_open") + 1, version=F("version") + 1, offered=False
    )
    for task in tasks:
        task.blockers_open, task.version, task.offered = task.blockers_open + 1, task.version + 1, False
    for here, group in _grouped(tasks, attrgetter("status")):
        if here in (INBOX, READY, ASSIGNED):
            remembered = INBOX if here == INBOX else ""
            _move(group, "block", BLOCKED, blocked_kind="", blocked_reason="", remembered=remembered)
            for task in group:
                _record(
                    task, "task.blocked", actor, status_from=here, status_to=BLOCKED, message=reason,
                    data={"kind": "dependency", "reason": reason},
                )  # fmt: skip


def lower_blockers(actor: Actor, tasks: list[Task], reason: str) -> None:
    """One open prerequisite less for each locked task; those that only waited for it come to rest."""
    Task.objects.filter(pk__in=[task.pk for task in tasks]).update(
        blockers_open=F("blockers_open") - 1, version=F("version") + 1
    )
    for task in tasks:
        task.blockers_open, task.version = task.blockers_open - 1, task.version + 1
    free = [t for t in tasks if t.status == BLOCKED and not t.blockers_open and not t.blocked_reason]
    for (place, *_), group in _grouped(free, _place_and_whose):
        _move(group, "unblock", place, remembered="", blocked_kind="")
        for task in group:
            _record(
                task, "task.unblocked", actor, status_from=BLOCKED, status_to=place, message=reason,
                data={"reason": reason},
            )  # fmt: skip


def _place_and_whose(task: Task) -> tuple[str, bool, bool]:
    return rest(task), task.assignee_id is not None, task.awaits_approval


def _dependants(task: Task) -> list[Task]:
    """Those that wait for it, locked in the order of their ids: tasks before agents and ventures."""
    if not sql.rows("SELECT 1 FROM tasks_dependency WHERE depends_on_id = %s LIMIT 1", [task.pk]):
        return []
    return list(Task.objects.locked().filter(dependencies__depends_on=task).order_by("pk"))


def _finished(actor: Actor, task: Task, waiting: list[Task], worker: Agent | None) -> None:
    if waiting:
        lower_blockers(actor, waiting, f"{task.code} is done")
    if worker:
        sql.change("UPDATE agents_agent SET tasks_completed = tasks_completed + 1 WHERE id = %s", [worker.pk])


def _reaches(start: int, goal: int) -> bool:
    """Whether following "waits for" from `start` comes to `goal`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE chain(id) AS (SELECT CAST(%s AS bigint)"
            " UNION SELECT d.depends_on_id FROM tasks_dependency d JOIN chain ON d.task_id = chain.id)"
            " SELECT 1 FROM chain WHERE id = %s",
            [start, goal],
        )
        return cursor.fetchone() is not None


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def lock(actor: Actor, code: str) -> Task:
    """The task, locked until the commit. NotThere: unknown, or not for this caller."""
    return visible(actor, code, lock=True)


def visible(actor: Actor, code: str, *, lock: bool = False) -> Task:
    """The task with its venture. NotThere: unknown, or not for this caller."""
    seen, values = visible_sql(actor)
    found = read(f"t.code = %s AND {seen}", [code, *values], lock=lock)
    if not found:
        raise NotThere("There is no such task.")
    task = found[0]
    for relation in ("holder", "assignee"):  # the caller's own row is at hand: no need to read it again
        if actor.agent and getattr(task, f"{relation}_id") == actor.agent.pk:
            setattr(task, relation, actor.agent)
    return task


def wrong_state(task: Task, verb: str) -> Refused:
    """The sentence for a move that is not in the table: why, and what would work."""
    sentence = f"Cannot {verb}. {WHAT_WOULD_WORK[task.status]}"
    return Refused(sentence, code="wrong_state", status_now=task.status)


def leads(actor: Actor) -> bool:
    """An operator, an orchestrator or a lead."""
    return actor.can("operate") or actor.can("orchestrate") or bool(actor.agent and actor.agent.is_lead)


def allowed_verbs(actor: Actor, task: Task) -> list[str]:
    """The verbs that would not be refused for this person now: the buttons of the drawer."""
    if not actor.can("operate"):
        return []
    verbs = [name for name, (froms, _) in MOVES.items() if task.status in froms]
    hidden = {"claim", "expire", "fail", "move", "hand_back"}
    if task.blockers_open or _held_up(task):
        hidden.add("process")
    if task.status == BLOCKED and task.blockers_open:
        hidden.add("unblock")
    if task.status in (PAUSED, FAILED, REVIEW, INBOX):
        hidden.add("block")
    return [name for name in verbs if name not in hidden]


def _check(task: Task, verb: str) -> None:
    if task.status not in MOVES[verb][0]:
        raise wrong_state(task, verb)


def _may_steer(actor: Actor) -> None:
    if not leads(actor):
        raise NotAllowed("Only an operator or a lead may do this.")


def _may_triage(actor: Actor, task: Task) -> None:
    created = actor.can("work") and (task.created_by_type, task.created_by) == (actor.type, actor.name)
    if not (leads(actor) or created):
        raise NotAllowed("Only an operator, a lead or who created it may change this task.")


def may_judge(actor: Actor, task: Task) -> None:
    """NotAllowed unless the caller may give the verdict on this work."""
    if not leads(actor):
        raise NotAllowed("Only an operator or a lead gives the verdict.")
    if actor.agent and has_worked(actor.agent, task):
        raise NotAllowed("An agent never judges its own or its sub-agents' work.", code="own_work")
    if task.venture.four_eyes and did(actor, task, WORKED):
        raise NotAllowed(
            "Somebody else gives the verdict: in this venture nobody judges their own work.", code="own_work"
        )


def has_worked(agent: Agent, task: Task) -> bool:
    """Whether it, or one of its sub-agents, had a session on this task."""
    own = Q(agent=agent) | Q(parent__agent=agent) | Q(parent__parent__agent=agent)
    begun = ~Q(type="primary") | Q(attempt__isnull=False)
    return Session.objects.filter(own, begun, task=task).exists()


def did(actor: Actor, task: Task, kinds: Sequence[str]) -> bool:
    """Whether the log names this very caller as the author of such a change to the task."""
    return Activity.objects.filter(task=task.code, kind__in=kinds, actor_type=actor.type, actor=actor.name).exists()


def _held_up(task: Task) -> bool:
    """Whether a paused task waits for an answer, a verdict or a retry besides."""
    return task.status == PAUSED and rest(task) in (BLOCKED, REVIEW, FAILED)


def refuse_held_up(task: Task) -> None:
    if _held_up(task):
        was = {BLOCKED: "was blocked", REVIEW: "was in review", FAILED: "had failed"}[rest(task)]
        raise Refused(f"It {was} before its pause. Resume it first.", code="wrong_state", status_now=task.status)


def refuse_unapproved(task: Task) -> None:
    if task.awaits_approval:
        raise Refused("It waits for approval: an operator has to approve what will be read.", code="approval_needed")


def _approval_withdrawn(task: Task) -> dict[str, Any]:
    """The columns that an approval of another text loses, set on the task as well; none when it holds."""
    if not handover.is_stale(task):
        return {}
    for name, value in NOT_APPROVED.items():
        setattr(task, name, value)
    return NOT_APPROVED


def withdraw_approval(task: Task, reason: str) -> None:
    """It has to be approved anew. Records task.updated. The task is locked."""
    by = task.approved_by
    _write(task, **NOT_APPROVED, offered=False)
    _record(
        task, "task.updated", system("approval"), level="warning", message=reason,
        data={"before": {"approved_by": by}, "after": {"approved_by": ""}},
    )  # fmt: skip


def _is_steering(actor: Actor, task: Task) -> bool:
    """Whether the caller acts from outside the lease: a person, or a lead that never worked on this task.

    An agent that had a session here is always judged by its lease: a zombie does not get around the fence by its role.
    """
    if actor.agent is None:
        return actor.can("operate")
    return leads(actor) and not leases.attempt_of(actor, task, PLAIN)


def _held_or_fenced(
    actor: Actor, task: Task, fence: Fence, total: Spent | None, deliverables: Sequence[dict[str, Any]] = ()
) -> None:
    if not leases.is_held(actor, task, fence):
        raise _fenced_off(actor, task, fence, total, deliverables)


def _fenced_off(
    actor: Actor, task: Task, fence: Fence, total: Spent | None, deliverables: Sequence[dict[str, Any]] = ()
) -> Refused:
    """Refuse a write under an old lease; keep what it cost and what it made. Anything else is left as it is."""
    attempt = leases.attempt_of(actor, task, fence)
    refusal = leases.lost(actor, task, fence)
    if attempt is None:
        return refusal
    writes: dict[str, Any] = {}
    if total:
        assert actor.agent is not None
        new = ledger.difference(total, task=task.code, agent=actor.agent.slug, attempt=attempt.attempt or 0)
        booked = ledger.book(
            actor, new, venture=task.venture.slug, task=task.code, agent=actor.agent.slug, session=attempt.key,
            attempt=attempt.attempt, announce=True,
        )  # fmt: skip
        if booked:
            writes.update(_added(task, new, attempt))
    if deliverables:
        add_deliverables(actor, task, deliverables, attempt=attempt.attempt, orphaned=True)
        writes["deliverable_count"] = task.deliverable_count
    if writes:
        _write(task, **writes)
        refusal.keep = True
    return refusal


@log.verb
def expect_version(actor: Actor, code: str, version: int) -> None:
    """412 when somebody changed it in between. Locks the task until the end of the unit."""
    _same_version(lock(actor, code), version)


def _same_version(task: Task, version: int | None) -> None:
    if version is not None and version != task.version:
        raise Refused("Somebody changed it in the meantime.", code="stale", status=412, version=task.version)


def _refuse_own_ancestor(task: Task, parent: Task) -> None:
    seen, above = {task.pk}, parent
    while above is not None:
        if above.pk in seen:
            raise Invalid({"parent": "That would make it its own ancestor."})
        seen.add(above.pk)
        above = above.parent  # type: ignore[assignment]


# ── where it comes to rest ──────────────────────────────────────────────────────────────────────────────────────────


def rest(task: Task) -> str:
    """Where a task goes when work on it, or what held it, ends without a result."""
    if task.blockers_open or task.blocked_reason:
        return BLOCKED
    if task.remembered:
        return task.remembered
    return ASSIGNED if task.assignee_id else READY


def _remember(task: Task) -> str:
    return task.status if task.status in REMEMBERED else task.remembered


def lane_for(task: Task) -> Lane:
    """The queue it stands in, made when first needed."""
    capabilities = sorted(set(task.required_capabilities))
    lane, _ = Lane.objects.get_or_create(
        venture=task.venture, assignee=task.assignee, capabilities_key=",".join(capabilities),
        defaults={"capabilities": capabilities},
    )  # fmt: skip
    return lane


def is_offered(task: Task, status: str) -> bool:
    """Whether it stands in its lane in that status and may be claimed."""
    if task.not_before or task.blockers_open or task.awaits_approval:
        return False
    return status == READY or (status == ASSIGNED and task.assignee_id is not None)


NOT_APPROVED: dict[str, Any] = {"approved_by_type": "", "approved_by": "", "approved_at": None, "approved_hash": ""}


# ── the writes ──────────────────────────────────────────────────────────────────────────────────────────────────────

NOBODY: dict[str, Any] = {
    "held_by": None, "holder": None, "session_key": "", "session_locked_at": None, "lease_seconds": None,
    "lease_expires_at": None, "heartbeat_at": None,
}  # fmt: skip


NOT_HANDED: dict[str, Any] = {"handed_until": None, "handed_by": ""}


def _move(tasks: list[Task], verb: str, to: str, **changes: Any) -> None:
    """The one place where a status is written: a guarded UPDATE of locked rows that share their status.

    Entering in_progress raises the epoch; leaving it clears who holds it. The version goes up by one.
    """
    here = tasks[0].status
    froms, tos = MOVES[verb]
    if here not in froms or to not in tos:
        raise wrong_state(tasks[0], verb)
    awaited = [task for task in tasks if task.handed_until]
    if awaited and verb != "process":
        changes = {**changes, **NOT_HANDED}
        for task in awaited if verb != "claim" else ():
            _end_queued(task, "not taken up" if verb == "hand_back" else verb)
    for name, value in changes.items():
        for task in tasks:
            setattr(task, name, value)
    writes: dict[str, Any] = {**changes, "offered": is_offered(tasks[0], to), "status_changed_at": tasks[0].db_now}
    raised = 1 if to == IN_PROGRESS else 0
    if here == IN_PROGRESS:
        writes = {**NOBODY, **writes}
    keys, values = _assigned(writes)
    these, pks = sql.one_of("id", [task.pk for task in tasks])
    moved = sql.change(
        f"UPDATE tasks_task SET status = %s, version = version + 1, epoch = epoch + {raised}, {keys}"  # noqa: S608
        f" WHERE {these} AND status = %s",
        [to, *values, *pks, here],
    )
    if moved != len(tasks):
        raise log.Busy
    for task in tasks:
        for name, value in writes.items():
            setattr(task, name, value)
        task.status, task.version, task.epoch = to, task.version + 1, task.epoch + raised


class Sql:
    """A value that the database computes from the row."""

    def __init__(self, text: str, *values: Any) -> None:
        self.text, self.values = text, values


def _assigned(writes: dict[str, Any]) -> tuple[str, list[Any]]:
    """`"column = %s, …"` and its values; `Sql` is computed by the database."""
    keys: list[str] = []
    values: list[Any] = []
    for name, value in writes.items():
        if isinstance(value, Sql):
            keys.append(f"{name} = {value.text}")
            values += value.values
        else:
            column, prepared = sql.prepared_value(Task, name, value)
            keys.append(f"{column} = %s")
            values.append(prepared)
    return ", ".join(keys), values


def _write(task: Task, **changes: Any) -> None:
    """A change that leaves the status as it is: guarded by the version, which goes up by one."""
    keys, values = _assigned({"version": task.version + 1, **changes})
    if not sql.change(
        f"UPDATE tasks_task SET {keys} WHERE id = %s AND version = %s",  # noqa: S608  # columns of the model
        [*values, task.pk, task.version],
    ):
        raise log.Busy
    task.version += 1
    for name, value in changes.items():
        setattr(task, name, value)


def note(task: Task, kind: str, actor: Actor, *, writes: dict[str, Any] | None = None, **fields: Any) -> Activity:
    """Something beside the task itself (a session, a line by hand): raises its version and records it. It is locked.

    `writes`: columns that count or show it on the task. What changes the text that an agent will read takes an approval
    of it back.
    """
    withdrawn = _approval_withdrawn(task)
    if withdrawn:
        writes = {**(writes or {}), **withdrawn, "offered": is_offered(task, task.status)}
        fields["data"] = {**fields.get("data", {}), "approval_withdrawn": True}
    _write(task, **(writes or {}))
    return _record(task, kind, actor, **fields)


def _end_lease(task: Task, state: str, *, error: str = "", summary: str = "", output: Any = None) -> Session | None:
    """End the live session and, with it, the sub-agents' (each records session.ended). Returns the primary one."""
    if task.status not in (IN_PROGRESS, ASSIGNED):
        return None
    primary = None
    live_rows = sql.rows(
        f"SELECT {sql.columns(Session, 's')} FROM tasks_session s WHERE s.task_id = %s AND s.ended_at IS NULL",  # noqa: S608
        [task.pk],
    )
    for session in (sql.decoded(Session, row) for row in live_rows):
        own = session.type == "primary"
        if own and session.attempt is None:
            continue  # only announced: `_move` ends it
        ending = state if own else "completed" if state == "completed" else "cancelled"
        said = {"summary": summary, "output": output} if own else {}
        writes = {"state": ending, "ended_at": task.db_now, "error": error if state != "completed" else "", **said}
        pairs = [sql.prepared_value(Session, name, value) for name, value in writes.items()]
        sql.change(
            f"UPDATE tasks_session SET {', '.join(f'{column} = %s' for column, _ in pairs)} WHERE id = %s",  # noqa: S608
            [*(value for _, value in pairs), session.pk],
        )
        if own:
            primary = session
        else:
            log.record(
                "session.ended",
                system("lease"),
                venture=task.venture.slug,
                task=task.code,
                title=task.title,
                agent=session.agent.slug,
                session=session.key,
                data={"state": ending, "type": session.type},
            )
    return primary


def _record(task: Task, kind: str, actor: Actor, *, agent: str = "", **fields: Any) -> Activity:
    if not agent and fields.get("status_to") == ASSIGNED and task.assignee:
        agent = task.assignee.slug  # so that it hears of it on its own channel
    return log.record(
        kind, actor, venture=task.venture.slug, task=task.code, title=task.title,
        agent=agent or (actor.agent.slug if actor.agent else ""), **fields,
    )  # fmt: skip


def _shown(task: Task, names: Iterable[str]) -> dict[str, Any]:
    """Field values as the log keeps them: names for objects, no floats."""
    shown: dict[str, Any] = {}
    for name in names:
        value = getattr(task, name)
        if name in ("venture", "assignee"):
            value = value.slug if value else ""
        elif name == "parent":
            value = value.code if value else ""
        elif name in ("estimated_hours", "actual_hours"):
            value = str(value) if value is not None else None
        shown[name] = value
    return shown


def _grouped(tasks: list[Task], by: Callable[[Task], Any]) -> list[tuple[Any, list[Task]]]:
    groups: dict[Any, list[Task]] = {}
    for task in tasks:
        groups.setdefault(by(task), []).append(task)
    return list(groups.items())


def recount(tasks: Any) -> dict[int, int]:
    """`{task pk: open prerequisites}` counted anew, for the invariants."""
    open_edges = Q(dependencies__depends_on__isnull=False) & ~Q(dependencies__depends_on__status=DONE)
    return dict(tasks.annotate(n=Count("dependencies", filter=open_edges)).values_list("pk", "n"))
