"""The log: units, numbers, freeze, counts and seals, one after the other. At the same time: test_log_races.py."""

import pytest
from django.db import OperationalError

from mission_control import log
from mission_control.actors import system
from mission_control.errors import Refused
from mission_control.models import Activity, Fleet, Seal, StatusCount
from tasks import transitions
from tests.conftest import DIRECTOR, a_task, claimed
from ventures import catalogue

pytestmark = pytest.mark.django_db
SYSTEM = system("test")


# ── units ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_numbers_are_dense_and_in_the_order_of_recording():
    head = log.head()
    with log.unit():
        first = log.record("activity.logged", SYSTEM, message="a")
        with log.unit():
            log.record("activity.logged", SYSTEM, message="b")
    assert first.seq == head + 1
    lines = Activity.objects.filter(seq__gt=head).order_by("seq")
    assert [(line.seq, line.message) for line in lines] == [(head + 1, "a"), (head + 2, "b")]
    assert log.head() == head + 2


def test_a_verb_that_must_answer_with_a_number_flushes_as_its_last_step():
    with log.unit():
        line = log.record("activity.logged", SYSTEM)
        assert line.seq is None
        log.flush()
        assert line.seq == Activity.objects.order_by("-seq")[0].seq


def test_a_unit_in_which_nothing_happened_takes_no_number():
    head = log.head()
    with log.unit():
        pass
    assert log.head() == head


@pytest.mark.parametrize("said", ["deadlock detected", "database is locked"])
def test_work_that_the_database_undid_is_tried_again(said):
    tries = []

    def work():
        tries.append(1)
        if len(tries) < 3:
            raise _lost(said)
        return "done"

    assert log.retried(work) == "done"
    assert len(tries) == 3


def test_a_database_that_stays_locked_is_busy_and_another_fault_is_not():
    def locked():
        raise _lost("lock timeout")

    with pytest.raises(log.Busy) as refusal:
        log.retried(locked)
    assert (refusal.value.status, refusal.value.headers()) == (503, {"Retry-After": "1"})

    def broken():
        raise OperationalError("no such table")

    with pytest.raises(OperationalError):
        log.retried(broken)


def _lost(said: str) -> OperationalError:
    error = OperationalError(said)
    cause = Exception(said)
    cause.sqlstate = {"deadlock detected": "40P01", "lock timeout": "55P03"}.get(said, "")  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


# ── freeze ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_freezing_and_thawing_are_recorded_once(operator):
    head = log.head()
    fleet = log.freeze(operator, "Too hot")
    assert (fleet.frozen_by, fleet.frozen_reason) == ("olivia", "Too hot")
    assert log.freeze(operator, "Again").frozen_reason == "Too hot"
    assert log.thaw(operator).frozen_at is None
    assert log.thaw(operator).frozen_by == ""
    kinds = Activity.objects.filter(seq__gt=head).order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == ["fleet.frozen", "fleet.thawed"]


def test_under_a_freeze_everything_but_a_claim_is_recorded(operator, ada):
    task = a_task()
    Fleet.objects.update(frozen_at=log.now())
    transitions.edit(operator, task.code, {"title": "New"})
    with pytest.raises(Refused):
        claimed(ada, task)


# ── counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_counts_are_true_whenever_they_are_folded(operator, ada, venture):
    tasks = [a_task(str(n)) for n in range(4)]
    claimed(ada, tasks[0])
    assert log.counts_by_venture() == {"default": {"ready": 3, "in_progress": 1}}
    assert log.fold_counts() == log.head()
    assert log.fold_counts() == 0
    assert log.counts_by_venture() == {"default": {"ready": 3, "in_progress": 1}}
    transitions.complete(ada, tasks[0].code)
    transitions.delete(operator, tasks[1].code)
    transitions.edit(operator, tasks[2].code, {"venture": venture})
    expected = {"default": {"ready": 1, "done": 1}, "apollo": {"ready": 1}}
    assert log.counts_by_venture() == expected
    log.fold_counts()
    assert log.counts_by_venture() == expected
    folded = {(row.venture, row.status): row.n for row in StatusCount.objects.exclude(n=0)}
    assert folded == {("default", "ready"): 1, ("default", "done"): 1, ("apollo", "ready"): 1}


# ── seals ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_untouched_log_verifies_also_where_it_is_not_sealed_yet():
    for n in range(5):
        catalogue.create(DIRECTOR, name=f"Venture {n}")
    assert log.verify_log() == (0, "")
    assert log.seal_log() == 5
    assert log.seal_log() == 0
    catalogue.create(DIRECTOR, name="One more")
    assert log.verify_log() == (5, "")


def test_the_first_bad_line_is_named():
    for n in range(4):
        catalogue.create(DIRECTOR, name=f"Venture {n}")
    log.seal_log()
    Activity.objects.filter(seq=3).update(message="It was somebody else")
    assert log.verify_log() == (2, "activity 3 was changed after it was sealed")
    Activity.objects.filter(seq=3).delete()
    assert "activity 3 is missing" in log.verify_log()[1]


def test_a_lost_end_of_the_log_is_noticed():
    for n in range(3):
        catalogue.create(DIRECTOR, name=f"Venture {n}")
    log.seal_log()
    Activity.objects.filter(seq=3).delete()
    assert "its seal is there" in log.verify_log()[1]
    Seal.objects.filter(seq=3).delete()
    assert "last seals are missing" in log.verify_log()[1]


def test_another_key_does_not_verify(settings):
    catalogue.create(DIRECTOR, name="Venture")
    log.seal_log()
    settings.LOG_KEY = "another key " * 4
    assert "sealed with key" in log.verify_log()[1]


def test_what_is_sealed_is_the_same_on_both_databases():
    """Odd numbers in what people log come back as the database gives them; the seal reads from there."""
    with log.unit():
        log.record("activity.logged", SYSTEM, data={"metadata": {"b": 10**30, "ü": "é", "n": None}})
    log.seal_log()
    assert log.verify_log()[1] == ""
