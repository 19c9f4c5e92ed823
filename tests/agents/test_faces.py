"""How an agent looks: the same colour for the same name, a letter for everybody, silence in its own measure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agents.faces import HUES, hue_of, is_silent, letter_of
from agents.models import Agent

NOW = datetime(2031, 5, 4, tzinfo=UTC)


def test_a_name_has_one_colour_of_those_there_are():
    hues = [hue_of(f"agent-{n}") for n in range(200)]
    assert set(hues) == set(range(HUES))
    assert hue_of("agent-7") == hues[7]


@pytest.mark.parametrize(
    ("name", "avatar", "letter"), [("ada", "", "A"), ("  <b>", "", "B"), ("…", "", "?"), ("x", "🦊", "🦊")]
)
def test_everybody_has_a_letter(name, avatar, letter):
    assert letter_of(name, avatar) == letter


@pytest.mark.parametrize(
    ("interval", "seconds", "silent"), [(30, 60, False), (30, 80, True), (None, 300, False), (None, 700, True)]
)
def test_silence_is_measured_by_what_the_agent_promised(settings, interval, seconds, silent):
    settings.IDLE_WARNING_SECONDS = 600
    agent = Agent(slug="a", name="a", heartbeat_interval=interval)
    assert is_silent(agent, NOW - timedelta(seconds=seconds), NOW) is silent
    assert is_silent(agent, None, NOW) is False
