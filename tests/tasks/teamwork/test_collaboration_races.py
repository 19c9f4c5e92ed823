"""What a team says at the same time: counted once each, one value of a key, one step that runs."""

import pytest

from agents import roster
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.models import Activity
from tasks import transitions
from tasks.collaboration_models import ContextEntry, Participant, PlanStep
from tasks.models import Task
from tasks.teamwork import collaboration, plan
from tests.threads import together

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
SYSTEM = system("test")
CROWD = 8


def agents(n):
    made = [roster.create(SYSTEM, name=f"Agent {i}", slug=f"agent-{i}") for i in range(n)]
    return [Actor("agent", agent.slug, SCOPE_ABILITIES["work"], agent=agent) for agent in made]


def all_came_through(works):
    told = together(*works)
    assert [thing for thing in told if isinstance(thing, Exception)] == []


def test_comments_of_many_at_once_are_each_counted():
    task = transitions.create(SYSTEM, title="Much to say")
    crowd = agents(CROWD)
    all_came_through(lambda who=who: collaboration.comment(who, task.code, "Hello @agent-0") for who in crowd)
    lines = Activity.objects.filter(task=task.code, kind="comment.added")
    assert (Task.objects.get(pk=task.pk).comment_count, lines.count()) == (CROWD, CROWD)


def test_one_key_shared_by_many_at_once_is_one_entry_and_the_log_is_a_chain_of_its_values():
    task = transitions.create(SYSTEM, title="One truth")
    crowd = agents(CROWD)
    all_came_through(lambda n=n, who=who: collaboration.share(who, task.code, "key", n) for n, who in enumerate(crowd))
    entry = ContextEntry.objects.get()
    lines = list(Activity.objects.filter(task=task.code, kind="context.shared").order_by("seq"))
    assert len(lines) == CROWD
    assert [line.data["before"] for line in lines] == [None, *(line.data["after"] for line in lines[:-1])]
    assert lines[-1].data["after"]["value"] == str(entry.value)


def test_one_agent_that_joins_many_times_at_once_takes_part_once():
    task = transitions.create(SYSTEM, title="Come in")
    [who] = agents(1)
    all_came_through(lambda: collaboration.join(who, task.code) for _ in range(CROWD))
    assert Participant.objects.count() == Activity.objects.filter(kind="participant.joined").count() == 1


def test_of_steps_that_begin_at_the_same_time_one_runs_and_each_that_ran_before_is_done():
    task = transitions.create(SYSTEM, title="Step by step")
    plan.write(SYSTEM, task.code, [{"title": f"Step {n}"} for n in range(CROWD)])
    all_came_through(lambda n=n: plan.change(SYSTEM, task.code, n, state="running") for n in range(1, CROWD + 1))
    states = sorted(PlanStep.objects.filter(task=task).values_list("state", flat=True))
    assert states == ["done"] * (CROWD - 1) + ["running"]


def test_steps_added_by_many_at_once_are_numbered_without_a_gap():
    task = transitions.create(SYSTEM, title="Step by step")
    all_came_through(lambda n=n: plan.add(SYSTEM, task.code, f"Step {n}") for n in range(CROWD))
    assert list(PlanStep.objects.order_by("number").values_list("number", flat=True)) == list(range(1, CROWD + 1))
