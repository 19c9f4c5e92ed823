"""The lease: what proves it, what is said to who lost it, and when it ends."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from mission_control import log
from tasks import leases, transitions
from tasks.leases import Fence, lease_token
from tasks.models import Session, Task
from tests.conftest import a_task, claimed, fence, fresh

pytestmark = pytest.mark.django_db


def test_a_lease_is_proved_by_epoch_and_token_or_by_its_session_key_or_by_the_key_alone(ada, bob, operator):
    claim = claimed(ada, a_task(), session_key="run")
    task = fresh(claim.task)
    token = claim.lease_token
    for shown, held in (
        (Fence(1, token), True),
        (Fence(session_key="run"), True),
        (Fence(), True),
        (Fence(1, "0" * 32), False),
        (Fence(1, ""), False),
        (Fence(None, token), False),
        (Fence(2, token), False),
        (Fence(0, token), False),
        (Fence(session_key="other"), False),
        (Fence(2, token, "run"), False),  # what is shown first counts
    ):
        assert leases.is_held(ada, task, shown) is held, shown
        assert not leases.is_held(bob, task, shown)
        assert not leases.is_held(operator, task, shown)


def test_every_lease_has_a_token_of_its_own_that_can_be_made_again(ada):
    first, second = claimed(ada, a_task()), claimed(ada, a_task())
    assert first.lease_token == lease_token(fresh(first.task)) != second.lease_token
    transitions.release(ada, first.task.code, fence(first))
    assert claimed(ada, first.task).lease_token != first.lease_token


def test_the_server_secret_is_in_the_token(ada, settings):
    claim = claimed(ada, a_task())
    settings.SECRET_KEY = "x" * 50
    assert lease_token(claim.task) != claim.lease_token


def test_who_lost_a_lease_is_told_why(ada, bob, operator):
    task = a_task()
    claimed(ada, task)
    transitions.release(ada, task.code)
    assert "ready now" in leases.lost(ada, fresh(task), Fence(1)).sentence
    claim = claimed(bob, task)
    assert "bob holds it now" in leases.lost(ada, fresh(task), Fence(1)).sentence
    assert "its epoch is 2" in leases.lost(bob, fresh(task), Fence(1)).sentence
    transitions.release(bob, task.code, fence(claim))
    transitions.start(operator, task.code)
    assert "a person works on it now" in leases.lost(bob, fresh(task), Fence(2)).sentence
    transitions.complete(operator, task.code)
    refusal = leases.lost(bob, fresh(task), Fence(2))
    assert (refusal.code, refusal.facts["status_now"], refusal.facts["epoch"]) == ("lease_lost", "done", 3)


def test_an_attempt_is_found_by_what_is_shown(ada, bob, operator):
    task = a_task()
    claimed(ada, task, session_key="first")
    transitions.release(ada, task.code)
    claimed(ada, task, session_key="second")
    for shown, attempt in (
        (Fence(1), 1),
        (Fence(session_key="first"), 1),
        (Fence(session_key="second"), 2),
        (Fence(), 2),
    ):
        assert leases.attempt_of(ada, fresh(task), shown).attempt == attempt
    assert leases.attempt_of(ada, fresh(task), Fence(7)) is None
    assert leases.attempt_of(bob, fresh(task), Fence()) is None
    assert leases.attempt_of(operator, fresh(task), Fence()) is None


def test_a_sign_of_life_makes_a_lease_longer_and_never_shorter(ada):
    claim = claimed(ada, a_task(), lease_seconds=60)
    Task.objects.update(lease_expires_at=Now() + timedelta(hours=1))
    far = fresh(claim.task).lease_expires_at
    assert leases.extend(fresh(claim.task)) == far
    Task.objects.update(lease_expires_at=Now() + timedelta(seconds=2))
    Session.objects.update(heartbeat_at=Now() - timedelta(hours=1))
    until = leases.extend(fresh(claim.task))
    assert timedelta(seconds=55) < until - log.now() <= timedelta(seconds=60)
    assert log.now() - Session.objects.get().heartbeat_at < timedelta(seconds=5)


def test_a_lease_that_is_over_is_not_extended(ada):
    claim = claimed(ada, a_task())
    old = fresh(claim.task)
    transitions.release(ada, old.code)
    assert leases.extend(old) is None
    claimed(ada, old)
    assert leases.extend(old) is None  # the epoch is another
