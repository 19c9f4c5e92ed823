"""The critical path: the longest chain of unfinished tasks that wait for each other, and the graph for Graphviz."""

from __future__ import annotations

from typing import Any

from .show import line

FINISHED = ("done", "cancelled")
USUAL_HOURS = 1.0  # of a task that nobody estimated


def critical_path(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chain with most estimated hours, first to last; without estimates, the one with most tasks. Of two that are as
    long, the one whose last task is older."""
    known = {task["id"]: task for task in tasks if task["status"] not in FINISHED}
    longest: dict[str, tuple[float, str]] = {}  # code → (hours up to and with it, the one before it)
    for code in _in_order(known):
        before = [(longest[one][0], one) for one in known[code]["depends_on"] if one in longest]
        hours, previous = max(before, key=lambda pair: pair[0], default=(0.0, ""))
        longest[code] = (hours + _hours(known[code]), previous)
    chain: list[dict[str, Any]] = []
    code = min(longest, key=lambda one: (-longest[one][0], known[one]["created_at"]), default="")
    while code:
        chain.append(known[code])
        code = longest[code][1]
    return chain[::-1]


def hours(chain: list[dict[str, Any]]) -> float:
    return sum(_hours(task) for task in chain)


def dot(tasks: list[dict[str, Any]]) -> str:
    """What waits for what, in the language of Graphviz; the critical path is bold."""
    known = {task["id"]: task for task in tasks if task["status"] not in FINISHED}
    chain = [task["id"] for task in critical_path(tasks)]
    bold = set(zip(chain, chain[1:]))
    lines = ["digraph tasks {", "  rankdir=LR;", "  node [shape=box];"]
    for code, task in known.items():
        heavy = " style=bold" if code in chain else ""
        lines.append(f'  "{code}" [label="{_quoted(task["title"])}\\n{code} {task["status"]}"{heavy}];')
    for code, task in known.items():
        for one in task["depends_on"]:
            if one in known:
                lines.append(f'  "{one}" -> "{code}"{" [style=bold]" if (one, code) in bold else ""};')
    return "\n".join([*lines, "}"])


def _in_order(known: dict[str, dict[str, Any]]) -> list[str]:
    """Codes, each behind all it depends on. There are no circles: the server refuses them."""
    order: dict[str, None] = {}
    for start in known:
        stack = [start]
        while stack:
            code = stack[-1]
            open_ = [one for one in known[code]["depends_on"] if one in known and one not in order and one not in stack]
            if open_:
                stack.append(open_[0])
            else:
                order[stack.pop()] = None
    return list(order)


def _hours(task: dict[str, Any]) -> float:
    return USUAL_HOURS if task["estimated_hours"] is None else float(task["estimated_hours"])


def _quoted(title: str) -> str:
    return line(title).replace("\\", "\\\\").replace('"', '\\"')
