"""Enrolment tokens: who shows one registers as an agent that may work at once. Not: registering itself (roster.py)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from agents.keys import ALPHABET, digest
from agents.models import EnrolmentToken
from mission_control import log
from mission_control.actors import SCOPES, Actor
from mission_control.errors import Invalid, NotAllowed, NotThere

PREFIX, PREFIX_LENGTH = "mce_", 8
MOST_HOURS, MOST_USES = 24 * 90, 1000


@log.verb
def create(
    actor: Actor, *, scopes: Sequence[str] = ("work",), label: str = "", hours: int = 24, most_uses: int = 1
) -> tuple[EnrolmentToken, str]:
    """A token and its secret (238 random bits), good for so many hours and agents. Records enrolment.created.

    Invalid: an unknown scope, hours or uses out of range. NotAllowed: an admin's scope by anyone but an admin.
    """
    if not scopes or set(scopes) - set(SCOPES):
        raise Invalid({"scopes": f"Use some of: {', '.join(SCOPES)}."})
    if not 1 <= hours <= MOST_HOURS:
        raise Invalid({"hours": f"Between 1 and {MOST_HOURS}."})
    if not 1 <= most_uses <= MOST_USES:
        raise Invalid({"most_uses": f"Between 1 and {MOST_USES}."})
    if not actor.can("admin") and not (actor.can("operate") and "admin" not in scopes):
        raise NotAllowed("Only an operator makes enrolment tokens, and only an admin those with the scope admin.")
    secret = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(40))
    token = EnrolmentToken.objects.create(
        prefix=secret[len(PREFIX) : len(PREFIX) + PREFIX_LENGTH], digest=digest(secret), label=label,
        scopes=[scope for scope in SCOPES if scope in scopes], owner=actor.user, created_by=actor.name,
        expires_at=log.now() + timedelta(hours=hours), most_uses=most_uses,
    )  # fmt: skip
    log.record(
        "enrolment.created", actor, title=str(token), message=label,
        data={"token": token.prefix, "scopes": token.scopes, "hours": hours, "most_uses": most_uses},
    )  # fmt: skip
    return token, secret


@log.verb
def revoke(actor: Actor, prefix: str) -> None:
    """No agent enrols with it any more; those that did stay. Records enrolment.revoked."""
    if not (actor.can("operate") or actor.can("admin")):
        raise NotAllowed("Only an operator revokes enrolment tokens.")
    if not EnrolmentToken.objects.filter(prefix=prefix, revoked_at=None).update(revoked_at=Now()):
        raise NotThere("There is no such live token.")
    log.record("enrolment.revoked", actor, level="warning", title=f"{PREFIX}{prefix}…", data={"token": prefix})


def use(secret: str) -> EnrolmentToken:
    """Count one use, in the caller's unit. Invalid for what is not live: unknown, used up, expired, revoked, of
    somebody who may no longer sign in: all alike.

    One guarded write, so of two agents at once only as many come in as there are uses left. Locks the token's row.
    """
    wrong = Invalid({"enrolment_token": "This token is not valid. It may be used up, expired or revoked."})
    if not secret.startswith(PREFIX):
        raise wrong
    prefix = secret[len(PREFIX) : len(PREFIX) + PREFIX_LENGTH]
    token = EnrolmentToken.objects.select_related("owner").filter(prefix=prefix).first()
    if token is None or not hmac.compare_digest(token.digest, digest(secret)):
        raise wrong
    if token.owner and not token.owner.is_active:
        raise wrong
    live = EnrolmentToken.objects.filter(pk=token.pk, revoked_at=None, expires_at__gt=Now(), uses__lt=F("most_uses"))
    if not live.update(uses=F("uses") + 1):
        raise wrong
    return token
