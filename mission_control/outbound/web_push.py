"""Web push: messages encrypted for one device, signed as ours. Not: who is told what (announcing.py).

RFC 8030 (delivery), 8188 and 8291 (encryption), 8292 (who sends). The push service of the browser's maker carries the
message and cannot read it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

from mission_control import log
from mission_control.models import PushKey
from mission_control.outbound import outgoing, signatures
from mission_control.outbound.outgoing import Answer

CURVE = ec.SECP256R1()
RECORD_BYTES = 4096
MOST_BYTES = 3000  # of a message; push services take 4096 bytes with all that is around it
KEPT_SECONDS = 24 * 3600  # how long the push service keeps it for a device that is off
SIGNED_SECONDS = 12 * 3600  # at most 24 hours


class Subscription(NamedTuple):
    """A device that wants to be told: where its push service listens, its public point and its shared secret."""

    endpoint: str
    point: bytes
    secret: bytes


def subscription_of(said: Any) -> Subscription:
    """What `PushSubscription.toJSON()` says in a browser. ValueError is the complaint."""
    keys = said.get("keys") if isinstance(said, dict) else None
    endpoint = said.get("endpoint") if isinstance(said, dict) else None
    if not isinstance(endpoint, str) or not isinstance(keys, dict):
        raise ValueError("Give a push subscription: endpoint, and keys with p256dh and auth.")
    outgoing.target_of(endpoint)
    try:
        point, secret = unwritten(str(keys.get("p256dh", ""))), unwritten(str(keys.get("auth", "")))
        ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
    except ValueError:
        raise ValueError("Its key p256dh is no point of P-256 in base64url.") from None
    if len(secret) != 16:
        raise ValueError("Its key auth is not 16 bytes in base64url.")
    return Subscription(endpoint, point, secret)


def kept(device: Subscription) -> str:
    """The subscription as JSON, without what else a browser or somebody else put into it."""
    keys = {"p256dh": written(device.point), "auth": written(device.secret)}
    return json.dumps({"endpoint": device.endpoint, "keys": keys})


def send(
    to: Subscription, message: dict[str, str], private: ec.EllipticCurvePrivateKey, *, urgent: bool = False
) -> Answer:
    """NotSent when there was no answer. 404 and 410: the device does not want to be told any more. Blocks."""
    body = encrypted(json.dumps(message).encode(), to, ec.generate_private_key(CURVE), os.urandom(16))
    headers = {
        "Content-Encoding": "aes128gcm", "Content-Type": "application/octet-stream", "TTL": str(KEPT_SECONDS),
        "Urgency": "high" if urgent else "normal", "Authorization": _who_we_are(to.endpoint, private),
    }  # fmt: skip
    return outgoing.request("POST", to.endpoint, headers=headers, content=body)


def encrypted(text: bytes, to: Subscription, ours: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """One record of aes128gcm (RFC 8291, section 3.4). `ours` and the 16 bytes of `salt` serve one message only."""
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, to.point)
    mine = point_of(ours)
    shared = ours.exchange(ec.ECDH(), theirs)
    common = _derived(shared, to.secret, b"WebPush: info\0" + to.point + mine, 32)
    key = _derived(common, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(common, salt, b"Content-Encoding: nonce\0", 12)
    head = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(mine)]) + mine
    return head + AESGCM(key).encrypt(nonce, text + b"\x02", None)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


# ── who we are ──────────────────────────────────────────────────────────────────────────────────────────────────────


@log.verb
def public_key() -> str:
    """The application server key that a browser subscribes with. Made at first need, once for all processes."""
    kept = PushKey.objects.filter(pk=1).first()
    if kept is None:
        made = ec.generate_private_key(CURVE)
        number = format(made.private_numbers().private_value, "x")
        PushKey.objects.bulk_create(
            [PushKey(pk=1, private=signatures.sealed(number), public=written(point_of(made)))], ignore_conflicts=True
        )
        kept = PushKey.objects.get(pk=1)
    return kept.public


def private_key() -> ec.EllipticCurvePrivateKey:
    """ValueError: SECRET_KEY is not the one that it was stored under."""
    kept = PushKey.objects.get(pk=1)
    return ec.derive_private_key(int(signatures.opened(kept.private), 16), CURVE)


def _who_we_are(endpoint: str, private: ec.EllipticCurvePrivateKey) -> str:
    """The header of RFC 8292: a token for this push service only, and the key that it is signed with."""
    place = urlsplit(endpoint)
    claims = {
        "aud": f"{place.scheme}://{place.netloc}", "exp": int(time.time()) + SIGNED_SECONDS,
        "sub": settings.PUBLIC_URL if settings.PUBLIC_URL.startswith("https://") else "mailto:operator@localhost",
    }  # fmt: skip
    parts = ({"typ": "JWT", "alg": "ES256"}, claims)
    text = ".".join(written(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    r, s = decode_dss_signature(private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    signature = written(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return f"vapid t={text}.{signature}, k={written(point_of(private))}"


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def point_of(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unwritten(text: str) -> bytes:
    """ValueError: not base64url."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("This is not base64url.") from None
