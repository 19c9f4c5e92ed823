"""One-time links by which people set a password: the new, and who lost theirs. Nobody ever gets a default password."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from mission_control import actors, log
from mission_control.accounts import people
from mission_control.actors import Actor
from mission_control.errors import NotThere, Refused
from mission_control.models import Invitation, User

DAYS = 3
PATH = "/welcome/"
GONE = "This link was used already, has ended or is not one of ours. Ask an admin for a new one."


@log.verb
def invite(actor: Actor, person: User) -> str:
    """Save a new person, who cannot sign in yet, and return the path that lets them. Records user.created."""
    person.set_unusable_password()
    people.create(actor, person)
    return _link(person)


@log.verb
def renew(actor: Actor, person: User) -> str:
    """Another path for somebody; the ones before end. Records user.changed. Refused while the person is deactivated.

    What they sign in with stays as it is until the link is used, and the second step stays also then.
    """
    people.may_change_people(actor)
    current = User.objects.select_for_update().get(pk=person.pk)
    if not current.is_active:
        raise Refused("This person is deactivated. Reactivate them first.", code="deactivated")
    Invitation.objects.filter(user=current).delete()
    people.way_in_changed(actor, current, "link", "One-time link made")
    return _link(current)


def person_of(token: str) -> User:
    """Whose link this is; NotThere when it was used, has ended, or its person may no longer sign in."""
    found = _good().select_related("user").filter(digest=_digest(token)).first()
    if found is None:
        raise NotThere(GONE)
    return found.user


@log.verb
def accept(token: str, password_hash: str) -> User:
    """The link's person has this password from now on, and all their sessions and links end. Records user.changed.

    NotThere as in `person_of`. Locks the person, so that of two at once one succeeds.
    """
    person = User.objects.select_for_update().get(pk=person_of(token).pk)
    if not person.is_active or not _good().filter(digest=_digest(token)).exists():
        raise NotThere(GONE)
    person.password = password_hash
    person.sessions_ended += 1
    person.save(update_fields=["password", "sessions_ended"])
    Invitation.objects.filter(user=person).delete()
    people.way_in_changed(actors.person(person), person, "password", "Password set by a one-time link")
    return person


def forget_old() -> int:
    """Chore: remove links that ended unused. Returns how many."""
    gone, _ = Invitation.objects.filter(expires_at__lt=Now()).delete()
    return gone


def _link(person: User) -> str:
    token = secrets.token_urlsafe(24)
    Invitation.objects.create(digest=_digest(token), user=person, expires_at=Now() + timedelta(days=DAYS))
    return PATH + token


def _good() -> QuerySet[Invitation]:
    return Invitation.objects.filter(expires_at__gt=Now(), user__is_active=True)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
