"""Retention: old lines leave the log and a signed checkpoint stays, from which seals and invariants count on.

Also checkpoints that are kept elsewhere, against which the whole chain can be held. Not: sealing and walking (log.py).
"""

from __future__ import annotations

import hmac
import operator
from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from typing import Any

from django.db.models import Q

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Refused
from mission_control.models import Activity, Checkpoint, PrunedTask, Seal, Watermark
from mission_control.outbound import deliveries, notifications

# Each says which lines stay although they are old; filled by the apps whose lines they are.
lasting: list[Callable[[], Q]] = []

LEAST = timedelta(days=1)  # younger lines are still wanted: by clients that come back, and by what is yet to be told
PAGE = 5000  # lines that go in one transaction


def prunable(age: timedelta) -> int:
    """The number of the last line that may go: older than `age`, sealed, counted and told. 0: none.

    The newest line stays, and so does the newest seal: the next one is chained to it. Refused for an age below LEAST.
    """
    if age < LEAST:
        raise Refused("Keep the log of at least one day.", code="too_young")
    moment = log.now() - age
    kept = Activity.objects.filter(at__gte=moment).order_by("seq").values_list("seq", flat=True).first()
    marks = dict(
        Watermark.objects.filter(name__in=("sealed", "counted", notifications.MARK)).values_list("name", "seq")
    )
    last = min((kept or log.head()) - 1, marks["counted"], marks[notifications.MARK], marks["sealed"] - 1)
    wanted = deliveries.wanted_above()
    return max(0, last if wanted is None else min(last, wanted))


def prune(actor: Actor, age: timedelta) -> int:
    """Take the lines older than `age` out of the log; how many went. Records log.pruned when any did.

    What is `lasting` stays below the checkpoint, in a chain of its own, and goes when it no longer is. Page by page, each in a transaction of its own with its checkpoint, so that a working fleet is not held up and a
    kill in between leaves a log that verifies.
    """
    upto, gone = prunable(age), 0
    while page := _prune_page(upto):
        gone += page[1]
    gone += _let_go()
    if gone:
        _tell(actor, upto, gone)
    return gone


@log.verb
def _prune_page(upto: int) -> tuple[int, int] | None:
    """`(up to which line, how many went)`, None at the end. Locks the watermark `sealed`: one prunes, or seals, at a time."""
    Watermark.objects.select_for_update().get(pk="sealed")
    before = Checkpoint.objects.first()
    cut = before.seq if before else 0
    upto = min(upto, cut + PAGE)
    if upto <= cut:
        return None
    going = Activity.objects.filter(seq__gt=cut, seq__lte=upto)
    _keep_state(going.exclude(task="").order_by("seq").values_list("task", "kind", "status_from", "status_to", "data"))
    last, seal = going.get(seq=upto), Seal.objects.get(seq=upto)
    gone, _ = going.exclude(_stays()).delete()
    stayed = log.chained(before.lasting if before else "", going)
    Checkpoint.objects.update_or_create(
        pk=1,
        defaults={
            "seq": upto, "mac": seal.mac, "key_id": seal.key_id, "lasting": stayed, "at": last.at,
            "signature": log.signature(upto, seal.mac, stayed),
        },
    )  # fmt: skip
    Seal.objects.filter(seq__lte=upto).delete()
    return upto, gone


@log.verb
def _let_go() -> int:
    """Lines that stayed below the checkpoint and no longer have to; how many went. Locks the watermark `sealed`."""
    Watermark.objects.select_for_update().get(pk="sealed")
    cut = Checkpoint.objects.first()
    if cut is None:
        return 0
    below = Activity.objects.filter(seq__lte=cut.seq)
    gone, _ = below.exclude(_stays()).delete()
    if gone:
        stayed = log.chained("", below)
        Checkpoint.objects.update(lasting=stayed, signature=log.signature(cut.seq, cut.mac, stayed))
    return gone


def _stays() -> Q:
    return reduce(operator.or_, (which() for which in lasting), Q(pk__in=()))


def _keep_state(lines: Any) -> None:
    """What these lines say at last of each task they name, over what was kept before. A task that is gone is let go."""
    said: dict[str, tuple[str | None, int]] = {}
    for code, kind, status_from, status_to, data in lines:
        status, epoch = said.get(code, (None, 0))
        if status_from or status_to:
            status = status_to
        if kind in ("task.claimed", "task.started"):
            epoch = data.get("epoch", epoch)
        said[code] = (status, epoch)
    before = PrunedTask.objects.in_bulk(list(said))
    kept = []
    for code, (status, epoch) in said.items():
        row = before.get(code) or PrunedTask(code=code, status="")
        row.status, row.epoch = row.status if status is None else status, epoch or row.epoch
        kept.append(row)
    PrunedTask.objects.bulk_create(
        kept, update_conflicts=True, unique_fields=["code"], update_fields=["status", "epoch"], batch_size=500
    )
    PrunedTask.objects.filter(code__in=[row.code for row in kept], status="").delete()


@log.verb
def _tell(actor: Actor, upto: int, gone: int) -> None:
    log.record("log.pruned", actor, message=f"{gone} lines up to {upto}.", data={"upto": upto, "lines": gone})


# ── checkpoints that are kept elsewhere ─────────────────────────────────────────────────────────────────────────────


def exported() -> dict[str, Any]:
    """The newest seal, signed: `{seq, mac, key_id, signature}`. Refused while nothing is sealed."""
    seal = Seal.objects.order_by("-seq").first()
    if seal is None:
        raise Refused("Nothing is sealed yet: a server or a worker does that within seconds.", code="not_sealed")
    return {"seq": seal.seq, "mac": seal.mac, "key_id": seal.key_id, "signature": log.signature(seal.seq, seal.mac)}


def contradiction(kept: dict[str, Any]) -> str:
    """Why the log is not the one in which this checkpoint was taken; "" when it is. ValueError: it is no checkpoint.

    Says more than the chain alone: an end that is missing, or a past that was sealed anew by who has the key.
    """
    try:
        seq, mac, signature = int(kept["seq"]), str(kept["mac"]), str(kept["signature"])
    except (KeyError, TypeError, ValueError):
        raise ValueError("This is no checkpoint of a log.") from None
    if not hmac.compare_digest(signature.encode(), log.signature(seq, mac).encode()):
        raise ValueError("This checkpoint was not made with the key of this log.")
    cut = Checkpoint.objects.filter(seq__gte=seq).first()
    if cut is not None and cut.seq > seq:
        return f"the log was pruned up to {cut.seq}, beyond the checkpoint at {seq}"
    there = cut.mac if cut is not None else Seal.objects.filter(seq=seq).values_list("mac", flat=True).first()
    if there is None:
        return f"the log ends before {seq}, where the checkpoint was taken"
    return "" if there == mac else f"the log up to {seq} is not the one in which the checkpoint was taken"
