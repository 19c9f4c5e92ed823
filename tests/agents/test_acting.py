"""As whom a caller acts: itself, or an agent that it may act for; and the built-in agent of the open mode."""

import pytest

from agents import acting, roster
from agents.acting import act_for
from agents.models import Agent
from mission_control.errors import Invalid, NotAllowed, NotThere
from mission_control.models import Activity
from tasks import transitions
from tests.conftest import DIRECTOR, a_task, claimed

pytestmark = pytest.mark.django_db


def test_an_agent_acts_for_itself_alone(ada, bob, stranger):
    assert act_for(ada, "ada") is ada
    for slug in ("bob", "nobody"):
        with pytest.raises(NotAllowed):
            act_for(ada, slug)


def test_a_viewer_acts_for_nobody(viewer, ada):
    with pytest.raises(NotAllowed):
        act_for(viewer, "ada")


def test_an_operator_a_lead_and_an_orchestrator_act_for_others(operator, lead, orchestrator, ada):
    for actor in (operator, lead, orchestrator):
        acted = act_for(actor, "ada")
        assert (acted.agent, acted.name, acted.can("work")) == (ada.agent, actor.name, True)
        with pytest.raises(NotThere):
            act_for(actor, "nobody")


def test_the_lease_is_the_agents_and_the_log_names_the_caller(operator, ada):
    claim = claimed(act_for(operator, "ada"), a_task())
    assert claim.task.holder == ada.agent
    line = Activity.objects.get(kind="task.claimed")
    assert (line.actor_type, line.actor, line.agent) == ("user", "olivia", "ada")
    assert transitions.complete(ada, claim.task.code).status == "done"


def test_nobody_acts_for_an_agent_that_is_not_claimed_yet(operator):
    agent, _, _ = roster.register(name="Newcomer")
    with pytest.raises(NotAllowed) as refusal:
        act_for(operator, agent.slug)
    assert refusal.value.code == "pending_claim"


def test_acting_for_another_opens_no_door(orchestrator, ada, closed, api_of):
    called = api_of(orchestrator)
    a_task(venture=closed)
    refused = called.post("/tasks/claim", {"agent_id": "ada"})
    assert (refused.status_code, "not joined" in refused.json()["error"]) == (403, True)
    roster.join(DIRECTOR, orchestrator.agent, closed)
    assert called.post("/tasks/claim", {"agent_id": "ada"}).json()["task"]["holder"] == "ada"


def test_the_built_in_agent_is_made_once_and_orchestrates(db):
    first, second = acting.open_caller(), acting.open_caller()
    assert first.agent == second.agent
    assert Agent.objects.filter(slug="local").count() == 1
    assert first.can("orchestrate") and not first.can("operate") and not first.can("admin")


def test_a_named_agent_that_is_not_there_is_a_wrong_field(ada):
    assert acting.named("ada", "assignee") == ada.agent
    with pytest.raises(Invalid) as refusal:
        acting.named("nobody", "assignee")
    assert refusal.value.details == [{"field": "assignee", "message": "There is no such agent."}]
