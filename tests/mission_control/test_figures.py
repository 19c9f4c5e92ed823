"""Numbers as people read them."""

from __future__ import annotations

import pytest

from mission_control.figures import compact, dollars, grouped
from mission_control.money import typed_decimal


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (18_230, "18.2k"),
        (310_400, "310k"),
        (1_400_000, "1.4M"),
        (2 * 10**9, "2B"),
    ],
)
def test_tokens_are_short(number, text):
    assert compact(number) == text


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "$0.00"), (3_000, "$0.003"), (2_562, "$0.0026"), (420_000, "$0.42"), (1_204_500_000, "$1,204.50"), (None, "")],
)
def test_money_is_in_cents_and_finer_only_below_one(micro, text):
    assert dollars(micro) == text


def test_thousands_are_set_apart():
    assert [grouped(number) for number in (0, 999, 12_481)] == ["0", "999", "12\u202f481"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("$1,250.50", "1250.50"), ("1,000", "1000"), ("12,5", "12.5"), ("0,125", "0.125"), (" 7 ", "7"), ("lots", "lots")],
)
def test_a_comma_groups_thousands_or_stands_before_the_decimals(typed, meant):
    assert typed_decimal(typed) == meant
