"""All runs as people look through them: live ones first, then what is over, newest first. Only reads. Not: HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from urllib.parse import urlencode

from django.db.models import QuerySet

from agents.faces import face, face_at_work
from agents.models import Agent
from mission_control import log
from tasks.models import Session
from tasks.pages.details import SessionLine
from tasks.vocabulary import SESSION_STATES, SESSION_TYPES
from ventures.models import Venture

LIVE_MOST, PAGE, MOST = 200, 50, 500
TYPE_WORDS = {"primary": "Attempts", "subagent": "Sub-agents", "persistent": "Persistent"}


@dataclass(frozen=True)
class Choice:
    """One field of the filter. `options` are values with their labels."""

    name: str
    label: str
    options: list[tuple[str, str]]
    chosen: str


class Sessions:
    """What the address asks for. A value that makes no sense is left out; `most` is how many that are over are shown."""

    def __init__(self, query: Mapping[str, str], most: int = PAGE) -> None:
        self.most = max(PAGE, min(most, MOST))
        self.choices = [
            _choice(query, "state", "State", [(state, state.capitalize()) for state in SESSION_STATES]),
            _choice(query, "type", "Sort", [(word, TYPE_WORDS.get(word, word)) for word in SESSION_TYPES]),
            _choice(query, "agent", "Agent", list(Agent.objects.order_by("name").values_list("slug", "name"))),
            _choice(query, "venture", "Venture", list(Venture.objects.values_list("slug", "name"))),
        ]

    @property
    def chosen(self) -> dict[str, str]:
        return {choice.name: choice.chosen for choice in self.choices if choice.chosen}

    @property
    def address(self) -> str:
        """The page with these filters and as much of it."""
        more = {"most": str(self.most)} if self.most > PAGE else {}
        asked = urlencode({**self.chosen, **more})
        return f"/sessions?{asked}" if asked else "/sessions"

    @property
    def address_of_more(self) -> str:
        return f"/sessions?{urlencode({**self.chosen, 'most': self.most + PAGE})}"

    @cached_property
    def live(self) -> list[SessionLine]:
        return [self._line(session) for session in self._found.filter(ended_at=None)[:LIVE_MOST]]

    @property
    def over(self) -> list[SessionLine]:
        return [self._line(session) for session in self._over[: self.most]]

    @property
    def has_more(self) -> bool:
        return len(self._over) > self.most and self.most < MOST

    @cached_property
    def _over(self) -> list[Session]:
        return list(self._found.filter(ended_at__isnull=False)[: self.most + 1])

    @property
    def _found(self) -> QuerySet[Session]:
        columns = {"state": "state", "type": "type", "agent": "agent__slug", "venture": "task__venture__slug"}
        asked = {columns[name]: value for name, value in self.chosen.items()}
        return Session.objects.filter(**asked).select_related("agent", "task", "task__venture").order_by("-id")

    @cached_property
    def _moment(self) -> datetime:
        return log.now()

    def _line(self, session: Session) -> SessionLine:
        worn = face(session.agent, "still")
        if session.ended_at is None:
            worn = face_at_work(session.agent, [session], self._moment)
        return SessionLine(session, worn)


def _choice(query: Mapping[str, str], name: str, label: str, options: list[tuple[str, str]]) -> Choice:
    asked = query.get(name, "")
    return Choice(name, label, options, asked if asked in dict(options) else "")
