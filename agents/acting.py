"""As whom a caller acts: as itself, or for an agent it may act for. Also what proves an agent. Not: keys (keys.py)."""

from __future__ import annotations

from dataclasses import replace

from django.db import IntegrityError

from agents import keys, roster
from agents.models import Agent
from mission_control import callers, chores, sight, visitors
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.errors import Invalid, NotAllowed
from ventures.models import Venture

OPEN_SLUG = "local"


def act_for(actor: Actor, slug: str) -> Actor:
    """The caller with that agent as the one who works. The log names the caller, the lease is the agent's.

    NotAllowed unless it is the agent itself, an operator, an orchestrator or a lead; NotThere: no such agent.
    """
    if actor.agent is not None and actor.agent.slug == slug:
        return actor
    lead = actor.agent is not None and actor.agent.is_lead and actor.can("work")
    if not (actor.can("operate") or actor.can("orchestrate") or lead):
        raise NotAllowed("You may only act for yourself; only an operator or a lead acts for another agent.")
    agent = roster.by_slug(slug)
    if agent.claimed_at is None:
        raise NotAllowed(
            "That agent is not claimed yet: a person has to open its claim link first.", code="pending_claim"
        )
    by_key = actor.is_agent and actor.key_prefix and not actor.can("admin")  # the open mode may act for any
    if by_key and _sees_more(agent, actor.agent):
        raise NotAllowed("That agent joined ventures that you have not joined.")
    return replace(actor, agent=agent, abilities=actor.abilities | {"work"})


def named(slug: str, field: str) -> Agent:
    """The agent that a field of the body names; Invalid when there is none."""
    agent = Agent.objects.filter(slug=slug).first()
    if agent is None:
        raise Invalid({field: "There is no such agent."})
    return agent


def open_caller() -> Actor:
    """The built-in agent of the open mode, made when first needed."""
    agent = Agent.objects.filter(slug=OPEN_SLUG).first()
    if agent is None:
        try:
            agent = roster.create(
                system("open mode"), name="Local", slug=OPEN_SLUG, connection="local",
                description="Calls without a key from this machine.",
            )  # fmt: skip
        except (Invalid, IntegrityError):
            agent = roster.by_slug(OPEN_SLUG)  # two first calls at once
    return Actor("agent", OPEN_SLUG, SCOPE_ABILITIES["orchestrate"], agent=agent)


def note_seen(actor: Actor) -> None:
    roster.note_seen(actor.agent)
    if actor.key_prefix:
        keys.note_used(actor.key_prefix)


def register() -> None:
    """Tell the floor how agents are known. Called once, when the app is ready."""
    callers.bearer_authenticators.append(keys.authenticate)
    callers.open_callers.append(open_caller)
    callers.seen_listeners.append(note_seen)
    visitors.agent_by_prefix = keys.by_prefix
    visitors.live_prefixes = keys.live_prefixes
    visitors.agents_are_here = roster.note_connected
    sight.agent_ventures = _venture_slugs
    chores.register("presence", 10, roster.mark_offline)


def _venture_slugs(actor: Actor) -> frozenset[str]:
    return frozenset(roster.visible_ventures(actor).values_list("slug", flat=True))


def _sees_more(agent: Agent, than: Agent) -> bool:
    closed = Venture.objects.filter(agents=agent, open_to_all=False)
    return closed.exclude(agents=than).exists()
