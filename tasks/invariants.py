"""What is always true of a committed database, as named queries that say who breaks it. Not: any repair.

Each check reads and yields sentences, at most FIRST of them: the first offenders by name. All of them look at one
snapshot, so they may run beside a working fleet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.models import (
    BigIntegerField,
    CharField,
    Count,
    Exists,
    F,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    Window,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Lag

from mission_control import log
from mission_control.keeping import carrying
from mission_control.models import Activity, Checkpoint, Delivery, Fleet, Notification, PrunedTask, Watermark
from mission_control.outbound import notifications
from tasks.collaboration_models import PlanStep
from tasks.models import Deliverable, Dependency, Session, Task
from tasks.vocabulary import ASSIGNED, BLOCKED, DONE, IN_PROGRESS, OPEN, READY
from ventures.models import LedgerEntry, Venture

FIRST = 10  # offenders named per check; the rest are counted
Check = Callable[[], Iterator[str]]


def broken(only: Iterable[str] = ()) -> dict[str, list[str]]:
    """`{name of the check: its first complaints}` of every check, or of those named; an empty list is a good answer."""
    wanted = list(only) or list(CHECKS)
    unknown = sorted(set(wanted) - set(CHECKS))
    if unknown:
        raise ValueError(f"There is no check called {', '.join(unknown)}. There are: {', '.join(CHECKS)}.")
    with carrying.snapshot():
        return {name: _first(CHECKS[name]()) for name in wanted}


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def numbers_are_dense() -> Iterator[str]:
    """No gap in the numbers of the log above the checkpoint, and the counter stands at the last one."""
    found = _lines().aggregate(n=Count("seq"), low=Min("seq"), high=Max("seq"))
    counter = Fleet.objects.values_list("seq", flat=True).get(pk=1)
    if found["high"] is not None and found["high"] != counter:
        yield f"the counter stands at {counter}, the last activity is {found['high']}"
    if found["n"] and found["low"] != log.cut() + 1:
        yield f"the log begins at {found['low']}, its checkpoint is {log.cut()}"
    if not found["n"] or found["n"] == found["high"] - found["low"] + 1:
        return
    gaps = _lines().annotate(before=Window(Lag("seq"), order_by=F("seq").asc())).filter(seq__gt=F("before") + 1)
    for seq, before in gaps.order_by("seq").values_list("seq", "before"):
        yield f"the activities between {before} and {seq} are missing"


def log_tells_the_status() -> Iterator[str]:
    """The last status activity of a task equals its status; where it was pruned, what the checkpoint kept of it."""
    told = _lines().exclude(task="").filter(task=OuterRef("code")).exclude(status_to="").order_by("-seq")
    wrong = Task.objects.annotate(told=Coalesce(Subquery(told.values("status_to")[:1]), _pruned("code"), _text("")))
    for code, status, said in wrong.exclude(status=F("told")).order_by("pk").values_list("code", "status", "told"):
        yield f"task {code} is {status}, its log says {said or 'nothing'}"


def log_tells_every_step() -> Iterator[str]:
    """Each status activity begins where the one before it ended."""
    steps = _lines().exclude(task="").filter(~Q(status_from="") | ~Q(status_to=""))
    steps = steps.annotate(before=Coalesce(_previous("status_to"), _pruned("task")))
    joined = steps.exclude(before=None).exclude(status_from=F("before"))
    for row in joined.order_by("seq").values_list("seq", "task", "status_from", "before"):
        yield "activity {} moves task {} from {}, which was {}".format(*row)


def counts_are_true() -> Iterator[str]:
    """The counts on the board equal a recount of the tasks."""
    recount: dict[str, dict[str, int]] = {}
    for slug, status, n in Task.objects.values_list("venture__slug", "status").annotate(n=Count("pk")).order_by():
        recount.setdefault(slug, {})[status] = n
    shown = log.counts_by_venture()
    for slug in sorted({*recount, *shown}):
        for status in sorted({*recount.get(slug, {}), *shown.get(slug, {})}):
            counted, there = shown.get(slug, {}).get(status, 0), recount.get(slug, {}).get(status, 0)
            if counted != there:
                yield f"venture {slug} counts {counted} tasks as {status}, there are {there}"


# ── who holds a task ────────────────────────────────────────────────────────────────────────────────────────────────


def work_in_progress_is_held() -> Iterator[str]:
    """in_progress ⇔ exactly one of: a lease with a running session of its holder and epoch, or a person."""
    own = Session.objects.live().filter(
        task=OuterRef("pk"), type="primary", state="running", agent=OuterRef("holder"), attempt=OuterRef("epoch")
    )
    tasks = Task.objects.annotate(served=Exists(own)).order_by("pk")
    leased = Q(holder__isnull=False, lease_expires_at__isnull=False, held_by=None)
    by_hand = Q(holder=None, lease_expires_at=None, held_by__isnull=False)
    for code in tasks.filter(status=IN_PROGRESS).exclude(leased).exclude(by_hand).values_list("code", flat=True):
        yield f"task {code} is in progress and nobody, or more than one, holds it"
    for code in tasks.filter(leased, status=IN_PROGRESS, served=False).values_list("code", flat=True):
        yield f"task {code} is leased without a running session of its holder and epoch"
    loose = tasks.exclude(status=IN_PROGRESS).filter(
        Q(holder__isnull=False) | Q(held_by__isnull=False) | Q(lease_expires_at__isnull=False)
    )
    for code, status in loose.values_list("code", "status"):
        yield f"task {code} is {status} and somebody still holds it"


def sessions_end_with_their_lease() -> Iterator[str]:
    """At most one live primary session per task, and none on a task that is not leased or handed to it; sub-agents end with the work."""
    live = Session.objects.live().filter(type="primary", task__isnull=False)
    crowded = live.values("task__code").annotate(n=Count("pk")).filter(n__gt=1).order_by("task__code")
    for row in crowded:
        yield f"task {row['task__code']} has {row['n']} live primary sessions"
    held = Q(task__status=IN_PROGRESS, task__holder=F("agent"), task__epoch=F("attempt"))
    announced = Q(state="queued", task__status=ASSIGNED, task__assignee=F("agent"), task__handed_until__isnull=False)
    for key, code in live.exclude(held).exclude(announced).order_by("pk").values_list("key", "task__code"):
        yield f"session {key} is live and task {code} is not leased to it"
    helping = Session.objects.live().filter(type="subagent", task__isnull=False)
    left = helping.exclude(task__status__in=(ASSIGNED, IN_PROGRESS)).order_by("pk")
    for key, code, status in left.values_list("key", "task__code", "task__status"):
        yield f"session {key} of a sub-agent is live and task {code} is {status}"
    over = Session.objects.live().exclude(state__in=("queued", "running", "waiting", "paused"))
    for key in over.values_list("key", flat=True):
        yield f"session {key} is live in a state that ends one"


def epochs_only_rise() -> Iterator[str]:
    """Each claim of a task has a larger epoch than the one before, and the task stands at the last one."""
    entries = _lines().filter(kind__in=("task.claimed", "task.started")).exclude(task="")
    entries = entries.annotate(epoch=Cast(KT("data__epoch"), BigIntegerField()))
    fallen = entries.annotate(before=_previous("epoch")).filter(epoch__lte=F("before")).order_by("seq")
    for seq, code, epoch, before in fallen.values_list("seq", "task", "epoch", "before"):
        yield f"activity {seq} gives task {code} epoch {epoch} after {before}"
    top = dict(PrunedTask.objects.filter(epoch__gt=0).values_list("code", "epoch"))
    top |= {row["task"]: row["top"] for row in entries.values("task").annotate(top=Max("epoch")).order_by()}
    for code, epoch in Task.objects.filter(epoch__gt=0).order_by("pk").values_list("code", "epoch"):
        if top.get(code, epoch) != epoch:
            yield f"task {code} stands at epoch {epoch}, its last claim was {top[code]}"


# ── what waits ──────────────────────────────────────────────────────────────────────────────────────────────────────


def blockers_are_counted() -> Iterator[str]:
    """blockers_open equals a recount of the prerequisites that are not done."""
    unfinished = Dependency.objects.filter(task=OuterRef("pk")).exclude(depends_on__status=DONE).order_by()
    n = unfinished.values("task").annotate(n=Count("pk")).values("n")
    tasks = Task.objects.annotate(recount=Coalesce(Subquery(n), 0)).exclude(blockers_open=F("recount"))
    for row in tasks.order_by("pk").values_list("code", "blockers_open", "recount"):
        yield "task {} counts {} open prerequisites, there are {}".format(*row)


def nothing_is_in_limbo() -> Iterator[str]:
    """Every open task may be claimed, is held, or waits for something that can be named."""
    waits = (
        Q(status__in=("inbox", "paused", "review", "failed"))
        | Q(status=IN_PROGRESS)
        | Q(status=ASSIGNED, assignee=None)
        | Q(status__in=(READY, ASSIGNED), not_before__isnull=False)
        | Q(status__in=(READY, ASSIGNED), needs_approval=True, approved_at=None)
        | (Q(status=BLOCKED) & (Q(blockers_open__gt=0) | ~Q(blocked_reason="")))
    )
    lost = Task.objects.filter(status__in=OPEN, offered=False).exclude(waits).order_by("pk")
    for code, status in lost.values_list("code", "status"):
        yield f"task {code} is {status}, is not offered and waits for nothing"
    early = Task.objects.filter(status__in=(READY, ASSIGNED), blockers_open__gt=0).order_by("pk")
    for code, n in early.values_list("code", "blockers_open"):
        yield f"task {code} is in a queue although {n} prerequisites are open"


def nothing_unapproved_is_offered() -> Iterator[str]:
    """What needs approval is offered only while one holds, and an approval names its author and what was read."""
    loose = Task.objects.filter(needs_approval=True, approved_at=None, offered=True).order_by("pk")
    for code in loose.values_list("code", flat=True):
        yield f"task {code} is offered and nobody has approved it"
    named = Activity.objects.filter(
        task=OuterRef("code"),
        kind="task.approved",
        actor_type=OuterRef("approved_by_type"),
        actor=OuterRef("approved_by"),
    )
    told = Exists(named) | Exists(PrunedTask.objects.filter(code=OuterRef("code")))
    for code, by in (
        Task.objects.exclude(approved_at=None).exclude(told).order_by("pk").values_list("code", "approved_by")
    ):
        yield f"task {code} says that {by} approved it, and the log does not"


def queues_hold_their_own() -> Iterator[str]:
    """A task stands in the lane of its venture, its assignee and the capabilities it needs."""
    tasks = Task.objects.filter(status__in=OPEN).select_related("lane").order_by("pk")
    fields = ("code", "venture_id", "assignee_id", "required_capabilities", "lane")
    for task in tasks.only(*fields, "lane__venture_id", "lane__assignee_id", "lane__capabilities").iterator(2000):
        own = (task.venture_id, task.assignee_id, sorted(set(task.required_capabilities)))
        if own != (task.lane.venture_id, task.lane.assignee_id, task.lane.capabilities):
            yield f"task {task.code} stands in a queue that is not its own"


# ── what it cost and what it made ───────────────────────────────────────────────────────────────────────────────────


def money_adds_up() -> Iterator[str]:
    """What ventures and tasks say was spent and reserved equals the ledger and the live holds."""
    by_venture = _sums(LedgerEntry.objects.all(), "venture")
    for venture in Venture.objects.order_by("pk"):
        booked, _ = by_venture.get(venture.slug, (0, 0))
        if venture.capital_spent_micro_usd != booked:
            yield f"venture {venture.slug} spent {venture.capital_spent_micro_usd}, the ledger holds {booked}"
        if venture.capital_reserved_micro_usd:
            yield f"venture {venture.slug} reserves {venture.capital_reserved_micro_usd} and nothing holds it"
    by_task = _sums(LedgerEntry.objects.exclude(task="").filter(kind="cost"), "task")
    spent = Task.objects.filter(Q(code__in=list(by_task)) | Q(actual_cost_micro_usd__gt=0) | Q(tokens_used__gt=0))
    for code, amount, tokens in spent.order_by("pk").values_list("code", "actual_cost_micro_usd", "tokens_used"):
        there = by_task.get(code, (0, 0))
        if (amount, tokens) != there:
            yield f"task {code} cost {amount} and {tokens} tokens, the ledger holds {there[0]} and {there[1]}"


def deliverables_are_numbered() -> Iterator[str]:
    """The deliverables of a task are numbered 1, 2, 3 … and its count is the last of them."""
    rows = Deliverable.objects.values("task").annotate(n=Count("pk"), top=Max("number")).order_by()
    found = {row["task"]: (row["n"], row["top"]) for row in rows}
    for pk, code, count in Task.objects.filter(Q(deliverable_count__gt=0) | Q(pk__in=list(found))).values_list(
        "pk", "code", "deliverable_count"
    ):
        n, top = found.get(pk, (0, 0))
        if not n == top == count:
            yield f"task {code} counts {count} deliverables, it has {n} and the last is number {top}"


def comments_are_counted() -> Iterator[str]:
    """A task counts the comments that the log holds of it; those before a checkpoint may be gone from the log."""
    found = dict(Activity.objects.filter(kind="comment.added").values_list("task").annotate(n=Count("seq")).order_by())
    pruned = Checkpoint.objects.exists()
    wanted = Q(comment_count__gt=0) | Q(code__in=list(found))
    for code, count in Task.objects.filter(wanted).values_list("code", "comment_count"):
        n = found.get(code, 0)
        if count < n or (count > n and not pruned):
            yield f"task {code} counts {count} comments, the log holds {n}"


def plans_are_numbered() -> Iterator[str]:
    """The steps of a plan are numbered 1, 2, 3 …"""
    plans = PlanStep.objects.values("task__code").annotate(n=Count("pk"), low=Min("number"), top=Max("number"))
    for row in plans.exclude(low=1, top=F("n")).order_by("task__code"):
        yield f"the plan of task {row['task__code']} has {row['n']} steps, numbered {row['low']} to {row['top']}"


def nothing_is_told_ahead_of_the_log() -> Iterator[str]:
    """No chore stands beyond the end of the log, and nobody is told of a line that is not there or of their own doing."""
    head = log.head()
    for name, seq in Watermark.objects.filter(seq__gt=head).order_by("name").values_list("name", "seq"):
        yield f"the mark {name} stands at {seq}, the log ends at {head}"
    told = Watermark.objects.values_list("seq", flat=True).get(pk=notifications.MARK)
    for who, seq in Notification.objects.filter(seq__gt=told).order_by("pk").values_list("recipient", "seq"):
        yield f"{who} was told of activity {seq}, they are told up to {told}"
    own = Notification.objects.filter(recipient=F("actor"), recipient_type=F("actor_type")).order_by("pk")
    for who, seq in own.values_list("recipient", "seq"):
        yield f"{who} was told of activity {seq}, which is its own"
    ahead = Delivery.objects.filter(seq__gt=head).order_by("pk")
    for message, seq in ahead.values_list("message_id", "seq"):
        yield f"message {message} tells of activity {seq}, the log ends at {head}"


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        numbers_are_dense, log_tells_the_status, log_tells_every_step, counts_are_true, work_in_progress_is_held,
        sessions_end_with_their_lease, epochs_only_rise, blockers_are_counted, nothing_is_in_limbo,
        nothing_unapproved_is_offered, queues_hold_their_own, money_adds_up, deliverables_are_numbered,
        comments_are_counted, plans_are_numbered, nothing_is_told_ahead_of_the_log,
    )
}  # fmt: skip


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def _lines() -> QuerySet[Activity]:
    """The log without what outlasted a pruning."""
    return Activity.objects.filter(seq__gt=log.cut())


def _previous(name: str) -> Window:
    """The value of `name` in the activity before this one of the same task."""
    return Window(Lag(name), partition_by=[F("task")], order_by=F("seq").asc())


def _pruned(code: str) -> Subquery:
    """The status that the lines up to the checkpoint told of the task with the code in this column."""
    return Subquery(PrunedTask.objects.filter(code=OuterRef(code)).values("status")[:1])


def _text(value: str) -> Any:
    return Value(value, output_field=CharField())


def _sums(entries: QuerySet[LedgerEntry], by: str) -> dict[str, tuple[int, int]]:
    """`{name: (micro-USD, tokens)}`."""
    rows = entries.values(by).annotate(
        amount=Sum("amount_micro_usd"), tokens=Sum(F("tokens_in") + F("tokens_out"), output_field=BigIntegerField())
    )
    return {row[by]: (int(row["amount"]), int(row["tokens"])) for row in rows.order_by()}


def _first(complaints: Iterator[str]) -> list[str]:
    named: list[str] = []
    more = 0
    for sentence in complaints:
        if len(named) < FIRST:
            named.append(sentence)
        else:
            more += 1
    return [*named, f"and {more} more"] if more else named
