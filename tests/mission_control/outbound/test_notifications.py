"""One's own notifications by the API: listed, counted, marked as read; nobody else's."""

import pytest

from mission_control.models import Notification
from tasks.teamwork import collaboration
from tests.conftest import a_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def mentioned(ada, bob, operator):
    """Three comments that mention bob, one that mentions olivia."""
    task = a_task("Talk")
    for n in range(3):
        collaboration.comment(ada, task.code, f"@bob remark {n}")
    collaboration.comment(ada, task.code, "@olivia and you?")
    return task


def test_they_are_listed_newest_first_with_the_number_of_unread(mentioned, api_of, bob):
    answer = api_of(bob).get("/notifications?limit=2").json()
    assert [line["message"] for line in answer["notifications"]] == ["@bob remark 2", "@bob remark 1"]
    assert answer["unread"] == 3
    first = answer["notifications"][0]
    assert (first["reason"], first["kind"], first["task"], first["actor"], first["read_at"]) == (
        "mention", "comment.added", mentioned.code, "ada", None,
    )  # fmt: skip
    rest = api_of(bob).get(f"/notifications?limit=2&cursor={answer['next']}").json()
    assert [line["message"] for line in rest["notifications"]] == ["@bob remark 0"]
    assert rest["next"] is None


def test_the_bare_list_is_a_list(mentioned, api_of, bob):
    answer = api_of(bob).bare.get("/notifications").json()
    assert [line["reason"] for line in answer] == ["mention"] * 3


def test_one_some_and_all_are_marked_and_never_those_of_others(mentioned, api_of, bob, operator):
    mine = api_of(bob)
    ids = [line["id"] for line in mine.get("/notifications").json()["notifications"]]
    assert mine.post(f"/notifications/{ids[0]}/read").json()["notification"]["read_at"]
    theirs = Notification.objects.get(recipient="olivia").pk
    assert mine.post("/notifications/read", {"ids": [ids[1], theirs]}).json() == {"marked": 1, "unread": 1}
    assert mine.post(f"/notifications/{theirs}/read").status_code == 404
    assert mine.post("/notifications/read", {}).json() == {"marked": 1, "unread": 0}
    assert api_of(operator).get("/notifications").json()["unread"] == 1
    assert mine.get("/notifications?unread=true").json()["notifications"] == []


def test_up_to_a_number(mentioned, api_of, bob):
    ids = [line["id"] for line in api_of(bob).get("/notifications").json()["notifications"]]
    assert api_of(bob).post("/notifications/read", {"until": ids[1]}).json() == {"marked": 2, "unread": 1}


@pytest.mark.parametrize(
    ("body", "field"),
    [({"ids": "x"}, "ids"), ({"ids": ["x"]}, "ids"), ({"until": -1}, "until"), ({"all": True}, "all"), ({"ids": [1], "until": 1}, "until")],
)  # fmt: skip
def test_what_cannot_be_marked_is_refused_by_field(api_of, bob, body, field):
    answer = api_of(bob).post("/notifications/read", body)
    assert answer.status_code == 400
    assert {line["field"].split(".")[0] for line in answer.json()["details"]} == {field}


def test_an_agent_sees_how_many_are_unread_when_it_asks_about_itself(mentioned, api_of, bob):
    assert api_of(bob).get("/agents/me").json()["unread_notifications"] == 3


def test_a_task_is_watched_by_its_reader(api_of, bob, ada, closed, stranger):
    task = a_task()
    mine = api_of(bob)
    assert mine.get(f"/tasks/{task.code}/watch").json() == {"watching": False}
    assert mine.post(f"/tasks/{task.code}/watch").json() == {"watching": True}
    collaboration.comment(ada, task.code, "Look")
    assert mine.get("/notifications").json()["notifications"][0]["reason"] == "watching"
    assert mine.delete(f"/tasks/{task.code}/watch").status_code == 204
    hidden = a_task(venture=closed)
    assert api_of(stranger).post(f"/tasks/{hidden.code}/watch").status_code == 404
