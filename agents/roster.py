"""The verbs on agents: create, register, claim, change, availability, signs of life. Not: keys (keys.py), their work."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, OperationalError
from django.db.models import F, Q, QuerySet
from django.db.models.deletion import ProtectedError
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.text import slugify

from agents import enrolment, keys
from agents.models import Agent, EnrolmentToken
from mission_control import log
from mission_control.actors import Actor, system
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity, Webhook
from mission_control.outbound import webhooks
from ventures.models import Venture

logger = logging.getLogger(__name__)
CHANGEABLE = (
    "name", "role", "description", "avatar", "provider", "model", "capabilities", "is_lead", "connection",
    "availability", "available_until", "heartbeat_interval", "available_hours", "max_concurrent", "token_budget",
)  # fmt: skip
BY_ITSELF = tuple(name for name in CHANGEABLE if name not in ("is_lead",))
SEEN_EVERY_SECONDS = 10  # last_seen is written at most this often
OFFLINE_AFTER_SECONDS = 300


def by_slug(slug: str) -> Agent:
    try:
        return Agent.objects.get(slug=slug)
    except Agent.DoesNotExist:
        raise NotThere("There is no such agent.") from None


@log.verb
def create(actor: Actor, *, name: str, slug: str = "", **fields: Any) -> Agent:
    """An agent that is claimed from the start. Records agent.registered. Invalid: the slug is taken."""
    if not (actor.can("operate") or actor.can("orchestrate")):
        raise NotAllowed("Only an operator or an orchestrator creates agents.")
    agent = _inserted(name, slug, {**_known(fields, CHANGEABLE), "claimed_at": log.now(), "owner": actor.user})
    log.record("agent.registered", actor, agent=agent.slug, title=agent.name, data={"after": _shown(agent)})
    return agent


@log.verb
def register(*, name: str, slug: str = "", enrolment_token: str = "", **fields: Any) -> tuple[Agent, str, str]:
    """An agent registers itself: `(agent, key secret, claim token)`. Pending until a person opens the claim link.

    Records agent.registered. The key has the scope work; until the claim it may only read the agent itself. With an
    enrolment token there is nothing to claim ("") and the key has the token's scopes: who made it answers for it.
    """
    if enrolment_token:
        return _enrolled(enrolment.use(enrolment_token), name, slug, _known(fields, BY_ITSELF))
    token = secrets.token_urlsafe(24)
    agent = _inserted(name, slug, {**_known(fields, BY_ITSELF), "claim_digest": keys.digest(token)})
    me = Actor("agent", agent.slug, agent=agent)
    log.record(
        "agent.registered", me, agent=agent.slug, title=agent.name, data={"after": _shown(agent), "pending": True}
    )
    _, secret = keys.create(system("registration"), agent, label="registration")
    return agent, secret, token


def _enrolled(token: EnrolmentToken, name: str, slug: str, fields: dict[str, Any]) -> tuple[Agent, str, str]:
    agent = _inserted(name, slug, {**fields, "claimed_at": log.now(), "owner": token.owner})
    log.record(
        "agent.registered", Actor("agent", agent.slug, agent=agent), agent=agent.slug, title=agent.name,
        data={"after": _shown(agent), "enrolment": token.prefix},
    )  # fmt: skip
    _, secret = keys.create(system("registration"), agent, scopes=token.scopes, label=f"enrolled by {token}")
    return agent, secret, ""


@log.verb
def claim(actor: Actor, token: str) -> Agent:
    """A person takes responsibility for a registered agent: it may work from now on. Records agent.claimed."""
    if not (actor.is_person and actor.can("operate")):
        raise NotAllowed("Only an operator claims an agent.")
    agent = pending_by_token(token)
    Agent.objects.filter(pk=agent.pk).update(
        claimed_at=Now(), claim_digest="", owner=actor.user, version=F("version") + 1
    )
    log.record("agent.claimed", actor, level="success", agent=agent.slug, title=agent.name, data={"owner": actor.name})
    webhooks.begin_for_agent(agent.slug, actor)
    return Agent.objects.get(pk=agent.pk)


def pending_by_token(token: str) -> Agent:
    """The registered agent of a claim link; NotThere when the link was used or never was."""
    agent = Agent.objects.filter(claim_digest=keys.digest(token), claimed_at=None).first() if token else None
    if agent is None:
        raise NotThere("This claim link was used already or is not one of ours.")
    return agent


@log.verb
def change(actor: Actor, agent: Agent, changes: dict[str, Any], *, version: int | None = None) -> Agent:
    """Records agent.changed with before and after; nothing when nothing differs. Locks the agent's row.

    An agent changes itself but not its rank; an operator or orchestrator changes any. `version`: 412 when stale.
    """
    itself = actor.agent is not None and actor.agent.pk == agent.pk
    above = actor.can("operate") or actor.can("orchestrate")
    if not (itself or above):
        raise NotAllowed("Only the agent itself, an operator or an orchestrator changes it.")
    known = _known(changes, CHANGEABLE if above else BY_ITSELF)
    current = Agent.objects.select_for_update(no_key=True).get(pk=agent.pk)
    if version is not None and version != current.version:
        raise Refused("Somebody changed it in the meantime.", code="stale", status=412, version=current.version)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name, value in known.items():
        if getattr(current, name) != value:
            before[name], after[name] = getattr(current, name), value
            setattr(current, name, value)
    if after:
        current.version += 1
        current.save(update_fields=[*after, "version"])
        log.record(
            "agent.changed", actor, agent=current.slug, title=current.name,
            data={"before": _plain(before), "after": _plain(after)},
        )  # fmt: skip
    return current


@log.verb
def delete(actor: Actor, agent: Agent) -> None:
    """Records agent.changed with `deleted`. Refused while it has tasks or sessions: what it did keeps its name."""
    if not actor.can("operate"):
        raise NotAllowed("Only an operator deletes agents.")
    webhooks.remove_for_agent(agent.slug, actor)
    try:
        with log.step():
            Agent.objects.get(pk=agent.pk).delete()
    except ProtectedError:
        raise Refused(
            "It has worked here, so it stays in the books. Revoke its keys instead.", code="has_history"
        ) from None
    log.record("agent.changed", actor, level="warning", agent=agent.slug, title=agent.name, data={"deleted": True})


@log.verb
def join(actor: Actor, agent: Agent, venture: Venture) -> None:
    """The agent joins a venture and may see and claim its tasks. Records agent.changed once."""
    if not (actor.can("operate") or actor.can("orchestrate")) and not (
        venture.open_to_all and actor.agent is not None and actor.agent.pk == agent.pk
    ):
        raise NotAllowed("Only an operator or an orchestrator lets an agent join this venture.")
    if not agent.ventures.filter(pk=venture.pk).exists():
        agent.ventures.add(venture)
        log.record(
            "agent.changed",
            actor,
            agent=agent.slug,
            venture=venture.slug,
            title=agent.name,
            data={"joined": venture.slug},
        )


@log.verb
def set_webhook(actor: Actor, agent: Agent, url: str) -> str | None:
    """The address where the agent itself is told of work; "" takes it away. The new secret, None when nothing changed.

    Nothing is sent there before a person has claimed the agent. Another address has another secret. Records
    webhook.created or webhook.deleted. Invalid: an address that may not be called.
    """
    current = Webhook.objects.filter(agent=agent.slug).first()
    if (current.url if current else "") == url:
        return None
    if not url:
        webhooks.remove_for_agent(agent.slug, actor)
        return None
    waits: dict[str, Any] = (
        {} if agent.claimed_at else {"enabled": False, "disabled_reason": "Nobody has claimed the agent yet."}
    )
    try:
        return webhooks.create(actor, url=url, agent=agent.slug, description=f"{agent.name} itself"[:500], **waits)[1]
    except Invalid as invalid:
        raise Invalid({"webhook_url": invalid.details[0]["message"]}) from None


def visible_ventures(actor: Actor) -> Any:
    """People see all ventures; an agent those that are open to all and those it joined."""
    return Venture.objects.visible_to(actor)


# What an agent has reported on no task at all. Set by the app of tasks.
tokens_without_work: Callable[[Agent], int] = lambda agent: 0  # noqa: E731


# ── presence ────────────────────────────────────────────────────────────────────────────────────────────────────────


def note_seen(agent: Agent) -> None:
    """A sign of life. Written at most every 10 s and outside the verb's transaction; coming back is recorded once.

    `agent` as it was read for this request: when it was seen just now, not even a statement is spent.
    """
    fresh = agent.last_seen_at and timezone.now() - agent.last_seen_at < timedelta(seconds=SEEN_EVERY_SECONDS)
    if fresh and not agent.seen_offline:
        return
    try:
        if _write_seen(agent):
            agent.seen_offline, agent.version = False, agent.version + 1
    except (log.Busy, OperationalError):
        logger.info("no time to note that %s was seen", agent.slug)


def note_connected(slugs: Collection[str]) -> None:
    """A sign of life of all that stand at an open connection, in two statements; who was taken for offline comes back.

    An agent that waits at a socket or in a long poll says nothing for minutes and is there all the same.
    """
    here = Agent.objects.filter(slug__in=slugs, claimed_at__isnull=False)
    _write_connected(here)
    for agent in here.filter(seen_offline=True).order_by("pk"):
        note_seen(agent)


@log.verb
def _write_connected(here: QuerySet[Agent]) -> None:
    """Those that somebody else locks right now are passed over: they are seen by what they do."""
    silent = here.filter(seen_offline=False, last_seen_at__lt=Now() - timedelta(seconds=SEEN_EVERY_SECONDS))
    free = list(silent.order_by("pk").select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
    if free:
        Agent.objects.filter(pk__in=free).update(last_seen_at=Now())


@log.verb
def _write_seen(agent: Agent) -> bool:
    """Whether it came back with this sign of life.

    One statement for an agent that is here. The row decides and not what was read of it: a look that took it for
    offline in between is answered by the same sign of life.
    """
    row, silence = Agent.objects.filter(pk=agent.pk), timedelta(seconds=SEEN_EVERY_SECONDS)
    known = row.filter(seen_offline=False) if agent.claimed_at else row
    if known.filter(Q(last_seen_at=None) | Q(last_seen_at__lt=Now() - silence)).update(last_seen_at=Now()):
        return False
    if not agent.claimed_at:
        return False
    back = row.filter(seen_offline=True).update(seen_offline=False, last_seen_at=Now(), version=F("version") + 1)
    if back:
        log.record("agent.seen_again", Actor("agent", agent.slug, agent=agent), agent=agent.slug, title=agent.name)
    return bool(back)


def mark_offline() -> int:
    """Chore: record agent.went_offline once for each agent that was silent for too long. Returns how many.

    Too long is five minutes, or three heartbeats of an agent that declared a longer interval.
    """
    now = log.now()
    silent = Agent.objects.filter(seen_offline=False, last_seen_at__lt=now - timedelta(seconds=OFFLINE_AFTER_SECONDS))
    return sum(
        _went_offline(agent)
        for agent in silent
        if agent.last_seen_at and agent.last_seen_at < now - timedelta(seconds=3 * (agent.heartbeat_interval or 0))
    )


@log.verb
def _went_offline(agent: Agent) -> int:
    changed = Agent.objects.filter(pk=agent.pk, seen_offline=False, last_seen_at=agent.last_seen_at).update(
        seen_offline=True, version=F("version") + 1
    )
    if changed:
        log.record("agent.went_offline", system("presence"), level="warning", agent=agent.slug, title=agent.name)
    return changed


def state_of(agent: Agent, live_leases: int, moment: datetime, silent_lease: bool = False) -> str:
    """What the screens show, derived from leases and signs of life, never stored.

    pending_claim, busy (it holds a lease), idle (it holds one but is silent), available, offline.
    """
    if agent.claimed_at is None:
        return "pending_claim"
    if live_leases:
        return "idle" if silent_lease else "busy"
    if agent.availability == "offline" or agent.seen_offline or agent.last_seen_at is None:
        return "offline"
    if agent.availability == "busy":
        return "busy"
    return "available"


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def free_slug(name: str) -> str:
    """A slug made from the name, with a number behind it while it is taken now or was ever in the log."""
    stem = slugify(name)[:50] or "agent"
    slug, number = stem, 2
    while Agent.objects.filter(slug=slug).exists() or Activity.objects.filter(agent=slug).exists():
        slug, number = f"{stem}-{number}", number + 1
    return slug


def _inserted(name: str, slug: str, fields: dict[str, Any]) -> Agent:
    slug = slug or free_slug(name)
    try:
        with log.step():
            return Agent.objects.create(name=name, slug=slug, created_at=log.now(), **fields)
    except IntegrityError:
        if not Agent.objects.filter(slug=slug).exists():
            raise
        raise Invalid({"slug": f"The slug {slug} is taken."}) from None


def _known(fields: dict[str, Any], allowed: tuple[str, ...]) -> dict[str, Any]:
    unknown = set(fields) - set(allowed)
    if unknown:
        raise Invalid(dict.fromkeys(sorted(unknown), "This cannot be set."))
    return fields


def _shown(agent: Agent) -> dict[str, Any]:
    return _plain({name: getattr(agent, name) for name in CHANGEABLE})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
