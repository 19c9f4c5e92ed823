"""Signatures of what we send, by Standard Webhooks, and how their secrets are kept. Not: when something is sent.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
A secret has to sign at every delivery, so it cannot be kept as a hash: it is encrypted with a key that is derived from
SECRET_KEY, which is not in the database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

PREFIX = "whsec_"
NEW_BYTES = 32
BYTES = (24, 64)  # what the standard allows


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(NEW_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign. ValueError is the complaint."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not BYTES[0] <= len(key) <= BYTES[1]:
        raise ValueError(f"Give {PREFIX} and the base64 of {BYTES[0]} to {BYTES[1]} bytes.")
    return key


def signed(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of the standard, with one signature for each key: during a rotation there are two."""
    text = f"{message_id}.{timestamp}.".encode() + body
    marks = (base64.b64encode(hmac.digest(key, text, "sha256")).decode() for key in keys)
    return {
        "webhook-id": message_id, "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{mark}" for mark in marks),
    }  # fmt: skip


def sealed(secret: str) -> bytes:
    """The secret as it is stored."""
    nonce = os.urandom(12)
    return nonce + _cipher().encrypt(nonce, secret.encode(), None)


def opened(kept: bytes | memoryview) -> str:
    """ValueError: SECRET_KEY is not the one that it was stored under."""
    raw = bytes(kept)
    try:
        return _cipher().decrypt(raw[:12], raw[12:], None).decode()
    except InvalidTag:
        raise ValueError("Its secret cannot be read: SECRET_KEY has changed. Rotate it.") from None


def _cipher() -> AESGCM:
    return AESGCM(hmac.new(settings.SECRET_KEY.encode(), b"webhook secrets", hashlib.sha256).digest())
