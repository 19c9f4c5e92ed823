"""Processing: who is chosen and why, what is kept of it, and what happens when nobody takes it up."""

import subprocess
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.errors import NotAllowed, Refused
from mission_control.models import Activity, Delivery
from mission_control.outbound import deliveries
from tasks import approvals, briefing, handover, invariants, shapes, transitions
from tasks.dispatching import candidates, dispatch
from tasks.models import Session, Task
from tasks.pages import bulk, feed
from tasks.teamwork import collaboration
from tests.conftest import a_task, an_agent, claimed, fence, fresh
from ventures import catalogue

pytestmark = pytest.mark.django_db


def here(*agents):
    """These agents called just now."""
    Agent.objects.filter(slug__in=[actor.name for actor in agents]).update(last_seen_at=Now(), seen_offline=False)


def kinds(task) -> list[str]:
    return list(Activity.objects.filter(task=task.code).order_by("seq").values_list("kind", flat=True))


def time_is_up(task):
    Task.objects.filter(pk=task.pk).update(handed_until=Now() - timedelta(seconds=1))


def session_of(task) -> Session:
    return Session.objects.get(task=task)


def fit(task) -> list[str]:
    return [one.agent.slug for one in candidates.candidates(fresh(task)) if one.fit]


def test_the_best_agent_is_chosen_and_says_why(operator, ada, bob, lead):
    here(ada, bob, lead)
    claimed(ada, a_task("another"))
    task = a_task(required_capabilities=["python"])
    done = dispatch.process(operator, task.code)
    assert done.candidate.agent.slug == "lea"
    assert fit(task) == ["lea", "ada"]
    said = {reason.name: (reason.good, reason.sentence) for reason in done.candidate.reasons}
    assert set(said) == {"capabilities", "joined", "hours", "load", "presence", "success"}
    assert all(good for good, _ in said.values())
    assert "It needs python" in Activity.objects.get(kind="task.processed").message
    [unfit] = [one for one in candidates.candidates(fresh(task)) if one.agent.slug == "bob"]
    assert (unfit.able, unfit.against) == (False, "It needs python, which bob does not have.")


@pytest.mark.parametrize(
    "fields",
    [
        {"available_hours": {"timezone": "UTC", "hours": ["00:00-00:00"]}},
        {"availability": "busy"},
        {"seen_offline": True},
        {"max_concurrent": 1},
    ],
)
def test_who_is_away_or_full_is_not_chosen_unasked_but_may_be_asked(fields, operator, ada):
    here(ada)
    claimed(ada, a_task("another"))
    Agent.objects.filter(pk=ada.agent.pk).update(**fields)
    task = a_task()
    if "seen_offline" in fields:
        transitions.release(ada, Task.objects.get(title="another").code, reason="gone")
    with pytest.raises(Refused) as refused:
        dispatch.process(operator, task.code)
    assert refused.value.code == "no_agent" and refused.value.sentence.startswith("No agent can take it now.")
    assert kinds(task) == ["task.created"]
    assert dispatch.process(operator, task.code, ada.agent).candidate.agent == ada.agent


def test_what_was_handed_over_counts_before_it_is_claimed(operator, ada, bob):
    here(ada, bob)
    Agent.objects.update(max_concurrent=1)
    one, other, third = (a_task(title) for title in ("one", "other", "third"))
    assert all(not outcome.refusal for outcome in bulk.apply(operator, [one.code, other.code], "move", "in_progress"))
    assert {fresh(one).assignee.slug, fresh(other).assignee.slug} == {"ada", "bob"}
    with pytest.raises(Refused, match="holds 0 of at most 1. 1 more waits for its claim."):
        dispatch.process(operator, third.code)
    again = dispatch.process(operator, one.code)
    assert (again.candidate.held, again.candidate.handed, again.candidate.fit) == (0, 0, True)


def test_who_approved_it_is_not_handed_it(operator, ada, bob):
    here(ada, bob)
    task = a_task(needs_approval=True)
    approvals.approve_start(operator, task.code, handover.digest(fresh(task)))
    Task.objects.filter(pk=task.pk).update(approved_by_type="agent", approved_by="ada")
    with pytest.raises(NotAllowed, match="ada approved it and may not start it"):
        dispatch.process(operator, task.code, ada.agent)
    assert dispatch.process(operator, task.code).candidate.agent == bob.agent
    assert claimed(bob, task).epoch == 1


def test_an_agent_that_may_not_claim_it_is_refused(operator, ada, bob):
    task = a_task(required_capabilities=["python"])
    with pytest.raises(NotAllowed):
        dispatch.process(operator, task.code, bob.agent)
    Agent.objects.filter(pk=ada.agent.pk).update(claimed_at=None)
    with pytest.raises(Refused):
        dispatch.process(operator, task.code, ada.agent)
    with pytest.raises(NotAllowed):
        dispatch.process(ada, task.code)


def test_a_hand_over_keeps_what_the_agent_is_given_and_the_claim_begins_it(operator, ada):
    here(ada)
    task = a_task(description="In inches.")
    done = dispatch.process(operator, task.code)
    queued = session_of(task)
    assert (queued.state, queued.attempt, done.via) == ("queued", None, "push")
    assert queued.context_provided["quoted"]["description"] == "In inches."
    assert queued.context_provided["quoted"]["branch"] == fresh(task).branch
    assert list(invariants.sessions_end_with_their_lease()) == []
    claim = claimed(ada, session_key="ada:window")
    begun = session_of(task)
    assert (begun.pk, begun.state, begun.attempt, begun.key) == (queued.pk, "running", 1, "ada:window")
    assert begun.context_provided == queued.context_provided
    assert fresh(task).handed_until is None and list(invariants.work_in_progress_is_held()) == []
    transitions.complete(ada, task.code, fence(claim))
    assert session_of(task).state == "completed"


@pytest.mark.parametrize("status", ["inbox", "ready", "assigned", "paused"])
def test_it_is_processed_from_where_nobody_works_on_it(status, operator, ada, bob):
    here(ada, bob)
    task = a_task(
        status="" if status == "paused" else status, **({"assignee": bob.agent} if status == "assigned" else {})
    )
    if status == "paused":
        transitions.pause(operator, task.code)
    assert dispatch.process(operator, task.code).candidate.agent.slug == ("bob" if status == "assigned" else "ada")
    now = fresh(task)
    assert (now.status, now.offered, now.handed_by) == ("assigned", True, "push")


@pytest.mark.parametrize("held_up", ["question", "review", "failure"])
def test_what_was_held_up_before_its_pause_is_handed_to_nobody(held_up, operator, ada):
    here(ada)
    task = a_task()
    if held_up == "question":
        transitions.block(operator, task.code, kind="needs_input", reason="Which unit?")
    elif held_up == "review":
        transitions.complete(ada, task.code, fence(claimed(ada, task)), review=True)
    else:
        catalogue.change(operator, task.venture, {"max_failures": 1})
        transitions.fail(ada, task.code, fence(claimed(ada, task)), error="no")
    transitions.pause(operator, task.code)
    with pytest.raises(Refused, match="Resume it first") as refused:
        dispatch.process(operator, task.code)
    assert refused.value.code == "wrong_state" and fresh(task).status == "paused"
    assert "process" not in transitions.allowed_verbs(operator, fresh(task))


def test_open_work_prerequisites_and_approvals_stand_in_the_way(operator, ada):
    here(ada)
    before = a_task("before")
    waiting = a_task("waiting", depends_on=[before], status="inbox")
    transitions.pause(operator, waiting.code)
    gated = a_task("gated", needs_approval=True)
    codes = []
    for task in (waiting, gated, claimed(ada, before).task):
        with pytest.raises(Refused) as refused:
            dispatch.process(operator, task.code)
        codes.append(refused.value.code)
    assert codes == ["dependencies_open", "approval_needed", "wrong_state"]


def test_the_branch_that_we_name_does_not_take_an_approval_back(operator, ada):
    here(ada)
    task = a_task(needs_approval=True)
    approvals.approve_start(operator, task.code, handover.digest(fresh(task)))
    dispatch.process(operator, task.code)
    assert fresh(task).branch and not handover.is_stale(fresh(task))
    assert claimed(ada).task.pk == task.pk


def test_what_an_agent_will_read_changes_and_the_approval_goes(operator, ada):
    here(ada)
    task = a_task(needs_approval=True)
    approvals.approve_start(operator, task.code, handover.digest(fresh(task)))
    dispatch.process(operator, task.code)
    collaboration.share(operator, task.code, "unit", "inches", kind="decision")
    assert not fresh(task).offered


@pytest.mark.parametrize(
    "title",
    [
        "$(rm -rf /); `id`",
        "../../etc/passwd",
        "--upload-pack=x",
        "größe ✂ \u202e.lock",
        "🙂",
        "a..b~^:?*[\\ @{",
        "x" * 400,
    ],
)
def test_a_branch_is_a_safe_name_whatever_the_title_says(title, operator, ada):
    name = dispatch.branch_for(ada.agent, a_task(title))
    assert name.startswith("agent/ada-") and len(name) < 130
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-/")
    assert subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True).returncode == 0


def test_the_branch_is_of_who_gets_it_until_somebody_has_worked_on_it(operator, ada, bob):
    here(ada, bob)
    fresh_one, named, begun = a_task("fresh"), a_task("named", branch="feature/x"), a_task("begun")
    for task in (fresh_one, named, begun):
        dispatch.process(operator, task.code, ada.agent)
    claimed(ada, begun)
    transitions.release(ada, begun.code)
    branches = [dispatch.process(operator, task.code, bob.agent).task.branch for task in (fresh_one, named, begun)]
    assert branches == [f"agent/bob-fresh-{fresh_one.code}", "feature/x", f"agent/ada-begun-{begun.code}"]


def test_the_model_follows_the_priority(settings, operator, ada):
    settings.MODELS_BY_PRIORITY = {"urgent": "large"}
    here(ada)
    Agent.objects.update(model="its own")
    urgent, plain = a_task("a", priority=3), a_task("b")
    models = [dispatch.process(operator, task.code).session.model for task in (urgent, plain)]
    assert models == ["large", "its own"]
    told = claimed(ada, urgent).task
    assert "Work on it with the model large." in briefing.as_text(shapes.briefing_of(told))
    assert session_of(urgent).context_provided["model"] == "large" != session_of(plain).context_provided["model"]


def test_ways_are_tried_in_order_and_then_it_is_back_in_the_queue(operator, ada):
    here(ada)
    roster.set_webhook(ada, ada.agent, "https://agent.example/")
    task = a_task()
    assert dispatch.process(operator, task.code).via == "webhook"
    assert dispatch.hand_on() == 0
    ways = []
    for _ in range(3):
        time_is_up(task)
        assert dispatch.hand_on() == 1
        ways.append(fresh(task).handed_by)
    assert ways == ["push", "poll", ""]
    assert kinds(task)[1:] == ["task.processed", "task.dispatched", "task.dispatched", "task.unacknowledged"]
    now = fresh(task)
    assert (now.status, now.assignee, now.offered) == ("ready", None, True)
    assert (session_of(task).state, session_of(task).error) == ("cancelled", "not taken up")
    sentences = [feed.line(row).sentence for row in Activity.objects.filter(task=task.code).order_by("seq")[1:]]
    assert sentences == [
        "handed it to ada by webhook",
        "heard nothing from ada by webhook: now by its open connection",
        "heard nothing from ada by its open connection: now by its next call",
        "put it back in the queue: ada did not take it up",
    ]
    assert claimed(ada, task).epoch == 1


def test_a_webhook_that_fails_is_not_waited_for(operator, ada):
    here(ada)
    roster.set_webhook(ada, ada.agent, "https://agent.example/")
    task = a_task()
    dispatch.process(operator, task.code)
    deliveries.make_from_log()
    assert Delivery.objects.count() == 1 and dispatch.hand_on() == 0
    Delivery.objects.update(tries=F("tries") + 1)
    assert dispatch.hand_on() == 1
    assert fresh(task).handed_by == "push"


def test_a_local_agent_is_handed_to_its_runner(operator):
    an_agent("rick", connection="local")
    Agent.objects.update(seen_offline=False, last_seen_at=Now() - timedelta(seconds=90))
    assert dispatch.process(operator, a_task().code).via == "runner"


@pytest.mark.parametrize("act", ["pause", "cancel", "start", "to_ready", "reassign", "block", "delete", "again"])
def test_whatever_takes_it_away_ends_the_announced_run(act, operator, ada, bob):
    here(ada, bob)
    task = a_task()
    dispatch.process(operator, task.code, ada.agent)
    queued = session_of(task).pk
    {
        "pause": lambda: transitions.pause(operator, task.code),
        "cancel": lambda: transitions.cancel(operator, task.code),
        "start": lambda: transitions.start(operator, task.code),
        "to_ready": lambda: transitions.move(operator, task.code, "ready"),
        "reassign": lambda: transitions.edit(operator, task.code, {"assignee": bob.agent}),
        "block": lambda: transitions.block(operator, task.code, kind="needs_input", reason="why?"),
        "delete": lambda: transitions.delete(operator, task.code),
        "again": lambda: dispatch.process(operator, task.code, bob.agent),
    }[act]()
    assert Session.objects.get(pk=queued).ended_at is not None
    assert list(invariants.sessions_end_with_their_lease()) == []
    assert dispatch.hand_on() == 0


def test_the_call_answers_with_the_announced_run(operator, ada, api_of):
    here(ada)
    task, api = a_task(), api_of(operator)
    [one] = api.get(f"/tasks/{task.code}/candidates").json()["candidates"]
    assert (one["agent"], one["fit"], one["ways"]) == ("ada", True, ["push", "poll"])
    answer = api.post(f"/tasks/{task.code}/process", {"agent": "ada"})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["task"]["status"], body["session"]["state"], body["dispatched_via"]) == ("assigned", "queued", "push")
    assert api.post(f"/tasks/{task.code}/process", {"agent": "nobody"}).status_code == 400
    assert api_of(ada).post(f"/tasks/{task.code}/process").status_code == 403


def test_a_person_processes_in_the_drawer_and_picks_another(operator, ada, bob, client):
    here(ada, bob)
    task = a_task()
    client.force_login(operator.user)
    page = client.get(f"/tasks/{task.code}/drawer").content.decode()
    assert "Process would choose it" in page and "Hand it to Bob" in page
    assert client.post(f"/tasks/{task.code}/hand-to", {"agent": "bob"}).status_code == 200
    assert fresh(task).assignee == bob.agent
    assert client.post(f"/tasks/{task.code}/process").status_code == 200
    shown = client.get(f"/tasks/{task.code}/drawer?tab=sessions").content.decode()
    assert "What it was given" in shown and "handed over" in shown


@pytest.mark.parametrize("door", ["drop", "call", "bulk"])
def test_a_card_that_is_moved_to_in_progress_is_processed(door, operator, ada, client, api_of):
    here(ada)
    client.force_login(operator.user)
    task = a_task()
    {
        "drop": lambda: client.put(
            f"/tasks/{task.code}/move", "status=in_progress", content_type="application/x-www-form-urlencoded"
        ),
        "call": lambda: api_of(operator).put(f"/tasks/{task.code}/move", {"status": "in_progress"}),
        "bulk": lambda: bulk.apply(operator, [task.code], "move", "in_progress"),
    }[door]()
    assert kinds(task) == ["task.created", "task.processed"]
    assert fresh(task).handed_by == "push"


def test_who_finds_no_agent_is_told_to_start_by_hand(operator, lead):
    Agent.objects.all().delete()
    with pytest.raises(Refused, match="There is no agent yet. Press Start to work on it yourself."):
        dispatch.move(operator, a_task().code, "in_progress")


def test_a_full_column_takes_no_hand_over(operator, ada):
    here(ada)
    task = a_task()
    catalogue.set_limit(operator, task.venture.slug, "in_progress", 1)
    claimed(ada, a_task("another"))
    with pytest.raises(Refused) as refused:
        dispatch.process(operator, task.code)
    assert refused.value.code == "wip_limit"


def test_a_hand_over_that_was_not_taken_up_is_no_work_of_that_agent(operator, lead, bob):
    here(lead, bob)
    task = a_task()
    dispatch.process(operator, task.code, lead.agent)
    transitions.move(operator, task.code, "ready")
    assert not transitions.has_worked(lead.agent, task)
    claim = claimed(bob, task)
    transitions.complete(bob, task.code, fence(claim), review=True)
    assert transitions.accept(lead, task.code).status == "done"


def test_work_that_a_person_hands_in_meanwhile_is_no_attempt_of_the_agent(operator, ada):
    here(ada)
    task = a_task()
    dispatch.process(operator, task.code)
    transitions.complete(operator, task.code, summary="I did it")
    assert (session_of(task).state, session_of(task).summary) == ("cancelled", "")
    assert Agent.objects.get(pk=ada.agent.pk).tasks_completed == 0


def test_while_the_fleet_is_frozen_nobody_is_called_silent(operator, ada):
    here(ada)
    task = a_task()
    dispatch.process(operator, task.code)
    log.freeze(operator)
    time_is_up(task)
    assert dispatch.hand_on() == 0
    assert fresh(task).handed_until > Task.objects.annotate(moment=Now()).get(pk=task.pk).moment
    log.thaw(operator)
    time_is_up(task)
    assert dispatch.hand_on() == 1


def test_the_drawer_shows_the_ways_and_which_one_is_waited_for(operator, ada, client):
    here(ada)
    roster.set_webhook(ada, ada.agent, "https://agent.example/")
    task = a_task()
    dispatch.process(operator, task.code)
    time_is_up(task)
    dispatch.hand_on()
    assert dispatch.ways_of(fresh(task)) == [("webhook", "tried"), ("push", "now"), ("poll", "next")]
    client.force_login(operator.user)
    page = client.get(f"/tasks/{task.code}/drawer").content.decode()
    assert "Handed to Ada" in page and "By webhook: no answer" in page and "Then by its next call" in page
    assert "It was handed to ada by its open connection and waits for the claim until" in page
