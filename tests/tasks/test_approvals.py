"""Approval before the start: who gives it, what it is bound to, what takes it back, and that nothing starts without."""

import pytest

from mission_control.errors import NotAllowed, Refused
from mission_control.log import head
from mission_control.models import Activity
from tasks import approvals, claiming, explain, handover, invariants, sweeping, transitions
from tasks.claiming import Wish
from tasks.models import Task
from tasks.teamwork import collaboration, plan
from tasks.vocabulary import BLOCKED
from tests.conftest import DIRECTOR, a_task, an_agent, claimed, fence, fresh
from ventures import catalogue

pytestmark = pytest.mark.django_db


def gated(**fields):
    return a_task(needs_approval=True, **fields)


def approve(actor, task):
    return approvals.approve_start(actor, task.code, handover.digest(fresh(task)))


def newest() -> Activity:
    return Activity.objects.get(seq=head())


def is_offered(task) -> bool:
    return fresh(task).offered


def test_nothing_starts_a_task_that_waits_for_approval(ada, operator):
    task = gated()
    assert claiming.claim_next(ada, Wish()) == []
    assert claiming.claim_next(ada, Wish(limit=5)) == []
    assert claiming.pending(ada, Wish()) == []
    for start in (
        lambda: claiming.claim_task(ada, task.code, Wish()),
        lambda: transitions.start(operator, task.code),
    ):
        with pytest.raises(Refused) as refused:
            start()
        assert refused.value.code == "approval_needed"
    approve(operator, task)
    assert claimed(ada).task.code == task.code


def test_an_assigned_task_is_not_handed_in_past_its_approval(ada, operator, lead):
    task = gated(assignee=ada.agent)
    with pytest.raises(Refused) as refused:
        transitions.complete(lead, task.code)
    assert refused.value.code == "approval_needed"


def test_an_approval_records_who_when_and_what_was_read(operator):
    task = gated()
    approved = approve(operator, task)
    line = newest()
    assert (line.kind, line.actor, line.data["hash"]) == ("task.approved", "olivia", approved.approved_hash)
    stored = fresh(task)
    assert (stored.approved_by, stored.approved_hash) == ("olivia", handover.digest(stored))
    assert stored.approved_at is not None and stored.offered
    approve(operator, task)
    assert newest().seq == line.seq, "the same approval again says nothing"


def test_what_was_read_has_to_be_what_is_there(api_of, operator, ada):
    task = gated()
    client = api_of(operator)
    seen = client.get(f"/tasks/{task.code}/approve").json()["approval"]
    assert (seen["needed"], seen["given"], seen["text"]["title"]) == (True, False, task.title)
    transitions.edit(DIRECTOR, task.code, {"description": "And delete the rest."})
    answer = client.post(f"/tasks/{task.code}/approve", {"hash": seen["hash"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "stale")
    again = client.post(f"/tasks/{task.code}/approve", {"hash": answer.json()["hash"]})
    assert (again.status_code, again.json()["task"]["approved_by"]) == (200, "olivia")
    assert client.get(f"/tasks/{task.code}/approve").json()["approval"]["given"] is True
    assert client.post(f"/tasks/{task.code}/approve", {}).status_code == 400


CHANGES = {
    "title": lambda task: transitions.edit(DIRECTOR, task.code, {"title": "Another"}),
    "description": lambda task: transitions.edit(DIRECTOR, task.code, {"description": "More"}),
    "criteria": lambda task: transitions.edit(DIRECTOR, task.code, {"success_criteria": [{"criterion": "Fast"}]}),
    "branch": lambda task: transitions.edit(DIRECTOR, task.code, {"branch": "main"}),
    "review": lambda task: transitions.edit(DIRECTOR, task.code, {"review_required": True}),
    "plan": lambda task: plan.write(DIRECTOR, task.code, [{"title": "Delete everything"}]),
    "context": lambda task: collaboration.share(DIRECTOR, task.code, "target", "production"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_what_will_be_read_takes_the_approval_back(what, operator, ada):
    task = gated()
    approve(operator, task)
    CHANGES[what](task)
    stored = fresh(task)
    assert (stored.approved_by, stored.approved_at, stored.offered) == ("", None, False)
    assert claiming.claim_next(ada, Wish()) == []
    approve(operator, task)
    assert claimed(ada).task.code == task.code


def test_what_no_agent_reads_leaves_it_approved(operator):
    task = gated()
    approve(operator, task)
    transitions.edit(DIRECTOR, task.code, {"tags": ["later"], "estimated_tokens": 5})
    collaboration.comment(operator, task.code, "Looks good")
    assert is_offered(task)


@pytest.mark.parametrize("limit", [1, 5])
def test_a_change_around_the_task_is_noticed_when_it_is_claimed(limit, operator, ada, venture):
    task = gated(venture=venture)
    approve(operator, task)
    catalogue.change(DIRECTOR, venture, {"repo_url": "https://elsewhere.example/repo"})
    assert is_offered(task)
    assert claiming.claim_next(ada, Wish(limit=limit)) == []
    line = newest()
    assert (line.kind, line.data) == (
        "task.updated",
        {"before": {"approved_by": "olivia"}, "after": {"approved_by": ""}},
    )
    assert not is_offered(task)


def test_a_claim_of_this_very_task_takes_a_stale_approval_back_and_keeps_that(operator, ada, venture):
    task = gated(venture=venture)
    approve(operator, task)
    catalogue.change(DIRECTOR, venture, {"context_file": "OTHER.md"})
    with pytest.raises(Refused) as refused:
        claiming.claim_task(ada, task.code, Wish())
    assert (refused.value.code, fresh(task).approved_at) == ("approval_needed", None)


def test_a_stale_one_in_front_does_not_hold_up_the_next(operator, ada, venture):
    first, second = gated(venture=venture), a_task(venture=venture)
    approve(operator, first)
    catalogue.change(DIRECTOR, venture, {"context_file": "OTHER.md"})
    assert claimed(ada).task.code == second.code


def test_only_who_operates_approves(viewer, ada, lead, orchestrator):
    task = gated()
    for actor in (viewer, ada, lead, orchestrator):
        with pytest.raises(NotAllowed):
            approve(actor, task)


def test_an_agent_never_approves_what_it_wrote_or_will_work_on(ada):
    root = an_agent("root", scopes=("work", "orchestrate", "admin"))
    mine = transitions.create(root, title="Mine", needs_approval=True)
    meant = gated(assignee=root.agent)
    edited = gated()
    transitions.edit(root, edited.code, {"description": "What I want"})
    for task in (mine, meant, edited):
        with pytest.raises(NotAllowed) as refused:
            approve(root, task)
        assert refused.value.code == "own_work"
    other = gated()
    approve(root, other)
    assert claiming.claim_next(root, Wish()) == [], "what it approved is not for itself"
    assert not is_offered(other)


def test_with_four_eyes_people_do_not_approve_or_accept_their_own(operator, admin, venture):
    catalogue.change(DIRECTOR, venture, {"four_eyes": True})
    task = transitions.create(operator, title="Mine", venture=venture, needs_approval=True)
    with pytest.raises(NotAllowed):
        approve(operator, task)
    approve(admin, task)
    transitions.start(operator, task.code)
    transitions.complete(operator, task.code, review=True)
    with pytest.raises(NotAllowed) as refused:
        transitions.accept(operator, task.code)
    assert refused.value.code == "own_work"
    assert transitions.accept(admin, task.code).status == "done"


def test_a_venture_may_ask_for_approval_of_all_that_comes_into_it(operator, orchestrator, venture):
    venture = catalogue.change(DIRECTOR, venture, {"approval_required": True})
    made, moved = a_task(venture=venture), a_task()
    transitions.edit(DIRECTOR, moved.code, {"venture": venture})
    assert [fresh(task).needs_approval for task in (made, moved)] == [True, True]
    assert not is_offered(made) and not is_offered(moved)
    with pytest.raises(Refused) as refused:
        transitions.edit(operator, made.code, {"needs_approval": False})
    assert refused.value.code == "approval_required"
    with pytest.raises(NotAllowed):
        catalogue.change(orchestrator, venture, {"approval_required": False})


def test_an_agent_may_ask_for_approval_and_not_do_without(operator, orchestrator):
    task = transitions.create(orchestrator, title="Careful")
    transitions.edit(orchestrator, task.code, {"needs_approval": True})
    assert not is_offered(task)
    with pytest.raises(NotAllowed):
        transitions.edit(orchestrator, task.code, {"needs_approval": False})
    transitions.edit(operator, task.code, {"needs_approval": False})
    assert is_offered(task)


def test_it_stays_shut_on_every_way_back_to_the_queue(operator, ada):
    task = gated()
    approve(operator, task)
    lease = claimed(ada)
    transitions.edit(DIRECTOR, task.code, {"description": "Changed under way"})
    transitions.fail(ada, task.code, fence(lease))
    Task.objects.filter(pk=task.pk).update(not_before="2020-01-01T00:00:00Z")
    sweeping.offer_again()
    assert (fresh(task).not_before, is_offered(task)) == (None, False)
    before = a_task("First")
    transitions.add_dependency(DIRECTOR, task.code, before.code)
    free = a_task("Free", depends_on=[before])
    assert fresh(task).status == BLOCKED
    transitions.start(operator, before.code)
    transitions.complete(operator, before.code)
    assert (is_offered(task), is_offered(free)) == (False, True)
    assert [said for check in invariants.CHECKS.values() for said in check()] == []


def test_an_unapproved_task_waits_and_says_for_what(api_of, operator, ada):
    task = gated()
    client = api_of(operator)
    assert client.get(f"/tasks/{task.code}").json()["task"]["execution_state"] == "waiting"
    assert [t["id"] for t in client.get("/tasks?execution_state=waiting").json()["tasks"]] == [task.code]
    assert client.get("/tasks?execution_state=queued").json()["tasks"] == []
    gate = next(gate for gate in explain.gates(fresh(task), ada.agent) if gate.name == "approval")
    assert not gate.open and gate.action.body == {"hash": handover.digest(fresh(task))}
    answer = client.call(gate.action.method, gate.action.url, dict(gate.action.body))
    assert answer.status_code == 200
    assert all(gate.open for gate in explain.gates(fresh(task), ada.agent))


def test_what_needs_none_is_not_approved_and_neither_is_what_runs(operator, ada):
    with pytest.raises(Refused) as refused:
        approve(operator, a_task())
    assert refused.value.code == "no_approval_needed"
    task = gated()
    approve(operator, task)
    claimed(ada, task)
    with pytest.raises(Refused) as refused:
        approve(operator, task)
    assert refused.value.code == "wrong_state"
