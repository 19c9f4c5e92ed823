"""Ages as commands take them: 90d, 36h, 2w."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import timedelta

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def age(text: str) -> timedelta:
    """For `add_argument(type=…)`: a whole number of hours, days or weeks, up to a century."""
    found = re.fullmatch(r"([0-9]{1,6})([hdw])", text)
    read = int(found[1]) * UNITS[found[2]] if found else timedelta()
    if not timedelta() < read < timedelta(days=36_525):
        raise ArgumentTypeError("give a number of hours, days or weeks: 36h, 90d, 12w")
    return read
