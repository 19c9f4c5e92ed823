"""The plan of a task: written, extended, moved on by hand and by progress, shown on the task while it is worked on."""

import pytest

from mission_control.models import Activity
from tasks import transitions
from tasks.collaboration_models import PlanStep
from tasks.models import Task
from tasks.teamwork import plan
from tests.conftest import DIRECTOR, a_task, claimed, fence, fresh

pytestmark = pytest.mark.django_db
STEPS = ["Read", "Write", "Check"]


def newest(kind: str) -> Activity:
    return Activity.objects.filter(kind=kind).order_by("-seq")[0]


def states(task) -> list[str]:
    return list(PlanStep.objects.filter(task=task).order_by("number").values_list("state", flat=True))


def planned(**fields):
    task = a_task(**fields)
    plan.write(DIRECTOR, task.code, [{"title": title} for title in STEPS])
    return task


def test_a_plan_is_written_whole_and_read_with_its_current_step(api_of, ada):
    task = a_task()
    claimed(ada, task)
    body = {"steps": ["Read", {"content": "Write", "status": "in_progress"}, {"title": "Check", "state": "todo"}]}
    answer = api_of(ada).post(f"/tasks/{task.code}/plan", body)
    told = answer.json()["plan"]
    assert answer.status_code == 200
    assert [(s["id"], s["title"], s["state"]) for s in told["steps"]] == [
        (1, "Read", "pending"), (2, "Write", "running"), (3, "Check", "pending"),
    ]  # fmt: skip
    assert (told["current"]["title"], told["done"], told["total"]) == ("Write", 0, 3)
    assert api_of(ada).bare.get(f"/tasks/{task.code}/plan").json()["current"]["id"] == 2
    line = newest("plan.changed")
    assert (line.message, line.data["how"], line.data["before"]) == ("Write", "written", {"steps": []})
    assert line.data["after"]["steps"][1] == {"number": 2, "title": "Write", "state": "running"}


def test_a_task_is_created_with_its_plan(api_of, orchestrator):
    client = api_of(orchestrator)
    steps = ["Measure", {"title": "Write", "state": "doing"}, {"text": "Proofread"}]
    code = client.post("/tasks", {"title": "Guide", "checklist": steps}).json()["task"]["id"]
    plan = client.get(f"/tasks/{code}/plan").json()["plan"]
    assert [(step["id"], step["title"], step["state"]) for step in plan["steps"]] == [
        (1, "Measure", "pending"), (2, "Write", "running"), (3, "Proofread", "pending"),
    ]  # fmt: skip
    line = Activity.objects.get(task=code)
    assert (line.kind, [step["title"] for step in line.data["after"]["plan"]]) == (
        "task.created",
        ["Measure", "Write", "Proofread"],
    )
    many = client.post("/tasks", [{"title": "One", "plan": ["a"]}, {"title": "Two"}, {"title": "Three", "plan": ["b"]}])
    codes = [task["id"] for task in many.json()["tasks"]]
    assert [client.get(f"/tasks/{code}/plan").json()["plan"]["total"] for code in codes] == [1, 0, 1]


@pytest.mark.parametrize(
    "wrong",
    ["Measure", [""], [{"state": "done"}], [{"title": "a", "state": "running"}] * 2, ["a"] * 201, [5]],
    ids=range(6),
)
def test_a_task_with_a_wrong_plan_is_not_created(wrong, api_of, orchestrator):
    refused = api_of(orchestrator).post("/tasks", {"title": "Guide", "plan": wrong})
    assert refused.status_code == 400
    assert refused.json()["details"][0]["field"].startswith("plan")
    assert not Task.objects.exists()


def test_the_same_plan_again_is_not_told_twice(api_of, ada):
    task = a_task()
    claimed(ada, task)
    for _ in range(2):
        assert api_of(ada).post(f"/tasks/{task.code}/plan", {"steps": STEPS}).status_code == 200
    assert Activity.objects.filter(kind="plan.changed").count() == 1


def test_a_step_that_begins_finishes_the_one_that_ran_and_shows_on_the_task(api_of, ada):
    task = planned()
    claimed(ada, task)
    client = api_of(ada)
    client.patch(f"/tasks/{task.code}/plan/1", {"state": "running"})
    told = client.patch(f"/tasks/{task.code}/plan/2", {"status": "doing"}).json()["plan"]
    assert [s["state"] for s in told["steps"]] == ["done", "running", "pending"]
    assert newest("plan.changed").data == {
        "how": "changed",
        "before": {"steps": [{"number": 1, "title": "Read", "state": "running"}, {"number": 2, "title": "Write", "state": "pending"}]},
        "after": {"steps": [{"number": 1, "title": "Read", "state": "done"}, {"number": 2, "title": "Write", "state": "running"}]},
    }  # fmt: skip
    assert (fresh(task).progress_step, fresh(task).progress_percent) == ("Write", 33)
    client.patch(f"/tasks/{task.code}/plan/2", {"state": "done"})
    client.patch(f"/tasks/{task.code}/plan/3", {"state": "skipped"})
    assert fresh(task).progress_percent == 100


def test_progress_moves_the_plan_on_by_number_or_title(api_of, ada):
    task = planned()
    claimed(ada, task)
    client = api_of(ada)
    client.post(f"/tasks/{task.code}/progress", {"step": "1"})
    assert (states(task), fresh(task).progress_step) == (["running", "pending", "pending"], "Read")
    told = client.post(f"/tasks/{task.code}/progress", {"step": "write", "percent": 70}).json()["task"]
    assert states(task) == ["done", "running", "pending"]
    assert (told["progress_step"], told["progress_percent"]) == ("Write", 70)
    assert [a.kind for a in Activity.objects.order_by("-seq")[:2]] == ["plan.changed", "task.progressed"]
    client.post(f"/tasks/{task.code}/progress", {"step": "Something else"})
    assert states(task) == ["done", "running", "pending"]
    assert fresh(task).progress_step == "Something else"


def test_progress_without_a_lease_moves_nothing(ada, bob, api_of):
    task = planned()
    claimed(ada, task)
    assert api_of(bob).post(f"/tasks/{task.code}/progress", {"step": "Write"}).status_code == 409
    assert states(task) == ["pending"] * 3


def test_a_step_is_added_at_the_end(api_of, operator):
    task = planned()
    client = api_of(operator)
    client.patch(f"/tasks/{task.code}/plan/1", {"state": "running"})
    told = client.post(f"/tasks/{task.code}/plan", {"title": "Ship", "state": "active"}).json()["plan"]
    assert [(s["id"], s["state"]) for s in told["steps"]] == [
        (1, "done"),
        (2, "pending"),
        (3, "pending"),
        (4, "running"),
    ]
    assert newest("plan.changed").data["how"] == "added"


def test_a_plan_is_kept_for_the_next_attempt(ada, bob):
    task = planned()
    claim = claimed(ada, task)
    plan.change(ada, task.code, 2, state="running")
    transitions.release(ada, task.code, fence(claim))
    claimed(bob, task)
    assert states(task) == ["pending", "running", "pending"]
    plan.change(bob, task.code, 2, state="done")
    assert fresh(task).progress_percent == 33


def test_only_who_works_on_it_created_it_or_steers_changes_a_plan(api_of, ada, bob, lead, orchestrator, operator):
    task = planned()
    claim = claimed(ada, task)
    for actor, status in ((bob, 403), (lead, 200), (orchestrator, 200), (operator, 200), (ada, 200)):
        answer = api_of(actor).patch(f"/tasks/{task.code}/plan/1", {"title": f"Read as {actor.name}"})
        assert answer.status_code == status, actor.name
    own = transitions.create(orchestrator, title="own")
    assert api_of(orchestrator).post(f"/tasks/{own.code}/plan", {"title": "x"}).status_code == 200
    transitions.release(ada, task.code, fence(claim))
    gone = api_of(ada).post(f"/tasks/{task.code}/plan", {"title": "x"})
    assert (gone.status_code, gone.json()["code"]) == (409, "lease_lost")


def test_a_lease_that_is_shown_is_checked_and_extended(api_of, ada):
    task = planned()
    claim = claimed(ada, task, lease_seconds=15)
    before = fresh(task).lease_expires_at
    stale = api_of(ada).patch(f"/tasks/{task.code}/plan/1", {"state": "done", "epoch": 9, "lease_token": "x"})
    assert (stale.status_code, states(task)[0]) == (409, "pending")
    live = {"state": "done", "epoch": claim.epoch, "lease_token": claim.lease_token}
    assert api_of(ada).patch(f"/tasks/{task.code}/plan/1", live).status_code == 200
    assert fresh(task).lease_expires_at > before


@pytest.mark.parametrize(
    "body",
    [
        {}, {"steps": "Read"}, {"steps": [""]}, {"steps": [{"state": "done"}]}, {"steps": [{"title": "x", "state": "odd"}]},
        {"steps": ["x"], "title": "y"}, {"steps": ["x"], "state": "done"}, {"steps": ["x"] * 201}, {"title": ""},
        {"steps": [{"title": "a", "state": "running"}, {"title": "b", "state": "running"}]},
        {"steps": [{"title": "a", "colour": "red"}]}, {"steps": [5]}, {"steps": [None]},
    ],
)  # fmt: skip
def test_a_plan_that_says_nothing_or_too_much_is_refused(body, api_of, operator):
    task = planned()
    answer = api_of(operator).post(f"/tasks/{task.code}/plan", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert states(task) == ["pending"] * 3


def test_a_step_that_is_not_there_is_not_found(api_of, operator):
    task = planned()
    assert api_of(operator).patch(f"/tasks/{task.code}/plan/9", {"state": "done"}).status_code == 404
    assert api_of(operator).patch(f"/tasks/{task.code}/plan/1", {}).status_code == 400


def test_what_is_handed_in_finishes_the_step_that_ran(ada, operator):
    task = planned()
    claim = claimed(ada, task)
    plan.change(ada, task.code, 3, state="running")
    transitions.complete(ada, task.code, fence(claim))
    assert states(task) == ["pending", "pending", "done"]
    assert newest("task.completed").data["finished_step"] == 3
    other = a_task()
    transitions.complete(ada, other.code, fence(claimed(ada, other)))
    assert newest("task.completed").data["finished_step"] is None
