"""Every kind of activity on a task is told as a sentence."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mission_control.models import Activity
from tasks import transitions
from tasks.pages.feed import SENTENCES, line
from tests.conftest import a_task, claimed, fence

ROOT = Path(__file__).resolve().parents[3]


def recorded_kinds() -> set[str]:
    """The kinds that the verbs on tasks hand to the log, read from their source."""
    tree = ast.parse((ROOT / "tasks/transitions.py").read_text())
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.split(".")[0] in ("task", "dependency", "deliverable", "session")
        and node.value.count(".") == 1
        and " " not in node.value
    }


def test_each_kind_that_a_verb_records_has_a_sentence():
    silent = recorded_kinds() - set(SENTENCES) - {"task.deleted"}  # nobody reads the feed of a task that is gone
    assert silent == set()
    assert len(recorded_kinds()) > 20


@pytest.mark.django_db
def test_a_life_reads_like_a_story(operator, ada):
    task, other = a_task(priority=1), a_task("Other")
    transitions.edit(operator, task.code, {"priority": 3, "tags": ["a"]})
    transitions.add_dependency(operator, task.code, other.code)
    transitions.remove_dependency(operator, task.code, other.code)
    lease = fence(claimed(ada, task))
    transitions.progress(ada, task.code, lease, percent=40, message="Found it.")
    transitions.complete(ada, task.code, lease, summary="Done well.", review=True)
    transitions.return_(operator, task.code, reason="A comma is missing.")
    told = [line(row) for row in Activity.objects.filter(task=task.code).order_by("seq")]
    assert [(one.who, one.sentence, one.message) for one in told] == [
        ("System", "created it in Ready", ""),
        ("olivia", "changed priority, tags", ""),
        ("olivia", f"made it wait for {other.code}", ""),
        ("olivia", "blocked it", f"It waits for {other.code}"),
        ("olivia", f"no longer makes it wait for {other.code}", ""),
        ("olivia", "unblocked it, now Ready", f"It no longer waits for {other.code}"),
        ("ada", "claimed it, epoch 1", ""),
        ("ada", "is at 40 %", "Found it."),
        ("ada", "handed it in, now Review", "Done well."),
        ("olivia", "returned it to Ready", "A comma is missing."),
    ]
    assert told[-2].sign == "s-review"
    assert told[0].at.endswith("Z")
