"""The verbs on tasks: what each moves, what it refuses with what sentence, what it writes, books and records."""

import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import system
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity
from tasks import claiming, leases, transitions
from tasks.claiming import Wish
from tasks.leases import Fence
from tasks.models import BONUS, Deliverable, Lane, Session, Task
from tasks.transitions import MOVES
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
    STATUSES,
)
from tests.conftest import DIRECTOR, a_task, an_agent, claimed, fence, fresh
from ventures import catalogue
from ventures.ledger import Spent
from ventures.models import LedgerEntry

pytestmark = pytest.mark.django_db


def newest(kind: str = "") -> Activity:
    lines = Activity.objects.filter(kind=kind) if kind else Activity.objects.all()
    return lines.order_by("-seq")[0]


def kinds(task: Task) -> list[str]:
    return list(Activity.objects.filter(task=task.code).order_by("seq").values_list("kind", flat=True))


@pytest.fixture
def in_status(operator, ada):
    """`in_status(status)`: a task that came there by verbs."""

    def make(status: str) -> Task:
        if status == INBOX:
            return a_task(status=INBOX)
        if status == ASSIGNED:
            return a_task(assignee=ada.agent)
        task = a_task()
        if status == IN_PROGRESS:
            claimed(ada, task)
        elif status == PAUSED:
            transitions.pause(operator, task.code)
        elif status == BLOCKED:
            transitions.block(operator, task.code, kind="needs_input", reason="Which colour?")
        elif status == REVIEW:
            claimed(ada, task)
            transitions.complete(ada, task.code, review=True)
        elif status == DONE:
            claimed(ada, task)
            transitions.complete(ada, task.code)
        elif status == FAILED:
            catalogue.change(DIRECTOR, task.venture, {"max_failures": 1})
            claimed(ada, task)
            transitions.fail(ada, task.code, error="no")
        elif status == CANCELLED:
            transitions.cancel(operator, task.code)
        made = fresh(task)
        assert made.status == status
        return made

    return make


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────

BY_HAND = {
    "start": lambda who, code: transitions.start(who, code),
    "release": lambda who, code: transitions.release(who, code),
    "block": lambda who, code: transitions.block(who, code, kind="needs_input", reason="Which colour?"),
    "unblock": lambda who, code: transitions.unblock(who, code),
    "pause": lambda who, code: transitions.pause(who, code),
    "resume": lambda who, code: transitions.resume(who, code),
    "complete": lambda who, code: transitions.complete(who, code),
    "accept": lambda who, code: transitions.accept(who, code),
    "return": lambda who, code: transitions.return_(who, code, reason="Not yet."),
    "cancel": lambda who, code: transitions.cancel(who, code),
    "reopen": lambda who, code: transitions.reopen(who, code),
    "retry": lambda who, code: transitions.retry(who, code),
}


@pytest.mark.parametrize("status", STATUSES)
def test_an_operator_may_do_exactly_what_the_table_allows(status, in_status, operator):
    for verb, act in BY_HAND.items():
        task = in_status(status)
        before = log.head()
        froms, tos = MOVES[verb]
        if status in froms:
            act(operator, task.code)
            assert fresh(task).status in tos, verb
            assert log.head() > before, verb
            continue
        with pytest.raises(Refused) as refusal:
            act(operator, task.code)
        assert refusal.value.status == 409, verb
        assert refusal.value.sentence == f"Cannot {verb}. {transitions.WHAT_WOULD_WORK[status]}"
        assert fresh(task).status == status, verb
        assert log.head() == before, verb


def test_an_agent_claims_only_what_stands_in_a_queue(in_status, ada):
    for status in STATUSES:
        task = in_status(status)
        if status in MOVES["claim"][0]:
            assert claimed(ada, task).task.status == IN_PROGRESS
            continue
        with pytest.raises(Refused):
            claimed(ada, task, session_key="another")
        assert fresh(task).status == status


def test_the_status_is_the_last_one_that_the_log_says(in_status):
    for status in STATUSES:
        task = in_status(status)
        said = Activity.objects.filter(task=task.code).exclude(status_to="").order_by("-seq")[0]
        assert said.status_to == status


def test_every_recorded_change_raises_the_version_by_one(operator, ada):
    task = a_task()
    assert task.version == 1
    claimed(ada, task)
    transitions.progress(ada, task.code, percent=10)
    transitions.release(ada, task.code)
    transitions.pause(operator, task.code)
    assert fresh(task).version == 5 == len(kinds(task))


# ── create ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_task_is_ready_unless_its_venture_sorts_first(operator):
    assert transitions.create(operator, title="x").status == READY
    sorting = catalogue.create(DIRECTOR, name="Sorting", intake="inbox")
    assert transitions.create(operator, title="x", venture=sorting).status == INBOX
    assert transitions.create(operator, title="x", venture=sorting, status=READY).status == READY


def test_a_new_task_with_an_assignee_is_assigned(operator, ada):
    task = transitions.create(operator, title="x", assignee=ada.agent)
    assert (task.status, task.offered) == (ASSIGNED, True)
    assert not transitions.create(operator, title="x", status=ASSIGNED).offered  # it waits for one
    with pytest.raises(Invalid):
        transitions.create(operator, title="x", assignee=ada.agent, status=READY)


@pytest.mark.parametrize("status", [IN_PROGRESS, DONE, REVIEW, BLOCKED, PAUSED])
def test_a_new_task_cannot_begin_in_the_middle(status, operator):
    with pytest.raises(Invalid):
        transitions.create(operator, title="x", status=status)


def test_a_new_task_that_waits_for_another_is_blocked(operator, ada):
    first = a_task()
    second = transitions.create(operator, title="x", depends_on=[first, first])
    assert (second.status, second.blockers_open, second.offered) == (BLOCKED, 1, False)
    sorted_later = transitions.create(operator, title="y", depends_on=[first], status=INBOX)
    claimed(ada, first)
    transitions.complete(ada, first.code)
    assert fresh(second).status == READY
    assert fresh(sorted_later).status == INBOX
    assert transitions.create(operator, title="z", depends_on=[first]).status == READY  # it is done


def test_creating_needs_to_orchestrate(ada, viewer, orchestrator):
    for actor in (ada, viewer):
        with pytest.raises(NotAllowed):
            transitions.create(actor, title="x")
    assert transitions.create(orchestrator, title="x").created_by == "otto"


def test_a_batch_is_created_whole_or_not_at_all(operator):
    tasks = transitions.create_many(operator, [{"title": str(n)} for n in range(500)])
    assert len({task.code for task in tasks}) == 500
    assert [t.title for t in Task.objects.order_by("sort_key")] == [str(n) for n in range(500)]
    with pytest.raises(Invalid):
        transitions.create_many(operator, [{"title": "a"}, {"title": "b", "status": DONE}])
    with pytest.raises(Invalid):
        transitions.create_many(operator, [{"title": "x"}] * 501)
    assert Task.objects.count() == 500


def test_a_code_that_is_taken_is_rolled_again(operator, monkeypatch):
    taken = a_task().code
    rolls = iter(["zzzzzzzz"])
    monkeypatch.setattr(transitions, "new_code", lambda: next(rolls))
    original = transitions._built

    def with_taken_code(*args, **kwargs):
        task = original(*args, **kwargs)
        task.code = taken
        return task

    monkeypatch.setattr(transitions, "_built", with_taken_code)
    assert transitions.create(operator, title="x").code == "zzzzzzzz"


def test_a_task_may_be_created_in_the_name_of_an_agent(operator, ada):
    task = transitions.create(operator, title="x", created_by=ada.agent)
    assert (task.created_by_type, task.created_by) == ("agent", "ada")
    assert newest().actor == "olivia"


# ── edit ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edit_records_before_and_after_of_what_differs(operator):
    task = a_task("Old", tags=["a"])
    changes = {"title": "New", "tags": ["a"], "estimated_hours": Decimal("1.5")}
    edited = transitions.edit(operator, task.code, changes)
    assert (edited.title, edited.version) == ("New", 2)
    data = newest("task.updated").data
    assert data["before"] == {"title": "Old", "estimated_hours": None}
    assert data["after"] == {"title": "New", "estimated_hours": "1.5"}
    transitions.edit(operator, task.code, {"title": "New"})
    assert fresh(task).version == 2


def test_an_edit_of_an_older_version_is_refused(operator):
    task = a_task()
    transitions.edit(operator, task.code, {"title": "New"}, version=1)
    with pytest.raises(Refused) as refusal:
        transitions.edit(operator, task.code, {"title": "Newer"}, version=1)
    assert (refusal.value.status, refusal.value.code) == (412, "stale")
    with pytest.raises(Refused):
        transitions.move(operator, task.code, INBOX, version=1)
    with pytest.raises(Refused):
        transitions.expect_version(operator, task.code, 1)
    transitions.expect_version(operator, task.code, 2)


def test_a_ready_task_that_is_given_to_somebody_is_assigned(operator, ada, bob):
    task = a_task()
    assert transitions.edit(operator, task.code, {"assignee": ada.agent}).status == ASSIGNED
    assert claiming.claim_next(bob, Wish()) == []
    assert claiming.claim_next(ada, Wish())[0].task.pk == task.pk


def test_a_new_priority_moves_the_task_in_the_queue(operator):
    task = a_task()
    before = task.sort_key
    transitions.edit(operator, task.code, {"priority": 3})
    assert fresh(task).sort_key == before - 2 * BONUS


def test_other_skills_put_a_task_into_another_lane(operator, ada, bob):
    task = a_task()
    transitions.edit(operator, task.code, {"required_capabilities": ["design"]})
    assert claiming.claim_next(ada, Wish()) == []
    assert claiming.claim_next(bob, Wish())[0].task.pk == task.pk


def test_a_task_is_not_its_own_ancestor(operator):
    parent = a_task()
    child = transitions.create(operator, title="child", parent=parent)
    grandchild = transitions.create(operator, title="grandchild", parent=child)
    for above in (parent, child, grandchild):
        with pytest.raises(Invalid):
            transitions.edit(operator, parent.code, {"parent": above})
    assert transitions.edit(operator, grandchild.code, {"parent": parent}).parent == parent


def test_a_task_that_changes_venture_counts_there(operator, venture):
    task = a_task()
    transitions.edit(operator, task.code, {"venture": venture})
    assert log.counts_by_venture() == {"apollo": {READY: 1}}
    claim = claimed(an_agent("cleo"), fresh(task))
    with pytest.raises(Refused):
        transitions.edit(operator, task.code, {"venture": catalogue.default()})
    assert claim.task.venture == venture


def test_only_an_operator_a_lead_or_its_creator_edits(ada, lead, bob, orchestrator):
    task = a_task()
    for actor in (ada, bob):
        with pytest.raises(NotAllowed):
            transitions.edit(actor, task.code, {"title": "Mine"})
    transitions.edit(lead, task.code, {"title": "Led"})
    own = transitions.create(orchestrator, title="own", created_by=ada.agent)
    assert transitions.edit(ada, own.code, {"title": "Mine"}).title == "Mine"


def test_what_cannot_be_edited_is_refused_by_field(operator):
    task = a_task()
    with pytest.raises(Invalid) as refusal:
        transitions.edit(operator, task.code, {"status": DONE, "epoch": 4})
    assert [line["field"] for line in refusal.value.details] == ["epoch", "status"]


# ── move ────────────────────────────────────────────────────────────────────────────────────────────────────────────

# (here, there) → the kind of the verb that the move becomes.
MOVES_BY_HAND = {
    (INBOX, READY): "task.moved", (READY, INBOX): "task.moved", (READY, ASSIGNED): "task.moved",
    (ASSIGNED, READY): "task.moved", (ASSIGNED, INBOX): "task.moved",
    (READY, IN_PROGRESS): "task.started", (ASSIGNED, IN_PROGRESS): "task.started",
    (ASSIGNED, DONE): "task.completed", (IN_PROGRESS, REVIEW): "task.completed", (IN_PROGRESS, DONE): "task.completed",
    (REVIEW, DONE): "task.accepted", (REVIEW, READY): "task.returned", (REVIEW, ASSIGNED): "task.returned",
    (IN_PROGRESS, READY): "task.released", (IN_PROGRESS, INBOX): "task.released",
    (READY, PAUSED): "task.paused", (IN_PROGRESS, PAUSED): "task.paused", (PAUSED, READY): "task.resumed",
    (READY, BLOCKED): "task.blocked", (BLOCKED, READY): "task.unblocked", (FAILED, READY): "task.retried",
    (DONE, READY): "task.reopened", (CANCELLED, READY): "task.reopened", (INBOX, CANCELLED): "task.cancelled",
}  # fmt: skip


NO_MOVES = [
    (INBOX, DONE), (INBOX, IN_PROGRESS), (READY, REVIEW), (DONE, INBOX), (DONE, REVIEW), (CANCELLED, DONE),
    (PAUSED, IN_PROGRESS), (FAILED, REVIEW), (BLOCKED, DONE), (READY, FAILED), (REVIEW, INBOX),
]  # fmt: skip


def test_a_move_becomes_the_verb_for_it(in_status, operator):
    for (here, there), kind in MOVES_BY_HAND.items():
        task = in_status(here)
        transitions.move(operator, task.code, there)
        assert kinds(task)[-1] == kind, (here, there)


def test_a_move_that_no_verb_makes_is_refused_with_what_would_work(in_status, operator):
    for here, there in NO_MOVES:
        task = in_status(here)
        with pytest.raises(Refused) as refusal:
            transitions.move(operator, task.code, there)
        assert transitions.WHAT_WOULD_WORK[here] in refusal.value.sentence
        assert fresh(task).status == here


def test_the_order_of_the_ready_column_is_the_order_of_claims(operator, ada):
    first, second, third = (a_task(str(n)) for n in range(3))
    transitions.move(operator, third.code, READY, before=first.code)
    transitions.move(operator, first.code, READY, after=second.code)
    assert [claimed(ada).task.code for _ in range(3)] == [third.code, second.code, first.code]


def test_there_is_always_room_between_two_neighbours(operator):
    first, second = a_task("first"), a_task("second")
    for _ in range(60):
        mover = a_task()
        transitions.move(operator, mover.code, READY, after=first.code)
        ordered = list(Task.objects.order_by("sort_key", "id").values_list("code", flat=True))
        assert ordered[ordered.index(first.code) + 1] == mover.code
    keys = list(Task.objects.values_list("sort_key", flat=True))
    assert len(set(keys)) == len(keys)
    assert ordered[-1] == second.code


def test_a_neighbour_that_has_gone_is_ignored(operator, ada):
    first, second = a_task("first"), a_task("second")
    claimed(ada, first)
    transitions.move(operator, second.code, READY, before=first.code)
    assert fresh(second).sort_key == second.sort_key


def test_a_ready_task_is_nobodys(operator, ada):
    task = a_task(assignee=ada.agent)
    moved = transitions.move(operator, task.code, READY)
    assert moved.assignee is None
    assert newest("task.moved").data["before"] == {"status": ASSIGNED, "assignee": "ada"}


def test_whose_status_is_not_the_callers_business_is_not_moved(viewer, bob):
    task = a_task()
    for actor in (viewer, bob):
        for status in (INBOX, ASSIGNED, PAUSED, CANCELLED):
            with pytest.raises(NotAllowed):
                transitions.move(actor, task.code, status)


# ── the work itself ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_person_starts_work_by_hand_without_a_lease(operator, viewer, ada):
    task = a_task()
    for actor in (viewer, ada):
        with pytest.raises(NotAllowed):
            transitions.start(actor, task.code)
    started = transitions.start(operator, task.code)
    assert (started.epoch, started.holder, started.lease_expires_at) == (1, None, None)
    assert fresh(task).held_by == operator.user
    with pytest.raises(Refused) as refusal:
        claimed(ada, task)
    assert refusal.value.facts["claimedBy"] == "olivia"
    done = transitions.complete(operator, task.code)
    assert (done.status, fresh(task).held_by) == (DONE, None)


def test_a_heartbeat_extends_the_lease_and_records_nothing(ada):
    claim = claimed(ada, a_task(), lease_seconds=60)
    Task.objects.update(lease_expires_at=Now() + timedelta(seconds=1))
    before = log.head()
    beat = transitions.heartbeat(ada, claim.task.code, fence(claim))
    assert beat.lease_expires_at - log.now() > timedelta(seconds=55)
    assert (log.head(), fresh(claim.task).version) == (before, claim.task.version)


def test_progress_shows_extends_and_books_the_difference(ada):
    claim = claimed(ada, a_task(), lease_seconds=60)
    code = claim.task.code
    Task.objects.update(lease_expires_at=Now() + timedelta(seconds=1))
    transitions.progress(ada, code, fence(claim), percent=40, step="Sewing", total=Spent(1_000, 10, 5))
    transitions.progress(ada, code, fence(claim), message="Half way", total=Spent(1_500, 12, 5))
    task = fresh(claim.task)
    assert (task.progress_percent, task.progress_step) == (40, "Half way")
    assert (task.actual_cost_micro_usd, task.tokens_used) == (1_500, 17)
    assert task.lease_expires_at - log.now() > timedelta(seconds=50)
    assert [e.amount_micro_usd for e in LedgerEntry.objects.order_by("id")] == [1_000, 500]
    assert newest("task.progressed").session == task.session_key


def test_releasing_keeps_the_place_in_the_queue_and_counts_no_failure(ada):
    task = a_task()
    a_task("later")
    claim = claimed(ada)
    released = transitions.release(ada, task.code, fence(claim), reason="Not mine")
    assert (released.status, released.failures, released.offered) == (READY, 0, True)
    assert claimed(ada).task.pk == task.pk
    assert Session.objects.get(task=task, attempt=1).state == "cancelled"


def test_a_failure_holds_the_task_back_for_longer_each_time(ada):
    task = a_task()
    for failures, least, most in ((1, 8, 12), (2, 16, 24)):
        Task.objects.update(not_before=None, offered=True)
        claim = claimed(ada, task)
        failed = transitions.fail(ada, task.code, fence(claim), error="It broke")
        seconds = (failed.not_before - log.now()).total_seconds()
        assert (failed.failures, failed.status, failed.offered) == (failures, READY, False)
        assert least - 1 <= seconds <= most
        with pytest.raises(Refused) as refusal:
            claimed(ada, task)
        assert refusal.value.code == "backing_off"
    Task.objects.update(not_before=None, offered=True)
    claim = claimed(ada, task)
    failed = transitions.fail(ada, task.code, fence(claim), error="It broke")
    assert (failed.status, failed.failures) == (FAILED, 3)
    assert newest("task.failed").level == "error"
    assert Session.objects.filter(task=task, state="failed", error="It broke").count() == 3


def test_a_failed_task_is_offered_again_with_a_clean_count(in_status, operator):
    task = in_status(FAILED)
    retried = transitions.retry(operator, task.code)
    assert (retried.status, retried.failures, retried.not_before) == (READY, 0, None)


def test_an_expired_lease_counts_as_a_failure(ada):
    claim = claimed(ada, a_task(assignee=ada.agent))
    assert transitions.expire(system("sweep"), claim.task.pk) is None
    Task.objects.update(lease_expires_at=Now() - timedelta(seconds=1))
    expired = transitions.expire(system("sweep"), claim.task.pk)
    assert (expired.status, expired.failures, expired.holder) == (ASSIGNED, 1, None)
    session = Session.objects.get(task=claim.task)
    assert (session.state, session.error) == ("failed", "lease expired")
    assert newest("task.expired").agent == "ada"


# ── complete ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_completion_tells_keeps_and_books_everything(ada):
    task = a_task()
    claim = claimed(ada, task)
    done = transitions.complete(
        ada, task.code, fence(claim), summary="All done", output={"rows": [1, 2]}, total=Spent(2_000, 30, 20),
        deliverables=[{"type": "url", "title": "The page", "path": "https://example.org"}],
        actual_hours=Decimal("1.25"), branch="agent/ada", commits=["abc"],
    )  # fmt: skip
    assert (done.status, done.completion_summary, done.output) == (DONE, "All done", {"rows": [1, 2]})
    assert (done.branch, done.deliverable_count, done.progress_percent) == ("agent/ada", 1, 100)
    session = Session.objects.get(task=task)
    assert (session.state, session.summary, session.tokens, session.cost_micro_usd) == (
        "completed",
        "All done",
        50,
        2000,
    )
    agent = Agent.objects.get(slug="ada")
    assert (agent.tasks_completed, agent.tokens_used) == (1, 50)
    assert newest("task.completed").data["commits"] == ["abc"]
    assert LedgerEntry.objects.get().attempt == 1


@pytest.mark.parametrize("asked_by", ["task", "venture", "call"])
def test_work_goes_to_review_when_somebody_asks_for_it(asked_by, ada, operator):
    task = a_task(review_required=asked_by == "task")
    if asked_by == "venture":
        catalogue.change(DIRECTOR, task.venture, {"review_required": True})
    claim = claimed(ada, task)
    handed = transitions.complete(ada, task.code, fence(claim), review=asked_by == "call")
    assert handed.status == REVIEW
    assert Agent.objects.get(slug="ada").tasks_completed == 0
    transitions.accept(operator, task.code, note="Good")
    assert Agent.objects.get(slug="ada").tasks_completed == 1


def test_finishing_frees_what_waited_for_it_alone(operator, ada):
    first, second = a_task("first"), a_task("second")
    waits_for_one = transitions.create(operator, title="one", depends_on=[first])
    waits_for_both = transitions.create(operator, title="both", depends_on=[first, second], assignee=ada.agent)
    claimed(ada, first)
    transitions.complete(ada, first.code)
    assert (fresh(waits_for_one).status, fresh(waits_for_both).status) == (READY, BLOCKED)
    assert fresh(waits_for_both).blockers_open == 1
    claimed(ada, second)
    transitions.complete(ada, second.code)
    assert fresh(waits_for_both).status == ASSIGNED
    assert newest("task.unblocked").data["reason"] == f"{second.code} is done"


def test_a_thousand_that_wait_are_freed_by_one_completion_in_a_handful_of_statements(ada):
    first = a_task("First")
    for _ in range(2):
        transitions.create_many(DIRECTOR, [{"title": "Waits", "depends_on": [first]}] * 500)
    claim = claimed(ada, first)
    began = time.monotonic()
    with CaptureQueriesContext(connection) as asked:
        transitions.complete(ada, first.code, fence(claim), summary="Done")
    assert len(asked) < 40
    assert time.monotonic() - began < 5, "within a second where nothing is captured; five for a busy machine"
    assert Task.objects.filter(status="ready").count() == 1000
    assert Activity.objects.filter(kind="task.unblocked").count() == 1000


def test_a_failed_or_cancelled_prerequisite_keeps_its_dependants_blocked(operator):
    first = a_task()
    second = transitions.create(operator, title="x", depends_on=[first])
    transitions.cancel(operator, first.code)
    assert fresh(second).status == BLOCKED
    with pytest.raises(Refused) as refusal:
        transitions.unblock(operator, second.code)
    assert refusal.value.facts["waits_for"] == [first.code]


def test_nobody_but_its_holder_or_who_steers_completes(ada, bob, viewer, lead):
    task = a_task()
    claimed(ada, task)
    for actor in (bob, viewer):
        with pytest.raises(Refused):
            transitions.complete(actor, task.code)
    assert transitions.complete(lead, task.code).status == DONE


def test_an_assigned_task_is_claimed_before_its_agent_completes_it(ada, operator):
    task = a_task(assignee=ada.agent)
    with pytest.raises(NotAllowed):
        transitions.complete(ada, task.code)
    assert transitions.complete(operator, task.code).status == DONE


# ── zombies ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_zombie_cannot_complete_but_what_it_did_is_kept(ada, bob):
    task = a_task()
    old = claimed(ada, task)
    Task.objects.update(lease_expires_at=Now() - timedelta(seconds=1))
    transitions.expire(system("sweep"), task.pk)
    Task.objects.update(not_before=None, offered=True)
    new = claimed(bob, task)
    with pytest.raises(Refused) as refusal:
        transitions.complete(
            ada, task.code, fence(old), total=Spent(5_000, 1, 1),
            deliverables=[{"type": "artifact", "title": "Late", "path": "x"}],
        )  # fmt: skip
    assert (refusal.value.code, refusal.value.status, refusal.value.keep) == ("lease_lost", 409, True)
    task = fresh(task)
    assert (task.status, task.holder, task.epoch) == (IN_PROGRESS, bob.agent, new.epoch)
    assert (task.actual_cost_micro_usd, LedgerEntry.objects.get().attempt) == (5_000, 1)
    late = Deliverable.objects.get()
    assert (late.orphaned, late.attempt) == (True, 1)
    for verb in (transitions.progress, transitions.release, transitions.fail):
        with pytest.raises(Refused) as refusal:
            verb(ada, task.code, fence(old))
        assert refusal.value.code == "lease_lost"
    assert fresh(task).holder == bob.agent


@pytest.mark.parametrize("role", ["lead", "orchestrator"])
def test_a_zombie_does_not_get_around_the_fence_by_its_role(role, request, ada):
    boss = request.getfixturevalue(role)
    task = a_task()
    old = claimed(boss, task)
    transitions.release(boss, task.code)
    claimed(ada, task)
    with pytest.raises(Refused) as refusal:
        transitions.complete(boss, task.code, fence(old))
    assert refusal.value.code == "lease_lost"
    with pytest.raises(Refused):
        transitions.complete(boss, task.code)


def test_a_late_completion_before_the_sweep_wins(ada):
    claim = claimed(ada, a_task())
    Task.objects.update(lease_expires_at=Now() - timedelta(minutes=5))
    assert transitions.complete(ada, claim.task.code, fence(claim)).status == DONE


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_holder_learns_on_its_next_call_that_it_was_stopped(verb, ada, operator):
    claim = claimed(ada, a_task())
    getattr(transitions, verb)(operator, claim.task.code, reason="Wait")
    for write in (transitions.heartbeat, transitions.progress, transitions.complete):
        with pytest.raises(Refused) as refusal:
            write(ada, claim.task.code, fence(claim))
        assert refusal.value.code == {"cancel": "cancelled", "pause": "paused"}[verb]
    assert Session.objects.get().ended_at is not None


def test_an_operator_adopts_an_orphaned_result(ada, bob, operator):
    task = a_task()
    old = claimed(ada, task)
    transitions.release(ada, task.code)
    claimed(bob, task)
    with pytest.raises(Refused):
        transitions.deliver(ada, task.code, [{"type": "artifact", "title": "Late"}], fence=fence(old))
    with pytest.raises(NotAllowed):
        transitions.adopt(bob, task.code, 1)
    assert transitions.adopt(operator, task.code, 1).orphaned is False
    with pytest.raises(Refused):
        transitions.adopt(operator, task.code, 1)
    with pytest.raises(NotThere):
        transitions.adopt(operator, task.code, 2)


# ── hold and let go ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("hold", "let_go"), [("pause", "resume"), ("block", "unblock")])
def test_what_was_held_back_goes_back_to_where_it_was(hold, let_go, in_status, operator):
    for where in (INBOX, REVIEW, FAILED, ASSIGNED, READY):
        task = in_status(where)
        BY_HAND[hold](operator, task.code)
        BY_HAND[let_go](operator, task.code)
        assert fresh(task).status == where


def test_what_was_worked_on_rests_where_it_may_be_claimed(operator, ada):
    ready, assigned = a_task("ready"), a_task("assigned", assignee=ada.agent)
    for task in (ready, assigned):
        claimed(ada, task)
        transitions.pause(operator, task.code)
        transitions.resume(operator, task.code)
    assert (fresh(ready).status, fresh(assigned).status) == (READY, ASSIGNED)


def test_a_paused_task_that_waits_for_another_rests_blocked(operator, ada):
    first, second = a_task(), a_task()
    transitions.pause(operator, second.code)
    transitions.add_dependency(operator, second.code, first.code)
    assert fresh(second).status == PAUSED
    assert transitions.resume(operator, second.code).status == BLOCKED
    claimed(ada, first)
    transitions.complete(ada, first.code)
    assert fresh(second).status == READY


def test_a_reason_and_a_prerequisite_both_have_to_go(operator, ada):
    first, second = a_task(), a_task()
    transitions.block(operator, second.code, kind="needs_input", reason="Which colour?")
    transitions.add_dependency(operator, second.code, first.code)
    claimed(ada, first)
    transitions.complete(ada, first.code)
    assert fresh(second).status == BLOCKED
    freed = transitions.unblock(operator, second.code, answer="Blue")
    assert (freed.status, freed.blocked_reason) == (READY, "")
    assert newest("task.unblocked").data == {"reason": "Which colour?", "answer": "Blue"}


def test_a_holder_blocks_its_task_and_gives_it_up(ada):
    claim = claimed(ada, a_task())
    blocked = transitions.block(
        ada, claim.task.code, fence(claim), kind="needs_input", reason="Which colour?", total=Spent(700)
    )
    assert (blocked.status, blocked.blocked_kind, blocked.holder) == (BLOCKED, "needs_input", None)
    assert blocked.actual_cost_micro_usd == 700
    assert Session.objects.get().state == "waiting"


@pytest.mark.parametrize(("kind", "reason"), [("boredom", "x"), ("needs_input", "  ")])
def test_a_block_has_a_known_kind_and_a_reason(kind, reason, operator):
    with pytest.raises(Invalid):
        transitions.block(operator, a_task().code, kind=kind, reason=reason)


# ── the verdict ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_return_says_what_is_missing_and_goes_to_the_back(in_status, operator):
    task = in_status(REVIEW)
    key = task.sort_key
    with pytest.raises(Invalid):
        transitions.return_(operator, task.code, reason=" ")
    returned = transitions.return_(operator, task.code, reason="No sizes")
    assert (returned.status, returned.progress_percent) == (READY, None)
    assert returned.sort_key > key
    assert newest("task.returned").message == "No sizes"


@pytest.mark.parametrize("verdict", ["accept", "return"])
def test_an_agent_never_judges_its_own_or_its_sub_agents_work(verdict, lead, ada, orchestrator):
    own = a_task("own")
    claim = claimed(lead, own)
    transitions.complete(lead, own.code, fence(claim), review=True)
    with pytest.raises(NotAllowed) as refusal:
        BY_HAND[verdict](lead, own.code)
    assert refusal.value.code == "own_work"
    delegated = a_task("delegated")
    parent = Session.objects.create(key="boss", agent=lead.agent, task=own, type="persistent")
    claimed(ada, delegated)
    Session.objects.filter(task=delegated).update(parent=parent)
    transitions.complete(ada, delegated.code, review=True)
    with pytest.raises(NotAllowed):
        BY_HAND[verdict](lead, delegated.code)
    BY_HAND[verdict](orchestrator, delegated.code)


def test_reopening_begins_a_new_generation_and_blocks_what_waited(in_status, operator, ada):
    first = a_task()
    waiting, running = (transitions.create(operator, title=t, depends_on=[first]) for t in ("waiting", "running"))
    claimed(ada, first)
    transitions.complete(ada, first.code)
    claimed(ada, running)
    reopened = transitions.reopen(operator, first.code, reason="A bug")
    assert (reopened.status, reopened.generation, reopened.progress_percent) == (READY, 2, None)
    assert (fresh(waiting).status, fresh(running).status) == (BLOCKED, IN_PROGRESS)
    assert fresh(running).blockers_open == 1
    transitions.release(ada, running.code)
    assert fresh(running).status == BLOCKED


def test_a_cancelled_task_is_reopened_without_touching_others(operator):
    first = a_task()
    waiting = transitions.create(operator, title="x", depends_on=[first])
    transitions.cancel(operator, first.code)
    transitions.reopen(operator, first.code)
    assert fresh(waiting).blockers_open == 1


# ── delete ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_deleting_keeps_the_log_and_the_ledger(ada, operator):
    task = a_task()
    claimed(ada, task)
    transitions.complete(ada, task.code, total=Spent(900), deliverables=[{"type": "artifact", "title": "x"}])
    with pytest.raises(NotAllowed):
        transitions.delete(ada, task.code)
    transitions.delete(operator, task.code)
    assert not Task.objects.exists()
    assert kinds(task)[-1] == "task.deleted"
    assert newest().data["before"]["title"] == task.title
    assert LedgerEntry.objects.get().task == task.code
    assert log.counts_by_venture().get("default", {}) == {}


def test_held_work_and_what_others_wait_for_is_not_deleted(ada, operator):
    task = a_task()
    claimed(ada, task)
    with pytest.raises(Refused) as refusal:
        transitions.delete(operator, task.code)
    assert refusal.value.code == "leased"
    first = a_task()
    second = transitions.create(operator, title="x", depends_on=[first])
    with pytest.raises(Refused) as refusal:
        transitions.delete(operator, first.code)
    assert refusal.value.facts["dependants"] == [second.code]


# ── dependencies ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_task_waits_for_itself_or_in_a_circle(operator):
    a, b, c = (a_task(name) for name in "abc")
    transitions.add_dependency(operator, b.code, a.code)
    transitions.add_dependency(operator, c.code, b.code)
    for waits, waited_for in ((a, a), (a, b), (a, c)):
        with pytest.raises(Refused) as refusal:
            transitions.add_dependency(operator, waits.code, waited_for.code)
        assert refusal.value.code == "cycle"
    assert fresh(a).blockers_open == 0


def test_the_same_edge_again_changes_nothing(operator):
    a, b = a_task("a"), a_task("b")
    edge = transitions.add_dependency(operator, b.code, a.code)
    assert transitions.add_dependency(operator, b.code, a.code).pk == edge.pk
    assert fresh(b).blockers_open == 1


def test_removing_the_last_open_edge_frees_the_task(operator, ada):
    a, b = a_task("a"), a_task("b")
    transitions.add_dependency(operator, b.code, a.code)
    transitions.remove_dependency(operator, b.code, a.code)
    assert (fresh(b).status, fresh(b).blockers_open) == (READY, 0)
    with pytest.raises(NotThere):
        transitions.remove_dependency(operator, b.code, a.code)
    with pytest.raises(NotAllowed):
        transitions.add_dependency(ada, b.code, a.code)


def test_a_leased_task_goes_on_when_it_gets_a_prerequisite(operator, ada):
    a, b = a_task("a"), a_task("b")
    claimed(ada, b)
    transitions.add_dependency(operator, b.code, a.code)
    assert fresh(b).status == IN_PROGRESS
    assert transitions.complete(ada, b.code).status == DONE
    with pytest.raises(Refused):
        transitions.add_dependency(operator, b.code, a.code)


# ── cost ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_usage_is_booked_without_a_lease_and_once_per_request(ada, bob):
    task = a_task()
    claim = claimed(ada, task)
    transitions.report_usage(ada, task.code, Spent(100, 1, 2), fence=fence(claim), request_id="r1")
    transitions.report_usage(ada, task.code, Spent(100, 1, 2), fence=fence(claim), request_id="r1")
    transitions.report_usage(bob, task.code, Spent(50))
    assert fresh(task).actual_cost_micro_usd == 150
    assert catalogue.default().capital_spent_micro_usd == 150
    assert Session.objects.get().cost_micro_usd == 100


def test_a_total_after_usage_books_only_what_is_missing(ada):
    claim = claimed(ada, a_task())
    transitions.report_usage(ada, claim.task.code, Spent(400, 10), fence=fence(claim))
    done = transitions.complete(ada, claim.task.code, fence(claim), total=Spent(1_000, 15))
    assert (done.actual_cost_micro_usd, done.tokens_used) == (1_000, 15)


# ── who sees what ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_of_a_closed_venture_is_not_there_for_a_stranger(closed, stranger, ada):
    task = a_task(venture=closed)
    for verb in (transitions.lock, transitions.heartbeat, transitions.progress, transitions.complete):
        with pytest.raises(NotThere):
            with log.unit():
                verb(stranger, task.code)
    assert claimed(ada, task).task.pk == task.pk


def test_the_buttons_are_the_verbs_that_go_through(in_status, operator, viewer):
    for status in STATUSES:
        task = in_status(status)
        assert transitions.allowed_verbs(viewer, task) == []
        for verb in transitions.allowed_verbs(operator, task):
            if verb in BY_HAND:
                with log.unit(), pytest.raises(_Undone):
                    with log.step():
                        BY_HAND[verb](operator, task.code)
                        raise _Undone


class _Undone(Exception):
    pass


# ── what the database refuses ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "wrong"},
        {"priority": 4},
        {"status": IN_PROGRESS},
        {"offered": True, "status": DONE},
        {"progress_percent": 101},
        {"lease_expires_at": Now()},
    ],
)
def test_the_database_keeps_the_promises_of_the_verbs(wrong):
    task = a_task()
    with pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.filter(pk=task.pk).update(**wrong)


def test_one_live_primary_session_per_task(ada, bob):
    claim = claimed(ada, a_task())
    with pytest.raises(IntegrityError), transaction.atomic():
        Session.objects.create(key="second", agent=bob.agent, task=claim.task, type="primary")


def test_sub_agents_end_with_the_lease(ada, operator):
    claim = claimed(ada, a_task())
    for verb, state in (("complete", "completed"),):
        Session.objects.create(key="sub", agent=ada.agent, task=claim.task, type="subagent")
        getattr(transitions, verb)(ada, claim.task.code, fence(claim))
        assert Session.objects.get(key="sub").state == state
    assert "session.ended" in kinds(claim.task)


def test_lanes_are_shared_by_tasks_that_the_same_agents_may_take(operator, ada):
    a_task(required_capabilities=["b", "a"])
    a_task(required_capabilities=["a", "b", "a"])
    a_task(assignee=ada.agent, required_capabilities=["a", "b"])
    assert Lane.objects.count() == 2


def test_a_lease_ends_in_the_same_statement_as_its_status(ada):
    claim = claimed(ada, a_task())
    transitions.complete(ada, claim.task.code, fence(claim))
    task = fresh(claim.task)
    assert (task.session_key, task.lease_seconds, task.heartbeat_at, task.session_locked_at) == ("", None, None, None)
    assert not leases.is_held(ada, task, Fence())


def test_an_unclaimed_agent_has_no_leases(db):
    agent, _, _ = roster.register(name="Newcomer")
    assert not Task.objects.leased_to(agent).exists()
