"""The pages of ventures: the money and the days they show, the form that changes one, who may send it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from agents import roster
from mission_control import log
from mission_control.models import Activity
from tasks.models import Task
from tasks.pages.venture_lines import DAYS, MOST, PAGE, VentureLine, every, one
from tests.conftest import DIRECTOR, a_task
from ventures import catalogue, ledger
from ventures.ledger import Spent
from ventures.models import LedgerEntry, Venture

pytestmark = pytest.mark.django_db


def saved(venture) -> Venture:
    return Venture.objects.get(pk=venture.pk)


@pytest.fixture
def page(operator):
    client = Client()
    client.force_login(operator.user)
    return client


@pytest.fixture
def asked(venture):
    """What the form sends when nothing was touched."""
    return {
        "version": "1", "name": "Apollo", "icon": "🛰️", "description": "", "status": "active", "priority": "medium",
        "capital_budget": "", "intake": "ready", "max_failures": "3", "open_to_all": "on", "repo_url": "",
        "default_branch": "main", "context_file": "CONTEXT.md", "workspace": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "spent", "reserved", "percent", "tone", "left"),
    [
        (None, 500, 0, None, "", None),
        (1000, 0, 0, 0, "", "$0.001 left"),
        (10_000_000, 7_999_999, 0, 79, "", "$2.00 left"),
        (10_000_000, 5_000_000, 3_000_000, 80, "warn", "$2.00 left"),
        (10_000_000, 10_000_000, 0, 100, "full", "$0.00 left"),
        (10_000_000, 12_500_000, 0, 125, "full", "$2.50 over"),
        (0, 0, 0, 100, "full", "$0.00 left"),
    ],
)
def test_the_bar_tells_spent_and_reserved_of_the_budget(budget, spent, reserved, percent, tone, left):
    line = VentureLine(
        Venture(capital_budget_micro_usd=budget, capital_spent_micro_usd=spent, capital_reserved_micro_usd=reserved), {}
    )
    assert (line.percent, line.tone) == (percent, tone)
    assert left is None or line.left == left


def test_throughput_counts_what_was_finished_on_each_of_the_last_days(venture):
    for days_ago in (0, 2, 2, DAYS):
        task = a_task("Fly", venture=venture)
        Task.objects.filter(pk=task.pk).update(
            offered=False, status="done", status_changed_at=log.now() - timedelta(days=days_ago)
        )
    a_task("Not yet", venture=venture)
    line = one(venture)
    assert [day.done for day in line.days] == [0] * 11 + [2, 0, 1]
    assert line.finished == 3
    assert line.days[-1].day == log.now().date()


def test_the_ledger_is_newest_first_and_grows_on_request_up_to_a_limit(venture):
    for n in range(PAGE + 1):
        ledger.book(DIRECTOR, Spent(1_000_000 + n, 10, 5), venture="apollo", agent="ada")
    ledger.book(DIRECTOR, Spent(5), venture="default")
    first = one(saved(venture))
    assert (len(first.ledger), first.more) == (PAGE, 3 * PAGE)
    assert first.ledger[0].entry == LedgerEntry.objects.filter(venture="apollo").first()
    assert len(one(venture, first.more).ledger) == PAGE + 1
    assert one(venture, first.more).more == 0
    assert one(venture, 10**5).most == MOST


def test_all_ventures_are_listed_those_that_offer_work_first(venture):
    catalogue.change(DIRECTOR, venture, {"status": "paused"})
    catalogue.create(DIRECTOR, name="zeppelin")
    a_task("Fly", venture=venture)
    assert [(line.venture.slug, line.open) for line in every()] == [
        ("default", "0"),
        ("zeppelin", "0"),
        ("apollo", "1"),
    ]


def test_the_form_saves_what_differs_and_shows_it(page, venture, asked):
    asked |= {"capital_budget": "$1,250.5", "approval_required": "on", "wip_review": "4", "description": "a\r\nb"}
    answer = page.post("/ventures/apollo/settings", asked)
    now = saved(venture)
    assert (now.capital_budget_micro_usd, now.approval_required, now.wip_limits) == (1_250_500_000, True, {"review": 4})
    assert now.description == "a\nb"
    assert b"Saved" in answer.content and b'name="version" value="2"' in answer.content
    told = Activity.objects.get(kind="venture.changed").data
    assert set(told["after"]) == {"capital_budget_micro_usd", "approval_required", "wip_limits", "description"}


def test_a_form_that_changes_nothing_records_nothing(page, venture, asked):
    before = log.head()
    page.post("/ventures/apollo/settings", asked)
    assert log.head() == before


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"version": "7"}, 412),
        ({"version": "x"}, 400),
        ({"capital_budget": "lots"}, 400),
        ({"capital_budget": "-1"}, 400),
        ({"name": " "}, 400),
        ({"name": "a\x00b"}, 400),
        ({"status": "lost"}, 400),
        ({"max_failures": "0"}, 400),
        ({"wip_done": "0"}, 400),
        ({"wip_done": "1.5"}, 400),
    ],
)
def test_a_form_that_cannot_be_saved_changes_nothing(page, venture, asked, wrong, status):
    answer = page.post("/ventures/apollo/settings", asked | wrong, headers={"HX-Request": "true"})
    assert answer.status_code == status, answer.content
    assert saved(venture) == venture and saved(venture).version == 1


def test_a_venture_is_made_by_its_name(page):
    answer = page.post("/ventures", {"name": " Deep   space ", "icon": "🚀"})
    assert answer.headers["Location"] == "/ventures/deep-space"
    assert Venture.objects.get(slug="deep-space").name == "Deep space"
    assert page.post("/ventures", {"name": " "}).status_code == 400


def test_one_venture_shows_who_joined_and_part_and_page_agree(page, closed, ada, viewer):
    roster.join(DIRECTOR, ada.agent, closed)
    whole = page.get("/ventures/backroom?most=no").content.decode()
    part = page.get("/ventures/backroom", headers={"HX-Request": "true"}).content.decode()
    assert "Only agents that joined" in part and 'href="/agents/ada"' in part
    assert part.strip() in whole
    assert "<form" in whole
    assert page.get("/ventures/nowhere").status_code == 404


def test_who_only_reads_sees_no_form_and_changes_nothing(viewer, venture, asked):
    client = Client()
    client.force_login(viewer.user)
    assert "/ventures/apollo/settings" not in client.get("/ventures/apollo").content.decode()
    assert "venture-dialog" not in client.get("/ventures").content.decode()
    assert client.post("/ventures/apollo/settings", asked | {"name": "Mine"}).status_code == 403
    assert client.post("/ventures", {"name": "Mine"}).status_code == 403
    assert (saved(venture).name, Venture.objects.filter(name="Mine").exists()) == ("Apollo", False)
    assert Client().get("/ventures").headers["Location"].startswith("/account/login")
