"""Chores: a failing one stops nobody, each runs when it is due, and what requests left behind is forgotten."""

import logging
import threading
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from mission_control import chores, log, tickets
from mission_control.actors import system
from mission_control.models import IdempotentAnswer, Seal, Ticket
from tests.serving import until

SYSTEM = system("test")


@pytest.fixture
def alone(monkeypatch):
    """No chores but those that a test registers."""
    monkeypatch.setattr(chores, "registered", {})
    monkeypatch.setattr(chores.live, "with_connection", lambda run: run())


@pytest.fixture
def runner(alone):
    runner = chores.Runner()
    yield runner
    runner.stop()


def test_the_product_has_its_chores():
    assert set(chores.registered) >= {"sweep", "offer again", "fold counts", "seal log", "presence", "forget"}
    assert chores.registered["sweep"].every_seconds == 5


def test_a_failing_chore_is_tried_again_and_stops_nobody(runner, caplog):
    done = {"bad": 0, "good": 0}

    def bad():
        done["bad"] += 1
        raise RuntimeError("no luck")

    def good():
        done["good"] += 1

    chores.register("bad", 0.05, bad)
    chores.register("good", 0.05, good)
    with caplog.at_level(logging.WARNING):
        runner.start()
        until(lambda: done["bad"] >= 2 and done["good"] >= 3)
    assert "chore bad failed, trying again: no luck" in caplog.text
    assert chores.registered["bad"].failures >= 2
    assert chores.registered["good"].failures == 0


def test_a_slow_chore_holds_up_no_other_and_never_runs_twice_at_once(runner):
    gate, running, most, ticks = threading.Event(), [], [], []

    def slow():
        running.append(1)
        most.append(len(running))
        gate.wait(10)
        running.pop()

    chores.register("slow", 0.01, slow)
    chores.register("quick", 0.01, lambda: ticks.append(1))
    runner.start()
    until(lambda: len(ticks) > 3)
    assert most == [1]
    gate.set()
    until(lambda: len(most) > 1)
    assert max(most) == 1


def test_stopping_waits_for_what_runs_and_begins_nothing_new(alone):
    began, gate = threading.Event(), threading.Event()
    runs = []

    def slow():
        runs.append(1)
        began.set()
        gate.wait(10)
        runs.append("ended")

    chores.register("slow", 0.01, slow)
    runner = chores.Runner()
    runner.start()
    assert began.wait(5)
    threading.Timer(0.2, gate.set).start()
    runner.stop()
    assert runs == [1, "ended"]


def test_a_chore_that_does_not_end_well_is_late(runner):
    def bad():
        raise RuntimeError

    chores.register("bad", 1, bad)
    chores.register("good", 1, lambda: None)
    runner.start()
    assert runner.late() == []
    chores.registered["bad"].ended_well -= 100
    chores.registered["good"].ended_well -= 10
    assert runner.late() == ["bad"]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_sealing_catches_up_in_one_run(monkeypatch):
    with log.unit():
        for _ in range(25):
            log.record("activity.logged", SYSTEM)
    seal = log.seal_log
    monkeypatch.setattr(log, "seal_log", lambda: 1000 if (seal(batch=10) == 10) else 0)
    chores.registered["seal log"].run()
    assert Seal.objects.count() == log.head()
    assert log.verify_log() == (log.head(), "")


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_what_requests_left_behind_is_forgotten_when_its_time_is_over():
    now = timezone.now()
    for hours, status in ((25, 200), (23, 201)):
        IdempotentAnswer.objects.create(
            caller=f"agent:{hours}",
            key_hash="k",
            request_hash="r",
            status=status,
            body=b"",
            at=now - timedelta(hours=hours),
        )
    tickets.create(SYSTEM)
    tickets.create(SYSTEM)
    Ticket.objects.filter(pk=Ticket.objects.first().pk).update(expires_at=now - timedelta(seconds=5))
    for name, days in (("old", -2), ("live", 2)):
        Session.objects.create(session_key=name, session_data="", expire_date=now + timedelta(days=days))
    assert chores.forget_old() == {
        "answers": 1,
        "tickets": 1,
        "sessions": 1,
        "deliveries": 0,
        "notifications": 0,
        "invitations": 0,
    }
    assert IdempotentAnswer.objects.get().status == 201
    assert Ticket.objects.count() == 1
    assert Session.objects.get().session_key == "live"


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_ticket_that_has_ended_is_worth_nothing():
    secret, seconds = tickets.create(SYSTEM)
    assert seconds == 60
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert tickets.redeem(secret) is None
    secret, _ = tickets.create(SYSTEM)
    assert tickets.redeem(secret) == ("system", "test", "")
    assert tickets.redeem(secret) is None
    assert secret not in str(list(Ticket.objects.values()))
