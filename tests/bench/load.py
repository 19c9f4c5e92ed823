"""Many tasks at once, by SQL, as if the verbs had made them: lanes, counts and constraints hold. Not: their history.

Runs inside Django (inside.py). The rows that differ from each other are made from a running number in the database;
all other columns take what the model would write, so that a new column needs no change here.
"""

from __future__ import annotations

from typing import Any

from django.db import connection, models, transaction
from django.db.models import F
from django.db.models.functions import Now

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import system
from mission_control.models import StatusCount, Watermark
from tasks.models import BONUS, ROOM, Lane, Session, Task
from tasks.vocabulary import (
    ASSIGNED,
    BLOCKED,
    CANCELLED,
    DONE,
    FAILED,
    IN_PROGRESS,
    INBOX,
    PAUSED,
    READY,
    REVIEW,
    URGENT,
)
from ventures.models import Venture

VENTURES = 8
AGENTS = 20
SKILLS = ("design", "docs", "python", "research", "review")
NEEDS: tuple[tuple[str, ...], ...] = ((), ("python",), ("docs",), ("design",), ("docs", "python"), ("research",))
# Words that titles and tags are made of: a page of equal lines would compress better than any real one.
VERBS = (
    "Compare", "Draft", "Collect", "Check", "Rewrite", "Summarise", "Translate", "Plan", "Test", "Review", "Measure",
    "Describe", "Migrate", "Repair", "Explain", "Cancel", "Negotiate", "Archive", "Sort", "Sketch", "Verify",
)  # fmt: skip
THINGS = (
    "the offers of three suppliers", "an answer to the complaint", "last quarter's invoices", "the onboarding letter",
    "a landing page for autumn", "the import of old orders", "minutes of the meeting", "the parser's error messages",
    "photographs for the catalogue", "a list of open licences", "the nightly backup", "the interview with a customer",
    "translations of the menu", "the contract's notice periods", "a forecast of the cloud bill", "search results",
    "the release notes", "the warehouse labels", "a reading list on soil", "the map of bus stops", "press enquiries",
    "the flaky checkout test", "two lines of the tax form", "the speaker's travel", "colours for the charts",
)  # fmt: skip
AFTERS = ("", " for Friday", " again", " with Maria's figures", " in two sentences", " before the freeze", " by region")
TAGS = ("growth", "billing", "docs", "support", "research", "legal", "frontend", "data", "travel", "print")
SCARCE = "quantum"  # the skill of the urgent tasks in front; none of our agents has it
DAY_MICROS = 24 * 3600 * 1_000_000

# Shares of what is not urgent; done takes the rest. People and agents have a bounded amount in hand at any size.
SHARES = {
    READY: 0.24,
    INBOX: 0.06,
    REVIEW: 0.06,
    CANCELLED: 0.06,
    BLOCKED: 0.02,
    ASSIGNED: 0.01,
    PAUSED: 0.01,
    FAILED: 0.01,
}
IN_HAND = 200


def agents() -> list[Agent]:
    """The fleet, made when first asked for. Consecutive primary keys: the SQL below reckons with them."""
    found = list(Agent.objects.filter(slug__startswith="bench-").order_by("pk"))
    if not found:
        found = [
            roster.create(system("bench"), name=f"Bench {place}", slug=f"bench-{place}", capabilities=list(SKILLS))
            for place in range(AGENTS)
        ]
    assert [agent.pk for agent in found] == list(range(found[0].pk, found[0].pk + AGENTS))
    return found


def ventures() -> list[Venture]:
    for place in range(VENTURES):
        Venture.objects.get_or_create(slug=f"bench-{place}", defaults={"name": f"Venture {place}"})
    return list(Venture.objects.filter(slug__startswith="bench-").order_by("pk"))


def load(total: int, urgent: int) -> None:
    """A board of `total` tasks in all statuses, of which `urgent` stand in front and ask for the scarce skill."""
    fleet, owners = agents(), ventures()
    before = _newest()
    everyone = [_lane(owner, needs) for owner in owners for needs in NEEDS]
    scarce = [_lane(owner, (SCARCE,)) for owner in owners]
    rest = total - urgent
    counts = {status: round(rest * share) for status, share in SHARES.items()}
    counts[IN_PROGRESS] = min(IN_HAND, rest // 50)
    counts[DONE] = rest - sum(counts.values())
    at = 0
    at = _insert(READY, urgent, at, scarce, priority=str(URGENT))
    for status, count in counts.items():
        lanes = everyone
        more: dict[str, str] = {"priority": "s.n % 4"}
        if status == ASSIGNED:
            lanes = [_lane(owners[place % VENTURES], (), agent) for place, agent in enumerate(fleet)]
            more["assignee_id"] = "l.assignee"
        if status == IN_PROGRESS:
            more |= _leased(fleet[0].pk)
        at = _insert(status, count, at, lanes, **more)
    _sessions(fleet[0].pk)
    _count_in(before)


def add_ready(count: int) -> None:
    """That many more tasks in the ready column, behind what is there, for any of our agents."""
    owners = ventures()
    before = _newest()
    lanes = [_lane(owner, needs) for owner in owners for needs in NEEDS]
    _insert(READY, count, Task.objects.count(), lanes, priority="s.n % 4")
    _count_in(before)


def _insert(status: str, count: int, after: int, lanes: list[Lane], **expressions: str) -> int:
    """Insert `count` tasks numbered from `after`; the number of the last one. One statement."""
    if count <= 0:
        return after
    start = int(log.now().timestamp() * 1_000_000) - DAY_MICROS
    bonus = f"({expressions['priority']}) * {BONUS}"
    template = Task(
        title="", venture=lanes[0].venture, lane=lanes[0], status=status, sort_key=0, offered=status in (READY, ASSIGNED),
        created_by_type="system", created_by="bench", description="What is to be done, and how one sees that it is.",
        estimated_tokens=20_000, tags=[],
        blocked_kind="needs_input" if status == BLOCKED else "", blocked_reason="Which of the two?" if status == BLOCKED else "",
        paused_reason="Later" if status == PAUSED else "", failures=3 if status == FAILED else 0,
        remembered="inbox" if status == BLOCKED else "",
    )  # fmt: skip
    spread = {
        "code": _code("s.n"),
        "title": f"{_word(VERBS, 's.n')} || ' ' || {_word(THINGS, 's.n / 3')} || {_word(AFTERS, 's.n / 7')}",
        "tags": _as_json(f"'[\"' || {_word(TAGS, 's.n / 2')} || '\", \"' || {_word(TAGS, 's.n / 5 + 3')} || '\"]'"),
        "venture_id": "l.venture",
        "lane_id": "l.lane",
        "required_capabilities": _as_json("l.needs"),
        "sort_key": f"({start} + s.n * 1000) * {ROOM} - {bonus}",
        "status_changed_at": _ago("s.n % 80000"),
        "created_at": _ago("100000 - s.n % 80000"),
        **expressions,
    }
    values = ", ".join(["(%s, %s, %s, %s, %s)"] * len(lanes))
    cells = [
        cell
        for place, lane in enumerate(lanes)
        for cell in (place, lane.pk, lane.venture_id, lane.assignee_id, _json_text(lane.capabilities))
    ]
    with connection.cursor() as cursor:
        columns, selected, literals = _columns(template, spread)
        series = (
            "SELECT generate_series(%s::bigint, %s::bigint)"
            if connection.vendor == "postgresql"
            else "SELECT %s UNION ALL SELECT n + 1 FROM s WHERE n < %s"
        )
        cursor.execute(
            f"WITH RECURSIVE l(place, lane, venture, assignee, needs) AS (VALUES {values}), s(n) AS ({series})"
            f" INSERT INTO tasks_task ({columns}) SELECT {selected} FROM s JOIN l ON l.place = s.n %% {len(lanes)}",
            [*cells, after + 1, after + count, *literals],
        )
    return after + count


def _columns(template: models.Model, expressions: dict[str, str]) -> tuple[str, str, list[Any]]:
    """`(column list, select list, values of its marks)` of an INSERT … SELECT like the template."""
    names, selected, literals = [], [], []
    for field in template._meta.concrete_fields:
        if field.primary_key:
            continue
        value = None if field.column in expressions else field.pre_save(template, add=True)
        by_database = isinstance(value, models.expressions.DatabaseDefault)
        if by_database and not isinstance(field, models.DateTimeField):
            continue  # a plain value, which the database puts in by itself
        names.append(f'"{field.column}"')
        if field.column in expressions:
            selected.append(expressions[field.column].replace("%", "%%"))
            continue
        if by_database:
            selected.append(_ago("0"))
            continue
        prepared = field.get_db_prep_save(value, connection)
        if prepared is None:
            selected.append("NULL")
            continue
        cast = field.cast_db_type(connection) if connection.vendor == "postgresql" else ""
        selected.append(f"%s::{cast}" if cast else "%s")
        literals.append(prepared)
    return ", ".join(names), ", ".join(selected), literals


def _leased(first_agent: int) -> dict[str, str]:
    """A lease that outlives the run: the sweep has nothing to take back while we measure."""
    return {
        "holder_id": f"{first_agent} + s.n % {AGENTS}",
        "epoch": "1",
        "session_key": f"'bench:' || {_code('s.n')}",
        "session_locked_at": _ago("60"),
        "lease_seconds": "86400",
        "lease_expires_at": _ago("-86400"),
        "heartbeat_at": _ago("s.n % 60"),
        "progress_percent": "s.n % 100",
        "progress_step": "'Step ' || (s.n % 9)",
    }


def _sessions(first_agent: int) -> None:
    """The attempt behind every task that is in hand, handed in or done."""
    agent = first_agent
    template = Session(key="", agent_id=agent, task_id=0, attempt=1, model="bench")
    live = f"t.status = '{IN_PROGRESS}'"
    columns, selected, literals = _columns(
        template,
        {
            "key": "'bench:' || t.code",
            "agent_id": f"COALESCE(t.holder_id, {agent} + t.id % {AGENTS})",
            "task_id": "t.id",
            "state": f"CASE WHEN {live} THEN 'running' ELSE 'completed' END",
            "ended_at": f"CASE WHEN {live} THEN NULL ELSE t.status_changed_at END",
        },
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO tasks_session ({columns}) SELECT {selected} FROM tasks_task t"
            f" WHERE t.status IN ('{IN_PROGRESS}', '{REVIEW}', '{DONE}')",
            literals,
        )


def _count_in(after: int) -> None:
    """Make the folded counts true again: the loaded tasks have no activities that the board could sum."""
    with log._turn_to_write(), transaction.atomic():
        Watermark.objects.select_for_update().get(pk="counted")
        added = Task.objects.filter(pk__gt=after).values_list("venture__slug", "status").annotate(n=models.Count("pk"))
        for venture, status, n in added.order_by():
            row, _ = StatusCount.objects.get_or_create(venture=venture, status=status)
            StatusCount.objects.filter(pk=row.pk).update(n=F("n") + n)
        Watermark.objects.filter(pk="counted").update(at=Now())


def _newest() -> int:
    return Task.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _lane(venture: Venture, needs: tuple[str, ...], assignee: Agent | None = None) -> Lane:
    lane, _ = Lane.objects.get_or_create(
        venture=venture, assignee=assignee, capabilities_key=",".join(needs), defaults={"capabilities": list(needs)}
    )
    return lane


# ── the two dialects ────────────────────────────────────────────────────────────────────────────────────────────────


def _code(number: str) -> str:
    if connection.vendor == "postgresql":
        return f"'b' || lpad(({number})::text, 7, '0')"
    return f"printf('b%07d', {number})"


def _ago(seconds: str) -> str:
    if connection.vendor == "postgresql":
        return f"clock_timestamp() - ({seconds}) * interval '1 second'"
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', (-({seconds})) || ' seconds') || '000'"


def _word(words: tuple[str, ...], number: str) -> str:
    """One of the words, by a number in SQL."""
    quoted = _json_text(list(words)).replace("'", "''")
    if connection.vendor == "postgresql":
        return f"('{quoted}'::jsonb ->> (({number}) % {len(words)})::int)"
    return f"json_extract('{quoted}', '$[' || (({number}) % {len(words)}) || ']')"


def _as_json(text: str) -> str:
    return f"({text})::jsonb" if connection.vendor == "postgresql" else text


def _json_text(value: list[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in value) + "]"
