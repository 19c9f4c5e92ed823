"""How an agent looks on the screens: letter, colour, state in words. Not: what the state is (roster.state_of)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from agents.models import Agent
from agents.roster import state_of

HUES = 12  # as many as avatar.css knows
STATES = {
    "pending_claim": "waits to be claimed",
    "available": "available",
    "busy": "busy",
    "idle": "idle",
    "offline": "offline",
    "error": "error",
}


@dataclass(frozen=True)
class Face:
    """`letter` is the emoji of the agent or its initial; `hue` a number from 0 to 11; `state` a key of STATES or ""."""

    slug: str
    name: str
    letter: str
    hue: int
    state: str = ""

    @property
    def state_label(self) -> str:
        return STATES.get(self.state, self.state)


def hue_of(slug: str) -> int:
    """Always the same colour for the same name, also for an agent that is gone."""
    return zlib.crc32(slug.encode()) % HUES


def letter_of(name: str, avatar: str = "") -> str:
    return avatar or next((character.upper() for character in name if character.isalnum()), "?")


def face(agent: Agent, state: str = "") -> Face:
    return Face(agent.slug, agent.name, letter_of(agent.name, agent.avatar), hue_of(agent.slug), state)


def stranger(slug: str, name: str = "") -> Face:
    """The face of somebody of whom only the name is kept."""
    return Face(slug, name or slug, letter_of(name or slug), hue_of(slug))


def is_silent(agent: Agent, heartbeat_at: datetime | None, moment: datetime) -> bool:
    """Whether the holder of a lease has been quiet for longer than it said it would be, or than the idle limit."""
    if heartbeat_at is None:
        return False
    seconds = agent.heartbeat_interval * 2.5 if agent.heartbeat_interval else settings.IDLE_WARNING_SECONDS
    return moment - heartbeat_at > timedelta(seconds=seconds)


def face_at_work(agent: Agent, leases: list[Any], moment: datetime) -> Face:
    """`leases`: the tasks it holds, with `heartbeat_at`."""
    silent = bool(leases) and all(is_silent(agent, lease.heartbeat_at, moment) for lease in leases)
    return face(agent, state_of(agent, len(leases), moment, silent))
