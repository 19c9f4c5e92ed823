"""The page of the people who may sign in, and the frame of the settings that it hangs in."""

from __future__ import annotations

import pytest
from django.test import Client

from mission_control.models import Activity, User

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def as_(actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


@pytest.fixture
def desk(admin) -> Client:
    return as_(admin)


def test_the_frame_leads_to_the_first_tab_and_shows_only_what_the_role_may_see(desk, operator):
    assert desk.get("/settings").headers["Location"] == "/account"
    page = desk.get("/settings/users").content.decode()
    assert 'href="/settings/users" aria-current="page"' in page
    assert "/settings/users" not in as_(operator).get("/account").content.decode()


@pytest.mark.parametrize("who", ["operator", "viewer"])
@pytest.mark.parametrize(
    "path", ["", "/list", "/1/role", "/invite", "/1/link", "/1/deactivate", "/1/reactivate", "/1/second-step/remove"]
)
def test_only_an_admin_sees_and_changes_the_people(who, path, request):
    client = as_(request.getfixturevalue(who))
    ask = client.get if path in ("", "/list") else client.post
    assert ask(f"/settings/users{path}", headers=PART).status_code == 403


def test_the_list_says_role_last_sign_in_and_second_step(desk, operator):
    from allauth.mfa.models import Authenticator

    Authenticator.objects.create(user=operator.user, type="totp", data={})
    page = desk.get("/settings/users").content.decode()
    line = page.split(f'id="member-{operator.user.pk}"')[1].split("</li>")[0]
    assert "olivia" in line and "Operator" in line and "Authenticator app" in line and "Never signed in" in line
    assert "Password only" in page.split(f'id="member-{User.objects.get(username="amy").pk}"')[1].split("</li>")[0]


def test_a_role_changes_at_once_and_is_recorded(desk, viewer):
    answer = desk.post(f"/settings/users/{viewer.user.pk}/role", {"role": "operator"}, headers=PART)
    assert answer.status_code == 200
    assert 'id="people"' in answer.content.decode()
    assert User.objects.get(username="victor").role == "operator"
    line = Activity.objects.order_by("-seq")[0]
    assert (line.kind, line.actor, line.message) == ("user.changed", "amy", "Role viewer → operator")
    assert desk.post(f"/settings/users/{viewer.user.pk}/role", {"role": "king"}, headers=PART).status_code == 400
    assert desk.post("/settings/users/999999/role", {"role": "viewer"}, headers=PART).status_code == 404


def test_who_is_deactivated_is_signed_out_and_may_come_back(desk, viewer):
    theirs = as_(viewer)
    assert theirs.get("/").status_code == 200
    desk.post(f"/settings/users/{viewer.user.pk}/deactivate", headers=PART)
    assert theirs.get("/").headers["Location"].startswith("/account/login")
    assert "deactivated" in desk.get("/settings/users/list").content.decode()
    desk.post(f"/settings/users/{viewer.user.pk}/reactivate", headers=PART)
    assert User.objects.get(username="victor").is_active


def test_the_last_admin_keeps_role_and_access(desk, admin):
    for act, form in (("role", {"role": "viewer"}), ("deactivate", {})):
        answer = desk.post(f"/settings/users/{admin.user.pk}/{act}", form, headers=PART)
        assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
    assert User.objects.get(username="amy").role == "admin"
