"""Causes of lines, and the loop breaker: who wakes whom, when a circuit opens, what it forbids, how it is reset."""

from __future__ import annotations

import datetime

import pytest

from mission_control import log, loops
from mission_control.errors import NotAllowed, NotThere, Refused
from mission_control.models import Activity, Circuit, Delivery, Wake
from mission_control.outbound import deliveries, webhooks
from tasks import transitions
from tasks.teamwork import collaboration
from tests.conftest import DIRECTOR, a_task, an_agent, claimed, fence

pytestmark = pytest.mark.django_db


@pytest.fixture
def two(db):
    """Two agents that may hand work to each other."""
    return an_agent("ping", scopes=("work", "orchestrate")), an_agent("pong", scopes=("work", "orchestrate"))


def handed(by, to, title="over to you", **fields) -> Activity:
    """One agent makes a task for another; the line of it."""
    task = transitions.create(by, title=title, assignee=to.agent, **fields)
    return Activity.objects.get(task=task.code, kind="task.created")


def played(ping, pong, turns: int) -> None:
    for _ in range(turns):
        handed(ping, pong)
        handed(pong, ping)


# ── causes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_product_does_in_a_unit_was_caused_by_its_first_line(operator, ada):
    before = a_task("before", assignee=ada.agent)
    after = a_task("after", depends_on=[before])
    transitions.complete(operator, before.code, summary="done")
    completed = Activity.objects.get(kind="task.completed")
    unblocked = Activity.objects.get(kind="task.unblocked", task=after.code)
    assert (completed.cause, unblocked.cause) == (0, completed.seq)


def test_a_hand_over_was_caused_by_what_called_its_author(two, operator):
    ping, pong = two
    first = handed(operator, ping)
    second = handed(ping, pong)
    third = handed(pong, ping)
    assert (first.cause, second.cause, third.cause) == (0, first.seq, second.seq)
    Wake.objects.filter(agent="ping").update(at=log.now() - datetime.timedelta(hours=25))
    assert handed(ping, pong).cause == 0


def test_a_caller_says_what_led_to_a_call(api_of, operator):
    task = a_task()
    line = Activity.objects.get(task=task.code)
    api = api_of(operator)
    assert api.post(f"/tasks/{task.code}/comments", {"text": "x"}, **{"X-Cause": str(line.seq)}).status_code == 201
    told = api.get("/activities").json()["activities"]
    assert [(entry["kind"], entry["cause"]) for entry in told] == [("comment.added", line.seq), ("task.created", None)]
    for said in ("-1", "first", "1.5", "²", "9" * 30):
        refused = api.post(f"/tasks/{task.code}/comments", {"text": "x"}, **{"X-Cause": said})
        assert refused.status_code == 400, said
    api.post(f"/tasks/{task.code}/comments", {"text": "from the future"}, **{"X-Cause": str(log.head() + 1)})
    assert Activity.objects.order_by("seq").last().cause == 0
    transitions.cancel(operator, task.code)
    assert Activity.objects.order_by("seq").last().cause == 0, "a cause outlives its call"


def test_a_cause_is_sealed_and_lines_without_one_keep_the_seals_they_had(two):
    ping, pong = two
    first, second = handed(ping, pong), handed(pong, ping)
    plain, told = (log.canonical(Activity.objects.values(*log.LINE).get(seq=line.seq)) for line in (first, second))
    assert b"cause" not in plain
    assert f'"cause":{first.seq}'.encode() in told
    while log.seal_log():
        pass
    assert log.verify_log()[1] == ""
    Activity.objects.filter(seq=second.seq).update(cause=0)
    assert f"activity {second.seq} was changed" in log.verify_log()[1]


# ── never woken by oneself ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_is_not_woken_by_what_it_caused_itself(ada, bob, operator):
    webhooks.create(DIRECTOR, url="https://agent.example/", agent="ada")
    before = a_task("before", assignee=ada.agent)
    after = a_task("after", assignee=ada.agent, depends_on=[before])
    other = a_task("other", assignee=bob.agent)
    waits = a_task("waits", assignee=ada.agent, depends_on=[other])
    claim = claimed(ada, before)
    transitions.complete(ada, before.code, fence(claim), summary="done")  # frees the one after, which is ada's own
    transitions.complete(operator, other.code, summary="done")  # frees the one that waits
    deliveries.make_from_log()
    lines = Activity.objects.in_bulk(Delivery.objects.values_list("seq", flat=True)).values()
    assert {(line.kind, line.task) for line in lines} == {
        ("task.created", before.code), ("task.unblocked", waits.code),
    }  # fmt: skip
    assert Activity.objects.filter(kind="task.unblocked", task=after.code).exists()


# ── the circuit ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_agents_that_wake_each_other_without_end_are_stopped_and_told_why(two, settings):
    settings.WAKE_TURNS = 4
    ping, pong = two
    played(ping, pong, 3)
    assert not Circuit.objects.exclude(opened_at=None).exists()
    last = handed(ping, pong)  # the fourth still goes through
    [circuit] = Circuit.objects.exclude(opened_at=None)
    assert (circuit.waker, circuit.woken) == ("ping", "pong")
    [opened] = Activity.objects.filter(kind="circuit.opened")
    assert (opened.level, opened.agent, opened.actor_type, opened.cause) == ("warning", "pong", "system", last.seq)
    assert opened.data == {"waker": "ping", "woken": "pong", "turns": 4, "wakes": 4}
    handed(pong, ping)
    head = log.head()
    with pytest.raises(Refused) as refused:
        handed(ping, pong)
    assert (refused.value.code, refused.value.status) == ("circuit_open", 409)
    assert "woke each other 4 times in a row" in refused.value.sentence
    assert log.head() == head, "nothing of a refused hand-over is kept"


def test_an_open_circuit_concerns_this_pair_alone(two, ada, operator, settings):
    settings.WAKE_TURNS = 2
    ping, pong = two
    played(ping, pong, 1)
    handed(ping, pong)
    with pytest.raises(Refused):
        handed(ping, pong)
    handed(ping, ada)
    handed(operator, pong)
    transitions.create(ping, title="for whoever wants it")


def test_a_circle_of_three_is_a_loop_too(two, settings):
    settings.WAKE_TURNS = 3
    ping, pong = two
    pang = an_agent("pang", scopes=("work", "orchestrate"))
    for _ in range(2):
        handed(ping, pong), handed(pong, pang), handed(pang, ping)
    handed(ping, pong)
    assert [(c.waker, c.woken) for c in Circuit.objects.exclude(opened_at=None)] == [("ping", "pong")]


def test_a_person_in_between_begins_a_new_chain(two, operator, settings):
    settings.WAKE_TURNS = 3
    ping, pong = two
    for _ in range(5):
        played(ping, pong, 1)
        handed(operator, ping)
    assert not Circuit.objects.exclude(opened_at=None).exists()


def test_an_orchestrator_that_hands_out_much_work_is_no_loop(two):
    ping, pong = two
    for _ in range(30):
        handed(ping, pong)
    transitions.create_many(ping, [{"title": f"task {n}", "assignee": pong.agent} for n in range(50)])
    circuit = Circuit.objects.get()
    assert (circuit.opened_at, circuit.wakes) == (None, 31)  # what comes at once wakes once


def test_too_many_wakes_within_ten_minutes_open_it(two, settings):
    settings.WAKE_LIMIT = 5
    ping, pong = two
    for _ in range(4):
        handed(ping, pong)
    Circuit.objects.update(window_began_at=log.now() - datetime.timedelta(minutes=11))
    for _ in range(5):
        handed(ping, pong)
    with pytest.raises(Refused, match="called 5 times within ten minutes"):
        handed(ping, pong)


def test_what_the_product_hands_on_counts_for_who_caused_it(two, settings):
    """ping finishes what pong waits for: pong is woken by ping, though nobody wrote so."""
    ping, pong = two
    before = a_task("before", assignee=ping.agent)
    a_task("after", assignee=pong.agent, depends_on=[before])
    claim = claimed(ping, before)
    transitions.complete(ping, before.code, fence(claim), summary="done")
    assert [(c.waker, c.woken, c.wakes) for c in Circuit.objects.all()] == [("ping", "pong", 1)]


def test_mentions_wake_too(two, settings):
    settings.WAKE_TURNS = 2
    ping, pong = two
    task = a_task()
    for by, to in ((ping, "pong"), (pong, "ping"), (ping, "pong")):
        collaboration.comment(by, task.code, f"@{to} what do you think?")
    with pytest.raises(Refused, match="may not call pong"):
        collaboration.comment(ping, task.code, "@pong and now?")
    collaboration.comment(ping, task.code, "I leave it at that.")


# ── the reset ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_person_resets_it_and_the_count_begins_anew(two, operator, viewer, settings):
    settings.WAKE_TURNS = 3
    ping, pong = two
    played(ping, pong, 2)
    handed(ping, pong)
    for actor in (viewer, ping):
        with pytest.raises(NotAllowed):
            loops.reset(actor, "ping", "pong")
    with pytest.raises(NotThere):
        loops.reset(operator, "ping", "nobody")
    loops.reset(operator, "ping", "pong")
    loops.reset(operator, "ping", "pong")
    [line] = Activity.objects.filter(kind="circuit.reset")
    assert (line.actor, line.data) == ("olivia", {"waker": "ping", "woken": "pong"})
    handed(ping, pong)
    handed(pong, ping)
    handed(ping, pong)
    assert not Circuit.objects.exclude(opened_at=None).exists()


def test_open_circuits_are_listed_and_reset_by_their_calls(two, operator, api_of, settings):
    settings.WAKE_TURNS = 1
    ping, pong = two
    handed(ping, pong)
    api = api_of(operator)
    [circuit] = api.get("/circuits?open=true").json()["circuits"]
    assert (circuit["waker"], circuit["woken"], circuit["open"]) == ("ping", "pong", True)
    assert circuit["reason"].endswith("no person stepped in.")
    refused = api_of(ping).post("/tasks", {"title": "again", "assignee": "pong"})
    assert (refused.status_code, refused.json()["code"], refused.json()["waker"]) == (409, "circuit_open", "ping")
    done = api.post("/circuits/ping/pong/reset")
    assert (done.status_code, done.json()["circuit"]["open"]) == (200, False)
    assert api.get("/circuits?open=true").json()["circuits"] == []
