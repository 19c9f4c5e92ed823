"""The orchestration as plain calls: nine steps from the inbox to review, by key and in the open mode, each one on the
board, in the drawer or in the counter that a person has open.
"""

import re

import pytest
from django.test import Client

from mission_control.models import Activity
from tests.conftest import Api, a_task, key_of

pytestmark = pytest.mark.django_db
KEY = "agent:main:subagent:5f3a9b1c"
PART = {"HX-Request": "true"}


class Watcher:
    """What a person sees who has the page open: the parts that it fetches anew when something happened."""

    def __init__(self, user) -> None:
        self.client = Client()
        self.client.force_login(user)

    def part(self, path: str) -> str:
        return self.client.get(path, headers=PART).content.decode()

    def column(self, code: str) -> str:
        return re.search(r'data-column="(\w+)"', self.part(f"/board/cards?codes={code}"))[1]

    def card(self, code: str) -> str:
        return self.part(f"/board/cards?codes={code}")

    def drawer(self, code: str, tab: str) -> str:
        return self.part(f"/tasks/{code}/drawer?tab={tab}")

    @property
    def active_subagents(self) -> int:
        return int(re.search(r"Active sub-agents: <b>(\d+)</b>", self.part("/rail"))[1])


@pytest.fixture
def watcher(viewer) -> Watcher:
    return Watcher(viewer.user)


@pytest.fixture(params=["a key", "the open mode"])
def orchestrating(request, orchestrator, settings) -> Api:
    if request.param == "a key":
        return Api(key_of(orchestrator.agent, "work", "orchestrate"), root="/api")
    settings.OPEN_MODE = True
    return Api(root="/api", headers={"host": "127.0.0.1"})


def test_nine_steps_lead_from_the_inbox_to_review_before_the_eyes_of_a_person(
    orchestrating, watcher, ada, tmp_path, venture
):
    type(venture).objects.filter(pk=venture.pk).update(workspace=str(tmp_path))
    api, task = orchestrating, a_task("Draw the logo", status="inbox", venture=venture)
    at = f"/tasks/{task.code}"

    # 1. What came in?
    inbox = api.get("/tasks?status=inbox").json()
    assert [(t["id"], t["title"], t["status"]) for t in inbox] == [(task.code, "Draw the logo", "inbox")]
    assert watcher.column(task.code) == "inbox"

    # 2. Log what the triage found, with metadata as an object.
    found = {"activity_type": "updated", "message": "Triaged: one designer", "metadata": {"estimate": {"hours": 2}}}
    assert api.post(f"{at}/activities", found).status_code == 201
    assert "Triaged: one designer" in watcher.drawer(task.code, "activity")
    assert Activity.objects.get(message="Triaged: one designer").data["metadata"] == {"estimate": {"hours": 2}}

    # 3. Assign it by its status.
    assigned = api.patch(at, {"status": "assigned", "assigned_agent_id": "ada"})
    assert (assigned.status_code, assigned.json()["status"], assigned.json()["assigned_agent_id"]) == (
        200,
        "assigned",
        "ada",
    )
    assert watcher.column(task.code) == "assigned" and "Ada" in watcher.card(task.code)

    # 4. Register the sub-agent, whose key holds colons.
    assert watcher.active_subagents == 0
    made = api.post(f"{at}/subagent", {"openclaw_session_id": KEY, "agent_name": "Designer"})
    assert (made.status_code, made.json()["openclaw_session_id"], made.json()["status"]) == (201, KEY, "active")
    assert watcher.active_subagents == 1
    assert KEY in watcher.drawer(task.code, "sessions")

    # 5. Log its spawn.
    spawned = {"activity_type": "spawned", "message": "Designer spawned", "metadata": f'{{"session_id": "{KEY}"}}'}
    assert api.post(f"{at}/activities", spawned).status_code == 201
    assert "Designer spawned" in watcher.drawer(task.code, "activity")

    # 6. Add a file that it made; one that is not there yet is taken with a warning.
    file = {"deliverable_type": "file", "title": "The logo", "path": "logo.svg"}
    missing = api.post(f"{at}/deliverables", file)
    assert missing.status_code == 201 and "no such file" in missing.json()["warning"]
    (tmp_path / "sketch.svg").write_text("<svg/>")
    there = api.post(f"{at}/deliverables", {**file, "title": "A sketch", "path": "sketch.svg"})
    assert there.status_code == 201 and "warning" not in there.json()
    assert "The logo" in watcher.drawer(task.code, "deliverables")
    assert 'title="2 deliverables"' in watcher.card(task.code)

    # 7. Log that it is complete.
    done = {"activity_type": "completed", "message": "Designer is done"}
    assert api.post(f"{at}/activities", done).status_code == 201
    assert "Designer is done" in watcher.drawer(task.code, "activity")

    # 8. End its session.
    ended = api.patch(f"/openclaw/sessions/{KEY}", {"status": "completed"})
    assert (ended.status_code, ended.json()["status"]) == (200, "completed")
    assert watcher.active_subagents == 0

    # 9. Move it to review.
    moved = api.patch(at, {"status": "review"})
    assert (moved.status_code, moved.json()["status"]) == (200, "review")
    assert watcher.column(task.code) == "review"
    assert [t["id"] for t in api.get("/tasks?status=review").json()] == [task.code]


def test_a_sub_agent_that_nobody_ended_ends_when_its_task_goes_to_review(orchestrating, watcher):
    api, task = orchestrating, a_task(status="inbox")
    at = f"/tasks/{task.code}"
    api.patch(at, {"status": "assigned"})
    api.post(f"{at}/subagent", {"openclaw_session_id": KEY, "agent_name": "Designer"})
    assert watcher.active_subagents == 1
    assert api.patch(at, {"status": "testing"}).json()["status"] == "review"
    assert watcher.active_subagents == 0
    assert api.get(f"/openclaw/sessions/{KEY}").json()["ended_at"] is not None


def test_the_nine_steps_are_refused_to_who_only_works_where_they_steer(api_of, ada):
    """A key that only works lists and logs; it neither assigns nor makes agents nor hands in what it does not hold."""
    task, api = a_task(status="inbox"), api_of(ada).bare
    at = f"/tasks/{task.code}"
    assert api.get("/tasks?status=inbox").status_code == 200
    assert api.post(f"{at}/activities", {"message": "I was here"}).status_code == 201
    assert api.patch(at, {"status": "assigned"}).status_code == 403
    assert api.post(f"{at}/subagent", {"openclaw_session_id": KEY, "agent_name": "Designer"}).status_code == 403
    assert api.patch(at, {"status": "review"}).status_code in (403, 409)
