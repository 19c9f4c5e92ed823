"""Activities as sentences for people. Not: who hears of them (live.py), how they look (templates)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from mission_control.figures import dollars
from mission_control.markdown import marked, rendered
from mission_control.models import Activity
from tasks.board import iso
from tasks.vocabulary import STATUSES, WAYS

FIELD_WORDS = {
    "estimated_cost_micro_usd": "estimated cost", "required_capabilities": "needed capabilities",
    "review_required": "review", "needs_approval": "approval", "approved_by": "approval", "sort_key": "place in the queue",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line of the feed: `who` did `sentence`, with what was said about it. `sign` is an icon class.

    What people and agents say to each other is Markdown, ready to be shown in `body`.
    """

    seq: int
    who: str
    sentence: str
    message: str
    sign: str
    level: str
    at: str
    body: SafeString | str = ""


def line(activity: Activity) -> Line:
    tell = SENTENCES.get(activity.kind)
    sentence = tell(activity, activity.data) if tell else activity.kind.replace(".", " ").replace("_", " ")
    message, body = activity.message, ""
    if activity.kind in SAY_IT_ALL:
        message = ""
    elif activity.kind in SPOKEN:
        message, body = "", marked(rendered(activity.message), activity.data.get("mentions", ()))
    sign, at = _sign(activity), iso(activity.at)
    return Line(activity.seq, _who(activity), sentence, message, sign, activity.level, at, body)


def _who(activity: Activity) -> str:
    if activity.actor_type == "system":
        return activity.agent if activity.kind in ("task.expired", "session.ended") and activity.agent else "System"
    return activity.actor


def _sign(activity: Activity) -> str:
    if activity.status_to and activity.status_to != activity.status_from:
        return f"s-{activity.status_to}"
    noun = activity.kind.split(".")[0]
    return {
        "deliverable": "i-clip", "dependency": "i-link", "session": "i-agents", "cost": "i-clock", "agent": "i-agents",
        "participant": "i-agents", "context": "i-file", "comment": "i-comment", "checkpoint": "i-comment",
        "finding": "i-comment", "plan": "i-check",
    }.get(noun, "i-edit")  # fmt: skip


def _to(activity: Activity) -> str:
    return STATUSES.get(activity.status_to, activity.status_to)


def _changed(_: Activity, data: dict[str, Any]) -> str:
    names = sorted(
        FIELD_WORDS.get(name, name.replace("_", " ")) for name in data.get("after", {})
    )  # the order of keys is the database's own
    return f"changed {', '.join(names)}" if names else "changed it"


def _moved(activity: Activity, _: dict[str, Any]) -> str:
    if activity.status_to == activity.status_from:
        return "changed its place in the queue"
    return f"moved it to {_to(activity)}"


def _progressed(_: Activity, data: dict[str, Any]) -> str:
    percent = data.get("percent")
    return f"is at {percent} %" if percent is not None else "reported"


def _spent(_: Activity, data: dict[str, Any]) -> str:
    if data.get("kind") == "adjustment":
        amount = data["amount_micro_usd"]
        return f"corrected what was spent by {'−' if amount < 0 else ''}{dollars(abs(amount))}"
    tokens = data.get("tokens_in", 0) + data.get("tokens_out", 0)
    return f"spent {dollars(data.get('amount_micro_usd', 0))} and {tokens:,} tokens"


def _planned(_: Activity, data: dict[str, Any]) -> str:
    steps = data.get("after", {}).get("steps", [])
    if data.get("how") == "written":
        return f"wrote a plan of {len(steps)} {'step' if len(steps) == 1 else 'steps'}"
    step = steps[-1] if steps else {}
    if data.get("how") == "added":
        return f"added step {step.get('number')} to the plan"
    was = (data.get("before", {}).get("steps") or [{}])[-1]
    if was.get("state") == step.get("state"):
        return f"reworded step {step.get('number')}"
    return f"{STEP_VERBS.get(step.get('state', ''), 'set back')} step {step.get('number')}"


def _handed_on(activity: Activity, data: dict[str, Any]) -> str:
    before, after = (WAYS.get(data.get(when, {}).get("via", ""), "") for when in ("before", "after"))
    return f"heard nothing from {activity.agent} by {before}: now by {after}"


STEP_VERBS = {"running": "began", "done": "finished", "failed": "failed at", "skipped": "skipped"}
SENTENCES: dict[str, Callable[[Activity, dict[str, Any]], str]] = {
    "task.created": lambda a, d: f"created it in {_to(a)}",
    "task.updated": _changed,
    "task.moved": _moved,
    "task.claimed": lambda a, d: f"claimed it, epoch {d.get('epoch')}",
    "task.started": lambda a, d: "took it in hand",
    "task.progressed": _progressed,
    "task.released": lambda a, d: f"gave it back, now {_to(a)}",
    "task.expired": lambda a, d: f"lost its lease, now {_to(a)} (failure {d.get('failures')} of {d.get('limit')})",
    "task.failed": lambda a, d: f"failed, now {_to(a)} (failure {d.get('failures')} of {d.get('limit')})",
    "task.blocked": lambda a, d: "blocked it",
    "task.unblocked": lambda a, d: f"unblocked it, now {_to(a)}",
    "task.paused": lambda a, d: "paused it",
    "task.resumed": lambda a, d: f"resumed it, now {_to(a)}",
    "task.completed": lambda a, d: f"handed it in, now {_to(a)}",
    "task.accepted": lambda a, d: "accepted it",
    "task.returned": lambda a, d: f"returned it to {_to(a)}",
    "task.cancelled": lambda a, d: "cancelled it",
    "task.reopened": lambda a, d: f"reopened it, generation {d.get('generation')}",
    "task.rated": lambda a, d: f"gave it {d.get('quality')} of 5 for quality, {d.get('timeliness')} of 5 for time",
    "task.approved": lambda a, d: "approved its start",
    "task.processed": lambda a, d: f"handed it to {a.agent} by {WAYS.get(d.get('via', ''), d.get('via'))}",
    "task.dispatched": _handed_on,
    "task.unacknowledged": lambda a, d: f"put it back in the queue: {a.agent} did not take it up",
    "task.retried": lambda a, d: "offered it again",
    "dependency.added": lambda a, d: f"made it wait for {d.get('depends_on')}",
    "dependency.removed": lambda a, d: f"no longer makes it wait for {d.get('depends_on')}",
    "deliverable.added": lambda a, d: f"handed over {d.get('title')}" + (" (orphaned)" if d.get("orphaned") else ""),
    "deliverable.adopted": lambda a, d: f"adopted {a.message}",
    "plan.changed": _planned,
    "comment.added": lambda a, d: "commented",
    "participant.joined": lambda a, d: f"joined as {d.get('role')}",
    "participant.left": lambda a, d: "left" if a.actor == a.agent else f"took {a.agent} out of it",
    "context.shared": lambda a, d: f"shared {d.get('key')}",
    "context.removed": lambda a, d: f"took back {d.get('key')}",
    "note.added": lambda a, d: "took a note",
    "checkpoint.posted": lambda a, d: "posted a checkpoint",
    "finding.shared": lambda a, d: f"shared a finding: {d['impact']}" if d.get("impact") else "shared a finding",
    "session.started": lambda a, d: f"spawned {a.session}",
    "session.ended": lambda a, d: f"ended {a.session}",
    "cost.recorded": _spent,
}
SPOKEN = ("comment.added", "checkpoint.posted", "finding.shared")
SAY_IT_ALL = {
    "deliverable.added",
    "deliverable.adopted",
    "participant.joined",
    "participant.left",
    "context.shared",
    "context.removed",
}  # the message is in the sentence already
