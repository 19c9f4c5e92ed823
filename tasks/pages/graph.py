"""The tasks around one task as a small picture: what it waits for on the left, what waits for it on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.models import Dependency, Task
from tasks.vocabulary import STATUSES

STEPS, EACH = 2, 6  # levels on either side, tasks in a level
WIDTH, HEIGHT, ACROSS, DOWN = 132, 30, 34, 8  # of a node, and between nodes, in pixels


@dataclass(frozen=True)
class Node:
    code: str
    title: str
    status: str
    x: int
    y: int
    here: bool

    @property
    def status_label(self) -> str:
        return STATUSES[self.status]


@dataclass(frozen=True)
class Graph:
    """`edges`: paths from the task that is waited for to the one that waits. `more`: tasks that found no place."""

    nodes: list[Node]
    edges: list[str]
    more: int
    width: int
    height: int
    node_width = WIDTH
    node_height = HEIGHT


def around(task: Task) -> Graph | None:
    """At most STEPS levels on either side, EACH tasks in a level; None when a list says it as well. Six queries."""
    levels, more = {0: [task.pk]}, 0
    seen = {task.pk}
    for side, here, there in ((-1, "task", "depends_on"), (1, "depends_on", "task")):
        for step in range(1, STEPS + 1):
            met = _next(levels[side * (step - 1)], here, there, seen)
            if not met:
                break
            levels[side * step], more = met[:EACH], more + len(met[EACH:])
            seen.update(met)
    placed = [pk for level in levels.values() for pk in level]
    if len(placed) < 4:
        return None
    tallest, first = max(map(len, levels.values())), min(levels)
    height = tallest * (HEIGHT + DOWN) - DOWN
    spots = {}
    for level, pks in levels.items():
        top = (height - (len(pks) * (HEIGHT + DOWN) - DOWN)) // 2
        for row, pk in enumerate(pks):
            spots[pk] = ((level - first) * (WIDTH + ACROSS), top + row * (HEIGHT + DOWN))
    told = Task.objects.filter(pk__in=placed).values_list("pk", "code", "title", "status")
    nodes = [Node(code, title, status, *spots[pk], pk == task.pk) for pk, code, title, status in told]
    links = Dependency.objects.filter(task__in=placed, depends_on__in=placed).values_list("depends_on", "task")
    edges = [_path(spots[waited], spots[waits]) for waited, waits in links]
    return Graph(nodes, edges, more, len(levels) * (WIDTH + ACROSS) - ACROSS, height)


def _next(level: Sequence[int], here: str, there: str, seen: set[int]) -> list[int]:
    links = Dependency.objects.filter(**{f"{here}__in": level}).order_by("id").values_list(there, flat=True)
    return [pk for pk in dict.fromkeys(links[:1000]) if pk not in seen]


def _path(start: tuple[int, int], end: tuple[int, int]) -> str:
    """A curve from the right side of one node to the left side of another."""
    x1, y1, x2, y2 = start[0] + WIDTH, start[1] + HEIGHT // 2, end[0], end[1] + HEIGHT // 2
    bend = max(abs(x2 - x1) // 2, ACROSS // 2)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
