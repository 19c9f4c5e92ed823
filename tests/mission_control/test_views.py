"""The floor's pages: the freeze, what went wrong, and what every answer of a page carries."""

from __future__ import annotations

import pytest
from django.test import Client

from mission_control.models import Fleet

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


@pytest.fixture
def signed_in(operator) -> Client:
    client = Client()
    client.force_login(operator.user)
    return client


def test_freezing_and_thawing_show_in_banner_and_switch(signed_in):
    assert "frozen" not in signed_in.get("/fleet/banner").content.decode()
    assert signed_in.post("/fleet/freeze", headers=PART).status_code == 204
    assert Fleet.objects.get().frozen_by == "olivia"
    assert "The fleet is frozen" in signed_in.get("/fleet/banner").content.decode()
    assert 'aria-checked="true"' in signed_in.get("/fleet/switch").content.decode()
    assert signed_in.post("/fleet/thaw").headers["Location"] == "/"
    assert "frozen" not in signed_in.get("/fleet/banner").content.decode()


def test_what_is_not_there_is_a_page_for_people_and_a_sentence_for_scripts(signed_in):
    page = signed_in.get("/nowhere/at/all")
    assert page.status_code == 404
    assert "It is not there" in page.content.decode()
    part = signed_in.get("/nowhere/at/all", headers=PART)
    assert (part.status_code, part.json()["error"]) == (404, "It is not there.")


def test_a_fault_is_a_page_that_needs_no_database(signed_in, monkeypatch, django_assert_num_queries, rf):
    from django.contrib.auth.models import AnonymousUser

    from mission_control.views import server_error

    request = rf.get("/")
    request.user = AnonymousUser()
    with django_assert_num_queries(0):
        answer = server_error(request)
    assert answer.status_code == 500
    assert "That went wrong" in answer.content.decode()


@pytest.mark.parametrize("path", ["/", "/agents", "/connect", "/account/login", "/nowhere"])
def test_every_page_carries_the_strict_policy(signed_in, path):
    policy = signed_in.get(path).headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in policy


def test_a_page_is_not_kept_by_others(signed_in):
    headers = signed_in.get("/").headers
    assert "private" in headers["Cache-Control"]
    assert {"Cookie", "HX-Request"} <= {name.strip() for name in headers["Vary"].split(",")}
