"""Who stands behind an open stream, and whether they still may: key, session cookie or ticket. Not: what they see.

A stream lives for hours, so what opened it is asked again every few seconds: a revoked key, a logged-out or
deactivated account ends it, and so does a second step that is required and missing. The app that knows agents stands to
the right: it fills the hooks when it is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db.models.functions import Now
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host
from django.utils.http import is_same_domain

from mission_control import callers, tickets
from mission_control.accounts import required_step
from mission_control.actors import Actor, person
from mission_control.callers import Unknown
from mission_control.errors import NotAllowed, Refused
from mission_control.models import User

# Set by the app of agents: a key's prefix → its actor while the key is live; those of many prefixes that are live.
agent_by_prefix: Callable[[str], Actor | None] = lambda prefix: None  # noqa: E731
live_prefixes: Callable[[Collection[str]], set[str]] = lambda prefixes: set()  # noqa: E731
agents_are_here: Callable[[Collection[str]], None] = lambda slugs: None  # noqa: E731


@dataclass(frozen=True, eq=False)
class Visitor:
    """The caller behind a stream. `session_key` and `auth_hash` are set when a session cookie opened it."""

    actor: Actor
    session_key: str = ""
    auth_hash: str = ""


def admit(
    headers: Mapping[str, str], query: str, remote: str, *, scheme: str, browser_must_say_origin: bool
) -> Visitor:
    """The visitor, or Unknown, NotAllowed, Invalid. Reads the database.

    A key or a ticket proves itself. A cookie is sent by browsers without being asked, so it counts only when the page
    that opened the stream is ours; a websocket must say so, an event stream of another site cannot be read anyway.
    """
    if not validate_host(split_domain_port(headers.get("host", ""))[0], settings.ALLOWED_HOSTS):
        raise Refused("This host name is not ours. Add it to ALLOWED_HOSTS.", code="unknown_host", status=400)
    actor = callers.identify(headers, remote, query)
    if actor is not None:
        return _readable(Visitor(actor))
    ticket = parse_qs(query).get("ticket", [""])[0]
    if ticket:
        return _readable(_by_ticket(ticket))
    key = parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME, "")
    if not key:
        raise Unknown
    if not _is_our_page(headers, scheme, must_say=browser_must_say_origin):
        raise NotAllowed("A page of another site may not open this stream.", code="foreign_origin")
    return _readable(_by_cookie(key))


def gone(visitors: Collection[Visitor]) -> set[Visitor]:
    """Those whose key, session or account has ended. A few statements for any number of them."""
    prefixes = {v.actor.key_prefix for v in visitors if v.actor.key_prefix}
    live = live_prefixes(prefixes) if prefixes else set()
    names = {v.actor.name for v in visitors if v.actor.is_person}
    users = {u.get_username(): u for u in User.objects.filter(username__in=names, is_active=True)} if names else {}
    keys = {v.session_key for v in visitors if v.session_key}
    sessions = set(
        Session.objects.filter(session_key__in=keys, expire_date__gt=Now()).values_list("session_key", flat=True)
        if keys
        else ()
    )
    hashes: dict[str, str] = {name: user.get_session_auth_hash() for name, user in users.items()} if keys else {}
    missing = required_step.missing({user.pk for user in users.values()}) if keys else set()
    ended = set()
    for visitor in visitors:
        actor = visitor.actor
        if actor.is_person:
            here = actor.name in users
            if here and visitor.session_key:
                here = visitor.session_key in sessions and hashes[actor.name] == visitor.auth_hash
                here = here and users[actor.name].pk not in missing
        else:
            here = not actor.key_prefix or actor.key_prefix in live
        if not here:
            ended.add(visitor)
    return ended


def note_here(visitors: Collection[Visitor]) -> None:
    """An open stream is a sign of life of its agent, also when nothing is said on it."""
    slugs = {visitor.actor.name for visitor in visitors if visitor.actor.is_agent}
    if slugs:
        agents_are_here(slugs)


def _by_ticket(secret: str) -> Visitor:
    redeemed = tickets.redeem(secret)
    if redeemed is None:
        raise Unknown("This ticket was used already or has ended. Ask for a new one.")
    kind, name, prefix = redeemed
    if kind == "user":
        user = User.objects.filter(username=name, is_active=True).first()
        actor = person(user) if user else None
    else:
        actor = agent_by_prefix(prefix)
    if actor is None:
        raise Unknown("Who asked for this ticket may no longer come in.")
    return Visitor(actor)


def _by_cookie(key: str) -> Visitor:
    session = SessionStore(key)
    user: Any = auth.get_user(SimpleNamespace(session=session))  # type: ignore[arg-type]  # it reads nothing else
    if not user.is_authenticated:
        raise Unknown("You are signed out. Log in again.")
    if required_step.missing({user.pk}):
        raise required_step.refusal()
    return Visitor(person(user), key, session.get(auth.HASH_SESSION_KEY, ""))


def _readable(visitor: Visitor) -> Visitor:
    callers.require(visitor.actor, "read")
    return visitor


def _is_our_page(headers: Mapping[str, str], scheme: str, *, must_say: bool) -> bool:
    origin = headers.get("origin", "")
    if not origin:
        return not must_say and headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    if settings.TRUST_PROXY and headers.get("x-forwarded-proto"):
        scheme = headers["x-forwarded-proto"]
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    if origin == f"{scheme}://{headers.get('host', '')}":
        return True
    parts = urlsplit(origin)
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        allowed_scheme, _, host = trusted.partition("://")
        if parts.scheme == allowed_scheme and is_same_domain(parts.netloc, host.lstrip("*")):
            return True
    return False
