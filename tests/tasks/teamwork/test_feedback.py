"""Feedback on finished work: once, by others, and its figures."""

import pytest

from tasks import transitions
from tests.conftest import a_task, claimed, fence, fresh

pytestmark = pytest.mark.django_db


def done_by(actor, **fields):
    task = a_task(**fields)
    transitions.complete(actor, task.code, fence(claimed(actor, task)))
    return task


def test_feedback_is_given_once_and_only_when_it_is_done(api_of, operator, ada):
    client = api_of(operator)
    task = a_task()
    body = {"feedback_quality": 4, "timeliness": 5, "notes": "Quick"}
    answer = client.post(f"/tasks/{task.code}/feedback", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    transitions.complete(ada, task.code, fence(claimed(ada, task)))
    assert client.get(f"/tasks/{task.code}/feedback").json()["feedback"]["quality"] is None
    answer = client.post(f"/tasks/{task.code}/feedback", body)
    assert (answer.status_code, answer.json()["feedback"]) == (201, {"quality": 4, "timeliness": 5, "notes": "Quick"})
    again = client.post(f"/tasks/{task.code}/feedback", {"quality": 1, "timeliness": 1})
    assert (again.status_code, again.json()["code"], again.json()["quality"]) == (409, "already_rated", 4)
    assert fresh(task).feedback_notes == "Quick"


@pytest.mark.parametrize("grade", [0, 6, 4.5, "4", None, True])
def test_grades_are_whole_numbers_from_one_to_five(api_of, operator, ada, grade):
    task = done_by(ada)
    answer = api_of(operator).post(f"/tasks/{task.code}/feedback", {"quality": grade, "timeliness": 3})
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "quality")


def test_nobody_rates_their_own(api_of, lead, ada):
    own = done_by(lead)
    body = {"quality": 5, "timeliness": 5}
    assert api_of(lead).post(f"/tasks/{own.code}/feedback", body).json()["code"] == "own_work"
    assert api_of(ada).post(f"/tasks/{own.code}/feedback", body).status_code == 403
    other = done_by(ada)
    assert api_of(lead).post(f"/tasks/{other.code}/feedback", body).status_code == 201


def test_the_figures_are_averages_over_what_the_caller_sees(api_of, operator, ada, bob, closed):
    client = api_of(operator)
    assert client.get("/feedback/metrics").json()["summary"] == {
        "count": 0, "quality": None, "timeliness": None, "by_quality": {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0}, "agents": [],
    }  # fmt: skip
    for actor, quality, fields in ((ada, 5, {}), (ada, 2, {"venture": closed}), (bob, 4, {})):
        task = done_by(actor, **fields)
        assert client.post(f"/tasks/{task.code}/feedback", {"quality": quality, "timeliness": 3}).status_code == 201
    told = client.get("/feedback/metrics").json()["summary"]
    assert (told["count"], told["quality"], told["timeliness"]) == (3, 3.67, 3.0)
    assert [(row["agent"], row["count"], row["quality"]) for row in told["agents"]] == [
        ("ada", 2, 3.5),
        ("bob", 1, 4.0),
    ]
    assert api_of(bob).get("/feedback/metrics").json()["summary"]["count"] == 2
    assert client.get("/feedback/metrics?venture=backroom").json()["summary"]["quality"] == 2.0
