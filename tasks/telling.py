"""Who is told of what happens to tasks and to those who work on them. Rules over lines of the log; they only read."""

from __future__ import annotations

from collections.abc import Iterable

from mission_control.models import Activity, User
from mission_control.outbound import notifications
from mission_control.outbound.notifications import Recipient, operators
from tasks.hints import assigns
from tasks.models import Session, Task
from tasks.vocabulary import FAILED, REVIEW

YOURS = ("task.returned", "task.accepted", "task.cancelled", "task.paused", "task.reopened", "task.retried")


def register() -> None:
    """Tell the floor. Called once, when the app is ready."""
    for rule in (of_operators, of_mentioned, of_assignees, of_the_team, of_creators, of_processors):
        notifications.tell(rule)


def of_operators(line: Activity) -> Iterable[tuple[Recipient, str]]:
    """What waits for a person: a verdict, an answer, a task that failed too often, an agent that went silent at work."""
    reason = ""
    if line.status_to == REVIEW and line.status_from != REVIEW:
        reason = "review"
    elif line.kind == "task.blocked" and line.data.get("kind") == "needs_input":
        reason = "question"
    elif line.status_to == FAILED and line.kind in ("task.failed", "task.expired"):
        reason = "failed"
    elif _wants_approval(line):
        reason = "approval"
    elif line.kind in ("budget.warned", "budget.exceeded"):
        reason = "budget"
    elif line.kind == "agent.went_offline" and Task.objects.filter(holder__slug=line.agent).exists():
        reason = "idle"
    return [(who, reason) for who in operators()] if reason else []


def _wants_approval(line: Activity) -> bool:
    """It is new and has to be approved, or its approval was of another text."""
    if line.data.get("approval_withdrawn"):
        return True
    before, after = line.data.get("before", {}), line.data.get("after", {})
    if line.kind == "task.updated" and before.get("approved_by") and not after.get("approved_by", "x"):
        return True
    asked = line.kind in ("task.created", "task.updated") and after.get("needs_approval") is True
    return asked and not before.get("needs_approval")


def of_mentioned(line: Activity) -> Iterable[tuple[Recipient, str]]:
    if line.kind != "comment.added":
        return []
    named = line.data.get("mentions", [])
    if not named:
        return []
    people = set(User.objects.filter(username__in=named, is_active=True).values_list("username", flat=True))
    return [(("user" if name in people else "agent", name), "mention") for name in named]


def of_assignees(line: Activity) -> Iterable[tuple[Recipient, str]]:
    """What an agent is meant to do, and what others decided about its work."""
    if line.kind == "task.unblocked" and line.agent:
        return [(("agent", line.agent), "unblocked")]
    if assigns(line) and line.agent:
        return [(("agent", line.agent), "assigned")]
    if line.kind not in YOURS:
        return []
    worked = Session.objects.attempts().filter(task__code=line.task).order_by("-id")
    return [(("agent", slug), "yours") for slug in worked.values_list("agent__slug", flat=True)[:1]]


def of_the_team(line: Activity) -> Iterable[tuple[Recipient, str]]:
    """Those who take part hear a checkpoint, a finding, and that what held the task up is done.

    Who was taken in, or out, by somebody else hears of that.
    """
    if line.kind in ("participant.joined", "participant.left"):
        return [(("agent", line.agent), "team")]
    if line.kind in ("checkpoint.posted", "finding.shared"):
        return [(("agent", slug), "team") for slug in line.data.get("participants", [])]
    if line.kind == "task.unblocked":
        joined = Task.objects.filter(code=line.task).values_list("participants__agent__slug", flat=True)
        return [(("agent", slug), "unblocked") for slug in joined if slug]
    return []


def of_creators(line: Activity) -> Iterable[tuple[Recipient, str]]:
    """Whoever asked for it learns what became of it, unless it is told as an operator anyway."""
    if line.kind not in ("task.completed", "task.failed", "task.expired", "task.blocked", "task.returned"):
        return []
    if line.kind in ("task.failed", "task.expired") and line.status_to != FAILED:
        return []
    if line.kind == "task.blocked" and line.data.get("kind") == "dependency":
        return []
    made = Task.objects.filter(code=line.task).values_list("created_by_type", "created_by").first()
    return [((made[0], made[1]), "yours")] if made and made[0] in ("user", "agent") else []


def of_processors(line: Activity) -> Iterable[tuple[Recipient, str]]:
    """Whoever handed a task over learns that nobody took it up."""
    if line.kind != "task.unacknowledged":
        return []
    handed = Activity.objects.filter(task=line.task, kind="task.processed", seq__lt=line.seq).order_by("-seq").first()
    return [((handed.actor_type, handed.actor), "yours")] if handed and handed.actor_type in ("user", "agent") else []
