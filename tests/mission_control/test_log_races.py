"""The log under writers at the same time: dense numbers in commit order, one bell after each commit, nothing half written."""

import pytest

from mission_control import live, log
from mission_control.actors import system
from mission_control.errors import Refused
from mission_control.models import Activity, Fleet, Seal
from tests.threads import held, started, together, wait_until_stuck

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
SYSTEM = system("test")


@log.verb
def say(message, times=1):
    for _ in range(times):
        log.record("activity.logged", SYSTEM, message=message)


class Reader:
    """What a client does: asks for what comes after the last number it saw."""

    def __init__(self):
        self.cursor, self.seen = 0, []

    def read(self):
        for seq, message in (
            Activity.objects.filter(seq__gt=self.cursor).order_by("seq").values_list("seq", "message")[:500]
        ):
            self.cursor = seq
            self.seen.append((seq, message))


def test_a_reader_misses_nothing_while_a_slow_writer_commits_late():
    """A number that is taken before another and committed after it would be missed for ever."""
    reader = Reader()
    with held(lambda: say("slow")) as slow:
        with started(lambda: say("fast")) as fast:
            assert wait_until_stuck(fast), "the fast writer took a number while the slow one held an earlier one"
            reader.read()
            slow.commit()
            fast.result(20)
    reader.read()
    assert reader.seen == [(1, "slow"), (2, "fast")]


def test_sixteen_writers_at_once_leave_dense_numbers_and_a_reader_sees_each_once():
    reader = Reader()

    def write(writer):
        for n in range(15):
            say(f"{writer}.{n}", times=1 + n % 3)

    with started(lambda: together(*(lambda writer=writer: write(writer) for writer in range(16)))) as writers:
        while not writers.done():
            reader.read()
        assert writers.result() == [None] * 16
    reader.read()
    total = 16 * 15 * 2
    assert [seq for seq, _ in reader.seen] == list(range(1, total + 1))
    assert Fleet.objects.get().seq == total
    for writer in range(16):
        own = [message for _, message in reader.seen if message.startswith(f"{writer}.")]
        assert own == [f"{writer}.{n}" for n in range(15) for _ in range(1 + n % 3)], "a writer's own order is kept"


def test_the_bell_rings_once_per_commit_and_only_when_others_can_read_it(monkeypatch):
    rung = []

    def others_see():
        return max(Activity.objects.values_list("seq", flat=True), default=0)

    def ring(head):
        [seen] = together(others_see)
        rung.append((head, seen))

    monkeypatch.setattr(live, "ring", ring)
    say("one")
    say("many", times=5)
    assert rung == [(1, 1), (6, 6)]


def test_no_bell_rings_for_what_was_rolled_back(monkeypatch):
    rung = []
    monkeypatch.setattr(live, "ring", rung.append)
    with pytest.raises(RuntimeError), log.unit():
        log.record("activity.logged", SYSTEM, message="never")
        raise RuntimeError("the lights went out")
    assert rung == []
    assert (Activity.objects.count(), Fleet.objects.get().seq) == (0, 0)
    say("next")
    assert Activity.objects.get().seq == 1, "what was rolled back left no gap"


def test_a_refused_step_leaves_no_activity_and_the_rest_goes_on():
    with log.unit():
        log.record("activity.logged", SYSTEM, message="before")
        with pytest.raises(Refused), log.step():
            log.record("activity.logged", SYSTEM, message="refused")
            raise Refused("no")
        log.record("activity.logged", SYSTEM, message="after")
    assert list(Activity.objects.order_by("seq").values_list("message", flat=True)) == ["before", "after"]


def test_a_refusal_undoes_what_was_written_unless_it_keeps_it():
    for keep, kept in ((False, 0), (True, 1)):
        with pytest.raises(Refused), log.unit():
            log.record("activity.logged", SYSTEM, message=f"keep {keep}")
            raise Refused("no", keep=keep)
        assert Activity.objects.filter(message=f"keep {keep}").count() == kept


def test_nothing_is_recorded_outside_a_unit():
    with pytest.raises(RuntimeError):
        log.record("activity.logged", SYSTEM)


def test_folding_the_counts_beside_writers_loses_nothing():
    def write(writer):
        for n in range(12):
            with log.unit():
                log.record("task.created", SYSTEM, venture="v", task=f"{writer}-{n}", status_to="ready")
            with log.unit():
                log.record(
                    "task.claimed", SYSTEM, venture="v", task=f"{writer}-{n}", status_from="ready", status_to="done"
                )

    def fold():
        for _ in range(15):
            log.fold_counts()

    done = together(*(lambda writer=writer: write(writer) for writer in range(6)), fold, fold)
    assert [result for result in done if isinstance(result, Exception)] == []
    assert log.counts_by_venture() == {"v": {"done": 72}}
    log.fold_counts()
    assert log.counts_by_venture() == {"v": {"done": 72}}


def test_two_sealers_at_once_make_one_chain():
    for n in range(30):
        say(str(n))
    assert [r for r in together(*[lambda: log.seal_log(batch=10)] * 3) if isinstance(r, Exception)] == []
    log.seal_log()
    assert log.verify_log() == (30, "")


@pytest.mark.parametrize("field", ["message", "actor", "kind", "data", "at"])
def test_a_changed_line_breaks_the_chain(field):
    for n in range(5):
        say(str(n))
    log.seal_log()
    row = Activity.objects.get(seq=3)
    changed = {"data": {"x": 1}, "at": row.at.replace(year=2001)}.get(field, "changed")
    Activity.objects.filter(seq=3).update(**{field: changed})
    assert log.verify_log() == (2, "activity 3 was changed after it was sealed")


def test_a_line_sealed_over_another_past_breaks_the_chain():
    """Each seal covers the one before it: a tail that is sealed anew over another past does not fit."""
    for n in range(4):
        say(str(n))
    log.seal_log()
    Activity.objects.filter(seq=1).update(message="another past")
    Seal.objects.filter(seq=1).update(mac=log._mac("", Activity.objects.values(*log.LINE).get(seq=1)))
    assert log.verify_log() == (1, "activity 2 was changed after it was sealed")
