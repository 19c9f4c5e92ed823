"""A login that fails leaves a line in the log, for people only."""

import pytest
from django.core.cache import cache

from mission_control import sight
from mission_control.actors import SCOPE_ABILITIES, Actor
from mission_control.models import Activity, User
from mission_control.strict_json import write

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
PASSWORD = "correct horse battery staple"


@pytest.fixture
def olivia():
    cache.clear()  # the limits of earlier tests
    return User.objects.create_user("olivia", password=PASSWORD, role="operator")


def failures():
    return list(Activity.objects.filter(kind="login.failed"))


def test_a_wrong_password_is_recorded_with_the_name_and_the_address(client, olivia):
    answer = client.post("/account/login", {"login": "olivia", "password": "not the password"}, REMOTE_ADDR="10.9.8.7")
    assert answer.status_code == 200
    [line] = failures()
    assert (line.title, line.level, line.data) == (
        "olivia",
        "warning",
        {"name": "olivia", "address": "10.9.8.7", "how": "password"},
    )
    assert "not the password" not in write([line.message, line.data]).decode()


def test_a_name_that_nobody_has_is_recorded_short_and_printable(client, olivia):
    client.post("/account/login", {"login": "no\u202ebody" + "x" * 100, "password": "whatever it is"})
    [line] = failures()
    assert line.title == "nobody" + "x" * 74


def test_a_right_password_is_not(client, olivia):
    answer = client.post("/account/login", {"login": "olivia", "password": PASSWORD})
    assert answer.status_code == 302
    assert failures() == []


def test_agents_do_not_see_it(client, olivia):
    client.post("/account/login", {"login": "olivia", "password": "not the password"})
    agent = Actor("agent", "ada", SCOPE_ABILITIES["work"])
    [line] = failures()
    assert not sight.may_see(agent, frozenset({"default"}), line)
    assert sight.may_see(Actor("user", "olivia"), None, line)
