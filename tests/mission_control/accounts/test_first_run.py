"""The first admin is made once, by a link, and by nothing else."""

from __future__ import annotations

import pytest
from django.test import Client

from mission_control.accounts import first_run
from mission_control.errors import NotThere
from mission_control.models import Activity, SetupLink, User

pytestmark = pytest.mark.django_db
PASSWORD = {"password1": "correct horse battery", "password2": "correct horse battery"}


def test_the_link_makes_the_admin_signs_in_and_is_used_up():
    link, other = first_run.new_link(), first_run.new_link()
    client = Client()
    answer = client.post(link, {"username": "nora", **PASSWORD})
    assert answer.headers["Location"] == "/connect"
    nora = User.objects.get()
    assert (nora.username, nora.role, nora.is_staff, nora.check_password(PASSWORD["password1"])) == (
        "nora",
        "admin",
        True,
        True,
    )
    assert client.get("/agents").status_code == 200
    assert Activity.objects.filter(kind="user.created", title="nora").count() == 1
    for used in (link, other):
        assert Client().post(used, {"username": "eve", **PASSWORD}).status_code == 404
    assert first_run.new_link() == ""
    assert SetupLink.objects.count() == 0


@pytest.mark.parametrize(
    "fields",
    [{"username": ""}, {"username": "nora", "password1": "short", "password2": "short"},
     {"username": "nora", **PASSWORD, "password2": "other"}, {"username": "n o", **PASSWORD}],
)  # fmt: skip
def test_a_bad_form_makes_nobody_and_keeps_the_link(fields):
    link = first_run.new_link()
    assert Client().post(link, fields).status_code == 200
    assert not User.objects.exists()
    assert first_run.is_valid(link.removeprefix(first_run.PATH))


def test_a_guess_makes_nobody():
    first_run.new_link()
    assert Client().post("/first-run/guess", {"username": "eve", **PASSWORD}).status_code == 404
    with pytest.raises(NotThere):
        first_run.make_admin("guess", User(username="eve"))
    assert not User.objects.exists()


def test_the_secret_of_the_link_is_not_kept():
    token = first_run.new_link().removeprefix(first_run.PATH)
    assert token not in SetupLink.objects.get().digest


def test_the_login_page_says_where_the_link_is_until_somebody_can_sign_in(client):
    assert "printed a link" in client.get("/account/login").content.decode()
    User.objects.create(username="nora", role="admin")
    assert "printed a link" not in client.get("/account/login").content.decode()
