"""Deliveries of webhooks: made from the log by a watermark, and made again on request. Not: sending them (sending.py).

A line is made a delivery of once for each webhook that it concerns, under the lock of the watermark `hooked`. Its
webhook-id is the same at each attempt, so that a receiver knows what it has seen.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Max, Min, Q
from django.db.models.functions import Now

from mission_control import live, log
from mission_control.actors import Actor
from mission_control.errors import NotThere, Refused
from mission_control.models import Activity, Delivery, Watermark, Webhook
from mission_control.outbound import webhooks

MARK = "hooked"
TEST = "webhook.test"
ASSIGNED = "task.assigned"  # what an agent's own address is told
PAGE = 500  # lines made deliveries of in one transaction
MOST_REDELIVERED = 10_000
KEPT_DAYS = 30

# Whether a line means work for the agent that it names. Set by the app of tasks.
assigns: Callable[[Activity], bool] = lambda line: False  # noqa: E731


# ── made from the log ───────────────────────────────────────────────────────────────────────────────────────────────


def make_from_log() -> int:
    """Make deliveries of all lines that are new. How many."""
    made = 0
    while _is_behind():
        more, reached_the_end = _make_page()
        made += more
        if reached_the_end:
            break
    return made


def _is_behind() -> bool:
    """Without a lock, so that a quiet log costs two reads."""
    head = log.head()
    enabled = Webhook.objects.filter(enabled=True, since_seq__lt=head)
    return Watermark.objects.filter(pk=MARK, seq__lt=head).exists() and enabled.exists()


@log.verb
def _make_page() -> tuple[int, bool]:
    """Locks the watermark. The lines are read before the webhooks: a webhook was there before any line it is told."""
    mark = Watermark.objects.select_for_update().get(pk=MARK)
    oldest = Webhook.objects.filter(enabled=True).aggregate(seq=Min("since_seq"))["seq"]
    if oldest is None:
        return 0, True
    start = max(mark.seq, oldest)
    until = Activity.objects.filter(seq__gt=start, seq__lte=start + PAGE).aggregate(seq=Max("seq"))["seq"]
    if until is None:
        return 0, True
    made = make(list(Webhook.objects.filter(enabled=True)), start, until, new_ones=True)
    Watermark.objects.filter(pk=MARK).update(seq=until, at=Now())
    return made, until < start + PAGE


def make(hooks: Sequence[Webhook], since: int, until: int, *, new_ones: bool = False) -> int:
    """Deliveries of the lines since < seq ≤ until to whom they concern; those that are there are left alone.

    `new_ones`: only lines that came after the webhook was made or enabled.
    """
    now = log.now()
    lines = list(Activity.objects.filter(seq__gt=since, seq__lte=until).order_by("seq"))
    authors = _authors(lines) if any(hook.agent for hook in hooks) else {}
    rows = [
        Delivery(
            webhook=hook, message_id=message_id(hook, line), seq=line.seq, next_at=now, created_at=now,
            kind=ASSIGNED if hook.agent else line.kind,
        )
        for line in lines
        for hook in hooks
        if concerns(hook, line, authors.get(line.seq, "")) and (line.seq > hook.since_seq or not new_ones)
    ]  # fmt: skip
    there = set(
        Delivery.objects.filter(webhook__in=hooks, seq__gt=since, seq__lte=until).values_list("webhook_id", "seq")
    )
    new = [row for row in rows if (row.webhook_id, row.seq) not in there]
    Delivery.objects.bulk_create(new, batch_size=PAGE)
    return len(new)


def message_id(hook: Webhook, line: Activity) -> str:
    """The same for the same line. After a restore another line may have its number: that is another message."""
    said = f"{hook.code}.{line.seq}.{int(line.at.timestamp() * 1000)}"
    return f"msg_{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def _authors(lines: Sequence[Activity]) -> dict[int, str]:
    """`{seq: slug}` of the lines that an agent wrote, or the product because of one that it wrote."""
    causes = Activity.objects.filter(actor_type="agent").in_bulk(
        [line.cause for line in lines if line.actor_type == "system" and line.cause]
    )
    authors = {line.seq: line.actor for line in lines if line.actor_type == "agent"}
    return authors | {
        line.seq: causes[line.cause].actor for line in lines if line.cause in causes and line.actor_type == "system"
    }


def concerns(hook: Webhook, line: Activity, author: str = "") -> bool:
    """Whether the webhook is told of this line. An agent is not told of what it caused itself."""
    if hook.agent:
        return line.agent == hook.agent != author and assigns(line)
    if hook.ventures and not {line.venture, line.venture_from} & set(hook.ventures):
        return False
    return not hook.kinds or line.kind in hook.kinds or f"{line.kind.partition('.')[0]}.*" in hook.kinds


def message(delivery: Delivery, line: Activity | None) -> dict[str, Any]:
    """The body: `{type, timestamp, data}`, as the standard advises; `data` is the line as `GET /activities` shows it."""
    if line is None:
        text = "This is a test. Nothing has happened."
        return {"type": delivery.kind, "timestamp": live.iso(delivery.created_at), "data": {"message": text}}
    return {"type": delivery.kind, "timestamp": live.iso(line.at), "data": live.as_json(line)}


# ── sending on request ──────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def test(actor: Actor, code: str) -> Delivery:
    """Send one message of type webhook.test. It goes out within a second and is not tried again. Records nothing."""
    webhooks.may_steer(actor)
    hook = webhooks.enabled(webhooks.locked(code))
    return Delivery.objects.create(
        webhook=hook, message_id=f"msg_{secrets.token_hex(16)}", kind=TEST,
        next_at=log.now(), created_at=log.now(),
    )  # fmt: skip


@log.verb
def redeliver(actor: Actor, code: str, message_id: str) -> Delivery:
    """Send one message again, at once and under the same webhook-id, with its whole schedule before it.

    Records webhook.redelivered. Locks the webhook.
    """
    webhooks.may_steer(actor)
    hook = webhooks.enabled(webhooks.locked(code))
    delivery = Delivery.objects.filter(webhook=hook, message_id=message_id).first()
    if delivery is None:
        raise NotThere("There is no such delivery.")
    _begin_anew(Delivery.objects.filter(pk=delivery.pk))
    _let_through(hook)
    webhooks.record(
        hook, "webhook.redelivered", actor, data={"since": delivery.seq - 1, "until": delivery.seq, "messages": 1}
    )
    delivery.refresh_from_db()
    return delivery


@log.verb
def redeliver_range(actor: Actor, code: str, *, since: int, until: int | None = None, everything: bool = False) -> int:
    """Send the lines since < seq ≤ until again: those that failed and those missed while disabled, or `everything`.

    How many. Refused beyond 10 000 lines. Records webhook.redelivered. Locks the watermark, so that no line is made a
    delivery of twice, and the webhook.
    """
    webhooks.may_steer(actor)
    mark = Watermark.objects.select_for_update().get(pk=MARK)
    hook = webhooks.enabled(webhooks.locked(code))
    told_up_to = max(mark.seq, hook.since_seq)
    until = min(told_up_to, until if until is not None else told_up_to)
    if until - since > MOST_REDELIVERED:
        raise Refused(f"That are more than {MOST_REDELIVERED} lines. Take a part of them.", code="too_many")
    again = Delivery.objects.filter(webhook=hook, seq__gt=since, seq__lte=until)
    if not everything:
        again = again.filter(state="dead")
    sent = _begin_anew(again) + make([hook], since, until)
    _let_through(hook)
    if sent:
        webhooks.record(hook, "webhook.redelivered", actor, data={"since": since, "until": until, "messages": sent})
    return sent


def _begin_anew(rows: Any) -> int:
    """What is on its way right now is left alone."""
    idle = Q(sending_until=None) | Q(sending_until__lt=Now())
    return int(rows.filter(idle).update(state="pending", tries=0, next_at=Now(), sending_until=None))


def _let_through(hook: Webhook) -> None:
    """Somebody says that it works again: its circuit gets a try now."""
    Webhook.objects.filter(pk=hook.pk).update(hold_until=None)


# ── when the log is restored or pruned ──────────────────────────────────────────────────────────────────────────────


def give_up_after_restore() -> int:
    """What waited when a backup was taken may have arrived since: it is dead, and so is what was not made yet.

    Joins the unit of the caller. How many; `redeliver_range` sends them, when somebody says that they are wanted.
    """
    reason = "It waited when the backup was taken and may have arrived since."
    held = Delivery.objects.filter(state="pending").update(state="dead", sending_until=None, answer=reason)
    Watermark.objects.filter(pk=MARK).update(seq=log.head(), at=Now())
    return int(held)


def wanted_above() -> int | None:
    """Lines with a higher number are yet to be told or wait to be sent; None: none are."""
    waiting = Delivery.objects.filter(state="pending", seq__gt=0).aggregate(seq=Min("seq"))["seq"]
    oldest = Webhook.objects.filter(enabled=True).aggregate(seq=Min("since_seq"))["seq"]
    told = None if oldest is None else max(oldest, Watermark.objects.get(pk=MARK).seq)
    return min((seq for seq in (waiting and waiting - 1, told) if seq is not None), default=None)


# ── small things ─────────────────────────────────────────────────────────────────────────────────────────────────────


def forget_old() -> int:
    """Chore: remove what was delivered or given up a month ago. Returns how many."""
    old = Delivery.objects.exclude(state="pending").filter(created_at__lt=log.now() - timedelta(days=KEPT_DAYS))
    gone, _ = old.delete()
    return gone
