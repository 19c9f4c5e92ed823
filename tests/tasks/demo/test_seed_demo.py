"""`manage.py seed_demo`: a past that agrees with itself, told once, on an empty board only."""

import hashlib
import io
from datetime import timedelta
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import system
from mission_control.models import Activity
from tasks import explain, invariants, transitions
from tasks.collaboration_models import ContextEntry, PlanStep
from tasks.demo import seeding
from tasks.models import Deliverable, Session, Task
from tasks.vocabulary import STATUSES
from ventures.models import LedgerEntry, Venture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def short(monkeypatch):
    """Fewer generated tasks, for what does not depend on their number."""
    monkeypatch.setattr(seeding, "GENERATED", 14)


def seed() -> str:
    out = io.StringIO()
    call_command("seed_demo", stdout=out)
    return out.getvalue()


def consistent() -> None:
    assert {name: told for name, told in invariants.broken().items() if told} == {}
    while log.seal_log():
        pass
    checked, complaint = log.verify_log()
    assert complaint == ""
    assert checked == log.head()


def test_the_demo_is_a_past_that_agrees_with_itself(settings):
    assert seed().startswith("The demo is written: ")
    consistent()
    now = log.now()

    # Six days, told in order, none of it in the future.
    times = list(Activity.objects.order_by("seq").values_list("at", flat=True))
    assert len(times) > 900
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert now - times[0] > timedelta(days=5, hours=23)
    assert now - times[-1] < timedelta(minutes=5)
    assert times[-1] <= now
    assert len({moment.date() for moment in times}) >= 6

    # Something of everything.
    assert set(Task.objects.values_list("status", flat=True)) == set(STATUSES)
    assert 100 <= Task.objects.count() <= 140
    kinds = set(Activity.objects.values_list("kind", flat=True))
    assert kinds >= {
        "task.created", "task.claimed", "task.progressed", "task.completed", "task.failed", "task.expired",
        "task.blocked", "task.unblocked", "task.returned", "task.accepted", "task.cancelled", "task.paused",
        "session.started", "session.ended", "deliverable.added", "agent.went_offline", "plan.changed", "comment.added",
        "context.shared", "participant.joined",
    }  # fmt: skip

    # The rows tell the same times as the log.
    for task in Task.objects.all():
        lines = Activity.objects.filter(task=task.code).order_by("seq")
        assert abs(task.created_at - lines[0].at) < timedelta(seconds=2), task
        last = lines.exclude(status_to="").last()
        assert abs(task.status_changed_at - last.at) < timedelta(seconds=2), task
    for session in Session.objects.select_related("task"):
        assert session.started_at <= session.heartbeat_at <= now
        assert session.ended_at is None or session.started_at < session.ended_at <= now
    assert not LedgerEntry.objects.filter(at__gt=now - timedelta(seconds=3)).exists()
    assert LedgerEntry.objects.filter(at__lt=now - timedelta(days=3)).count() > 100
    assert all(venture.capital_spent_micro_usd > 1_000_000 for venture in Venture.objects.exclude(slug="default"))

    # Work in hand is alive, one of it silent; what waits can say for what.
    running = Task.objects.filter(status="in_progress").select_related("venture", "holder")
    assert all(task.lease_expires_at > now + timedelta(minutes=20) for task in running)
    quiet = [task for task in running if now - task.heartbeat_at > timedelta(minutes=10)]
    assert [task.holder.slug for task in quiet] == ["linus"]
    assert Session.objects.live().filter(type="subagent").count() == 2
    assert all(explain.waits_for(task) for task in Task.objects.select_related("venture", "assignee", "holder"))
    assert Agent.objects.get(slug="dijkstra").seen_offline

    # Plans are at the step that the task shows, and what was said stands where its line does.
    for step in PlanStep.objects.filter(state="running").select_related("task"):
        assert step.task.status != "done", step
    assert PlanStep.objects.filter(state="running", task__status="in_progress").exists()
    for entry in ContextEntry.objects.select_related("task"):
        shared = Activity.objects.get(kind="context.shared", task=entry.task.code, data__key=entry.key)
        assert abs(entry.at - shared.at) < timedelta(seconds=2)

    # The files are there and are what their rows say.
    rows = Deliverable.objects.exclude(file="")
    assert rows.count() > 50
    for row in rows:
        content = row.file.read()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row.size, row.sha256)

    # The urgent one stands first in the queue.
    assert (
        Task.objects.filter(status="ready").order_by("sort_key", "id")[0].title.startswith("Product page returns 500")
    )


def test_a_second_run_does_nothing(short):
    seed()
    before = (log.head(), Task.objects.count(), Deliverable.objects.count())
    assert seed() == "The demo is there already. Nothing was changed.\n"
    Task.objects.filter(status="inbox").delete()
    assert seed() == "The demo is there already. Nothing was changed.\n"
    assert (log.head(), Deliverable.objects.count()) == (before[0], before[2])


def test_a_board_with_tasks_is_left_alone(short):
    transitions.create(system("test"), title="Real work")
    head = log.head()
    assert "has tasks already" in seed()
    assert (log.head(), Task.objects.count()) == (head, 1)


def test_after_the_log_has_begun_the_past_is_drawn_together(short):
    """Somebody looked around first: what happened before the demo stays before it."""
    mine = roster.create(system("test"), name="Ada", slug="ada", role="Mine")
    first = Activity.objects.get().at
    seed()
    consistent()
    times = list(Activity.objects.order_by("seq").values_list("at", flat=True))
    assert times == sorted(times)
    assert times[0] == first
    assert times[-1] <= log.now()
    assert Agent.objects.get(slug="ada").role == mine.role
    assert set(Task.objects.values_list("status", flat=True)) == set(STATUSES)


def test_under_a_freeze_nothing_is_written(short):
    log.freeze(system("test"))
    with pytest.raises(CommandError, match="The fleet is frozen"):
        seed()
    assert not Task.objects.exists()
    assert not Agent.objects.exists()
    assert log.head() == 1
