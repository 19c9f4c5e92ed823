"""The calls on what a team says to each other about a task: read, one verb, answer. Not: rules (collaboration.py)."""

from __future__ import annotations

from agents.acting import act_for
from mission_control.actors import Actor
from mission_control.endpoints import WORK, Call, endpoint
from mission_control.errors import NotAllowed, NotThere
from mission_control.models import Activity
from mission_control.outbound import notifications
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Param, Query, line, one_of, several
from tasks.api import shown, worker
from tasks.collaboration_models import ContextEntry, Note, Participant
from tasks.serializers import ActivityOut
from tasks.teamwork import collaboration
from tasks.teamwork import collaboration_serializers as shape
from tasks.transitions import visible
from tasks.vocabulary import CONTEXT_KINDS

# ── comments ────────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("GET", gives=shape.CommentOut, name="comments", paged=True, query=Query(LIMIT, CURSOR))
def list_comments(call: Call, code: str) -> Page:
    """What was said about this task, newest first."""
    visible(call.actor, code)
    lines = Activity.objects.filter(task=code, kind="comment.added")
    return page(lines, call.query, orders={"seq": None}, default="-seq", bare=call.bare)


@endpoint("POST", needs=WORK, takes=shape.CommentIn, gives=shape.CommentOut, name="comment", status=201, fenced=True)
def add_comment(call: Call, code: str) -> Activity:
    """Say something about a task. `@slug` and `@username` mention an agent or a person: `mentions` names who was found.

    Needs no lease; one that is shown is checked, and extended.
    """
    return collaboration.comment(worker(call), code, call.given["text"], fence=shown(call))


# ── who is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("GET", gives=shape.WatchOut)
def read_watch(call: Call, code: str) -> dict[str, bool]:
    """Whether you watch this task."""
    return {"watching": notifications.is_watching(call.actor, visible(call.actor, code).code)}


@endpoint("POST", gives=shape.WatchOut)
def watch(call: Call, code: str) -> dict[str, bool]:
    """Be told what happens to this task, under /notifications. Doing it again changes nothing."""
    notifications.watch(call.actor, visible(call.actor, code).code)
    return {"watching": True}


@endpoint("DELETE", status=204)
def unwatch(call: Call, code: str) -> None:
    """Be told no longer."""
    notifications.unwatch(call.actor, visible(call.actor, code).code)


# ── who takes part ──────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("GET", gives=shape.ParticipantOut, name="participants", paged=True, query=Query(LIMIT, CURSOR))
def list_participants(call: Call, code: str) -> Page:
    """Who takes part, newest first."""
    rows = Participant.objects.filter(task=visible(call.actor, code)).select_related("agent")
    return page(rows, call.query, orders={"joined_at": None}, default="-joined_at", bare=call.bare)


@endpoint(
    "POST", needs=WORK, takes=shape.ParticipateIn, gives=shape.ParticipantOut, name="participant", status=201,
    fenced=True,
)  # fmt: skip
def add_participant(call: Call, code: str) -> Participant:
    """Take part in a task in a role. Joining again in another role changes it."""
    return collaboration.join(worker(call), code, call.given.get("role", ""), fence=shown(call))


@endpoint(
    "POST", needs=WORK, takes=shape.ParticipateIn, gives=shape.ParticipantOut, name="participant", status=201,
    fenced=True,
)  # fmt: skip
def join(call: Call, code: str) -> Participant:
    """Join a task in a role: the short name of adding oneself to its participants."""
    return add_participant(call, code)


@endpoint("POST", needs=WORK, takes=shape.LeaveIn, status=204, fenced=True)
def leave(call: Call, code: str) -> None:
    """Leave a task: take part no longer. What was said and shared stays."""
    collaboration.leave(worker(call), code, fence=shown(call))


@endpoint("DELETE", needs=WORK, status=204, fenced=True, title="Take an agent out of a task")
def remove_participant(call: Call, code: str, slug: str) -> None:
    """It takes part no longer: itself, or whoever may act for it."""
    visible(call.actor, code)
    collaboration.leave(act_for(call.actor, slug), code, fence=shown(call))


@endpoint("POST", needs=WORK, takes=shape.SyncIn, gives=ActivityOut, name="activity", status=201, fenced=True)
def sync(call: Call, code: str) -> Activity:
    """Post a checkpoint for all who take part."""
    return collaboration.sync(worker(call), code, call.given["message"], fence=shown(call))


@endpoint("POST", needs=WORK, takes=shape.DiscoverIn, gives=ActivityOut, name="activity", status=201, fenced=True)
def discover(call: Call, code: str) -> Activity:
    """Tell all who take part of a finding."""
    given = call.given
    return collaboration.discover(
        worker(call), code, given["message"], impact=given.get("impact", ""), tags=given.get("tags"), fence=shown(call)
    )


# ── shared context ──────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint(
    "GET", gives=shape.ContextOut, name="entries", paged=True, title="List the shared context",
    query=Query(Param("kind", several(one_of(*CONTEXT_KINDS)), "Kinds, with commas."), LIMIT, CURSOR),
)  # fmt: skip
def list_context(call: Call, code: str) -> Page:
    """What everyone on this task should know, latest first."""
    rows = ContextEntry.objects.filter(task=visible(call.actor, code))
    if call.query.get("kind"):
        rows = rows.filter(kind__in=call.query["kind"])
    return page(rows, call.query, orders={"at": "at"}, default="-at", bare=call.bare)


@endpoint("GET", gives=shape.ContextOut, name="entry", title="Read one entry of the shared context")
def read_context(call: Call, code: str, key: str) -> ContextEntry:
    """What stands under this key now."""
    entry = ContextEntry.objects.filter(task=visible(call.actor, code), key=key).first()
    if entry is None:
        raise NotThere("Nothing is shared under this key.")
    return entry


@endpoint(
    "POST", needs=WORK, takes=shape.ContextIn, gives=shape.ContextOut, name="entry", status=201, fenced=True,
    title="Share context",
)  # fmt: skip
def share_context(call: Call, code: str) -> ContextEntry:
    """Say what everyone should know under a key. The latest wins; what stood there before stays in the log."""
    given = call.given
    return collaboration.share(worker(call), code, given["key"], given["value"], kind=given["kind"], fence=shown(call))


@endpoint("DELETE", needs=WORK, status=204, fenced=True, title="Take shared context back")
def remove_context(call: Call, code: str, key: str) -> None:
    """Nothing stands under this key any longer. What stood there stays in the log."""
    collaboration.take_back(call.actor, code, key, fence=shown(call))


# ── private notes ───────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint(
    "GET", gives=shape.NoteOut, name="notes", paged=True,
    query=Query(Param("agent", line(60), "In the open mode: of this agent.", also=("agent_id",)), LIMIT, CURSOR),
)  # fmt: skip
def list_notes(call: Call, code: str) -> Page:
    """The caller's own notes on this task, newest first. Nobody else reads them."""
    rows = collaboration.notes_of(_own(call), visible(call.actor, code))
    return page(rows, call.query, orders={"at": None}, default="-at", bare=call.bare)


def _own(call: Call) -> Actor:
    """The caller; in the open mode, where callers have no key of their own, the agent that it names."""
    named = call.query.get("agent", "")
    if not named or named == call.actor.name:
        return call.actor
    if not (call.actor.is_agent and not call.actor.key_prefix):
        raise NotAllowed("Notes are for their author alone.")
    return act_for(call.actor, named)


@endpoint("POST", needs=WORK, takes=shape.NoteIn, gives=shape.NoteOut, name="note", status=201, fenced=True)
def add_note(call: Call, code: str) -> Note:
    """Keep something for yourself about this task. Only its author reads it."""
    return collaboration.take_note(worker(call), code, call.given["text"], fence=shown(call))
