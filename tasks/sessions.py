"""The verbs on sessions beside the one a claim makes: sub-agents are registered, updated and ended here.

The primary session of a claim begins and ends with its lease (transitions.py); nothing here ends one.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils.text import slugify

from agents import roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from tasks import transitions
from tasks.models import Session, Task
from tasks.transitions import leads
from tasks.vocabulary import ASSIGNED, IN_PROGRESS

LIVE_STATES = ("queued", "running", "waiting", "paused")
ENDINGS = ("completed", "failed", "cancelled")
SHORT = ("state", "model")  # what the log keeps of a change; the session itself keeps the rest
CHANGEABLE = ("state", "model", "output", "summary", "error")


def visible_to(actor: Actor) -> QuerySet[Session]:
    """Those on tasks the caller sees, and its own."""
    rows = Session.objects.select_related("agent", "task", "task__venture", "parent")
    if not actor.is_agent or actor.can("admin"):
        return rows
    return rows.filter(Q(task__in=Task.objects.visible_to(actor).values("pk")) | Q(agent=actor.agent))


def by_key(actor: Actor, key: str) -> Session:
    """What a path with a key means: the caller's own newest of that name, else the newest it sees."""
    rows = visible_to(actor).filter(key=key).order_by("-pk")
    own = rows.filter(agent=actor.agent).first() if actor.agent else None
    session = own or rows.first()
    if session is None:
        raise NotThere("There is no such session.")
    return session


@log.verb
def register_subagent(
    actor: Actor, code: str, *, key: str, agent_name: str = "", model: str = "", parent_key: str = ""
) -> Session:
    """A sub-agent works on a task: a live session of its own under the task's primary one. Records session.started.

    `agent_name` is a slug or a name; an unknown one is made on the fly where the caller may register agents. Without
    it the session is the caller's. The same key again gives the same session. Locks the task.
    """
    task = transitions.lock(actor, code)
    if not (leads(actor) or (actor.agent and task.holder_id == actor.agent.pk)):
        raise NotAllowed("Only who holds the task, an operator or a lead registers its sub-agents.")
    if task.status not in (ASSIGNED, IN_PROGRESS):
        raise transitions.wrong_state(task, "register a sub-agent")
    agent = _named(actor, agent_name) if agent_name else actor.agent
    if agent is None:
        raise Invalid({"agent_name": "Say which agent it is."})
    live = Session.objects.live().select_related("agent", "task", "parent")
    existing = live.filter(agent=agent, key=key).first()
    if existing:
        if existing.task_id == task.pk and existing.type == "subagent":
            return existing
        raise Refused("This session key is live elsewhere. Use another key.", code="session_busy")
    parent = live.filter(task=task, key=parent_key).first() if parent_key else None
    if parent_key and parent is None:
        raise Invalid({"parent": "No live session of this task has that key."})
    parent = parent or live.filter(task=task, type="primary").first()
    try:
        with log.step():
            session = Session.objects.create(
                key=key, agent=agent, task=task, type="subagent", parent=parent, model=model,
                attempt=parent.attempt if parent else None,
            )  # fmt: skip
    except IntegrityError:
        raise Refused("This session key is live elsewhere. Use another key.", code="session_busy") from None
    transitions.note(
        task, "session.started", actor, agent=agent.slug, session=key, message=agent.name,
        data={"type": "subagent", "parent": parent.key if parent else "", "model": model},
    )  # fmt: skip
    return visible_to(actor).get(pk=session.pk)


@log.verb
def begin_persistent(actor: Actor, *, key: str, model: str = "") -> Session:
    """A run of the caller's agent that belongs to no task, until it is ended. Records session.started.

    The same key again gives the same session.
    """
    agent = actor.agent
    if agent is None:
        raise Invalid({"agent_id": "Say whose session it is."})
    if not (actor.can("work") or actor.can("orchestrate") or actor.can("operate")):
        raise NotAllowed("This key only reads.", code="scope_missing")
    existing = Session.objects.live().filter(agent=agent, key=key).first()
    if existing and existing.type == "persistent":
        return visible_to(actor).get(pk=existing.pk)
    try:
        with log.step():
            session = Session.objects.create(key=key, agent=agent, type="persistent", model=model)
    except IntegrityError:
        raise Refused("This session key is live elsewhere. Use another key.", code="session_busy") from None
    log.record(
        "session.started", actor, agent=agent.slug, session=key, message=agent.name,
        data={"type": "persistent", "parent": "", "model": model},
    )  # fmt: skip
    return visible_to(actor).get(pk=session.pk)


@log.verb
def change(actor: Actor, session: Session, changes: dict[str, Any]) -> Session:
    """Set `state`, `model`, `output`, `summary` or `error`. An ending state ends it, for good.

    Records session.updated or session.ended; nothing when nothing differs. The primary session of a lease ends with
    the verbs on its task. Locks the task, then the session.
    """
    unknown = set(changes) - set(CHANGEABLE)
    if unknown:
        raise Invalid(dict.fromkeys(sorted(unknown), "This cannot be changed."))
    task = transitions.lock(actor, session.task.code) if session.task else None
    current = Session.objects.select_for_update(of=("self",)).select_related("agent", "parent").get(pk=session.pk)
    _may_change(actor, task, current)
    before = {name: getattr(current, name) for name, value in changes.items() if getattr(current, name) != value}
    if not before:
        return visible_to(actor).get(pk=session.pk)
    if current.ended_at:
        raise Refused(f"This session is over: it {_ended_how(current.state)}.", code="session_over")
    after = {name: changes[name] for name in before}
    ending = after.get("state") in ENDINGS
    if current.type == "primary" and "state" in after:
        raise Refused(
            "The primary session ends with its task: complete, fail, block or release that.", code="primary_session"
        )
    Session.objects.filter(pk=current.pk).update(**after, heartbeat_at=Now(), **({"ended_at": Now()} if ending else {}))
    state = after.get("state", current.state)
    told: dict[str, Any] = {
        "agent": current.agent.slug,
        "session": current.key,
        "level": {"completed": "success", "failed": "error"}.get(state, "info") if ending else "info",
        "message": after.get("error") or after.get("summary") or "",
        "data": {
            "type": current.type,
            "state": state,
            "before": {name: before[name] for name in before if name in SHORT},
            "after": {name: after[name] for name in after if name in SHORT},
            "changed": sorted(after),
        },
    }
    kind = "session.ended" if ending else "session.updated"
    if task:
        transitions.note(task, kind, actor, **told)
    else:
        log.record(kind, actor, **told)
    return visible_to(actor).get(pk=session.pk)


def end(actor: Actor, session: Session) -> None:
    """Take a session off the screens: a live one is cancelled; one that is over stays as history."""
    if not session.ended_at:
        change(actor, session, {"state": "cancelled"})


def _may_change(actor: Actor, task: Task | None, session: Session) -> None:
    mine = actor.agent is not None and (
        session.agent_id == actor.agent.pk or (task is not None and task.holder_id == actor.agent.pk)
    )
    if not (leads(actor) or (mine and actor.can("work"))):
        raise NotAllowed("Only its agent, who holds the task, an operator or a lead changes a session.")


def _ended_how(state: str) -> str:
    return {"completed": "was completed", "failed": "failed"}.get(state, f"was {state}")


def _named(actor: Actor, name: str) -> Agent:
    """The agent of that slug or name, made when there is none, the setting allows it and the caller may."""
    slug = slugify(name)[:50]
    agent = Agent.objects.filter(slug=name).first() or Agent.objects.filter(slug=slug).first()
    agent = agent or Agent.objects.filter(name=name).order_by("pk").first()
    if agent:
        return agent
    if not (actor.can("orchestrate") or actor.can("operate")):
        raise NotAllowed(
            f"There is no agent {name}, and this key may not register one: it needs the scope orchestrate."
        )
    if not settings.AGENTS_ON_THE_FLY:
        raise Invalid({"agent_name": f"There is no agent {name}, and none is made on the fly here: register it first."})
    return roster.create(actor, name=name, slug="" if not slug else roster.free_slug(name))
