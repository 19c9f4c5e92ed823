"""The same POST twice has one effect and one answer. Not: which requests carry a key (rest.py, claim_answer.py).

The key's row is written first, in the transaction of the effect: a duplicate that arrives while the first still runs
waits for its commit on the unique index and is then given the same answer. What is kept is encrypted with the raw
key, of which only a hash is kept: a stolen database holds no lease token and no API key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import connection

from mission_control import log, sql, strict_json
from mission_control.actors import Actor
from mission_control.errors import Invalid, Refused
from mission_control.models import IdempotentAnswer

KEPT_HOURS = 24
REPLAYED = "Idempotent-Replayed"


class Reply(NamedTuple):
    """An answer before it becomes HTTP: `content` is JSON."""

    status: int
    content: bytes
    headers: dict[str, str]


class _NotKept(Exception):
    """Undoes the key's row: the answer changed nothing, so the next try is judged anew."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


def refusal(refused: Refused) -> Reply:
    return Reply(refused.status, strict_json.write(refused.body()), refused.headers())


def once(actor: Actor, key: str, request: bytes, work: Callable[[], Reply]) -> Reply:
    """`work()` in one unit with the key's row, or the answer that this caller's key was given before.

    `request` is what must be the same for it to count as the same request. Kept are 2xx and refusals that changed
    something; another refusal is raised and undoes all. Refused: 422 for another request, `Busy` when the first one
    runs for too long. Invalid: not 1 to 255 visible ASCII characters. Locks the key's row until the commit.
    """
    if not 1 <= len(key) <= 255 or not all("!" <= character <= "~" for character in key):
        raise Invalid({"Idempotency-Key": "Use 1 to 255 visible ASCII characters."})
    key_hash = hashlib.sha256(f"{actor.identity}\n{key}".encode()).hexdigest()
    request_hash = hashlib.sha256(request).hexdigest()
    try:
        return log.retried(lambda: _once(actor.identity, key, key_hash, request_hash, work))
    except _NotKept as answered:
        return answered.reply


def _once(caller: str, key: str, key_hash: str, request_hash: str, work: Callable[[], Reply]) -> Reply:
    with log.unit():
        row = _reserve(caller, key_hash, request_hash)
        if row is None:
            return _replayed(caller, key, key_hash, request_hash)
        try:
            reply = work()
            if not 200 <= reply.status < 300:
                raise _NotKept(reply)
        except Refused as refused:
            if not refused.keep:
                raise
            reply = refusal(refused)
        sql.change(
            "UPDATE mission_control_idempotentanswer SET status = %s, body = %s WHERE id = %s",
            [reply.status, _sealed(key, reply), row],
        )
        return reply


def _reserve(caller: str, key_hash: str, request_hash: str) -> int | None:
    """The id of the new row; None when the key was used within its time. A row past its time is taken over."""
    old = (
        f"clock_timestamp() - INTERVAL '{KEPT_HOURS} hours'"
        if connection.vendor == "postgresql"
        else f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', '-{KEPT_HOURS} hours')"
    )
    now = "clock_timestamp()" if connection.vendor == "postgresql" else log.SQLITE_NOW
    rows = sql.rows(
        "INSERT INTO mission_control_idempotentanswer AS kept (caller, key_hash, request_hash, at)"  # noqa: S608  # constants
        f" VALUES (%s, %s, %s, {now}) ON CONFLICT (caller, key_hash) DO UPDATE"
        " SET request_hash = excluded.request_hash, status = NULL, body = NULL, at = excluded.at"
        f" WHERE kept.at < {old} RETURNING id",
        [caller, key_hash, request_hash],
    )
    return rows[0][0] if rows else None


def _replayed(caller: str, key: str, key_hash: str, request_hash: str) -> Reply:
    row = IdempotentAnswer.objects.get(caller=caller, key_hash=key_hash)
    if not hmac.compare_digest(row.request_hash, request_hash):
        raise Refused(
            "This Idempotency-Key was used for another request. Use a new key for a new request.",
            code="idempotency_mismatch", status=422,
        )  # fmt: skip
    try:
        reply = _opened(key, bytes(row.body or b""))
    except (InvalidTag, ValueError):
        raise Refused(
            "This request was carried out, but its answer can no longer be read.", code="idempotency_lost"
        ) from None
    return Reply(row.status or 200, reply.content, {**reply.headers, REPLAYED: "true"})


def _sealed(key: str, reply: Reply) -> bytes:
    nonce = os.urandom(12)
    return nonce + _cipher(key).encrypt(nonce, json.dumps(reply.headers).encode() + b"\n" + reply.content, None)


def _opened(key: str, sealed: bytes) -> Reply:
    headers, _, content = _cipher(key).decrypt(sealed[:12], sealed[12:], None).partition(b"\n")
    return Reply(0, content, json.loads(headers))


def _cipher(key: str) -> AESGCM:
    return AESGCM(hmac.new(settings.SECRET_KEY.encode(), b"idempotency:" + key.encode(), hashlib.sha256).digest())


def forget_old() -> int:
    """Chore: remove answers past their time. Returns how many."""
    gone, _ = IdempotentAnswer.objects.filter(at__lt=log.now() - timedelta(hours=KEPT_HOURS)).delete()
    return gone
