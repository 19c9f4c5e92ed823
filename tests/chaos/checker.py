"""Judges a run of many clients: reads their raw histories and the database, and says which promises were broken.

A program of its own: it shares no code with the product or with the simulator, and reads the tables by plain SQL.

    python tests/chaos/checker.py --database URL --history FILE … [--log FILE …] [--least-refused 100]

It prints what it looked at and every finding, and exits with 1 when there is one. What the lines of a history hold is
told in tasks/demo/fleet_client.py; the promises are those of the README of the specification: one owner, zombies cannot
write, a 2xx is durable, no limbo, one change is one activity.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import dataclasses
import decimal
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

OVER = {"lease_lost", "cancelled", "paused"}
FENCED = {"heartbeat", "progress", "deliver", "complete", "fail", "release", "block"}
ENDING = {"complete", "fail", "release", "block"}
KIND_OF = {
    "progress": "task.progressed", "complete": "task.completed", "fail": "task.failed", "release": "task.released",
    "block": "task.blocked",
}  # fmt: skip
MARK = re.compile(r"⟨[^⟩]+⟩")
SHOWN = 12  # findings of each kind that are printed
LATE_SECONDS = 15.0  # an expired lease comes back by itself within this time

# From which status to which the log may move a task, by kind: written down anew from the specification.
REST = {"blocked", "inbox", "review", "assigned", "ready"}
QUEUES = {"inbox", "ready", "assigned"}
OPEN = {"inbox", "ready", "assigned", "in_progress", "paused", "blocked", "review", "failed"}
MOVES: dict[str, tuple[set[str], set[str]]] = {
    "task.created": ({""}, {"inbox", "ready", "assigned", "blocked"}),
    "task.updated": (OPEN | {"done", "cancelled"}, OPEN | {"done", "cancelled"}),
    "task.moved": (QUEUES, QUEUES),
    "task.claimed": ({"ready", "assigned"}, {"in_progress"}),
    "task.processed": (QUEUES | {"paused"}, {"assigned"}),
    "task.unacknowledged": ({"assigned"}, {"ready"}),
    "task.started": ({"ready", "assigned"}, {"in_progress"}),
    "task.released": ({"in_progress"}, REST | {"failed"}),
    "task.failed": ({"in_progress"}, REST | {"failed"}),
    "task.expired": ({"in_progress"}, REST | {"failed"}),
    "task.blocked": (OPEN - {"blocked"}, {"blocked"}),
    "task.unblocked": ({"blocked"}, REST | {"failed"}),
    "task.paused": (OPEN - {"paused"}, {"paused"}),
    "task.resumed": ({"paused"}, REST | {"failed"}),
    "task.completed": ({"in_progress", "assigned"}, {"review", "done"}),
    "task.accepted": ({"review"}, {"done"}),
    "task.returned": ({"review"}, {"assigned", "ready", "blocked"}),
    "task.cancelled": (OPEN, {"cancelled"}),
    "task.reopened": ({"done", "cancelled"}, {"ready", "blocked"}),
    "task.retried": ({"failed"}, {"ready", "assigned", "blocked"}),
    "task.deleted": (OPEN | {"done", "cancelled"}, {""}),
}


# ── what the clients saw ────────────────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass
class Try:
    """One sending of an operation: `status` None while no answer came (lost, or the client died)."""

    sent: float
    answered: float | None = None
    status: int | None = None
    body: Any = None
    retry_after: str | None = None
    replayed: bool = False


@dataclasses.dataclass
class Operation:
    """What a client wanted once, however often it had to send it."""

    name: str
    client: str
    agent: str
    verb: str
    path: str
    body: Any
    key: str
    epoch: int | None
    task: str
    zombie: bool
    tries: list[Try] = dataclasses.field(default_factory=list)

    @property
    def sent(self) -> float:
        return self.tries[0].sent

    @property
    def answers(self) -> list[Try]:
        """The answers that settle it; 503 and 429 ask to come again and say nothing about the effect."""
        return [one for one in self.tries if one.status is not None and one.status not in (503, 429)]

    @property
    def done(self) -> Try | None:
        """Its first 2xx."""
        return next((one for one in self.answers if 200 <= (one.status or 0) < 300), None)

    @property
    def refused(self) -> bool:
        """Answered, and never with a 2xx: it must have had no effect of its own."""
        return bool(self.answers) and self.done is None

    @property
    def code(self) -> str:
        bodies = [one.body for one in self.answers if isinstance(one.body, dict)]
        return str(bodies[-1].get("code", "")) if bodies else ""

    @property
    def marks(self) -> set[str]:
        return set(MARK.findall(json.dumps(self.body, ensure_ascii=False))) if self.body else set()


@dataclasses.dataclass
class Claimed:
    """A claim that was acknowledged: `at` is when its client knew."""

    task: str
    epoch: int
    agent: str
    session: str
    at: float
    operation: Operation


class Histories:
    """All lines of all files, as operations, and what readers of the log were shown."""

    def __init__(self, files: Iterable[str | Path]) -> None:
        self.operations: dict[str, Operation] = {}
        self.shown: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)  # by reader
        self.torn = 0
        for file in files:
            with open(file, "rb") as lines:
                for raw in lines:
                    self._take(raw)
        self.all = list(self.operations.values())
        self.claims = [claim for operation in self.all for claim in _claims_of(operation)]
        self.known_epochs = self._known_epochs()

    def _take(self, raw: bytes) -> None:
        try:
            line = json.loads(raw)
        except ValueError:
            self.torn += 1  # a client that was killed while it wrote: its last line
            return
        kind = line["line"]
        if kind == "call":
            operation = self.operations.setdefault(
                line["op"],
                Operation(
                    line["op"], line["client"], line["agent"], line["verb"], line["path"], line["body"], line["key"],
                    line["epoch"] if line.get("epoch") is not None else line.get("under"), line.get("task", ""),
                    bool(line.get("zombie")),
                ),
            )  # fmt: skip
            operation.tries.append(Try(line["mono"]))
        elif kind == "answer":
            last = self.operations[line["op"]].tries[-1]
            last.answered, last.status, last.body = line["mono"], line["status"], line["answer"]
            last.retry_after, last.replayed = line.get("retry_after"), bool(line.get("replayed"))
        elif kind == "event":
            self.shown[line["reader"]].append(line)

    def _known_epochs(self) -> dict[str, tuple[list[float], list[int]]]:
        """For each task: times at which somebody knew its epoch, and the largest epoch known by then."""
        facts: dict[str, list[tuple[float, int]]] = collections.defaultdict(list)
        for claim in self.claims:
            facts[claim.task].append((claim.at, claim.epoch))
        for operation in self.all:
            for one in operation.tries:
                task = _task_in(one.body)
                if operation.verb == "look" and one.answered is not None and task:
                    facts[task["id"]].append((one.answered, int(task["epoch"])))
        known = {}
        for task_id, pairs in facts.items():
            pairs.sort()
            times, epochs, top = [], [], 0
            for at, epoch in pairs:
                top = max(top, epoch)
                times.append(at)
                epochs.append(top)
            known[task_id] = (times, epochs)
        return known

    def epoch_known_before(self, task: str, moment: float) -> int:
        times, epochs = self.known_epochs.get(task, ([], []))
        place = bisect.bisect_left(times, moment)
        return epochs[place - 1] if place else 0


def _claims_of(operation: Operation) -> Iterator[Claimed]:
    if operation.verb != "claim":
        return
    for one in operation.tries:
        if one.status != 200 or not isinstance(one.body, dict) or one.answered is None:
            continue
        for given in one.body.get("tasks") or ([one.body["task"]] if one.body.get("task") else []):
            yield Claimed(
                given["id"], int(given.get("epoch", one.body.get("epoch"))), operation.agent,
                str(given.get("session_key", "")), one.answered, operation,
            )  # fmt: skip


def _task_in(body: Any) -> dict[str, Any] | None:
    if not isinstance(body, dict):
        return None
    task = body.get("task", body)
    return task if isinstance(task, dict) and "epoch" in task and "id" in task else None


# ── what the database holds ─────────────────────────────────────────────────────────────────────────────────────────

TABLES = {
    "tasks": "SELECT t.*, v.slug AS venture, a.slug AS assignee, h.slug AS holder FROM tasks_task t"
    " JOIN ventures_venture v ON v.id = t.venture_id LEFT JOIN agents_agent a ON a.id = t.assignee_id"
    " LEFT JOIN agents_agent h ON h.id = t.holder_id",
    "log": "SELECT seq, kind, actor_type, actor, venture, venture_from, task, agent, session, status_from, status_to,"
    " message, data FROM mission_control_activity ORDER BY seq",
    "sessions": "SELECT s.*, a.slug AS agent, t.code AS task FROM tasks_session s JOIN agents_agent a ON a.id = s.agent_id"
    " LEFT JOIN tasks_task t ON t.id = s.task_id",
    "ledger": "SELECT * FROM ventures_ledgerentry",
    "deliverables": "SELECT d.*, t.code AS task FROM tasks_deliverable d JOIN tasks_task t ON t.id = d.task_id",
    "dependencies": "SELECT d.id, t.code AS task, p.code AS prerequisite, p.status AS status FROM tasks_dependency d"
    " JOIN tasks_task t ON t.id = d.task_id JOIN tasks_task p ON p.id = d.depends_on_id",
    "ventures": "SELECT * FROM ventures_venture",
    "fleet": "SELECT * FROM mission_control_fleet",
    "counts": "SELECT * FROM mission_control_statuscount",
    "marks": "SELECT * FROM mission_control_watermark",
    "lanes": "SELECT l.*, v.slug AS venture, a.slug AS assignee FROM tasks_lane l JOIN ventures_venture v"
    " ON v.id = l.venture_id LEFT JOIN agents_agent a ON a.id = l.assignee_id",
}  # fmt: skip
JSON_COLUMNS = {"data", "capabilities", "required_capabilities", "tags", "wip_limits"}


class Tables:
    """Every table that matters, read in one transaction. `overdue`: leases that ran out long ago, with the seconds."""

    tasks: list[dict[str, Any]]
    log: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    deliverables: list[dict[str, Any]]
    dependencies: list[dict[str, Any]]
    ventures: list[dict[str, Any]]
    fleet: list[dict[str, Any]]
    counts: list[dict[str, Any]]
    marks: list[dict[str, Any]]
    lanes: list[dict[str, Any]]

    def __init__(self, url: str) -> None:
        read, clock, close = _sqlite(url) if url.startswith("sqlite") else _postgresql(url)
        for name, statement in TABLES.items():
            setattr(self, name, read(statement))
        seconds = {"sqlite": f"(julianday({clock}) - julianday(lease_expires_at)) * 86400"}.get(
            "sqlite" if url.startswith("sqlite") else "", f"EXTRACT(EPOCH FROM {clock} - lease_expires_at)"
        )
        self.overdue = read(
            f"SELECT code, {seconds} AS late FROM tasks_task WHERE status = 'in_progress' AND lease_expires_at IS NOT NULL"
        )
        close()
        self.by_code = {task["code"]: task for task in self.tasks}
        self.by_task: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for line in self.log:
            if line["task"]:
                self.by_task[line["task"]].append(line)
        self.effects = self._effects()

    def _effects(self) -> dict[str, list[dict[str, Any]]]:
        """Mark → the lines of the log that carry it."""
        found: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
        for line in self.log:
            text = line["message"] + json.dumps(line["data"], ensure_ascii=False)
            for mark in set(MARK.findall(text)):
                found[mark].append(line)
        return found


Read = Callable[[str], list[dict[str, Any]]]


def _postgresql(url: str) -> tuple[Read, str, Callable[[], None]]:
    import psycopg
    from psycopg.rows import dict_row

    connection = psycopg.connect(url, row_factory=dict_row, autocommit=False)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    def read(statement: str) -> list[dict[str, Any]]:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]

    return read, "clock_timestamp()", connection.close


def _sqlite(url: str) -> tuple[Read, str, Callable[[], None]]:
    path = unquote(urlsplit(url).path)
    path = path[1:] if path.startswith("//") else path
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("BEGIN")

    def read(statement: str) -> list[dict[str, Any]]:
        rows = [dict(row) for row in connection.execute(statement)]
        for row in rows:
            for name in JSON_COLUMNS & row.keys():
                row[name] = json.loads(row[name]) if row[name] is not None else None
        return rows

    return read, "'now'", connection.close


# ── promise 1: one owner ────────────────────────────────────────────────────────────────────────────────────────────


def one_owner_per_epoch(seen: Histories, db: Tables) -> Iterator[str]:
    owners: dict[tuple[str, int], set[str]] = collections.defaultdict(set)
    for claim in seen.claims:
        owners[claim.task, claim.epoch].add(claim.operation.name)
    for (task, epoch), operations in sorted(owners.items()):
        if len(operations) > 1:
            yield f"epoch {epoch} of {task} was given to {len(operations)} claims: {', '.join(sorted(operations))}"


def a_claim_that_is_repeated_is_the_same_claim(seen: Histories, db: Tables) -> Iterator[str]:
    given: dict[str, set[frozenset[tuple[str, int]]]] = collections.defaultdict(set)
    for operation in seen.all:
        if operation.verb != "claim":
            continue
        for one in operation.tries:
            if one.status == 200 and isinstance(one.body, dict):
                tasks = one.body.get("tasks") or ([one.body["task"]] if one.body.get("task") else [])
                given[operation.name].add(
                    frozenset((t["id"], int(t.get("epoch", one.body.get("epoch") or 0))) for t in tasks)
                )
    for name, answers in given.items():
        if len(answers) > 1:
            yield f"{name} was repeated with the same Idempotency-Key and got {[sorted(one) for one in answers]}"
    per_session = collections.Counter(line["session"] for line in db.log if line["kind"] == "task.claimed")
    asked = {
        operation.body["session_key"]: operation
        for operation in seen.all
        if operation.verb == "claim" and isinstance(operation.body, dict) and operation.body.get("session_key")
    }
    for session, operation in asked.items():
        if per_session[session] > int(operation.body.get("limit", 1)):
            yield f"{operation.name} asked for one task and the log holds {per_session[session]} claims of it"


def epochs_rise_in_time(seen: Histories, db: Tables) -> Iterator[str]:
    """Whoever asks after an epoch of the task was known gets a larger one."""
    for claim in seen.claims:
        before = seen.epoch_known_before(claim.task, claim.operation.sent)
        if claim.epoch <= before:
            yield f"{claim.operation.name} got epoch {claim.epoch} of {claim.task} when {before} was known already"


def the_log_raises_epochs_one_by_one(seen: Histories, db: Tables) -> Iterator[str]:
    for code, lines in db.by_task.items():
        epochs = [line["data"].get("epoch") for line in lines if line["kind"] in ("task.claimed", "task.started")]
        if epochs != list(range(1, len(epochs) + 1)):
            yield f"the log gives {code} the epochs {epochs[:20]}"
        task = db.by_code.get(code)
        if task and task["epoch"] != len(epochs):
            yield f"{code} stands at epoch {task['epoch']}, the log claimed it {len(epochs)} times"


# ── promise 2: zombies cannot write ─────────────────────────────────────────────────────────────────────────────────


def _too_late(seen: Histories, operation: Operation) -> bool:
    """Before it was sent, some client knew of a later epoch of that task."""
    if operation.verb not in FENCED or operation.epoch is None or not operation.task:
        return False
    return seen.epoch_known_before(operation.task, operation.sent) > operation.epoch


def zombies_are_refused(seen: Histories, db: Tables) -> Iterator[str]:
    for operation in seen.all:
        if not (operation.zombie or _too_late(seen, operation)):
            continue
        for one in operation.answers:
            if one.status == 404:
                continue
            code = one.body.get("code") if isinstance(one.body, dict) else None
            if one.status != 409 or code not in OVER:
                yield (
                    f"{operation.name}: {operation.verb} of {operation.task} under the old epoch {operation.epoch}"
                    f" was answered {one.status} {code}"
                )


def zombies_change_nothing(seen: Histories, db: Tables) -> Iterator[str]:
    """A refused write left no line of its own kind; what it made is kept as orphaned, once."""
    for operation in seen.all:
        if operation.verb not in FENCED or not operation.refused:
            continue
        lines = [line for mark in operation.marks for line in db.effects.get(mark, ())]
        for line in lines:
            if line["kind"] == "deliverable.added":
                if not line["data"].get("orphaned"):
                    yield f"{operation.name} was refused and its deliverable is in activity {line['seq']}, not orphaned"
            elif line["kind"] != "cost.recorded":
                yield f"{operation.name} was refused and left activity {line['seq']}, {line['kind']}"


def orphans_are_kept(seen: Histories, db: Tables) -> Iterator[str]:
    rows = collections.Counter(
        (mark, bool(row["orphaned"])) for row in db.deliverables for mark in MARK.findall(row["title"])
    )
    for operation in seen.all:
        if operation.verb not in ("deliver", "complete") or not operation.refused or operation.code not in OVER:
            continue
        if operation.task not in db.by_code or not _had_it(db, operation):
            continue
        made = 1 if operation.verb == "deliver" else len((operation.body or {}).get("deliverables", ()))
        for mark in operation.marks if made else ():
            if rows[mark, True] + rows[mark, False] != made:
                kept = rows[mark, True] + rows[mark, False]
                yield f"{operation.name} handed in {made} too late and {kept} of them are kept"


def _had_it(db: Tables, operation: Operation) -> bool:
    return any(
        line["kind"] == "task.claimed"
        and line["agent"] == operation.agent
        and line["data"].get("epoch") == operation.epoch
        for line in db.by_task.get(operation.task, ())
    )


def refused_zombie_writes(seen: Histories) -> int:
    """How many writes were provably too late and refused: the measure of how much this run proves."""
    return sum(
        1
        for operation in seen.all
        if operation.refused and operation.code in OVER and (operation.zombie or _too_late(seen, operation))
    )


# ── promise 3: a 2xx is durable ─────────────────────────────────────────────────────────────────────────────────────


def acknowledged_claims_are_there(seen: Histories, db: Tables) -> Iterator[str]:
    lines = {(line["task"], line["data"].get("epoch")): line for line in db.log if line["kind"] == "task.claimed"}
    sessions = {(row["task"], row["attempt"], row["agent"]) for row in db.sessions if row["type"] == "primary"}
    deleted = {line["task"] for line in db.log if line["kind"] == "task.deleted"}
    for claim in seen.claims:
        line = lines.get((claim.task, claim.epoch))
        if line is None:
            yield f"{claim.operation.name} was given epoch {claim.epoch} of {claim.task}, the log does not know of it"
        elif line["agent"] != claim.agent:
            yield f"epoch {claim.epoch} of {claim.task} was given to {claim.agent}, the log says {line['agent']}"
        if claim.task not in deleted and (claim.task, claim.epoch, claim.agent) not in sessions:
            yield f"{claim.operation.name} was given epoch {claim.epoch} of {claim.task} and it has no session"


def every_claim_was_asked_for(seen: Histories, db: Tables) -> Iterator[str]:
    asked = {
        (operation.agent, operation.body["session_key"])
        for operation in seen.all
        if operation.verb == "claim" and isinstance(operation.body, dict) and operation.body.get("session_key")
    }
    if not asked:
        return
    for line in db.log:
        if line["kind"] == "task.claimed" and (line["agent"], line["session"]) not in asked:
            yield f"activity {line['seq']} is a claim by {line['agent']} as {line['session']} that nobody asked for"


def acknowledged_writes_are_there_once(seen: Histories, db: Tables) -> Iterator[str]:
    for operation in seen.all:
        kind = KIND_OF.get(operation.verb)
        if kind is None or not operation.marks:
            continue
        lines = [line for mark in operation.marks for line in db.effects.get(mark, ()) if line["kind"] == kind]
        if operation.done and len(lines) != 1:
            yield f"{operation.name}: {operation.verb} of {operation.task} was answered 2xx and is in the log {len(lines)} times"
        elif len(lines) > 1:
            yield f"{operation.name}: {operation.verb} of {operation.task} is in the log {len(lines)} times"
        for line in lines:
            if (line["task"], line["data"].get("epoch")) != (operation.task, operation.epoch):
                yield f"{operation.name} wrote under epoch {operation.epoch} of {operation.task}, activity {line['seq']} says another"


def acknowledged_deliverables_are_there_once(seen: Histories, db: Tables) -> Iterator[str]:
    rows = collections.Counter(mark for row in db.deliverables for mark in MARK.findall(row["title"]))
    for operation in seen.all:
        if operation.verb not in ("deliver", "complete") or not operation.marks or operation.task not in db.by_code:
            continue
        made = 1 if operation.verb == "deliver" else len(operation.body.get("deliverables", ()))
        for mark in operation.marks:
            if rows[mark] > made or (operation.done and rows[mark] != made):
                yield f"{operation.name} handed in {made} and {rows[mark]} are there"


def created_tasks_are_there(seen: Histories, db: Tables) -> Iterator[str]:
    created = {line["task"] for line in db.log if line["kind"] == "task.created"}
    deleted = {line["task"] for line in db.log if line["kind"] == "task.deleted"}
    for operation in seen.all:
        if operation.verb != "create" or not operation.done or not isinstance(operation.done.body, dict):
            continue
        body = operation.done.body
        for task in body.get("tasks") or [body["task"]]:
            if task["id"] not in created:
                yield f"{operation.name} created {task['id']}, the log does not know of it"
            if task["id"] not in db.by_code and task["id"] not in deleted:
                yield f"{operation.name} created {task['id']}, it is gone"
    repeated = collections.Counter(
        tuple(sorted(task["id"] for task in one.body.get("tasks") or [one.body["task"]]))
        for operation in seen.all
        if operation.verb == "create"
        for one in operation.tries
        if one.status == 201 and isinstance(one.body, dict) and not one.replayed
    )
    for codes, n in repeated.items():
        if n > 1:
            yield f"{len(codes)} tasks were created {n} times"


def money_that_was_reported_is_booked(seen: Histories, db: Tables) -> Iterator[str]:
    """Per attempt the ledger holds the largest total that was acknowledged, and never more than the largest sent."""
    least: dict[tuple[str, str, int], int] = collections.defaultdict(int)
    most: dict[tuple[str, str, int], int] = collections.defaultdict(int)
    for operation in seen.all:
        if operation.verb not in FENCED or not isinstance(operation.body, dict) or operation.epoch is None:
            continue
        if "actual_cost" not in operation.body:
            continue
        attempt = (operation.task, operation.agent, operation.epoch)
        total = int(decimal.Decimal(operation.body["actual_cost"]) * 1_000_000)
        most[attempt] = max(most[attempt], total)
        if operation.done or (operation.refused and operation.code in OVER and _had_it(db, operation)):
            least[attempt] = max(least[attempt], total)
    booked: dict[tuple[str, str, int], int] = collections.defaultdict(int)
    for row in db.ledger:
        if row["kind"] == "cost":
            booked[row["task"], row["agent"], row["attempt"]] += row["amount_micro_usd"]
    for attempt in {*most, *booked}:
        if not least[attempt] <= booked[attempt] <= most[attempt]:
            yield (
                f"epoch {attempt[2]} of {attempt[0]} by {attempt[1]}: reported at least {least[attempt]} and at most"
                f" {most[attempt]}, the ledger holds {booked[attempt]}"
            )


# ── promise 4: no limbo ─────────────────────────────────────────────────────────────────────────────────────────────


def every_open_task_waits_for_something(seen: Histories, db: Tables) -> Iterator[str]:
    for task in db.tasks:
        if task["status"] not in OPEN:
            continue
        waits = (
            task["status"] in ("inbox", "paused", "review", "failed", "in_progress")
            or (task["status"] == "assigned" and not task["assignee"])
            or (task["status"] == "blocked" and (task["blockers_open"] > 0 or task["blocked_reason"]))
            or (task["status"] in ("ready", "assigned") and (task["offered"] or task["not_before"] is not None))
        )
        if not waits:
            yield f"{task['code']} is {task['status']}, is not offered and waits for nothing"


def leases_come_back(seen: Histories, db: Tables) -> Iterator[str]:
    for row in db.overdue:
        if float(row["late"]) > LATE_SECONDS:
            yield f"the lease of {row['code']} ran out {float(row['late']):.0f} s ago and nobody swept it"


def queues_hold_their_own(seen: Histories, db: Tables) -> Iterator[str]:
    lanes = {lane["id"]: lane for lane in db.lanes}
    for task in db.tasks:
        lane = lanes[task["lane_id"]]
        own = (task["venture"], task["assignee"], sorted(set(task["required_capabilities"])))
        if task["status"] in OPEN and own != (lane["venture"], lane["assignee"], lane["capabilities"]):
            yield f"{task['code']} stands in the queue of {lane['venture']}/{lane['assignee']}/{lane['capabilities']}"


# ── promise 5: one change, one activity ─────────────────────────────────────────────────────────────────────────────


def numbers_are_dense(seen: Histories, db: Tables) -> Iterator[str]:
    numbers = [line["seq"] for line in db.log]
    if numbers != list(range(1, len(numbers) + 1)):
        first = next(place for place, seq in enumerate(numbers, start=1) if seq != place)
        yield f"the log goes 1 … {first - 1} and then {numbers[first - 1]}"
    if db.fleet[0]["seq"] != len(numbers):
        yield f"the counter stands at {db.fleet[0]['seq']}, there are {len(numbers)} activities"


def readers_saw_everything_once(seen: Histories, db: Tables) -> Iterator[str]:
    kinds = {line["seq"]: (line["kind"], line["task"]) for line in db.log}
    for reader, events in seen.shown.items():
        numbers = [event["seq"] for event in events]
        wanted = list(range(numbers[0], numbers[0] + len(numbers))) if numbers else []
        if numbers != wanted:
            place = next(i for i, seq in enumerate(numbers) if seq != wanted[i])
            yield f"reader {reader} was shown {numbers[max(0, place - 2) : place + 2]} in a row"
        for event in events:
            if kinds.get(event["seq"]) != (event["kind"], event.get("task") or ""):
                yield f"reader {reader} was shown {event['seq']} as {event['kind']}, the log says {kinds.get(event['seq'])}"
        if numbers and numbers[-1] > len(db.log):
            yield f"reader {reader} was shown {numbers[-1]}, the log ends at {len(db.log)}"


def the_log_moves_tasks_as_allowed(seen: Histories, db: Tables) -> Iterator[str]:
    for code, lines in db.by_task.items():
        status = ""
        for line in lines:
            if not line["status_from"] and not line["status_to"]:
                continue
            if line["status_from"] != status:
                yield f"activity {line['seq']} moves {code} from {line['status_from'] or 'nothing'}, it was {status or 'nothing'}"
            froms, tos = MOVES.get(line["kind"], (set(), set()))
            if line["status_from"] not in froms or line["status_to"] not in tos:
                yield f"activity {line['seq']}, {line['kind']}, moves {code} from {line['status_from']} to {line['status_to']}"
            status = line["status_to"]
        task = db.by_code.get(code)
        if task is None and status:
            yield f"{code} is {status} in the log and is gone"
        elif task is not None and task["status"] != status:
            yield f"{code} is {task['status']}, the log says {status or 'nothing'}"
    for code in db.by_code.keys() - db.by_task.keys():
        yield f"{code} has no log"


def counts_are_true(seen: Histories, db: Tables) -> Iterator[str]:
    counted: collections.Counter[tuple[str, str]] = collections.Counter()
    for row in db.counts:
        counted[row["venture"], row["status"]] += row["n"]
    mark = next((row["seq"] for row in db.marks if row["name"] == "counted"), 0)
    for line in db.log:
        if line["seq"] > mark and line["status_to"]:
            counted[line["venture"], line["status_to"]] += 1
        if line["seq"] > mark and line["status_from"]:
            counted[line["venture_from"] or line["venture"], line["status_from"]] -= 1
    there = collections.Counter((task["venture"], task["status"]) for task in db.tasks)
    for pair in sorted({*counted, *there}):
        if counted[pair] != there[pair]:
            yield f"{pair[0]} counts {counted[pair]} tasks as {pair[1]}, there are {there[pair]}"


# ── what is always true ─────────────────────────────────────────────────────────────────────────────────────────────


def work_in_progress_is_held(seen: Histories, db: Tables) -> Iterator[str]:
    live: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for row in db.sessions:
        if row["ended_at"] is None and row["type"] == "primary" and row["task"]:
            live[row["task"]].append(row)
    for task in db.tasks:
        sessions = live.pop(task["code"], [])
        if len(sessions) > 1:
            yield f"{task['code']} has {len(sessions)} live primary sessions"
        leased = task["holder"] is not None and task["lease_expires_at"] is not None
        by_hand = task["held_by_id"] is not None
        if task["status"] != "in_progress":
            if leased or by_hand or task["holder"] is not None:
                yield f"{task['code']} is {task['status']} and is held"
            if sessions:
                yield f"{task['code']} is {task['status']} and session {sessions[0]['key']} is live"
        elif leased == by_hand:
            yield f"{task['code']} is in progress and {'two hold' if leased else 'nobody holds'} it"
        elif leased and not any(
            (row["agent"], row["attempt"], row["state"]) == (task["holder"], task["epoch"], "running")
            for row in sessions
        ):
            yield f"{task['code']} is leased to {task['holder']} in epoch {task['epoch']} without its session"


def prerequisites_are_counted(seen: Histories, db: Tables) -> Iterator[str]:
    unfinished = collections.Counter(row["task"] for row in db.dependencies if row["status"] != "done")
    for task in db.tasks:
        if task["blockers_open"] != unfinished[task["code"]]:
            yield f"{task['code']} counts {task['blockers_open']} prerequisites, there are {unfinished[task['code']]}"


def totals_equal_the_ledger(seen: Histories, db: Tables) -> Iterator[str]:
    ventures: collections.Counter[str] = collections.Counter()
    tasks: collections.Counter[str] = collections.Counter()
    tokens: collections.Counter[str] = collections.Counter()
    for row in db.ledger:
        ventures[row["venture"]] += row["amount_micro_usd"]
        if row["kind"] == "cost":
            tasks[row["task"]] += row["amount_micro_usd"]
            tokens[row["task"]] += row["tokens_in"] + row["tokens_out"]
    for venture in db.ventures:
        if venture["capital_spent_micro_usd"] != ventures[venture["slug"]]:
            yield f"{venture['slug']} spent {venture['capital_spent_micro_usd']}, the ledger holds {ventures[venture['slug']]}"
    for task in db.tasks:
        there = (tasks[task["code"]], tokens[task["code"]])
        if (task["actual_cost_micro_usd"], task["tokens_used"]) != there:
            yield f"{task['code']} cost {task['actual_cost_micro_usd']}, the ledger holds {there[0]}"


def sessions_are_of_their_claim(seen: Histories, db: Tables) -> Iterator[str]:
    claims = {(line["task"], line["data"].get("epoch")): line for line in db.log if line["kind"] == "task.claimed"}
    of = collections.Counter(
        (row["task"], row["attempt"]) for row in db.sessions if row["type"] == "primary" and row["task"]
    )
    for row in db.sessions:
        if row["type"] != "primary" or not row["task"]:
            continue
        line = claims.get((row["task"], row["attempt"]))
        if line is None or (line["agent"], line["session"]) != (row["agent"], row["key"]):
            yield f"session {row['key']} of {row['task']} is of no claim"
    for (task, epoch), n in of.items():
        if n > 1:
            yield f"epoch {epoch} of {task} has {n} sessions"


# ── how it was answered ─────────────────────────────────────────────────────────────────────────────────────────────


def no_answer_is_a_failure_of_ours(seen: Histories, db: Tables) -> Iterator[str]:
    for operation in seen.all:
        for one in operation.tries:
            if one.status is not None and one.status >= 500 and (one.status != 503 or not one.retry_after):
                yield f"{operation.name}: {operation.verb} was answered {one.status} {str(one.body)[:200]}"
            if one.status is not None and "database is locked" in str(one.body):
                yield f"{operation.name}: {operation.verb} was answered: database is locked"


CHECKS = (
    one_owner_per_epoch, a_claim_that_is_repeated_is_the_same_claim, epochs_rise_in_time,
    the_log_raises_epochs_one_by_one, zombies_are_refused, zombies_change_nothing, orphans_are_kept,
    acknowledged_claims_are_there, every_claim_was_asked_for, acknowledged_writes_are_there_once,
    acknowledged_deliverables_are_there_once, created_tasks_are_there, money_that_was_reported_is_booked,
    every_open_task_waits_for_something, leases_come_back, queues_hold_their_own, numbers_are_dense,
    readers_saw_everything_once, the_log_moves_tasks_as_allowed, counts_are_true, work_in_progress_is_held,
    prerequisites_are_counted, totals_equal_the_ledger, sessions_are_of_their_claim, no_answer_is_a_failure_of_ours,
)  # fmt: skip


@dataclasses.dataclass
class Report:
    """`findings` by check; empty lists are good. `facts` tell how much was looked at."""

    findings: dict[str, list[str]]
    facts: dict[str, Any]

    @property
    def wrong(self) -> list[str]:
        return [f"{check}: {finding}" for check, found in self.findings.items() for finding in found]

    def __str__(self) -> str:
        lines = [f"{name:<28} {value}" for name, value in self.facts.items()]
        for check, found in self.findings.items():
            lines += [f"FOUND {check}: {finding}" for finding in found[:SHOWN]]
            if len(found) > SHOWN:
                lines.append(f"FOUND {check}: and {len(found) - SHOWN} more")
        lines.append(f"{len(self.wrong)} findings" if self.wrong else f"{len(self.findings)} checks found nothing")
        return "\n".join(lines)


def check(
    database: str,
    histories: Iterable[str | Path],
    *,
    logs: Iterable[str | Path] = (),
    least_refused: int = 0,
    least_claims: int = 1,
) -> Report:
    """Judge one run. `database` is its URL, when all clients and servers have come to rest."""
    seen, db = Histories(histories), Tables(database)
    findings = {one.__name__: list(one(seen, db)) for one in CHECKS}
    findings["logs_are_quiet"] = [finding for path in logs for finding in _in_log(Path(path))]
    refused = refused_zombie_writes(seen)
    findings["enough_was_tried"] = []
    if refused < least_refused:
        findings["enough_was_tried"].append(f"only {refused} zombie writes were refused, {least_refused} are wanted")
    if len(seen.claims) < least_claims:
        findings["enough_was_tried"].append(
            f"only {len(seen.claims)} claims were acknowledged, {least_claims} are wanted"
        )
    statuses = collections.Counter(one.status for operation in seen.all for one in operation.tries)
    facts = {
        "operations": len(seen.all),
        "tries": sum(len(operation.tries) for operation in seen.all),
        "answers lost or never read": statuses.pop(None, 0),
        "answers by status": dict(sorted((str(status), n) for status, n in statuses.items())),
        "replayed answers": sum(one.replayed for operation in seen.all for one in operation.tries),
        "claims acknowledged": len({(claim.task, claim.epoch) for claim in seen.claims}),
        "claims in the log": sum(line["kind"] == "task.claimed" for line in db.log),
        "leases expired": sum(line["kind"] == "task.expired" for line in db.log),
        "zombie writes refused": refused,
        "orphaned results kept": sum(bool(row["orphaned"]) for row in db.deliverables),
        "tasks": dict(sorted(collections.Counter(task["status"] for task in db.tasks).items())),
        "activities": len(db.log),
        "readers": {reader: len(events) for reader, events in seen.shown.items()},
        "torn lines": seen.torn,
    }
    return Report(findings, facts)


def _in_log(path: Path) -> Iterator[str]:
    text = path.read_text(errors="replace") if path.exists() else ""
    for pattern in ("database is locked", "Traceback (most recent call last)", "Internal Server Error"):
        if n := text.count(pattern):
            place = text.index(pattern)
            yield f"{path.name} holds {n} times {pattern!r}: {' '.join(text[place : place + 1500].split())}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, metavar="URL")
    parser.add_argument("--history", action="append", required=True, metavar="FILE")
    parser.add_argument("--log", action="append", default=[], metavar="FILE", help="of a server")
    parser.add_argument("--least-refused", type=int, default=0, metavar="N", help="zombie writes; fewer prove nothing")
    options = parser.parse_args(arguments)
    report = check(options.database, options.history, logs=options.log, least_refused=options.least_refused)
    print(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
