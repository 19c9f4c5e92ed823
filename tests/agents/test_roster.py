"""The verbs on agents: creating, registering, claiming, changing, joining, and signs of life."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity
from tests.conftest import DIRECTOR, a_task, an_agent, claimed
from ventures import catalogue

pytestmark = pytest.mark.django_db


def recorded(kind: str) -> list[Activity]:
    return list(Activity.objects.filter(kind=kind).order_by("seq"))


# ── creating and registering ────────────────────────────────────────────────────────────────────────────────────────


def test_an_operator_or_an_orchestrator_creates_agents(operator, orchestrator, ada, viewer):
    agent = roster.create(operator, name="Grace Hopper", capabilities=["cobol"])
    assert (agent.slug, agent.owner) == ("grace-hopper", operator.user)
    assert agent.claimed_at is not None
    assert roster.create(orchestrator, name="Grace Hopper").slug == "grace-hopper-2"
    for actor in (ada, viewer):
        with pytest.raises(NotAllowed):
            roster.create(actor, name="x")


def test_a_slug_is_taken_once_and_never_again_by_another(operator, ada):
    with pytest.raises(Invalid) as refusal:
        roster.create(operator, name="x", slug="ada")
    assert refusal.value.details[0]["field"] == "slug"
    passing = roster.create(operator, name="Passing")
    roster.delete(operator, passing)
    assert roster.create(operator, name="Passing").slug == "passing-2"  # the log still speaks of the first one


@pytest.mark.parametrize(("name", "slug"), [("日本", "agent"), ("!!!", "agent"), ("Ünï", "uni")])
def test_a_slug_is_made_of_any_name(name, slug):
    assert roster.create(DIRECTOR, name=name).slug == slug


def test_a_registered_agent_waits_for_a_person_who_answers_for_it(operator, viewer, ada):
    agent, secret, token = roster.register(name="Newcomer", capabilities=["python"])
    assert agent.claimed_at is None and secret.startswith("mc_")
    assert recorded("agent.registered")[-1].data["pending"] is True
    assert token not in str(Agent.objects.values().get(pk=agent.pk))
    for actor in (viewer, ada):
        with pytest.raises(NotAllowed):
            roster.claim(actor, token)
    owned = roster.claim(operator, token)
    assert (owned.owner, owned.claimed_at is not None) == (operator.user, True)
    assert recorded("agent.claimed")[0].data == {"owner": "olivia"}
    for used in (token, "", "guess"):
        with pytest.raises(NotThere):
            roster.claim(operator, used)


def test_a_registered_agent_gives_itself_no_rank():
    with pytest.raises(Invalid):
        roster.register(name="Boss", is_lead=True)


# ── changing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_change_records_before_and_after_once(operator, ada):
    changed = roster.change(operator, ada.agent, {"model": "new", "name": "Ada"})
    assert (changed.model, changed.version) == ("new", ada.agent.version + 1)
    assert recorded("agent.changed")[-1].data == {"before": {"model": ""}, "after": {"model": "new"}}
    head = log.head()
    roster.change(operator, changed, {"model": "new"})
    assert log.head() == head


def test_an_agent_changes_itself_but_not_its_rank_and_nobody_else(ada, bob, viewer):
    assert roster.change(ada, ada.agent, {"availability": "busy"}).availability == "busy"
    with pytest.raises(Invalid):
        roster.change(ada, ada.agent, {"is_lead": True})
    for actor in (bob, viewer):
        with pytest.raises(NotAllowed):
            roster.change(actor, ada.agent, {"model": "x"})


def test_a_change_of_an_older_version_is_refused(operator, ada):
    roster.change(operator, ada.agent, {"model": "a"}, version=ada.agent.version)
    with pytest.raises(Refused) as refusal:
        roster.change(operator, ada.agent, {"model": "b"}, version=ada.agent.version)
    assert refusal.value.status == 412


def test_an_agent_that_worked_stays_in_the_books(operator, ada, bob):
    claimed(ada, a_task())
    with pytest.raises(Refused) as refusal:
        roster.delete(operator, ada.agent)
    assert refusal.value.code == "has_history"
    roster.delete(operator, bob.agent)
    assert not Agent.objects.filter(slug="bob").exists()
    with pytest.raises(NotAllowed):
        roster.delete(ada, ada.agent)


# ── ventures ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_anyone_joins_an_open_venture_and_somebody_lets_them_into_a_closed_one(ada, bob, operator, venture):
    closed = catalogue.create(DIRECTOR, name="Closed", open_to_all=False)
    roster.join(ada, ada.agent, venture)
    roster.join(ada, ada.agent, venture)
    assert len(recorded("agent.changed")) == 1
    with pytest.raises(NotAllowed):
        roster.join(ada, ada.agent, closed)
    with pytest.raises(NotAllowed):
        roster.join(ada, bob.agent, venture)
    roster.join(operator, bob.agent, closed)
    assert set(roster.visible_ventures(bob)) == {venture, closed, catalogue.default()}
    assert set(roster.visible_ventures(ada)) == {venture, catalogue.default()}
    assert set(roster.visible_ventures(operator)) == {venture, closed, catalogue.default()}


# ── presence ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sign_of_life_is_written_at_most_every_ten_seconds(ada, django_assert_num_queries):
    roster.note_seen(ada.agent)
    agent = Agent.objects.get(pk=ada.agent.pk)
    assert (agent.seen_offline, len(recorded("agent.seen_again"))) == (False, 1)
    with django_assert_num_queries(0):
        roster.note_seen(agent)
    Agent.objects.update(last_seen_at=Now() - timedelta(seconds=11))
    agent.refresh_from_db()
    before = agent.last_seen_at
    roster.note_seen(agent)
    assert Agent.objects.get(pk=agent.pk).last_seen_at > before
    assert len(recorded("agent.seen_again")) == 1


def test_an_agent_that_is_silent_goes_offline_once_and_is_seen_again_once(ada):
    quick, slow = ada.agent, an_agent("slow", heartbeat_interval=600).agent
    for agent in (quick, slow):
        roster.note_seen(agent)
    Agent.objects.update(last_seen_at=Now() - timedelta(seconds=301))
    assert roster.mark_offline() == 1
    assert roster.mark_offline() == 0
    assert [line.agent for line in recorded("agent.went_offline")] == ["ada"]
    Agent.objects.update(last_seen_at=Now() - timedelta(seconds=1801))
    assert roster.mark_offline() == 1
    roster.note_seen(Agent.objects.get(slug="ada"))
    assert Agent.objects.get(slug="ada").seen_offline is False


def test_a_pending_agent_is_seen_but_not_announced(db):
    agent, _, _ = roster.register(name="Newcomer")
    roster.note_seen(agent)
    assert Agent.objects.get(pk=agent.pk).last_seen_at is not None
    assert recorded("agent.seen_again") == []


@pytest.mark.parametrize(
    ("fields", "leases", "silent", "state"),
    [
        ({"claimed_at": None}, 0, False, "pending_claim"),
        ({}, 1, False, "busy"),
        ({}, 1, True, "idle"),
        ({"availability": "offline"}, 0, False, "offline"),
        ({"availability": "offline"}, 1, False, "busy"),  # it says one thing and does another
        ({"seen_offline": True}, 0, False, "offline"),
        ({"last_seen_at": None}, 0, False, "offline"),
        ({"availability": "busy"}, 0, False, "busy"),
        ({}, 0, False, "available"),
    ],
)
def test_the_state_is_what_leases_and_signs_of_life_say(fields, leases, silent, state):
    moment = log.now()
    agent = Agent(**{"claimed_at": moment, "last_seen_at": moment, "seen_offline": False, **fields})
    assert roster.state_of(agent, leases, moment, silent) == state
