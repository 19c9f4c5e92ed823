"""The command makes itself a key and takes it back; the same seed tells the same stories; a demo keeps its queue filled."""

import dataclasses
import random
import socket

import pytest
from django.core.management import CommandError, call_command

from agents.models import Agent, AgentKey
from tasks.demo import fleet_stories
from tasks.demo.fleet_client import Answer, History
from tasks.demo.fleet_simulator import Director, Fleet, Held, Plan, Worker, _marked, summary

NOBODY = "http://127.0.0.1:9"  # the discard port: nobody serves there


class FakeClient:
    """Answers from a table of `(verb)`, and remembers what it was asked."""

    def __init__(self, answers):
        self.answers, self.asked, self.name = answers, [], "ada.1"

    def call(self, verb, method, path, body=None, **_):
        self.asked.append((verb, path, body))
        return self.answers[verb](path) if callable(self.answers[verb]) else self.answers[verb]

    cut_and_retry = call

    def close(self):
        pass


def fleet_of(**plan):
    return Fleet(Plan(url=NOBODY, **plan), History(None), say=lambda _: None)


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db
def test_without_a_server_it_says_so_in_one_line_and_takes_its_key_back():
    with pytest.raises(CommandError, match="No server answers at http://127.0.0.1:9. Start one with: manage.py serve"):
        call_command("simulate", "--url", NOBODY, "--wait", "0.2")
    director = Agent.objects.get(slug=fleet_stories.DIRECTOR[0])
    [key] = AgentKey.objects.filter(agent=director)
    assert (key.scopes, key.revoked_at is None) == (["admin"], False)


@pytest.mark.django_db
def test_keys_that_a_killed_run_left_are_revoked_by_the_next():
    for _ in range(2):
        with pytest.raises(CommandError):
            call_command("simulate", "--url", NOBODY, "--wait", "0.1")
    AgentKey.objects.update(revoked_at=None)
    with pytest.raises(CommandError):
        call_command("simulate", "--url", NOBODY, "--wait", "0.1")
    assert AgentKey.objects.count() == 3
    assert not AgentKey.objects.filter(revoked_at=None).exists()


@pytest.mark.django_db
def test_a_key_that_is_given_is_used_and_none_is_made():
    with pytest.raises(CommandError, match="No server"):
        call_command("simulate", "--url", NOBODY, "--wait", "0.1", "--key", "mc_given")
    assert not AgentKey.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--agents", "0"), "Between 1 and 1000 agents"),
        (("--failures", "1.5"), "give a share between 0 and 1"),
        (("--url", "localhost:8000"), "Not the address of a server"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("simulate", "--wait", "0.1", *arguments)


# ── the stories ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_draws_the_same_stories():
    def draw(seed):
        source = random.Random(seed)
        return [fleet_stories.story(source, {"code", "data"}, ["shop"]).fields for _ in range(30)]

    assert draw(7) == draw(7) != draw(8)


def test_every_task_can_be_done_by_somebody():
    has = {"code", "testing"}
    for fields in (fleet_stories.story(random.Random(n), has, []).fields for n in range(200)):
        assert set(fields.get("required_capabilities", ())) <= has
        assert 1 <= len(fields["title"]) <= 500
        assert "{" not in fields["title"] + fields["description"]


def test_agents_have_distinct_names_and_all_capabilities_are_there():
    slugs = [fleet_stories.profile(place)["slug"] for place in range(50)]
    assert len(set(slugs)) == 50
    assert {c for place in range(20) for c in fleet_stories.profile(place)["capabilities"]} == set(
        fleet_stories.BY_CAPABILITY
    )


# ── an agent ────────────────────────────────────────────────────────────────────────────────────────────────────────


def worker_with(fleet, answers):
    worker = Worker(fleet, "ada", "k")
    worker.client = FakeClient(answers)
    return worker


def held():
    return Held("abcdefgh", "Title", 3, "token", 60.0, fleet_stories.TRADES[0])


def test_an_agent_that_is_told_off_stops_working_on_it():
    fleet = fleet_of(speed=0, cuts=0)
    worker = worker_with(fleet, {"progress": Answer(409, {"code": "cancelled"})})
    worker.held = held()
    assert not worker._step(worker.held, 0, 3)
    assert worker.held is None
    assert fleet.counts == {"progress refused: cancelled": 1}
    assert fleet.wrong == []


@pytest.mark.parametrize(
    "answer", [Answer(500, "oops"), Answer(400, {"code": "invalid"}), Answer(409, {"code": "other"})]
)
def test_an_answer_that_must_not_be_is_told_in_words(answer):
    fleet = fleet_of(speed=0, cuts=0)
    worker = worker_with(fleet, {"complete": answer})
    worker._report("complete", held(), {})
    assert fleet.wrong
    assert "WRONG" in summary(fleet)


def test_marks_reach_everything_that_is_kept():
    marked = _marked({"summary": "s", "deliverables": [{"title": "t", "path": "p"}], "actual_cost": "1"}, "ada.1", 4)
    assert marked == {
        "summary": "s ⟨ada.1/4⟩", "deliverables": [{"title": "t ⟨ada.1/4⟩", "path": "p"}], "actual_cost": "1",
    }  # fmt: skip


def test_fates_are_drawn_in_the_shares_of_the_plan():
    fleet = fleet_of(zombies=0.2, crashes=0.1, failures=0.1, blocks=0.05, releases=0.05)
    worker = worker_with(fleet, {})
    fates = [worker._fate() for _ in range(4000)]
    shares = {fate: fates.count(fate) / 4000 for fate in set(fates)}
    wanted = {"zombie": 0.2, "crash": 0.1, "fail": 0.1, "block": 0.05, "release": 0.05, "complete": 0.5}
    assert shares.keys() == wanted.keys()
    assert all(abs(shares[fate] - wanted[fate]) < 0.03 for fate in wanted)


# ── the demo ────────────────────────────────────────────────────────────────────────────────────────────────────────


def director_with(ready, **plan):
    fleet = fleet_of(forever=True, **plan)
    director = Director(fleet, "k")
    director.capabilities, director.ventures = {"code"}, ["e-commerce"]

    def listed(path):
        n = ready if "status=ready" in path else 0
        return Answer(200, {"tasks": [{"id": f"task{i:04}"} for i in range(n)]})

    director.client = FakeClient({"list": listed, "create": Answer(201, {"tasks": []})})
    return director


def test_a_demo_that_runs_low_gets_new_tasks():
    director = director_with(ready=3)
    director.steer()
    [(_, _, batch)] = [asked for asked in director.client.asked if asked[0] == "create"]
    assert 6 <= len(batch) <= 12


def test_a_demo_with_enough_to_do_is_not_flooded():
    director = director_with(ready=40)
    for _ in range(5):
        director.steer()
    assert not [asked for asked in director.client.asked if asked[0] == "create"]


def test_a_run_is_drained_when_only_what_is_held_back_is_left():
    director = director_with(ready=0)
    waiting = {"tasks": [{"id": "a", "not_before": "2030-01-01T00:00:00Z"}]}
    director.client.answers["list"] = Answer(200, waiting)
    assert director.is_drained(but_for_held_back=True)
    assert not director.is_drained()
    waiting["tasks"].append({"id": "b", "not_before": None})
    assert not director.is_drained(but_for_held_back=True)


def test_the_plan_is_frozen_and_travels_as_json():
    plan = Plan(url=NOBODY, agents=3)
    assert Plan(**dataclasses.asdict(plan)) == plan
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.agents = 4


def test_nobody_serves_where_these_tests_look():
    with socket.socket() as probe, pytest.raises(OSError):
        probe.connect(("127.0.0.1", 9))
