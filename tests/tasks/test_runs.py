"""The runs of a task: begun, read, listed as a chain of attempts with what each was tried again for."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tasks import sessions, transitions
from tasks.models import Task
from tests.conftest import DIRECTOR, a_task, claimed, fence

pytestmark = pytest.mark.django_db


def again(task: Task) -> None:
    """It may be claimed at once, without waiting for the back-off."""
    Task.objects.filter(pk=task.pk).update(not_before=None, offered=True)


def test_runs_are_a_chain_that_says_what_each_was_tried_again_for(api_of, ada, bob):
    task = a_task()
    transitions.fail(ada, task.code, fence(claimed(ada, task, session_key="one")), error="no network")
    again(task)
    transitions.release(bob, task.code, fence(claimed(bob, task, session_key="two")))
    claim = claimed(ada, task, session_key="three")
    sessions.register_subagent(ada, task.code, key="three:helper", model="small")
    transitions.complete(ada, task.code, fence(claim), summary="Written")
    runs = api_of(bob).get(f"/tasks/{task.code}/runs").json()["runs"]
    chain = [
        (r["id"], r["attempt"], r["state"], r["previous"], r["next"], r["retry_of"], r["retry_reason"]) for r in runs
    ]
    assert chain == [
        ("three", 3, "completed", 2, None, None, ""),
        ("two", 2, "cancelled", 1, 3, 1, "no network"),
        ("one", 1, "failed", None, 2, None, ""),
    ]
    assert [child["id"] for child in runs[0]["subagents"]] == ["three:helper"]
    assert runs[0]["summary"] == "Written" and runs[0]["seconds"] >= 0 and runs[1]["subagents"] == []


def test_a_run_begins_by_a_claim_and_asking_again_gives_the_same(api_of, ada, bob):
    task, client = a_task(), api_of(ada)
    begun = client.post(f"/tasks/{task.code}/runs", {"sessionKey": "agent:main:1"})
    told = begun.json()
    assert (begun.status_code, told["run"]["id"], told["run"]["attempt"], told["epoch"]) == (201, "agent:main:1", 1, 1)
    assert (
        client.post(f"/tasks/{task.code}/runs", {"sessionKey": "agent:main:1"}).json()["lease_token"]
        == told["lease_token"]
    )
    late = api_of(bob).post(f"/tasks/{task.code}/runs")
    assert (late.status_code, late.json()["claimedBy"]) == (409, "ada")
    live = {"epoch": told["epoch"], "lease_token": told["lease_token"]}
    assert client.post(f"/tasks/{task.code}/complete", live).status_code == 200
    assert client.get(f"/tasks/{task.code}/runs/1").json()["run"]["state"] == "completed"
    assert client.get(f"/tasks/{task.code}/runs/2").status_code == 404


def test_runs_come_page_by_page_at_a_fixed_number_of_statements(api_of, ada):
    task, client = a_task(), api_of(ada)
    for _ in range(5):
        transitions.release(ada, task.code, fence(claimed(ada, task)))
    statements = []
    for limit in (1, 3):
        with CaptureQueriesContext(connection) as captured:
            first = client.get(f"/tasks/{task.code}/runs?limit={limit}").json()
        statements.append(len(captured))
    assert statements[1] <= statements[0]
    second = client.get(f"/tasks/{task.code}/runs?limit=3&cursor={first['next']}").json()
    assert [run["attempt"] for run in first["runs"] + second["runs"]] == [5, 4, 3, 2, 1]


def test_a_sub_agent_is_registered_among_the_sessions_too(api_of, orchestrator, ada):
    task = a_task()
    claimed(ada, task, session_key="main")
    body = {"sessionKey": "agent:main:subagent:1", "agent_name": "Designer"}
    made = api_of(orchestrator).post(f"/tasks/{task.code}/sessions", body)
    assert (made.status_code, made.json()["session"]["parent"]) == (201, "main")
    assert len(api_of(orchestrator).get(f"/tasks/{task.code}/sessions").json()["sessions"]) == 2


def test_a_sub_agent_ends_by_a_call_and_simple_clients_hear_that_it_completed(api_of, orchestrator, ada):
    from mission_control.live import COLUMNS, Event
    from mission_control.models import Activity
    from tasks import stream_shapes

    task = a_task()
    claimed(ada, task)
    client = api_of(orchestrator).bare
    client.post(f"/tasks/{task.code}/subagent", {"openclaw_session_id": "a:b", "agent_name": "Designer"})
    ended = client.patch("/openclaw/sessions/a:b", {"status": "completed", "ended_at": "2026-11-21T08:00:00Z"})
    assert (ended.status_code, ended.json()["status"], ended.json()["ended_at"] is None) == (200, "completed", False)
    line = Activity.objects.filter(kind="session.ended").get()
    event = Event([getattr(line, name) for name in COLUMNS])
    [[message]] = stream_shapes.simple([event])
    assert (message["type"], message["payload"]["id"], message["seq"]) == ("agent_completed", "a:b", line.seq)


def test_a_deleted_task_has_no_runs(api_of, ada):
    task = a_task()
    transitions.release(ada, task.code, fence(claimed(ada, task)))
    transitions.delete(DIRECTOR, task.code)
    assert api_of(ada).get(f"/tasks/{task.code}/runs").status_code == 404
