"""One-time links: the only way a new person gets a password, and the way back for who lost theirs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from mission_control.accounts import invitations, people
from mission_control.errors import NotAllowed, NotThere, Refused
from mission_control.models import Activity, Invitation, User
from mission_control.strict_json import write

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
NEW = {"new_password1": "a long enough one", "new_password2": "a long enough one"}


@pytest.fixture
def desk(admin) -> Client:
    client = Client()
    client.force_login(admin.user)
    return client


def told() -> list[tuple[str, str, str]]:
    return list(
        Activity.objects.filter(kind__startswith="user.").order_by("seq").values_list("kind", "actor", "message")
    )


def invited(desk: Client, name: str = "nora", role: str = "operator") -> str:
    answer = desk.post("/settings/users/invite", {"username": name, "role": role}, headers=PART)
    assert answer.status_code == 200, answer.content
    assert "no-store" in answer.headers["Cache-Control"]
    return re.search(r"<code>http://testserver(/welcome/[\w-]+)</code>", answer.content.decode())[1]


def test_who_is_invited_sets_a_password_once_and_signs_in_by_it(desk):
    link = invited(desk)
    assert "invited" in desk.get("/settings/users").content.decode()
    assert link not in desk.get("/settings/users").content.decode()
    visitor = Client()
    assert not visitor.login(username="nora", password="")
    assert "Welcome, nora" in visitor.get(link).content.decode()
    assert visitor.post(link, NEW).headers["Location"] == "/account/login"
    assert "Your password is set, nora" in visitor.get("/account/login").content.decode()
    assert (
        visitor.post("/account/login", {"login": "nora", "password": NEW["new_password1"]}).headers["Location"] == "/"
    )
    assert User.objects.get(username="nora").role == "operator"
    assert Client().get(link).status_code == Client().post(link, NEW).status_code == 404
    assert told() == [("user.created", "amy", ""), ("user.changed", "nora", "Password set by a one-time link")]
    token = link.rsplit("/", 1)[1]
    for secret in (token, NEW["new_password1"]):
        assert secret not in write(list(Activity.objects.values_list("title", "message", "data"))).decode()
        assert not Invitation.objects.filter(digest=secret).exists()


@pytest.mark.parametrize(
    "fields", [{"new_password1": "short", "new_password2": "short"}, {**NEW, "new_password2": "another long one"}, {}]
)
def test_a_password_that_does_not_do_leaves_the_link_good(desk, fields):
    link = invited(desk)
    assert Client().post(link, fields).status_code == 200
    assert not User.objects.get(username="nora").has_usable_password()
    assert Client().get(link).status_code == 200


def test_a_link_ends_with_its_time_its_successor_and_the_access_of_its_person(desk, admin):
    first = invited(desk)
    nora = User.objects.get(username="nora")
    second = invitations.renew(admin, nora)
    assert [Client().get(link).status_code for link in (first, second)] == [404, 200]
    people.change(admin, nora, {"is_active": False})
    assert Client().get(second).status_code == 404
    with pytest.raises(Refused, match="deactivated"):
        invitations.renew(admin, nora)
    people.change(admin, nora, {"is_active": True})
    Invitation.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert Client().get(second).status_code == 404
    with pytest.raises(NotThere):
        invitations.accept(second.rsplit("/", 1)[1], "hash")
    assert "The link has ended" in desk.get("/settings/users").content.decode()
    assert invitations.forget_old() == 1


def test_a_new_password_by_link_ends_the_sessions_of_who_had_the_old_one(desk, admin, viewer):
    theirs = Client()
    theirs.force_login(viewer.user)
    answer = desk.post(f"/settings/users/{viewer.user.pk}/link", headers=PART)
    link = re.search(r"(/welcome/[\w-]+)", answer.content.decode())[1]
    assert theirs.get("/").status_code == 200
    Client().post(link, NEW)
    assert theirs.get("/").headers["Location"].startswith("/account/login")


@pytest.mark.parametrize("fields", [{"username": "amy"}, {"username": ""}, {"username": "n o"}, {"role": "king"}])
def test_a_name_that_is_taken_or_none_and_a_role_that_is_none_are_refused(desk, fields):
    answer = desk.post("/settings/users/invite", {"username": "nora", "role": "viewer", **fields}, headers=PART)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert User.objects.count() == 1


def test_only_an_admin_makes_links_and_takes_second_steps(operator, viewer):
    for act in (invitations.renew, people.remove_second_step):
        with pytest.raises(NotAllowed):
            act(operator, viewer.user)
    with pytest.raises(NotAllowed):
        invitations.invite(operator, User(username="nora"))
    assert told() == []


def test_who_lost_the_second_step_signs_in_by_password_again(desk, viewer):
    from allauth.mfa.models import Authenticator

    theirs = Client()
    theirs.force_login(viewer.user)
    Authenticator.objects.create(user=viewer.user, type="totp", data={})
    for _ in range(2):
        answer = desk.post(f"/settings/users/{viewer.user.pk}/second-step/remove", headers=PART)
        assert "Authenticator app" not in answer.content.decode()
    assert not Authenticator.objects.exists()
    assert theirs.get("/").headers["Location"].startswith("/account/login")
    assert told() == [("user.changed", "amy", "Second step removed")]
