"""The calls on agents: registration, the agent itself, CRUD, keys. Not: rules (roster.py, keys.py), their work (tasks)."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from agents import enrolment, keys, roster
from agents import serializers as shape
from agents.acting import act_for
from agents.models import Agent, EnrolmentToken
from mission_control import log
from mission_control.actors import Actor
from mission_control.endpoints import NO_STORE, OPERATE, STEER, Call, endpoint, limited
from mission_control.errors import Invalid, NotAllowed
from mission_control.idempotency import Reply
from mission_control.models import Fleet, Webhook
from mission_control.outbound import notifications
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Param, Query, flag, line, one_of, ordering, several
from mission_control.rest import ANYONE, KNOWN
from mission_control.strict_json import iso
from ventures import serializers as venture_shape
from ventures.api import visible as visible_venture
from ventures.models import Venture

REGISTRATIONS = (10, 60)  # so many, in so many seconds, of one address
HEARTBEAT_SECONDS = 60  # advised when the agent declared nothing


# ── registration and the agent itself ───────────────────────────────────────────────────────────────────────────────


@endpoint(
    "POST", needs=ANYONE, takes=shape.RegisterIn, gives=shape.RegisteredOut, status=201, headers=NO_STORE,
    title="Register yourself",
)  # fmt: skip
def register(call: Call) -> dict[str, Any]:
    """An agent registers itself and gets a key. Until a person opens `claim_url` the key only reads /agents/me.

    With an enrolment token it may work at once.
    """
    limited(call, "register", *REGISTRATIONS)
    fields = _columns(call.given)
    if "is_lead" in fields:
        raise Invalid({"is_lead": "Nobody makes a lead of itself."})
    address, name, slug = fields.pop("webhook_url", ""), fields.pop("name"), fields.pop("id", "")
    with log.unit():
        agent, secret, token = roster.register(name=name, slug=slug, **fields)
        webhook_secret = roster.set_webhook(Actor("agent", agent.slug, agent=agent), agent, address)
    root = public_url(call)
    return {
        "agent": shape.agent_shape(agent, bare=call.bare), "api_key": secret, "claim_url": f"{root}/claim/{token}" if token else None,
        "skill_url": f"{root}/skill.md", "ws_url": f"{root.replace('http', 'ws', 1)}/ws", **({"webhook_secret": webhook_secret} if webhook_secret else {}),
    }  # fmt: skip


def public_url(call: Call) -> str:
    return settings.PUBLIC_URL or call.request.build_absolute_uri("/").rstrip("/")


@endpoint("GET", needs=KNOWN, gives=shape.MeOut)
def read_me(call: Call) -> dict[str, Any]:
    """The calling agent: its state, its leases, what is left of its budget."""
    return _me(call, me(call))


@endpoint("PATCH", needs=("work", "orchestrate"), takes=shape.MeChange, gives=shape.MeOut, headers=NO_STORE)
def change_me(call: Call) -> dict[str, Any]:
    """Change what the calling agent says of itself."""
    fields, secret = _columns(call.given), None
    address = fields.pop("webhook_url", None)
    with log.unit():
        agent = roster.change(call.actor, me(call), fields, version=call.version)
        if address is not None:
            secret = roster.set_webhook(call.actor, agent, address)
    return _me(call, agent, secret)


def me(call: Call) -> Agent:
    if call.actor.agent is None:
        raise NotAllowed("You are not an agent.", code="not_an_agent")
    agent: Agent = call.actor.agent
    return agent


class _Me(dict[str, Any]):
    """The answer about oneself, with the version of the agent for its ETag."""

    version: int


def _me(call: Call, agent: Agent, secret: str | None = None) -> _Me:
    hook = Webhook.objects.filter(agent=agent.slug).first()
    told = _Me(
        agent=shape.agent_shape(agent, bare=call.bare),
        leases=[
            {
                "task": task.code, "title": task.title, "session_key": task.session_key, "epoch": task.epoch,
                "lease_expires_at": iso(task.lease_expires_at),
            }
            for task in agent.held_tasks.order_by("session_locked_at", "pk")
        ],
        sessions=[
            {
                "id": session.key, "type": session.type, "task": session.task.code if session.task else None,
                "state": session.state, "started_at": iso(session.started_at), "heartbeat_at": iso(session.heartbeat_at),
            }
            for session in agent.sessions.filter(ended_at=None).select_related("task").order_by("-pk")[:200]
        ],
        abilities=sorted(call.actor.abilities),
        tokens_left=None if agent.token_budget is None else max(0, agent.token_budget - agent.tokens_used),
        tokens_without_work=roster.tokens_without_work(agent),
        unread_notifications=notifications.unread(call.actor),
        frozen=Fleet.objects.filter(frozen_at__isnull=False).exists(),
        webhook=hook and {
            "url": hook.url, "enabled": hook.enabled, "disabled_reason": hook.disabled_reason,
            "failing_since": iso(hook.failing_since),
        },
        webhook_secret=secret,
    )  # fmt: skip
    told.version = agent.version
    return told


@endpoint("POST", needs=("work", "orchestrate"), takes=shape.AvailabilityIn, gives=shape.AgentOut, name="agent")
def say_availability(call: Call) -> Agent:
    """Say whether you can take work, until when, with what skills."""
    changes = {name: value for name, value in call.given.items() if name != "until"}
    changes["availability"] = changes.pop("status")
    changes["available_until"] = call.given.get("until")
    return roster.change(call.actor, me(call), changes)


# ── all agents ──────────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint(
    "GET", gives=shape.AgentOut, name="agents", paged=True,
    query=Query(
        Param("capabilities", several(line(50)), "Those that have all of these."),
        Param("availability", one_of("available", "busy", "offline"), "What they say of themselves."),
        Param("claimed", flag, "Whether a person answers for it.", {"type": "boolean"}),
        Param("venture", line(60), "Those that joined this one."),
        Param("q", line(120), "Part of the name."),
        ordering("name", "created_at"), LIMIT, CURSOR,
    ),
)  # fmt: skip
def list_agents(call: Call) -> Page:
    """List agents, by name."""
    agents, query = Agent.objects.all(), call.query
    if query.get("q"):
        agents = agents.filter(name__icontains=query["q"])
    if "availability" in query:
        agents = agents.filter(availability=query["availability"])
    if "claimed" in query:
        agents = agents.filter(claimed_at__isnull=not query["claimed"])
    if query.get("venture"):
        agents = agents.filter(ventures__slug=query["venture"])
    if query.get("capabilities"):
        wanted = {word.lower() for word in query["capabilities"]}
        fit = [pk for pk, has in agents.values_list("pk", "capabilities") if wanted <= set(has)]
        agents = agents.filter(pk__in=fit)
    return page(agents, query, orders={"name": "name", "created_at": None}, default="name", bare=call.bare)


@endpoint(
    "POST", needs=STEER, takes=shape.AgentIn, gives=shape.AgentOut, name="agent", status=201,
    title="Create or change an agent", also={200: "It was there and is changed."},
)  # fmt: skip
def create_agent(call: Call) -> Agent | Reply:
    """Create an agent. With the `id` of one that is there, change that one."""
    fields = _columns(call.given)
    slug, name = fields.pop("id", ""), fields.pop("name", "")
    existing = Agent.objects.filter(slug=slug).first() if slug else None
    if existing:
        changed = roster.change(call.actor, existing, {**fields, **({"name": name} if name else {})})
        return call.reply(changed, 200)
    if not name and not slug:
        raise Invalid({"name": "This field is required."})
    return roster.create(call.actor, name=name or slug, slug=slug, **fields)


@endpoint("GET", gives=shape.AgentOut, name="agent")
def read_agent(call: Call, slug: str) -> Agent:
    """Read one agent."""
    return roster.by_slug(slug)


@endpoint("PATCH", needs=STEER, takes=shape.AgentChange, gives=shape.AgentOut, name="agent")
def change_agent(call: Call, slug: str) -> Agent:
    """Change an agent: oneself, or any as an operator or an orchestrator."""
    return roster.change(call.actor, roster.by_slug(slug), _columns(call.given), version=call.version)


@endpoint("DELETE", needs=OPERATE, status=204)
def delete_agent(call: Call, slug: str) -> None:
    """Delete an agent that never worked. One that did stays in the books: revoke its keys instead."""
    roster.delete(call.actor, roster.by_slug(slug))


@endpoint(
    "POST", needs=OPERATE, takes=shape.KeyIn, gives=shape.NewKeyOut, status=201, headers=NO_STORE, title="Make a key"
)
def create_key(call: Call, slug: str) -> dict[str, Any]:
    """Make a key for an agent. It is shown once."""
    key, secret = keys.create(
        call.actor, roster.by_slug(slug), scopes=call.given.get("scopes") or ("work",),
        label=call.given.get("label", ""), overlap_hours=call.given.get("overlap_hours"),
    )  # fmt: skip
    key.refresh_from_db()
    return {"key": shape.KeyOut.shape(key, call), "api_key": secret}


@endpoint("GET", needs=OPERATE, gives=shape.KeyOut, name="keys")
def list_keys(call: Call, slug: str) -> list[Any]:
    """The keys of an agent, without their secrets."""
    return list(roster.by_slug(slug).keys.all())


@endpoint("DELETE", needs=OPERATE, status=204, title="Revoke a key")
def revoke_key(call: Call, slug: str, prefix: str) -> None:
    """Revoke a key. At once, also on open sockets."""
    keys.revoke(call.actor, roster.by_slug(slug), prefix)


@endpoint(
    "POST", needs=OPERATE, takes=shape.EnrolmentIn, gives=shape.NewEnrolmentOut, status=201, headers=NO_STORE,
    title="Make an enrolment token",
)  # fmt: skip
def create_enrolment(call: Call) -> dict[str, Any]:
    """Make a token with which agents register and work without a claim by a person. It is shown once."""
    given = dict(call.given)
    token, secret = enrolment.create(call.actor, **given)
    token.refresh_from_db()
    return {"enrolment": shape.EnrolmentOut.shape(token, call), "enrolment_token": secret}


@endpoint("GET", needs=OPERATE, gives=shape.EnrolmentOut, name="enrolments", paged=True, query=Query(LIMIT, CURSOR))
def list_enrolments(call: Call) -> Page:
    """The enrolment tokens, newest first, without their secrets."""
    rows = EnrolmentToken.objects.all()
    return page(rows, call.query, orders={"id": None}, default="-id", bare=call.bare)


@endpoint("DELETE", needs=OPERATE, status=204, title="Revoke an enrolment token")
def revoke_enrolment(call: Call, prefix: str) -> None:
    """Revoke an enrolment token. Agents that enrolled with it stay."""
    enrolment.revoke(call.actor, prefix)


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    """The names of the API as the columns of the model."""
    fields = dict(given)
    if "until" in fields:
        fields["available_until"] = fields.pop("until")
    return fields


# ── joining ventures ────────────────────────────────────────────────────────────────────────────────────────────────


@endpoint("POST", needs=STEER, takes=venture_shape.JoinIn, gives=venture_shape.VentureOut, name="venture")
def join_venture(call: Call, slug: str) -> Venture:
    """The caller joins a venture; an operator or an orchestrator lets another agent join."""
    venture = visible_venture(call.actor, slug)
    named = call.given.get("agent_id", "")
    actor = act_for(call.actor, named) if named else call.actor
    if actor.agent is None:
        raise Invalid({"agent_id": "Say which agent joins."})
    roster.join(call.actor, actor.agent, venture)
    return venture


@endpoint("GET", gives=shape.AgentOut, name="members", paged=True, query=Query(LIMIT, CURSOR))
def list_members(call: Call, slug: str) -> Page:
    """The agents that joined a venture, by name."""
    agents = Agent.objects.filter(ventures=visible_venture(call.actor, slug))
    return page(agents, call.query, orders={"name": "name"}, default="name", bare=call.bare)
