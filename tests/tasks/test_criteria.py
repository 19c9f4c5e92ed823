"""Success criteria: given with the task, held against what is said to have come out, never run."""

import pytest

from mission_control.models import Activity
from tests.conftest import a_task, claimed, fresh

pytestmark = pytest.mark.django_db
ASKED = ["Tests pass", {"criterion": "Coverage", "measurable": 90}, {"criterion": "Language", "expected": "en"}]
ALL = {"Tests pass": True, "2": 90, "language": "EN"}


@pytest.fixture
def work(api_of, orchestrator):
    client = api_of(orchestrator)
    made = client.post("/tasks", {"title": "Write it", "success_criteria": ASKED})
    assert made.status_code == 201
    code = made.json()["task"]["id"]
    claim = client.post(f"/tasks/{code}/claim", {}).json()
    return client, code, {"epoch": claim["epoch"], "lease_token": claim["lease_token"]}, claim


def test_criteria_are_kept_as_texts_and_stand_in_the_briefing(work):
    client, code, _, claim = work
    assert client.get(f"/tasks/{code}").json()["task"]["success_criteria"] == [
        {"criterion": "Tests pass"}, {"criterion": "Coverage", "measurable": "90"}, {"criterion": "Language", "measurable": "en"},
    ]  # fmt: skip
    assert claim["briefing"]["quoted"]["success_criteria"] == ["Tests pass", "Coverage: 90", "Language: en"]


def test_a_checked_completion_names_what_is_not_met_and_changes_nothing(work):
    client, code, lease, _ = work
    results = {"Tests pass": True, "Coverage": "89.5"}
    answer = client.post(f"/tasks/{code}/complete", {**lease, "validate": True, "results": results})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "criteria_unmet")
    assert [(unmet["number"], unmet["criterion"], unmet["measurable"]) for unmet in body["unmet"]] == [
        (2, "Coverage", "90"), (3, "Language", "en"),
    ]  # fmt: skip
    assert client.get(f"/tasks/{code}").json()["task"]["status"] == "in_progress"
    assert client.post(f"/tasks/{code}/complete", {**lease, "validate": True}).status_code == 409
    done = client.post(f"/tasks/{code}/complete", {**lease, "validate": True, "results": ALL})
    assert (done.status_code, done.json()["task"]["criteria_met"]) == (200, [True, True, True])


def test_force_hands_it_in_and_the_log_tells_what_was_not_met(work):
    client, code, lease, _ = work
    done = client.post(f"/tasks/{code}/complete", {**lease, "validate": True, "force": True, "results": {"1": True}})
    assert (done.status_code, done.json()["task"]["status"]) == (200, "done")
    line = Activity.objects.get(kind="task.completed")
    assert line.data["criteria"] == {"met": [1], "unmet": [2, 3], "validated": True, "forced": True}


def test_without_being_asked_nothing_is_refused(work):
    client, code, lease, _ = work
    done = client.post(f"/tasks/{code}/complete", lease)
    assert (done.status_code, done.json()["task"]["criteria_met"]) == (200, None)


@pytest.mark.parametrize("result", [1, "true", "yes", [True], {"met": True}, None, "__import__('os')", "True or 1"])
def test_only_true_meets_a_criterion_without_a_value(work, result):
    client, code, lease, _ = work
    answer = client.post(
        f"/tasks/{code}/complete", {**lease, "validate": True, "results": {**ALL, "Tests pass": result}}
    )
    assert answer.status_code == 409
    assert [unmet["number"] for unmet in answer.json()["unmet"]] == [1]


def test_a_criterion_is_never_run(api_of, orchestrator, ada):
    task = a_task(success_criteria=[{"criterion": "1 == 1"}, {"criterion": "True"}])
    claimed(ada, task)
    answer = api_of(ada).post(f"/tasks/{task.code}/complete", {"validate": True})
    assert len(answer.json()["unmet"]) == 2
    assert fresh(task).status == "in_progress"


@pytest.mark.parametrize(
    "wrong",
    ["Tests pass", [""], [{"measurable": "90"}], [{"criterion": "x", "measurable": [1]}], [{"criterion": "x", "run": "y"}],
     [{"criterion": "x", "measurable": ""}], [5], ["x"] * 51, ["Same", "same "]],
)  # fmt: skip
def test_bad_criteria_are_refused(api_of, orchestrator, wrong):
    answer = api_of(orchestrator).post("/tasks", {"title": "x", "success_criteria": wrong})
    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"].startswith("success_criteria")


def test_a_result_for_what_nobody_asked_is_refused(work):
    client, code, lease, _ = work
    answer = client.post(f"/tasks/{code}/complete", {**lease, "results": {**ALL, "Speed": True}})
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "results.speed")


def test_simple_clients_check_as_well(api_of, ada):
    task = a_task(success_criteria=[{"criterion": "Tests pass"}])
    claimed(ada, task)
    client = api_of(ada).bare
    body = {"taskId": task.code, "agentId": "ada", "validate": True}
    assert client.post("/tasks/complete", body).json()["code"] == "criteria_unmet"
    assert client.post("/tasks/complete", {**body, "results": {"Tests pass": True}}).json()["status"] == "done"
