"""Digests and quiet hours by the clock of a person."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from mission_control.outbound.timing import next_moment

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (time(22), time(7))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "chosen", "then"),
    [
        ("2026-06-01T12:00", {}, "2026-06-01T12:00"),
        ("2026-06-01T19:59", {"quiet": NIGHT}, "2026-06-01T19:59"),
        ("2026-06-01T20:00", {"quiet": NIGHT}, "2026-06-02T05:00"),
        ("2026-06-02T03:00", {"quiet": NIGHT}, "2026-06-02T05:00"),
        ("2026-06-02T05:00", {"quiet": NIGHT}, "2026-06-02T05:00"),
        ("2026-06-01T11:00", {"quiet": (time(12), time(14))}, "2026-06-01T12:00"),
        ("2026-06-01T12:10", {"digest": "hourly"}, "2026-06-01T13:00"),
        ("2026-06-01T12:00", {"digest": "hourly"}, "2026-06-01T12:00"),
        ("2026-06-01T20:30", {"digest": "hourly", "quiet": NIGHT}, "2026-06-02T05:00"),
        ("2026-06-01T05:59", {"digest": "daily"}, "2026-06-01T06:00"),
        ("2026-06-01T06:01", {"digest": "daily"}, "2026-06-02T06:00"),
        ("2026-06-01T06:01", {"digest": "daily", "digest_at": time(5), "quiet": NIGHT}, "2026-06-02T05:00"),
        # The clock goes back on 25 October and forward on 29 March: 02:30 is there twice, and not at all.
        ("2026-10-24T21:00", {"quiet": NIGHT}, "2026-10-25T06:00"),
        ("2026-10-25T00:10", {"digest": "hourly"}, "2026-10-25T01:00"),
        ("2027-03-28T00:10", {"digest": "hourly"}, "2027-03-28T01:00"),
        ("2027-03-27T12:00", {"digest": "daily", "digest_at": time(2, 30)}, "2027-03-28T01:30"),
    ],
)  # fmt: skip
def test_the_first_moment_that_suits_the_digest_and_is_not_in_the_quiet_hours(now, chosen, then):
    assert next_moment(utc(now), BERLIN, **chosen) == utc(then)
