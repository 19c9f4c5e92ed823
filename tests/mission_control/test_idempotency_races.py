"""A request that is sent again, at once or after the lights went out: one effect, one answer."""

import json

import pytest

from agents import roster
from mission_control import idempotency, log
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.errors import Refused
from mission_control.idempotency import Reply
from mission_control.models import Activity, IdempotentAnswer
from tasks import claiming, transitions
from tasks.claiming import Wish
from tasks.models import Task
from tests.threads import held, started, together, wait_until_stuck

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
SYSTEM = system("test")


@pytest.fixture
def ada():
    transitions.create_many(SYSTEM, [{"title": f"Task {n}"} for n in range(12)])
    return Actor("agent", "ada", SCOPE_ABILITIES["work"], agent=roster.create(SYSTEM, name="Ada", slug="ada"))


def claim_with(actor, key, body=b"{}"):
    def work():
        [claim] = claiming.claim_next(actor, Wish())
        return Reply(200, json.dumps({"task": claim.task.code, "epoch": claim.epoch}).encode(), {})

    return idempotency.once(actor, key, body, work)


def test_the_same_claim_sent_many_times_at_once_is_one_claim(ada):
    replies = together(*[lambda: claim_with(ada, "k-1")] * 8)
    assert [reply for reply in replies if isinstance(reply, Exception)] == []
    assert len({reply.content for reply in replies}) == 1
    assert sorted(idempotency.REPLAYED in reply.headers for reply in replies) == [False] + [True] * 7
    assert Task.objects.filter(epoch__gt=0).count() == 1
    assert Activity.objects.filter(kind="task.claimed").count() == 1


def test_a_repeated_claim_waits_for_the_first_and_is_answered_the_same(ada):
    with held(lambda: claim_with(ada, "k-1")) as first:
        with started(lambda: claim_with(ada, "k-1")) as second:
            assert wait_until_stuck(second)
            answer = first.commit()
            assert second.result(20).content == answer.content


def test_a_crash_before_the_answer_is_kept_undoes_the_effect(ada, monkeypatch):
    """Effect and key commit together: else the repeated request would claim a second task, or none."""
    monkeypatch.setattr(idempotency, "_sealed", lambda *_: (_ for _ in ()).throw(RuntimeError("the lights went out")))
    with pytest.raises(RuntimeError):
        claim_with(ada, "k-1")
    monkeypatch.undo()
    assert (Task.objects.filter(epoch__gt=0).count(), IdempotentAnswer.objects.count()) == (0, 0)
    assert not Activity.objects.filter(kind="task.claimed").exists()
    first = claim_with(ada, "k-1")
    assert claim_with(ada, "k-1").content == first.content
    assert Task.objects.filter(epoch__gt=0).count() == 1


def test_a_refusal_that_changed_nothing_is_judged_anew(ada):
    log.freeze(SYSTEM)
    with pytest.raises(Refused, match="frozen"):
        claim_with(ada, "k-1")
    log.thaw(SYSTEM)
    assert claim_with(ada, "k-1").status == 200


def test_two_callers_with_the_same_key_do_not_share_an_answer(ada):
    grace = Actor("agent", "grace", SCOPE_ABILITIES["work"], agent=roster.create(SYSTEM, name="Grace", slug="grace"))
    assert claim_with(ada, "k-1").content != claim_with(grace, "k-1").content
    assert Task.objects.filter(epoch__gt=0).count() == 2


def test_another_request_under_a_used_key_is_refused_and_does_nothing(ada):
    claim_with(ada, "k-1")
    with pytest.raises(Refused) as refusal:
        claim_with(ada, "k-1", b'{"limit": 2}')
    assert (refusal.value.status, refusal.value.code) == (422, "idempotency_mismatch")
    assert Task.objects.filter(epoch__gt=0).count() == 1
