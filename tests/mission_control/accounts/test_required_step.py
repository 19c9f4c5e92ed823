"""Where a second step is required, who has none comes to nothing but the pages that add one."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.test import Client

from mission_control import visitors
from mission_control.accounts import required_step
from mission_control.errors import NotAllowed
from mission_control.models import Activity

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def as_(actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


def opened(client: Client) -> visitors.Visitor:
    headers = {"host": "testserver", "origin": "http://testserver",
               "cookie": f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"}  # fmt: skip
    return visitors.admit(headers, "", "127.0.0.1", scheme="ws", browser_must_say_origin=True)


@pytest.fixture(autouse=True)
def here(settings):
    settings.ALLOWED_HOSTS = ["testserver"]


def test_who_has_none_is_led_to_add_one_from_everywhere_and_then_let_in(admin, viewer):
    client = as_(viewer)
    socket = opened(client)
    assert visitors.gone([socket]) == set()
    desk = as_(admin)
    assert desk.post("/settings/users/second-step", {"required": "1"}).status_code == 302
    for path in ("/", "/agents", "/account", "/settings/users", "/admin/", "/nowhere", "/skill.md"):
        assert client.get(path).headers["Location"] == "/account/second-step", path
    for path, headers in (("/rail", PART), ("/api/v1/tasks", {}), ("/api/v1/audit", {})):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "second_step_required"), path
    assert client.post("/api/v1/tickets", {}).status_code == 403
    assert desk.get("/settings/users").headers["Location"] == "/account/second-step"  # its maker is no exception
    with pytest.raises(NotAllowed, match="second step"):
        opened(client)
    assert visitors.gone([socket]) == {socket}
    page = client.get("/account/second-step").content.decode()
    assert "/account/passkeys/add" in page and "/account/authenticator/add" in page
    Authenticator.objects.create(user=viewer.user, type="recovery_codes", data={})
    assert client.get("/").status_code == 302
    Authenticator.objects.create(user=viewer.user, type="totp", data={})
    assert client.get("/").status_code == 200
    assert client.get("/account/second-step").headers["Location"] == "/"
    assert visitors.gone([opened(client)]) == set()


def test_agents_and_visitors_without_an_account_are_not_asked(admin, api_of, ada):
    required_step.change(admin, True)
    assert api_of(ada).get("/tasks").status_code == 200
    assert Client().get("/account/login").status_code == 200
    assert Client().get("/healthz").status_code == 200


def test_the_rule_is_recorded_when_it_changes_and_only_an_admin_changes_it(admin, operator):
    for required in (True, True, False):
        required_step.change(admin, required)
        assert required_step.is_required() is required
    lines = Activity.objects.filter(kind="fleet.changed").order_by("seq").values_list("actor", "data")
    assert list(lines) == [
        ("amy", {"before": {"second_step_required": False}, "after": {"second_step_required": True}}),
        ("amy", {"before": {"second_step_required": True}, "after": {"second_step_required": False}}),
    ]
    with pytest.raises(NotAllowed):
        required_step.change(operator, True)
    assert as_(operator).post("/settings/users/second-step", {"required": "1"}).status_code == 403
    assert required_step.is_required() is False


def test_a_new_process_and_a_forgotten_cache_read_the_rule_from_the_database(admin):
    from django.core.cache import cache

    required_step.change(admin, True)
    cache.clear()
    assert required_step.is_required() is True
