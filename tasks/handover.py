"""What an agent will read of a task before it works on it, and the digest that binds an approval to it.

Not: who approves (approvals.py). Results of prerequisites are quoted in the briefing and stand outside: they do not
exist yet when somebody approves.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mission_control.strict_json import iso
from tasks.models import Task
from tasks.vocabulary import PRIORITIES


def handed_over(task: Task) -> dict[str, Any]:
    """All of it, under the names that people read. Needs its venture; reads its plan, its context and its parent."""
    venture, parent = task.venture, task.parent
    return {
        "title": task.title,
        "description": task.description,
        "success criteria": [shown_criterion(criterion) for criterion in task.success_criteria],
        "plan": list(task.plan.values_list("title", flat=True)),
        "shared context": {entry.key: entry.value for entry in task.context.order_by("key")},
        "priority": PRIORITIES[task.priority],
        "deadline": iso(task.deadline),
        "hand in": "review" if task.review_required or venture.review_required else "done",
        "parent": f"{parent.code} {parent.title}" if parent else None,
        "venture": venture.name,
        "repository": venture.repo_url,
        "default branch": venture.default_branch,
        "branch": task.branch,
        "context file": venture.context_file,
        "workspace": venture.workspace,
    }


def digest(task: Task) -> str:
    """SHA-256 of what will be handed over, as it is now."""
    text = json.dumps(handed_over(task), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_stale(task: Task) -> bool:
    """Whether it was approved, and reads differently now."""
    return task.approved_at is not None and digest(task) != task.approved_hash


def shown_criterion(criterion: dict[str, Any]) -> str:
    """`Tests pass`, or with what it is held against: `Coverage: 90`"""
    expected = criterion.get("measurable")
    return f"{criterion['criterion']}: {expected}" if isinstance(expected, str) else str(criterion["criterion"])
