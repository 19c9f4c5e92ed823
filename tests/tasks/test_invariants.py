"""A working fleet breaks no invariant; each invariant names whoever breaks it."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from agents import roster
from mission_control import log
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.keeping import carrying
from mission_control.models import Activity, Delivery, Fleet, Notification, StatusCount, Watermark
from mission_control.outbound import notifications, webhooks
from tasks import claiming, invariants, transitions
from tasks.claiming import Wish
from tasks.collaboration_models import PlanStep
from tasks.leases import Fence
from tasks.models import Deliverable, Lane, Session, Task
from tasks.teamwork import collaboration, plan
from tests.threads import together
from ventures.ledger import Spent
from ventures.models import LedgerEntry, Venture

pytestmark = pytest.mark.django_db
SYSTEM = system("test")


@pytest.fixture
def ada():
    agent = roster.create(SYSTEM, name="Ada", slug="ada")
    return Actor("agent", "ada", SCOPE_ABILITIES["work"], agent=agent)


@pytest.fixture
def story(ada):
    """A little of everything: done, waiting, claimed, failed, reviewed, blocked, with money and a deliverable."""
    first = transitions.create(SYSTEM, title="First")
    second = transitions.create(SYSTEM, title="Second", depends_on=[first])
    claim = claiming.claim_next(ada, Wish(session_key="one"))[0]
    fence = Fence(epoch=claim.epoch, token=claim.lease_token)
    transitions.progress(ada, first.code, fence, percent=40, total=Spent(1000, 10, 5))
    transitions.complete(
        ada, first.code, fence, summary="done", total=Spent(3000, 30, 9),
        deliverables=[{"type": "url", "title": "Report", "path": "https://example.org/report"}],
    )  # fmt: skip
    claim = claiming.claim_next(ada, Wish(session_key="two"))[0]
    assert claim.task.code == second.code
    transitions.fail(ada, second.code, Fence(epoch=claim.epoch, token=claim.lease_token), error="no")
    third = transitions.create(SYSTEM, title="Third", review_required=True)
    claim = claiming.claim_task(ada, third.code, Wish())
    transitions.complete(ada, third.code, Fence(epoch=claim.epoch, token=claim.lease_token))
    fourth = transitions.create(SYSTEM, title="Fourth")
    transitions.block(SYSTEM, fourth.code, kind="needs_input", reason="Which one?")
    fifth = transitions.create(SYSTEM, title="Fifth")
    claiming.claim_task(ada, fifth.code, Wish())
    log.fold_counts()
    return {"first": first, "second": second, "third": third, "fourth": fourth, "fifth": fifth}


def broken(name):
    found = invariants.broken()
    assert list(found) == list(invariants.CHECKS)
    others = {other: complaints for other, complaints in found.items() if complaints and other != name}
    return found[name], others


def test_a_fleet_at_work_breaks_nothing(story):
    assert {name: complaints for name, complaints in invariants.broken().items() if complaints} == {}
    assert Task.objects.count() == 5
    assert Activity.objects.count() == Fleet.objects.get().seq > 10


def test_a_missing_activity_is_named(story):
    Activity.objects.filter(seq=3).delete()
    complaints, _ = broken("numbers_are_dense")
    assert complaints == ["the activities between 2 and 4 are missing"]


def test_a_counter_that_is_off_is_named(story):
    Fleet.objects.update(seq=F("seq") + 1)
    assert "the counter stands at" in broken("numbers_are_dense")[0][0]


def test_a_status_that_the_log_does_not_know_is_named(story):
    Task.objects.filter(code=story["fourth"].code).update(status="paused")
    complaints, others = broken("log_tells_the_status")
    assert complaints == [f"task {story['fourth'].code} is paused, its log says blocked"]
    assert set(others) == {"counts_are_true"}


def test_a_task_without_a_log_is_named(story):
    Activity.objects.filter(task=story["fourth"].code).update(task="")
    assert "its log says nothing" in broken("log_tells_the_status")[0][0]


def test_a_step_that_begins_elsewhere_is_named(story):
    blocked = Activity.objects.get(kind="task.blocked", task=story["fourth"].code)
    Activity.objects.filter(pk=blocked.pk).update(status_from="inbox")
    complaints, _ = broken("log_tells_every_step")
    assert complaints == [f"activity {blocked.seq} moves task {blocked.task} from inbox, which was ready"]


def test_a_count_that_is_off_is_named(story):
    StatusCount.objects.filter(status="done").update(n=7)
    complaints, others = broken("counts_are_true")
    assert complaints == ["venture default counts 7 tasks as done, there are 1"]
    assert others == {}


def test_a_lease_without_a_session_is_named(story):
    Session.objects.filter(task=story["fifth"]).update(state="completed", ended_at=F("started_at"))
    complaints, others = broken("work_in_progress_is_held")
    assert complaints == [f"task {story['fifth'].code} is leased without a running session of its holder and epoch"]
    assert others == {}


def test_a_session_of_another_epoch_is_named(story):
    Session.objects.filter(task=story["fifth"]).update(attempt=9)
    assert broken("work_in_progress_is_held")[0]
    assert broken("sessions_end_with_their_lease")[0]


def test_a_session_that_outlived_its_lease_is_named(story):
    Session.objects.filter(task=story["first"]).update(state="running", ended_at=None)
    complaints, others = broken("sessions_end_with_their_lease")
    assert complaints == [f"session one is live and task {story['first'].code} is not leased to it"]
    assert others == {}


def test_a_sub_agent_that_outlived_the_work_is_named(story, ada):
    Session.objects.create(key="sub", agent=ada.agent, task=story["third"], type="subagent", state="running")
    complaints, others = broken("sessions_end_with_their_lease")
    assert complaints == [f"session sub of a sub-agent is live and task {story['third'].code} is review"]
    assert others == {}


def test_a_plan_with_a_step_missing_is_named(story):
    plan.write(SYSTEM, story["fourth"].code, [{"title": "One"}, {"title": "Two"}])
    PlanStep.objects.filter(number=1).delete()
    complaints, others = broken("plans_are_numbered")
    assert complaints == [f"the plan of task {story['fourth'].code} has 1 steps, numbered 2 to 2"]
    assert others == {}


def test_what_is_told_ahead_of_the_log_or_to_its_author_is_named(story):
    collaboration.comment(SYSTEM, story["fourth"].code, "Ask @ada.")
    notifications.make_from_log()
    head = log.head()
    mention = Notification.objects.get(reason="mention")
    assert broken("nothing_is_told_ahead_of_the_log") == ([], {})
    Notification.objects.filter(pk=mention.pk).update(seq=head + 1, actor_type="agent", actor="ada")
    hook, _ = webhooks.create(SYSTEM, url="https://hook.example/")
    head = log.head()
    Delivery.objects.create(webhook=hook, message_id="msg_1", seq=head + 7, kind="task.created")
    Watermark.objects.filter(pk="hooked").update(seq=head + 2)
    assert broken("nothing_is_told_ahead_of_the_log")[0] == [
        f"the mark hooked stands at {head + 2}, the log ends at {head}",
        f"ada was told of activity {mention.seq + 1}, they are told up to {mention.seq}",
        f"ada was told of activity {mention.seq + 1}, which is its own",
        f"message msg_1 tells of activity {head + 7}, the log ends at {head}",
    ]


def test_an_epoch_that_is_given_twice_is_named(story, ada):
    code = story["third"].code
    transitions.return_(SYSTEM, code, reason="once more")
    claiming.claim_task(ada, code, Wish())
    again = Activity.objects.filter(kind="task.claimed", task=code).order_by("-seq")[0]
    Activity.objects.filter(pk=again.pk).update(data={"epoch": 1})
    complaints, _ = broken("epochs_only_rise")
    assert complaints == [
        f"activity {again.seq} gives task {code} epoch 1 after 1",
        f"task {code} stands at epoch 2, its last claim was 1",
    ]


def test_a_wrong_count_of_prerequisites_is_named(story):
    sixth = transitions.create(SYSTEM, title="Sixth", depends_on=[story["fifth"]])
    Task.objects.filter(pk=sixth.pk).update(blockers_open=2)
    complaints, others = broken("blockers_are_counted")
    assert complaints == [f"task {sixth.code} counts 2 open prerequisites, there are 1"]
    assert others == {}


def test_a_task_that_waits_for_nothing_is_named(story):
    Task.objects.filter(pk=story["second"].pk).update(not_before=None)
    complaints, others = broken("nothing_is_in_limbo")
    assert complaints == [f"task {story['second'].code} is ready, is not offered and waits for nothing"]
    assert others == {}


def test_a_blocked_task_that_nothing_blocks_is_named(story):
    Task.objects.filter(pk=story["fourth"].pk).update(blocked_reason="")
    assert "waits for nothing" in broken("nothing_is_in_limbo")[0][0]


def test_a_task_in_the_wrong_queue_is_named(story):
    lane = Lane.objects.create(venture=Venture.objects.get(slug="default"), capabilities=["x"], capabilities_key="x")
    Task.objects.filter(pk=story["fourth"].pk).update(lane=lane)
    complaints, others = broken("queues_hold_their_own")
    assert complaints == [f"task {story['fourth'].code} stands in a queue that is not its own"]
    assert others == {}


def test_money_that_does_not_add_up_is_named(story):
    LedgerEntry.objects.filter(amount_micro_usd=1000).update(amount_micro_usd=1001, tokens_out=6)
    complaints, others = broken("money_adds_up")
    assert complaints == [
        "venture default spent 3000, the ledger holds 3001",
        f"task {story['first'].code} cost 3000 and 39 tokens, the ledger holds 3001 and 40",
    ]
    assert others == {}


def test_a_reserve_that_nothing_holds_is_named(story):
    Venture.objects.update(capital_reserved_micro_usd=5)
    assert broken("money_adds_up")[0] == ["venture default reserves 5 and nothing holds it"]


def test_a_lost_deliverable_is_named(story):
    Deliverable.objects.all().delete()
    complaints, others = broken("deliverables_are_numbered")
    assert complaints == [f"task {story['first'].code} counts 1 deliverables, it has 0 and the last is number 0"]
    assert others == {}


def test_a_comment_that_is_not_counted_is_named(story):
    code = story["first"].code
    collaboration.comment(SYSTEM, code, "Well done")
    assert invariants.broken(["comments_are_counted"]) == {"comments_are_counted": []}
    Task.objects.filter(code=code).update(comment_count=2)
    complaints, others = broken("comments_are_counted")
    assert complaints == [f"task {code} counts 2 comments, the log holds 1"]
    assert others == {}
    Task.objects.filter(code=code).update(comment_count=0)
    assert broken("comments_are_counted")[0] == [f"task {code} counts 0 comments, the log holds 1"]


def test_only_the_first_offenders_are_named(story):
    transitions.create_many(SYSTEM, [{"title": f"Task {n}"} for n in range(15)])
    Task.objects.filter(title__startswith="Task").update(offered=False)
    complaints = invariants.broken(["nothing_is_in_limbo"])["nothing_is_in_limbo"]
    assert len(complaints) == invariants.FIRST + 1
    assert complaints[-1] == "and 5 more"


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_that_all_hold(story, capsys):
    call_command("check_invariants")
    assert capsys.readouterr().out == f"All {len(invariants.CHECKS)} invariants hold.\n"


def test_the_command_names_the_offender_and_exits_with_one(story, capsys):
    Task.objects.filter(pk=story["fourth"].pk).update(blocked_reason="")
    with pytest.raises(CommandError, match="1 of 16 invariants are broken") as stopped:
        call_command("check_invariants")
    assert stopped.value.returncode == 1
    assert f"nothing_is_in_limbo: task {story['fourth'].code} is blocked" in capsys.readouterr().out


def test_the_command_answers_in_json(story, capsys):
    call_command("check_invariants", "money_adds_up", "--json")
    assert json.loads(capsys.readouterr().out) == {"ok": True, "checks": {"money_adds_up": []}}


def test_an_unknown_check_is_a_usage_error():
    with pytest.raises(CommandError, match="There is no check called luck") as stopped:
        call_command("check_invariants", "luck")
    assert stopped.value.returncode == 2


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_check_does_not_keep_the_fleet_waiting(ada):
    transitions.create(SYSTEM, title="First")
    with carrying.snapshot():
        [created] = together(lambda: transitions.create(SYSTEM, title="Second"))
        assert created.title == "Second"
        assert Task.objects.count() == 1, "the snapshot is of the moment when it began, not of its first read"
    assert Task.objects.count() == 2
    assert not connection.in_atomic_block


@pytest.mark.once  # PostgreSQL plans by what a table holds: a handful of lines it may as well read all
def test_the_check_of_statuses_finds_the_last_line_of_each_task_by_its_index(story):
    with CaptureQueriesContext(connection) as asked:
        assert list(invariants.log_tells_the_status()) == []
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {asked[-1]['sql']}")
        plan = " ".join(str(cell) for row in cursor.fetchall() for cell in row)
    assert "activity_task" in plan, "a task's lines are sought in the whole log"
