"""Which lines of the log outlast a pruning: as long as a task is open, what was said about it and who wrote and did what.

Comments, checkpoints and findings are read for as long as somebody may work on it; the rest says whose text and whose
work it is, which decides who may approve and judge it. Not: the pruning (mission_control/keeping/retention.py).
"""

from __future__ import annotations

from django.db.models import Q

from mission_control.keeping import retention
from tasks.approvals import WROTE
from tasks.models import Task
from tasks.pages.feed import SPOKEN
from tasks.transitions import WORKED


def register() -> None:
    """Tell the floor which lines stay. Called once, when the app is ready."""
    retention.lasting.append(lines_of_open_tasks)


def lines_of_open_tasks() -> Q:
    return Q(kind__in=(*SPOKEN, *WROTE, *WORKED), task__in=Task.objects.open().values("code"))
