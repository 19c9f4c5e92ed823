"""The audit trail: every change with before and after, by whom, also of what is gone."""

import pytest

from tasks import transitions
from tasks.teamwork import collaboration
from tests.conftest import a_task, claimed

pytestmark = pytest.mark.django_db


def test_changes_are_told_field_by_field_with_who_and_when(api_of, operator):
    task = a_task("Before")
    transitions.edit(operator, task.code, {"title": "After", "estimated_tokens": 5})
    transitions.pause(operator, task.code)
    lines = api_of(operator).get(f"/audit?task={task.code}").json()["entries"]
    assert [line["kind"] for line in lines] == ["task.paused", "task.updated", "task.created"]
    assert lines[0]["changes"] == [{"field": "status", "before": "ready", "after": "paused"}]
    changed = {change["field"]: (change["before"], change["after"]) for change in lines[1]["changes"]}
    assert changed == {"title": ("Before", "After"), "estimated_tokens": (None, 5)}
    assert lines[1]["actor"] == {"type": "user", "name": "olivia"}


def test_it_outlives_the_task_and_leaves_out_what_changed_nothing(api_of, operator):
    task = a_task()
    collaboration.comment(operator, task.code, "Only words")
    transitions.delete(operator, task.code)
    kinds = [line["kind"] for line in api_of(operator).get(f"/audit?task={task.code}").json()["entries"]]
    assert kinds == ["task.deleted", "task.created"]


def test_an_agent_reads_the_trail_of_what_it_may_see(api_of, stranger, ada, closed):
    task = a_task(venture=closed)
    claimed(ada, task)
    assert api_of(stranger).get(f"/audit?task={task.code}").json()["entries"] == []
    assert len(api_of(ada).get(f"/audit?task={task.code}").json()["entries"]) == 2
    assert [line["kind"] for line in api_of(ada).bare.get("/audit?kind=task.claimed").json()] == ["task.claimed"]
