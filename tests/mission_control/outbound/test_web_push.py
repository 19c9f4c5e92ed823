"""Web push: encrypted as the standard's own example is, signed so that the push service can check it."""

from __future__ import annotations

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from mission_control.models import PushKey
from mission_control.outbound import web_push
from mission_control.outbound.web_push import Subscription, unwritten, written

# RFC 8291, section 5 and appendix A
POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SECRET = "BTBZMqHH6r4Tts7J_aSIgg"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_the_standard_comes_out_byte_by_byte():
    sender = ec.derive_private_key(int.from_bytes(unwritten(SENDER), "big"), web_push.CURVE)
    to = Subscription("https://push.example.net/x", unwritten(POINT), unwritten(SECRET))
    made = web_push.encrypted(b"When I grow up, I want to be a watermelon", to, sender, unwritten(SALT))
    assert written(made) == BODY


@pytest.mark.django_db
def test_the_key_is_made_once_and_kept_unreadable():
    public = web_push.public_key()
    assert web_push.public_key() == public
    assert PushKey.objects.count() == 1
    private = web_push.private_key()
    assert written(web_push.point_of(private)) == public
    number = private.private_numbers().private_value
    assert number.to_bytes(32, "big") not in bytes(PushKey.objects.get().private)
    assert format(number, "x").encode() not in bytes(PushKey.objects.get().private)


@pytest.mark.django_db
def test_a_push_says_who_sends_it_and_only_to_this_push_service(receive):
    from tests.receiving import answering

    receiver = receive(answering(201))
    web_push.public_key()
    private = web_push.private_key()
    to = Subscription(f"http://127.0.0.1:{receiver.port}/device", unwritten(POINT), unwritten(SECRET))
    assert web_push.send(to, {"title": "x"}, private, urgent=True).status == 201
    [(_, path, headers, body)] = receiver.seen
    assert path == "/device"
    assert (headers["Content-Encoding"], headers["TTL"], headers["Urgency"]) == ("aes128gcm", "86400", "high")
    assert b"title" not in body
    token, key = headers["Authorization"].removeprefix("vapid t=").split(", k=")
    head, claims, signature = token.split(".")
    raw = unwritten(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    public = ec.EllipticCurvePublicKey.from_encoded_point(web_push.CURVE, unwritten(key))
    public.verify(encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert said["aud"] == f"http://127.0.0.1:{receiver.port}"
    assert 0 < said["exp"] - time.time() < 24 * 3600


@pytest.mark.parametrize(
    "said",
    [
        None, [], {}, {"endpoint": "https://push.example.net/x"},
        {"endpoint": "https://10.0.0.1/x", "keys": {"p256dh": POINT, "auth": SECRET}},
        {"endpoint": "file:///etc/passwd", "keys": {"p256dh": POINT, "auth": SECRET}},
        {"endpoint": "https://push.example.net/x", "keys": {"p256dh": POINT[:-4], "auth": SECRET}},
        {"endpoint": "https://push.example.net/x", "keys": {"p256dh": POINT, "auth": "c2hvcnQ"}},
        {"endpoint": "https://push.example.net/x", "keys": {"p256dh": "ä", "auth": SECRET}},
    ],
)  # fmt: skip
def test_what_is_no_subscription_is_refused(said):
    with pytest.raises(ValueError, match=r"\w"):
        web_push.subscription_of(said)
