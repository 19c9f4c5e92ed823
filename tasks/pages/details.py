"""What the drawer and the page of a task show. Only reads. Not: HTML (templates), verbs (transitions.py)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from django.db.models import F, Q

from agents.faces import Face, face, face_at_work, letter_of
from agents.models import Agent
from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import NotThere
from mission_control.figures import compact, dollars
from mission_control.markdown import rendered
from mission_control.models import Activity
from mission_control.money import to_usd
from tasks import audit, explain, handover, transitions
from tasks.audit import AuditLine
from tasks.board import reason_of
from tasks.briefing import as_text
from tasks.collaboration_models import ContextEntry, Note, PlanStep
from tasks.dispatching import dispatch
from tasks.dispatching.candidates import Candidate, candidates
from tasks.models import Deliverable, Session, Task
from tasks.pages.feed import SPOKEN, Line, line
from tasks.pages.gate_steps import Step, step
from tasks.pages.graph import Graph, around
from tasks.pages.preview import Preview, kind_shown, preview
from tasks.revealing import revealed
from tasks.teamwork import collaboration
from tasks.teamwork.plan import OVER
from tasks.vocabulary import (
    APPROVABLE,
    ASSIGNED,
    CANCELLED,
    DONE,
    IN_PROGRESS,
    INBOX,
    PRIORITIES,
    READY,
    STATUSES,
    WAYS,
)

ACTIVITIES = 50
CANDIDATES = 8
TABS = {
    "overview": "Overview", "activity": "Activity", "deliverables": "Deliverables", "sessions": "Sessions",
    "context": "Context", "audit": "Audit",
}  # fmt: skip


@dataclass(frozen=True)
class Verb:
    """A button. `ask`: the title of the question for a reason that comes first; `tone`: primary, danger or quiet."""

    name: str
    label: str
    hint: str
    tone: str = ""
    ask: str = ""
    ask_label: str = "Reason"
    ask_required: bool = False


VERBS = {
    verb.name: verb
    for verb in (
        Verb("accept", "Accept", "The result is good: done", "primary"),
        Verb("return", "Return", "Back to work, with what is missing", ask="What is missing?", ask_label="For whoever takes it up", ask_required=True),
        Verb("resume", "Resume", "Back to where it was", "primary"),
        Verb("unblock", "Unblock", "It may go on", "primary", ask="What is the answer?", ask_label="Answer"),
        Verb("retry", "Retry", "Offer it again with a clean count", "primary"),
        Verb("to-ready", "Move to Ready", "Put it in the queue"),
        Verb("process", "Process", "Choose an agent and hand it over"),
        Verb("start", "Start", "Take it in hand yourself"),
        Verb("complete", "Complete", "Hand it in", ask="What came out of it?", ask_label="Summary"),
        Verb("release", "Release", "End the lease; it goes back unfinished", ask="Release this task?"),
        Verb("pause", "Pause", "Hold it back", ask="Pause this task?"),
        Verb("block", "Block", "It waits for an answer", ask="What does it wait for?", ask_label="Question", ask_required=True),
        Verb("to-inbox", "Move to Inbox", "Take it out of the queue"),
        Verb("reopen", "Reopen", "Back to the queue as a new generation", ask="Reopen this task?"),
        Verb("cancel", "Cancel", "Stop it for good", "danger", ask="Cancel this task?"),
    )
}  # fmt: skip


def verbs(actor: Actor, task: Task) -> list[Verb]:
    """The buttons this person may press now."""
    allowed = set(transitions.allowed_verbs(actor, task))
    if actor.can("orchestrate"):
        if task.status in (INBOX, ASSIGNED):
            allowed.add("to-ready")
        if task.status in (READY, ASSIGNED):
            allowed.add("to-inbox")
    return [verb for name, verb in VERBS.items() if name in allowed]


@dataclass(frozen=True)
class Tab:
    key: str
    label: str
    count: int


@dataclass(frozen=True)
class Other:
    """A task on the other end of a dependency."""

    code: str
    title: str
    status: str

    @property
    def status_label(self) -> str:
        return STATUSES[self.status]


@dataclass
class SessionLine:
    """One run. `retried`: the attempt that failed before it. `tail`: what it last did, newest first, while it is live."""

    session: Session
    agent: Face
    children: list[SessionLine] = field(default_factory=list)
    retried: Session | None = None
    tail: list[Line] = field(default_factory=list)

    @property
    def tokens(self) -> str:
        return compact(self.session.tokens)

    @property
    def cost(self) -> str:
        return dollars(self.session.cost_micro_usd)

    @property
    def tone(self) -> str:
        return {
            "running": "s-in_progress", "completed": "s-done", "failed": "s-failed", "waiting": "s-blocked",
            "paused": "s-paused",
        }.get(self.session.state, "")  # fmt: skip

    @property
    def output(self) -> str:
        """What it handed in beside the summary: a text as it is, anything else as JSON that people can read."""
        given = self.session.output
        if given in (None, "", self.session.summary):
            return ""
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, indent=2)

    @property
    def given(self) -> str:
        """The briefing that was handed over with it, as text; "" when it was claimed without."""
        told = self.session.context_provided
        return as_text(told) if told else ""

    @property
    def seconds(self) -> int:
        ended = self.session.ended_at
        return int((ended - self.session.started_at).total_seconds()) if ended else 0

    @property
    def duration(self) -> str:
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@dataclass(frozen=True)
class DeliverableLine:
    """`preview`: how it looks, where the reader has unfolded it."""

    row: Deliverable
    size: str
    preview: Preview | None = None

    @property
    def opens(self) -> str:
        """The address that shows it; "" when there is nothing that is safe to show."""
        if self.row.type == "url" and self.row.path.lower().startswith(("http://", "https://")):
            return self.row.path
        return f"{self.url}/open" if self.row.file and kind_shown(self.row) else ""

    @property
    def has_preview(self) -> bool:
        return bool(self.row.file and kind_shown(self.row))

    @property
    def downloads(self) -> str:
        return f"{self.url}/file" if self.row.file else ""

    @property
    def url(self) -> str:
        return f"/tasks/{self.row.task.code}/deliverables/{self.row.number}"

    @property
    def sign(self) -> str:
        return {"url": "i-link", "file": "i-file"}.get(self.row.type, "i-clip")


# Which lines the activity tab shows alone: key → (label, condition).
LINES = {
    "spoken": ("Comments", Q(kind__in=SPOKEN)),
    "status": ("Status", ~Q(status_to="") & ~Q(status_to=F("status_from"))),
    "results": ("Results", Q(kind__in=("deliverable.added", "deliverable.adopted", "task.completed"))),
}
TAIL = 6  # lines of a live session
SHARED = 200  # entries, and notes, that the drawer shows
STEP_SIGNS = {
    "pending": "s-ready", "running": "s-in_progress", "done": "s-done", "failed": "s-failed", "skipped": "s-cancelled",
}  # fmt: skip


@dataclass(frozen=True)
class StepLine:
    """A step of the plan. `current`: somebody is at it now."""

    row: PlanStep
    current: bool

    @property
    def sign(self) -> str:
        return STEP_SIGNS[self.row.state]

    @property
    def is_over(self) -> bool:
        return self.row.state in OVER


@dataclass(frozen=True)
class ContextLine:
    row: ContextEntry

    @property
    def text(self) -> str:
        """What was shared, if it is a text."""
        return self.row.value if isinstance(self.row.value, str) else ""

    @property
    def json(self) -> str:
        """Anything else, as JSON that people can read."""
        if isinstance(self.row.value, str):
            return ""
        return json.dumps(self.row.value, ensure_ascii=False, indent=2)


@dataclass(frozen=True)
class Approval:
    """`parts`: names with pieces of text, each piece with the hidden character behind it. `given`: as it reads now."""

    hash: str
    parts: list[tuple[str, list[tuple[str, str]]]]
    given: bool

    @property
    def hidden(self) -> int:
        return sum(bool(name) for _, pieces in self.parts for _, name in pieces)


def _as_read(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=2) if value else ""
    return value or ""


class Details:
    """One task with everything around it; each part is read when a template asks for it."""

    def __init__(self, actor: Actor, code: str) -> None:
        found = Task.objects.visible_to(actor).select_related("venture", "assignee", "holder", "held_by", "parent")
        task = found.filter(code=code).first()
        if task is None:
            raise NotThere("There is no such task.")
        self.actor, self.task = actor, task

    @property
    def verbs(self) -> list[Verb]:
        return verbs(self.actor, self.task)

    @property
    def tabs(self) -> list[Tab]:
        counts = {
            "activity": Activity.objects.filter(task=self.task.code).count(),
            "deliverables": self.task.deliverables.count(),
            "sessions": self.task.sessions.count(),
            "context": self.task.context.count() + self.task.participants.count(),
        }
        return [Tab(key, label, counts.get(key, 0)) for key, label in TABS.items()]

    @property
    def status_label(self) -> str:
        return STATUSES[self.task.status]

    @property
    def priority(self) -> str:
        return PRIORITIES[self.task.priority]

    @property
    def assignee(self) -> Face | None:
        return face(self.task.assignee) if self.task.assignee else None

    @property
    def holder(self) -> Face | None:
        """Who works on it now: an agent, or a person (without a slug)."""
        if self.task.held_by:
            name = self.task.held_by.get_username()
            return Face("", name, letter_of(name), 0, "person")
        if self.task.holder:
            return face_at_work(self.task.holder, [self.task], log.now())
        return None

    @property
    def reason(self) -> tuple[str, str]:
        return reason_of(self.task)

    @cached_property
    def gates(self) -> list[explain.Gate]:
        """Why it is not moving; nothing for work in hand and work that is over."""
        if self.task.status in (IN_PROGRESS, DONE, CANCELLED):
            return []
        return explain.gates(self.task, viewer=self.actor)

    @property
    def gates_shut(self) -> list[tuple[explain.Gate, Step | None, Verb | None]]:
        """Each with the control that opens it, and the button of the drawer if it is one of those."""
        buttons = {verb.name: verb for verb in self.verbs}
        found = []
        for gate in self.gates:
            if not gate.open:
                way = step(self.actor, self.task, gate)
                found.append((gate, way, buttons.get(way.verb) if way else None))
        return found

    @property
    def candidates(self) -> list[Candidate]:
        """Who could do it, the one that Process would choose first; none while it cannot be processed."""
        if not any(verb.name == "process" for verb in self.verbs):
            return []
        return candidates(self.task)[:CANDIDATES]

    @property
    def ways(self) -> list[tuple[str, str]]:
        """How a hand-over that waits for its claim is told: the words for each way, with `tried`, `now` or `next`."""
        return [(WAYS[way], state) for way, state in dispatch.ways_of(self.task)]

    @property
    def gates_open(self) -> list[explain.Gate]:
        return [gate for gate in self.gates if gate.open]

    @property
    def cost(self) -> str:
        return dollars(self.task.actual_cost_micro_usd)

    @property
    def tokens(self) -> str:
        return compact(self.task.tokens_used) if self.task.tokens_used else ""

    @property
    def estimate(self) -> str:
        return dollars(self.task.estimated_cost_micro_usd)

    @property
    def estimate_plain(self) -> str:
        """The estimated cost as one types it."""
        return to_usd(self.task.estimated_cost_micro_usd) or ""

    @property
    def description(self) -> str:
        return rendered(self.task.description)

    @property
    def summary(self) -> str:
        return rendered(self.task.completion_summary)

    @property
    def seen(self) -> str:
        """A digest of the description as it was shown, so that a save over somebody else's text is refused."""
        return digest(self.task.description)

    @property
    def seen_title(self) -> str:
        return digest(self.task.title)

    @cached_property
    def approval(self) -> Approval | None:
        """What an agent will read, while the start has to be approved; None when it has not."""
        if not self.task.needs_approval or self.task.status not in APPROVABLE:
            return None
        text = handover.handed_over(self.task)
        parts = [(name, revealed(shown)) for name, value in text.items() if (shown := _as_read(value))]
        return Approval(
            handover.digest(self.task), parts, self.task.approved_at is not None and not handover.is_stale(self.task)
        )

    @property
    def criteria(self) -> list[tuple[str, bool | None]]:
        """What has to come out, each with whether it did: None while nobody has said."""
        met = self.task.criteria_met or [None] * len(self.task.success_criteria)
        return list(zip(map(handover.shown_criterion, self.task.success_criteria), met, strict=False))

    @property
    def blockers(self) -> list[Other]:
        rows = Task.objects.filter(dependants__task=self.task).order_by("dependants__id")
        return [Other(*row) for row in rows.values_list("code", "title", "status")]

    @property
    def dependants(self) -> list[Other]:
        rows = Task.objects.filter(dependencies__depends_on=self.task).order_by("id")
        return [Other(*row) for row in rows.values_list("code", "title", "status")[:50]]

    @property
    def agents(self) -> list[Agent]:
        return list(Agent.objects.order_by("name"))

    def activities(
        self, before: int | None = None, most: int = ACTIVITIES, *, only: str = ""
    ) -> tuple[list[Line], int | None]:
        """Lines, newest first, and the number to go on from, None at the end. `only`: one of LINES."""
        rows = Activity.objects.filter(task=self.task.code).order_by("-seq")
        if only:
            rows = rows.filter(LINES[only][1])
        if before:
            rows = rows.filter(seq__lt=before)
        found = list(rows[: most + 1])
        return [line(row) for row in found[:most]], found[most - 1].seq if len(found) > most else None

    @cached_property
    def plan(self) -> list[StepLine]:
        current = self.task.status == IN_PROGRESS
        return [StepLine(step, current and step.state == "running") for step in self.task.plan.all()]

    @property
    def plan_over(self) -> int:
        return sum(line.is_over for line in self.plan)

    @property
    def context(self) -> list[ContextLine]:
        """What is shared, the latest first, so many as one looks through."""
        return [ContextLine(entry) for entry in self.task.context.all()[:SHARED]]

    @property
    def not_yet_there(self) -> list[Agent]:
        """Agents that see the task and do not take part."""
        able = Agent.objects.exclude(claimed_at=None).exclude(participations__task=self.task).order_by("name")
        return list(able if self.task.venture.open_to_all else able.filter(ventures=self.task.venture))

    @property
    def participants(self) -> list[tuple[Face, str]]:
        """Who takes part, and as what."""
        return [(face(row.agent, "still"), row.role) for row in self.task.participants.select_related("agent")]

    @property
    def notes(self) -> list[Note]:
        """The reader's own, and nobody else's."""
        return list(collaboration.notes_of(self.actor, self.task)[:SHARED])

    def deliverables(self, shown: int = 0) -> list[DeliverableLine]:
        """All of them, that with the number `shown` with its preview."""
        found = [DeliverableLine(row, size_of(row.size)) for row in self.task.deliverables.select_related("task")]
        return [
            replace(one, preview=preview(one.row, one.opens)) if one.row.number == shown and one.has_preview else one
            for one in found
        ]

    def audit(self, most: int = ACTIVITIES) -> tuple[list[AuditLine], bool]:
        """What was changed, newest first, and whether there is more."""
        found = list(Activity.objects.filter(audit.TOLD, task=self.task.code).order_by("-seq")[: most + 1])
        return [audit.audit_line(entry) for entry in found[:most]], len(found) > most

    @property
    def graph(self) -> Graph | None:
        return around(self.task)

    @property
    def sessions(self) -> list[SessionLine]:
        """Newest first; sub-agents below the session that spawned them."""
        moment = log.now()
        by_id: dict[int, SessionLine] = {}
        for session in Session.objects.filter(task=self.task).select_related("agent").order_by("-id")[:200]:
            leases: list[Any] = [session] if session.ended_at is None else []
            worn = face_at_work(session.agent, leases, moment) if leases else face(session.agent, "still")
            by_id[session.pk] = SessionLine(session, worn)
            if leases:
                said = Activity.objects.filter(task=self.task.code, session=session.key).order_by("-seq")
                by_id[session.pk].tail = [line(row) for row in said[:TAIL]]
        top: list[SessionLine] = []
        for shown in by_id.values():
            above = by_id.get(shown.session.parent_id or 0)
            (above.children if above else top).append(shown)
        primary = [shown for shown in by_id.values() if shown.session.type == "primary" and shown.session.attempt]
        for shown, before in pairwise(primary):
            shown.retried = before.session if before.session.state == "failed" else None
        return top


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def size_of(size: int | None) -> str:
    """`940 B`, `12 KB`, `3.4 MB`"""
    if size is None:
        return ""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
