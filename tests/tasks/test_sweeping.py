"""Time does its work: leases that ran out, the gap after which nobody is to blame, back-offs that are over."""

from datetime import timedelta

import pytest
from django.core.management import call_command

from agents import roster
from mission_control import live, log
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.errors import NotAllowed, Refused
from mission_control.models import Activity, Watermark
from tasks import claiming, invariants, leases, sweeping, transitions
from tasks.claiming import Wish
from tasks.leases import Fence
from tasks.models import Session, Task
from tests.threads import together

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
SYSTEM = system("test")


@pytest.fixture
def ada():
    agent = roster.create(SYSTEM, name="Ada", slug="ada")
    return Actor("agent", "ada", SCOPE_ABILITIES["work"], agent=agent)


def claims(actor, count, seconds=60):
    transitions.create_many(SYSTEM, [{"title": f"Task {n}"} for n in range(count)])
    return claiming.claim_next(actor, Wish(limit=count, lease_seconds=seconds))


def run_out(tasks, seconds_ago):
    """The lease of these ended so long ago, its last sign of life came a lease before."""
    ended = log.now() - timedelta(seconds=seconds_ago)
    for task in tasks:
        beat = ended - timedelta(seconds=task.lease_seconds)
        Task.objects.filter(pk=task.pk).update(lease_expires_at=ended, heartbeat_at=beat)


def swept(seconds_ago):
    Watermark.objects.filter(pk="swept").update(at=log.now() - timedelta(seconds=seconds_ago))


def status_of(task):
    return Task.objects.get(pk=task.pk).status


def test_a_lease_that_ran_out_comes_back_and_a_live_one_stays(ada):
    out, live_one = (claim.task for claim in claims(ada, 2))
    run_out([out], 3)
    swept(6)
    assert sweeping.sweep() == (1, 0)
    assert (status_of(out), status_of(live_one)) == ("ready", "in_progress")
    expired = Activity.objects.get(kind="task.expired")
    assert (expired.task, expired.agent, expired.data["failures"]) == (out.code, "ada", 1)
    assert Session.objects.get(task=out).state == "failed"
    assert not any(invariants.broken().values())


def test_the_oldest_goes_first_and_pages_do_not_lose_any(ada, monkeypatch):
    monkeypatch.setattr(sweeping, "PAGE", 3)
    tasks = [claim.task for claim in claims(ada, 10)]
    for place, task in enumerate(tasks):
        run_out([task], 20 - place // 4)  # several end at the same moment
    swept(6)
    assert sweeping.sweep().expired == 10
    order = list(Activity.objects.filter(kind="task.expired").order_by("seq").values_list("task", flat=True))
    assert order == [task.code for task in tasks]


def test_two_sweeps_at_once_expire_each_lease_once(ada):
    tasks = [claim.task for claim in claims(ada, 12)]
    run_out(tasks, 3)
    swept(6)
    expire = [task.pk for task in tasks]

    def all_of_them():
        return sum(transitions.expire(system("sweep"), pk) is not None for pk in expire)

    assert sum(together(all_of_them, all_of_them, all_of_them)) == 12
    assert Activity.objects.filter(kind="task.expired").count() == 12
    assert set(Task.objects.values_list("failures", flat=True)) == {1}


def test_a_round_is_left_to_the_one_who_has_just_begun_it(ada):
    run_out([claims(ada, 1)[0].task], 3)
    swept(1)
    assert sweeping.sweep() == (0, 0)


# ── the gap ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_leases_that_ran_out_while_nobody_swept_are_extended(ada):
    """A closed lid must not fail the fleet."""
    inside, before, live_one = (claim.task for claim in claims(ada, 3))
    run_out([inside], 50)
    run_out([before], 200)
    swept(120)
    assert sweeping.sweep() == (1, 1)
    left = Task.objects.get(pk=inside.pk).lease_expires_at - log.now()
    assert 50 < left.total_seconds() <= 60
    assert status_of(before) == "ready", "it had run out before the gap began"
    assert status_of(live_one) == "in_progress"


def test_an_extended_lease_is_the_same_lease(ada):
    claim = claims(ada, 1)[0]
    run_out([claim.task], 50)
    swept(120)
    sweeping.sweep()
    fence = Fence(claim.epoch, claim.lease_token)
    assert transitions.complete(ada, claim.task.code, fence).status == "done"


def test_it_is_extended_once_for_each_sign_of_life(ada):
    claim = claims(ada, 1)[0]
    run_out([claim.task], 50)
    swept(120)
    assert sweeping.sweep().extended == 1
    now = log.now()  # 110 s later the holder has not been heard of, and the lid was closed again
    Task.objects.update(lease_expires_at=now - timedelta(seconds=50), heartbeat_at=now - timedelta(seconds=220))
    swept(120)
    assert sweeping.sweep() == (1, 0)
    assert status_of(claim.task) == "ready"


def test_after_a_heartbeat_it_may_be_extended_again(ada):
    claim = claims(ada, 1)[0]
    for _ in range(2):
        run_out([claim.task], 50)
        swept(120)
        assert sweeping.sweep() == (0, 1)
        transitions.heartbeat(ada, claim.task.code, Fence(claim.epoch, claim.lease_token))
    assert status_of(claim.task) == "in_progress"


def test_of_several_processes_that_wake_up_together_none_expires_what_another_extends(ada):
    tasks = [claim.task for claim in claims(ada, 6)]
    run_out(tasks, 50)
    swept(120)
    rounds = together(*[sweeping.sweep] * 5)
    assert [round_ for round_ in rounds if isinstance(round_, Exception)] == []
    assert (sum(r.expired for r in rounds), sum(r.extended for r in rounds)) == (0, 6)
    assert set(Task.objects.values_list("status", flat=True)) == {"in_progress"}


def test_half_a_minute_without_a_sweep_is_no_gap(ada):
    task = claims(ada, 1)[0].task
    run_out([task], 10)
    swept(29)
    assert sweeping.sweep() == (1, 0)


def test_the_very_first_sweep_extends_nothing(ada):
    run_out([claims(ada, 1)[0].task], 10)
    Watermark.objects.filter(pk="swept").update(at=None)
    assert sweeping.sweep() == (1, 0)


def test_screens_hear_of_an_extended_lease(ada, monkeypatch):
    heard = []
    monkeypatch.setattr(live, "ping", heard.append)
    task = claims(ada, 1)[0].task
    run_out([task], 50)
    swept(120)
    sweeping.sweep()
    assert [ping["task"] for ping in heard] == [task.code]


# ── by hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_somebody_who_asks_gets_what_has_run_out_and_no_more(ada):
    old, young, live_one = (claim.task for claim in claims(ada, 3))
    run_out([old], 3600)
    run_out([young], 5)
    assert sweeping.release_stale(SYSTEM, older_than_minutes=30, dry_run=True) == [old.code]
    assert status_of(old) == "in_progress"
    assert sweeping.release_stale(SYSTEM, older_than_minutes=30) == [old.code]
    assert sweeping.release_stale(SYSTEM) == [young.code]
    assert (status_of(old), status_of(young), status_of(live_one)) == ("ready", "ready", "in_progress")


def test_only_an_operator_cleans_up(ada):
    with pytest.raises(NotAllowed):
        sweeping.release_stale(ada)


def test_the_command_says_what_it_did(ada, capsys):
    old, _ = (claim.task for claim in claims(ada, 2))
    run_out([old], 3600)
    call_command("release_stale_locks", "--dry-run")
    assert capsys.readouterr().out.split() == [old.code]
    call_command("release_stale_locks", "--older-than-minutes", "120")
    assert capsys.readouterr().out == ""
    call_command("release_stale_locks", "--older-than-minutes", "10")
    assert capsys.readouterr().out.split() == [old.code]
    assert status_of(old) == "ready"


# ── back-off ────────────────────────────────────────────────────────────────────────────────────────────────────────


def failed(actor):
    claim = claims(actor, 1)[0]
    transitions.fail(actor, claim.task.code, Fence(claim.epoch, claim.lease_token), error="no luck")
    return Task.objects.get(pk=claim.task.pk)


def test_a_failed_task_is_offered_again_when_its_time_has_come_and_not_before(ada, monkeypatch):
    heard = []
    monkeypatch.setattr(live, "ping", heard.append)
    task, head = failed(ada), log.head()
    assert sweeping.offer_again() == 0
    assert claiming.claim_next(ada, Wish()) == []
    Task.objects.update(not_before=log.now() - timedelta(seconds=1))
    assert sweeping.offer_again() == 1
    assert log.head() == head, "nothing is recorded: the failure said when"
    assert heard == [{"task": task.code, "offered": True}]
    assert [claim.task.pk for claim in claiming.claim_next(ada, Wish())] == [task.pk]


def test_what_was_blocked_meanwhile_is_not_offered(ada):
    task = failed(ada)
    before = transitions.create(SYSTEM, title="First this")
    transitions.add_dependency(SYSTEM, task.code, before.code)
    Task.objects.filter(pk=task.pk).update(not_before=log.now() - timedelta(seconds=1))
    assert sweeping.offer_again() == 0
    task.refresh_from_db()
    assert (task.not_before, task.offered, task.status) == (None, False, "blocked")
    assert not any(invariants.broken().values())


def test_many_at_once_offer_each_again_once(ada):
    for _ in range(4):
        failed(ada)
    Task.objects.update(not_before=log.now() - timedelta(seconds=1))
    assert sum(together(*[sweeping.offer_again] * 4)) == 4
    assert Task.objects.filter(offered=True).count() == 4


def test_a_zombie_after_the_sweep_is_refused(ada):
    claim = claims(ada, 1)[0]
    run_out([claim.task], 3)
    swept(6)
    sweeping.sweep()
    with pytest.raises(Refused) as refused:
        transitions.complete(ada, claim.task.code, Fence(claim.epoch, claim.lease_token))
    assert refused.value.code == "lease_lost"
    assert leases.attempt_of(ada, Task.objects.get(pk=claim.task.pk), Fence(claim.epoch)) is not None
