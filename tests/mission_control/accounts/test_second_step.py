"""The second step of a login: codes, recovery codes, limits, what the log keeps of it, and ending all sessions."""

import re
from contextlib import suppress

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client

from mission_control.accounts import people
from mission_control.models import Activity, User
from mission_control.strict_json import write
from tests.authenticator import code_of

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery staple"
SECOND_STEP = "/account/login/second-step"


@pytest.fixture
def olivia(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # these tests sign in many times
    return User.objects.create_user("olivia", password=PASSWORD, role="admin")


def sign_in(client):
    return client.post("/account/login", {"login": "olivia", "password": PASSWORD})


def prove(client):
    """What opens changes of one's own way in for five minutes, also right after the login."""
    assert client.post("/account/reauthenticate", {"password": PASSWORD}).status_code == 302


def add_app(client):
    """The secret of an authenticator app that was added, and the recovery codes that came with it."""
    page = client.get("/account/authenticator/add").content.decode()
    secret = re.search(r'id="authenticator_secret">(\w+)<', page)[1]
    answer = client.post("/account/authenticator/add", {"code": code_of(secret)}, follow=True)
    cache.clear()  # as if the thirty seconds of that code were over
    return secret, re.findall(r"<li><code>(\w+)</code></li>", answer.content.decode())


def kinds(of=("user.changed", "login.succeeded", "login.failed")):
    return [(line.kind, line.data.get("change") or line.data.get("how")) for line in
            Activity.objects.filter(kind__in=of).order_by("seq")]  # fmt: skip


@pytest.fixture
def protected(client, olivia):
    sign_in(client)
    prove(client)
    return add_app(client)


def test_the_database_alone_gives_nobody_a_second_step(protected, settings):
    secret, codes = protected
    kept = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in kept and not any(code in kept for code in codes)
    other = Client()
    sign_in(other)
    settings.SECRET_KEY = "another key, of thirty-two characters"
    sign_in(other)
    for code in (code_of(secret), codes[0]):
        assert other.post(SECOND_STEP, {"code": code}).status_code == 200
    assert other.get("/").status_code == 302


def test_with_an_app_the_password_alone_opens_nothing(protected):
    other = Client()
    assert sign_in(other).headers["Location"] == SECOND_STEP
    for path in ("/", "/account", "/account/recovery-codes"):
        assert "/account/login" in other.get(path).headers["Location"]
    assert other.get("/admin/").headers["Location"].startswith("/admin/login/")
    assert other.post(SECOND_STEP, {"code": code_of(protected[0])}).headers["Location"] == "/"
    assert other.get("/account").status_code == 200


def test_a_wrong_code_is_refused_and_recorded_without_the_code(protected):
    other = Client()
    sign_in(other)
    answer = other.post(SECOND_STEP, {"code": "000000"})
    assert b"Incorrect code" in answer.content
    line = Activity.objects.get(kind="login.failed")
    assert (line.title, line.data["how"]) == ("olivia", "code")
    assert "000000" not in write([line.message, line.data]).decode()
    assert "/account/login" in other.get("/").headers["Location"]


def test_a_code_opens_once(protected):
    code = code_of(protected[0])
    first, second = Client(), Client()
    sign_in(first)
    assert first.post(SECOND_STEP, {"code": code}).status_code == 302
    sign_in(second)
    assert second.post(SECOND_STEP, {"code": code}).status_code == 200


def test_codes_cannot_be_tried_without_end(protected):
    other = Client()
    sign_in(other)
    for _ in range(5):
        assert b"Incorrect code" in other.post(SECOND_STEP, {"code": "000000"}).content
    answer = other.post(SECOND_STEP, {"code": code_of(protected[0])})
    assert b"Too many failed login attempts" in answer.content
    assert "/account/login" in other.get("/").headers["Location"]


def test_recovery_codes_are_shown_once_and_open_once_each(client, protected):
    codes = protected[1]
    assert len(codes) == 10
    assert codes[0] not in client.get("/account/recovery-codes").content.decode()
    for times, status in ((1, 302), (2, 200)):
        other = Client()
        sign_in(other)
        assert other.post(SECOND_STEP, {"code": codes[0]}).status_code == status, times
    assert "9 left" in client.get("/account").content.decode()


def test_new_recovery_codes_end_the_old_ones(client, protected):
    shown = client.post("/account/recovery-codes/new", follow=True).content.decode()
    new = re.findall(r"<li><code>(\w+)</code></li>", shown)
    assert len(new) == 10
    for code, status in ((protected[1][0], 200), (new[0], 302)):
        other = Client()
        sign_in(other)
        assert other.post(SECOND_STEP, {"code": code}).status_code == status


def test_pages_that_hold_secrets_are_kept_nowhere(client, olivia):
    sign_in(client)
    prove(client)
    for path in ("/account/authenticator/add", "/account/passkeys/add"):
        assert "no-store" in client.get(path).headers["Cache-Control"]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)  # some lines are written after the commit
def test_each_act_is_one_line_and_no_secret_is_in_it(client, protected):
    client.post("/account/recovery-codes/new")
    client.post("/account/authenticator/remove")
    client.post(
        "/account/password/change",
        {"oldpassword": PASSWORD, "password1": "a different long one", "password2": "a different long one"},
    )
    assert kinds() == [
        ("login.succeeded", None), ("user.changed", "authenticator_added"), ("user.changed", "recovery_codes"),
        ("user.changed", "authenticator_removed"), ("user.changed", "password"),
    ]  # fmt: skip
    lines = write(list(Activity.objects.values_list("title", "message", "data"))).decode()
    for secret in (protected[0], *protected[1], PASSWORD, "a different long one"):
        assert secret not in lines
    trail = client.get("/api/v1/audit").json()["entries"]
    assert [entry["message"] for entry in trail] == [
        "Password set", "Authenticator app removed", "New recovery codes made", "Authenticator app added",
        "From 127.0.0.1",
    ]  # fmt: skip


def test_a_change_needs_the_proof_again_after_a_while(client, protected):
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 3600
    session.save()
    answer = client.post("/account/authenticator/remove")
    assert "/account/reauthenticate" in answer.headers["Location"]
    assert ("user.changed", "authenticator_removed") not in kinds()


def test_another_persons_passkey_is_not_there(client, olivia):
    sign_in(client)
    prove(client)
    assert client.post("/account/passkeys/7/remove").status_code == 404


def test_a_passkey_that_is_none_is_refused_and_recorded(client, olivia):
    for credential in ("{}", "[]", "not json", '{"id": "AA", "rawId": "AA", "response": {}}'):
        answer = client.post("/account/login/passkey", {"credential": credential})
        assert answer.status_code == 302
        assert answer.headers["Location"] == "/account/login"
    assert "/account/login" in client.get("/").headers["Location"]
    assert ("login.failed", "passkey") in kinds()


def test_signing_out_everywhere_ends_all_other_sessions_and_not_this_one(client, olivia):
    other = Client()
    sign_in(client)
    sign_in(other)
    assert client.post("/account/sign-out-everywhere").headers["Location"] == "/account"
    assert client.get("/account").status_code == 200
    assert "/account/login" in other.get("/account").headers["Location"]
    assert kinds(("user.changed",)) == [("user.changed", "sessions_ended")]
    sign_in(other)
    assert other.get("/account").status_code == 200


def test_ending_sessions_twice_at_once_counts_both(olivia):
    stale = User.objects.get(pk=olivia.pk)
    people.sign_out_everywhere(olivia)
    people.sign_out_everywhere(stale)
    assert User.objects.get(pk=olivia.pk).sessions_ended == 2


def test_a_person_who_may_no_longer_sign_in_is_refused_at_the_second_step_too(protected, olivia):
    other = Client()
    sign_in(other)
    User.objects.filter(pk=olivia.pk).update(is_active=False)
    with suppress(AssertionError):
        other.post(SECOND_STEP, {"code": code_of(protected[0])})
    assert "/account/login" in other.get("/account").headers["Location"]
