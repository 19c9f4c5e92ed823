"""Agents and keys in the admin: edits are the roster's verbs, a key is shown once, revoking is an action."""

import pytest
from django.test import Client

from agents import keys, roster
from agents.models import Agent, AgentKey
from mission_control import log
from mission_control.actors import person
from mission_control.models import Activity, User
from tests.admin_pages import act, errors, form_of, send
from ventures import catalogue

pytestmark = pytest.mark.django_db

LIST = "/admin/agents/agent/"
KEYS = "/admin/agents/agentkey/"


@pytest.fixture
def admiral():
    return person(User.objects.create(username="admiral", role="admin"))


@pytest.fixture
def desk(admiral):
    client = Client()
    client.force_login(admiral.user)
    return client


@pytest.fixture
def ada(admiral):
    return roster.create(admiral, name="Ada", slug="ada", capabilities=["python"])


def newest() -> Activity:
    return Activity.objects.order_by("-seq")[0]


def test_an_edit_is_one_activity_with_before_and_after(desk, ada):
    head = log.head()
    answer = send(
        desk, f"{LIST}{ada.pk}/change/", capabilities="SQL, python , sql", max_concurrent="2",
        available_hours='{"timezone": "Europe/Warsaw", "hours": ["09:00-17:30"]}',
    )  # fmt: skip
    assert errors(answer) == ""
    ada.refresh_from_db()
    assert (ada.capabilities, ada.max_concurrent) == (["python", "sql"], 2)
    assert log.head() == head + 1
    assert (newest().kind, newest().agent, newest().actor) == ("agent.changed", "ada", "admiral")
    assert newest().data["before"] == {"capabilities": ["python"], "available_hours": None, "max_concurrent": None}
    send(desk, f"{LIST}{ada.pk}/change/")
    assert log.head() == head + 1


def test_what_the_product_keeps_cannot_be_written(desk, ada):
    send(
        desk, f"{LIST}{ada.pk}/change/", slug="eve", tokens_used="5", tasks_completed="5", reputation="99",
        claimed_at_0="", claimed_at_1="", owner="", seen_offline="", last_seen_at_0="2026-01-01", name="Ada L.",
    )  # fmt: skip
    after = Agent.objects.get(pk=ada.pk)
    assert (after.slug, after.tokens_used, after.tasks_completed, after.reputation) == ("ada", 0, 0, 50)
    assert (after.claimed_at, after.owner, after.last_seen_at) == (ada.claimed_at, ada.owner, None)
    assert after.name == "Ada L."


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrent", "0"),
        ("availability", "asleep"),
        ("capabilities", ",".join(f"skill-{n}" for n in range(60))),
        ("available_hours", '{"timezone": "Mars/Olympus", "hours": []}'),
        ("available_hours", '{"timezone": "UTC", "hours": ["nine to five"]}'),
        ("available_hours", '{"timezone": "UTC", "hours": ["09:00-25:00"]}'),
        ("available_hours", '["09:00-17:00"]'),
        ("name", ""),
    ],
)
def test_bad_input_is_refused_by_field(desk, ada, field, value):
    before = Agent.objects.values().get(pk=ada.pk)
    assert field in errors(send(desk, f"{LIST}{ada.pk}/change/", **{field: value}))
    assert Agent.objects.values().get(pk=ada.pk) == before


def test_an_agent_is_made_by_its_verb(desk):
    assert errors(send(desk, f"{LIST}add/", name="Grace", slug="grace", capabilities="rust")) == ""
    grace = Agent.objects.get(slug="grace")
    assert grace.claimed_at is not None
    assert grace.owner.username == "admiral"
    assert (newest().kind, newest().agent) == ("agent.registered", "grace")


def test_an_agent_that_has_worked_stays(desk, admiral, ada):
    from tasks import claiming, transitions
    from tasks.claiming import Wish

    transitions.create(admiral, title="Photos")
    _, secret = keys.create(admiral, ada)
    claiming.claim_next(keys.authenticate(secret), Wish())
    grace = roster.create(admiral, name="Grace", slug="grace")
    messages = act(desk, LIST, "delete_selected", ada, grace, post="yes")
    assert messages == ["ada: It has worked here, so it stays in the books. Revoke its keys instead.", "1 deleted."]
    assert list(Agent.objects.values_list("slug", flat=True)) == ["ada"]


def test_agents_join_the_chosen_venture(desk, admiral, ada):
    catalogue.create(admiral, name="Closed", slug="closed", open_to_all=False)
    assert act(desk, LIST, "join", ada, venture="closed") == ["1 joined closed."]
    assert [venture.slug for venture in ada.ventures.all()] == ["closed"]
    assert act(desk, LIST, "join", ada) == ["Choose the venture to join beside the action."]


def test_a_new_key_is_shown_once_and_nowhere_else(desk, ada):
    page = send(desk, f"{KEYS}add/", agent=str(ada.pk), scopes=["work", "orchestrate"], label="laptop")
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    secret = page.context["key"].secret
    assert secret in page.content.decode()
    actor = keys.authenticate(secret)
    assert actor.agent == ada
    assert actor.can("orchestrate")
    assert not actor.can("operate")
    key = AgentKey.objects.get()
    for address in (KEYS, f"{KEYS}{key.pk}/change/", f"{LIST}{ada.pk}/change/"):
        shown = desk.get(address).content.decode()
        assert secret not in shown
        assert key.digest not in shown
    assert newest().data["scopes"] == ["work", "orchestrate"]
    assert secret not in str(newest().data)


def test_a_key_needs_a_scope(desk, ada):
    assert "scopes" in errors(send(desk, f"{KEYS}add/", agent=str(ada.pk), scopes=[]))
    assert "scopes" in errors(send(desk, f"{KEYS}add/", agent=str(ada.pk), scopes=["root"]))
    assert not AgentKey.objects.exists()


def test_revoking_is_an_action_and_keys_are_never_edited(desk, admiral, ada):
    key, secret = keys.create(admiral, ada)
    assert desk.post(f"{KEYS}{key.pk}/change/", {"scopes": ["admin"]}).status_code == 403
    assert desk.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert act(desk, KEYS, "revoke", key) == ["1 revoked."]
    assert keys.authenticate(secret) is None
    assert newest().data == {"key": key.prefix, "change": "revoked"}
    assert act(desk, KEYS, "revoke", key) == [f"mc_{key.prefix}…: There is no such live key."]


def test_untouched_pages_change_nothing(desk, ada):
    before = Agent.objects.values().get(pk=ada.pk)
    shown = form_of(desk, f"{LIST}{ada.pk}/change/")
    assert shown["capabilities"] == "python"
    assert errors(desk.post(f"{LIST}{ada.pk}/change/", shown)) == ""
    assert Agent.objects.values().get(pk=ada.pk) == before
