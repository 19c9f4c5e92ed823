"""API keys: making, checking, revoking. The secret is shown once; a prefix and a SHA-256 are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import cache

from django.db import OperationalError, connection, models
from django.db.models import Q
from django.db.models.functions import Now

from agents.models import Agent, AgentKey
from mission_control import log, sql
from mission_control.actors import SCOPE_ABILITIES, SCOPES, Actor
from mission_control.errors import Invalid, NotAllowed, NotThere

PREFIX = "mc_"
PREFIX_LENGTH = 8
LIVE = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=Now()))
USED_EVERY_SECONDS = 60  # last_used_at is written at most this often by each process
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@log.verb
def create(
    actor: Actor, agent: Agent, *, scopes: Sequence[str] = ("work",), label: str = "", overlap_hours: int | None = None
) -> tuple[AgentKey, str]:
    """A new key and its secret (238 random bits). `overlap_hours` rotates: the agent's other keys end after that.

    Records agent.changed. Invalid: an unknown scope.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise Invalid({"scopes": f"Use some of: {', '.join(SCOPES)}."})
    if not actor.can("admin") and not (actor.can("operate") and "admin" not in scopes):
        raise NotAllowed("Only an operator makes keys, and only an admin makes admin keys.")
    secret = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(40))
    key = AgentKey.objects.create(
        agent=agent, prefix=secret[len(PREFIX) : len(PREFIX) + PREFIX_LENGTH], digest=digest(secret),
        scopes=[scope for scope in SCOPES if scope in scopes], label=label, created_by=actor.name,
    )  # fmt: skip
    if overlap_hours is not None:
        others = AgentKey.objects.filter(agent=agent, revoked_at=None).exclude(pk=key.pk)
        ends = Now() + timedelta(hours=overlap_hours)
        others.filter(Q(expires_at=None) | Q(expires_at__gt=ends)).update(
            **({"expires_at": ends} if overlap_hours else {"revoked_at": Now()})
        )
    log.record(
        "agent.changed", actor, agent=agent.slug, title=agent.name, message=f"Key {key} created",
        data={"key": key.prefix, "change": "created", "scopes": key.scopes, "overlap_hours": overlap_hours},
    )  # fmt: skip
    return key, secret


@log.verb
def revoke(actor: Actor, agent: Agent, prefix: str) -> None:
    """Takes effect at once, also on open sockets. Records agent.changed."""
    if not (actor.can("operate") or actor.can("admin")):
        raise NotAllowed("Only an operator revokes keys.")
    changed = AgentKey.objects.filter(agent=agent, prefix=prefix, revoked_at=None).update(revoked_at=Now())
    if not changed:
        raise NotThere("There is no such live key.")
    log.record(
        "agent.changed", actor, level="warning", agent=agent.slug, title=agent.name, message=f"Key mc_{prefix}… revoked",
        data={"key": prefix, "change": "revoked"},
    )  # fmt: skip


def authenticate(secret: str) -> Actor | None:
    """The actor of a live key, None for anything else. One indexed look-up, compared in constant time."""
    if not secret.startswith(PREFIX) or len(secret) > 200 or not secret.isprintable():
        return None
    key = _read_live(secret[len(PREFIX) : len(PREFIX) + PREFIX_LENGTH])
    if key is None or not hmac.compare_digest(key.digest, digest(secret)):
        return None
    return actor_for(key)


def actor_for(key: AgentKey) -> Actor:
    """What the key may do; an agent that nobody claimed yet may do nothing but read itself."""
    agent = key.agent
    abilities: frozenset[str] = frozenset()
    if agent.claimed_at:
        abilities = frozenset().union(*(SCOPE_ABILITIES[scope] for scope in key.scopes if scope in SCOPE_ABILITIES))
    return Actor("agent", agent.slug, abilities, agent=agent, key_prefix=key.prefix)


_noted: dict[str, float] = {}  # prefix → when this process wrote it last


def note_used(prefix: str) -> None:
    """Somebody called with this key. Outside the verb's transaction; a database without time for it is left alone."""
    moment = time.monotonic()
    if moment - _noted.get(prefix, -USED_EVERY_SECONDS) < USED_EVERY_SECONDS:
        return
    _noted[prefix] = moment
    try:
        _write_used(prefix)
    except (log.Busy, OperationalError):
        _noted.pop(prefix, None)


@log.verb
def _write_used(prefix: str) -> None:
    """Records nothing: it is a sign of life."""
    AgentKey.objects.filter(prefix=prefix).update(last_used_at=Now())


def live_prefixes(prefixes: Collection[str]) -> set[str]:
    """Those of the keys that opened streams which are still good. One statement."""
    return set(_live().filter(prefix__in=prefixes).values_list("prefix", flat=True))


def by_prefix(prefix: str) -> Actor | None:
    key = _live().filter(prefix=prefix).first()
    return actor_for(key) if key else None


def _read_live(prefix: str) -> AgentKey | None:
    """What `_live().filter(prefix=…).first()` says, by hand: it runs once per call of an agent."""
    for row in sql.rows(_read_live_sql(connection.vendor), [prefix]):
        key = sql.decoded(AgentKey, row[: sql.width(AgentKey)])
        key.agent = sql.decoded(Agent, row[sql.width(AgentKey) :])
        return key
    return None


@cache
def _read_live_sql(vendor: str) -> str:
    now = "clock_timestamp()" if vendor == "postgresql" else "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"
    return (
        f"SELECT {sql.columns(AgentKey, 'k')}, {sql.columns(Agent, 'a')} FROM agents_agentkey k"  # noqa: S608  # constants
        " JOIN agents_agent a ON a.id = k.agent_id"
        f" WHERE k.prefix = %s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > {now})"
    )


def _live() -> models.QuerySet[AgentKey]:
    return AgentKey.objects.filter(LIVE).select_related("agent")
