"""How things look in a terminal: nothing that people or agents wrote steers it."""

import json

import pytest

from mission_control.mctl import show

STEERING = "\x1b]0;title\x07\x1b[2J\u202e\x9b31m\r\U000e0041"


def test_text_of_others_steers_no_terminal_and_stays_in_its_line():
    assert show.clean(f"a{STEERING}\nb\tc") == "a]0;title[2J31m\nb\tc"
    assert show.line(f" a{STEERING}\n b\tc ") == "a]0;title[2J31m b c"


@pytest.mark.parametrize("written", [show.as_json, show.as_json_line])
def test_json_is_safe_to_look_at_and_reads_as_it_was(written):
    told = {"title": f"Grüße {STEERING} 日本"}
    said = written(told)
    assert not set(said) & set(STEERING) - set("]0;title[2J31m") and "Grüße" in said and "日本" in said
    assert json.loads(said) == told


def test_a_line_is_cut_by_the_places_it_takes():
    assert show.cut("日本語です", 6) == "日本…"
    assert show.cut("e\u0301e\u0301", 2) == "e\u0301e\u0301"
    assert show.width("日本e\u0301") == 5
