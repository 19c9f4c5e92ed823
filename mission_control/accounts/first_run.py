"""The first admin: made once, by a link that the server prints while nobody can sign in. There is no default password."""

from __future__ import annotations

import hashlib
import secrets

from mission_control import log
from mission_control.actors import system
from mission_control.errors import NotThere
from mission_control.models import SetupLink, User

PATH = "/first-run/"


def is_needed() -> bool:
    return not User.objects.exists()


def new_link() -> str:
    """A path that makes the admin, valid until one of these links was used; "" when somebody can sign in already."""
    if not is_needed():
        return ""
    token = secrets.token_urlsafe(24)
    SetupLink.objects.create(digest=_digest(token))
    return PATH + token


def is_valid(token: str) -> bool:
    return is_needed() and SetupLink.objects.filter(digest=_digest(token)).exists()


@log.verb
def make_admin(token: str, person: User) -> User:
    """Save `person`, whose password is set on it, as the first admin. Ends all links. Records user.created.

    NotThere: the link was used, or is not one of ours. Locks the links, so that only one of two at once succeeds.
    """
    links = list(SetupLink.objects.select_for_update())
    if not is_needed() or _digest(token) not in {link.digest for link in links}:
        raise NotThere("This link was used already or is not one of ours.")
    person.role = "admin"
    person.save(force_insert=True)
    SetupLink.objects.all().delete()
    log.record(
        "user.created", system("first run"), level="success", title=person.get_username(),
        data={"after": {"role": "admin"}},
    )  # fmt: skip
    return person


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
