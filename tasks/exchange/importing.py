"""How tasks that were kept elsewhere come in: in the order of what waits for what, by the verbs. Not: file formats.

A draft has the id that it had there. What came in once is known by that id (tasks/origin_models.py) and left as it is, so
importing again changes nothing, and an import that was cut off is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby, islice
from typing import Any

from django.db import IntegrityError
from django.utils.text import slugify

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import Actor, system
from mission_control.errors import Invalid, Refused
from tasks import approvals, handover, journal, transitions
from tasks.models import Task
from tasks.origin_models import Origin
from tasks.teamwork import collaboration
from tasks.vocabulary import (
    ASSIGNED,
    BLOCKED,
    CANCELLED,
    CONTEXT_KINDS,
    DONE,
    FAILED,
    IN_PROGRESS,
    INBOX,
    MEDIUM,
    PAUSED,
    READY,
    REVIEW,
)
from ventures.models import Venture

PAST = system(
    "finished elsewhere"
)  # not the importer, which made the task: nobody passes their own where four eyes are asked
CHUNK = 200  # tasks in one transaction
TITLE_MOST, DESCRIPTION_MOST, TEXT_MOST = 500, 50_000, 10_000
TAGS_MOST, TAG_MOST, EDGES_MOST = 20, 50, 100
CRITERIA_MOST, CRITERION_MOST, MEASURE_MOST = 50, 500, 200
ID_MOST, SOURCE_MOST = 200, 120


@dataclass(frozen=True)
class Said:
    """What somebody wrote on it: `kind` is joined, shared, sync, discovery, note or progress; `key` of what was shared."""

    kind: str
    by: str
    text: str = ""
    key: str = ""
    value: Any = None


@dataclass
class Draft:
    """A task as it was elsewhere, in our words. `status` "": whatever the venture does with new ones."""

    id: str
    title: str
    description: str = ""
    status: str = ""
    priority: int = MEDIUM
    assignee: str = ""
    tags: list[str] = field(default_factory=list)
    parent: str = ""  # ids of there
    depends_on: list[str] = field(default_factory=list)
    deadline: datetime | None = None
    estimated_hours: Decimal | None = None
    actual_hours: Decimal | None = None
    branch: str = ""
    summary: str = ""  # of what was handed in
    reason: str = ""  # why it is blocked, paused or cancelled
    criteria: list[dict[str, Any]] = field(default_factory=list)  # of {criterion, measurable?}, texts
    comments: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)


@dataclass
class Report:
    """What an import did, or would do, and what it could not take: sentence → the ids it is about."""

    source: str = ""
    created: dict[str, str] = field(default_factory=dict)  # id there → code here; "" in a dry run
    known: int = 0
    skipped: int = 0  # what stands there and is no task: deleted ones
    losses: dict[str, list[str]] = field(default_factory=dict)
    agents: list[str] = field(default_factory=list)  # made on the way

    def lost(self, sentence: str, about: str) -> None:
        self.losses.setdefault(sentence, []).append(about)

    def lines(self, *, dry_run: bool = False) -> list[str]:
        """The report for a person."""
        verb = "would be created" if dry_run else "created"
        told = [f"{len(self.created)} {verb}, {self.known} known already, {self.skipped} left out ({self.source})."]
        if self.agents:
            told.append(f"Agents {'to be made' if dry_run else 'made'}: {', '.join(self.agents)}.")
        for sentence, about in self.losses.items():
            more = f" and {len(about) - 5} more" if len(about) > 5 else ""
            told.append(f"{sentence} ({', '.join(about[:5])}{more})")
        return told


def take(
    actor: Actor,
    drafts: Iterable[Draft],
    *,
    source: str,
    venture: Venture,
    report: Report | None = None,
    make_agents: bool = False,
    dry_run: bool = False,
) -> Report:
    """Create what is not known yet, in chunks of one transaction each. Records what the verbs record.

    `source`: whose ids these are. `make_agents`: unknown assignees become agents; otherwise their tasks are nobody's.
    `dry_run` writes nothing and reports the same. Refused: another import from this source runs at this moment.
    """
    if not source or len(source) > SOURCE_MOST or not source.isprintable():
        raise Invalid({"source": f"Give a name of at most {SOURCE_MOST} printable characters."})
    report = report or Report()
    report.source = source
    coming = _Coming(actor, source, venture, report)
    coming.sort_out(drafts)
    coming.find_agents(make_agents, dry_run)
    ordered = coming.in_order()
    if dry_run:
        report.created = {draft.id: "" for draft in ordered}
        return report
    for start in range(0, len(ordered), CHUNK):
        coming.write(ordered[start : start + CHUNK])
    return report


def codes_of(source: str, ids: Iterable[str] | None = None) -> dict[str, str]:
    """`{id there: code here}` of what came from a source, deleted tasks too."""
    rows = Origin.objects.filter(source=source)
    if ids is not None:
        rows = rows.filter(external_id__in=list(ids))
    return dict(rows.values_list("external_id", "task"))


class _Coming:
    """One import on its way in."""

    def __init__(self, actor: Actor, source: str, venture: Venture, report: Report) -> None:
        self.actor, self.source, self.venture, self.report = actor, source, venture, report
        self.codes = codes_of(source)
        self.new: dict[str, Draft] = {}
        self.level: dict[str, int] = {}
        self.parts: dict[str, list[str]] = {}  # id → ids of those that have it as parent
        self.agents: dict[str, Agent] = {}
        self.strangers: set[str] = set()  # names that are no agent here
        from_there = Task.objects.filter(code__in=Origin.objects.filter(source=source).values("task"))
        self.here = {task["code"]: task for task in from_there.values("code", "title", "status", "parent")}

    # ── what is new ──

    def sort_out(self, drafts: Iterable[Draft]) -> None:
        seen = set()
        for draft in (replace(draft, depends_on=list(draft.depends_on)) for draft in drafts):
            if draft.id in seen:
                self.report.lost("Stands there twice: the first one counts.", draft.id)
                continue
            seen.add(draft.id)
            if draft.parent:
                self.parts.setdefault(draft.parent, []).append(draft.id)
            if draft.id not in self.codes:
                self._fit(draft)
                self.new[draft.id] = draft
                continue
            self.report.known += 1
            task = self.here.get(self.codes[draft.id])
            if task and task["title"] != draft.title.strip()[:TITLE_MOST]:
                self.report.lost("Known by this id under another title: left as it is here.", draft.id)
        for draft in self.new.values():
            self._resolve(draft)

    def _fit(self, draft: Draft) -> None:
        """Cut what is longer than a task may have, and say so."""
        lost = self.report.lost
        draft.title = " ".join(draft.title.split())
        for name, most in (
            ("title", TITLE_MOST), ("description", DESCRIPTION_MOST), ("summary", TEXT_MOST), ("reason", TEXT_MOST),
            ("branch", 250),
        ):  # fmt: skip
            text = getattr(draft, name)
            if len(text) > most:
                setattr(draft, name, text[: most - 1] + "…")
                lost(f"The {name} is longer than {most:,} characters: cut.", draft.id)
        words = [" ".join(tag.replace(",", " ").split()) for tag in draft.tags]
        tags = list(dict.fromkeys(word[:TAG_MOST] for word in words if word))[:TAGS_MOST]
        if len(tags) < len(set(draft.tags)) or any(len(word) > TAG_MOST for word in words):
            lost(f"Tags: at most {TAGS_MOST} of {TAG_MOST} characters were taken.", draft.id)
        draft.tags = tags
        self._fit_criteria(draft)
        for name in ("estimated_hours", "actual_hours"):
            hours = getattr(draft, name)
            if hours is not None and not (hours.is_finite() and 0 <= hours < 1_000_000):
                setattr(draft, name, None)
                lost(f"The {name.replace('_', ' ')} is no such number: left out.", draft.id)
            elif hours is not None:
                setattr(draft, name, hours.quantize(Decimal("0.01")))

    def _fit_criteria(self, draft: Draft) -> None:
        fitting: dict[str, dict[str, Any]] = {}
        for one in draft.criteria:
            text, measure = " ".join(str(one.get("criterion") or "").split()), one.get("measurable")
            if measure is None or measure == "":
                kept: dict[str, Any] = {"criterion": text}
            else:
                kept = {"criterion": text, "measurable": measure if isinstance(measure, bool) else str(measure)}
            if 0 < len(text) <= CRITERION_MOST and len(str(measure)) <= MEASURE_MOST:
                fitting.setdefault(text.casefold(), kept)
        if len(fitting) < len(draft.criteria) or len(fitting) > CRITERIA_MOST:
            self.report.lost(f"Of its criteria those that fit were taken, at most {CRITERIA_MOST}.", draft.id)
        draft.criteria = list(fitting.values())[:CRITERIA_MOST]

    def _resolve(self, draft: Draft) -> None:
        """Leave out what it names and nobody has, and prerequisites that its own status contradicts."""
        lost = self.report.lost
        kept = []
        for other in dict.fromkeys(draft.depends_on):
            if other == draft.id:
                lost("Waits for itself: left out.", draft.id)
            elif not self._exists(other):
                lost("Waits for one that is not there: left out.", f"{draft.id} → {other}")
            elif draft.status in (DONE, REVIEW) and self._status(other) != DONE:
                lost(
                    "Is finished, though what it waited for is not: that dependency is left out.",
                    f"{draft.id} → {other}",
                )
            else:
                kept.append(other)
        if len(kept) > EDGES_MOST:
            lost(f"Waits for more than {EDGES_MOST}: the first were taken.", draft.id)
        draft.depends_on = kept[:EDGES_MOST]
        if draft.parent and (draft.parent == draft.id or not self._exists(draft.parent)):
            lost("Its parent is not there: left out.", f"{draft.id} → {draft.parent}")
            draft.parent = ""
        if draft.status == IN_PROGRESS:
            lost("Was being worked on: comes back into the queue, nobody holds it here.", draft.id)
        if draft.status == FAILED:
            lost("Had failed: comes blocked, for a person to look at.", draft.id)

    def _exists(self, other: str) -> bool:
        return other in self.new or self.codes.get(other) in self.here

    def _status(self, other: str) -> str:
        return self.new[other].status if other in self.new else str(self.here[self.codes[other]]["status"])

    # ── who ──

    def find_agents(self, make: bool, dry_run: bool) -> None:
        for draft in self.new.values():
            if draft.assignee and not self._agent(draft.assignee, make, dry_run):
                self.report.lost("Its assignee is no agent here: comes unassigned.", f"{draft.id} → {draft.assignee}")
                draft.assignee = ""
            for name in dict.fromkeys(said.by for said in draft.said):
                if not self._agent(name, make, dry_run):
                    self.report.lost(
                        "Who wrote on it is no agent here: only what was shared comes.", f"{draft.id} → {name}"
                    )

    def _agent(self, name: str, make: bool, dry_run: bool) -> bool:
        """Whether there is such an agent, or will be."""
        slug = slugify(name)[:50]
        if name in self.strangers:
            return False
        agent = self.agents.get(name) or Agent.objects.filter(slug=slug).first()
        if agent is None and make and slug:
            if slug not in self.report.agents:
                self.report.agents.append(slug)
            if dry_run:
                return True
            agent = roster.create(self.actor, name=name[:60], slug=slug)
        if agent is None:
            self.strangers.add(name)
            return False
        self.agents[name] = agent
        return True

    # ── in which order ──

    def in_order(self) -> list[Draft]:
        """Prerequisites first, parents before their parts as far as that goes. An edge that closes a circle is left out."""
        waiting = {
            id: ({other for other in draft.depends_on if other in self.new}, {draft.parent} & self.new.keys())
            for id, draft in self.new.items()
        }
        behind: dict[str, list[str]] = {}  # id → those that wait for it
        for id, (hard, soft) in waiting.items():
            for other in hard | soft:
                behind.setdefault(other, []).append(id)
        ordered: list[Draft] = []
        place = {id: number for number, id in enumerate(waiting)}
        free = [id for id, (hard, soft) in waiting.items() if not hard and not soft]
        level = 0
        while waiting:
            if not free:
                free = list(
                    islice((id for id, (hard, _) in waiting.items() if not hard), 1)
                )  # its parent gets it later
            if not free:
                free = [self._cut_circle({id: hard for id, (hard, _) in waiting.items()})]
            for id in free:
                del waiting[id]
                self.level[id] = level
                ordered.append(self.new[id])
            loose = set[str]()
            for id in free:
                for other in behind.get(id, ()):
                    if other in waiting:
                        hard, soft = waiting[other]
                        hard.discard(id)
                        soft.discard(id)
                        if not hard and not soft:
                            loose.add(other)
            free = sorted(loose, key=place.__getitem__)
            level += 1
        return ordered

    def _cut_circle(self, waiting: dict[str, set[str]]) -> str:
        """One on a circle, freed from what it waits for there."""
        on_the_way: dict[str, None] = {}
        id = next(iter(waiting))
        while id not in on_the_way:
            on_the_way[id] = None
            id = min(waiting[id])
        draft = self.new[id]
        for other in sorted(waiting[id]):
            self.report.lost("Closes a circle of tasks that wait for each other: left out.", f"{id} → {other}")
            draft.depends_on.remove(other)
        return id

    # ── into the database ──

    def write(self, drafts: list[Draft]) -> None:
        made = _write(self, drafts)
        self.codes.update(made)
        self.report.created.update(made)

    def fields(self, draft: Draft, tasks: dict[str, Task]) -> dict[str, Any]:
        agent = self.agents.get(draft.assignee) if draft.assignee else None
        return {
            "title": draft.title, "description": draft.description, "venture": self.venture, "assignee": agent,
            "priority": draft.priority, "tags": draft.tags, "parent": tasks.get(draft.parent), "deadline": draft.deadline,
            "estimated_hours": draft.estimated_hours, "actual_hours": draft.actual_hours, "branch": draft.branch,
            "success_criteria": draft.criteria,
            "status": _first_status(draft, agent),
            "depends_on": [tasks[other] for other in draft.depends_on if other in tasks],
        }  # fmt: skip


def _first_status(draft: Draft, agent: Agent | None) -> str:
    """The status that it is created in; the verbs bring it on from there."""
    if draft.status in ("", INBOX):
        return draft.status
    if draft.status in (DONE, REVIEW, ASSIGNED):
        return ASSIGNED
    return ASSIGNED if agent else READY


@log.verb
def _write(coming: _Coming, drafts: list[Draft]) -> dict[str, str]:
    """One chunk: the tasks, each brought to its status, and their origins, in one transaction."""
    actor, made = coming.actor, dict[str, str]()
    wanted = {other for draft in drafts for other in [*draft.depends_on, draft.parent] if other in coming.codes}
    tasks = _by_id({other: coming.codes[other] for other in wanted})
    for _, level in groupby(drafts, key=lambda draft: coming.level[draft.id]):
        group = list(level)
        created = transitions.create_many(actor, [coming.fields(draft, tasks) for draft in group])
        for draft, task in zip(group, created, strict=True):
            made[draft.id] = task.code
            _bring(actor, task.code, draft)
            _write_what_was_said(coming, task.code, draft)
        tasks.update(_by_id({draft.id: made[draft.id] for draft in group}))
        for draft in group:
            _adopt_parts(coming, draft, tasks[draft.id], made)
    try:
        with log.step():
            Origin.objects.bulk_create(
                Origin(source=coming.source, external_id=id, task=code) for id, code in made.items()
            )
    except IntegrityError:
        raise Refused("Another import from this source is running. Try again when it has ended.", code="busy") from None
    return made


def _by_id(codes: dict[str, str]) -> dict[str, Task]:
    found = Task.objects.in_bulk(list(codes.values()), field_name="code")
    return {id: found[code] for id, code in codes.items() if code in found}


def _bring(actor: Actor, code: str, draft: Draft) -> None:
    """From where it was created to where it was."""
    if draft.status in (DONE, REVIEW):
        _finish(actor, code, draft)
    elif draft.status == CANCELLED:
        transitions.cancel(actor, code, reason=draft.reason)
    elif draft.status == PAUSED:
        transitions.pause(actor, code, reason=draft.reason)
    elif draft.status in (BLOCKED, FAILED) and not draft.depends_on:
        reason = draft.reason or (
            "It had failed." if draft.status == FAILED else "It was blocked for a reason that is not told."
        )
        transitions.block(actor, code, kind="needs_input", reason=reason)
    for text in draft.comments:
        collaboration.comment(actor, code, text[:TEXT_MOST])


def _finish(actor: Actor, code: str, draft: Draft) -> None:
    """It was finished there: what the venture asks of work that is done here, approval and verdict, is behind it."""
    task = transitions.lock(actor, code)
    if task.awaits_approval:
        approvals.approve_start(PAST, code, handover.digest(task))
    task = transitions.complete(
        actor, code, summary=draft.summary, actual_hours=draft.actual_hours, review=draft.status == REVIEW
    )
    if draft.status == DONE and task.status == REVIEW:
        transitions.accept(PAST, code)


def _write_what_was_said(coming: _Coming, code: str, draft: Draft) -> None:
    for said in draft.said:
        agent = coming.agents.get(said.by)
        if agent is None and said.kind in ("joined", "note"):
            continue  # told already
        actor = replace(coming.actor, agent=agent) if agent else coming.actor
        try:
            with log.step():
                _say(actor, code, said)
        except Refused as refusal:
            coming.report.lost(f"Could not be taken: {refusal.sentence}", f"{draft.id} {said.kind} {said.key}".strip())


def _say(actor: Actor, code: str, said: Said) -> None:
    text = said.text if len(said.text) <= TEXT_MOST else said.text[: TEXT_MOST - 1] + "…"
    if said.kind == "joined":
        collaboration.join(actor, code, said.text[:60])
    elif said.kind == "note":
        collaboration.take_note(actor, code, text)
    elif said.kind == "sync":
        collaboration.sync(actor, code, text)
    elif said.kind == "discovery":
        collaboration.discover(actor, code, text)
    elif said.kind == "progress":
        journal.write(actor, code=code, message=text, metadata=said.value)
    else:
        kind = said.text if said.text in CONTEXT_KINDS else "share"
        collaboration.share(actor, code, said.key[:200], said.value, kind=kind)


def _adopt_parts(coming: _Coming, draft: Draft, task: Task, made: dict[str, str]) -> None:
    """Give it those of its parts that came before it."""
    for id in coming.parts.get(draft.id, ()):
        code = made.get(id) or coming.codes.get(id, "")
        part = coming.here.get(code)
        if code == task.code or (id in coming.new and coming.new[id].parent != draft.id) or not code:
            continue
        if id not in coming.new and (part is None or part["parent"]):
            continue
        try:
            with log.step():
                transitions.edit(coming.actor, code, {"parent": task})
        except Invalid:
            coming.report.lost("Would be its own ancestor: comes without a parent.", id)
