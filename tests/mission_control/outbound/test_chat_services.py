"""Channel URLs: only services that speak HTTP, only through the guarded client, and nothing of the URL is told on."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import pytest

from mission_control.outbound import chat_services
from mission_control.outbound.outgoing import NotSent
from tests.receiving import answering


def test_a_message_arrives_as_the_service_wants_it(receive):
    receiver = receive(answering(200))
    chat_services.send(f"json://user:geheim@127.0.0.1:{receiver.port}/in", "A task", "waits for a verdict")
    [(method, path, headers, body)] = receiver.seen
    assert (method, path) == ("POST", "/in")
    assert headers["Authorization"].startswith("Basic ")
    assert (json.loads(body)["title"], json.loads(body)["message"]) == ("A task", "waits for a verdict")


def test_a_service_of_another_kind_is_spoken_to_in_its_own_words(receive):
    receiver = receive(answering(200, b"{}"))
    chat_services.send(f"ntfy://127.0.0.1:{receiver.port}/alarms", "A task", "failed")
    [(_, _, headers, body)] = receiver.seen
    assert b"alarms" in body or "alarms" in receiver.seen[0][1]
    assert b"failed" in body


def test_a_private_address_that_is_not_listed_is_not_reached(receive):
    receiver = receive(answering(200), allowed=False)
    with pytest.raises(NotSent, match="not a public address") as refused:
        chat_services.send(f"json://127.0.0.1:{receiver.port}/secret-path", "x", "y")
    assert refused.value.code == "address_refused"
    assert "secret-path" not in refused.value.sentence
    assert receiver.seen == []


def test_a_redirect_is_not_followed_and_a_refusal_is_said(receive):
    inner = receive(answering(200))
    outer = receive(answering(302, location=f"http://127.0.0.1:{inner.port}/"))
    with pytest.raises(NotSent, match="answered 302"):
        chat_services.send(f"json://127.0.0.1:{outer.port}/?key=geheim", "x", "y")
    assert inner.seen == []
    angry = receive(answering(403))
    with pytest.raises(NotSent, match=f"^127.0.0.1:{angry.port} answered 403.$"):
        chat_services.send(f"json://127.0.0.1:{angry.port}/?key=geheim", "x", "y")


@pytest.mark.parametrize(
    "url",
    [
        "", "hello", "https://example.org/hook", "file:///etc/passwd", "syslog://", "rsyslog://10.0.0.1",
        "dbus://", "macosx://", "windows://", "gnome://", "mailto://user:pass@example.org", "mqtt://10.0.0.1/x",
        "irc://10.0.0.1/x", "xmpp://u:p@10.0.0.1", "growl://10.0.0.1", "vapid://x@example.org?keyfile=/etc/passwd",
        "apprise://10.0.0.1/x", "smpp://u:p@10.0.0.1/1/2", "blink1://", "custom://x", "json://", "tgram://nothing",
        "discord://1234567890/abcdefghijk?template=/etc/passwd", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?Template=/etc/passwd",
        "json://example.org/?store=yes", "json://example.org/" + "x" * 2000,
    ],
)  # fmt: skip
def test_what_is_not_a_service_over_http_is_refused(url):
    with pytest.raises(ValueError, match=r"\w"):
        chat_services.check(url)


def test_only_the_host_of_a_service_with_one_is_shown():
    assert chat_services.check("jsons://user:geheim@hook.example.org/token?key=geheim") == "jsons://hook.example.org/…"
    assert chat_services.check("discord://1234567890/abcdefghijk") == "discord://…"
    assert chat_services.check("ntfys://my-secret-topic") == "ntfys://…"


@pytest.mark.parametrize("name", sorted(set(chat_services.SERVICES.values())))
def test_a_service_of_the_list_has_no_way_out_but_ours(name):
    """The next release of the library may give a service another one: then it has to be read again."""
    plugin = chat_services._plugin(name)
    module = sys.modules[plugin.__module__]
    assert module.requests is chat_services._requests()
    for other in ("socket", "subprocess", "smtplib", "urllib3", "ssl", "http", "paho"):
        assert not hasattr(module, other), f"{name} has {other}"
    schemes = plugin.protocol, plugin.secure_protocol
    named = {s for scheme in schemes for s in ((scheme,) if isinstance(scheme, str) else scheme or ())}
    assert {scheme for scheme, of in chat_services.SERVICES.items() if of == name} <= named


def test_the_rest_of_the_library_keeps_its_own_client_and_is_not_taken():
    taken = set(chat_services.SERVICES.values())
    assert not taken & {"apprise_api", "email", "matrix", "twitter", "vapid", "rsyslog", "mqtt", "fcm", "aprs"}
    assert import_module("requests").post is not chat_services._requests().post
