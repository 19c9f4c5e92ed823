"""What needs a person: what is in the inbox, in which order, and the verbs pressed there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from mission_control import log
from tasks import approvals, handover, transitions
from tasks.models import Task
from tasks.pages.inbox import SHOWN, Inbox
from tasks.pages.shell import Shell
from tests.conftest import a_task, claimed, fence, fresh
from ventures import catalogue

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def handed_in(agent, title="Write it", **fields) -> Task:
    task = a_task(title, review_required=True, **fields)
    transitions.complete(agent, task.code, fence(claimed(agent, task)), summary="All of it is there")
    return fresh(task)


def asked(agent, title="May I?", **fields) -> Task:
    task = a_task(title, **fields)
    lease = fence(claimed(agent, task))
    transitions.block(agent, task.code, lease, kind="needs_input", reason="Which colour?")
    return fresh(task)


def failed(agent, operator, title="Break it", **fields) -> Task:
    catalogue.change(operator, catalogue.default(), {"max_failures": 1})
    task = a_task(title, **fields)
    transitions.fail(agent, task.code, fence(claimed(agent, task)), error="No such host")
    return fresh(task)


def silent(agent, title="Sleep on it") -> Task:
    task = a_task(title)
    claimed(agent, task)
    Task.objects.filter(pk=task.pk).update(heartbeat_at=log.now() - timedelta(hours=1))
    return fresh(task)


def since(task: Task, **ago: float) -> None:
    Task.objects.filter(pk=task.pk).update(status_changed_at=log.now() - timedelta(**ago))


def titles(actor) -> list[str]:
    return [item.task.title for item in Inbox(actor).items]


def test_verdicts_questions_failures_and_silent_agents_are_in_it_and_nothing_else(operator, ada):
    handed_in(ada)
    asked(ada)
    failed(ada, operator)
    silent(ada)
    a_task("Ready")
    claimed(ada, a_task("At work"))
    before = a_task("Before")
    a_task("Waits for a task", depends_on=[before])
    items = {item.sort.key: item for item in Inbox(operator).items}
    assert {key: item.task.title for key, item in items.items()} == {
        "review": "Write it", "question": "May I?", "failed": "Break it", "silent": "Sleep on it",
    }  # fmt: skip
    assert [items[key].said for key in ("review", "question", "failed")] == [
        "All of it is there", "Which colour?", "No such host",
    ]  # fmt: skip
    assert all(item.who.slug == "ada" for item in items.values())


def test_the_rail_counts_what_the_list_shows(operator, ada):
    assert Shell().waiting == 0
    handed_in(ada)
    asked(ada)
    failed(ada, operator)
    silent(ada)
    a_task("Read me first", needs_approval=True)
    assert Shell().waiting == len(Inbox(operator).items) == 5


def test_a_start_to_approve_is_read_before_and_leaves_when_it_is_approved(operator, viewer, venture):
    task = a_task("Read me first", needs_approval=True, description="All of this", venture=venture)
    a_task("Not yet sorted", needs_approval=True, status="inbox")
    [item] = Inbox(operator).items
    assert (item.sort.key, item.said, item.forward, item.to_read) == ("approval", "All of this", None, True)
    client = Client()
    client.force_login(operator.user)
    assert "Read and approve" in client.get("/inbox", headers=PART).content.decode()
    assert client.post(f"/inbox/{task.code}/approve", headers=PART).status_code == 404, "not unread"
    assert not Inbox(viewer).items[0].to_read
    approvals.approve_start(operator, task.code, handover.digest(task))
    assert titles(operator) == []
    assert Shell().waiting == 0


def test_a_question_that_also_waits_for_a_task_is_not_asked_yet(operator, ada):
    task = asked(ada)
    transitions.add_dependency(operator, task.code, a_task("First").code)
    assert titles(operator) == []
    assert Shell().waiting == 0


def test_what_rests_in_an_archived_venture_needs_nobody(operator, ada, venture):
    handed_in(ada, venture=venture)
    asked(ada, venture=venture)
    catalogue.change(operator, venture, {"status": "archived"})
    assert titles(operator) == []
    assert Shell().waiting == 0


def test_the_longest_wait_is_first(operator, ada):
    for title, hours in (("New", 1), ("Old", 30), ("Between", 5)):
        since(handed_in(ada, title), hours=hours)
    assert titles(operator) == ["Old", "Between", "New"]


def test_what_holds_others_up_goes_before_what_waits_a_little_longer(operator, ada):
    since(handed_in(ada, "Alone"), hours=2)
    holding = handed_in(ada, "Holds two up")
    since(holding, hours=1)
    for _ in range(2):
        transitions.add_dependency(operator, a_task().code, holding.code)
    assert titles(operator) == ["Holds two up", "Alone"]
    assert Inbox(operator).items[0].holds_up == 2
    for waiting in Task.objects.filter(dependencies__depends_on=holding):
        transitions.cancel(operator, waiting.code)
    assert titles(operator) == ["Alone", "Holds two up"]


def test_those_of_one_sort_venture_and_worker_go_onward_together(operator, ada, bob, venture):
    alike = [handed_in(ada, title) for title in ("One", "Two")]
    handed_in(bob, "Of another")
    handed_in(ada, "Elsewhere", venture=venture)
    asked(ada), asked(ada)
    rows = Inbox(operator).rows
    assert [row.together for row in rows if row.together] == [tuple(task.code for task in alike)]
    assert sum(bool(row.group) for row in rows) == 2
    client = Client()
    client.force_login(operator.user)
    transitions.accept(operator, alike[0].code)
    answer = client.post("/inbox/alike/accept/all", {"codes": ",".join(task.code for task in alike)}, headers=PART)
    assert (answer.status_code, answer.json()["code"]) == (409, "some_refused")
    assert answer.json()["error"].startswith(f"1 of 2 did not go. {alike[0].code}: ")
    assert fresh(alike[1]).status == "done", "one that is refused holds up no other"
    assert client.post("/inbox/alike/cancel/all", {"codes": alike[0].code}, headers=PART).status_code == 404


@pytest.mark.parametrize(("hours", "due"), [(-1, "past"), (5, "soon"), (48, "near"), (200, "")])
def test_a_near_deadline_presses(operator, ada, hours, due):
    since(handed_in(ada, "Without"), minutes=90)
    since(handed_in(ada, "With", deadline=log.now() + timedelta(hours=hours)), minutes=60)
    items = {item.task.title: item for item in Inbox(operator).items}
    assert items["With"].due == due
    assert titles(operator)[0] == ("With" if due else "Without")


def test_only_the_most_pressing_are_shown_the_oldest_among_them(operator, ada):
    task = handed_in(ada)
    copies = []
    for number in range(SHOWN + 5):
        copy = Task.objects.get(pk=task.pk)
        copy.pk, copy.code = None, f"{number:08d}"
        copies.append(copy)
    Task.objects.bulk_create(copies)
    old = Task.objects.get(code="00000104")
    since(old, days=2)
    assert len(Inbox(operator).items) == SHOWN
    assert Inbox(operator).items[0].task == old


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def browser(operator) -> Client:
    client = Client()
    client.force_login(operator.user)
    return client


def test_an_empty_inbox_says_so(browser):
    assert "Nothing needs you" in browser.get("/inbox").content.decode()


def test_work_is_accepted_returned_answered_retried_and_taken_back(browser, operator, ada):
    good, bad, question = handed_in(ada), handed_in(ada), asked(ada)
    broken, quiet = failed(ada, operator), silent(ada)
    for task, verb, fields, status in (
        (good, "accept", {}, "done"),
        (bad, "return", {"reason": "The table is missing"}, "ready"),
        (question, "unblock", {"reason": "Green"}, "ready"),
        (broken, "retry", {}, "ready"),
        (quiet, "release", {}, "ready"),
    ):
        answer = browser.post(f"/inbox/{task.code}/{verb}", fields, headers=PART)
        assert (answer.status_code, fresh(task).status) == (200, status), verb
        assert task.code not in answer.content.decode()
    assert "Nothing needs you" in answer.content.decode()


def test_a_verb_that_is_no_answer_to_the_inbox_is_not_there(browser, ada):
    task = handed_in(ada)
    assert browser.post(f"/inbox/{task.code}/reopen", headers=PART).status_code == 404
    assert fresh(task).status == "review"


def test_what_somebody_else_has_done_meanwhile_is_refused_in_a_sentence(browser, operator, ada):
    task = handed_in(ada)
    transitions.accept(operator, task.code)
    answer = browser.post(f"/inbox/{task.code}/accept", headers=PART)
    assert answer.status_code == 409
    assert "done" in answer.json()["error"]


def test_a_viewer_sees_what_waits_and_has_no_buttons(viewer, ada):
    task = handed_in(ada)
    client = Client()
    client.force_login(viewer.user)
    shown = client.get("/inbox").content.decode()
    assert task.title in shown
    assert f"/inbox/{task.code}" not in shown
    assert client.post(f"/inbox/{task.code}/accept", headers=PART).status_code == 403


def test_what_an_agent_wrote_is_text(browser, ada):
    task = a_task("<b>Bold</b>", review_required=True)
    transitions.complete(ada, task.code, fence(claimed(ada, task)), summary="<script>alert(1)</script>")
    shown = browser.get("/inbox").content.decode()
    assert "<script>alert" not in shown
    assert "&lt;b&gt;Bold&lt;/b&gt;" in shown
