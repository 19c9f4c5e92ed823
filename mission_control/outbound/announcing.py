"""Telling people outside of the page: postings made from notifications, and sent. Not: who is told of what, and where.

    waiting ── its message arrived ──▶ sent
       │ └──── it did not ─▶ waiting again by SCHEDULE, at its end ─▶ dead
       └─ its person read it on the page meanwhile ─▶ read

A notification becomes a posting of a channel once, under the lock of the watermark `posted`. What is due of a channel
goes out as one message: after quiet hours, or by a digest, it is one for all. On the wire it is at least once: who sends
holds the channel for a while, and after a kill in between the next process sends that message again.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Exists, F, Min, OuterRef, Q
from django.db.models.functions import Now

from mission_control import log
from mission_control.actors import system
from mission_control.models import Channel, Notification, Posting, TellingTimes, Watermark
from mission_control.outbound import channels, chat_services, signatures, web_push
from mission_control.outbound.notifications import MARK as TOLD
from mission_control.outbound.notifications import REASONS, WHY
from mission_control.outbound.outgoing import NotSent

logger = logging.getLogger(__name__)

MARK = "posted"
PAGE = 500  # lines in one transaction
SCHEDULE = (10, 60, 300, 1800, 7200, 21_600, 43_200)  # seconds after each failure of a channel in a row
HOLD_SECONDS = 120  # how long a channel is held by who sends; longer than any message takes
MOST_AT_ONCE = 8
MOST_LINES = 20  # of one message that are spelled out
MOST_POSTINGS = 500  # of one message
LOOK_SECONDS = 0.5
STOP_SECONDS = 3


# ── made from notifications ─────────────────────────────────────────────────────────────────────────────────────────


def make_from_notifications() -> int:
    """Make the postings of the notifications that are new. How many. One read if nobody has a channel."""
    made = 0
    while Channel.objects.filter(enabled=True).exists() and Watermark.objects.filter(pk=MARK, seq__lt=_told()).exists():
        made += _make_page()
    return made


def _told() -> int:
    """All notifications of lines up to this one are there: they were written under the lock of this watermark."""
    return Watermark.objects.get(pk=TOLD).seq


@log.verb
def _make_page() -> int:
    """Locks the watermark. It stands still while nobody has a channel: then it goes on at the line of the first."""
    mark = Watermark.objects.select_for_update().get(pk=MARK)
    told = _told()
    oldest = Channel.objects.filter(enabled=True).aggregate(seq=Min("since_seq"))["seq"]
    start = max(mark.seq, told if oldest is None else oldest)
    until = max(mark.seq, min(told, start + PAGE))
    new = Notification.objects.filter(recipient_type="user", seq__gt=start, seq__lte=until, read_at=None)
    rows = _postings(list(new.order_by("seq", "id")))
    Posting.objects.bulk_create(rows, batch_size=PAGE, ignore_conflicts=True)
    Watermark.objects.filter(pk=MARK).update(seq=until, at=Now())
    return len(rows)


def _postings(new: Sequence[Notification]) -> list[Posting]:
    names = {row.recipient for row in new}
    if not names:
        return []
    open_to: dict[str, list[Channel]] = {}
    reachable = Channel.objects.filter(enabled=True, user__is_active=True, user__username__in=names)
    for channel in reachable.select_related("user"):
        open_to.setdefault(channel.user.get_username(), []).append(channel)
    chosen = {row.user_id: row for row in TellingTimes.objects.filter(user__username__in=open_to)}
    now = log.now()
    return [
        Posting(
            channel=channel, notification=row,
            due_at=channels.due_at(chosen.get(channel.user_id) or TellingTimes(), row.reason, now),
        )
        for row in new
        for channel in open_to.get(row.recipient, ())
        if row.reason in channel.reasons and row.seq > channel.since_seq
    ]  # fmt: skip


# ── sent ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Message:
    """What one channel is told at once. `held_until` proves that the process that took it may still say how it went."""

    channel: int
    held_until: datetime
    type: str
    address: str
    title: str
    text: str
    path: str
    urgent: bool
    postings: tuple[int, ...]  # none: a test
    push_key: Any = None

    @property
    def is_test(self) -> bool:
        return not self.postings


def tell(stopping: Callable[[], bool] = lambda: False, seconds: float = 20) -> tuple[int, int]:
    """Chore: make postings and send what is due until there is nothing more, or for so long. `(arrived, failed)`.

    Beyond the time, or when stopping, nothing new begins. What is on its way at a stop is left: it is sent again.
    """
    until = time.monotonic() + seconds
    arrived = failed = 0
    flying: dict[Future[None], Message] = {}
    while True:
        if time.monotonic() < until and not stopping():
            make_from_notifications()
            for message in take(MOST_AT_ONCE - len(flying)):
                flying[_begin(message)] = message
        if not flying:
            return arrived, failed
        ended = wait(flying, STOP_SECONDS if stopping() else LOOK_SECONDS, return_when=FIRST_COMPLETED).done
        for future in ended:
            good = _note_outcome(flying.pop(future), future)
            arrived, failed = arrived + good, failed + (not good)
        if stopping() and not ended:
            return arrived, failed


def _begin(message: Message) -> Future[None]:
    """In a thread that does not keep the process from ending, as those of an executor would."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            send(message)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="tell", daemon=True).start()
    return future


def take(most: int) -> list[Message]:
    """Hold up to so many channels that have something due, with their messages. Locks one channel at a time."""
    due = Posting.objects.filter(channel=OuterRef("pk"), state="waiting", due_at__lte=Now())
    may_try = Q(retry_at=None) | Q(retry_at__lte=Now())
    ready = Channel.objects.filter(
        Q(test_asked_at__isnull=False) | (may_try & Exists(due)),
        Q(held_until=None) | Q(held_until__lte=Now()),
        enabled=True, user__is_active=True,
    )  # fmt: skip
    taken = []
    for pk in ready.order_by("?").values_list("pk", flat=True)[: most * 4] if most > 0 else ():
        message = _take_of(pk)
        if message is not None:
            taken.append(message)
        if len(taken) >= most:
            break
    return taken


@log.verb
def _take_of(pk: int) -> Message | None:
    channel = Channel.objects.select_for_update(skip_locked=True).filter(pk=pk, enabled=True).first()
    now = log.now()
    if channel is None or (channel.held_until and channel.held_until > now):
        return None
    is_test = channel.test_asked_at is not None
    rows: list[Posting] = []
    if not is_test:
        if channel.retry_at and channel.retry_at > now:
            return None
        due = Posting.objects.filter(channel=channel, state="waiting", due_at__lte=now)
        due.filter(notification__read_at__isnull=False).update(state="read")
        rows = list(due.select_related("notification").order_by("notification_id")[:MOST_POSTINGS])
        if not rows:
            return None
    channel.held_until = now + timedelta(seconds=HOLD_SECONDS)
    channel.save(update_fields=["held_until"])
    try:
        address = signatures.opened(channel.address)
        push_key = web_push.private_key() if channel.type == "push" else None
    except ValueError:
        sentence = "Its address cannot be read: SECRET_KEY has changed. Add it again."
        _fail(channel, [row.pk for row in rows], sentence, now)
        return None
    told = [row.notification for row in rows]
    title, text, path = _words(told)
    return Message(
        channel.pk, channel.held_until, channel.type, address, title, text, path,
        is_test or any(one.level in ("error", "warning") for one in told), tuple(row.pk for row in rows), push_key,
    )  # fmt: skip


def send(message: Message) -> None:
    """NotSent says why it did not arrive. Blocks; touches no database."""
    link = f"{settings.PUBLIC_URL}{message.path}" if settings.PUBLIC_URL else ""
    text = f"{message.text}\n\n{link}" if link else message.text
    if message.type == "url":
        chat_services.send(message.address, message.title, text)
    elif message.type == "email":
        _mail(message, text)
    else:
        _push(message)


def _mail(message: Message, text: str) -> None:
    if not channels.sends_mail():
        raise NotSent(channels.NO_MAIL, "no_mail")
    foot = f"\n\n-- \nWhat you are told, and when: {settings.PUBLIC_URL}/settings/notifications"
    mail = EmailMessage(
        f"[Mission Control] {message.title}"[:200], text + (foot if settings.PUBLIC_URL else ""),
        settings.MAIL_FROM, [message.address], headers={"Auto-Submitted": "auto-generated"},
    )  # fmt: skip
    try:
        mail.send()
    except OSError as error:  # smtplib's errors are such as well
        code = getattr(error, "smtp_code", None)
        said = f"The mail server answered {code}." if code else "The mail server cannot be reached."
        raise NotSent(said, "not_mailed") from error


def _push(message: Message) -> None:
    device = web_push.subscription_of(json.loads(message.address))
    body = message.text.encode()[: web_push.MOST_BYTES - 1000].decode(errors="ignore")
    said = {"title": message.title[:150], "body": body, "path": message.path}
    answer = web_push.send(device, said, message.push_key, urgent=message.urgent)
    if answer.status in (404, 410):
        raise NotSent("The device does not want to be told any more.", "gone")
    if not answer.is_good:
        raise NotSent(f"The push service answered {answer.status}.", "refused")


def _words(told: Sequence[Notification]) -> tuple[str, str, str]:
    """Title, text and path of what is told: one by itself, several with the most pressing first. Of none: a test."""
    if not told:
        return "A test", "This is a test. Nothing has happened.", "/settings/notifications"
    if len(told) == 1:
        [one] = told
        said = f": {one.message}" if one.message else ""
        return _line(one), f"{one.actor}{said}", f"/tasks/{one.task}" if one.task else "/"
    pressing = sorted(told, key=lambda one: REASONS.index(one.reason))
    lines = [f"· {_line(one)}" for one in pressing[:MOST_LINES]]
    if len(told) > MOST_LINES:
        lines.append(f"and {len(told) - MOST_LINES} more")
    return f"{len(told)} things to know", "\n".join(lines), "/inbox"


def _line(one: Notification) -> str:
    return " ".join(f"{one.title or one.kind} {WHY[one.reason]}".split())


# ── how it went ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _note_outcome(message: Message, future: Future[None]) -> bool:
    try:
        future.result()
        return note(message)
    except NotSent as failure:
        return note(message, failure)
    except Exception as error:
        # Without the traceback and the words of the error, which may hold the address.
        logger.error("channel %s: %s", message.channel, type(error).__name__)
        return note(message, NotSent("It could not be sent: its service gave no reason.", "fault"))


@log.verb
def note(message: Message, failure: NotSent | None = None) -> bool:
    """Write down how a message went and what follows; whether it arrived. Locks the channel, then its postings.

    Changes nothing when somebody else holds the channel by now.
    """
    channel = Channel.objects.select_for_update().filter(pk=message.channel, held_until=message.held_until).first()
    if channel is None:
        return failure is None
    now = log.now()
    if failure is not None and failure.code == "gone":
        channels.gone(channel, system("notifications"), failure.sentence)
    elif failure is not None:
        _fail(channel, message.postings, failure.sentence, now)
    else:
        Posting.objects.filter(pk__in=message.postings, state="waiting").update(state="sent")
        channel.failures, channel.error, channel.retry_at, channel.sent_at = 0, "", None, now
        _let_go(channel, "", now, is_test=message.is_test)
    return failure is None


def _fail(channel: Channel, postings: Sequence[int], reason: str, now: datetime) -> None:
    """Without postings it was a test. One that failed puts nothing off: it is not tried again."""
    if postings:
        again = Posting.objects.filter(pk__in=postings, state="waiting")
        again.update(tries=F("tries") + 1)
        again.filter(tries__gt=len(SCHEDULE)).update(state="dead")
        channel.failures += 1
        channel.error = reason[:500]
        channel.retry_at = now + timedelta(seconds=SCHEDULE[min(channel.failures, len(SCHEDULE)) - 1])
    _let_go(channel, reason[:500], now, is_test=not postings)


def _let_go(channel: Channel, reason: str, now: datetime, *, is_test: bool) -> None:
    """A test that was asked for while something else was on its way is still to be sent."""
    channel.held_until = None
    if is_test:
        channel.test_asked_at, channel.tested_at, channel.test_error = None, now, reason
    channel.save(
        update_fields=[
            "held_until", "failures", "error", "retry_at", "sent_at", "test_asked_at", "tested_at", "test_error",
        ]
    )  # fmt: skip


# ── when the log is restored ────────────────────────────────────────────────────────────────────────────────────────


def give_up_after_restore() -> int:
    """What waited when a backup was taken may have arrived since. Joins the unit of the caller. How many."""
    held = Posting.objects.filter(state="waiting").update(state="dead")
    Channel.objects.update(held_until=None, test_asked_at=None)
    Watermark.objects.filter(pk=MARK).update(seq=log.head(), at=Now())
    return int(held)
