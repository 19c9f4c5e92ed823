"""What the command palette finds by a few words: tasks, agents, ventures. Only reads. Not: what it can do (palette.js)."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from agents.models import Agent
from tasks.models import Task
from tasks.vocabulary import OPEN, STATUSES
from ventures.models import Venture

TASKS, OTHERS = 8, 4


@dataclass(frozen=True)
class Hit:
    """One line: where it leads, how it looks, and the task that opens over the board."""

    href: str
    label: str
    hint: str
    icon: str = ""
    emoji: str = ""
    code: str = ""


def find(words: str) -> list[tuple[str, list[Hit]]]:
    """`[(heading, hits)]`, what fits best first, groups without a hit left out. Nothing for fewer than two letters."""
    words = words.strip()[:100]
    if len(words) < 2:
        return []
    groups = [("Tasks", _tasks(words)), ("Agents", _agents(words)), ("Ventures", _ventures(words))]
    return [(heading, hits) for heading, hits in groups if hits]


def _tasks(words: str) -> list[Hit]:
    """By the beginning of the code, else by all words; open ones before the rest, newest first."""
    tasks = Task.objects.select_related("venture").order_by("-id")
    found = list(tasks.filter(code__startswith=words.lower())[:TASKS])
    if not found:
        matching = tasks.matching(words)
        found = list(matching.filter(status__in=OPEN)[:TASKS])
        found += list(matching.exclude(status__in=OPEN)[: TASKS - len(found)])
    return [
        Hit(f"/tasks/{t.code}", t.title, f"{t.venture.name} · {STATUSES[t.status]}", icon=f"s-{t.status}", code=t.code)
        for t in found
    ]


def _agents(words: str) -> list[Hit]:
    agents = Agent.objects.filter(Q(name__icontains=words) | Q(slug__startswith=words.lower())).order_by("name")
    return [Hit(f"/agents/{a.slug}", a.name, a.role or a.slug, icon="i-agents") for a in agents[:OTHERS]]


def _ventures(words: str) -> list[Hit]:
    ventures = Venture.objects.filter(Q(name__icontains=words) | Q(slug__startswith=words.lower())).order_by("name")
    return [Hit(f"/ventures/{v.slug}/board", v.name, "Board", emoji=v.icon) for v in ventures[:OTHERS]]
