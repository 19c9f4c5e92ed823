"""How a caller proves who it is: an agent's key, or the open mode on loopback. Not: what it may do (actors.py).

The apps that know agents stand to the right of this one: they add themselves to the lists when they are ready.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from urllib.parse import unquote_plus

from django.conf import settings
from django.core.cache import cache

from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, Refused

# Filled by the app that has them: a secret → its actor or None; the built-in agent of the open mode; a sign of life.
bearer_authenticators: list[Callable[[str], Actor | None]] = []
open_callers: list[Callable[[], Actor]] = []
seen_listeners: list[Callable[[Actor], None]] = []

FAILED_LOGINS = (30, 60)  # so many, in so many seconds, of one address
_KEY = re.compile(r"mc_[A-Za-z0-9]{16,}")
_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}


class Unknown(Refused):
    """401: nobody we know. The answer carries WWW-Authenticate."""

    def __init__(self, sentence: str = "Say who you are: send Authorization: Bearer mc_…, or log in.") -> None:
        super().__init__(sentence, code="not_authenticated", status=401)


class TooFast(Refused):
    """429, with the seconds to wait."""

    def __init__(self, seconds: int, sentence: str = "Too many requests.") -> None:
        super().__init__(f"{sentence} Try again in {seconds} s.", code="too_fast", status=429, retry_after=seconds)


def identify(headers: Mapping[str, str], remote: str, query: str = "") -> Actor | None:
    """The caller of a request that carries no session; None when it shows nothing. `headers` by lower-case name.

    Raises Unknown for a key that is not live, TooFast after too many of those, Invalid for a key in the address.
    """
    refuse_key_in(query)
    authorization = headers.get("authorization", "")
    if authorization:
        return _by_bearer(authorization, remote)
    if settings.OPEN_MODE and open_callers and is_open_to(headers, remote):
        return open_callers[0]()
    return None


def refuse_key_in(query: str) -> None:
    """Addresses end in logs and histories: a key there is refused, also a good one."""
    if ("mc_" in query or "%" in query) and _KEY.search(unquote_plus(query)):
        raise Invalid({"": "Keys in addresses are refused: send Authorization: Bearer mc_… instead."})


def is_open_to(headers: Mapping[str, str], remote: str) -> bool:
    """Whether the open mode may let this request in: plainly from this machine, to this machine, by no browser page.

    A proxy on loopback must not hand the open door to the internet, nor a foreign page in somebody's browser.
    """
    if any(name.startswith("x-forwarded-") or name in ("forwarded", "origin", "x-real-ip", "via") for name in headers):
        return False
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    if _host_name(headers.get("host", "")) not in _LOOPBACK_HOSTS:
        return False
    try:
        return ip_address(remote).is_loopback
    except ValueError:
        return False


def note_seen(actor: Actor | None) -> None:
    """A sign of life of the caller, outside of any verb's transaction."""
    if actor is not None and actor.is_agent:
        for listener in seen_listeners:
            listener(actor)


def remote_of(peer: str, headers: Mapping[str, str]) -> str:
    """The address a limit counts by: the peer's, or the one our proxy names when we trust it."""
    if settings.TRUST_PROXY:
        named = headers.get("x-forwarded-for", "").rsplit(",", 1)[-1].strip()
        if named:
            return named[:64]
    return peer


def within(name: str, who: str, most: int, seconds: int) -> None:
    """Count one call in a fixed window, atomically; TooFast beyond `most`. Only counts: without the cache it lets go."""
    key = f"within:{name}:{who}"
    if cache.add(key, 1, seconds):
        return
    try:
        count = cache.incr(key)
    except ValueError:  # the window ended between the two
        cache.add(key, 1, seconds)
        return
    if count > most:
        raise TooFast(seconds)


def _by_bearer(authorization: str, remote: str) -> Actor:
    scheme, _, secret = authorization.partition(" ")
    secret = secret.strip()
    if scheme.lower() == "bearer" and secret.isascii():
        for authenticator in bearer_authenticators:
            actor = authenticator(secret)
            if actor is not None:
                return actor
    within("failed_login", remote, *FAILED_LOGINS)
    raise Unknown("This key is not valid. It may have been revoked or have expired.")


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].split("]")[0]
    return host.rsplit(":", 1)[0].lower()


def require(actor: Actor | None, *abilities: str) -> Actor:
    """The caller, when it is known and may do one of these; else Unknown or NotAllowed."""
    if actor is None:
        raise Unknown
    if not any(actor.can(ability) for ability in abilities):
        if actor.agent is not None and actor.agent.claimed_at is None:
            raise NotAllowed(
                "This agent is not claimed yet: a person has to open its claim link first.", code="pending_claim"
            )
        raise NotAllowed(f"This needs one of: {', '.join(abilities)}.", code="scope_missing", needs=list(abilities))
    return actor
