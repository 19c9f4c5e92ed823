"""What a task waits for: one test for each status and each gate, and that open gates are an honest promise."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import Actor, person, system
from mission_control.errors import Refused
from mission_control.models import User
from tasks import claiming, explain, transitions
from tasks.claiming import Wish
from tasks.models import Task
from tasks.vocabulary import OPEN, STATUSES
from ventures import catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator():
    return person(User.objects.create(username="olivia", role="operator"))


@pytest.fixture
def venture(operator):
    return catalogue.create(operator, name="Shoe store", slug="shoes")


def an_agent(operator, slug, *capabilities, seen=True, **fields) -> Agent:
    agent = roster.create(operator, name=slug.title(), slug=slug, capabilities=sorted(capabilities), **fields)
    if seen:
        roster.note_seen(agent)
    return Agent.objects.get(pk=agent.pk)


def worker(agent) -> Actor:
    return Actor("agent", agent.slug, frozenset({"read", "work"}), agent=agent)


def a_task(operator, venture, title="Write the size guide", **fields) -> Task:
    return transitions.create(operator, title=title, venture=venture, **fields)


def fresh(task) -> Task:
    return Task.objects.select_related("venture", "assignee", "holder", "held_by").get(pk=task.pk)


def gate(task, name, agent=None):
    [found] = [gate for gate in explain.gates(fresh(task), agent) if gate.name == name]
    return found


def shut(task, agent=None) -> list[str]:
    return [gate.name for gate in explain.gates(fresh(task), agent) if not gate.open]


# ── each status ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_inbox_task_waits_for_somebody_to_release_it(operator, venture):
    task = a_task(operator, venture, status="inbox")
    found = gate(task, "status")
    assert not found.open
    assert "inbox" in found.sentence
    assert (found.action.method, found.action.url) == ("PUT", f"/api/v1/tasks/{task.code}/move")
    assert found.action.body == {"status": "ready"}


def test_a_ready_task_counts_who_fits_and_tells_its_place(operator, venture):
    an_agent(operator, "ada", "python")
    an_agent(operator, "grace", "python", seen=False)
    an_agent(operator, "linus", "rust")
    a_task(operator, venture, required_capabilities=["python"])
    task = a_task(operator, venture, required_capabilities=["python"])
    assert shut(task) == []
    assert gate(task, "capabilities").sentence == "It needs python: ada and grace have it."
    assert gate(task, "agent").sentence == "Waiting for an agent: 2 fit, 1 available, place 2 in its queue."


def test_an_assigned_task_waits_for_its_assignee_alone(operator, venture):
    ada = an_agent(operator, "ada")
    an_agent(operator, "grace")
    task = a_task(operator, venture, assignee=ada)
    assert gate(task, "status").sentence == "It is meant for ada."
    assert gate(task, "agent").sentence.startswith("Waiting for an agent: 1 fits, 1 available")
    assert shut(task) == []


def test_an_assigned_task_without_an_assignee_waits_for_one(operator, venture):
    an_agent(operator, "ada")
    task = a_task(operator, venture, status="assigned")
    assert shut(task) == ["status"]
    assert gate(task, "status").action.label == "Choose an assignee"


def test_work_in_hand_names_the_agent_and_the_end_of_its_lease(operator, venture):
    ada = an_agent(operator, "ada")
    task = a_task(operator, venture)
    claiming.claim_next(worker(ada), Wish(lease_seconds=300))
    [found] = explain.gates(fresh(task))
    lease_ends = fresh(task).lease_expires_at
    assert not found.open
    assert f"ada works on it: its lease (epoch 1) lasts until {lease_ends:%Y-%m-%d %H:%M:%S} UTC." == found.sentence
    assert found.until == lease_ends
    assert found.action.verb == "release"


def test_a_lease_that_ran_out_waits_for_the_sweep(operator, venture):
    ada = an_agent(operator, "ada")
    task = a_task(operator, venture)
    claiming.claim_next(worker(ada), Wish())
    Task.objects.filter(pk=task.pk).update(lease_expires_at=Now() - timedelta(seconds=3))
    assert "next sweep" in explain.waits_for(fresh(task))


def test_work_by_hand_names_the_person(operator, venture):
    task = a_task(operator, venture)
    transitions.start(operator, task.code)
    assert explain.waits_for(fresh(task)).startswith("olivia works on it by hand since ")


def test_a_paused_task_gives_the_reason(operator, venture):
    task = a_task(operator, venture)
    transitions.pause(operator, task.code, reason="Wait for the new prices")
    found = gate(task, "status")
    assert found.sentence == "It is paused: Wait for the new prices."
    assert found.action.verb == "resume"


def test_a_blocked_task_asks_its_question(operator, venture):
    task = a_task(operator, venture)
    transitions.block(operator, task.code, kind="needs_input", reason="Which sender domain?")
    found = gate(task, "status")
    assert found.sentence == "It is blocked and needs an answer: Which sender domain?"
    assert found.action.url.endswith("/unblock")


def test_a_blocked_task_names_what_is_not_done_yet(operator, venture):
    first = a_task(operator, venture, "Take the photos")
    task = a_task(operator, venture, depends_on=[first])
    assert shut(task)[0] == "dependency"
    found = gate(task, "dependency")
    assert found.sentence == f"It waits for {first.code} “Take the photos”, which is ready."
    assert found.action.url == f"/api/v1/tasks/{first.code}/why"


def test_a_failed_or_cancelled_prerequisite_is_the_named_gate(operator, venture):
    waiting = a_task(operator, venture, "Write")
    cancelled, failed = a_task(operator, venture, "Cut"), a_task(operator, venture, "Fail")
    task = a_task(operator, venture, depends_on=[waiting, cancelled, failed])
    transitions.cancel(operator, cancelled.code)
    catalogue.change(operator, venture, {"max_failures": 1})
    ada = an_agent(operator, "ada")
    claiming.claim_task(worker(ada), failed.code, Wish())
    transitions.fail(worker(ada), failed.code, error="no access")
    before = [gate for gate in explain.gates(fresh(task)) if gate.name == "dependency"]
    assert "was cancelled" in before[0].sentence
    assert before[0].action.label == f"Reopen {cancelled.code}"
    assert "which failed" in before[1].sentence
    assert before[1].action.url == f"/api/v1/tasks/{failed.code}/retry"
    assert waiting.code in before[2].sentence


def test_many_prerequisites_are_named_up_to_a_point(operator, venture):
    many = transitions.create_many(operator, [{"title": f"Part {n}", "venture": venture} for n in range(12)])
    task = a_task(operator, venture, depends_on=many)
    before = [gate.sentence for gate in explain.gates(fresh(task)) if gate.name == "dependency"]
    assert len(before) == explain.NAMED + 1
    assert before[-1] == "It waits for 4 more."


def test_a_title_that_the_viewer_may_not_see_is_left_out(operator, venture):
    secret = catalogue.create(operator, name="Secret", slug="secret", open_to_all=False)
    first = a_task(operator, secret, "Buy the competitor")
    task = a_task(operator, venture, depends_on=[first])
    ada = an_agent(operator, "ada")
    as_ada = " ".join(gate.sentence for gate in explain.gates(fresh(task), ada, viewer=worker(ada)))
    assert first.code in as_ada
    assert "Buy the competitor" not in as_ada
    assert "Buy the competitor" in explain.waits_for(fresh(task))


def test_a_review_waits_for_a_verdict(operator, venture):
    task = a_task(operator, venture, review_required=True)
    claiming.claim_next(worker(an_agent(operator, "ada")), Wish())
    transitions.complete(operator, task.code)
    [found] = explain.gates(fresh(task))
    assert found.sentence == "It was handed in and waits for a verdict."
    assert found.action.verb == "accept"


def test_a_failed_task_tells_the_last_error(operator, venture):
    catalogue.change(operator, venture, {"max_failures": 1})
    task = a_task(operator, venture)
    ada = worker(an_agent(operator, "ada"))
    claiming.claim_next(ada, Wish())
    transitions.fail(ada, task.code, error="The sandbox is down")
    found = gate(task, "status")
    assert found.sentence == "It failed once and waits for a person: The sandbox is down."
    assert found.action.verb == "retry"


@pytest.mark.parametrize(("verb", "status"), [("complete", "done"), ("cancel", "cancelled")])
def test_a_finished_task_says_so(operator, venture, verb, status):
    task = a_task(operator, venture)
    transitions.start(operator, task.code)
    getattr(transitions, verb)(operator, task.code)
    [found] = explain.gates(fresh(task))
    assert fresh(task).status == status
    assert status in found.sentence
    assert found.action.verb == "reopen"


# ── each gate ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_paused_venture_offers_nothing(operator, venture):
    ada = an_agent(operator, "ada")
    task = a_task(operator, venture)
    catalogue.change(operator, venture, {"status": "paused"})
    assert shut(task, ada) == ["venture"]
    assert gate(task, "venture").sentence == "Shoe store is paused: it offers no task."
    assert gate(task, "venture").action.url == "/api/v1/ventures/shoes"


def test_a_frozen_fleet_names_who_froze_it_and_why(operator, venture):
    ada = an_agent(operator, "ada")
    task = a_task(operator, venture)
    log.freeze(operator, "Prices are wrong")
    assert shut(task, ada) == ["freeze"]
    found = gate(task, "freeze")
    assert found.sentence.startswith("The fleet is frozen by olivia since ")
    assert found.sentence.endswith(": Prices are wrong.")
    assert found.action.url == "/api/v1/fleet/thaw"


def test_after_a_failure_it_tells_when_it_is_offered_again(operator, venture):
    task = a_task(operator, venture)
    ada = an_agent(operator, "ada")
    claiming.claim_next(worker(ada), Wish())
    transitions.fail(worker(ada), task.code, error="flaky")
    found = gate(task, "back_off", ada)
    assert not found.open
    assert found.until == fresh(task).not_before
    assert shut(task, ada) == ["back_off"]


def test_a_task_for_another_is_shut_for_this_agent(operator, venture):
    ada, grace = an_agent(operator, "ada"), an_agent(operator, "grace")
    task = a_task(operator, venture, assignee=ada)
    assert shut(task, grace) == ["assignee"]
    assert gate(task, "assignee", grace).sentence == "It is meant for ada, not for grace."
    assert gate(task, "assignee", grace).action.body == {"assignee": "grace"}
    assert shut(task, ada) == []


def test_missing_skills_are_named(operator, venture):
    ada = an_agent(operator, "ada", "python")
    task = a_task(operator, venture, required_capabilities=["python", "rust", "sql"])
    assert shut(task, ada) == ["capabilities"]
    assert gate(task, "capabilities", ada).sentence == "It needs rust and sql, which ada does not have."
    assert gate(task, "capabilities", ada).action.body == {"capabilities": ["python", "rust", "sql"]}


def test_a_skill_that_nobody_has_is_said(operator, venture):
    an_agent(operator, "ada", "python")
    task = a_task(operator, venture, required_capabilities=["rust"])
    assert shut(task) == ["capabilities"]
    assert explain.waits_for(fresh(task)) == "It needs rust, and no agent has it."


def test_without_any_agent_it_waits_for_the_first(operator, venture):
    assert explain.waits_for(fresh(a_task(operator, venture))) == "There is no agent yet."


def test_a_closed_venture_lets_in_those_who_joined(operator):
    closed = catalogue.create(operator, name="Closed", slug="closed", open_to_all=False)
    ada = an_agent(operator, "ada")
    task = a_task(operator, closed)
    assert shut(task, ada) == ["joined"]
    assert explain.waits_for(fresh(task)) == "No agent that fits has joined Closed."
    roster.join(operator, ada, closed)
    assert shut(task, ada) == []
    assert gate(task, "joined").sentence == "ada has joined Closed."


def test_a_full_column_shuts_the_gate(operator):
    venture = catalogue.create(operator, name="Small", slug="small", wip_limits={"in_progress": 1})
    ada, grace = an_agent(operator, "ada"), an_agent(operator, "grace")
    first, second = a_task(operator, venture), a_task(operator, venture)
    assert gate(first, "wip_limit").sentence == "“In progress” of Small has room: 0 of 1."
    claiming.claim_task(worker(ada), first.code, Wish())
    assert shut(second, grace) == ["wip_limit"]
    assert gate(second, "wip_limit").action.body == {"wip_limits": {"in_progress": 2}}


def test_an_agent_at_its_limit_is_named(operator, venture):
    ada = an_agent(operator, "ada", max_concurrent=1)
    first, second = a_task(operator, venture), a_task(operator, venture)
    claiming.claim_task(worker(ada), first.code, Wish())
    assert shut(second, ada) == ["capacity"]
    assert gate(second, "capacity", ada).sentence == "ada holds 1 task, its limit is 1."
    assert explain.waits_for(fresh(second)) == "Waiting for an agent: ada, the only one that fits, is at its limit."


def test_agents_that_are_all_offline_are_not_coming(operator, venture):
    an_agent(operator, "ada", seen=False)
    task = a_task(operator, venture)
    assert explain.waits_for(fresh(task)) == "Waiting for an agent: ada, the only one that fits, is offline."
    an_agent(operator, "grace", seen=False)
    assert explain.waits_for(fresh(task)) == "Waiting for an agent: 2 fit, but none is online."


def test_an_agent_that_nobody_claimed_may_not_work(operator, venture):
    agent, _, _ = roster.register(name="Newcomer")
    task = a_task(operator, venture)
    assert shut(task, agent) == ["agent"]
    assert "claim link" in explain.waits_for(fresh(task), agent)
    assert explain.waits_for(fresh(task)) == "There is no agent yet."


# ── promises ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_when_all_gates_are_open_the_claim_goes_through_and_else_it_does_not(operator):
    """Every combination of the gates that a claim by code knows, compared with what the claim does."""
    full = catalogue.create(operator, name="Full", slug="full", wip_limits={"in_progress": 0})
    paused = catalogue.create(operator, name="Paused", slug="paused", status="paused")
    closed = catalogue.create(operator, name="Closed", slug="closed", open_to_all=False)
    normal = catalogue.create(operator, name="Normal", slug="normal")
    ada, grace = an_agent(operator, "ada", "python"), an_agent(operator, "grace", "rust", max_concurrent=1)
    claiming.claim_task(worker(grace), a_task(operator, normal).code, Wish())
    seen = {True: 0, False: 0}
    for venture in (full, paused, closed, normal):
        for fields in ({}, {"assignee": ada}, {"status": "inbox"}, {"required_capabilities": ["python"]}):
            for agent in (ada, grace):
                task = a_task(operator, venture, **fields)
                expected = all(gate.open for gate in explain.gates(fresh(task), agent))
                try:
                    claiming.claim_task(worker(agent), task.code, Wish())
                    went_through = True
                except Refused:
                    went_through = False
                assert went_through == expected, (venture.slug, fields, agent.slug)
                seen[expected] += 1
    assert seen[True] == 3
    assert seen[False] == 29


def test_every_open_status_has_at_least_one_sentence_and_no_claimable_task_is_unexplained(operator, venture):
    explained = set()
    for status in STATUSES:
        task = a_task(operator, venture)
        # Straight into the status, also the ones that no verb leaves like this: an explanation must never be missing.
        task.status, task.blockers_open = status, 0
        found = explain.gates(task)
        assert found
        assert all(gate.sentence.endswith((".", "?", "!", "…")) for gate in found)
        explained.add(status)
    assert explained >= set(OPEN)


@pytest.mark.parametrize("agents", [1, 12])
def test_the_number_of_queries_does_not_grow_with_the_fleet(operator, venture, agents, django_assert_max_num_queries):
    for n in range(agents):
        an_agent(operator, f"agent-{n}", "python", max_concurrent=2)
    before = transitions.create_many(operator, [{"title": f"{n}", "venture": venture} for n in range(agents)])
    catalogue.change(operator, venture, {"wip_limits": {"in_progress": 5}})
    blocked = fresh(a_task(operator, venture, depends_on=before, required_capabilities=["python"]))
    ready = fresh(a_task(operator, venture, required_capabilities=["python"]))
    with django_assert_max_num_queries(6):
        explain.gates(blocked)
    with django_assert_max_num_queries(6):
        explain.gates(ready)


def test_long_and_multiline_reasons_are_cut_to_a_sentence(operator, venture):
    task = a_task(operator, venture)
    transitions.pause(system("test"), task.code, reason="line one\n\n" + "x" * 5000)
    sentence = gate(task, "status").sentence
    assert "\n" not in sentence
    assert len(sentence) < explain.LONG + 40


def test_a_gate_is_plain_data_for_the_api(operator, venture):
    task = a_task(operator, venture, status="inbox")
    data = gate(task, "status").as_dict()
    assert data["action"] == {
        "label": "Release it to the queue", "verb": "move", "method": "PUT",
        "url": f"/api/v1/tasks/{task.code}/move", "body": {"status": "ready"},
    }  # fmt: skip
    assert data["until"] is None
