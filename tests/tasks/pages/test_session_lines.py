"""The page of all runs: which are shown, in which order, and what narrows them down."""

from __future__ import annotations

import pytest
from django.test import Client

from mission_control import log
from tasks import sessions, transitions
from tasks.models import Session
from tasks.pages.session_lines import MOST, PAGE, Sessions
from tasks.pages.shell import Shell
from tests.conftest import a_task, claimed, fence

pytestmark = pytest.mark.django_db


def keys(lines) -> list[str]:
    return [line.session.key for line in lines]


@pytest.fixture
def runs(ada, bob, venture):
    """bob failed, ada works on Apollo and keeps a session without a task."""
    lease = fence(claimed(bob, a_task("Break it"), session_key="broke"))
    transitions.fail(bob, Session.objects.get(key="broke").task.code, lease, error="No such host")
    claimed(ada, a_task("Fly", venture=venture), session_key="flies")
    sessions.begin_persistent(ada, key="stays")


def test_live_runs_stand_apart_from_those_that_are_over(runs):
    shown = Sessions({})
    assert (keys(shown.live), keys(shown.over)) == (["stays", "flies"], ["broke"])
    assert Shell().sessions_live == 2


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"state": "failed"}, ["broke"]),
        ({"agent": "bob"}, ["broke"]),
        ({"agent": "ada"}, ["stays", "flies"]),
        ({"type": "persistent"}, ["stays"]),
        ({"venture": "apollo"}, ["flies"]),
        ({"venture": "apollo", "agent": "bob"}, []),
        ({"state": "nonsense", "agent": "\x00"}, ["stays", "flies", "broke"]),
    ],
)
def test_filters_narrow_down_and_nonsense_is_left_out(runs, asked, found):
    shown = Sessions(asked)
    assert keys(shown.live) + keys(shown.over) == found
    assert "nonsense" not in shown.address


def test_more_are_shown_on_request_up_to_a_limit(ada):
    ended = log.now()
    Session.objects.bulk_create(
        Session(key=f"run-{n}", agent=ada.agent, state="completed", ended_at=ended) for n in range(PAGE + 1)
    )
    first = Sessions({"agent": "ada"})
    assert (len(first.over), first.has_more) == (PAGE, True)
    assert first.address_of_more == f"/sessions?agent=ada&most={2 * PAGE}"
    second = Sessions({}, most=2 * PAGE)
    assert (len(second.over), second.has_more) == (PAGE + 1, False)
    assert Sessions({}, most=10**5).most == MOST


def test_the_page_and_its_part_show_the_same_runs(operator, runs):
    client = Client()
    client.force_login(operator.user)
    page = client.get("/sessions?agent=bob&most=no").content.decode()
    part = client.get("/sessions?agent=bob", headers={"HX-Request": "true"}).content.decode()
    assert "No such host" in part
    assert part.strip() in page
    assert "<html" not in part
    assert client.post("/sessions").status_code == 405
    assert Client().get("/sessions").headers["Location"].startswith("/account/login")
