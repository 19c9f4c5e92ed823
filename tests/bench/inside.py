"""A Django process of the benchmark: reads calls from standard input, answers on standard output, one JSON line each.

It makes what a section needs in its database, measures what can only be measured inside, and counts what is really
there. `{"call": "load", "tasks": 1000, "urgent": 200}` calls `load(tasks=1000, urgent=200)`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402 - Django has to be set up first
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import connection, connections, transaction  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from agents import keys as agent_keys  # noqa: E402
from mission_control import log  # noqa: E402
from mission_control.actors import SCOPE_ABILITIES, Actor, system  # noqa: E402
from mission_control.models import Activity, User  # noqa: E402
from tasks import claiming, transitions  # noqa: E402
from tasks import models as task_models  # noqa: E402
from tasks.models import Task  # noqa: E402
from tasks.teamwork import collaboration  # noqa: E402
from tasks.vocabulary import URGENT  # noqa: E402
from tests.bench import load as bulk  # noqa: E402
from tests.bench.report import percentile  # noqa: E402

# ── what sections ask for ───────────────────────────────────────────────────────────────────────────────────────────


def load(tasks: int, urgent: int) -> None:
    bulk.load(tasks, urgent)


def refill(count: int) -> None:
    """Bring the queue to `count` ready tasks that any of our agents may take."""
    bulk.add_ready(count - Task.objects.filter(status="ready", offered=True).count())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE tasks_task")


def crowd(comments: int, dependants: int) -> str:
    """The code of a ready task that so many comments were made on and that so many others wait for."""
    director, me = system("bench"), Actor("user", "bench", frozenset({"read", "operate"}))
    task = transitions.create(director, title="Everybody waits for this one", priority=URGENT)
    for start in range(0, dependants, 500):
        many = [{"title": f"Waiting {n}", "depends_on": [task]} for n in range(start, min(start + 500, dependants))]
        transitions.create_many(director, many)
    for start in range(0, comments, 100):
        with log.unit():
            for n in range(start, min(start + 100, comments)):
                collaboration.comment(me, task.code, f"Remark {n}: what about the **deadline**?")
    return task.code


def waiting_for(code: str) -> int:
    """How many are still blocked by this task."""
    return Task.objects.filter(dependencies__depends_on__code=code, status="blocked").count()


def settle() -> None:
    """What a database does by itself in time: statistics, dead rows, dirty pages. Not during a measurement."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM (ANALYZE)")
            cursor.execute("CHECKPOINT")
        else:
            cursor.execute("ANALYZE")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.sync()


def keys(count: int) -> list[str]:
    """Secrets of keys that may work, one for each of the first `count` agents."""
    return [agent_keys.create(system("bench"), agent)[1] for agent in bulk.agents()[:count]]


def session() -> str:
    """The Cookie header of a signed-in operator."""
    user, _ = User.objects.get_or_create(username="bench-operator", defaults={"role": "operator"})
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    return f"{settings.SESSION_COOKIE_NAME}={store.session_key}"


def user(username: str, password: str) -> None:
    """An operator who can sign in."""
    User.objects.create_user(username, password=password, role="operator")


def counts() -> dict[str, dict[str, dict[str, int]]]:
    """Per venture and status: what the board reads, and what is really there. Both in one snapshot."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        shown = log.counts_by_venture()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT v.slug, t.status, COUNT(*) FROM tasks_task t JOIN ventures_venture v ON v.id = t.venture_id"
                " GROUP BY v.slug, t.status"
            )
            real: dict[str, dict[str, int]] = {}
            for slug, status, number in cursor.fetchall():
                real.setdefault(slug, {})[status] = number
    return {"shown": shown, "real": real}


def claimed() -> dict[str, int]:
    """How many claims the log holds, how many different tasks they name, how many tasks are in progress."""
    lines = Activity.objects.filter(kind="task.claimed")
    return {
        "recorded": lines.count(),
        "tasks": lines.values("task").distinct().count(),
        "in_progress": Task.objects.filter(status="in_progress").count(),
    }


def numbers() -> dict[str, int]:
    """Whether the log is dense: as many lines as the newest number says, from 1 on."""
    head = log.head()
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*), COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM mission_control_activity")
        count, first, last = cursor.fetchone()
    return {"head": head, "lines": count, "first": first, "last": last}


def committed_at(after: int) -> dict[str, float]:
    """`{number: Unix time of its commit}` as PostgreSQL kept it, for the activities after `after`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, EXTRACT(EPOCH FROM pg_xact_commit_timestamp(xmin)) FROM mission_control_activity WHERE seq > %s",
            [after],
        )
        return {str(seq): float(at) for seq, at in cursor.fetchall()}


# ── the claim statements ────────────────────────────────────────────────────────────────────────────────────────────


def claim_statements(times: int) -> dict[str, list[float]]:
    """Milliseconds of the two statements that find and lock the next task, in transactions that are rolled back."""
    agent = bulk.agents()[0]
    heads_ms, lock_ms = [], []
    for _ in range(times):
        with transaction.atomic():
            started = time.perf_counter()
            heads = claiming.lane_heads(agent)
            found = time.perf_counter()
            task = task_models.lock_head(heads[0][0])
            locked = time.perf_counter()
            if task is None or bulk.SCARCE in task.required_capabilities:
                raise AssertionError("the claim found nothing, or what this agent cannot do")
            transaction.set_rollback(True)
        heads_ms.append((found - started) * 1000)
        lock_ms.append((locked - found) * 1000)
    return {"heads": heads_ms, "lock": lock_ms}


def whole_claims(times: int) -> list[float]:
    """Milliseconds of claims that really happen, with their session, activity and commit."""
    agent = bulk.agents()[0]
    actor = Actor("agent", agent.slug, SCOPE_ABILITIES["work"], agent=agent)
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        if not claiming.claim_next(actor, claiming.Wish(lease_seconds=3600)):
            raise AssertionError("nothing was left to claim")
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def claim_plans() -> dict[str, list[str]]:
    """How the database reads the table of tasks in each statement of one claim: a line for each step that touches it."""
    agent = bulk.agents()[0]
    actor = Actor("agent", agent.slug, SCOPE_ABILITIES["work"], agent=agent)
    with CaptureQueriesContext(connection) as captured:
        claiming.claim_next(actor, claiming.Wish(lease_seconds=3600))
    statements = [query["sql"] for query in captured.captured_queries if "tasks_task" in query["sql"]]
    plans = {" ".join(statement.split())[:60]: _task_steps(statement) for statement in statements}
    return {statement: steps for statement, steps in plans.items() if steps}


def _task_steps(statement: str) -> list[str]:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
            return [row[3] for row in cursor.fetchall() if row[3].split()[1] in ("t", "tasks_task")]
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
        [(plan,)] = cursor.fetchall()
        plan = json.loads(plan) if isinstance(plan, str) else plan
    steps: list[str] = []

    def walk(node: dict[str, Any]) -> None:
        if node.get("Relation Name") == "tasks_task" and node["Node Type"] != "ModifyTable":
            steps.append(f"{node['Node Type']} {node.get('Index Name', '')}".strip())
        for child in node.get("Plans", ()):
            walk(child)

    walk(plan[0]["Plan"])
    return steps


# ── writers of the log ──────────────────────────────────────────────────────────────────────────────────────────────


def write_lines(writers: int, seconds: float) -> dict[str, Any]:
    """Units with one recorded activity each, from that many processes at once. All start at the same moment."""
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()
    context = multiprocessing.get_context("fork")
    ready, results = context.Barrier(writers + 1), context.Queue()
    processes = [
        context.Process(target=_write_lines, args=(place, seconds, ready, results)) for place in range(writers)
    ]
    for process in processes:
        process.start()
    ready.wait(60)
    found = [results.get(timeout=seconds + 60) for _ in processes]
    for process in processes:
        process.join()
    taken = [ms for _, _, times in found for ms in times]
    rates = [done / spent for done, spent, _ in found]
    return {
        "units": sum(done for done, _, _ in found),
        "per_second": sum(rates),
        "median_ms": percentile(taken, 0.5),
        "p95_ms": percentile(taken, 0.95),
    }


def _write_lines(place: int, seconds: float, ready: Any, results: Any) -> None:
    actor = system(f"writer {place}")

    @log.verb
    def write(number: int) -> None:
        log.record("activity.logged", actor, task="b0000001", title="Bench", message=f"Line {number} of writer {place}")

    write(0)
    ready.wait(60)
    started, number, taken = time.perf_counter(), 0, []
    until = started + seconds
    while True:
        before = time.perf_counter()
        if before >= until:
            break
        number += 1
        write(number)
        taken.append((time.perf_counter() - before) * 1000)
    results.put((number, time.perf_counter() - started, taken))
    results.close()
    results.join_thread()
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what anything else prints must not stand between the answers
    functions: dict[str, Callable[..., Any]] = {
        name: value
        for name, value in globals().items()
        if callable(value) and getattr(value, "__module__", "") == __name__
    }
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer: dict[str, Any] = {"result": functions[call.pop("call")](**call)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=answers, flush=True)
    connections.close_all()


if __name__ == "__main__":
    main()
