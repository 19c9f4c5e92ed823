"""How a caller proves who it is: keys, limits on guessing, and when the open mode lets somebody in."""

import threading

import pytest
from django.core.cache import cache

from mission_control import callers
from mission_control.callers import TooFast, Unknown, identify, is_open_to, within
from mission_control.errors import Invalid, NotAllowed
from tests.conftest import key_of

PLAIN = {"host": "127.0.0.1:8000", "user-agent": "curl/8"}


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db
def test_a_key_is_shown_as_a_bearer_token(ada):
    secret = key_of(ada.agent)
    for said in (f"Bearer {secret}", f"bearer  {secret} "):
        assert identify({"authorization": said}, "").name == "ada"
    for said in (secret, f"Basic {secret}", f"Token {secret}", "Bearer", "Bearer mc_nobody", "Bearer ü"):
        with pytest.raises(Unknown):
            identify({"authorization": said}, "")
    assert identify({}, "203.0.113.9") is None


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["key={}", "ticket=x&token={}", "mc%5F{rest}", "a=mc_{rest}%20"])
def test_a_key_in_an_address_is_refused_also_a_good_one(where, ada):
    secret = key_of(ada.agent)
    with pytest.raises(Invalid):
        identify({"authorization": f"Bearer {secret}"}, "", where.format(secret, rest=secret[3:]))
    assert identify({"authorization": f"Bearer {secret}"}, "", "q=mc_board").name == "ada"


@pytest.mark.django_db
def test_guessing_keys_is_slowed_down_and_good_keys_still_work(ada, monkeypatch):
    monkeypatch.setattr(callers, "FAILED_LOGINS", (5, 60))
    said = []
    for _ in range(7):
        with pytest.raises((Unknown, TooFast)) as refusal:
            identify({"authorization": "Bearer mc_guess"}, "203.0.113.9")
        said.append(refusal.value.status)
    assert said == [401] * 5 + [429] * 2
    assert identify({"authorization": f"Bearer {key_of(ada.agent)}"}, "203.0.113.9").name == "ada"
    with pytest.raises(Unknown):
        identify({"authorization": "Bearer mc_guess"}, "203.0.113.10")


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_window_counts_exactly_also_when_many_come_at_once():
    passed, refused = [], []
    gate = threading.Barrier(12)

    def come():
        gate.wait(10)
        for _ in range(20):
            try:
                within("test", "somebody", 50, 60)
                passed.append(1)
            except TooFast as slow:
                refused.append(slow.facts["retry_after"])

    threads = [threading.Thread(target=come) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(passed), len(refused)) == (50, 190)
    assert set(refused) == {60}


def test_a_window_is_of_one_caller_and_one_thing_and_ends():
    within("register", "a", 1, 60)
    within("register", "b", 1, 60)
    within("login", "a", 1, 60)
    with pytest.raises(TooFast) as refusal:
        within("register", "a", 1, 60)
    assert refusal.value.headers() == {"Retry-After": "60"}
    cache.delete("within:register:a")
    within("register", "a", 1, 60)


def test_the_address_behind_a_proxy_counts_only_when_the_proxy_is_trusted(settings):
    headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.9"}
    assert callers.remote_of("10.0.0.1", headers) == "10.0.0.1"
    settings.TRUST_PROXY = True
    assert callers.remote_of("10.0.0.1", headers) == "203.0.113.9"
    assert callers.remote_of("10.0.0.1", {}) == "10.0.0.1"


# ── the open mode ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.8.8.8", "::1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:8000"])
def test_the_open_mode_is_for_plain_calls_on_this_machine(remote, host):
    assert is_open_to({**PLAIN, "host": host}, remote)


@pytest.mark.parametrize(
    ("headers", "remote"),
    [
        ({}, "203.0.113.9"),
        ({}, "10.0.0.1"),
        ({}, ""),
        ({}, "not an address"),
        ({"x-forwarded-for": "127.0.0.1"}, "127.0.0.1"),
        ({"x-forwarded-proto": "http"}, "127.0.0.1"),
        ({"x-forwarded-anything": ""}, "127.0.0.1"),
        ({"forwarded": "for=127.0.0.1"}, "127.0.0.1"),
        ({"x-real-ip": "127.0.0.1"}, "127.0.0.1"),
        ({"via": "1.1 proxy"}, "127.0.0.1"),
        ({"origin": "http://127.0.0.1:8000"}, "127.0.0.1"),
        ({"origin": "null"}, "127.0.0.1"),
        ({"sec-fetch-site": "cross-site"}, "127.0.0.1"),
        ({"sec-fetch-site": "same-site"}, "127.0.0.1"),
        ({"host": "evil.example"}, "127.0.0.1"),
        ({"host": "127.0.0.1.evil.example"}, "127.0.0.1"),
        ({"host": ""}, "127.0.0.1"),
    ],
)
def test_the_open_mode_lets_nobody_else_in(headers, remote):
    assert not is_open_to({**PLAIN, **headers}, remote)


@pytest.mark.django_db
def test_the_open_mode_is_off_unless_it_is_switched_on(settings):
    assert identify(PLAIN, "127.0.0.1") is None
    settings.OPEN_MODE = True
    assert identify(PLAIN, "127.0.0.1").name == "local"
    with pytest.raises(Unknown):
        identify({**PLAIN, "authorization": "Bearer mc_guess"}, "127.0.0.1")


# ── abilities ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.django_db
def test_what_a_caller_may_not_do_is_said_with_what_it_needs(viewer, ada):
    with pytest.raises(Unknown):
        callers.require(None, "read")
    with pytest.raises(NotAllowed) as refusal:
        callers.require(viewer, "operate", "work")
    assert refusal.value.facts["needs"] == ["operate", "work"]
    ada.agent.claimed_at = None
    object.__setattr__(ada, "abilities", frozenset())
    with pytest.raises(NotAllowed) as refusal:
        callers.require(ada, "read")
    assert refusal.value.code == "pending_claim"
