"""POST …/tasks/claim and GET …/tasks/listen as ASGI: waiting for work without a thread and without a connection.

A claim without `wait` is one visit of a thread. One that waits stands in a line of this process: when the log says
that something may be on offer, one statement looks which lanes offer how much, and as many of those who fit are asked
again, first come, first served, a few at a time. Not: what a claim answers (claim_answer.py), who gets what (claiming.py).
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from django.db import connection

from agents import roster
from agents.acting import act_for
from agents.models import Agent
from mission_control import callers, idempotency, live, log, metrics, sql, strict_json
from mission_control.doors import Receive, Scope, Send, answer
from mission_control.errors import Invalid, Refused
from mission_control.live import Event
from mission_control.plain_http import read_bytes
from mission_control.query import flag
from tasks import claiming
from tasks.claim_answer import ClaimAnswer, answer_claim, read_wish
from tasks.claiming import Wish
from tasks.models import Task
from tasks.shapes import Around, task_shape
from tasks.vocabulary import ASSIGNED, IN_PROGRESS, READY
from ventures.models import Venture

logger = logging.getLogger(__name__)

LISTEN_SECONDS, MOST_LISTEN_SECONDS = 300, 300
TURNS = 4  # of those who wait, so many are asked at once: the others keep the threads
LOOK_SECONDS = 5  # who waits is compared with the lanes so often even when nothing was heard
PATIENCE_SECONDS = (0.05, 5)  # after a vain try: doubled from the first to the second
HERE_SECONDS = 30  # between two notes that those who wait are here
LANE_COUNT = 64  # no need to count a lane further

CLAIMS = {"/api/v1/tasks/claim": False, "/api/tasks/claim": True}
LISTENS = {"/api/v1/tasks/listen": False, "/api/tasks/listen": True}
WAKING_KINDS = frozenset({"venture.changed", "agent.changed", "agent.claimed", "fleet.thawed", "task.updated"})


@dataclass(frozen=True)
class Fit:
    """What somebody who waits can take: what its claim would look at, read once."""

    agent: int
    slug: str
    skills: frozenset[str]
    venture: int | None
    joined: frozenset[int]

    def takes(self, lane: Lane) -> bool:
        return (
            (lane.assignee is None or lane.assignee == self.agent)
            and (self.venture is None or self.venture == lane.venture)
            and (lane.open_to_all or lane.venture in self.joined)
            and lane.capabilities <= self.skills
        )


@dataclass
class Lane:
    """A lane that offers something now, and how many tasks (up to LANE_COUNT, within the venture's limit)."""

    venture: int
    assignee: int | None
    open_to_all: bool
    capabilities: frozenset[str]
    offered: int


Attempt = Callable[[float], tuple[ClaimAnswer, Fit | None]]  # seconds waited so far → answer; Fit when it may wait more


class Waiter:
    """One open request in the line. `greedy`: it takes a task; a listener only hears of it."""

    def __init__(self, fit: Fit, greedy: bool) -> None:
        self.fit, self.greedy = fit, greedy
        self.called = asyncio.Event()
        self.vain = 0  # tries in a row that found nothing
        self.quiet_until = 0.0
        self.stale = False  # the agent itself changed: its fit may be another


class Line:
    """Those who wait in this process, in the order in which they came. Lives on the server's loop."""

    def __init__(self) -> None:
        self.waiters: dict[Waiter, None] = {}
        self.turns = asyncio.Semaphore(TURNS)
        self.nudge = live.Nudge()
        self.watch: asyncio.Task[None] | None = None
        self.leaving = False

    async def wait(
        self,
        attempt: Attempt,
        first: ClaimAnswer,
        fit: Fit,
        receive: Receive,
        threads: ThreadPoolExecutor,
        greedy: bool,
    ) -> ClaimAnswer | None:
        """The answer, at the latest when the time is over; None when the client has gone."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        gone = asyncio.ensure_future(_until_disconnect(receive))
        waiter = Waiter(fit, greedy)
        self.waiters[waiter] = None
        metrics.waiting.set(len(self.waiters))
        self._watch(loop)
        try:
            reply = first
            while reply.wait_more and not self.has_left():
                left = first.wait_more - (loop.time() - began)
                called = asyncio.ensure_future(waiter.called.wait())
                await asyncio.wait({called, gone}, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
                called.cancel()
                async with self.turns:
                    await asyncio.sleep(0)  # let a hang-up that has arrived be seen before anything is taken
                    if gone.done():
                        return None
                    if self.has_left():
                        return reply
                    waiter.called.clear()
                    waiter.stale = False
                    reply, still = await loop.run_in_executor(threads, attempt, loop.time() - began)
                if reply.wait_more and still is not None:
                    self._was_in_vain(waiter, still, loop)
                elif still is None:
                    break
            return reply
        finally:
            gone.cancel()
            del self.waiters[waiter]
            metrics.waiting.set(len(self.waiters))

    def _was_in_vain(self, waiter: Waiter, fit: Fit, loop: asyncio.AbstractEventLoop) -> None:
        """It is asked again later and later while what it could take goes to others or is held back."""
        waiter.fit = fit
        least, most = PATIENCE_SECONDS
        pause = min(least * 2**waiter.vain, most)
        waiter.vain += 1
        waiter.quiet_until = loop.time() + pause
        loop.call_later(pause, self.nudge.set)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.watch is None or self.watch.done():
            live.tail().on_ping.add(self._hear)
            self.watch = loop.create_task(self._keep_watch())
        else:
            self.nudge.set()

    def _hear(self, content: dict[str, Any]) -> None:
        if "offered" in content:
            self.nudge.set()

    async def _keep_watch(self) -> None:
        """While anybody waits: look who can be called, whenever something may be on offer. Who waits is here."""
        noted = asyncio.get_running_loop().time()
        while self.waiters:
            try:
                async with aclosing(live.follow(None, _may_offer, nudge=self.nudge, idle_seconds=LOOK_SECONDS)) as news:
                    async for _, events in news:
                        if not self.waiters:
                            return
                        self._note_changes(events)
                        self._call(await live.tail().query(offering_lanes))
                        if asyncio.get_running_loop().time() - noted >= HERE_SECONDS:
                            noted = asyncio.get_running_loop().time()
                            await live.tail().query(roster.note_connected, {waiter.fit.slug for waiter in self.waiters})
            except Exception as error:
                logger.warning("cannot look for work on offer, trying again: %s", error)
                await asyncio.sleep(1)

    def _note_changes(self, events: list[Event]) -> None:
        changed = {event.agent for event in events if event.kind.startswith("agent.")}
        if changed:
            for waiter in self.waiters:
                waiter.stale = waiter.stale or waiter.fit.slug in changed

    def _call(self, lanes: list[Lane]) -> None:
        """Call as many as there are tasks, in the order in which they came."""
        now = asyncio.get_running_loop().time()
        for waiter in self.waiters:
            if waiter.stale:
                waiter.called.set()
                continue
            if waiter.quiet_until > now:
                continue
            for lane in lanes:
                if lane.offered > 0 and waiter.fit.takes(lane):
                    lane.offered -= waiter.greedy
                    waiter.called.set()
                    break

    def has_left(self) -> bool:
        return self.leaving

    def leave(self) -> None:
        """The server goes away: everybody gets the answer there is."""
        self.leaving = True
        for waiter in self.waiters:
            waiter.called.set()


def _may_offer(event: Event) -> bool:
    """Whether there may be something for somebody who waits after this line."""
    return (
        event.status_to in (READY, ASSIGNED)
        or event.status_from == IN_PROGRESS  # room under a limit
        or event.kind in WAKING_KINDS
    )


def offering_lanes() -> list[Lane]:
    """The lanes of active ventures in which something is on offer; none while the fleet is frozen.

    One probe of the index task_queue for each lane, and a second statement where a venture limits what is in progress.
    """
    capabilities = "l.capabilities::text" if connection.vendor == "postgresql" else "l.capabilities"
    rows = sql.rows(
        f"""SELECT * FROM (
            SELECT v.id AS venture, l.assignee_id, v.open_to_all, v.wip_limits, {capabilities},
                   (SELECT COUNT(*) FROM (SELECT 1 AS one FROM tasks_task t WHERE t.lane_id = l.id AND t.offered
                     LIMIT {LANE_COUNT}) AS seen) AS offered
              FROM tasks_lane l JOIN ventures_venture v ON v.id = l.venture_id WHERE v.status = 'active'
                   AND NOT EXISTS (SELECT 1 FROM mission_control_fleet WHERE frozen_at IS NOT NULL)
           ) AS lanes WHERE offered > 0"""  # noqa: S608  # constants
    )
    lanes, rooms = [], {}
    for venture, assignee, open_to_all, limits, words, offered in rows:
        limit = _decoded(limits).get("in_progress")
        if limit is not None:
            if venture not in rooms:
                rooms[venture] = limit - Task.objects.filter(venture=venture, status=IN_PROGRESS).count()
            offered = min(offered, rooms[venture])
        lanes.append(Lane(venture, assignee, bool(open_to_all), frozenset(_decoded(words)), offered))
    return lanes


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


# ── claim ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def claim(line: Line, threads: ThreadPoolExecutor, scope: Scope, receive: Receive, send: Send) -> None:
    """POST …/tasks/claim."""
    headers = headers_of(scope)
    call: dict[str, Any] = {
        "headers": headers,
        "body": await read_bytes(scope, receive),
        "bare": CLAIMS[scope["path"]],
        "remote": (scope.get("client") or ("",))[0],
        "query": scope["query_string"].decode("latin-1"),
    }
    attempt = functools.partial(live.with_connection, _try_claim, call)
    loop = asyncio.get_running_loop()
    reply: ClaimAnswer | None
    reply, fit = await loop.run_in_executor(threads, attempt, 0.0)
    if fit is not None:
        reply = await line.wait(attempt, reply, fit, receive, threads, greedy=True)
    if reply is not None:
        metrics.note_claim(reply.status, reply.content)
        await answer(send, reply.status, reply.content, reply.headers)


def _try_claim(call: dict[str, Any], waited: float) -> tuple[ClaimAnswer, Fit | None]:
    reply = answer_claim(**call, waited=waited)
    if not reply.wait_more:
        return reply, None
    try:
        return reply, _fit_of(call, read_wish(call["body"], call["bare"]))
    except Refused:  # it was changed in between: the next try says so
        return reply._replace(wait_more=0.0), None


def _fit_of(call: dict[str, Any], asked: Any) -> Fit:
    remote = callers.remote_of(call["remote"], call["headers"])
    actor = callers.require(callers.identify(call["headers"], remote, call["query"]), "read")
    if asked.agent:
        actor = act_for(actor, asked.agent)
    return fit(actor.agent, asked.wish)


def fit(agent: Agent, wish: Wish) -> Fit:
    skills = set(agent.capabilities)
    if wish.capabilities is not None:
        skills &= set(wish.capabilities)
    joined = frozenset(agent.ventures.values_list("pk", flat=True))
    return Fit(agent.pk, agent.slug, frozenset(skills), wish.venture.pk if wish.venture else None, joined)


# ── listen ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def listen(line: Line, threads: ThreadPoolExecutor, scope: Scope, receive: Receive, send: Send) -> None:
    """GET …/tasks/listen: 200 with what this agent could claim as soon as there is something, 204 at the end."""
    call: dict[str, Any] = {
        "headers": headers_of(scope),
        "bare": LISTENS[scope["path"]],
        "remote": (scope.get("client") or ("",))[0],
        "query": scope["query_string"].decode("latin-1"),
    }
    attempt = functools.partial(live.with_connection, _try_listen, call)
    loop = asyncio.get_running_loop()
    reply: ClaimAnswer | None
    reply, found = await loop.run_in_executor(threads, attempt, 0.0)
    if found is not None:
        reply = await line.wait(attempt, reply, found, receive, threads, greedy=False)
    if reply is not None:
        await answer(send, reply.status, reply.content, reply.headers)


def _try_listen(call: dict[str, Any], waited: float) -> tuple[ClaimAnswer, Fit | None]:
    try:
        remote = callers.remote_of(call["remote"], call["headers"])
        actor = callers.identify(call["headers"], remote, call["query"])
        actor = callers.require(actor, "work", "orchestrate")
        if not waited:
            callers.note_seen(actor)
        timeout, wish = _asked_in(call["query"])
        pending = claiming.pending(actor, wish)
        if pending:
            around, moment = Around(pending), log.now()
            tasks = [task_shape(task, around, moment, bare=call["bare"]) for task in pending]
            return ClaimAnswer(200, strict_json.write(tasks if call["bare"] else {"tasks": tasks}), {}), None
        return ClaimAnswer(204, b"", {}, max(0.0, timeout - waited)), fit(actor.agent, wish)
    except Refused as refused:
        return ClaimAnswer(*idempotency.refusal(refused)), None


def _asked_in(query: str) -> tuple[float, Wish]:
    """`timeout` in seconds, `capabilities` as a comma list, `venture`, `idle_work`: true or false. Invalid by field."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    try:
        timeout = float(given.get("timeout", LISTEN_SECONDS))
    except ValueError:
        timeout = -1.0
    if not 0 <= timeout <= MOST_LISTEN_SECONDS:
        raise Invalid({"timeout": f"Between 0 and {MOST_LISTEN_SECONDS} seconds."})
    try:
        wish = Wish(idle_work=flag(given.get("idle_work", "false")))
    except ValueError:
        raise Invalid({"idle_work": "Give true or false."}) from None
    if "capabilities" in given:
        wish.capabilities = [word.strip() for word in given["capabilities"].split(",") if word.strip()]
    if "venture" in given:
        wish.venture = Venture.objects.filter(slug=given["venture"]).first()
        if wish.venture is None:
            raise Invalid({"venture": "There is no such venture."})
    return timeout, wish


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def headers_of(scope: Scope) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
