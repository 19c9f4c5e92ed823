"""A flush with a moment: for a past that happened elsewhere. The log still goes forward in time."""

from datetime import timedelta

import pytest

from mission_control import log
from mission_control.actors import system
from mission_control.models import Activity

pytestmark = pytest.mark.django_db
WHO = system("import")


def test_lines_carry_the_given_moment_and_the_rest_of_the_unit_the_clock():
    now = log.now()
    moment = now - timedelta(days=3)
    with log.unit():
        log.record("activity.logged", WHO, message="one")
        log.record("activity.logged", WHO, message="two")
        log.flush(moment)
        log.record("activity.logged", WHO, message="three")
    told = dict(Activity.objects.values_list("message", "at"))
    assert told["one"] == told["two"] == moment
    assert told["three"] >= now
    log.seal_log()
    assert log.verify_log() == (3, "")


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_moment_before_the_last_line_or_after_now_is_refused_and_nothing_is_written(hours):
    with log.unit():
        log.record("activity.logged", WHO)
    earlier = log.now() - timedelta(hours=1)
    Activity.objects.update(at=earlier)
    with pytest.raises(ValueError, match="forward in time"), log.unit():
        log.record("activity.logged", WHO)
        log.flush(earlier + timedelta(hours=hours))
    assert log.head() == 1
