"""What happens at the same time: claims, fences, sweeps and limits under real threads on the database of the run.

A transaction is held open at a known point where the order matters; where only the crowd matters, many start at once.
"""

import json
import sqlite3
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.errors import Refused
from mission_control.models import Activity
from tasks import claiming, invariants, leases, transitions
from tasks.claiming import Wish
from tasks.dispatching import dispatch
from tasks.leases import Fence
from tasks.models import Deliverable, Dependency, Session, Task
from tasks.pages import bulk
from tasks.vocabulary import DONE, IN_PROGRESS, READY
from tests.threads import held, started, together, wait_until_stuck
from ventures.ledger import Spent
from ventures.models import LedgerEntry, Venture

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
SYSTEM = system("test")
postgresql_only = pytest.mark.skipif("sqlite" in settings.DATABASES["default"]["ENGINE"], reason="it has no row locks")


def agent(slug, *, scopes=("work",), **fields):
    made = roster.create(SYSTEM, name=slug.title(), slug=slug, **fields)
    return Actor("agent", slug, frozenset().union(*(SCOPE_ABILITIES[scope] for scope in scopes)), agent=made)


def tasks(n, **fields):
    return transitions.create_many(SYSTEM, [{"title": f"Task {i}", **fields} for i in range(n)])


def one_task(**fields):
    return transitions.create(SYSTEM, title="The task", **fields)


def fence_of(claim):
    return Fence(epoch=claim.epoch, token=claim.lease_token)


def claim_by(actor, code, **wish):
    return claiming.claim_task(actor, code, Wish(**wish))


def answer_of(work):
    """What it returns, or the code with which it is refused."""
    try:
        return work()
    except Refused as refusal:
        return refusal.code


def run_out(code):
    """The lease ends now, by the database's clock."""
    Task.objects.filter(code=code).update(lease_expires_at=Now() - timedelta(seconds=1))


def swept(code):
    """The lease ran out and the sweep came by; offered again at once."""
    run_out(code)
    transitions.expire(SYSTEM, Task.objects.get(code=code).pk)
    task = Task.objects.get(code=code)
    Task.objects.filter(pk=task.pk).update(not_before=None, offered=True)


@pytest.fixture
def ada():
    return agent("ada")


@pytest.fixture
def grace():
    return agent("grace")


@pytest.fixture(autouse=True)
def everything_stays_true():
    yield
    assert {name: found for name, found in invariants.broken().items() if found} == {}


# ── claiming ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_claimers_at_once_share_the_queue_without_a_refusal():
    tasks(60)
    fleet = [agent(f"agent-{n}") for n in range(12)]

    def drain(actor):
        mine = []
        while found := claiming.claim_next(actor, Wish()):
            mine += [(claim.task.code, claim.epoch) for claim in found]
        return mine

    drained = together(*(lambda actor=actor: drain(actor) for actor in fleet))
    assert [result for result in drained if isinstance(result, Exception)] == []
    claimed = [claim for mine in drained for claim in mine]
    assert len(claimed) == len(set(claimed)) == 60
    assert {epoch for _, epoch in claimed} == {1}


@postgresql_only
def test_a_claim_goes_past_a_task_that_another_is_claiming(ada, grace):
    first, second = tasks(2)
    with held(lambda: claiming.claim_next(ada, Wish()), flushed=False) as hold:
        with started(lambda: claiming.claim_next(grace, Wish())) as claim:
            assert not wait_until_stuck(claim)
            assert [found.task.code for found in claim.result()] == [second.code]
    assert [found.task.code for found in hold.commit()] == [first.code]


@postgresql_only
def test_a_batch_goes_past_tasks_that_another_is_claiming(ada, grace):
    tasks(6)
    with held(lambda: claiming.claim_next(ada, Wish(limit=3)), flushed=False) as hold:
        with started(lambda: claiming.claim_next(grace, Wish(limit=5))) as claim:
            assert not wait_until_stuck(claim)
            theirs = {found.task.code for found in claim.result()}
    mine = {found.task.code for found in hold.commit()}
    assert len(mine) == len(theirs) == 3
    assert not mine & theirs


def test_a_claim_of_a_task_that_is_being_claimed_waits_and_is_told_by_whom(ada, grace):
    task = one_task()
    with held(lambda: claim_by(ada, task.code)) as hold:
        with started(lambda: claim_by(grace, task.code)) as claim:
            assert wait_until_stuck(claim)
            hold.commit()
            with pytest.raises(Refused) as refusal:
                claim.result(20)
    assert (refusal.value.code, refusal.value.facts["claimedBy"]) == ("already_claimed", "ada")


def test_a_row_that_was_read_before_another_finished_it_cannot_be_claimed(ada, grace):
    """The guarded write is the last line of defence: it holds even where a lock was forgotten."""
    task = one_task()
    with log.unit():
        stale = Task.objects.locked().get(pk=task.pk)
    transitions.complete(ada, task.code, fence_of(claim_by(ada, task.code)))
    with pytest.raises(Refused) as refusal, log.unit():
        transitions.take(grace, [stale], "", 60)
    assert refusal.value.code == "busy"
    task.refresh_from_db()
    assert (task.status, task.epoch) == (DONE, 1)


def test_every_claim_of_a_task_has_a_larger_epoch(ada, grace):
    task = one_task()
    epochs = []
    for actor in (ada, grace, ada):
        claim = claim_by(actor, task.code)
        epochs.append(claim.epoch)
        transitions.release(actor, task.code, fence_of(claim))
    assert epochs == [1, 2, 3]
    assert list(Session.objects.order_by("id").values_list("attempt", flat=True)) == [1, 2, 3]


@pytest.mark.parametrize("limit", [1, 3])
def test_asking_again_with_the_same_session_key_gives_the_same_claims(ada, limit):
    tasks(8)
    first = claiming.claim_next(ada, Wish(session_key="one", limit=limit))
    again = claiming.claim_next(ada, Wish(session_key="one", limit=limit))
    assert [(c.task.code, c.epoch, c.lease_token) for c in again] == [
        (c.task.code, c.epoch, c.lease_token) for c in first
    ]
    assert Task.objects.filter(status=IN_PROGRESS).count() == limit


def test_two_calls_with_one_session_key_at_once_give_the_same_claim(ada):
    tasks(8)
    found = together(*[lambda: claiming.claim_next(ada, Wish(session_key="one"))] * 6)
    assert [result for result in found if isinstance(result, Exception)] == []
    assert len({(c.task.code, c.epoch) for claims in found for c in claims}) == 1
    assert Task.objects.filter(status=IN_PROGRESS).count() == 1


def test_a_batch_is_all_or_nothing(ada, monkeypatch):
    tasks(5)
    monkeypatch.setattr(log, "flush", lambda: (_ for _ in ()).throw(RuntimeError("the lights went out")))
    with pytest.raises(RuntimeError):
        claiming.claim_next(ada, Wish(limit=5))
    monkeypatch.undo()
    assert Task.objects.filter(status=READY, epoch=0).count() == 5
    assert not Session.objects.exists()


# ── edits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_tags_that_are_added_at_once_neither_is_lost():
    task = one_task(tags=["a"])
    with held(lambda: bulk.apply(SYSTEM, [task.code], "tag", "b")) as hold:
        with started(lambda: bulk.apply(SYSTEM, [task.code], "tag", "c")) as other:
            assert wait_until_stuck(other)
            hold.commit()
            assert other.result() == [bulk.Outcome(task.code)]
    assert Task.objects.get().tags == ["a", "b", "c"]


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_at_its_limit_gets_no_second_task_by_asking_twice_at_once():
    solo = agent("solo", max_concurrent=1)
    tasks(4)
    with held(lambda: claiming.claim_next(solo, Wish())) as hold:
        with started(lambda: claiming.claim_next(solo, Wish())) as claim:
            wait_until_stuck(claim)
            hold.commit()
            with pytest.raises(Refused) as refusal:
                claim.result(20)
    assert refusal.value.code == "at_capacity"
    assert Task.objects.filter(status=IN_PROGRESS).count() == 1


def test_a_limit_holds_by_whatever_door_an_agent_claims_at_once():
    trio = agent("trio", max_concurrent=3)
    made = tasks(12)
    handed = made[:4]
    Agent.objects.update(last_seen_at=Now(), seen_offline=False)
    for task in handed:
        dispatch.process(SYSTEM, task.code, trio.agent)
    doors = [
        *(lambda code=task.code: claim_by(trio, code) for task in handed),
        *[lambda: claiming.claim_next(trio, Wish())] * 3, *[lambda: claiming.claim_next(trio, Wish(limit=5))] * 2,
    ]  # fmt: skip
    answers = together(*doors)
    assert Task.objects.leased_to(trio.agent).count() == 3
    refused = [answer.code for answer in answers if isinstance(answer, Exception)]
    assert set(refused) <= {"at_capacity", "already_claimed"} and "at_capacity" in refused


def test_a_venture_at_its_limit_gives_no_second_task_to_two_at_once(ada, grace):
    Venture.objects.update(wip_limits={"in_progress": 1})
    tasks(4)
    with held(lambda: claiming.claim_next(ada, Wish())) as hold:
        with started(lambda: claiming.claim_next(grace, Wish())) as claim:
            wait_until_stuck(claim)
            hold.commit()
            assert claim.result(20) == []
    assert Task.objects.filter(status=IN_PROGRESS).count() == 1


def test_no_claim_is_numbered_after_a_freeze(ada):
    """The claim was chosen and written before the freeze committed, and is flushed after it: it does not count."""
    tasks(1)
    with held(lambda: log.freeze(SYSTEM, "stop")) as hold:
        with started(lambda: claiming.claim_next(ada, Wish())) as claim:
            assert wait_until_stuck(claim)
            hold.commit()
            with pytest.raises(Refused) as refusal:
                claim.result(20)
    assert refusal.value.code == "frozen"
    assert not Activity.objects.filter(kind="task.claimed").exists()
    assert Task.objects.get().status == READY


# ── the fence ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_that_claimed_again_is_a_zombie_under_its_old_epoch(ada):
    task = one_task()
    old = claim_by(ada, task.code)
    swept(task.code)
    new = claim_by(ada, task.code)
    assert new.epoch == old.epoch + 1
    for write in (
        lambda: transitions.heartbeat(ada, task.code, fence_of(old)),
        lambda: transitions.progress(ada, task.code, fence_of(old), percent=99),
        lambda: transitions.release(ada, task.code, fence_of(old)),
        lambda: transitions.fail(ada, task.code, fence_of(old)),
        lambda: transitions.block(ada, task.code, fence_of(old), kind="needs_input", reason="?"),
        lambda: transitions.complete(ada, task.code, fence_of(old)),
    ):
        with pytest.raises(Refused) as refusal:
            write()
        assert (refusal.value.status, refusal.value.code) == (409, "lease_lost")
    task.refresh_from_db()
    assert (task.status, task.epoch, task.progress_percent) == (IN_PROGRESS, new.epoch, None)
    assert transitions.complete(ada, task.code, fence_of(new)).status == DONE


def test_a_lease_token_is_needed_and_has_to_be_the_one(ada):
    task = one_task()
    claim = claim_by(ada, task.code)
    for token in ("", "0" * 32, claim.lease_token[:-1]):
        with pytest.raises(Refused) as refusal:
            transitions.progress(ada, task.code, Fence(epoch=claim.epoch, token=token))
        assert refusal.value.code == "lease_lost"


def test_another_agent_cannot_use_a_lease(ada, grace):
    task = one_task()
    claim = claim_by(ada, task.code)
    with pytest.raises(Refused) as refusal:
        transitions.complete(grace, task.code, fence_of(claim))
    assert refusal.value.code == "lease_lost"


def test_what_a_zombie_spent_is_booked_and_what_it_made_is_kept_aside(ada, grace):
    task = one_task()
    old = claim_by(ada, task.code)
    transitions.progress(ada, task.code, fence_of(old), percent=10, total=Spent(100, 10, 0))
    swept(task.code)
    new = claim_by(grace, task.code)
    before = Task.objects.get(code=task.code)
    with pytest.raises(Refused) as refusal:
        transitions.complete(
            ada, task.code, fence_of(old), summary="mine", total=Spent(700, 60, 10),
            deliverables=[{"type": "url", "title": "late", "path": "https://example.org"}],
        )  # fmt: skip
    assert (refusal.value.code, refusal.value.keep) == ("lease_lost", True)
    after = Task.objects.get(code=task.code)
    assert (after.status, after.epoch, after.holder_id, after.lease_expires_at, after.completion_summary) == (
        IN_PROGRESS, new.epoch, grace.agent.pk, before.lease_expires_at, "",
    )  # fmt: skip
    assert (after.actual_cost_micro_usd, after.tokens_used) == (700, 70)
    assert sorted(LedgerEntry.objects.values_list("attempt", "amount_micro_usd")) == [(1, 100), (1, 600)]
    assert Deliverable.objects.get().orphaned
    assert not Activity.objects.filter(kind="task.completed").exists()


def test_a_total_that_is_reported_twice_is_booked_once(ada):
    task = one_task()
    fence = fence_of(claim_by(ada, task.code))
    transitions.progress(ada, task.code, fence, percent=10, total=Spent(100, 10, 1))
    transitions.progress(ada, task.code, fence, percent=20, total=Spent(100, 10, 1))
    transitions.complete(ada, task.code, fence, total=Spent(150, 15, 1))
    task.refresh_from_db()
    assert (task.actual_cost_micro_usd, task.tokens_used) == (150, 16)


def test_a_usage_report_that_comes_twice_at_once_is_booked_once(ada):
    task = one_task()
    claim_by(ada, task.code)
    report = lambda: transitions.report_usage(ada, task.code, Spent(50, 5, 5), request_id="r-1")  # noqa: E731
    assert [result for result in together(*[report] * 4) if isinstance(result, Exception)] == []
    assert LedgerEntry.objects.get().amount_micro_usd == 50


def test_a_late_completion_before_the_sweep_wins(ada):
    task = one_task()
    claim = claim_by(ada, task.code)
    run_out(task.code)
    assert answer_of(lambda: transitions.complete(ada, task.code, fence_of(claim)).status) == DONE
    assert transitions.expire(SYSTEM, task.pk) is None


def test_a_completion_and_the_sweep_at_once_have_one_winner(ada):
    task = one_task()
    claim = claim_by(ada, task.code)
    run_out(task.code)
    with held(lambda: transitions.complete(ada, task.code, fence_of(claim))) as hold:
        with started(lambda: transitions.expire(SYSTEM, task.pk)) as sweep:
            wait_until_stuck(sweep)
            hold.commit()
            assert sweep.result(20) is None
    task.refresh_from_db()
    assert (task.status, task.failures) == (DONE, 0)


def test_two_completions_at_once_have_one_winner(ada):
    task = one_task()
    claim = claim_by(ada, task.code)
    with held(lambda: transitions.complete(ada, task.code, fence_of(claim), summary="first")) as hold:
        with started(lambda: transitions.complete(ada, task.code, fence_of(claim), summary="second")) as second:
            assert wait_until_stuck(second)
            hold.commit()
            with pytest.raises(Refused) as refusal:
                second.result(20)
    assert refusal.value.code == "lease_lost"
    assert Task.objects.get().completion_summary == "first"
    assert Activity.objects.filter(kind="task.completed").count() == 1


def test_a_heartbeat_that_is_overtaken_by_a_new_claim_does_not_extend_it(ada, monkeypatch):
    """The lease was live when it was looked at, and somebody else's when it was written."""
    task = one_task()
    old = claim_by(ada, task.code, session_key="old")
    looked = leases.is_held

    def looked_and_overtaken(actor, row, fence):
        answer = looked(actor, row, fence)
        monkeypatch.setattr(leases, "is_held", looked)
        swept(task.code)
        claim_by(ada, task.code, session_key="new")
        Task.objects.filter(code=task.code).update(lease_expires_at=Now() + timedelta(seconds=20))
        return answer

    monkeypatch.setattr(leases, "is_held", looked_and_overtaken)
    with pytest.raises(Refused) as refusal:
        transitions.heartbeat(ada, task.code, fence_of(old))
    assert refusal.value.code == "lease_lost"
    assert Task.objects.filter(lease_expires_at__lt=Now() + timedelta(seconds=60)).exists()


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hours", [-2, 2])
def test_only_the_clock_of_the_database_decides_about_leases(ada, monkeypatch, hours):
    task = one_task()
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(hours=hours))
    claim = claim_by(ada, task.code, lease_seconds=100)
    assert 90 <= claim.expires_in <= 100
    left = Task.objects.annotate(left=F("lease_expires_at") - Now()).values_list("left", flat=True)
    assert timedelta(seconds=80) < left.get() <= timedelta(seconds=100)
    transitions.progress(ada, task.code, fence_of(claim), percent=1)
    assert timedelta(seconds=80) < left.get() <= timedelta(seconds=100)
    transitions.heartbeat(ada, task.code, fence_of(claim))
    assert timedelta(seconds=80) < left.get() <= timedelta(seconds=100)
    assert transitions.expire(SYSTEM, task.pk) is None


def test_a_write_never_shortens_a_lease(ada):
    task = one_task()
    claim = claim_by(ada, task.code, lease_seconds=30)
    Task.objects.update(lease_expires_at=Now() + timedelta(hours=3))
    transitions.heartbeat(ada, task.code, fence_of(claim))
    transitions.progress(ada, task.code, fence_of(claim), percent=1)
    assert Task.objects.filter(lease_expires_at__gt=Now() + timedelta(hours=2)).exists()


def test_the_sweep_looks_again_under_the_lock(ada):
    """It was found expired; a heartbeat came; then its turn to be expired."""
    task = one_task()
    claim = claim_by(ada, task.code)
    run_out(task.code)
    assert list(Task.objects.stale().values_list("pk", flat=True)) == [task.pk]
    transitions.heartbeat(ada, task.code, fence_of(claim))
    assert transitions.expire(SYSTEM, task.pk) is None
    task.refresh_from_db()
    assert (task.status, task.failures) == (IN_PROGRESS, 0)


def test_two_sweeps_at_once_expire_a_lease_once(ada):
    task = one_task()
    claim_by(ada, task.code)
    run_out(task.code)
    swept_by = together(*[lambda: transitions.expire(SYSTEM, task.pk)] * 4)
    assert [result for result in swept_by if isinstance(result, Exception)] == []
    assert sum(result is not None for result in swept_by) == 1
    task.refresh_from_db()
    assert (task.status, task.failures) == (READY, 1)
    assert task.not_before is not None


# ── dependencies ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_edges_at_once_cannot_close_a_cycle():
    one, two, three, four = tasks(4)
    transitions.add_dependency(SYSTEM, two.code, three.code)
    transitions.add_dependency(SYSTEM, four.code, one.code)
    with held(lambda: transitions.add_dependency(SYSTEM, one.code, two.code)) as hold:
        with started(lambda: transitions.add_dependency(SYSTEM, three.code, four.code)) as second:
            wait_until_stuck(second)
            hold.commit()
            with pytest.raises(Refused) as refusal:
                second.result(20)
    assert refusal.value.code == "cycle"
    assert Dependency.objects.count() == 3


def test_prerequisites_that_finish_at_once_unblock_what_waits_for_both(ada, grace):
    first, second = tasks(2)
    waiting = one_task(depends_on=[first, second])
    claims = [claim_by(ada, first.code), claim_by(grace, second.code)]
    with held(lambda: transitions.complete(ada, first.code, fence_of(claims[0]))) as hold:
        with started(lambda: transitions.complete(grace, second.code, fence_of(claims[1]))) as other:
            assert wait_until_stuck(other)
            hold.commit()
            other.result(20)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.blockers_open, waiting.offered) == (READY, 0, True)


# ── SQLite ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif("sqlite" not in settings.DATABASES["default"]["ENGINE"], reason="it locks rows")
def test_a_unit_of_work_holds_the_write_lock_from_its_first_read(ada):
    """Two processes that read, then write, would both read the same task otherwise."""
    task = one_task()
    other = sqlite3.connect(connection.settings_dict["NAME"], timeout=0, isolation_level=None)
    try:
        with log.unit():
            assert Task.objects.get(pk=task.pk).status == READY
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
    finally:
        other.close()


def test_the_answer_of_a_claim_can_be_given_again_without_storing_it(ada):
    task = one_task()
    claim = claim_by(ada, task.code)
    assert leases.lease_token(Task.objects.get()) == claim.lease_token
    assert claim.lease_token not in json.dumps(list(Task.objects.values()), default=str)


# ── handing over ────────────────────────────────────────────────────────────────────────────────────────────────────


def handed_and_overdue(code):
    Agent.objects.update(last_seen_at=Now())
    dispatch.process(SYSTEM, code, Agent.objects.get(slug="ada"))
    Task.objects.filter(code=code).update(handed_until=Now() - timedelta(seconds=1), handed_by="poll")


def test_a_claim_and_the_end_of_the_waiting_at_once_have_one_winner(ada):
    for _ in range(5):
        task = one_task()
        handed_and_overdue(task.code)
        claim, moved = together(lambda task=task: claim_by(ada, task.code), dispatch.hand_on)
        status = Task.objects.get(code=task.code).status
        won = {"claim": status == IN_PROGRESS and isinstance(claim, claiming.Claim), "queue": status == READY}
        assert any(won.values()) and moved in (0, 1), (claim, moved, status)
        runs = list(Session.objects.filter(task=task).order_by("pk").values_list("state", flat=True))
        assert runs in (["running"], ["cancelled", "running"], ["cancelled"])


def test_two_looks_at_a_hand_over_move_it_on_once(ada):
    task = one_task()
    handed_and_overdue(task.code)
    assert sorted(together(dispatch.hand_on, dispatch.hand_on)) == [0, 1]
    assert Activity.objects.filter(task=task.code, kind="task.unacknowledged").count() == 1


def test_who_processes_twice_at_once_announces_one_run(ada, grace):
    Agent.objects.update(last_seen_at=Now())
    task = one_task()
    together(
        lambda: dispatch.process(SYSTEM, task.code, ada.agent),
        lambda: dispatch.process(SYSTEM, task.code, grace.agent),
    )
    now = Task.objects.get(code=task.code)
    [live] = Session.objects.live().filter(task=task)
    assert (live.state, live.agent_id) == ("queued", now.assignee_id)
    assert Activity.objects.filter(task=task.code, kind="task.processed").count() == 2
