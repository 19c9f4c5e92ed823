"""The pages of agents by plain requests: keys shown once, claims, and who may."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from agents import roster
from agents.models import Agent, AgentKey
from tests.conftest import a_task, claimed

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
    assert Agent.objects.get(slug="zoe").keys.count() == 1
    assert signed_in.post("/connect", {"name": " "}, headers=PART).status_code == 400


def test_the_page_of_an_agent_shows_what_it_holds_and_did(signed_in, ada):
    task = a_task("Polish the brass")
    claimed(ada, task)
    for path in ("/agents", "/agents/ada", "/agents/ada/part", "/rail"):
        assert "Polish the brass" in signed_in.get(path).content.decode(), path
    assert signed_in.get("/agents/nobody").status_code == 404
