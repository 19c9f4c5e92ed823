"""The verbs on the channels of a person: add, change, test, remove; and when they want to be told. Not: what goes out.

An address may be worth as much as a password. It is kept encrypted, shown in part only, and never written to the log.
Everybody has only their own channels; those of others are not there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Sequence
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity, Channel, Posting, TellingTimes, User
from mission_control.outbound import chat_services, outgoing, signatures, timing, web_push, webhooks
from mission_control.outbound.notifications import REASONS

TYPES = tuple(name for name, _ in Channel.TYPES)
CHANGEABLE = ("name", "reasons", "enabled")
TIMES = ("time_zone", "quiet_from", "quiet_until", "digest", "digest_at", "urgent")
MOST = 20  # channels of one person
OF_AGENTS = ("assigned", "unblocked", "team")  # no person is told for these
USUAL = ("review", "approval", "question", "failed", "mention", "budget", "idle", "webhook")
NO_MAIL = "This server sends no e-mail yet. An administrator sets EMAIL_URL and MAIL_FROM."


def reasons() -> list[str]:
    """For which reasons people are told, the most pressing first. Of budgets as soon as anything reports on them."""
    left_out = OF_AGENTS if "budget.warned" in webhooks.known_kinds else (*OF_AGENTS, "budget")
    return [reason for reason in REASONS if reason not in left_out]


def usual() -> list[str]:
    """What a new channel tells: what waits for a person. Not all that happens to what one watches or asked for."""
    return [reason for reason in reasons() if reason in USUAL]


def owner(actor: Actor) -> User:
    """NotAllowed: agents are told by webhook, socket or long poll."""
    if actor.user is None:
        raise NotAllowed("Only people have channels. Agents are told by webhook, socket or long poll.")
    return actor.user


def of_actor(actor: Actor) -> Sequence[Channel]:
    return list(Channel.objects.filter(user=owner(actor)))


def by_code(actor: Actor, code: str) -> Channel:
    found = Channel.objects.filter(user=owner(actor), code=code).first()
    if found is None:
        raise NotThere("There is no such channel.")
    return found


@log.verb
def add(
    actor: Actor, *, type: str = "", address: str = "", subscription: Any = None, name: str = "",
    reasons: Sequence[str] | None = None,
) -> Channel:  # fmt: skip
    """A new way to reach the caller: an e-mail address, a channel URL, or the subscription that a browser made.

    Records channel.added without the address. The same address again is the channel that is there; of a device, its
    keys are renewed. Invalid: an address that is none. Refused `no_mail`: the server cannot send e-mail. Locks the person.
    """
    user = User.objects.select_for_update().get(pk=owner(actor).pk)
    kept, shown = _checked(type, address, subscription)
    told = usual() if reasons is None else _known(reasons, "reasons")
    digest = _digest(subscription["endpoint"] if type == "push" else kept)
    there = Channel.objects.filter(user=user, digest=digest).first()
    if there is not None:
        there.address = signatures.sealed(kept)
        there.save(update_fields=["address"])
        return there
    if Channel.objects.filter(user=user).count() >= MOST:
        raise Refused(f"You have {MOST} channels already.", code="too_many")
    channel = Channel.objects.create(
        code=_new_code(), user=user, type=type, address=signatures.sealed(kept), digest=digest, shown=shown,
        name=name, reasons=told, since_seq=log.head(), created_at=log.now(),
    )  # fmt: skip
    record(channel, "channel.added", actor, data={"after": _shown(channel, CHANGEABLE)})
    return channel


@log.verb
def change(actor: Actor, code: str, changes: dict[str, Any], *, version: int | None = None) -> Channel:
    """Records channel.changed with before and after; nothing when nothing differs. Locks the channel.

    Switched off, what waited for it is given up; switched on again its failures are forgotten.
    """
    channel = _locked(actor, code)
    if version is not None and version != channel.version:
        raise Refused("Somebody changed it in the meantime.", code="stale", status=412, version=channel.version)
    if "reasons" in changes:
        changes = {**changes, "reasons": _known(changes["reasons"], "reasons")}
    differing = [name for name in CHANGEABLE if name in changes and changes[name] != getattr(channel, name)]
    if not differing:
        return channel
    before = _shown(channel, differing)
    for name in differing:
        setattr(channel, name, changes[name])
    channel.version += 1
    channel.save(update_fields=[*differing, "version"])
    if "enabled" in differing:
        channel.failures, channel.error, channel.retry_at = 0, "", None
        channel.since_seq = log.head()
        channel.save(update_fields=["failures", "error", "retry_at", "since_seq"])
        if not channel.enabled:
            Posting.objects.filter(channel=channel, state="waiting").update(state="dead")
    record(channel, "channel.changed", actor, data={"before": before, "after": _shown(channel, differing)})
    return channel


@log.verb
def remove(actor: Actor, code: str) -> None:
    """With what waited for it. Records channel.removed. Locks the channel."""
    gone(_locked(actor, code), actor)


def gone(channel: Channel, actor: Actor, reason: str = "") -> None:
    """Joins the unit of the caller, which holds the lock on the channel. Records channel.removed."""
    record(channel, "channel.removed", actor, message=reason, data={"before": _shown(channel, CHANGEABLE)})
    channel.delete()


@log.verb
def test(actor: Actor, code: str) -> Channel:
    """Ask for one message to try it. It goes out within a second or two, quiet hours or not, and is not tried again.

    `tested_at` and `test_error` then say how that went. Records nothing. Locks the channel.
    """
    channel = _locked(actor, code)
    if not channel.enabled:
        raise Refused("It is switched off. Switch it on first.", code="disabled")
    channel.test_asked_at = log.now()
    channel.save(update_fields=["test_asked_at"])
    return channel


# ── when ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def times(user: User) -> TellingTimes:
    """As chosen, or as it is for somebody who chose nothing: at once, at any hour."""
    return TellingTimes.objects.filter(user=user).first() or TellingTimes(user=user)


@log.verb
def choose_times(actor: Actor, changes: dict[str, Any]) -> TellingTimes:
    """When the caller wants to be told. What waits is timed anew. Invalid: a zone, a time or a reason that is none.

    Records nothing: it is nobody else's business. Locks the person.
    """
    user = User.objects.select_for_update().get(pk=owner(actor).pk)
    chosen = times(user)
    for name in TIMES:
        if name in changes:
            setattr(chosen, name, changes[name])
    wrong: dict[str, str] = {}
    if chosen.time_zone not in available_timezones():
        wrong["time_zone"] = "Give a name of the time zone database, for example Europe/Berlin."
    if (chosen.quiet_from is None) is not (chosen.quiet_until is None):
        wrong["quiet_until" if chosen.quiet_from else "quiet_from"] = "Give both ends of the quiet hours, or none."
    elif chosen.quiet_from is not None and chosen.quiet_from == chosen.quiet_until:
        wrong["quiet_until"] = "Quiet hours end at another time than they begin."
    if chosen.digest not in dict(TellingTimes.DIGESTS):
        wrong["digest"] = "One of off, hourly, daily."
    if wrong:
        raise Invalid(wrong)
    chosen.urgent = _known(chosen.urgent, "urgent")
    chosen.version += 1
    chosen.save()
    _time_anew(chosen)
    return chosen


def _time_anew(chosen: TellingTimes) -> None:
    now = log.now()
    for reason in reasons():
        waiting = Posting.objects.filter(
            channel__user=chosen.user, state="waiting", tries=0, notification__reason=reason
        )
        waiting.update(due_at=due_at(chosen, reason, now))


def due_at(chosen: TellingTimes, reason: str, now: datetime) -> datetime:
    """When a notification that is made now goes out."""
    if reason in chosen.urgent:
        return now
    return timing.next_moment(
        now, ZoneInfo(chosen.time_zone), digest=chosen.digest, digest_at=chosen.digest_at,
        quiet=(chosen.quiet_from, chosen.quiet_until) if chosen.quiet_from and chosen.quiet_until else None,
    )  # fmt: skip


def clock(text: str) -> time | None:
    """As `time_of_day`; None for nothing."""
    return time_of_day(text) if text else None


def time_of_day(text: str) -> time:
    """`22:00` as a time. ValueError is the complaint."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text, re.ASCII):
        raise ValueError("Give a time of day, for example 22:00.")
    return time.fromisoformat(text)


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def sends_mail() -> bool:
    return bool(settings.MAIL_FROM)


def _checked(type: str, address: str, subscription: Any) -> tuple[str, str]:
    """What is kept of an address, and what of it may be shown."""
    if type not in TYPES:
        raise Invalid({"type": f"One of {', '.join(TYPES)}."})
    try:
        if type == "push":
            device = web_push.subscription_of(subscription)
            return web_push.kept(device), outgoing.host_of(device.endpoint)[:200]
        if type == "url":
            return address, chat_services.check(address)
    except ValueError as error:
        raise Invalid({"subscription" if type == "push" else "address": str(error)}) from None
    if not sends_mail():
        raise Refused(NO_MAIL, code="no_mail")
    try:
        validate_email(address)
    except ValidationError:
        raise Invalid({"address": "This is not an e-mail address."}) from None
    place, _, host = address.rpartition("@")
    return address, f"{place[:2]}…@{host}"[:200]


def _known(named: Sequence[str], where: str) -> list[str]:
    known = reasons()
    unknown = [reason for reason in named if reason not in known]
    if unknown:
        raise Invalid({where: f"There is no reason {unknown[0][:40]}. Use {', '.join(known)}."})
    return [reason for reason in known if reason in named]


def _digest(address: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), b"channel\0" + address.encode(), hashlib.sha256).hexdigest()


def _locked(actor: Actor, code: str) -> Channel:
    channel = Channel.objects.select_for_update().filter(user=owner(actor), code=code).first()
    if channel is None:
        raise NotThere("There is no such channel.")
    return channel


def _shown(channel: Channel, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(channel, name) for name in names}


def record(channel: Channel, kind: str, actor: Actor, *, data: dict[str, Any], message: str = "") -> Activity:
    told = {"channel": channel.code, "type": channel.type, "user": channel.user.get_username(), **data}
    return log.record(
        kind, actor, title=f"{channel.get_type_display()} of {channel.user.get_username()}", message=message, data=told
    )


def _new_code() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
