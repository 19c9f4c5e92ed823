"""The codes of an authenticator app (RFC 6238, six digits, thirty seconds, SHA-1), by no code of the product."""

import base64
import hashlib
import hmac
import time


def code_of(secret: str, steps_ahead: int = 0) -> str:
    counter = int(time.time()) // 30 + steps_ahead
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, counter.to_bytes(8, "big"), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"
