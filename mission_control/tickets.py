"""One-time tickets: the right to open a stream for who cannot send a header. 60 s, one use. Only the hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db.models.functions import Now

from mission_control.actors import Actor
from mission_control.models import Ticket

SECONDS = 60


def create(actor: Actor) -> tuple[str, int]:
    """`(ticket, seconds it is good for)`. The stream ends with the key or the account that asked for it."""
    secret = secrets.token_urlsafe(32)
    Ticket.objects.create(
        digest=_digest(secret), actor_type=actor.type, actor=actor.name, key_prefix=actor.key_prefix,
        expires_at=Now() + timedelta(seconds=SECONDS),
    )  # fmt: skip
    return secret, SECONDS


def redeem(secret: str) -> tuple[str, str, str] | None:
    """`(actor type, actor, key prefix)`, once; None when it was used, has ended or never was.

    Of two that come with the same ticket at once, one deletes the row.
    """
    ticket = Ticket.objects.filter(digest=_digest(secret), expires_at__gt=Now()).first()
    if ticket is None or not Ticket.objects.filter(pk=ticket.pk).delete()[0]:
        return None
    return ticket.actor_type, ticket.actor, ticket.key_prefix


def forget_old() -> int:
    """Chore: remove tickets that ended unused. Returns how many."""
    gone, _ = Ticket.objects.filter(expires_at__lt=Now()).delete()
    return gone


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
