"""The pages of agents by plain requests: keys shown once, claims, and who may."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client

from agents import keys, roster
from agents.models import Agent, AgentKey
from mission_control import log
from mission_control.outbound import webhooks
from tests.conftest import DIRECTOR, a_task, claimed
from ventures import ledger
from ventures.ledger import Spent
from ventures.models import LedgerEntry

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


@pytest.fixture
def signed_in(operator) -> Client:
    client = Client()
    client.force_login(operator.user)
    return client


def test_a_new_key_is_in_one_answer_only(signed_in, ada):
    made = signed_in.post("/agents/ada/keys", {"scopes": ["work"], "label": "laptop"}, headers=PART)
    secret = re.search(r"mc_\w{40}", made.content.decode())[0]
    assert made.headers["Cache-Control"] == "no-store"
    assert secret not in signed_in.get("/agents/ada").content.decode()
    assert AgentKey.objects.get(prefix=secret[3:11]).label == "laptop"


def test_only_an_admin_makes_admin_keys(signed_in, ada, admin):
    assert signed_in.post("/agents/ada/keys", {"scopes": ["admin"]}, headers=PART).status_code == 403
    assert "everything an operator may" not in signed_in.get("/agents/ada").content.decode()
    above = Client()
    above.force_login(admin.user)
    assert above.post("/agents/ada/keys", {"scopes": ["admin"]}, headers=PART).status_code == 200


def test_a_key_needs_a_scope(signed_in, ada):
    answer = signed_in.post("/agents/ada/keys", {}, headers=PART)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "scopes")


def test_a_revoked_key_says_so(signed_in, ada):
    made = signed_in.post("/agents/ada/keys", {"scopes": ["work"]}, headers=PART).content.decode()
    prefix = re.search(r"mc_(\w{8})\w{32}", made)[1]
    assert "revoked" in signed_in.post(f"/agents/ada/keys/{prefix}/revoke", headers=PART).content.decode()
    assert AgentKey.objects.get(prefix=prefix).revoked_at
    assert signed_in.post(f"/agents/ada/keys/{prefix}/revoke", headers=PART).status_code == 404


def test_a_claim_link_works_once(signed_in, operator):
    agent, _, token = roster.register(name="New")
    assert "Is this agent yours?" in signed_in.get(f"/claim/{token}").content.decode()
    assert signed_in.post(f"/claim/{token}").headers["Location"] == f"/agents/{agent.slug}"
    assert Agent.objects.get(pk=agent.pk).owner == operator.user
    assert signed_in.get(f"/claim/{token}").status_code == 404


def test_connecting_makes_one_agent_with_one_key(signed_in):
    html = signed_in.post("/connect", {"name": "Zoe"}).content.decode()
    assert re.search(r"curl -sX POST http://testserver/api/v1/tasks/claim", html)
    assert "curl -fsS http://testserver/mctl -o mctl" in html
    assert Agent.objects.get(slug="zoe").keys.count() == 1
    assert signed_in.post("/connect", {"name": " "}, headers=PART).status_code == 400


def test_the_page_of_an_agent_shows_what_it_holds_and_did(signed_in, ada):
    task = a_task("Polish the brass")
    claimed(ada, task)
    for path in ("/agents", "/agents/ada", "/agents/ada/part", "/rail"):
        assert "Polish the brass" in signed_in.get(path).content.decode(), path
    assert signed_in.get("/agents/nobody").status_code == 404


def test_rotating_from_the_page_ends_the_other_keys_when_it_was_said(signed_in, ada):
    first = keys.create(DIRECTOR, ada.agent)[0]
    signed_in.post("/agents/ada/keys", {"scopes": ["work"]}, headers=PART)
    first.refresh_from_db()
    assert (first.expires_at, first.revoked_at) == (None, None)
    assert (
        signed_in.post("/agents/ada/keys", {"scopes": ["work"], "overlap_hours": "24"}, headers=PART).status_code == 200
    )
    first.refresh_from_db()
    assert first.expires_at and first.revoked_at is None
    signed_in.post("/agents/ada/keys", {"scopes": ["work"], "overlap_hours": "0"}, headers=PART)
    assert AgentKey.objects.filter(keys.LIVE).count() == 1
    assert (
        signed_in.post("/agents/ada/keys", {"scopes": ["work"], "overlap_hours": "-1"}, headers=PART).status_code == 400
    )


def test_all_keys_stand_on_one_page_with_their_last_use_and_are_revoked_there(signed_in, api_of, ada, bob, viewer):
    unused = keys.create(DIRECTOR, bob.agent, label="laptop")[0]
    assert api_of(ada).get("/agents/me").status_code == 200
    used = AgentKey.objects.get(agent=ada.agent)
    assert used.last_used_at and AgentKey.objects.get(pk=unused.pk).last_used_at is None
    page = signed_in.get("/settings/keys").content.decode()
    assert page.index(used.prefix) < page.index(unused.prefix) and "never used" in page and "laptop" in page
    assert signed_in.get("/settings/keys", headers=PART).content.decode().strip() in page
    part = signed_in.post(f"/settings/keys/bob/{unused.prefix}/revoke", headers=PART).content.decode()
    assert unused.prefix in part.split("Revoked or ended")[1]
    assert signed_in.post(f"/settings/keys/ada/{unused.prefix}/revoke", headers=PART).status_code == 404
    reader = Client()
    reader.force_login(viewer.user)
    assert reader.get("/settings/keys").status_code == 403
    assert reader.post(f"/settings/keys/ada/{used.prefix}/revoke", headers=PART).status_code == 403


def test_the_use_of_a_key_is_written_once_a_minute(ada, django_assert_num_queries):
    key = keys.create(DIRECTOR, ada.agent)[0]
    keys.note_used(key.prefix)
    with django_assert_num_queries(0):
        keys.note_used(key.prefix)


def test_the_page_of_an_agent_tells_today_hours_ventures_and_its_address(signed_in, ada, venture):
    roster.join(DIRECTOR, ada.agent, venture)
    roster.change(DIRECTOR, ada.agent, {"available_hours": {"timezone": "Europe/Berlin", "hours": ["09:00-17:30"]}})
    webhooks.create(DIRECTOR, url="https://ada.example/in", agent="ada")
    ledger.book(DIRECTOR, Spent(420_000, 18_000, 200), venture="apollo", agent="ada")
    ledger.book(DIRECTOR, Spent(99_000_000, 1, 1), venture="apollo", agent="ada")
    LedgerEntry.objects.filter(tokens_in=1).update(at=log.now() - timedelta(days=1))
    page = signed_in.get("/agents/ada").content.decode()
    for word in ("18.2k tokens · $0.42", "09:00-17:30", "Europe/Berlin", "/ventures/apollo", "/settings/webhooks/"):
        assert word in page, word
    assert "18.2k tokens · $0.42" in signed_in.get("/agents/fleet").content.decode()
