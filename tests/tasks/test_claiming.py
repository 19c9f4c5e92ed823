"""Who gets which task: eligibility, order, limits, leases, and the same answer when asked again."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from tasks import claiming, transitions
from tasks.claiming import Wish, seconds_of, within_hours
from tasks.models import Session, Task
from tasks.vocabulary import ASSIGNED, HIGH, IN_PROGRESS, LOW, READY, URGENT
from tests.conftest import DIRECTOR, a_task, an_agent, claimed, fence, fresh
from ventures import catalogue

pytestmark = pytest.mark.django_db


def next_titles(actor, **wish) -> list[str]:
    return [claim.task.title for claim in claiming.claim_next(actor, Wish(**wish))]


# ── eligibility ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_gets_only_what_its_skills_are_enough_for(ada, bob, stranger):
    a_task("python", required_capabilities=["python"])
    a_task("both", required_capabilities=["python", "review"])
    a_task("design", required_capabilities=["design"])
    assert next_titles(stranger) == []
    assert next_titles(bob, limit=9) == ["design"]
    assert next_titles(ada, limit=9) == ["python", "both"]


def test_a_claim_may_offer_less_than_the_agent_can(ada):
    a_task("python", required_capabilities=["python"])
    a_task("anyone")
    assert next_titles(ada, capabilities=["review", "welding"]) == ["anyone"]
    assert next_titles(ada, capabilities=[]) == []
    assert next_titles(ada) == ["python"]


def test_an_assigned_task_is_for_its_assignee_alone(ada, bob):
    a_task("adas", assignee=ada.agent)
    assert next_titles(bob) == []
    with pytest.raises(NotAllowed) as refusal:
        claimed(bob, Task.objects.get())
    assert refusal.value.code == "assigned_to_another"
    assert next_titles(ada) == ["adas"]


@pytest.mark.parametrize("status", ["paused", "completed", "archived"])
def test_a_venture_that_is_not_active_offers_nothing(status, ada, venture):
    task = a_task(venture=venture)
    catalogue.change(DIRECTOR, venture, {"status": status})
    assert next_titles(ada) == []
    assert claiming.pending(ada, Wish()) == []
    with pytest.raises(Refused) as refusal:
        claimed(ada, task)
    assert refusal.value.code == "venture_inactive"


def test_a_closed_venture_is_for_those_who_joined(ada, bob, closed):
    task = a_task("secret", venture=closed)
    assert next_titles(bob) == []
    with pytest.raises(NotThere):
        claimed(bob, task)
    assert next_titles(ada) == ["secret"]


def test_a_claim_may_be_for_one_venture(ada, venture):
    a_task("elsewhere")
    a_task("here", venture=venture)
    assert next_titles(ada, venture=venture) == ["here"]


def test_a_task_that_waits_for_another_is_not_offered(ada):
    first = a_task("first")
    second = a_task("second", depends_on=[first])
    assert next_titles(ada, limit=9) == ["first"]
    with pytest.raises(Refused):
        claimed(ada, second)


def test_while_the_fleet_is_frozen_nothing_is_claimed_and_leases_stay(ada, operator):
    first, second = a_task("first"), a_task("second")
    claim = claimed(ada, first)
    log.freeze(operator, "Wait")
    for attempt in (lambda: claiming.claim_next(ada, Wish()), lambda: claimed(ada, second)):
        with pytest.raises(Refused) as refusal:
            attempt()
        assert refusal.value.code == "frozen"
    assert fresh(second).status == READY
    assert transitions.progress(ada, first.code, fence(claim), percent=5).progress_percent == 5
    log.thaw(operator)
    assert next_titles(ada) == ["second"]


def test_only_agents_with_the_right_scope_claim(operator, viewer):
    a_task()
    for actor in (operator, viewer):
        with pytest.raises(NotAllowed):
            claiming.claim_next(actor, Wish())
    reader = an_agent("reader", scopes=())
    with pytest.raises(NotAllowed):
        claiming.claim_next(reader, Wish())


def test_idle_work_keeps_the_agents_hours(ada, monkeypatch):
    a_task()
    hours = {"timezone": "Europe/Berlin", "hours": ["09:00-17:30"]}
    Agent.objects.filter(pk=ada.agent.pk).update(available_hours=hours)
    ada.agent.refresh_from_db()
    clock = [datetime(2026, 11, 21, 20, 0, tzinfo=ZoneInfo("UTC"))]
    monkeypatch.setattr(claiming, "within_hours", lambda agent, _: within_hours(agent, clock[0]))
    assert next_titles(ada, idle_work=True) == [] == claiming.pending(ada, Wish(idle_work=True))
    clock[0] = datetime(2026, 11, 21, 8, 0, tzinfo=ZoneInfo("UTC"))
    assert len(next_titles(ada, idle_work=True)) == 1


@pytest.mark.parametrize(
    ("hours", "clock", "within"),
    [
        (None, "03:00", True),
        ({"timezone": "UTC", "hours": []}, "03:00", True),
        ({"timezone": "UTC", "hours": ["09:00-17:30"]}, "09:00", True),
        ({"timezone": "UTC", "hours": ["09:00-17:30"]}, "17:30", False),
        ({"timezone": "Asia/Tokyo", "hours": ["09:00-17:30"]}, "01:00", True),
        ({"timezone": "UTC", "hours": ["22:00-06:00"]}, "23:30", True),
        ({"timezone": "UTC", "hours": ["22:00-06:00"]}, "05:59", True),
        ({"timezone": "UTC", "hours": ["22:00-06:00"]}, "12:00", False),
    ],
)
def test_hours_have_a_time_zone_and_may_pass_midnight(hours, clock, within):
    moment = datetime.fromisoformat(f"2026-11-21T{clock}:00+00:00")
    assert within_hours(Agent(available_hours=hours), moment) is within


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_urgent_is_first_and_equals_come_in_the_order_they_became_ready(ada):
    for title, priority in (("low", LOW), ("a", 1), ("b", 1), ("urgent", URGENT), ("high", HIGH)):
        a_task(title, priority=priority)
    assert [next_titles(ada)[0] for _ in range(5)] == ["urgent", "high", "a", "b", "low"]


def test_a_low_task_ages_past_a_fresh_urgent_one(ada):
    old = a_task("old and low", priority=LOW)
    Task.objects.filter(pk=old.pk).update(sort_key=old.sort_key - 13 * 3600 * 1_000_000 * 1024)
    a_task("fresh and urgent", priority=URGENT)
    assert next_titles(ada) == ["old and low"]


def test_the_best_of_all_lanes_goes_first_also_in_a_batch(ada, venture):
    a_task("c", required_capabilities=["review"])
    a_task("a", priority=URGENT, venture=venture)
    a_task("b", priority=HIGH, assignee=ada.agent)
    assert next_titles(ada, limit=2) == ["a", "b"]
    assert next_titles(ada, limit=2) == ["c"]


def test_pending_is_what_would_be_claimed_and_claims_nothing(ada):
    a_task("first")
    a_task("second", required_capabilities=["design"])
    a_task("third", assignee=ada.agent)
    assert [task.title for task in claiming.pending(ada, Wish())] == ["first", "third"]
    assert Task.objects.filter(status=IN_PROGRESS).count() == 0


# ── the lease ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_raises_the_epoch_and_opens_a_session(ada):
    claim = claimed(ada, a_task(), session_key="run 7")
    task = fresh(claim.task)
    assert (task.status, task.holder, task.epoch, task.session_key) == (IN_PROGRESS, ada.agent, 1, "run 7")
    assert claim.expires_in == 300
    session = Session.objects.get()
    assert (session.key, session.agent, session.attempt, session.state) == ("run 7", ada.agent, 1, "running")
    transitions.release(ada, task.code, fence(claim))
    again = claimed(ada, task)
    assert (again.epoch, again.lease_token != claim.lease_token) == (2, True)
    assert again.task.session_key == f"ada:{task.code}:2"


@pytest.mark.parametrize(
    ("asked", "simple", "interval", "seconds"),
    [
        (None, False, None, 300),
        (None, True, None, 4 * 3600),
        (60, False, None, 60),
        (60, True, None, 60),
        (None, False, 600, 1500),
        (15, False, 60, 150),
        (24 * 3600, False, 24 * 3600, 24 * 3600),
    ],
)
def test_the_length_of_a_lease_follows_the_wish_and_the_agents_heartbeat(asked, simple, interval, seconds):
    assert seconds_of(Agent(heartbeat_interval=interval), asked, simple) == seconds


@pytest.mark.parametrize("asked", [0, 14, 24 * 3600 + 1, -5])
def test_a_lease_is_neither_too_short_nor_too_long(asked):
    with pytest.raises(Invalid):
        seconds_of(Agent(), asked, simple=False)


@pytest.mark.parametrize("limit", [0, -1, 51])
def test_a_batch_has_one_to_fifty(limit, ada):
    with pytest.raises(Invalid):
        claiming.claim_next(ada, Wish(limit=limit))


# ── asking again ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_session_key_gives_the_same_lease(ada):
    a_task()
    a_task()
    first = claiming.claim_next(ada, Wish(session_key="k"))[0]
    again = claiming.claim_next(ada, Wish(session_key="k"))[0]
    assert (again.task.pk, again.epoch, again.lease_token) == (first.task.pk, first.epoch, first.lease_token)
    assert again.again
    assert claiming.claim_next(ada, Wish())[0].task.pk != first.task.pk  # without a key each call takes another


def test_a_batch_under_one_key_is_given_again_whole(ada):
    tasks = [a_task(str(n)) for n in range(3)]
    batch = claiming.claim_next(ada, Wish(session_key="k", limit=3))
    assert [c.task.session_key for c in batch] == [f"k:{task.code}" for task in tasks]
    again = claiming.claim_next(ada, Wish(session_key="k", limit=3))
    assert [(c.task.pk, c.epoch) for c in again] == [(c.task.pk, c.epoch) for c in batch]


def test_two_agents_may_use_the_same_session_key(ada, bob):
    first, second = a_task(), a_task()
    assert claimed(ada, first, session_key="main").task.pk == first.pk
    assert claimed(bob, second, session_key="main").task.pk == second.pk


def test_a_session_key_works_on_one_task_at_a_time(ada):
    first, second = a_task(), a_task()
    claim = claimed(ada, first, session_key="main")
    with pytest.raises(Refused) as refusal:
        claimed(ada, second, session_key="main")
    assert refusal.value.code == "session_busy"
    transitions.complete(ada, first.code, fence(claim))
    assert claimed(ada, second, session_key="main").epoch == 1  # a bot uses its key again


def test_a_claimed_task_says_who_has_it_and_gives_its_holder_the_same_answer(ada, bob):
    task = a_task()
    claim = claimed(ada, task, session_key="k")
    again = claimed(ada, task, session_key="k")
    assert (again.epoch, again.lease_token, again.again) == (claim.epoch, claim.lease_token, True)
    for actor, key in ((bob, "k"), (ada, "another")):
        with pytest.raises(Refused) as refusal:
            claimed(actor, task, session_key=key)
        assert refusal.value.sentence == "Task already claimed"
        assert refusal.value.facts["claimedBy"] == "ada"
        assert refusal.value.facts["lockedAt"] == fresh(task).session_locked_at


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_holds_no_more_than_its_limit():
    agent = an_agent("busy", max_concurrent=2)
    tasks = [a_task(str(n)) for n in range(4)]
    assert len(claiming.claim_next(agent, Wish(limit=3))) == 2
    for attempt in (lambda: claiming.claim_next(agent, Wish()), lambda: claimed(agent, tasks[3])):
        with pytest.raises(Refused) as refusal:
            attempt()
        assert refusal.value.code == "at_capacity"
    transitions.release(agent, tasks[0].code)
    assert len(claiming.claim_next(agent, Wish(limit=3))) == 1


def test_a_full_venture_is_passed_over(ada, venture):
    catalogue.change(DIRECTOR, venture, {"wip_limits": {"in_progress": 1}})
    here = [a_task(f"here {n}", venture=venture, priority=URGENT) for n in range(2)]
    a_task("elsewhere")
    assert next_titles(ada) == ["here 0"]
    assert next_titles(ada) == ["elsewhere"]
    assert next_titles(ada) == []
    with pytest.raises(Refused) as refusal:
        claimed(ada, here[1])
    assert refusal.value.code == "wip_limit"


def test_a_batch_keeps_every_ventures_limit(ada, venture):
    catalogue.change(DIRECTOR, venture, {"wip_limits": {"in_progress": 2}})
    for n in range(4):
        a_task(f"here {n}", venture=venture, priority=URGENT)
        a_task(f"there {n}")
    assert next_titles(ada, limit=5) == ["here 0", "here 1", "there 0", "there 1", "there 2"]


# ── claiming one ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_by_id_needs_the_skills(bob):
    task = a_task(required_capabilities=["python", "design"])
    with pytest.raises(NotAllowed) as refusal:
        claimed(bob, task)
    assert refusal.value.facts["missing"] == ["python"]


def test_an_assigned_task_is_claimed_by_id_and_rests_assigned(ada):
    task = a_task(assignee=ada.agent)
    claim = claimed(ada, task)
    assert transitions.release(ada, task.code, fence(claim)).status == ASSIGNED


def test_a_caller_who_acts_for_an_agent_gets_no_more_than_it(operator, bob, closed):
    from agents.acting import act_for

    task = a_task(venture=closed)
    actor = act_for(operator, "bob")
    assert claiming.claim_next(actor, Wish()) == []
    with pytest.raises(Refused) as refusal:
        claimed(actor, task)
    assert refusal.value.code == "not_joined"
    roster.join(DIRECTOR, bob.agent, closed)
    assert claimed(actor, task).task.holder == bob.agent


def test_the_newest_session_of_a_key_is_the_one_that_is_meant(ada):
    first, second = a_task(), a_task()
    claim = claimed(ada, first, session_key="main")
    transitions.complete(ada, first.code, fence(claim))
    claimed(ada, second, session_key="main")
    assert claiming.newest_session(ada.agent, "main").task == second
    assert claiming.newest_session(ada.agent, "other") is None


def test_a_held_back_task_says_when_it_is_offered_again(ada):
    task = a_task()
    claim = claimed(ada, task)
    transitions.fail(ada, task.code, fence(claim))
    with pytest.raises(Refused) as refusal:
        claimed(ada, task)
    assert 1 <= refusal.value.facts["retry_after"] <= 13
    Task.objects.update(not_before=Now() - timedelta(seconds=1))
    assert claimed(ada, task).epoch == 2
