"""Sending of deliveries until they arrive or are dead. Not: which there are (deliveries.py), how it is signed.

    pending ── sent, 2xx ──▶ delivered
       ▲ └──── sent, anything else ─▶ pending again by SCHEDULE, at its end or by 410 ─▶ dead
       └─ redelivered by a person ── delivered, dead

At least once: whoever takes a delivery holds it for a while, and after a kill in between the next process sends it
again. Requests run on an event loop of their own; all that touches the database runs in the thread of the chore.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from mission_control import live, log, strict_json
from mission_control.actors import system
from mission_control.models import Activity, Delivery, Webhook
from mission_control.outbound import deliveries, outgoing, signatures, webhooks
from mission_control.outbound.outgoing import Answer, NotSent

logger = logging.getLogger(__name__)

# Seconds before each try, after the one before it: 0, 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
SCHEDULE = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.1  # of each wait, either way
GIVEN_UP_AFTER = timedelta(days=5)  # of nothing but failures the webhook is disabled
CIRCUIT_AFTER = 5  # failures in a row: from then on one message at a time, with a pause between
PAUSES = (30, 900)  # seconds: the first pause and the longest; each is twice the one before
LONGEST_WAIT = 86_400  # that a Retry-After can ask for
SENDING_SECONDS = 60  # how long a delivery is held by who sends it; longer than outgoing.SECONDS
MOST_AT_ONCE = 64
KEPT_ATTEMPTS = 20
LOOK_SECONDS = 0.5  # for what is due meanwhile
STOP_SECONDS = 3  # for what is on its way when we are told to stop


@dataclass(frozen=True)
class Taken:
    """A delivery that this process sends now. `held_until` proves that it still may say how that went."""

    pk: int
    hook: int
    held_until: datetime
    url: str
    keys: tuple[bytes, ...]
    message_id: str
    body: bytes


def deliver(stopping: Callable[[], bool] = lambda: False, seconds: float = 20) -> tuple[int, int]:
    """Chore: make and send what is due until there is nothing more, or for so long. `(arrived, failed)`.

    Beyond the time, or when stopping, nothing new begins. What is on its way at a stop is left: it is sent again.
    """
    until = time.monotonic() + seconds
    arrived = failed = 0
    flying: dict[Future[Answer], Taken] = {}
    with _Network() as network:
        while True:
            if time.monotonic() < until and not stopping():
                deliveries.make_from_log()
                for taken in take(MOST_AT_ONCE - len(flying)):
                    flying[network.send(taken)] = taken
            if not flying:
                return arrived, failed
            if stopping():
                ended = wait(flying, timeout=STOP_SECONDS).done
            else:
                ended = wait(flying, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done
            for future in ended:
                good = _note_outcome(flying.pop(future), future)
                arrived, failed = arrived + good, failed + (not good)
            if stopping():
                return arrived, failed


def take(most: int) -> list[Taken]:
    """Hold up to so many due deliveries, no more of each webhook than it takes at once. Locks one webhook at a time."""
    taken: list[Taken] = []
    now = Now()
    due = Delivery.objects.filter(_is_due(), webhook=OuterRef("pk"))
    ready = Webhook.objects.filter(Q(hold_until=None) | Q(hold_until__lte=now), Exists(due), enabled=True)
    for pk in ready.order_by("?").values_list("pk", flat=True) if most else ():
        taken += _take_of(pk, most - len(taken))
        if len(taken) >= most:
            break
    return taken


def _is_due() -> Q:
    return Q(Q(sending_until=None) | Q(sending_until__lt=Now()), state="pending", next_at__lte=Now())


@log.verb
def _take_of(pk: int, most: int) -> list[Taken]:
    hook = Webhook.objects.select_for_update(skip_locked=True).filter(pk=pk, enabled=True).first()
    now = log.now()
    if hook is None or (hook.hold_until and hook.hold_until > now):
        return []
    flying = Delivery.objects.filter(webhook=hook, state="pending", sending_until__gt=now).count()
    room = (1 if hook.failures >= CIRCUIT_AFTER else hook.concurrency) - flying
    rows = list(Delivery.objects.filter(_is_due(), webhook=hook).order_by("next_at", "id")[: max(0, min(room, most))])
    if not rows:
        return []
    held_until = now + timedelta(seconds=SENDING_SECONDS)
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(sending_until=held_until)
    lines = Activity.objects.in_bulk([row.seq for row in rows if row.seq])
    try:
        keys = _keys(hook, now)
    except ValueError as error:
        webhooks.disable(hook, str(error), system("webhooks"))
        return []
    taken = []
    for row in rows:
        line = lines.get(row.seq)
        if line is None and row.kind != deliveries.TEST:
            Delivery.objects.filter(pk=row.pk).update(
                state="dead", sending_until=None, answer="The line is no longer in the log."
            )
            continue
        body = strict_json.write(deliveries.message(row, line))
        taken.append(Taken(row.pk, hook.pk, held_until, hook.url, keys, row.message_id, body))
    return taken


def _keys(hook: Webhook, now: datetime) -> tuple[bytes, ...]:
    kept = [hook.secret]
    if hook.old_secret and hook.old_secret_until and hook.old_secret_until > now:
        kept.append(hook.old_secret)
    return tuple(signatures.key_of(signatures.opened(secret)) for secret in kept)


class _Network:
    """The event loop that requests run on, in a thread that begins with the first of them."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None

    def __enter__(self) -> _Network:
        return self

    def send(self, taken: Taken) -> Future[Answer]:
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.loop.run_forever, name="webhooks", daemon=True)
            self.thread.start()
        return asyncio.run_coroutine_threadsafe(_send(taken), self.loop)

    def __exit__(self, *_: object) -> None:
        if self.loop and self.thread:
            asyncio.run_coroutine_threadsafe(_cancel_all(), self.loop).result(5)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(5)
            self.loop.close()


async def _send(taken: Taken) -> Answer:
    signed = signatures.signed(taken.keys, taken.message_id, int(time.time()), taken.body)
    headers = {"Content-Type": "application/json", **signed}
    return await outgoing.send("POST", taken.url, headers=headers, content=taken.body)


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


# ── how it went ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _note_outcome(taken: Taken, future: Future[Answer]) -> bool:
    try:
        return note(taken, future.result())
    except NotSent as failure:
        return note(taken, failure)
    except Exception:
        logger.exception("delivery %s", taken.message_id)
        return note(taken, NotSent("It could not be sent; the server's log says why.", "fault"))


@log.verb
def note(taken: Taken, outcome: Answer | NotSent) -> bool:
    """Write down how an attempt went and what follows; whether it arrived. Locks the webhook, then the delivery.

    Changes nothing when somebody else sends it by now, or it was given up or deleted meanwhile.
    """
    hook = Webhook.objects.select_for_update().filter(pk=taken.hook).first()
    row = Delivery.objects.select_for_update().filter(pk=taken.pk).first()
    good = isinstance(outcome, Answer) and outcome.is_good
    if hook is None or row is None or row.state != "pending" or row.sending_until != taken.held_until:
        return good
    now = log.now()
    row.tries += 1
    row.sending_until = None
    row.attempts = [*row.attempts, _attempt(outcome, now)][-KEPT_ATTEMPTS:]
    row.answer = "" if isinstance(outcome, NotSent) else _text(outcome.body)
    if good:
        row.state = "delivered"
        hook.failures, hook.failing_since, hook.hold_until, hook.delivered_at = 0, None, None, now
        hook.save(update_fields=["failures", "failing_since", "hold_until", "delivered_at"])
    else:
        _put_off(row, hook, outcome, now)
    row.save(update_fields=["tries", "sending_until", "attempts", "answer", "state", "next_at"])
    if not good and hook.enabled:
        _disable_if_hopeless(hook, outcome, now)
    return good


def _put_off(row: Delivery, hook: Webhook, outcome: Answer | NotSent, now: datetime) -> None:
    asked = _retry_after(outcome, now)
    if row.kind == deliveries.TEST or row.tries >= len(SCHEDULE) or _is_gone(outcome):
        row.state = "dead"
    else:
        row.next_at = now + timedelta(seconds=max(_jittered(SCHEDULE[row.tries]), asked))
    if row.kind == deliveries.TEST:
        return
    hook.failures += 1
    hook.failing_since = hook.failing_since or now
    pause = 0.0
    if hook.failures >= CIRCUIT_AFTER:
        pause = _jittered(min(PAUSES[0] * 2 ** min(hook.failures - CIRCUIT_AFTER, 10), PAUSES[1]))
    if max(pause, asked):
        hook.hold_until = now + timedelta(seconds=max(pause, asked))
    hook.save(update_fields=["failures", "failing_since", "hold_until"])


def _disable_if_hopeless(hook: Webhook, outcome: Answer | NotSent, now: datetime) -> None:
    if _is_gone(outcome):
        webhooks.disable(hook, "The endpoint answered 410: it is gone for good.", system("webhooks"))
    elif hook.failing_since and now - hook.failing_since >= GIVEN_UP_AFTER:
        webhooks.disable(hook, "For five days nothing arrived there.", system("webhooks"))


def _is_gone(outcome: Answer | NotSent) -> bool:
    return isinstance(outcome, Answer) and outcome.status == 410


def _attempt(outcome: Answer | NotSent, now: datetime) -> dict[str, Any]:
    if isinstance(outcome, NotSent):
        return {"at": live.iso(now), "status": None, "error": outcome.sentence, "milliseconds": None}
    error = "" if outcome.is_good else _why(outcome.status)
    return {"at": live.iso(now), "status": outcome.status, "error": error, "milliseconds": int(outcome.seconds * 1000)}


def _why(status: int) -> str:
    return (
        "A redirect is not followed: give the address that it leads to."
        if 300 <= status < 400
        else f"It answered {status}."
    )


def _text(body: bytes) -> str:
    return body[:500].decode("utf-8", "replace").replace("\0", "␀")


def _retry_after(outcome: Answer | NotSent, now: datetime) -> float:
    """Seconds that the endpoint asks for with 429 or 503; 0 without."""
    if isinstance(outcome, NotSent) or outcome.status not in (429, 503):
        return 0
    said = outcome.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return min(int(said[:9]), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(said)
        until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
        return min(max(0.0, (until - now).total_seconds()), LONGEST_WAIT)
    except (ValueError, TypeError, OverflowError):
        return 0


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)
