"""Sub-agents' sessions: registered, listed, changed, ended, by whom; and the log lines people and agents write by hand."""

import pytest

from agents.models import Agent
from mission_control import live
from mission_control.errors import NotAllowed, Refused
from mission_control.models import Activity
from tasks import journal, sessions, transitions
from tasks.leases import Fence
from tasks.models import Session, Task
from tests.conftest import DIRECTOR, a_task, claimed, fence, fresh
from ventures.models import Venture

pytestmark = pytest.mark.django_db
KEY = "agent:main:subagent:1"


@pytest.fixture
def boss(api_of, orchestrator):
    return api_of(orchestrator)


def newest(kind: str) -> Activity:
    return Activity.objects.filter(kind=kind).order_by("-seq")[0]


# ── registering ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sub_agent_is_registered_under_the_session_that_works(boss, ada, api_of):
    task = a_task()
    claimed(ada, task, session_key="run")
    answer = boss.bare.post(f"/tasks/{task.code}/subagent", {"openclaw_session_id": KEY, "agent_name": "Designer"})
    session = answer.json()
    assert answer.status_code == 201
    assert (session["id"], session["agent"], session["parent"], session["type"]) == (KEY, "designer", "run", "subagent")
    assert (session["openclaw_session_id"], session["status"], session["agent_name"]) == (KEY, "active", "Designer")
    line = newest("session.started")
    assert (line.task, line.agent, line.session, line.actor) == (task.code, "designer", KEY, "otto")
    assert fresh(task).version == 3
    again = boss.post(f"/tasks/{task.code}/subagent", {"sessionKey": KEY, "agent_name": "designer"})
    assert again.json()["session"]["started_at"] == session["started_at"]
    assert Session.objects.filter(type="subagent").count() == 1


def test_an_agent_is_made_on_the_fly_only_by_who_may_register_agents(ada, api_of, bob, boss):
    task = a_task()
    claimed(ada, task)
    agent = api_of(ada)
    refused = agent.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "Designer"})
    assert refused.status_code == 403 and not Agent.objects.filter(slug="designer").exists()
    own = agent.post(f"/tasks/{task.code}/subagent", {"session_key": KEY})
    assert own.json()["session"]["agent"] == "ada"
    named = agent.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "Bob"})
    assert named.json()["session"]["agent"] == "bob"
    assert api_of(bob).post(f"/tasks/{task.code}/subagent", {"session_key": "x"}).status_code == 403


def test_a_sub_agent_works_only_on_work_in_hand(boss, operator, ada):
    task = a_task()
    refused = boss.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    meant = a_task(assignee=ada.agent)
    assert boss.post(f"/tasks/{meant.code}/subagent", {"session_key": KEY, "agent_name": "x"}).status_code == 201
    claim = claimed(ada, meant)
    assert (
        boss.post(
            f"/tasks/{meant.code}/subagent", {"session_key": "y", "parent": "nowhere", "agent_name": "x"}
        ).status_code
        == 400
    )
    transitions.complete(ada, meant.code, fence(claim))
    ended = Session.objects.get(key=KEY)
    assert ended.state == "completed" and ended.ended_at is not None


def test_a_live_key_is_of_one_session(boss, ada, bob):
    first, second = a_task(), a_task()
    claimed(ada, first)
    claimed(bob, second)
    boss.post(f"/tasks/{first.code}/subagent", {"session_key": KEY, "agent_name": "x"})
    refused = boss.post(f"/tasks/{second.code}/subagent", {"session_key": KEY, "agent_name": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "session_busy")
    boss.delete(f"/sessions/{KEY}")
    assert boss.post(f"/tasks/{second.code}/subagent", {"session_key": KEY, "agent_name": "x"}).status_code == 201
    assert boss.get(f"/sessions/{KEY}").json()["session"]["task"] == second.code  # the newest of that key


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 201, 5, None])
def test_a_session_key_is_printable_and_not_too_long(key, boss, ada):
    task = a_task()
    claimed(ada, task)
    assert boss.post(f"/tasks/{task.code}/subagent", {"session_key": key, "agent_name": "x"}).status_code == 400


# ── listing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sessions_are_listed_and_filtered(boss, ada, api_of, operator):
    task = a_task()
    claimed(ada, task, session_key="run")
    boss.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "x"})
    boss.post(f"/tasks/{task.code}/subagent", {"session_key": "over", "agent_name": "x"})
    boss.patch("/sessions/over", {"state": "failed", "error": "No"})
    api = api_of(operator)
    for query, keys in (
        ("", ["over", KEY, "run"]),
        ("?type=subagent", ["over", KEY]),
        ("?type=subagent&state=live", [KEY]),
        ("?session_type=subagent&status=active", [KEY]),
        ("?state=failed,completed", ["over"]),
        ("?agent=ada", ["run"]),
        (f"?task={task.code}&type=primary", ["run"]),
    ):
        for path in ("/sessions", "/openclaw/sessions"):
            assert [s["id"] for s in api.get(path + query).json()["sessions"]] == keys, query
    assert [s["id"] for s in api.bare.get(f"/tasks/{task.code}/sessions").json()] == ["over", KEY, "run"]
    assert [s["id"] for s in api.get(f"/tasks/{task.code}/subagent").json()["sessions"]] == ["over", KEY]
    for wrong in ("?type=x", "?state=x", "?nonsense=1"):
        assert api.get("/sessions" + wrong).status_code == 400
    assert api.get("/board/summary").json()["active_subagents"] == 1


def test_a_stranger_sees_its_own_sessions_and_those_of_open_ventures(api_of, closed, ada, stranger, boss):
    hidden = a_task(venture=closed)
    claimed(ada, hidden, session_key="secret")
    outsider = api_of(stranger)
    assert outsider.get("/sessions").json()["sessions"] == []
    for method in ("GET", "PATCH", "DELETE"):
        assert (
            outsider.call(method, "/sessions/secret", {"state": "failed"} if method == "PATCH" else None).status_code
            == 404
        )
    assert api_of(ada).get("/sessions/secret").status_code == 200


# ── changing and ending ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_ending_state_ends_a_session_for_good(boss, ada):
    task = a_task()
    claimed(ada, task)
    boss.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "x"})
    waiting = boss.patch(f"/sessions/{KEY}", {"state": "waiting", "model": "m", "output": {"n": 1}})
    assert (waiting.json()["session"]["state"], waiting.json()["session"]["ended_at"]) == ("waiting", None)
    line = newest("session.updated")
    assert line.data["after"] == {"state": "waiting", "model": "m"} and line.data["changed"] == [
        "model",
        "output",
        "state",
    ]
    done = boss.bare.patch(
        f"/openclaw/sessions/{KEY}", {"status": "completed", "ended_at": "2026-11-21T03:00:00Z", "summary": "Ok"}
    )
    assert (done.json()["state"], done.json()["status"], done.json()["summary"]) == ("completed", "completed", "Ok")
    assert done.json()["ended_at"] is not None
    assert newest("session.ended").level == "success"
    refused = boss.patch(f"/sessions/{KEY}", {"state": "running"})
    assert (refused.status_code, refused.json()["code"]) == (409, "session_over")
    assert boss.patch(f"/sessions/{KEY}", {"state": "completed"}).status_code == 200  # nothing differs
    assert boss.delete(f"/sessions/{KEY}").status_code == 204
    assert Session.objects.filter(key=KEY).exists()


def test_the_primary_session_ends_with_its_task(api_of, ada, operator):
    claimed(ada, a_task(), session_key="run")
    for api in (api_of(ada), api_of(operator)):
        for answer in (api.patch("/sessions/run", {"state": "completed"}), api.delete("/sessions/run")):
            assert (answer.status_code, answer.json()["code"]) == (409, "primary_session")
    assert api_of(ada).patch("/sessions/run", {"summary": "So far"}).json()["session"]["summary"] == "So far"


def test_only_who_has_to_do_with_a_session_changes_it(api_of, ada, bob, viewer, boss):
    task = a_task()
    claimed(ada, task)
    boss.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "x"})
    for who in (bob, viewer):
        assert api_of(who).patch(f"/sessions/{KEY}", {"state": "failed"}).status_code == 403
        assert api_of(who).delete(f"/sessions/{KEY}").status_code == 403
    assert api_of(ada).patch(f"/sessions/{KEY}", {"state": "failed"}).status_code == 200  # it holds the task


@pytest.mark.parametrize(
    "wrong", [{"state": "flying"}, {"tokens": 5}, {"ended_at": "2026-01-01T00:00:00Z"}, {"ended_at": "x"}, {"state": 5}, {"foo": 1}]
)  # fmt: skip
def test_a_wrong_change_is_refused(wrong, boss, ada):
    task = a_task()
    claimed(ada, task)
    boss.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "x"})
    assert boss.patch(f"/sessions/{KEY}", wrong).status_code == 400
    assert Session.objects.get(key=KEY).state == "running"


def test_a_session_without_a_task_is_its_agents(ada, bob):
    session = Session.objects.create(key="persistent", agent=ada.agent, type="persistent")
    with pytest.raises(NotAllowed):
        sessions.change(bob, session, {"state": "completed"})
    assert sessions.change(ada, session, {"state": "completed"}).ended_at is not None
    assert newest("session.ended").task == ""


# ── lines by hand ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("metadata", [{"score": 0.87, "of": [1, {"b": 2.5}]}, '{"score": 0.87, "of": [1, {"b": 2.5}]}'])
def test_fractions_in_metadata_come_back_as_they_were_and_are_no_floats_in_the_log(metadata, api_of, ada):
    task, client = a_task(), api_of(ada)
    made = client.post(f"/tasks/{task.code}/activities", {"message": "Scored", "metadata": metadata})
    expected = {"score": 0.87, "of": [1, {"b": 2.5}]}
    assert made.json()["activity"]["data"]["metadata"] == expected
    assert client.bare.get(f"/tasks/{task.code}/activities").json()[0]["metadata"] == expected
    line = Activity.objects.get(kind="activity.logged")
    assert line.data["metadata"] == '{"score":0.87,"of":[1,{"b":2.5}]}'
    assert live.as_json(line)["data"]["metadata"] == expected


def test_a_line_is_logged_on_a_task(api_of, ada, operator, viewer):
    task = a_task()
    for metadata in ({"file": "a.py", "score": 0.5}, '{"file": "a.py", "score": 0.5}'):
        answer = api_of(operator).bare.post(
            f"/tasks/{task.code}/activities",
            {"activity_type": "file_created", "message": "Made it", "metadata": metadata, "agent_id": "ada"},
        )
        line = answer.json()
        assert answer.status_code == 201
        assert (line["activity_type"], line["message"], line["agent"]) == ("file_created", "Made it", "ada")
        assert line["metadata"] == {"file": "a.py", "score": 0.5}
        assert line["actor"] == {"type": "user", "name": "olivia"}
    listed = api_of(viewer).get(f"/tasks/{task.code}/activities").json()
    assert [a["seq"] for a in listed["activities"]] == sorted((a["seq"] for a in listed["activities"]), reverse=True)
    assert listed["activities"][0]["kind"] == "activity.logged"
    assert listed["head"] == listed["activities"][0]["seq"]
    assert api_of(viewer).post(f"/tasks/{task.code}/activities", {"message": "x"}).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [{}, {"message": ""}, {"message": 5}, {"message": "x", "activity_type": "flew"}, {"message": "x", "metadata": "{"},
     {"message": "x", "metadata": [1]}, {"message": "x", "level": "loud"}, {"message": "x" * 10_001}, {"message": "x", "seq": 1}],
    ids=str,
)  # fmt: skip
def test_a_wrong_line_is_refused(wrong, api_of, operator):
    task = a_task()
    assert api_of(operator).post(f"/tasks/{task.code}/activities", wrong).status_code == 400


def test_an_additive_write_needs_no_lease_but_one_that_is_shown_is_checked(ada, bob):
    task = a_task()
    journal.write(bob, code=task.code, message="I looked at it")
    claim = claimed(ada, task, lease_seconds=60)
    Task.objects.update(lease_expires_at="2030-01-01T00:00:00Z")
    before = fresh(task).heartbeat_at
    journal.write(ada, code=task.code, message="Going on", fence=fence(claim))
    assert fresh(task).heartbeat_at > before
    for shown in (Fence(7, "x"), Fence(session_key="other")):
        with pytest.raises(Refused) as refusal:
            journal.write(ada, code=task.code, message="Old", fence=shown)
        assert refusal.value.code == "lease_lost"
    assert not Activity.objects.filter(message="Old").exists()


def test_a_line_may_be_about_a_venture_or_nothing(api_of, operator, ada, stranger, closed):
    api = api_of(operator)
    assert api.post("/activities", {"message": "Good morning", "title": "Hello"}).status_code == 201
    assert api.post("/events", {"message": "x", "venture": "backroom"}).json()["activity"]["venture"] == "backroom"
    assert api.post("/activities", {"message": "x", "venture": "nowhere"}).status_code == 400
    assert api_of(stranger).post("/activities", {"message": "x", "venture": "backroom"}).status_code == 400
    task = a_task()
    assert api.post("/activities", {"message": "x", "task_id": task.code}).json()["activity"]["task"] == task.code
    assert api.post("/activities", {"message": "x", "task": "zzzzzzzz"}).status_code == 404


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_log_is_read_from_a_number_on_without_a_gap(api_of, operator):
    api = api_of(operator)
    for n in range(7):
        a_task(str(n))
    head = api.get("/activities").json()["head"]
    seen, since = [], 0
    while True:
        body = api.get(f"/activities?since={since}&limit=3").json()
        if not body["activities"]:
            break
        seen += [line["seq"] for line in body["activities"]]
        since = seen[-1]
    assert seen == list(range(1, head + 1))
    newest_first = api.get("/events?limit=3").json()
    assert [line["seq"] for line in newest_first["activities"]] == [head, head - 1, head - 2]
    page = api.get(f"/activities?limit=3&cursor={newest_first['next']}").json()
    assert page["activities"][0]["seq"] == head - 3


def test_the_log_is_filtered(api_of, operator, ada, venture):
    task = a_task("x", venture=venture)
    claimed(ada, task)
    transitions.progress(ada, task.code, percent=5)
    api = api_of(operator)
    for query, kinds in (
        (f"task={task.code}", ["task.progressed", "task.claimed", "task.created"]),
        ("venture=apollo&kind=task.claimed,task.created", ["task.claimed", "task.created"]),
        ("agent=ada&kind=task.progressed", ["task.progressed"]),
        ("actor=ada", ["task.progressed", "task.claimed"]),
        ("level=error", []),
    ):
        assert [line["kind"] for line in api.get(f"/activities?{query}").json()["activities"]] == kinds, query
    assert api.get("/activities?level=loud").status_code == 400
    assert api.get("/activities?since=-1").status_code == 400
    assert api.get("/activities?since=99999999999999999999").status_code == 400


def test_a_cursor_from_before_the_log_begins_is_gone(api_of, operator):
    for n in range(5):
        a_task(str(n))
    Activity.objects.filter(seq__lte=3).delete()
    answer = api_of(operator).get("/activities?since=1")
    assert (answer.status_code, answer.json()["code"], answer.json()["first"]) == (410, "cursor_too_old", 4)
    assert answer.json()["snapshot"] == "/api/v1/tasks"
    assert api_of(operator).get("/activities?since=3").status_code == 200


def test_a_stranger_reads_only_the_log_of_what_it_sees(api_of, stranger, ada, closed, operator):
    hidden, shown = a_task("hidden", venture=closed), a_task("shown")
    claimed(ada, hidden)
    lines = api_of(stranger).get("/activities?since=0").json()["activities"]
    assert shown.code in {line["task"] for line in lines}
    assert hidden.code not in {line["task"] for line in lines}
    assert {line["venture"] for line in lines} <= {"default", None}
    assert api_of(stranger).get(f"/activities?task={hidden.code}").json()["activities"] == []
    assert api_of(stranger).get(f"/tasks/{hidden.code}/activities").status_code == 404
    assert len(api_of(operator).get(f"/activities?task={hidden.code}").json()["activities"]) == 2
    assert Venture.objects.count() == 2 and DIRECTOR.can("admin")


def test_where_the_setting_forbids_it_no_agent_is_made_on_the_fly(boss, ada, settings):
    settings.AGENTS_ON_THE_FLY = False
    task = a_task()
    claimed(ada, task)
    refused = boss.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "Designer"})
    assert (refused.status_code, refused.json()["details"][0]["field"]) == (400, "agent_name")
    assert not Agent.objects.filter(slug="designer").exists()
    assert boss.post(f"/tasks/{task.code}/subagent", {"session_key": KEY, "agent_name": "Ada"}).status_code == 201


def test_a_persistent_session_belongs_to_no_task_and_ends_by_a_call(api_of, ada, bob, operator):
    client = api_of(ada)
    begun = client.post("/sessions", {"sessionKey": "ada:always", "model": "small"})
    session = begun.json()["session"]
    assert begun.status_code == 201
    assert (session["id"], session["type"], session["task"], session["state"]) == (
        "ada:always",
        "persistent",
        None,
        "running",
    )
    assert newest("session.started").data["type"] == "persistent"
    assert (
        client.post("/sessions", {"sessionKey": "ada:always"}).json()["session"]["started_at"] == session["started_at"]
    )
    assert [s["id"] for s in api_of(operator).get("/sessions?type=persistent&state=live").json()["sessions"]] == [
        "ada:always"
    ]
    assert api_of(bob).get("/sessions/ada:always").status_code == 404
    assert client.patch("/sessions/ada:always", {"state": "completed"}).json()["session"]["ended_at"]
    assert Activity.objects.filter(kind__startswith="session.").count() == 2
    task = a_task()
    claimed(ada, task, session_key="run")
    busy = client.post("/sessions", {"sessionKey": "run"})
    assert (busy.status_code, busy.json()["code"]) == (409, "session_busy")
    assert api_of(operator).post("/sessions", {"sessionKey": "x"}).status_code == 400
