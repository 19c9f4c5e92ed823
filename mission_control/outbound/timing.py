"""When something is told to a person: digests and quiet hours by their own clock. Not: who chose them (channels.py)."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


def next_moment(
    now: datetime, zone: ZoneInfo, *, digest: str = "off", digest_at: time = time(8),
    quiet: tuple[time, time] | None = None,
) -> datetime:  # fmt: skip
    """The first moment from `now` on that is a time of the digest and not within the quiet hours. In UTC.

    `digest` is off (any moment), hourly (the full hour there) or daily (at `digest_at`). `quiet` is from when until
    when, over midnight if the second is earlier; what falls in it comes at its end.
    """
    local = now.astimezone(zone)
    if digest == "hourly":
        # By UTC: an hour that the clock repeats or leaves out is one hour all the same.
        behind = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        local = (now - behind + (timedelta(hours=1) if behind else timedelta())).astimezone(zone)
    elif digest == "daily":
        local = _next(local, digest_at, zone)
    if quiet and is_within(local.time(), *quiet):
        local = _next(local, quiet[1], zone)
    return local.astimezone(UTC)


def is_within(moment: time, begin: time, end: time) -> bool:
    """From `begin` on and before `end`."""
    return begin <= moment < end if begin < end else moment >= begin or moment < end


def _next(local: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The first time from `local` on at which clocks there show `at`."""
    for days in range(3):
        moment = datetime.combine(local.date() + timedelta(days=days), at, zone).astimezone(UTC)
        if moment >= local.astimezone(UTC):
            return moment.astimezone(zone)
    raise AssertionError("unreachable")
