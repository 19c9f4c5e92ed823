"""What people and agents say to each other about a task: comments, who takes part, shared context, private notes.

All of it is additive: no lease is needed, one that is shown is checked and extended. Not: the plan (plan.py), what is
logged without addressing anybody (journal.py).
"""

from __future__ import annotations

import json
import re
from typing import Any

from django.db.models import Q, QuerySet

from agents.models import Agent
from mission_control import log, strict_json
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity, User
from tasks import leases, transitions
from tasks.collaboration_models import ContextEntry, Note, Participant
from tasks.leases import PLAIN, Fence
from tasks.models import Task

MENTIONS_MOST = 50
NAMES_MOST = 8  # offered to who writes "@"
VALUE_MOST = 64_000  # characters of JSON: it goes into the log and to every open door
ROLE = "contributor"
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_MENTION = re.compile(r"(?<![\w@/.])@([\w][\w.@+-]{0,149})")


# ── comments ────────────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def comment(actor: Actor, code: str, text: str, *, fence: Fence | None = None) -> Activity:
    """As `say`; the line comes with its number."""
    return _numbered(say(actor, code, text, fence=fence))


@log.verb
def say(actor: Actor, code: str, text: str, *, fence: Fence | None = None) -> Activity:
    """Say something about a task, as Markdown. Records comment.added with who is mentioned. Locks the task."""
    if not text.strip():
        raise Invalid({"text": "Say something."})
    task, held = beside(actor, code, fence)
    line = transitions.note(
        task, "comment.added", actor, message=text, data={"mentions": mentioned(text, task)},
        session=task.session_key if held else "", writes={"comment_count": task.comment_count + 1},
    )  # fmt: skip
    extended(task, held)
    return line


def mentioned(text: str, task: Task) -> list[str]:
    """The agents (slugs) and people (usernames) that `@name` means, each once, as far as they see this task.

    What stands in code is not meant. A dot or dash at the end of a name belongs to the sentence.
    """
    words = list(dict.fromkeys(_MENTION.findall(_CODE.sub(" ", text))))[: MENTIONS_MOST * 2]
    wanted = {form for word in words for form in _forms(word)}
    if not wanted:
        return []
    known = {slug: slug for slug in _who_sees(task).filter(slug__in=wanted).values_list("slug", flat=True)}
    people = User.objects.filter(username__in=wanted, is_active=True).values_list("username", flat=True)
    known.update({name: name for name in people})
    found = (next((known[form] for form in _forms(word) if form in known), "") for word in words)
    return [name for name in dict.fromkeys(found) if name][:MENTIONS_MOST]


def mentionable(task: Task, words: str) -> list[tuple[str, str]]:
    """At most NAMES_MOST agents and people that can be mentioned here, the name to write and the name to read of each.

    Those whose name, or a word of it, begins with `words`, in any case.
    """
    agents = _who_sees(task).values_list("slug", "name").order_by("slug")
    people = User.objects.filter(is_active=True).values_list("username").order_by("username")
    if words:
        agents = agents.filter(Q(slug__istartswith=words) | Q(name__istartswith=words) | Q(name__icontains=f" {words}"))
        people = people.filter(username__istartswith=words)
    return [*((name, name) for (name,) in people[:NAMES_MOST]), *agents[:NAMES_MOST]][:NAMES_MOST]


def _forms(word: str) -> list[str]:
    bare = word.rstrip(".-+@")
    return list(dict.fromkeys([word, bare, bare.lower()]))


def _who_sees(task: Task) -> QuerySet[Agent]:
    if task.venture.open_to_all:
        return Agent.objects.all()
    return Agent.objects.filter(ventures=task.venture)


# ── who takes part ──────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def join(actor: Actor, code: str, role: str = "", *, fence: Fence | None = None) -> Participant:
    """The caller's agent takes part in a role. Records participant.joined; nothing when it has that role already.

    Joining again in another role changes it. Locks the task.
    """
    task, held = beside(actor, code, fence)
    agent = actor.agent
    if agent is None:
        raise Invalid({"agent_id": "Say which agent joins."})
    if not (task.venture.open_to_all or agent.ventures.filter(pk=task.venture_id).exists()):
        raise Refused("That agent has not joined the task's venture.", code="not_joined", venture=task.venture.slug)
    existing = task.participants.filter(agent=agent).first()
    before = existing.role if existing else ""
    extended(task, held)
    if existing and role in ("", before):
        return existing
    role = role or ROLE
    row, _ = Participant.objects.update_or_create(
        task=task, agent=agent, defaults={"role": role}, create_defaults={"role": role, "joined_at": task.db_now}
    )
    transitions.note(
        task, "participant.joined", actor, agent=agent.slug, message=role,
        data={"role": role, "before": {"role": before}, "after": {"role": role}},
    )  # fmt: skip
    return row


@log.verb
def leave(actor: Actor, code: str, *, fence: Fence | None = None) -> None:
    """The caller's agent takes part no longer. Records participant.left. NotThere: it did not. Locks the task."""
    task, held = beside(actor, code, fence)
    agent = actor.agent
    if agent is None:
        raise Invalid({"agent_id": "Say which agent leaves."})
    row = task.participants.filter(agent=agent).first()
    if row is None:
        raise NotThere(f"{agent.slug} does not take part in this task.")
    row.delete()
    transitions.note(
        task, "participant.left", actor, agent=agent.slug, message=row.role,
        data={"role": row.role, "before": {"role": row.role}, "after": {"role": ""}},
    )  # fmt: skip
    extended(task, held)


def participants(task: Task) -> list[str]:
    """The slugs of those who take part, in the order in which they joined."""
    return list(task.participants.order_by("id").values_list("agent__slug", flat=True))


@log.verb
def sync(actor: Actor, code: str, text: str, *, fence: Fence | None = None) -> Activity:
    """A checkpoint for all who take part. Records checkpoint.posted, which names them. Locks the task."""
    return _announce(actor, code, "checkpoint.posted", text, {}, fence)


@log.verb
def discover(
    actor: Actor, code: str, text: str, *, impact: str = "", tags: list[str] | None = None, fence: Fence | None = None
) -> Activity:
    """Tell all who take part of a finding. Records finding.shared, which names them. Locks the task."""
    return _announce(actor, code, "finding.shared", text, {"impact": impact, "tags": tags or []}, fence)


def _announce(actor: Actor, code: str, kind: str, text: str, data: dict[str, Any], fence: Fence | None) -> Activity:
    if not text.strip():
        raise Invalid({"message": "Say something."})
    task, held = beside(actor, code, fence)
    line = transitions.note(
        task, kind, actor, message=text, session=task.session_key if held else "",
        data={**data, "participants": participants(task)},
    )  # fmt: skip
    extended(task, held)
    return _numbered(line)


# ── shared context ──────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def share(
    actor: Actor, code: str, key: str, value: Any, *, kind: str = "share", fence: Fence | None = None
) -> ContextEntry:
    """Say what everyone should know under this key; the latest wins. Records context.shared with before and after.

    The log keeps values as JSON texts, since it holds no floats. Nothing is recorded when nothing differs. Locks the
    task.
    """
    text = strict_json.write(value).decode()
    if len(text) > VALUE_MOST:
        raise Invalid({"value": f"Use at most {VALUE_MOST:,} characters; hand in a file for more."})
    task, held = beside(actor, code, fence)
    existing = task.context.filter(key=key).first()
    if existing and (json.dumps(existing.value, sort_keys=True), existing.kind) == (
        json.dumps(value, sort_keys=True), kind,
    ):  # fmt: skip
        extended(task, held)
        return existing
    before = {"value": strict_json.write(existing.value).decode(), "kind": existing.kind} if existing else None
    by_type, by = author(actor)
    entry, _ = ContextEntry.objects.update_or_create(
        task=task, key=key, defaults={"value": value, "kind": kind, "by_type": by_type, "by": by, "at": task.db_now}
    )
    transitions.note(
        task, "context.shared", actor, message=key, session=task.session_key if held else "",
        data={"key": key, "before": before, "after": {"value": text, "kind": kind}},
    )  # fmt: skip
    extended(task, held)
    return entry


@log.verb
def take_back(actor: Actor, code: str, key: str, *, fence: Fence | None = None) -> None:
    """Nothing stands under this key any longer. Records context.removed with what did. Locks the task.

    NotThere: nothing stood there.
    """
    task, held = beside(actor, code, fence)
    entry = task.context.filter(key=key).first()
    if entry is None:
        raise NotThere("Nothing is shared under this key.")
    before = {"value": strict_json.write(entry.value).decode(), "kind": entry.kind}
    entry.delete()
    transitions.note(
        task, "context.removed", actor, message=key, session=task.session_key if held else "",
        data={"key": key, "before": before, "after": None},
    )  # fmt: skip
    extended(task, held)


# ── private notes ───────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def take_note(actor: Actor, code: str, text: str, *, fence: Fence | None = None) -> Note:
    """Append to what the author keeps for itself. Records note.added without a word of it. Locks the task."""
    if not text.strip():
        raise Invalid({"text": "Write something."})
    task, held = beside(actor, code, fence)
    by_type, by = author(actor)
    note = Note.objects.create(task=task, text=text, by_type=by_type, by=by, at=task.db_now)
    transitions.note(task, "note.added", actor, data={"length": len(text)})
    extended(task, held)
    return note


def notes_of(actor: Actor, task: Task) -> QuerySet[Note]:
    """The caller's own notes on a task, newest first; nobody else's."""
    by_type, by = author(actor)
    return Note.objects.filter(Q(task=task, by_type=by_type, by=by)).order_by("-id")


# ── for all of them ─────────────────────────────────────────────────────────────────────────────────────────────────


def author(actor: Actor) -> tuple[str, str]:
    """In whose name it stands: the agent that is acted for, else the caller."""
    return ("agent", actor.agent.slug) if actor.agent else (actor.type, actor.name)


def beside(actor: Actor, code: str, fence: Fence | None) -> tuple[Task, bool]:
    """The locked task, and whether the caller holds its lease. A fence that is shown has to be the live one."""
    task = transitions.lock(actor, code)
    if not (actor.can("work") or actor.can("orchestrate") or actor.can("operate")):
        raise NotAllowed("This key only reads.", code="scope_missing")
    held = leases.is_held(actor, task, fence or PLAIN)
    if fence is not None and not held:
        raise leases.lost(actor, task, fence)
    return task, held


def _numbered(line: Activity) -> Activity:
    """A recorded line with its number and time: the last step of a verb, for the counter is held from here on."""
    log.flush()
    return Activity.objects.get(pk=line.seq)


def extended(task: Task, held: bool) -> None:
    """Every write under a live lease is a sign of life."""
    if held:
        leases.extend(task)
