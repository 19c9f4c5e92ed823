"""Who gets which task: queue lanes, limits, the claim. Selects and locks; the write is `transitions.take`.

A claim finds the best lane heads without a lock, then locks one row in the best lane with SKIP LOCKED, else in the
next: claimers do not wait for each other, and a million tasks of another skill in front cost nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import NoReturn
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import IntegrityError, connection
from django.db.models import F, Q, Value
from django.db.models.functions import Concat

from agents.models import Agent
from mission_control import log, sql
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, Refused
from mission_control.models import Fleet
from tasks import approvals, leases
from tasks.leases import Fence, lease_token
from tasks.models import Session, Task, lock_head, lock_offered
from tasks.transitions import lock, take, wrong_state
from tasks.vocabulary import ASSIGNED, IN_PROGRESS, READY
from ventures.models import Venture

MOST = 50  # tasks a batch
LANES = 64  # best lanes looked at in one go
BESIDES = 50  # tasks looked at beyond those wanted: as many as another batch may have locked
_batches = threading.BoundedSemaphore(2)  # more at once only pass over the rows that the others have locked


@dataclass
class Wish:
    """What a claimer asks for. `capabilities` narrow what it offers; `idle_work` respects its available hours."""

    session_key: str = ""
    capabilities: Sequence[str] | None = None
    venture: Venture | None = None
    limit: int = 1
    lease_seconds: int | None = None
    idle_work: bool = False
    simple: bool = False  # a client of /api: it will not send heartbeats


@dataclass
class Claim:
    """One claimed task: `epoch`, `lease_token` and seconds left are what the holder has to show and know."""

    task: Task
    epoch: int
    lease_token: str
    expires_in: int
    again: bool = field(default=False)  # it was claimed before; this is the same answer


def claim_next(actor: Actor, wish: Wish) -> list[Claim]:
    """The best tasks this agent may take, up to `limit`; an empty list when there is none.

    Asking again with the same session_key returns the live tasks of that key. Refused: frozen, at its limit.
    Records task.claimed for each. Locks the agent's row and the venture's only where they have a limit, then the tasks.
    """
    agent = _claimer(actor)
    if not 1 <= wish.limit <= MOST:
        raise Invalid({"limit": f"Ask for 1 to {MOST} tasks."})
    if wish.limit == 1:
        return _claim_next(actor, agent, wish)
    with _batches:
        return _claim_next(actor, agent, wish)


@log.verb
def _claim_next(actor: Actor, agent: Agent, wish: Wish) -> list[Claim]:
    if wish.session_key:
        live = _live_under(agent, wish.session_key)
        if live:
            return [_claimed(task, again=True) for task in live]
    limit = min(wish.limit, _room_of(agent)) if agent.max_concurrent else wish.limit
    if wish.idle_work and not within_hours(agent, log.now()):
        return []
    heads = lane_heads(agent, wish.capabilities, wish.venture)
    taken = _best_one(agent, heads) if limit == 1 else _best_of(agent, heads, limit)
    if not taken:
        return []
    if not _take(actor, taken, agent, wish):
        return [_claimed(task, again=True) for task in _live_under(agent, wish.session_key)] or _refuse_busy_key()
    return [_claimed(task) for task in taken]


def _best_one(agent: Agent, heads: list[tuple[int, int, bool]]) -> list[Task]:
    for lane, venture, limited in heads:
        if limited and _room_in(venture) < 1:
            continue
        task = lock_head(lane)
        while task and approvals.withdrawn(task, agent):
            task = lock_head(lane)
        if task:
            return [task]
    return []


def _best_of(agent: Agent, heads: list[tuple[int, int, bool]], limit: int) -> list[Task]:
    """The first `limit` of all lanes together, in queue order. Goes past what others are claiming, to the queues' end."""
    rooms = {venture: _room_in(venture) for venture in sorted({venture for _, venture, limited in heads if limited})}
    lanes = {lane: venture for lane, venture, _ in heads}
    taken: list[Task] = []
    seen: list[int] = []
    while len(taken) < limit:
        found = _first_of(lanes, rooms, seen, limit - len(taken) + BESIDES)
        if not found:
            break
        seen += found
        for task in lock_offered(found, list(lanes), limit - len(taken)):
            if approvals.withdrawn(task, agent):
                continue
            taken.append(task)
            if task.venture_id in rooms:
                rooms[task.venture_id] -= 1
    return sorted(taken, key=lambda task: (task.sort_key, task.pk))


def _first_of(lanes: dict[int, int], rooms: dict[int, int], seen: Sequence[int], most: int) -> list[int]:
    """The keys of the first `most` tasks of these lanes besides those `seen`, within the ventures' room. No lock."""
    had = set(seen)
    left = {**rooms}
    each = most + len(had)
    together = each * len(lanes) if rooms else each
    postgresql = connection.vendor == "postgresql"
    ids: object = list(lanes) if postgresql else json.dumps(list(lanes))
    found: list[int] = []
    for lane, pk in sql.rows(_FIRST_OF["postgresql" if postgresql else "sqlite"], [ids, each, together]):
        venture = lanes[lane]
        if pk in had or left.get(venture, 1) < 1:
            continue
        if venture in left:
            left[venture] -= 1
        found.append(pk)
    return found[:most]


_FIRST_OF = {  # the index task_queue, once for each lane
    "postgresql": "SELECT l.id, t.id FROM unnest(%s::bigint[]) AS l(id) CROSS JOIN LATERAL"
    " (SELECT sort_key, id FROM tasks_task WHERE lane_id = l.id AND offered ORDER BY sort_key, id LIMIT %s) AS t"
    " ORDER BY t.sort_key, t.id LIMIT %s",
    "sqlite": "SELECT t.lane_id, t.id FROM json_each(%s) AS l JOIN tasks_task t ON t.id IN"
    " (SELECT id FROM tasks_task WHERE lane_id = l.value AND offered ORDER BY sort_key, id LIMIT %s)"
    " ORDER BY t.sort_key, t.id LIMIT %s",
}


@log.verb
def claim_task(actor: Actor, code: str, wish: Wish, *, on_behalf: bool = False) -> Claim:
    """Claim this very task. The holder asking again with its session key gets the same answer.

    Refused 409 `already_claimed` with `claimedBy` and `lockedAt`; 403 when it is another's or needs other skills.
    Locks the task, then the agent's and the venture's row where they have a limit.
    """
    agent = _claimer(actor)
    task = lock(actor, code)
    if task.status == IN_PROGRESS:
        same = leases.is_held(actor, task, Fence(session_key=wish.session_key))
        if same:
            return _claimed(task, again=True)
        holder = task.holder.slug if task.holder else task.held_by.get_username() if task.held_by else ""
        raise Refused(
            "Task already claimed", code="already_claimed", claimedBy=holder, lockedAt=task.session_locked_at,
            epoch=task.epoch,
        )  # fmt: skip
    if task.status not in (READY, ASSIGNED):
        raise wrong_state(task, "claim")
    shut = _shut_gate(agent, task)
    if shut:
        raise shut
    if wish.session_key and _live_under(agent, wish.session_key):
        _refuse_busy_key()
    if not _take(actor, [task], agent, wish):
        _refuse_busy_key()
    return _claimed(task)


def pending(actor: Actor, wish: Wish, limit: int = MOST) -> list[Task]:
    """What this agent could claim now, best first, without claiming or locking; for idle work only within its hours."""
    agent = _claimer(actor)
    if wish.idle_work and not within_hours(agent, log.now()):
        return []
    lanes = [lane for lane, _, _ in lane_heads(agent, wish.capabilities, wish.venture)]
    return list(
        Task.objects.filter(lane__in=lanes).offered().order_by("sort_key", "id")
        .select_related("venture", "assignee", "holder", "parent")[:limit]
    )  # fmt: skip


def lane_heads(
    agent: Agent, capabilities: Sequence[str] | None = None, venture: Venture | None = None
) -> list[tuple[int, int, bool]]:
    """`(lane, venture, has a limit on work in progress)` of the lanes that offer this agent something, best first.

    One statement without a lock: the head of each fitting lane is one probe of the index task_queue.
    """
    skills = agent.capabilities if capabilities is None else [c for c in agent.capabilities if c in set(capabilities)]
    narrowed = [venture.pk] if venture else []
    rows = sql.rows(
        _lane_heads_sql(connection.vendor, bool(venture)), [agent.pk, json.dumps(skills), agent.pk, *narrowed]
    )
    return [(lane, owner, bool(limited)) for lane, owner, limited, _ in rows]


@cache
def _lane_heads_sql(vendor: str, narrowed: bool) -> str:
    head = (
        "(SELECT t.sort_key AS head FROM tasks_task t WHERE t.lane_id = l.id AND t.offered"
        " ORDER BY t.sort_key, t.id LIMIT 1)"
    )
    if vendor == "postgresql":
        has_limit, fits = "(v.wip_limits ? 'in_progress')", "l.capabilities <@ %s::jsonb"
        source, found = f"CROSS JOIN LATERAL {head} AS h", ""
    else:
        has_limit = "(json_extract(v.wip_limits, '$.in_progress') IS NOT NULL)"
        fits = (
            "NOT EXISTS (SELECT 1 FROM json_each(l.capabilities) WHERE value NOT IN (SELECT value FROM json_each(%s)))"
        )
        source, found, head = "", "AND head IS NOT NULL", f"{head} AS head"
    return (
        f"SELECT l.id, v.id, {has_limit}, {'h.head' if source else head}"  # noqa: S608  # constants
        f" FROM tasks_lane l JOIN ventures_venture v ON v.id = l.venture_id {source}"
        f" WHERE v.status = 'active' AND (l.assignee_id IS NULL OR l.assignee_id = %s) AND {fits} {found}"
        " AND (v.open_to_all OR EXISTS (SELECT 1 FROM agents_agent_ventures j"
        f" WHERE j.agent_id = %s AND j.venture_id = v.id)) {'AND v.id = %s' if narrowed else ''}"
        f" ORDER BY 4 LIMIT {LANES}"
    )


def seconds_of(agent: Agent, asked: int | None, simple: bool) -> int:
    """How long the lease is: as asked within the bounds, else the default; at least 2.5 heartbeats of the agent."""
    if asked is not None:
        if not settings.LEASE_SECONDS_MIN <= asked <= settings.LEASE_SECONDS_MAX:
            raise Invalid(
                {"lease_seconds": f"Between {settings.LEASE_SECONDS_MIN} and {settings.LEASE_SECONDS_MAX} seconds."}
            )
        seconds = asked
    else:
        seconds = settings.SIMPLE_LEASE_SECONDS if simple else settings.LEASE_SECONDS
    if agent.heartbeat_interval:
        seconds = max(seconds, int(2.5 * agent.heartbeat_interval))
    return min(seconds, settings.LEASE_SECONDS_MAX)


def within_hours(agent: Agent, moment: datetime) -> bool:
    """Whether the moment lies in the agent's available hours; always when it declared none. Hours may pass midnight."""
    declared = agent.available_hours
    if not declared or not declared.get("hours"):
        return True
    clock = moment.astimezone(ZoneInfo(declared.get("timezone") or "UTC")).strftime("%H:%M")
    for span in declared["hours"]:
        start, _, end = span.partition("-")
        if (start <= clock < end) if start <= end else (clock >= start or clock < end):
            return True
    return False


def _take(actor: Actor, tasks: list[Task], agent: Agent, wish: Wish) -> bool:
    """The write; False when the session key went live in the meantime (the same claim sent twice at once)."""
    seconds = seconds_of(agent, wish.lease_seconds, wish.simple)
    if not wish.session_key:
        take(actor, tasks, "", seconds)
        return True
    try:
        with log.step():
            take(actor, tasks, wish.session_key, seconds)
    except IntegrityError:
        return False
    return True


def _refuse_busy_key() -> NoReturn:
    raise Refused("This session key is live elsewhere. Use another key.", code="session_busy")


# ── gates ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _claimer(actor: Actor) -> Agent:
    if actor.agent is None:
        raise NotAllowed("Only an agent claims; a person starts a task by hand.", code="not_an_agent")
    if not (actor.can("work") or actor.can("orchestrate")):
        raise NotAllowed("This key may not claim: it needs the scope work.", code="scope_missing")
    return actor.agent


def _shut_gate(agent: Agent, task: Task) -> Refused | None:
    """The first gate that is shut between this agent and this locked task, as a refusal."""
    if task.venture.status != "active":
        return Refused(f"The venture {task.venture.slug} is {task.venture.status}.", code="venture_inactive")
    if not task.venture.open_to_all and not agent.ventures.filter(pk=task.venture_id).exists():
        return NotAllowed(f"{agent.slug} has not joined {task.venture.slug}.", code="not_joined")
    if task.assignee_id and task.assignee_id != agent.pk:
        return NotAllowed(f"It is assigned to {task.assignee.slug}.", code="assigned_to_another")  # type: ignore[union-attr]
    if task.blockers_open:
        return Refused(f"It waits for {task.blockers_open} unfinished.", code="dependencies_open")
    if task.awaits_approval:
        return Refused("It waits for approval.", code="approval_needed")
    if approvals.withdrawn(task, agent):
        return Refused("Its approval was taken back: it has to be approved anew.", code="approval_needed", keep=True)
    missing = sorted(set(task.required_capabilities) - set(agent.capabilities))
    if missing:
        return NotAllowed(f"It needs: {', '.join(missing)}.", code="capabilities_missing", missing=missing)
    if task.not_before and task.not_before > task.db_now:
        seconds = int((task.not_before - task.db_now).total_seconds()) + 1
        return Refused(f"It failed and is offered again in {seconds} s.", code="backing_off", retry_after=seconds)
    if agent.max_concurrent:
        _room_of(agent)
    if "in_progress" in task.venture.wip_limits and _room_in(task.venture_id) < 1:
        return Refused("Too many tasks of this venture are in progress.", code="wip_limit")
    return None


def _room_of(agent: Agent) -> int:
    """How many more leases the agent may hold; refused when none. Locks its row, so that two claims count in turn."""
    current = Agent.objects.select_for_update(no_key=True).get(pk=agent.pk)
    held = Task.objects.leased_to(agent).count()
    if current.max_concurrent and held >= current.max_concurrent:
        raise Refused(
            f"This agent holds {held} tasks, its limit is {current.max_concurrent}. Finish or release one first.",
            code="at_capacity", held=held,
        )  # fmt: skip
    return (current.max_concurrent or MOST) - held


def _room_in(venture_id: int) -> int:
    """How many more tasks of the venture may be in progress. Locks its row."""
    venture = Venture.objects.select_for_update(no_key=True).get(pk=venture_id)
    limit = venture.wip_limits.get("in_progress")
    if limit is None:
        return MOST
    return limit - Task.objects.filter(venture=venture, status=IN_PROGRESS).count()


def _live_under(agent: Agent, key: str) -> list[Task]:
    """The live tasks of a session key, its batch included."""
    held = Task.objects.leased_to(agent).select_related("venture", "assignee", "holder").order_by("sort_key", "id")
    derived = Concat(Value(f"{key}:"), F("code"))
    return list(held.filter(Q(session_key=key) | Q(session_key=derived))[:MOST])


def _claimed(task: Task, again: bool = False) -> Claim:
    assert task.lease_expires_at is not None
    now = log.now() if again else task.db_now
    left = max(0, round((task.lease_expires_at - now).total_seconds()))
    return Claim(task, task.epoch, lease_token(task), left, again)


def is_frozen() -> bool:
    return Fleet.objects.filter(pk=1, frozen_at__isnull=False).exists()


def newest_session(agent: Agent, key: str) -> Session | None:
    """The caller's newest session of that key: what a path with a key means."""
    return Session.objects.filter(agent=agent, key=key).select_related("agent", "task").order_by("-id").first()
