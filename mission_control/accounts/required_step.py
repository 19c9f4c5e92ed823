"""Whether everybody needs a second step, and who has yet to add one. Not: what counts as one (second_step.py, allauth)."""

from __future__ import annotations

from collections.abc import Collection

from allauth.mfa.models import Authenticator
from django.core.cache import cache

from mission_control import log
from mission_control.accounts import people
from mission_control.actors import Actor
from mission_control.errors import NotAllowed
from mission_control.models import Fleet

KEY, SECONDS = "second_step_required", 5  # asked at each click of a person, so it is remembered for that long
STEPS = (Authenticator.Type.WEBAUTHN, Authenticator.Type.TOTP)


@log.verb
def change(actor: Actor, required: bool) -> None:
    """Records fleet.changed; nothing when it is so already. Needs an admin. Locks the fleet's row.

    Nobody is locked out by it: who has none is asked to add one, and sees nothing else before.
    """
    people.may_change_people(actor)
    fleet = Fleet.objects.select_for_update().get(pk=1)
    if fleet.second_step_required != required:
        Fleet.objects.filter(pk=1).update(second_step_required=required)
        log.record(
            "fleet.changed", actor, level="warning",
            message="A second step is required" if required else "A second step is no longer required",
            data={"before": {KEY: fleet.second_step_required}, "after": {KEY: required}},
        )  # fmt: skip
    cache.set(KEY, required, SECONDS)


def is_required() -> bool:
    known = cache.get(KEY)
    if known is None:
        known = Fleet.objects.filter(pk=1, second_step_required=True).exists()
        cache.set(KEY, known, SECONDS)
    return bool(known)


def missing(numbers: Collection[int]) -> set[int]:
    """Those of these people who have to add a second step before anything else."""
    if not is_required():
        return set()
    added = Authenticator.objects.filter(user_id__in=numbers, type__in=STEPS).values_list("user_id", flat=True)
    return set(numbers) - set(added)


def refusal() -> NotAllowed:
    return NotAllowed("Add a second step to your account first.", code="second_step_required")
