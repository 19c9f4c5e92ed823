"""The title of a new task: what is understood, what stays a word, and what a backslash keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tasks.pages.smart_line import Line, read

NOW = datetime(2030, 3, 8, 23, 30, tzinfo=ZoneInfo("America/New_York"))  # in UTC it is the ninth already


def line(text: str) -> Line:
    return read(text, {"shop", "moon-base"}, {"ada-agent", "bob"}, NOW)


def test_everything_is_understood_in_any_order_and_place():
    assert line("!High fix #shop the ~2h login @Ada-Agent #ui/forms ~$3.50 due tomorrow #Web") == Line(
        "fix the login", priority="high", venture="shop", assignee="ada-agent", tags=("ui/forms", "Web"),
        estimated_hours=Decimal("2.00"), estimated_cost_micro_usd=3_500_000,
        deadline=datetime(2030, 3, 10, 4, 59, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "Fix #4 and C# and a#b", "Mail @nobody and ada@shop", "Wow! !soon !", "about ~2 or ~h or ~$ or ~2.345h",
        "rent is due", "due soon", "due 2030-02-30", "due 9999-12-31", "#", "@", "\\", "x \\ y", "C:\\dir", f"#{'x' * 51}", "#shop, #web.",
    ],
)  # fmt: skip
def test_what_is_not_understood_stays_as_it_was_written(text):
    assert line(text) == Line(text)


@pytest.mark.parametrize("word", ["!high", "#shop", "#web", "@bob", "~2h", "~$3", "@nobody"])
def test_a_backslash_keeps_the_word(word):
    assert line(f"a \\{word} b") == Line(f"a {word} b")


def test_a_backslash_keeps_due():
    assert line("rent \\due tomorrow") == Line("rent due tomorrow")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x !low !high", "x !high"), ("x @bob @ada-agent", "x @ada-agent"), ("x #shop #moon-base", "x #moon-base"),
        ("x ~1h ~2h", "x ~2h"), ("x due today due tomorrow", "x due tomorrow"),
    ],
)  # fmt: skip
def test_what_is_said_a_second_time_stays(text, kept):
    assert line(text).title == kept


@pytest.mark.parametrize(("text", "hours"), [("~90m", "1.50"), ("~20min", "0.33"), ("~1,5h", "1.50"), ("~0h", "0.00")])
def test_hours_and_minutes(text, hours):
    assert line(text).estimated_hours == Decimal(hours)


def test_a_tag_that_is_said_twice_is_one_and_spaces_are_one():
    assert line(" a \t #web\nb #web ") == Line("a b", tags=("web",))


def test_today_ends_with_the_day_of_who_writes():
    assert line("due today").deadline == datetime(2030, 3, 9, 4, 59, tzinfo=UTC)
    assert line("due 2030-07-01").deadline == datetime(2030, 7, 2, 3, 59, tzinfo=UTC)


def test_other_words_for_a_priority_are_the_same():
    assert line("x !critical").priority == "urgent"
    assert line("x !normal").priority == "medium"
