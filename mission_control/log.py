"""The log: the unit of work that writes it, its counts and its seals. Not: who hears of it (live.py).

A verb is a function under `@verb`. It runs in one transaction, hands its activities to `record`, and they are written
as the last statements of the outermost transaction: the counter row is locked only from there to the commit, numbers
are dense, and they appear in commit order. A deadlock or a lost serialization is tried again from the start.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.db.models.signals import post_save

from mission_control import sql
from mission_control.actors import Actor
from mission_control.errors import Refused
from mission_control.keeping import carrying
from mission_control.models import Activity, Checkpoint, Fleet, Seal, StatusCount, Watermark

P = ParamSpec("P")
R = TypeVar("R")

TRIES = 5
_encode = DjangoJSONEncoder().encode
COLUMNS = (
    "kind, level, actor_type, actor, venture, venture_from, task, agent, session, status_from, status_to, title,"
    " message, cause, data"
)
SQLITE_NOW = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"


class Busy(Refused):
    """503: another writer held the database for too long. Nothing was changed; the same call may be made again."""

    def __init__(self) -> None:
        super().__init__("The database is busy. Try again in a moment.", code="busy", status=503, retry_after=1)


# Each is shown the lines of a flush before they are numbered, and may return what is to be called afterwards.
watchers: list[Callable[[list[Activity]], Callable[[], None] | None]] = []


class _Unit(threading.local):
    """What the outermost transaction of this thread has recorded so far. `depth` 0: none is open."""

    depth = 0
    cause = 0

    def __init__(self) -> None:
        self.pending: list[Activity] = []
        self.claims = False


_unit = _Unit()
_writer = threading.RLock()  # SQLite has one writer: waiting here is fair and wakes at once, its busy handler polls


@contextmanager
def unit() -> Iterator[None]:
    """One transaction, one flush. Nested units join the outermost. `Refused(keep=True)` commits and goes on."""
    if _unit.depth:
        _unit.depth += 1
        try:
            yield
        finally:
            _unit.depth -= 1
        return
    kept: Refused | None = None
    with _turn_to_write():
        _unit.depth, _unit.pending, _unit.claims = 1, [], False
        try:
            with transaction.atomic():
                try:
                    yield
                except Refused as refusal:
                    if not refusal.keep:
                        raise
                    kept = refusal
                flush()
        finally:
            _unit.depth, _unit.pending = 0, []
    if kept:
        raise kept


@contextmanager
def step() -> Iterator[None]:
    """A part of a unit that may be refused alone: its rows and its activities are undone, the rest goes on."""
    mark = len(_unit.pending)
    try:
        with transaction.atomic():
            yield
    except BaseException:
        del _unit.pending[mark:]
        raise


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Run the function in one unit; tried again on a deadlock, `Busy` when the database stays locked."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if _unit.depth:
            return function(*args, **kwargs)
        return retried(lambda: _in_unit(function, *args, **kwargs))

    return run


def retried(work: Callable[[], R]) -> R:
    """Call `work` again when the database undid it for another's sake (deadlock, serialization, locked file)."""
    for attempt in range(TRIES):
        try:
            return work()
        except OperationalError as error:
            if not _is_contention(error):
                raise
            if attempt == TRIES - 1 or "lock timeout" in str(error):
                raise Busy from error
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


@contextmanager
def caused_by(seq: int) -> Iterator[None]:
    """What is recorded within was led to by this line, as far as nothing better is known."""
    _unit.cause = seq
    try:
        yield
    finally:
        _unit.cause = 0


def record(
    kind: str,
    actor: Actor,
    *,
    level: str = "info",
    venture: str = "",
    venture_from: str = "",
    task: str = "",
    agent: str = "",
    session: str = "",
    status_from: str = "",
    status_to: str = "",
    title: str = "",
    message: str = "",
    data: dict[str, Any] | None = None,
) -> Activity:
    """Hand one activity to the unit. It gets its number at the flush; `data` holds JSON without floats."""
    if not _unit.depth:
        raise RuntimeError("record() outside a unit of work")
    activity = Activity(
        kind=kind, level=level, actor_type=actor.type, actor=actor.name, venture=venture, venture_from=venture_from,
        task=task, agent=agent, session=session, status_from=status_from, status_to=status_to, title=title[:500],
        message=message, data=data or {}, cause=_unit.cause,
    )  # fmt: skip
    _unit.pending.append(activity)
    _unit.claims = _unit.claims or kind == "task.claimed"
    return activity


def flush(moment: datetime | None = None) -> None:
    """Number and write what is pending. Locks the fleet's row until the commit; refuses claims under a freeze.

    Called by the unit at its end; a verb that must answer with a number (a logged activity) calls it as its last step.
    `moment`: the time these lines carry in place of the database's clock. Only for what tells a past that happened
    elsewhere (importers, the demo): never earlier than the line before, and before the commit, so that no reader and
    no seal ever sees another time. ValueError otherwise.
    """
    pending = _unit.pending
    if not pending:
        return
    afterwards = [act for watch in watchers if (act := watch(pending))]
    rows = [
        [
            a.kind, a.level, a.actor_type, a.actor, a.venture, a.venture_from, a.task, a.agent, a.session,
            a.status_from, a.status_to, a.title, a.message, a.cause, a.data,
        ]
        for a in pending
    ]  # fmt: skip
    head, frozen_at = (_flush_postgresql if connection.vendor == "postgresql" else _flush_sqlite)(rows)
    if frozen_at and _unit.claims:
        raise Refused("The fleet is frozen: no new claims until it is thawed.", code="frozen")
    for number, activity in enumerate(pending, start=head - len(rows) + 1):
        activity.seq = number
        activity.cause = _cause(activity.cause, head - len(rows))
        activity._state.adding = False
    if moment is not None:
        _tell_when(head - len(rows), head, moment)
    last = pending[-1]
    _unit.pending = []
    for act in afterwards:
        act()
    post_save.send(sender=Activity, instance=last, created=True, raw=False, using="default", update_fields=None)


def _tell_when(before: int, head: int, moment: datetime) -> None:
    """Give the lines above `before`, written in this transaction, another time."""
    earlier = Activity.objects.filter(seq=before).values_list("at", flat=True).first()
    if moment > now() or (earlier is not None and moment < earlier):
        raise ValueError(f"The log goes forward in time: {moment} lies outside {earlier} and now.")
    Activity.objects.filter(seq__gt=before, seq__lte=head).update(at=moment)


def _flush_postgresql(rows: list[list[Any]]) -> tuple[int, Any]:
    """One statement, so that the counter is held for one round trip and the commit. `at` is read after the lock."""
    lines = _encode([dict(zip(_NAMES, row, strict=True)) for row in rows])
    [(head, frozen_at)] = sql.rows(_FLUSH_POSTGRESQL, [*[len(rows)] * 4, lines])
    return head, frozen_at


# The lines come as one JSON text: the statement, and with it the plan, is the same for any number of them.
# A cause below 0 counts from the unit's first line: -1 is that one.
_NAMES = COLUMNS.split(", ")
_FLUSH_POSTGRESQL = (
    "WITH head AS (UPDATE mission_control_fleet SET seq = seq + %s WHERE id = 1 RETURNING seq, frozen_at),"  # noqa: S608  # constants
    f" written AS (INSERT INTO mission_control_activity (seq, {COLUMNS}, at)"
    f" SELECT head.seq - %s + v.place, {', '.join(_NAMES[:-2])}, CASE WHEN cause < 0 THEN head.seq - %s - cause"
    " WHEN cause <= head.seq - %s THEN cause ELSE 0 END, data, clock_timestamp()"
    " FROM head, ROWS FROM (json_to_recordset(%s)"
    f" AS ({' text, '.join(_NAMES[:-2])} text, cause bigint, data jsonb)) WITH ORDINALITY AS v({COLUMNS}, place))"
    " SELECT seq, frozen_at FROM head"
)


def _flush_sqlite(rows: list[list[Any]]) -> tuple[int, Any]:
    [(head, frozen_at)] = sql.rows(
        "UPDATE mission_control_fleet SET seq = seq + %s WHERE id = 1 RETURNING seq, frozen_at", [len(rows)]
    )
    before = head - len(rows)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO mission_control_activity (seq, {COLUMNS}, at) VALUES ({', '.join(['%s'] * 16)}, {SQLITE_NOW})",  # noqa: S608  # constants and marks
            [
                [place, *row[:-2], _cause(row[-2], before), _encode(row[-1])]
                for place, row in enumerate(rows, start=before + 1)
            ],
        )
    return head, frozen_at


def _cause(said: int, before: int) -> int:
    """The number of a cause, `before` being that of the last line before this flush. What is no earlier line is none."""
    return before - said if said < 0 else said if said <= before else 0


# ── freeze ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@verb
def freeze(actor: Actor, reason: str = "") -> Fleet:
    """Stop all new claims. Leases stay. Records fleet.frozen; asking again changes nothing. Locks the fleet's row."""
    fleet = Fleet.objects.select_for_update().get(pk=1)
    if not fleet.frozen_at:
        Fleet.objects.filter(pk=1).update(frozen_at=Now(), frozen_by=actor.name, frozen_reason=reason[:500])
        record("fleet.frozen", actor, level="warning", message=reason, data={"reason": reason})
    return Fleet.objects.get(pk=1)


@verb
def thaw(actor: Actor) -> Fleet:
    """Let claims through again. Records fleet.thawed; asking again changes nothing. Locks the fleet's row."""
    fleet = Fleet.objects.select_for_update().get(pk=1)
    if fleet.frozen_at:
        Fleet.objects.filter(pk=1).update(frozen_at=None, frozen_by="", frozen_reason="")
        record("fleet.thawed", actor, level="success", data={"frozen_by": fleet.frozen_by})
    return Fleet.objects.get(pk=1)


# ── counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_FOLDED = "SELECT venture, status, n FROM mission_control_statuscount"
_COUNTED = "(SELECT seq FROM mission_control_watermark WHERE name = 'counted')"


def _difference(where: str) -> str:
    """What the lines `where` says add to and take from each count."""
    return f"""
        SELECT venture, status_to AS status, 1 AS n FROM mission_control_activity
         WHERE {where} AND status_to <> ''
        UNION ALL
        SELECT CASE WHEN venture_from <> '' THEN venture_from ELSE venture END, status_from, -1
          FROM mission_control_activity WHERE {where} AND status_from <> ''
    """  # noqa: S608  # constants


def counts_by_venture() -> dict[str, dict[str, int]]:
    """`{venture slug: {status: tasks}}`, true as of the last commit at any number of tasks. One statement."""
    return _counts(f"{_FOLDED} UNION ALL {_difference(f'seq > {_COUNTED}')}")


def counts_at(seq: int) -> dict[str, dict[str, int]]:
    """The same as of an earlier line, by the lines that came after it, or before it where those are fewer."""
    if 2 * seq < head() and not cut():  # nearer to the beginning, where there was nothing
        return _counts(_difference("seq <= %s"), seq, seq)
    come = _difference(f"seq > {_COUNTED} AND seq <= %s")
    gone = _difference(f"seq > %s AND seq <= {_COUNTED}")
    back = f"SELECT venture, status, -n FROM ({gone}) AS later"  # noqa: S608  # constants
    return _counts(f"{_FOLDED} UNION ALL {come} UNION ALL {back}", seq, seq, seq, seq)


def _counts(parts: str, *values: int) -> dict[str, dict[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT venture, status, SUM(n) FROM ({parts}) AS parts GROUP BY venture, status",  # noqa: S608  # constants
            values or None,
        )
        counted: dict[str, dict[str, int]] = {}
        for venture, status, n in cursor.fetchall():
            if n:
                counted.setdefault(venture, {})[status] = int(n)
    return counted


def fold_counts() -> int:
    """Chore: add the activities since the last fold to the folded counts. Returns how many lines it folded."""
    with _turn_to_write(), transaction.atomic():
        mark = Watermark.objects.select_for_update().get(pk="counted")
        head = Activity.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
        if head <= mark.seq:
            return 0
        difference = _difference(f"seq > {_COUNTED} AND seq <= %s")
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT venture, status, SUM(n) FROM ({difference}) AS parts GROUP BY venture, status",  # noqa: S608  # constants
                [head, head],
            )
            for venture, status, n in cursor.fetchall():
                row, _ = StatusCount.objects.get_or_create(venture=venture, status=status)
                StatusCount.objects.filter(pk=row.pk).update(n=F("n") + int(n))
        Watermark.objects.filter(pk="counted").update(seq=head, at=Now())
        return head - mark.seq


# ── seals ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def key_id() -> str:
    return hashlib.sha256(b"key id" + settings.LOG_KEY.encode()).hexdigest()[:12]


LINE = (
    "seq", "kind", "level", "actor_type", "actor", "venture", "venture_from", "task", "agent", "session",
    "status_from", "status_to", "title", "message", "data", "cause", "at",
)  # fmt: skip
_sorted = DjangoJSONEncoder(sort_keys=True, separators=(",", ":")).encode


def canonical(line: dict[str, Any]) -> bytes:
    """A line (the values of LINE) as bytes that do not depend on the database: sorted, no spaces, milliseconds.

    A cause stands in it only where there is one: lines from before there were causes keep their seals.
    """
    told = {**line, "at": int(line["at"].timestamp() * 1000)}
    if not told["cause"]:
        del told["cause"]
    return _sorted(told).encode()


def _mac(before: str, line: dict[str, Any]) -> str:
    return hmac.digest(settings.LOG_KEY.encode(), before.encode() + canonical(line), "sha256").hex()


def seal_log(batch: int = 1000) -> int:
    """Chore: seal the lines above the last seal, in order. Locks the watermark `sealed`. Returns how many."""
    with _turn_to_write(), transaction.atomic():
        mark = Watermark.objects.select_for_update().get(pk="sealed")
        before = Seal.objects.filter(seq=mark.seq).values_list("mac", flat=True).first() or ""
        seals, key = [], key_id()
        for line in Activity.objects.filter(seq__gt=mark.seq).order_by("seq").values(*LINE)[:batch]:
            before = _mac(before, line)
            seals.append(Seal(seq=line["seq"], mac=before, key_id=key))
        if seals:
            Seal.objects.bulk_create(seals)
            Watermark.objects.filter(pk="sealed").update(seq=seals[-1].seq, at=Now())
        return len(seals)


def signature(seq: int, mac: str, lasting: str = "") -> str:
    """Proves that who named this seal a checkpoint, and the lines below that stayed, had the key of the log."""
    told = f"checkpoint {seq} {mac} {lasting}".rstrip()
    return hmac.digest(settings.LOG_KEY.encode(), told.encode(), "sha256").hex()


def chained(before: str, lines: QuerySet[Activity]) -> str:
    """The end of the chain over these lines in their order, going on from `before`; that itself when there are none."""
    for line in lines.order_by("seq").values(*LINE).iterator(chunk_size=2000):
        before = _mac(before, line)
    return before


def verify_log() -> tuple[int, str]:
    """`(lines checked, complaint)`: walks the chain from the checkpoint, or the beginning, in one snapshot.

    The complaint is "" or a sentence with the first bad line.
    """
    with carrying.snapshot():
        cut = Checkpoint.objects.first()
        if cut is not None and cut.key_id != key_id():
            return 0, f"the checkpoint at {cut.seq} was made with key {cut.key_id}, this is key {key_id()}"
        if cut is not None and not hmac.compare_digest(cut.signature, signature(cut.seq, cut.mac, cut.lasting)):
            return 0, f"the checkpoint at {cut.seq} is none of ours"
        if cut is not None and chained("", Activity.objects.filter(seq__lte=cut.seq)) != cut.lasting:
            return 0, f"a line from before the checkpoint at {cut.seq} was changed, removed or inserted"
        return _walk(*(cut.seq, cut.mac) if cut is not None else (0, ""))


def _walk(cut: int, before: str) -> tuple[int, str]:
    expected, checked, key = cut + 1, 0, key_id()
    seals = Seal.objects.order_by("seq").iterator(chunk_size=2000)
    seal = next(seals, None)
    lines = Activity.objects.filter(seq__gt=cut).order_by("seq")
    for line in lines.values(*LINE).iterator(chunk_size=2000):
        seq = line["seq"]
        if seq != expected:
            return checked, f"activity {expected} is missing"
        expected += 1
        if seal is None:
            continue  # written in the last seconds, not sealed yet
        if seal.seq != seq:
            return checked, f"the seal of activity {seq} is missing"
        if seal.key_id != key:
            return checked, f"activity {seq} is sealed with key {seal.key_id}, this is key {key}"
        before = _mac(before, line)
        if not hmac.compare_digest(before, seal.mac):
            return checked, f"activity {seq} was changed after it was sealed"
        checked, seal = checked + 1, next(seals, None)
    if seal is not None:
        return checked, f"activity {seal.seq} is missing, its seal is there"
    sealed = Watermark.objects.get(pk="sealed").seq
    if cut + checked < sealed:
        return checked, f"{sealed} activities were sealed, the last seals are missing"
    return checked, ""


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def head() -> int:
    """The number of the newest committed activity, 0 when there is none."""
    return Fleet.objects.values_list("seq", flat=True).get(pk=1)


def cut() -> int:
    """Up to which number the log was pruned, 0 when it never was. Lines that outlasted that stand below."""
    return Checkpoint.objects.values_list("seq", flat=True).first() or 0


def first() -> int:
    """The number with which the log begins, above what was pruned; that of the next line when it is empty."""
    below = cut()
    found = Activity.objects.filter(seq__gt=below).order_by("seq").values_list("seq", flat=True).first()
    return found or max(head(), below) + 1


@contextmanager
def _turn_to_write() -> Iterator[None]:
    if connection.vendor != "sqlite":
        yield
    elif _writer.acquire(timeout=20):
        try:
            yield
        finally:
            _writer.release()
    else:
        raise Busy


def _in_unit(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    with unit():
        return function(*args, **kwargs)


def _is_contention(error: OperationalError) -> bool:
    state = getattr(getattr(error, "__cause__", None), "sqlstate", "") or ""
    return state in {"40P01", "40001", "55P03"} or "database is locked" in str(error) or "lock timeout" in str(error)


def now() -> Any:
    """The database's clock, as an aware UTC datetime. One statement."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            return cursor.fetchone()[0]
        cursor.execute("SELECT STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')")
        return datetime.fromisoformat(cursor.fetchone()[0]).replace(tzinfo=UTC)


def after_commit(act: Callable[[], object]) -> None:
    """Do something that is not in the database once the unit has committed; its failure changes nothing."""
    transaction.on_commit(act, robust=True)
