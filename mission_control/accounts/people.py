"""The verbs on people: who may sign in and as what. Not: passwords and their checks (Django), what a role may (actors.py)."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import ProtectedError

from mission_control import actors, log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, Refused
from mission_control.models import User

CHANGEABLE = ("first_name", "last_name", "email", "role", "is_active")


@log.verb
def create(actor: Actor, person: User) -> User:
    """Save a new person, whose password is set on it already. Records user.created. Needs an admin."""
    may_change_people(actor)
    person.save(force_insert=True)
    log.record("user.created", actor, title=person.get_username(), data={"after": _shown(person)})
    return person


@log.verb
def change(actor: Actor, person: User, changes: dict[str, Any]) -> User:
    """Records user.changed with before and after; nothing when nothing differs. Locks the person and the admins.

    Refused: taking the role or the access of the last admin who can sign in.
    """
    may_change_people(actor)
    unknown = set(changes) - set(CHANGEABLE)
    if unknown:
        raise Invalid(dict.fromkeys(sorted(unknown), "This cannot be changed."))
    _lock_admins()
    current = User.objects.select_for_update().get(pk=person.pk)
    before = _shown(current)
    for name, value in changes.items():
        setattr(current, name, value)
    after = _shown(current)
    differing = [name for name in CHANGEABLE if before[name] != after[name]]
    if not differing:
        return current
    if not (current.role == "admin" and current.is_active):
        _refuse_without_an_admin(person)
    current.save()
    log.record(
        "user.changed", actor, level="warning" if {"role", "is_active"} & set(differing) else "info",
        title=current.get_username(), message=_told(before, after, differing),
        data={"before": {n: before[n] for n in differing}, "after": {n: after[n] for n in differing}},
    )  # fmt: skip
    return current


def password_changed(actor: Actor, person: User) -> None:
    """Records user.changed: a password was set for somebody. The password itself is nowhere in the log."""
    way_in_changed(actor, person, "password", "Password set")


@log.verb
def way_in_changed(actor: Actor, person: User, change: str, message: str) -> None:
    """Records user.changed: a password, a passkey or a code of somebody was set or taken. No secret is in the log."""
    log.record(
        "user.changed", actor, level="warning", title=person.get_username(), message=message, data={"change": change}
    )


@log.verb
def sign_out_everywhere(person: User) -> User:
    """End every session of the person, in all browsers. Records user.changed. Locks the person."""
    current = User.objects.select_for_update().get(pk=person.pk)
    current.sessions_ended += 1
    current.save(update_fields=["sessions_ended"])
    way_in_changed(actors.person(current), current, "sessions_ended", "Signed out everywhere")
    return current


@log.verb
def remove_second_step(actor: Actor, person: User) -> User:
    """Passkeys, app and recovery codes of somebody who lost them: the password alone signs in again.

    Records user.changed; nothing when there was none. Needs an admin. Ends the person's sessions. Locks the person.
    """
    may_change_people(actor)
    current = User.objects.select_for_update().get(pk=person.pk)
    if Authenticator.objects.filter(user=current).delete()[0]:
        current.sessions_ended += 1
        current.save(update_fields=["sessions_ended"])
        way_in_changed(actor, current, "second_step_removed", "Second step removed")
    return current


@log.verb
def delete(actor: Actor, person: User) -> None:
    """Records user.deleted. Refused for the last admin and while the person holds tasks. Locks the admins."""
    may_change_people(actor)
    _lock_admins()
    _refuse_without_an_admin(person)
    try:
        with log.step():
            User.objects.get(pk=person.pk).delete()
    except ProtectedError:
        raise Refused("Tasks are in this person's hands. Release them first.", code="holds_tasks") from None
    log.record("user.deleted", actor, level="warning", title=person.get_username(), data={"before": _shown(person)})


def may_change_people(actor: Actor) -> None:
    """NotAllowed for anyone but an admin."""
    if not actor.can("admin"):
        raise NotAllowed("Only an admin changes who may sign in.")


def _lock_admins() -> None:
    """So that two admins who take each other's role at the same moment do not both succeed."""
    list(User.objects.select_for_update().filter(role="admin", is_active=True).order_by("pk").values_list("pk"))


def _refuse_without_an_admin(leaving: User) -> None:
    if not User.objects.filter(role="admin", is_active=True).exclude(pk=leaving.pk).exists():
        raise Refused("This is the last admin who can sign in. Make another admin first.", code="last_admin")


def _shown(person: User) -> dict[str, Any]:
    return {name: getattr(person, name) for name in CHANGEABLE}


def _told(before: dict[str, Any], after: dict[str, Any], differing: list[str]) -> str:
    if "role" in differing:
        return f"Role {before['role']} → {after['role']}"
    if "is_active" in differing:
        return "May sign in again" if after["is_active"] else "May no longer sign in"
    return ""
