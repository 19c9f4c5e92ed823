"""The calls on tasks, sessions, the log and the board: read, one verb, answer. Not: rules (the verb modules), pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import DateTimeField, Exists, OuterRef, Q, Value
from django.db.models.functions import Coalesce, Now
from django.http import FileResponse, HttpResponseBase, HttpResponseNotModified
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers

from agents import roster
from agents import serializers as agent_shape
from agents.acting import act_for
from agents.api import me
from agents.faces import STATES as AGENT_STATES
from agents.models import Agent
from agents.roster import visible_ventures
from mission_control import log, sight, strict_json
from mission_control.actors import ROLE_ABILITIES, SCOPE_ABILITIES, Actor
from mission_control.endpoints import NO_STORE, OPERATE, ORCHESTRATE, STEER, WORK, Call, endpoint
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.idempotency import Reply
from mission_control.models import Activity
from mission_control.money import to_usd
from mission_control.paging import Page, page
from mission_control.query import (
    CURSOR,
    LIMIT,
    SINCE,
    Param,
    Query,
    flag,
    integer,
    line,
    moment,
    one_of,
    ordering,
    several,
    whole,
)
from mission_control.rest import lower
from mission_control.strict_json import iso
from tasks import claiming, explain, journal, sessions, sweeping, transitions, uploads, vocabulary
from tasks import serializers as shape
from tasks.board import tagged
from tasks.claim_answer import MOST_WAIT, RETRY_AFTER, answer_claim
from tasks.claiming import Claim, Wish
from tasks.dispatching import dispatch
from tasks.leases import PLAIN, Fence
from tasks.models import Deliverable, Dependency, Session, Task
from tasks.shapes import EXECUTION_STATES, claim_shape
from tasks.teamwork import plan
from tasks.transitions import visible
from tasks.vocabulary import (
    ASSIGNED,
    BLOCKED,
    CANCELLED,
    COLUMNS,
    DONE,
    FAILED,
    IN_PROGRESS,
    INBOX,
    OPEN,
    PAUSED,
    READY,
    REVIEW,
    STATUSES,
)
from ventures.ledger import Spent
from ventures.models import DEFAULT_SLUG, Venture

BESIDE = ("venture", "assignee", "holder", "held_by")
SAFE_TYPES = ("text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "application/json")


# ── list and read ───────────────────────────────────────────────────────────────────────────────────────────────────

ORDERS = {
    "created_at": None,
    "status_changed_at": "status_changed_at",
    "priority": "priority",
    "queue": "sort_key",
    "deadline": Coalesce("deadline", Value(datetime(9999, 1, 1, tzinfo=UTC), output_field=DateTimeField())),
}
FILTERS = Query(
    Param("status", several(vocabulary.status_named), "Statuses, with commas."),
    Param("venture", several(line(60)), "Slugs, with commas.", also=("venture_id", "workspace_id", "project_id")),
    Param("assignee", several(line(60)), "Slugs, with commas; `none` is nobody.", also=("assigned_agent_id",)),
    Param("priority", several(vocabulary.priority_named), "Words, with commas."),
    Param("tags", several(line(50)), "Tags that it carries, all of them."),
    Param("q", line(500), "Words of the title and the description, their beginnings suffice; or the id."),
    Param("parent", line(8), "Subtasks of this one; `none`: those without a parent."),
    Param(
        "execution_state", one_of(*EXECUTION_STATES), "As bots see it.", {"type": "string", "enum": EXECUTION_STATES}
    ),
    moment("deadline_before", "A deadline before then."),
    Param("mine", flag, "Assigned to the caller, held or created by it.", {"type": "boolean"}),
    ordering(*ORDERS),
    LIMIT,
    CURSOR,
)


@endpoint("GET", gives=shape.TaskOut, name="tasks", paged=True, query=FILTERS)
def list_tasks(call: Call) -> Page:
    """List tasks. Newest first unless `ordering` says otherwise; every filter narrows."""
    tasks = Task.objects.visible_to(call.actor).select_related(*BESIDE)
    for name, value in call.query.items():
        if name in _NARROWING:
            tasks = _NARROWING[name](tasks, value, call.actor)
    return page(tasks, call.query, orders=ORDERS, default="-created_at", bare=call.bare)


def _by_assignee(tasks: Any, slugs: list[str], _: Actor) -> Any:
    whose = Q(assignee__slug__in=slugs)
    return tasks.filter(whose | Q(assignee=None) if "none" in slugs else whose)


def _by_tags(tasks: Any, tags: list[str], _: Actor) -> Any:
    for tag in tags:
        tasks = tagged(tasks, tag)
    return tasks


def _by_execution(tasks: Any, state: str, _: Actor) -> Any:
    expired = Session.objects.filter(
        task=OuterRef("pk"), attempt=OuterRef("epoch"), type="primary", state="failed", error="lease expired"
    )
    dropped = Q(status__in=(READY, ASSIGNED), failures__gt=0) & Exists(expired)
    unapproved = Q(status__in=(READY, ASSIGNED), needs_approval=True, approved_at=None)
    if state == "queued":
        return tasks.filter(status__in=(INBOX, READY, ASSIGNED)).exclude(dropped).exclude(unapproved)
    if state == "running":
        return tasks.filter(status=IN_PROGRESS).exclude(_silent())
    if state == "idle":
        return tasks.filter(_silent() | (dropped & ~unapproved))
    if state == "waiting":
        return tasks.filter(Q(status__in=(PAUSED, BLOCKED, REVIEW)) | unapproved)
    statuses = {
        "failed": (FAILED,),
        "completed": (DONE,),
        "cancelled": (CANCELLED,),
    }
    return tasks.filter(status__in=statuses[state])


def _silent() -> Q:
    """Leases whose holder has been quiet for longer than it said it would be, or than the idle limit."""
    held = Q(status=IN_PROGRESS, holder__isnull=False)
    idle = Now() - timedelta(seconds=settings.IDLE_WARNING_SECONDS)
    silent = Q(holder__heartbeat_interval=None, heartbeat_at__lt=idle)
    declared = Agent.objects.exclude(heartbeat_interval=None).order_by().values_list("heartbeat_interval", flat=True)
    for seconds in filter(None, declared.distinct()):
        promised = Now() - timedelta(seconds=seconds * 2.5)
        silent |= Q(holder__heartbeat_interval=seconds, heartbeat_at__lt=promised)
    return held & silent


def _mine(tasks: Any, wanted: bool, actor: Actor) -> Any:
    created = Q(created_by_type=actor.type, created_by=actor.name)
    if actor.agent is not None:
        mine = Q(assignee=actor.agent) | Q(holder=actor.agent) | created
    else:
        mine = Q(held_by=actor.user) | created
    return tasks.filter(mine) if wanted else tasks.exclude(mine)


_NARROWING: dict[str, Callable[[Any, Any, Actor], Any]] = {
    "status": lambda tasks, value, _: tasks.filter(status__in=value),
    "venture": lambda tasks, value, _: tasks.filter(venture__slug__in=value),
    "assignee": _by_assignee,
    "priority": lambda tasks, value, _: tasks.filter(priority__in=value),
    "tags": _by_tags,
    "q": lambda tasks, value, _: tasks.matching(value) if value else tasks,
    "parent": lambda tasks, value, _: (
        tasks.filter(parent=None) if value == "none" else tasks.filter(parent__code=value)
    ),
    "execution_state": _by_execution,
    "deadline_before": lambda tasks, value, _: tasks.filter(deadline__lt=value),
    "mine": _mine,
}


@endpoint("GET", gives=shape.TaskOut, name="task")
def read_task(call: Call, code: str) -> Task:
    """Read one task. Its ETag goes into If-Match of a PATCH."""
    return visible(call.actor, code)


# ── create, change, delete ──────────────────────────────────────────────────────────────────────────────────────────


@endpoint(
    "POST", needs=ORCHESTRATE, takes=shape.TaskIn, lists=True, gives=shape.TaskOut, name="task", status=201,
    title="Create a task, or up to 500",
)  # fmt: skip
def create_tasks(call: Call) -> Task | Reply:
    """Create a task; a list creates up to 500 in one transaction and answers `{"tasks": […]}`.

    Without a status it is ready or in the inbox, as its venture says; with an assignee it is assigned; with open
    prerequisites it is blocked.
    """
    many = call.many if call.many is not None else [call.given]
    tasks = transitions.create_many(call.actor, resolved(call, many))
    if call.many is None:
        return tasks[0]
    shapes = shape.TaskOut.shapes(tasks, call)
    return Reply(201, strict_json.write(shapes if call.bare else {"tasks": shapes}), {})


@endpoint("PATCH", needs=STEER, takes=shape.TaskChange, gives=shape.TaskOut, name="task", fenced=True)
def change_task(call: Call, code: str) -> Task | Reply:
    """Change fields, or the status by the verb for that move.

    `{"status": "in_progress"}` by an agent is a claim of this task under a lease of four hours (a lead's: for its
    assignee), since such clients send no heartbeats; the answer then carries `epoch` and `lease_token`.
    """
    return _changed(call, code, dict(call.given))


@endpoint("PATCH", needs=STEER, takes=shape.TaskChangeById, gives=shape.TaskOut, name="task", bare_only=True)
def change_task_by_id(call: Call) -> Task | Reply:
    """Change the task named in the body."""
    given = dict(call.given)
    return _changed(call, given.pop("id"), given)


def _changed(call: Call, code: str, given: dict[str, Any]) -> Task | Reply:
    fence = shown(call) or PLAIN
    wish = Wish(session_key=given.pop("session_key", ""), lease_seconds=given.pop("lease_seconds", None), simple=True)
    for name in ("epoch", "lease_token"):
        given.pop(name, None)
    actor = _for(call, given.pop("agent_id", ""))
    status, reason = given.pop("status", ""), given.pop("reason", "")
    fields = resolved(call, [given])[0] if given else {}
    if status == IN_PROGRESS and actor.agent is not None:
        actor = _for_its_assignee(actor, visible(actor, code))
    result = _applied(actor, code, fields, status, reason, wish, fence, call.version)
    if isinstance(result, Claim):
        body = claimed_one(result, call)
        return Reply(200, strict_json.write({**body.pop("task"), **body} if call.bare else body), {})
    return result


@log.verb
def _applied(
    actor: Actor, code: str, fields: dict[str, Any], status: str, reason: str, wish: Wish, fence: Fence,
    version: int | None,
) -> Task | Claim:  # fmt: skip
    """The edit and the move of one PATCH, both or neither."""
    task = transitions.edit(actor, code, fields, version=version) if fields else None
    version = None if fields else version
    if status == IN_PROGRESS and actor.agent is not None:
        if version is not None:
            transitions.expect_version(actor, code, version)
        return claiming.claim_task(actor, code, wish)
    if status:
        return transitions.move(actor, code, status, reason=reason, fence=fence, version=version)
    if task is None:
        task = visible(actor, code)
        if version is not None:
            transitions.expect_version(actor, code, version)
    return task


def _for_its_assignee(actor: Actor, task: Task) -> Actor:
    """A lead who starts work that is meant for somebody starts it for that agent."""
    if task.assignee and task.assignee != actor.agent and transitions.leads(actor):
        return act_for(actor, task.assignee.slug)
    return actor


@endpoint("DELETE", needs=STEER, status=204)
def delete_task(call: Call, code: str) -> None:
    """Delete a task. Refused while somebody works on it or others wait for it; its log and its costs stay."""
    transitions.delete(call.actor, code)


@endpoint("DELETE", needs=STEER, status=204, bare_only=True, query=Query(Param("id", line(8), "Which.")))
def delete_task_by_id(call: Call) -> None:
    """Delete the task named in the address or the body."""
    transitions.delete(call.actor, named_id(call))


def named_id(call: Call) -> str:
    """`id` of the address or, without one, of a JSON body."""
    body: Any = call.request.data
    given = call.query.get("id") or (body.get("id") if isinstance(body, dict) else "")
    if not isinstance(given, str) or not given:
        raise Invalid({"id": "Say which."})
    return given


def resolved(call: Call, many: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The values of the verbs: names become objects, each kind looked up once. Invalid by field."""
    ventures = {
        v.slug: v for v in visible_ventures(call.actor).filter(slug__in=_named_in(many, "venture", DEFAULT_SLUG))
    }
    agents = {a.slug: a for a in Agent.objects.filter(slug__in=_named_in(many, "assignee"))}
    codes = _named_in(many, "parent") | {code for given in many for code in given.get("depends_on") or ()}
    tasks = {t.code: t for t in Task.objects.visible_to(call.actor).filter(code__in=codes)} if codes else {}
    result: list[dict[str, Any]] = []
    wrong: dict[str, str] = {}
    for place, given in enumerate(many):
        fields = dict(given)
        at = f"{place}." if call.many is not None else ""
        _resolve(fields, "venture", ventures, "There is no such venture.", wrong, at, default=DEFAULT_SLUG)
        _resolve(fields, "assignee", agents, "There is no such agent.", wrong, at)
        _resolve(fields, "parent", tasks, "There is no such task.", wrong, at)
        if "depends_on" in fields:
            missing = [code for code in fields["depends_on"] if code not in tasks]
            if missing:
                wrong[f"{at}depends_on"] = f"There is no task {', '.join(missing[:5])}."
            fields["depends_on"] = [tasks[code] for code in fields["depends_on"] if code in tasks]
        if "estimated_cost" in fields:
            fields["estimated_cost_micro_usd"] = fields.pop("estimated_cost")
        creator = fields.pop("created_by", "")
        if creator and creator != call.actor.name:
            fields["created_by"] = act_for(call.actor, creator).agent
        result.append(fields)
    if wrong:
        raise Invalid(wrong)
    return result


def _named_in(many: Sequence[dict[str, Any]], name: str, default: str = "") -> set[str]:
    return {given[name] or default for given in many if name in given} - {""}


def _resolve(
    fields: dict[str, Any], name: str, found: dict[str, Any], complaint: str, wrong: dict[str, str], at: str,
    default: str = "",
) -> None:  # fmt: skip
    if name not in fields:
        return
    key = fields[name] or default
    if key and key not in found:
        wrong[at + name] = complaint
    fields[name] = found.get(key)


# ── claim ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint(
    "POST", needs=WORK, takes=shape.ClaimIn, gives=shape.ClaimOut, whole=True, title="Claim the next task",
    headers=NO_STORE,
)  # fmt: skip
def claim(call: Call) -> Reply:
    """Claim the best task for the caller, under a lease: highest priority first, low ones age upwards.

    `wait` holds the request until there is something. Repeat a claim whose answer was lost with the same
    Idempotency-Key or `session_key`: the same lease is given again. Nothing to do: `{"task": null, "action": "none"}`.
    """
    body = call.request._request.body
    told = answer_claim(headers=lower(call.request), body=body, bare=call.bare, actor=call.actor, waited=MOST_WAIT)
    return Reply(told.status, told.content, told.headers)


@endpoint("POST", needs=WORK, takes=shape.ClaimOneIn, gives=shape.ClaimedOne, headers=NO_STORE)
def claim_one(call: Call, code: str) -> dict[str, Any]:
    """Claim this very task. The holder asking again gets the same answer; for others it is 409 with who has it."""
    wish = Wish(
        session_key=call.given.get("session_key", ""), lease_seconds=call.given.get("lease_seconds"), simple=call.bare
    )
    return claimed_one(claiming.claim_task(worker(call), code, wish), call)


def claimed_one(claim: Claim, call: Call) -> dict[str, Any]:
    body = claim_shape([claim], bare=False, batch=False)
    locked_at = body["task"]["session_locked_at"]
    return {
        "task": shape.TaskOut.shape(claim.task, call), "claimedAt": locked_at, "epoch": claim.epoch,
        "lease_token": claim.lease_token, "lease_expires_in": claim.expires_in, "briefing": body["briefing"],
    }  # fmt: skip


READY_QUERY = Query(
    Param("session_key", line(200), "As in a claim.", also=("sessionKey", "openclaw_session_id")),
    Param("assignee", line(60), "Claim for this agent.", also=("agent_id", "agentId", "assignedTo")),
)


@endpoint("GET", needs=WORK, gives=shape.ClaimedOne, query=READY_QUERY, headers=NO_STORE, title="Take work, by GET")
def ready_for_work_by_get(call: Call) -> dict[str, Any]:
    """Claim the next task, for clients that can only GET. Needs an agent's key, so that no link can do it."""
    if not call.actor.is_agent:
        raise NotAllowed("A GET that claims needs an agent's key; use POST.", code="not_an_agent")
    return _ready_for_work(call, {**call.query, "agent_id": call.query.get("assignee", "")})


@endpoint(
    "POST", needs=WORK, takes=shape.ReadyForWorkIn, gives=shape.ClaimedOne, query=READY_QUERY, headers=NO_STORE,
    title="Take work",
)  # fmt: skip
def ready_for_work(call: Call) -> dict[str, Any]:
    """Claim the next task: `{task, action: "claimed" | "none"}`."""
    asked = {**call.query, **call.given}
    return _ready_for_work(call, {**asked, "agent_id": asked.get("agent_id") or asked.get("assignee", "")})


def _ready_for_work(call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    actor = _for(call, asked["agent_id"])
    key = asked.get("session_key", "")
    if not key.isprintable():
        raise Invalid({"session_key": "Use printable characters."})
    claims = claiming.claim_next(
        actor, Wish(session_key=key, lease_seconds=asked.get("lease_seconds"), simple=call.bare)
    )
    if not claims:
        return {"task": None, "action": "none", "retry_after": RETRY_AFTER}
    return {**claimed_one(claims[0], call), "action": "claimed"}


@endpoint(
    "GET", needs=WORK, gives=shape.TaskOut, name="tasks", title="What could be claimed now",
    query=Query(Param("agent", line(60), "As this agent.", also=("agent_id", "assignee")), LIMIT),
)  # fmt: skip
def pending(call: Call) -> list[Task]:
    """What this agent could claim now, best first, without claiming."""
    actor = _for(call, call.query.get("agent", ""))
    return claiming.pending(actor, Wish(), min(call.query.get("limit", claiming.MOST), claiming.MOST))


@endpoint(
    "GET", needs=("work", "orchestrate"), gives=shape.TaskOut, name="tasks", title="Wait until something can be claimed",
    also={204: "Nothing came up in that time."},
    query=Query(
        Param("timeout", whole(0, 300), "Seconds; 300 when not given.", integer(0, 300)),
        Param("capabilities", several(line(50)), "Only tasks that these capabilities are enough for."),
        Param("venture", line(60), "Only of this venture."),
        Param("idle_work", flag, "Only within the agent's available hours."),
    ),
)  # fmt: skip
def listen(call: Call) -> list[Task] | None:
    """Answers as soon as there is something for this agent, 204 at the end. It holds no thread while it waits.

    The waiting itself is done in front of the framework (waiting.py); here is the look at what there is.
    """
    venture = call.query.get("venture")
    wish = Wish(capabilities=call.query.get("capabilities"), idle_work=call.query.get("idle_work", False))
    if venture:
        wish.venture = visible_ventures(call.actor).filter(slug=venture).first()
        if wish.venture is None:
            raise Invalid({"venture": "There is no such venture."})
    return claiming.pending(call.actor, wish) or None


# ── under the lease ─────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("POST", needs=WORK, takes=shape.FenceIn, gives=shape.LeaseOut, fenced=True)
def heartbeat(call: Call, code: str) -> dict[str, Any]:
    """Say that you are alive. Extends the lease; 409 `lease_lost`, `cancelled` or `paused`: stop working on it."""
    task = transitions.heartbeat(worker(call), code, shown(call) or PLAIN)
    assert task.lease_expires_at is not None
    left = max(0, round((task.lease_expires_at - task.db_now).total_seconds()))
    return {
        "id": task.code, "status": task.status, "action": "continue", "epoch": task.epoch,
        "lease_expires_at": task.lease_expires_at, "lease_expires_in": left,
    }  # fmt: skip


@endpoint("POST", needs=WORK, takes=shape.ProgressIn, gives=shape.TaskOut, name="task", fenced=True)
def progress(call: Call, code: str) -> Task:
    """Say how far it is. Extends the lease and books what the attempt has cost so far.

    A `step` that is the number or the title of a step of the plan moves the plan on to it.
    """
    given = call.given
    return plan.progress(
        worker(call), code, shown(call) or PLAIN, percent=given.get("percent"), message=given.get("message", ""),
        step=given.get("step") or given.get("status", ""), total=spent_in_all(given),
    )  # fmt: skip


@endpoint("POST", needs=WORK, takes=shape.ReleaseIn, gives=shape.TaskOut, name="task", fenced=True)
def release(call: Call, code: str) -> Task:
    """Give it back unfinished. Not a failure; it keeps its place in the queue."""
    return transitions.release(
        worker(call), code, shown(call) or PLAIN, reason=call.given.get("reason", ""), total=spent_in_all(call.given)
    )


@endpoint("POST", needs=WORK, takes=shape.FailIn, gives=shape.TaskOut, name="task", fenced=True)
def fail(call: Call, code: str) -> Task:
    """The attempt failed: it is offered again after a while, up to the venture's limit. Its cost is booked."""
    return transitions.fail(
        worker(call), code, shown(call) or PLAIN, error=call.given.get("error", ""), total=spent_in_all(call.given)
    )


@endpoint("POST", needs=WORK, takes=shape.BlockIn, gives=shape.TaskOut, name="task", fenced=True)
def block(call: Call, code: str) -> Task:
    """Stop it for a stated reason until somebody unblocks it. Ends the lease."""
    return transitions.block(
        worker(call), code, shown(call) or PLAIN, kind=call.given["kind"], reason=call.given["reason"],
        total=spent_in_all(call.given),
    )  # fmt: skip


@endpoint("POST", needs=WORK, takes=shape.CompleteIn, gives=shape.TaskOut, name="task", fenced=True)
def complete(call: Call, code: str) -> Task:
    """Hand it in. It goes to review when the task, its venture or `review` asks for it, else it is done.

    Under a lease that is gone: 409, the cost is booked and the deliverables are kept as orphaned.
    """
    return _completed(call, code)


@endpoint("POST", needs=WORK, takes=shape.CompleteByIdIn, gives=shape.TaskOut, name="task", fenced=True)
def complete_by_id(call: Call) -> Task:
    """Hand in the task named in the body; an `error` makes it a failure."""
    if call.given.get("error"):
        return transitions.fail(
            worker(call), call.given["task_id"], shown(call) or PLAIN, error=call.given["error"],
            total=spent_in_all(call.given),
        )  # fmt: skip
    return _completed(call, call.given["task_id"])


def _completed(call: Call, code: str) -> Task:
    given = call.given
    output = given.get("output")
    summary = given.get("summary") or (output[:50_000] if isinstance(output, str) else "")
    handed = [dict(one) for one in given.get("deliverables") or ()]
    task = transitions.complete(
        worker(call), code, shown(call) or PLAIN, summary=summary, output=output,
        deliverables=handed, total=spent_in_all(given),
        actual_hours=given.get("actual_hours"), branch=given.get("branch", ""), commits=given.get("commits") or (),
        review=given.get("review", False), results=given.get("results"), validate=given.get("validate", False),
        force=given.get("force", False),
    )  # fmt: skip
    missing = [one["path"] for one in handed if _missing(task, one["type"], one.get("path", ""))]
    task.warnings = [f"There is no {path} in the workspace." for path in missing]  # type: ignore[attr-defined]
    return task


def worker(call: Call) -> Actor:
    """The caller, or the caller with the agent that the body names; 403 unless it may act for that one."""
    return _for(call, call.given.get("agent_id", ""))


def _for(call: Call, slug: str) -> Actor:
    return act_for(call.actor, slug) if slug else call.actor


def shown(call: Call) -> Fence | None:
    """What the caller shows to prove its lease, in headers or body; None when it shows nothing."""
    given = call.given
    epoch, token = given.get("epoch"), given.get("lease_token") or call.headers.get("X-Lease-Token", "")
    said = call.headers.get("X-Lease-Epoch", "").strip()
    if epoch is None and said:
        if not said.isascii() or not said.isdigit() or len(said) > 9:
            raise Invalid({"X-Lease-Epoch": "Give the epoch of the claim."})
        epoch = int(said)
    key = given.get("session_key", "")
    if epoch is None and not token and not key:
        return None
    return Fence(epoch, token if token.isascii() else "?", key)


def spent_in_all(given: dict[str, Any]) -> Spent | None:
    """The attempt's total so far; tokens that are not told apart count as tokens in."""
    tokens_in, tokens_out = given.get("tokens_in", 0), given.get("tokens_out", 0)
    if "tokens_used" in given and not tokens_in + tokens_out:
        tokens_in = given["tokens_used"]
    spent = Spent(given.get("actual_cost", 0), tokens_in, tokens_out, given.get("model", ""), given.get("provider", ""))
    return spent or None


# ── steering ────────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("POST", needs=STEER, takes=shape.AnswerIn, gives=shape.TaskOut, name="task")
def unblock(call: Call, code: str) -> Task:
    """Let go of what blocked it, with an answer. Refused while prerequisites are open."""
    return transitions.unblock(call.actor, code, answer=call.given.get("answer", ""))


@endpoint("POST", needs=STEER, takes=shape.ReasonIn, gives=shape.TaskOut, name="task")
def pause(call: Call, code: str) -> Task:
    """Hold it back. Ends the lease; its holder learns it on its next call."""
    return transitions.pause(call.actor, code, reason=call.given.get("reason", ""))


@endpoint("POST", needs=STEER, takes=shape.NothingIn, gives=shape.TaskOut, name="task")
def resume(call: Call, code: str) -> Task:
    """Let a paused task go on from where it was."""
    return transitions.resume(call.actor, code)


@endpoint("POST", needs=STEER, takes=shape.ReasonIn, gives=shape.TaskOut, name="task")
def cancel(call: Call, code: str) -> Task:
    """Stop it for good."""
    return transitions.cancel(call.actor, code, reason=call.given.get("reason", ""))


@endpoint("POST", needs=STEER, takes=shape.ReasonIn, gives=shape.TaskOut, name="task")
def reopen(call: Call, code: str) -> Task:
    """Done or cancelled work is offered again, one generation on; what waited for it blocks again."""
    return transitions.reopen(call.actor, code, reason=call.given.get("reason", ""))


@endpoint("POST", needs=STEER, takes=shape.NothingIn, gives=shape.TaskOut, name="task")
def retry(call: Call, code: str) -> Task:
    """Offer a failed task again with a clean count."""
    return transitions.retry(call.actor, code)


@endpoint("POST", needs=STEER, takes=shape.AcceptIn, gives=shape.TaskOut, name="task")
def accept(call: Call, code: str) -> Task:
    """Accept what was handed in. Never by an agent for its own or its sub-agents' work."""
    return transitions.accept(call.actor, code, note=call.given.get("note", ""))


@endpoint("POST", needs=STEER, takes=shape.ReturnIn, gives=shape.TaskOut, name="task")
def return_(call: Call, code: str) -> Task:
    """Send it back with what is missing."""
    return transitions.return_(call.actor, code, reason=call.given["reason"])


@endpoint("PUT", needs=STEER, takes=shape.MoveIn, gives=shape.TaskOut, name="task", fenced=True)
def move(call: Call, code: str) -> Task:
    """Bring it to another status by the verb for that move, or to another place in its queue.

    To `in_progress` it is processed: handed to its assignee, else to the best agent, and stands in `assigned` until claimed.
    """
    given = call.given
    return dispatch.move(
        call.actor, code, given["status"], before=given.get("before", ""), after=given.get("after", ""),
        reason=given.get("reason", ""), fence=shown(call) or PLAIN, version=call.version,
    )  # fmt: skip


@endpoint("PUT", needs=STEER, takes=shape.ExecutionIn, gives=shape.TaskOut, name="task")
def execution(call: Call, code: str) -> Task:
    """Pause, resume, cancel or retry its execution."""
    action, reason = call.given["action"], call.given.get("reason", "")
    if action == "pause":
        return transitions.pause(call.actor, code, reason=reason)
    if action == "cancel":
        return transitions.cancel(call.actor, code, reason=reason)
    return transitions.resume(call.actor, code) if action == "resume" else transitions.retry(call.actor, code)


@endpoint(
    "GET", gives=shape.GateOut, name="gates", title="Why is it not moving?",
    query=Query(Param("agent", line(60), "Seen from this agent.", also=("agent_id",))),
)  # fmt: skip
def why(call: Call, code: str) -> list[Any]:
    """The ordered gates between it and an agent, each open or shut, with the one action that opens it."""
    task = visible(call.actor, code)
    slug = call.query.get("agent", "")
    agent = shape.assignee_named(slug, "agent") or (call.actor.agent if call.actor.is_agent else None)
    return explain.gates(task, agent, viewer=call.actor)


# ── stale work ──────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("POST", needs=OPERATE, takes=shape.CleanUpIn, gives=shape.CleanedOut, title="Take back stale leases")
def clean_up_stale(call: Call) -> dict[str, Any]:
    """Take back leases that have run out and show no sign of life for so long. A live lease is left alone."""
    minutes = call.given["older_than_minutes"]
    threshold = log.now() - timedelta(minutes=minutes)
    cleaned = sweeping.release_stale(call.actor, older_than_minutes=minutes)
    return {"cleaned": len(cleaned), "threshold": iso(threshold)}


@endpoint(
    "GET", needs=OPERATE, gives=shape.TaskOut, name="tasks", paged=True, title="Work that shows no sign of life",
    query=Query(
        Param("older_than_minutes", whole(0, 525_600), "Silent for so long.", integer(0, 525_600), ("olderThanMinutes",)),
        LIMIT, CURSOR,
    ),
)  # fmt: skip
def stuck(call: Call) -> Page:
    """Leases whose holder is silent for longer than it said it would be, or than `older_than_minutes`."""
    tasks = Task.objects.visible_to(call.actor).select_related(*BESIDE).filter(status=IN_PROGRESS)
    if "older_than_minutes" in call.query:
        tasks = tasks.filter(heartbeat_at__lt=Now() - timedelta(minutes=call.query["older_than_minutes"]))
    else:
        tasks = tasks.filter(_silent() | Q(lease_expires_at__lt=Now()))
    return page(tasks, call.query, orders={"created_at": None}, default="created_at", bare=call.bare)


@endpoint(
    "GET", needs=OPERATE, gives=shape.TaskOut, name="tasks", paged=True, title="Tasks with orphaned results",
    query=Query(LIMIT, CURSOR),
)  # fmt: skip
def orphaned(call: Call) -> Page:
    """Tasks that hold results of attempts which had lost their lease: adopt them, or leave them."""
    orphans = Deliverable.objects.filter(task=OuterRef("pk"), orphaned=True)
    tasks = Task.objects.visible_to(call.actor).select_related(*BESIDE).filter(Exists(orphans), deliverable_count__gt=0)
    return page(tasks, call.query, orders={"created_at": None}, default="-created_at", bare=call.bare)


# ── activities ──────────────────────────────────────────────────────────────────────────────────────────────────────

LEVELS = ("info", "success", "warning", "error")
LOG_FILTERS = (
    SINCE,
    Param("kind", several(line(40)), "Kinds, with commas."),
    Param("level", several(one_of(*LEVELS)), "Levels, with commas."),
    Param("agent", line(60), "About this agent.", also=("agent_id",)),
    Param("actor", line(200), "By this author."),
    LIMIT,
    CURSOR,
)


@endpoint(
    "GET", gives=shape.ActivityOut, name="activities", paged=True, title="Read the log",
    also={410: "The log begins later than `since`: begin anew from `snapshot`."},
    query=Query(
        Param("task", line(8), "About this task.", also=("task_id",)),
        Param("venture", line(60), "About this venture.", also=("venture_id", "workspace_id", "project_id")),
        *LOG_FILTERS,
    ),
)  # fmt: skip
def list_activities(call: Call) -> Page:
    """The log: newest first, or with `since` everything after that number in order. `head` is the newest number."""
    lines = Activity.objects.filter(sight.visible_lines(call.actor))
    return log_page(call, lines)


@endpoint("GET", gives=shape.ActivityOut, name="activities", paged=True, query=Query(*LOG_FILTERS))
def list_task_activities(call: Call, code: str) -> Page:
    """What happened to this task, newest first."""
    visible(call.actor, code)
    return log_page(call, Activity.objects.filter(task=code))


def log_page(call: Call, lines: Any) -> Page:
    """A page of these lines by the filters of the query, with the log's head."""
    query = call.query
    for name in ("task", "venture", "agent", "actor"):
        if query.get(name):
            lines = lines.filter(**{name: query[name]})
    for name in ("kind", "level"):
        if query.get(name):
            lines = lines.filter(**{f"{name}__in": query[name]})
    head, order = log.head(), "-seq"
    if "since" in query:
        first = log.first()
        if query["since"] < first - 1:
            raise Refused(
                f"The log begins at {first}. Begin anew from the snapshot.", code="cursor_too_old", status=410, first=first,
                head=head, snapshot="/api/v1/tasks",
            )  # fmt: skip
        lines, order = lines.filter(seq__gt=query["since"]), "seq"
    found = page(lines, query, orders={"seq": None}, default=order, bare=call.bare)
    found.more["head"] = head
    return found


@endpoint("POST", needs=WORK, takes=shape.LogIn, gives=shape.ActivityOut, name="activity", status=201, fenced=True)
def log_task_activity(call: Call, code: str) -> Activity:
    """Log a line about this task. Needs no lease; one that is shown is checked, and extended."""
    given = call.given
    return journal.write(
        worker(call), code=code, message=given["message"], activity_type=given["activity_type"], level=given["level"],
        metadata=given.get("metadata"), fence=shown(call),
    )  # fmt: skip


@endpoint(
    "POST", needs=WORK, takes=shape.LogAnywhereIn, gives=shape.ActivityOut, name="activity", status=201, fenced=True,
    title="Write a line into the log",
)  # fmt: skip
def log_activity(call: Call) -> Activity:
    """Log a line about a task, a venture, or nothing in particular."""
    given = call.given
    venture = None
    if given.get("venture"):
        venture = visible_ventures(call.actor).filter(slug=given["venture"]).first()
        if venture is None:
            raise Invalid({"venture": "There is no such venture."})
    return journal.write(
        worker(call), code=given.get("task", ""), venture=venture, message=given["message"],
        title=given.get("title", ""), activity_type=given["activity_type"], level=given["level"],
        metadata=given.get("metadata"), fence=shown(call) if given.get("task") else None,
    )  # fmt: skip


# ── deliverables ────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("GET", gives=shape.DeliverableOut, name="deliverables", paged=True, query=Query(LIMIT, CURSOR))
def list_deliverables(call: Call, code: str) -> Page:
    """What was handed in for this task, newest first."""
    task = visible(call.actor, code)
    rows = Deliverable.objects.filter(task=task).select_related("task")
    return page(rows, call.query, orders={"number": None}, default="-number", bare=call.bare)


@endpoint(
    "POST", needs=WORK, takes=shape.DeliverableIn, upload=shape.UploadIn, gives=shape.DeliverableOut, name="deliverable",
    status=201, fenced=True,
)  # fmt: skip
def add_deliverable(call: Call, code: str) -> Deliverable:
    """Hand something in: a path or a URL as JSON, or a file as a form.

    Needs no lease; one that is shown is checked, and extended. Under an old one: 409, and it is kept as orphaned.
    """
    given = call.given
    fields: dict[str, Any] = {n: given[n] for n in ("type", "title", "path", "description") if n in given}
    file = given.get("file")
    task = visible(call.actor, code)
    if file is not None:
        stored = uploads.store(code, file)
        call.undo.append(lambda: uploads.remove(stored["file"]))
        fields.update(stored)
    if not fields.get("title"):
        fields["title"] = fields.get("filename") or "File"
    actor = worker(call)
    row = transitions.deliver(actor, code, [fields], fence=shown(call))[0]
    if not row.file and _missing(task, row.type, row.path):
        row.warning = "There is no such file in the workspace. Create it first."  # type: ignore[attr-defined]
    return row


def _missing(task: Task, kind: str, path: str) -> bool:
    """Whether a named file is not in the venture's workspace. What lies elsewhere on this machine is not told."""
    root = task.venture.workspace
    if kind != "file" or not path or not root:
        return False
    root = os.path.realpath(root)
    path = os.path.realpath(os.path.join(root, path))
    return os.path.commonpath([root, path]) == root and not os.path.exists(path)


@endpoint("GET", raw=OpenApiTypes.BINARY, title="Download the file of a deliverable")
def download(call: Call, code: str, number: int) -> HttpResponseBase:
    """The bytes, always as an attachment: nothing an agent hands in is opened in the board's own origin."""
    row = _deliverable(call.actor, code, number)
    if not row.file:
        raise NotThere("This deliverable has no file.")
    tag = f'"{row.sha256}"'
    if call.headers.get("If-None-Match", "") == tag:
        return HttpResponseNotModified(headers={"ETag": tag})
    kind = row.content_type if row.content_type in SAFE_TYPES else "application/octet-stream"
    response = FileResponse(uploads.opened(str(row.file)), content_type=kind)
    response["Content-Length"] = str(row.size)
    response["Content-Disposition"] = content_disposition_header(True, row.filename) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["ETag"] = tag
    return response


@endpoint("POST", needs=STEER, takes=shape.NothingIn, gives=shape.DeliverableOut, name="deliverable")
def adopt(call: Call, code: str, number: int) -> Deliverable:
    """An orphaned result becomes a deliverable."""
    return transitions.adopt(call.actor, code, number)


def _deliverable(actor: Actor, code: str, number: int) -> Deliverable:
    rows = Deliverable.objects.filter(task__in=Task.objects.visible_to(actor), task__code=code, number=number)
    row = rows.select_related("task").first()
    if row is None:
        raise NotThere("There is no such deliverable.")
    return row


# ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("GET", gives=shape.SessionOut, name="sessions", paged=True, query=Query(LIMIT, CURSOR))
def list_task_sessions(call: Call, code: str) -> Page:
    """Every attempt at this task and the sub-agents of each, newest first."""
    rows = sessions.visible_to(call.actor).filter(task=visible(call.actor, code))
    return page(rows, call.query, orders={"started_at": None}, default="-started_at", bare=call.bare)


@endpoint("GET", gives=shape.SessionOut, name="sessions", paged=True, query=Query(LIMIT, CURSOR))
def list_subagents(call: Call, code: str) -> Page:
    """The sub-agents of this task, newest first."""
    rows = sessions.visible_to(call.actor).filter(task=visible(call.actor, code), type="subagent")
    return page(rows, call.query, orders={"started_at": None}, default="-started_at", bare=call.bare)


@endpoint("POST", needs=WORK, takes=shape.SubagentIn, gives=shape.SessionOut, name="session", status=201)
def add_subagent(call: Call, code: str) -> Session:
    """Register a sub-agent's session. It ends by itself when the task leaves assigned and in_progress."""
    given = call.given
    return sessions.register_subagent(
        worker(call), code, key=given["session_key"], agent_name=given.get("agent_name", ""),
        model=given.get("model", ""), parent_key=given.get("parent", ""),
    )  # fmt: skip


@endpoint("POST", needs=WORK, takes=shape.SubagentIn, gives=shape.SessionOut, name="session", status=201)
def add_session(call: Call, code: str) -> Session:
    """Register a sub-agent's session: the other name of `/subagent`. A primary session begins with a claim."""
    return add_subagent(call, code)


def _states(text: str) -> list[str]:
    if text in ("live", "active"):
        return ["live"]
    return [shape.session_state_named(part.strip()) for part in text.split(",") if part.strip()]


@endpoint(
    "GET", gives=shape.SessionOut, name="sessions", paged=True,
    query=Query(
        Param("type", several(one_of(*vocabulary.SESSION_TYPES)), "Types, with commas.", also=("session_type",)),
        Param("state", _states, "States, with commas; `live` is every one that has not ended.", also=("status",)),
        Param("agent", line(60), "Of this agent.", also=("agent_id",)),
        Param("task", line(8), "On this task.", also=("task_id",)),
        LIMIT, CURSOR,
    ),
)  # fmt: skip
def list_sessions(call: Call) -> Page:
    """All sessions, newest first."""
    rows, query = sessions.visible_to(call.actor), call.query
    if query.get("type"):
        rows = rows.filter(type__in=query["type"])
    if query.get("state"):
        rows = rows.filter(ended_at=None) if query["state"] == ["live"] else rows.filter(state__in=query["state"])
    if query.get("agent"):
        rows = rows.filter(agent__slug=query["agent"])
    if query.get("task"):
        rows = rows.filter(task__code=query["task"])
    return page(rows, query, orders={"started_at": None}, default="-started_at", bare=call.bare)


@endpoint(
    "POST", needs=WORK, takes=shape.PersistentIn, gives=shape.SessionOut, name="session", status=201,
    title="Begin a persistent session",
)  # fmt: skip
def begin_session(call: Call) -> Session:
    """Begin a session that belongs to no task. The same key again gives the same one; PATCH or DELETE ends it."""
    return sessions.begin_persistent(worker(call), key=call.given["session_key"], model=call.given.get("model", ""))


@endpoint("GET", gives=shape.SessionOut, name="session")
def read_session(call: Call, key: str) -> Session:
    """The caller's newest session of that key."""
    return sessions.by_key(call.actor, key)


@endpoint("PATCH", needs=WORK, takes=shape.SessionChange, gives=shape.SessionOut, name="session")
def change_session(call: Call, key: str) -> Session:
    """Change a sub-agent's session; an ending state ends it. The primary one ends with the verbs on its task."""
    changes = {name: value for name, value in call.given.items() if name != "ended_at"}
    if call.given.get("ended_at") and "state" not in changes:
        raise Invalid({"ended_at": "Say how it ended: give a state with it."})
    return sessions.change(call.actor, sessions.by_key(call.actor, key), changes)


@endpoint("DELETE", needs=WORK, status=204)
def end_session(call: Call, key: str) -> None:
    """Cancel a sub-agent's session. One that is over stays as history."""
    sessions.end(call.actor, sessions.by_key(call.actor, key))


# ── dependencies ────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("GET", gives=shape.PrerequisiteOut, name="dependencies")
def list_dependencies(call: Call, code: str) -> list[Dependency]:
    """What it waits for."""
    edges = list(visible(call.actor, code).dependencies.select_related("depends_on").order_by("pk"))
    seen = set(Task.objects.visible_to(call.actor).filter(dependants__in=edges).values_list("pk", flat=True))
    for edge in edges:
        if edge.depends_on_id not in seen:
            edge.depends_on.title = ""
    return edges


@endpoint("POST", needs=STEER, takes=shape.DependencyIn, gives=shape.PrerequisiteOut, name="dependency", status=201)
def add_dependency(call: Call, code: str) -> Dependency:
    """It waits for another task from now on. Refused when that would close a cycle."""
    return transitions.add_dependency(call.actor, code, call.given["depends_on"])


@endpoint("DELETE", needs=STEER, status=204)
def remove_dependency(call: Call, code: str, before: str) -> None:
    """It no longer waits for that task."""
    transitions.remove_dependency(call.actor, code, before)


@endpoint(
    "DELETE", needs=STEER, status=204, title="It no longer waits for the task named in the address",
    query=Query(Param("depends_on", line(8), "Which.", also=("dependsOn",))),
)  # fmt: skip
def remove_dependency_named(call: Call, code: str) -> None:
    """It no longer waits for that task."""
    if not call.query.get("depends_on"):
        raise Invalid({"depends_on": "Say which."})
    transitions.remove_dependency(call.actor, code, call.query["depends_on"])


# ── usage ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("POST", needs=WORK, takes=shape.UsageIn, gives=shape.UsageOut, fenced=True)
def report_task_usage(call: Call, code: str) -> dict[str, Any]:
    """Book what was spent on this task since the last report. Needs no lease: the money is gone."""
    return _used(call, code)


@endpoint("POST", needs=WORK, takes=shape.UsageAnywhereIn, gives=shape.UsageOut, fenced=True)
def report_usage(call: Call) -> dict[str, Any]:
    """Book what was spent since the last report, on a task or on a session's task."""
    code, key = call.given.get("task", ""), call.given.get("session_key", "")
    if not code and not key:
        raise Invalid({"task": "Say which task, or which session."})
    if not code:
        session = sessions.by_key(worker(call), key)
        if session.task is None:
            raise Refused("This session has no task to book on.", code="no_task")
        code = session.task.code
    return _used(call, code)


def _used(call: Call, code: str) -> dict[str, Any]:
    given = call.given
    spent = Spent(
        given.get("cost", 0), given.get("tokens_in", 0), given.get("tokens_out", 0), given.get("model", ""),
        given.get("provider", ""), given.get("note", ""),
    )  # fmt: skip
    task = transitions.report_usage(
        worker(call), code, spent, fence=shown(call) or PLAIN, request_id=given.get("request_id") or None
    )
    return {"task": task.code, "actual_cost": to_usd(task.actual_cost_micro_usd), "tokens_used": task.tokens_used}


# ── the board in numbers, the words ─────────────────────────────────────────────────────────────────────────────────


class SummaryOut(shape.Answer):
    class VentureCounts(serializers.Serializer[Any]):
        id = serializers.CharField()
        name = serializers.CharField()
        status = serializers.CharField()
        open = serializers.IntegerField()
        counts = serializers.DictField(child=serializers.IntegerField())

    total = serializers.IntegerField()
    open = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Tasks by status.")
    ventures = VentureCounts(many=True)
    active_subagents = serializers.IntegerField()
    frozen = serializers.BooleanField()
    head = serializers.IntegerField(help_text="The log's newest number when this was counted.")


@endpoint("GET", gives=SummaryOut, title="The board in numbers")
def board_summary(call: Call) -> dict[str, Any]:
    """True counts by status and venture, as of the number `head` of the log."""
    head, counted = log.head(), log.counts_by_venture()
    ventures = []
    for venture in visible_ventures(call.actor).order_by("name", "pk"):
        counts = counted.get(venture.slug, {})
        open_ = sum(counts.get(status, 0) for status in OPEN)
        ventures.append(
            {"id": venture.slug, "name": venture.name, "status": venture.status, "open": open_, "counts": counts}
        )
    total = {status: sum(v["counts"].get(status, 0) for v in ventures) for status in STATUSES}
    return {
        "total": sum(total.values()), "open": sum(total[status] for status in OPEN), "counts": total,
        "ventures": ventures, "head": head, "frozen": claiming.is_frozen(),
        "active_subagents": sessions.visible_to(call.actor).filter(type="subagent", ended_at=None).count(),
    }  # fmt: skip


class ColumnOut(shape.Answer):
    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # the name that a field's own label has
    statuses = serializers.ListField(child=serializers.CharField())
    count = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True, help_text="Most cards, of the one venture asked for.")


@endpoint(
    "GET", gives=ColumnOut, name="columns", title="The columns with their true counts",
    query=Query(Param("venture", line(60), "Of this venture alone.", also=("venture_id", "workspace_id"))),
)  # fmt: skip
def board_columns(call: Call) -> list[dict[str, Any]]:
    """The columns of the board, left to right, with true counts."""
    counted = log.counts_by_venture()
    ventures = visible_ventures(call.actor)
    limits: dict[str, int] = {}
    if call.query.get("venture"):
        ventures = ventures.filter(slug=call.query["venture"])
        limits = next((venture.wip_limits for venture in ventures), {})
    slugs = list(ventures.values_list("slug", flat=True))
    return [
        {
            "key": key, "label": label, "statuses": list(statuses), "limit": limits.get(key),
            "count": sum(counted.get(slug, {}).get(status, 0) for slug in slugs for status in statuses),
        }
        for key, (label, statuses) in COLUMNS.items()
    ]  # fmt: skip


@endpoint("GET", title="The words")
def words(call: Call) -> dict[str, Any]:
    """Statuses, words accepted for them, priorities, columns, kinds of activities, verbs and who may do what."""
    return {
        "statuses": [
            {
                "name": status, "label": label, "column": vocabulary.COLUMN_OF[status], "open": status in OPEN,
                "claimable": status in (READY, ASSIGNED),
                "words": sorted(word for word, meant in vocabulary.STATUS_WORDS.items() if meant == status),
            }
            for status, label in STATUSES.items()
        ],
        "priorities": [
            {
                "name": name, "rank": rank,
                "words": sorted(w for w, r in vocabulary.PRIORITY_WORDS.items() if r == rank and w != name),
            }
            for rank, name in vocabulary.PRIORITIES.items()
        ],
        "columns": [{"key": key, "label": label, "statuses": list(s)} for key, (label, s) in COLUMNS.items()],
        "execution_states": list(EXECUTION_STATES),
        "verbs": [
            {"name": verb, "from": list(froms), "to": list(tos), "who": vocabulary.WHO[verb]}
            for verb, (froms, tos) in transitions.MOVES.items()
        ]
        + [
            {
                "name": verb, "from": list(froms), "to": list(vocabulary.CREATED_IN) if verb == "create" else [],
                "who": vocabulary.WHO_BESIDE[verb],
            }
            for verb, froms in vocabulary.BESIDE.items()
        ],
        "kinds": list(vocabulary.KINDS),
        "levels": list(LEVELS),
        "activity_types": list(journal.TYPES),
        "block_kinds": list(vocabulary.BLOCK_KINDS),
        "deliverable_types": list(vocabulary.DELIVERABLE_TYPES),
        "session_types": list(vocabulary.SESSION_TYPES),
        "session_states": list(vocabulary.SESSION_STATES),
        "step_states": list(vocabulary.STEP_STATES),
        "step_words": dict(vocabulary.STEP_WORDS),
        "agent_states": list(AGENT_STATES),
        "availabilities": [name for name, _ in Agent.AVAILABILITIES],
        "availability_words": dict(agent_shape.AVAILABILITY_WORDS),
        "venture_statuses": [name for name, _ in Venture.STATUSES],
        "context_kinds": list(vocabulary.CONTEXT_KINDS),
        "scopes": {scope: sorted(abilities) for scope, abilities in SCOPE_ABILITIES.items()},
        "roles": {role: sorted(abilities) for role, abilities in ROLE_ABILITIES.items()},
    }  # fmt: skip


# ── what an agent does next ─────────────────────────────────────────────────────────────────────────────────────────

HEARTBEAT_SECONDS = 60  # advised to an agent that declared nothing
ENDED_BECAUSE = {PAUSED: "paused", CANCELLED: "cancelled"}


@endpoint(
    "POST", needs=("work", "orchestrate"), takes=agent_shape.HeartbeatIn, gives=agent_shape.NextOut,
    title="Say that you are there, hear what to do next", tag="agents",
)  # fmt: skip
def agent_heartbeat(call: Call) -> dict[str, Any]:
    """What the calling agent does next: `continue`, `paused`, `cancelled`, `lease_lost`, `frozen`, `work_available`.

    Name the sessions you run to hear about each. It extends no lease: that is what a task's own heartbeat is for.
    """
    agent = me(call)
    if "status" in call.given and call.given["status"] != agent.availability:
        agent = roster.change(call.actor, agent, {"availability": call.given["status"]})
    told = [_told(call.actor, given["session_key"]) for given in call.given.get("sessions") or ()]
    return {
        "action": _next(call.actor, agent, [line["action"] for line in told]),
        "sessions": told,
        "next_heartbeat_in": agent.heartbeat_interval or HEARTBEAT_SECONDS,
    }


def _told(actor: Actor, key: str) -> dict[str, Any]:
    session = claiming.newest_session(actor.agent, key)
    task = session.task if session else None
    if session is None:
        action = "lease_lost"
    elif session.ended_at is None:
        action = "continue"
    else:
        action = ENDED_BECAUSE.get(task.status, "lease_lost") if task else "lease_lost"
    return {"session_key": key, "task": task.code if task else None, "action": action}


def _next(actor: Actor, agent: Agent, told: list[str]) -> str:
    """The most urgent of what the sessions hear; without any: go on, or is there work?"""
    for action in ("cancelled", "paused", "lease_lost"):
        if action in told:
            return action
    if told or agent.held_tasks.exists():
        return "continue"
    if claiming.is_frozen():
        return "frozen"
    offline = agent.availability == "offline"
    return "none" if offline or not claiming.lane_heads(agent) else "work_available"
