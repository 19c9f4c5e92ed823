"""Who is told of what: each rule, once for each recipient, and never of what somebody did itself."""

import pytest

from agents.acting import act_for
from mission_control import log
from mission_control.actors import person, system
from mission_control.models import Activity, Notification, User, Watermark
from mission_control.outbound import notifications
from tasks import approvals, handover, transitions
from tasks.dispatching import dispatch
from tasks.models import Task
from tasks.teamwork import collaboration
from tests.conftest import DIRECTOR, a_task, an_agent, claimed, fence, fresh

pytestmark = pytest.mark.django_db


def told() -> list[tuple[str, str, str, str]]:
    """`(recipient, reason, kind, task)` of what came since the last call."""
    notifications.make_from_log()
    rows = list(Notification.objects.order_by("seq", "recipient"))
    Notification.objects.all().delete()
    return [(n.recipient, n.reason, n.kind, n.task) for n in rows]


@pytest.fixture
def work(operator, viewer, ada):
    """A task that ada holds, made by nobody in particular."""
    held = claimed(ada, a_task("Wash the windows"))
    told()
    return held


def test_a_verdict_is_wanted_from_operators_and_not_from_viewers(operator, viewer, ada, venture):
    held = claimed(ada, a_task(venture=venture, review_required=True))
    told()
    transitions.complete(ada, held.task.code, fence(held), summary="Clean")
    assert told() == [("olivia", "review", "task.completed", held.task.code)]


def test_a_question_and_a_failure_for_good_reach_operators(work, ada):
    transitions.block(ada, work.task.code, fence(work), kind="needs_input", reason="Which cloth?")
    assert told() == [("olivia", "question", "task.blocked", work.task.code)]
    transitions.unblock(DIRECTOR, work.task.code)
    for last in (False, False, True):
        Task.objects.update(not_before=None)
        held = claimed(ada, fresh(work.task))
        told()
        transitions.fail(ada, held.task.code, fence(held), error="No water")
        assert told() == ([("olivia", "failed", "task.failed", held.task.code)] if last else [])


def test_an_approval_is_wanted_when_it_is_made_and_again_when_its_text_changes(operator, orchestrator):
    task = transitions.create(orchestrator, title="Pay the invoice", needs_approval=True)
    assert told() == [("olivia", "approval", "task.created", task.code)]
    olivia = person(User.objects.create(username="oscar", role="operator"))
    approvals.approve_start(olivia, task.code, handover.digest(fresh(task)))
    told()
    transitions.edit(orchestrator, task.code, {"description": "And the other one"})
    reasons = {(who, reason) for who, reason, _, _ in told()}
    assert {("olivia", "approval"), ("oscar", "approval")} <= reasons


def test_who_is_mentioned_is_told_and_who_speaks_is_not(work, ada, bob, operator):
    collaboration.comment(ada, work.task.code, "@ada @bob @olivia @nobody look")
    assert told() == [(name, "mention", "comment.added", work.task.code) for name in ("bob", "olivia")]


def test_an_agent_is_told_what_it_is_meant_to_do_and_what_became_of_it(operator, ada):
    task = a_task("For ada", assignee=ada.agent, status="assigned")
    assert told() == [("ada", "assigned", "task.created", task.code)]
    claimed(ada, task)
    told()
    transitions.pause(operator, task.code, reason="Wait")
    assert ("ada", "yours", "task.paused", task.code) in told()


def test_what_waited_is_told_to_its_assignee_and_to_those_who_take_part(operator, ada, bob):
    first = a_task("First")
    second = a_task("Second", assignee=ada.agent, depends_on=[first])
    collaboration.join(bob, second.code)
    held = claimed(bob, first)
    told()
    transitions.complete(bob, held.task.code, fence(held), summary="Done")
    assert set(told()) == {("ada", "unblocked", "task.unblocked", second.code)} | {
        ("bob", "unblocked", "task.unblocked", second.code) for line in Activity.objects.filter(kind="task.unblocked")
        if (line.actor_type, line.actor) != ("agent", "bob")
    }  # fmt: skip


def test_who_is_taken_in_or_out_by_somebody_else_hears_of_it(work, operator, ada, bob):
    code = work.task.code
    collaboration.join(ada, code)
    assert told() == [], "it did that itself"
    collaboration.join(act_for(operator, "bob"), code, "reviewer")
    assert told() == [("bob", "team", "participant.joined", code)]
    collaboration.leave(act_for(operator, "bob"), code)
    assert told() == [("bob", "team", "participant.left", code)]


def test_a_checkpoint_reaches_the_others_who_take_part(work, ada, bob):
    collaboration.join(ada, work.task.code)
    collaboration.join(bob, work.task.code)
    told()
    collaboration.sync(ada, work.task.code, "Half of the windows")
    assert told() == [("bob", "team", "checkpoint.posted", work.task.code)]


def test_who_watches_is_told_of_moves_and_words_and_not_of_each_step(work, viewer, ada, operator):
    notifications.watch(viewer, work.task.code)
    notifications.watch(viewer, work.task.code)
    transitions.progress(ada, work.task.code, fence(work), percent=50, message="half")
    assert told() == []
    collaboration.comment(ada, work.task.code, "Nearly")
    assert told() == [("victor", "watching", "comment.added", work.task.code)]
    notifications.unwatch(viewer, work.task.code)
    collaboration.comment(ada, work.task.code, "Done nearly")
    assert told() == []


def test_whoever_asked_for_it_learns_what_became_of_it(ada):
    mary = person(User.objects.create(username="mary", role="operator"))
    held = claimed(ada, transitions.create(mary, title="Mine"))
    told()
    transitions.complete(ada, held.task.code, fence(held), summary="Done")
    assert told() == [("mary", "yours", "task.completed", held.task.code)]


def test_whoever_handed_it_over_learns_that_nobody_took_it_up(operator, lead, ada):
    task = a_task()
    for actor in (operator, lead):
        dispatch.process(actor, task.code, ada.agent)
        told()
        while fresh(task).handed_until:
            Task.objects.update(handed_until=log.now())
            dispatch.hand_on()
        assert told() == [(actor.name, "yours", "task.unacknowledged", task.code)]


def test_an_agent_that_goes_silent_at_work_is_told_of_and_an_idle_one_is_not(work, bob, operator):
    for agent in (bob, "ada"):
        name = agent if isinstance(agent, str) else agent.name
        with log.unit():
            log.record("agent.went_offline", system("presence"), agent=name, title=name)
    assert told() == [("olivia", "idle", "agent.went_offline", "")]


def test_each_line_is_told_once_however_often_the_chore_runs(work, ada, bob):
    collaboration.comment(ada, work.task.code, "@bob")
    assert notifications.make_from_log() == 1
    assert notifications.make_from_log() == 0
    Watermark.objects.filter(pk="told").update(seq=0)  # as if it had stopped before it knew
    notifications.make_from_log()
    assert Notification.objects.filter(recipient="bob").count() == 1


def test_somebody_who_left_is_not_told(work, ada, operator):
    User.objects.filter(username="olivia").update(is_active=False)
    transitions.block(ada, work.task.code, fence(work), kind="needs_input", reason="Which cloth?")
    assert told() == []


def test_an_agent_that_only_watches_hears_of_others_alone(work, ada, bob):
    notifications.watch(bob, work.task.code)
    collaboration.comment(bob, work.task.code, "My own words")
    assert told() == []
    collaboration.comment(ada, work.task.code, "Not mine")
    assert told() == [("bob", "watching", "comment.added", work.task.code)]
    assert an_agent("carla") is not None
