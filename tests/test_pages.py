"""Every route of the product is asked for: one that answers with a whole page is in the table that accessibility walks."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver

from mission_control.models import User
from tests.conftest import a_task
from tests.e2e.walked import DEBUG_ONLY, ON_THE_WAY, SIGNED_IN, SIGNED_OUT

pytestmark = pytest.mark.django_db
# For programs, or of Django itself.
NOT_OURS = ("api", "admin", "mcp", "a2a", "v1/", ".well-known")


def routes() -> list[str]:
    found = [pattern for pattern in get_resolver().url_patterns if isinstance(pattern, URLPattern)]
    return [str(one.pattern) for one in found if not str(one.pattern).lstrip("^").startswith(NOT_OURS)]


@pytest.fixture
def admin_client(client: Client) -> Client:
    client.force_login(User.objects.create(username="nora", role="admin"))
    return client


def is_whole_page(client: Client, path: str) -> bool:
    answer = client.get(path)
    kind = answer.headers.get("Content-Type", "")
    return answer.status_code < 500 and kind.startswith("text/html") and b"<!doctype html>" in answer.content[:200]


def test_every_page_is_walked(admin_client, venture, ada, settings):
    settings.DEBUG = True
    task = a_task()
    known = {**SIGNED_IN, **DEBUG_ONLY, **SIGNED_OUT}
    missing = []
    for route in routes():
        of = {"tasks": task.code, "inbox": task.code, "ventures": venture.slug, "agents": ada.agent.slug}
        name = of.get(route.partition("/")[0], "x")
        path = "/" + re.sub(r"<number:\w+>|<int:\w+>", "1", re.sub(r"<(?:slug|str):\w+>", name, route, count=1))
        path = re.sub(r"<\w+:\w+>", "x", path)
        whole = is_whole_page(admin_client, path) and admin_client.get(path).status_code == 200
        if whole and route not in known and route not in ON_THE_WAY:
            missing.append(route)
    assert missing == []


def test_the_table_names_no_route_that_is_gone():
    known = {*SIGNED_IN, *DEBUG_ONLY, *SIGNED_OUT, *ON_THE_WAY} - {"no such page"}
    assert known - set(routes()) == set()
