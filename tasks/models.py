"""Tasks with their lease, their queue lanes, dependencies, sessions and deliverables. Not: how any of it changes.

What a team writes about a task is in collaboration_models.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now

from agents.models import Agent
from mission_control import sql
from mission_control.actors import Actor
from tasks import (
    collaboration_models,  # noqa: F401  # Django knows the models that this module has loaded
    origin_models,  # noqa: F401
    search,
    telemetry_models,  # noqa: F401
    view_models,  # noqa: F401
    vocabulary,
)
from tasks.vocabulary import ASSIGNED, BLOCKED, IN_PROGRESS, INBOX, OPEN, READY
from ventures.models import Venture

CODE_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

# sort_key is the time a task became ready less a bonus for its priority, in 1/1024 of a microsecond, so that there is
# room between two neighbours. Lower is first.
ROOM = 1024
BONUS = 4 * 3600 * 1_000_000 * ROOM  # four hours for each level of priority


def new_code() -> str:
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(8))


class Lane(models.Model):
    """One queue: the tasks that the same agents may take. Rows are made when first needed and never change."""

    venture = models.ForeignKey(Venture, on_delete=models.CASCADE, related_name="lanes")
    assignee = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.CASCADE, related_name="lanes")
    capabilities = models.JSONField(default=list)  # sorted; an agent fits when it has them all
    capabilities_key = models.CharField(max_length=1100, default="")  # the same, joined by commas, for uniqueness

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["venture", "assignee", "capabilities_key"], name="lane_of_one"),
            models.UniqueConstraint(
                fields=["venture", "capabilities_key"], name="lane_of_anyone", condition=Q(assignee=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.venture_id}/{self.assignee_id or '*'}/{self.capabilities_key or '*'}"


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, actor: Actor) -> TaskQuerySet:
        """People see all; an agent sees the ventures that are open to all and those it joined."""
        if not actor.is_agent or actor.can("admin"):
            return self
        return self.filter(Q(venture__open_to_all=True) | Q(venture__in=actor.agent.ventures.values("pk")))

    def matching(self, text: str) -> TaskQuerySet:
        """Those that hold all words of the text, or whose code begins with it; fast at any number of tasks."""
        found: TaskQuerySet = search.matching(self, text)
        return found

    def open(self) -> TaskQuerySet:
        return self.filter(status__in=OPEN)

    def offered(self) -> TaskQuerySet:
        """Those that stand in a queue: ready, or assigned to somebody, and not held back after a failure."""
        return self.filter(offered=True)

    def leased_to(self, agent: Agent) -> TaskQuerySet:
        return self.filter(holder=agent, status=IN_PROGRESS)

    def stale(self) -> TaskQuerySet:
        """Leases that have run out by the database's clock."""
        return self.filter(status=IN_PROGRESS, lease_expires_at__lt=Now())

    def locked(self, *, skip: bool = False) -> TaskQuerySet:
        """Rows locked until the commit (SQLite: the whole file is), with the names that verbs and the log need.

        `skip`: leave out rows that somebody else has locked. `db_now` is the database's clock.
        """
        skip = skip and connection.features.has_select_for_update_skip_locked
        locked = self.select_for_update(of=("self",), skip_locked=skip, no_key=True)
        return locked.select_related("venture", "assignee", "holder").annotate(db_now=Now())


def read(where: str, values: Sequence[Any], *, lock: bool = False, skip: bool = False) -> list[Task]:
    """Tasks with their venture by a condition on `t` and `v`, with `db_now`. For the hot paths, see mission_control/sql.

    `lock`: the rows stay locked until the commit (SQLite: the whole file is); `skip`: without those locked by others.
    """
    postgresql = connection.vendor == "postgresql"
    locking = (" FOR NO KEY UPDATE OF t" + (" SKIP LOCKED" if skip else "")) if lock and postgresql else ""
    tasks = []
    ventures: dict[Any, Venture] = {}  # most rows of one answer share theirs
    for row in sql.rows(f"{_select(postgresql)} WHERE {where}{locking}", values):
        task = sql.decoded(Task, row[: _width()])
        key = row[_width()]
        if key not in ventures:
            ventures[key] = sql.decoded(Venture, row[_width() : -3])
        task.venture = ventures[key]
        task.has_prerequisites = bool(row[-3])
        task.has_plan_or_context = bool(row[-2])
        task.db_now = row[-1] if postgresql else datetime.fromisoformat(row[-1]).replace(tzinfo=UTC)
        tasks.append(task)
    return tasks


@cache
def _width() -> int:
    return sql.width(Task)


@cache
def _select(postgresql: bool) -> str:
    now = "clock_timestamp()" if postgresql else "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"
    return (
        f"SELECT {sql.columns(Task, 't')}, {sql.columns(Venture, 'v')},"  # noqa: S608  # constants
        " EXISTS (SELECT 1 FROM tasks_dependency d WHERE d.task_id = t.id),"
        " EXISTS (SELECT 1 FROM tasks_planstep p WHERE p.task_id = t.id)"
        f" OR EXISTS (SELECT 1 FROM tasks_contextentry c WHERE c.task_id = t.id), {now}"
        " FROM tasks_task t JOIN ventures_venture v ON v.id = t.venture_id"
    )


def lock_head(lane: int) -> Task | None:
    """The first offered task of a lane that nobody else has locked, locked until the commit."""
    queue = "t.lane_id = %s AND t.offered ORDER BY t.sort_key, t.id LIMIT 1"
    return next(iter(read(queue, [lane], lock=True, skip=True)), None)


def lock_offered(pks: Sequence[int], lanes: Sequence[int], most: int) -> list[Task]:
    """The first of these that are still offered in one of the lanes and that nobody else has locked, locked."""
    (one, ones), (lane, all_lanes) = sql.one_of("t.id", pks), sql.one_of("t.lane_id", lanes)
    queue = f"{one} AND {lane} AND t.offered ORDER BY t.sort_key, t.id LIMIT %s"
    return read(queue, [*ones, *all_lanes, most], lock=True, skip=True)


def visible_sql(actor: Actor) -> tuple[str, list[Any]]:
    """`visible_to` as a condition on `t` and `v` with its values."""
    if not actor.is_agent or actor.can("admin"):
        return "TRUE", []
    joined = "SELECT 1 FROM agents_agent_ventures j WHERE j.agent_id = %s AND j.venture_id = v.id"
    return f"(v.open_to_all OR EXISTS ({joined}))", [actor.agent.pk]


IN_QUEUES = Q(status__in=[INBOX, READY, ASSIGNED])  # ordered by sort_key; the other columns by what changed last


class Task(models.Model):
    code = models.CharField(max_length=8, default=new_code)
    title = models.CharField(max_length=500)
    description = models.TextField(blank=True, max_length=50_000)
    venture = models.ForeignKey(Venture, on_delete=models.PROTECT, db_index=False)
    status = models.CharField(max_length=12, choices=list(vocabulary.STATUSES.items()))
    status_changed_at = models.DateTimeField(db_default=Now())
    priority = models.SmallIntegerField(choices=list(vocabulary.PRIORITIES.items()), default=vocabulary.MEDIUM)
    sort_key = models.BigIntegerField()
    lane = models.ForeignKey(Lane, on_delete=models.PROTECT, related_name="tasks", db_index=False)
    offered = models.BooleanField(default=False)  # it stands in its lane and may be claimed
    not_before = models.DateTimeField(null=True, blank=True)  # held back after a failure; cleared by a chore when due
    assignee = models.ForeignKey(
        Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="assigned_tasks", db_index=False
    )
    created_by_type = models.CharField(max_length=8)
    created_by = models.CharField(max_length=200)
    tags = models.JSONField(default=list, blank=True)
    required_capabilities = models.JSONField(default=list, blank=True)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="subtasks", db_index=False
    )
    review_required = models.BooleanField(default=False)
    needs_approval = models.BooleanField(default=False)  # no agent starts it before somebody has approved it
    approved_by_type = models.CharField(max_length=8, blank=True)
    approved_by = models.CharField(max_length=200, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_hash = models.CharField(max_length=64, blank=True)  # of what was read then, see handover.py
    success_criteria = models.JSONField(default=list, blank=True)  # of {criterion, measurable?}
    criteria_met = models.JSONField(null=True, blank=True)  # of its completion: a flag for each, null when not told
    estimated_tokens = models.BigIntegerField(null=True, blank=True)
    estimated_cost_micro_usd = models.BigIntegerField(null=True, blank=True)
    actual_cost_micro_usd = models.BigIntegerField(default=0)  # equals the ledger
    tokens_used = models.BigIntegerField(default=0)  # equals the ledger
    estimated_hours = models.DecimalField(max_digits=8, decimal_places=2, null=True, blank=True)
    actual_hours = models.DecimalField(max_digits=8, decimal_places=2, null=True, blank=True)
    deadline = models.DateTimeField(null=True, blank=True)
    completion_summary = models.TextField(blank=True)
    feedback_quality = models.PositiveSmallIntegerField(null=True, blank=True)  # 1 to 5, given once, when it is done
    feedback_timeliness = models.PositiveSmallIntegerField(null=True, blank=True)
    feedback_notes = models.TextField(blank=True)
    output = models.JSONField(null=True, blank=True)
    branch = models.CharField(max_length=250, blank=True)
    progress_percent = models.PositiveSmallIntegerField(null=True, blank=True)
    progress_step = models.CharField(max_length=500, blank=True)
    remembered = models.CharField(max_length=12, blank=True)  # inbox or review: where a paused or blocked task was
    blocked_kind = models.CharField(max_length=12, blank=True)
    blocked_reason = models.TextField(blank=True)  # "" while blocked: only its open dependencies hold it
    paused_reason = models.TextField(blank=True)
    blockers_open = models.PositiveIntegerField(default=0)  # prerequisites that are not done
    failures = models.PositiveIntegerField(default=0)
    generation = models.PositiveIntegerField(default=1)  # raised by reopen
    deliverable_count = models.PositiveIntegerField(default=0)  # also the number of the newest one
    comment_count = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=1)  # raised by every recorded change: the ETag
    created_at = models.DateTimeField(db_default=Now())

    # it was handed to its assignee, who has not claimed it yet
    handed_by = models.CharField(max_length=12, blank=True, db_default="")  # the way that is waited for: WAYS
    handed_until = models.DateTimeField(null=True, blank=True)

    # who holds it
    epoch = models.PositiveIntegerField(default=0)  # raised by every entry into in_progress, never falls
    held_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="held_tasks",
        db_index=False,
    )  # fmt: skip
    holder = models.ForeignKey(
        Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="held_tasks", db_index=False
    )
    session_key = models.CharField(max_length=260, blank=True)
    session_locked_at = models.DateTimeField(null=True, blank=True)
    lease_seconds = models.PositiveIntegerField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)  # last sign of life under this lease

    has_prerequisites = True  # False on rows from `read()` that surely wait for nothing
    has_plan_or_context = True  # likewise
    db_now: Any  # on rows from `locked()`: the database's clock when they were read

    objects = TaskQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code"], name="task_code"),
            models.CheckConstraint(name="task_status", condition=Q(status__in=list(vocabulary.STATUSES))),
            models.CheckConstraint(name="task_priority", condition=Q(priority__gte=0, priority__lte=3)),
            models.CheckConstraint(name="task_ready_is_nobodys", condition=~Q(status=READY) | Q(assignee=None)),
            models.CheckConstraint(
                name="task_offered",
                condition=Q(offered=False)
                | Q(status=READY, not_before=None, blockers_open=0)
                | Q(status=ASSIGNED, not_before=None, blockers_open=0, assignee__isnull=False),
            ),
            models.CheckConstraint(
                name="task_offered_approved",
                condition=Q(offered=False) | Q(needs_approval=False) | Q(approved_at__isnull=False),
            ),
            models.CheckConstraint(
                name="task_approved_by_one",
                condition=Q(approved_at=None, approved_by_type="", approved_by="", approved_hash="")
                | (Q(approved_at__isnull=False) & ~Q(approved_by="") & ~Q(approved_hash="")),
            ),
            models.CheckConstraint(
                name="task_held_once",
                condition=Q(status=IN_PROGRESS, held_by__isnull=False, holder=None, lease_expires_at=None)
                | Q(status=IN_PROGRESS, held_by=None, holder__isnull=False, lease_expires_at__isnull=False)
                | (~Q(status=IN_PROGRESS) & Q(held_by=None, holder=None, lease_expires_at=None)),
            ),
            models.CheckConstraint(
                name="task_handed",
                condition=Q(handed_until=None, handed_by="")
                | (Q(handed_until__isnull=False, status=ASSIGNED, assignee__isnull=False) & ~Q(handed_by="")),
            ),
            models.CheckConstraint(
                name="task_progress", condition=Q(progress_percent=None) | Q(progress_percent__lte=100)
            ),
            models.CheckConstraint(
                name="task_feedback",
                condition=Q(feedback_quality=None, feedback_timeliness=None)
                | Q(feedback_quality__range=(1, 5), feedback_timeliness__range=(1, 5)),
            ),
            models.CheckConstraint(name="task_spent", condition=Q(actual_cost_micro_usd__gte=0, tokens_used__gte=0)),
        ]
        indexes = [
            models.Index(fields=["lane", "sort_key", "id"], name="task_queue", condition=Q(offered=True)),
            models.Index(fields=["lease_expires_at", "id"], name="task_lease", condition=Q(status=IN_PROGRESS)),
            models.Index(fields=["handed_until"], name="task_handed_over", condition=Q(handed_until__isnull=False)),
            models.Index(fields=["not_before"], name="task_held_back", condition=Q(not_before__isnull=False)),
            models.Index(fields=["status", "sort_key", "id"], name="task_column_queue", condition=IN_QUEUES),
            models.Index(
                fields=["venture", "status", "sort_key", "id"], name="task_venture_queue", condition=IN_QUEUES
            ),
            models.Index(fields=["status", "-status_changed_at", "-id"], name="task_column_recent"),
            models.Index(fields=["venture", "status", "-status_changed_at", "-id"], name="task_venture_recent"),
            # Most tasks have none of these: an index without them costs a claim nothing.
            models.Index(fields=["assignee"], name="task_assignee", condition=Q(assignee__isnull=False)),
            models.Index(fields=["holder"], name="task_holder", condition=Q(holder__isnull=False)),
            models.Index(fields=["held_by"], name="task_held_by", condition=Q(held_by__isnull=False)),
            models.Index(fields=["parent"], name="task_parent", condition=Q(parent__isnull=False)),
            models.Index(
                fields=["status_changed_at"], name="task_question",
                condition=Q(status=BLOCKED, blocked_kind="needs_input", blockers_open=0),
            ),
            models.Index(
                fields=["status", "status_changed_at"], name="task_unapproved",
                condition=Q(needs_approval=True, approved_at__isnull=True),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.code} {self.title}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def awaits_approval(self) -> bool:
        return self.needs_approval and self.approved_at is None


class Dependency(models.Model):
    """`task` waits for `depends_on` to be done."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="dependencies")
    depends_on = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="dependants")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "dependencies"
        constraints = [
            models.UniqueConstraint(fields=["task", "depends_on"], name="dependency_unique"),
            models.CheckConstraint(name="dependency_not_itself", condition=~Q(task=F("depends_on"))),
        ]

    def __str__(self) -> str:
        return f"{self.task_id} waits for {self.depends_on_id}"


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self) -> SessionQuerySet:
        return self.filter(ended_at=None)

    def attempts(self) -> SessionQuerySet:
        """Work on a task that began: a run that a hand-over announced and nobody took up is none."""
        return self.filter(type="primary", attempt__isnull=False)


class Session(models.Model):
    """One run of one agent on one task (or on none: persistent)."""

    key = models.CharField(max_length=260)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="sessions")
    task = models.ForeignKey(Task, null=True, blank=True, on_delete=models.SET_NULL, related_name="sessions")
    type = models.CharField(max_length=12, default="primary")
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children", db_index=False
    )
    attempt = models.PositiveIntegerField(null=True, blank=True)  # the task's epoch
    state = models.CharField(max_length=12, default="running")
    model = models.CharField(max_length=120, blank=True)
    context_provided = models.JSONField(null=True, blank=True)  # exactly what the agent was given
    output = models.JSONField(null=True, blank=True)
    summary = models.TextField(blank=True)
    error = models.TextField(blank=True)
    tokens = models.BigIntegerField(default=0)
    cost_micro_usd = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = SessionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["agent", "key"], name="session_key_live", condition=Q(ended_at=None)),
            models.UniqueConstraint(
                fields=["task"], name="session_one_primary", condition=Q(ended_at=None, type="primary")
            ),
            models.CheckConstraint(name="session_type", condition=Q(type__in=list(vocabulary.SESSION_TYPES))),
            models.CheckConstraint(name="session_state", condition=Q(state__in=list(vocabulary.SESSION_STATES))),
        ]
        indexes = [
            models.Index(fields=["type"], name="session_live", condition=Q(ended_at=None)),
            models.Index(fields=["parent"], name="session_parent", condition=Q(parent__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.key


def upload_path(deliverable: Deliverable, _name: str) -> str:
    """A name made by us; what the client called it is kept as text only."""
    return f"deliverables/{deliverable.task.code}/{deliverable.number}-{secrets.token_hex(8)}"


class Deliverable(models.Model):
    """What an attempt handed in. Orphaned: its lease was lost; an operator may adopt it."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="deliverables")
    number = models.PositiveIntegerField()  # 1, 2, 3 … within the task
    type = models.CharField(max_length=12)
    title = models.CharField(max_length=500)
    path = models.CharField(max_length=2000, blank=True)  # of a file on the agent's machine, or the URL
    description = models.TextField(blank=True)
    file = models.FileField(upload_to=upload_path, blank=True)
    filename = models.CharField(max_length=255, blank=True)
    content_type = models.CharField(max_length=120, blank=True)
    size = models.BigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    agent = models.CharField(max_length=200, blank=True)
    attempt = models.PositiveIntegerField(null=True, blank=True)
    orphaned = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="deliverable_unique"),
            models.CheckConstraint(name="deliverable_type", condition=Q(type__in=list(vocabulary.DELIVERABLE_TYPES))),
        ]

    def __str__(self) -> str:
        return self.title


def sort_key_at(moment: Any, priority: int, place: int = 0) -> int:
    """The static sort key of a task that became ready at `moment`; `place` spreads those that came at once."""
    return int(moment.timestamp() * 1_000_000) * ROOM - priority * BONUS + place * 1000 * ROOM
