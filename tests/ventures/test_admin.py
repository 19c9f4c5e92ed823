"""Ventures and the ledger in the admin: edits are the catalogue's verbs, the books are only read."""

import pytest
from django.test import Client

from mission_control import log
from mission_control.actors import Actor, person
from mission_control.models import Activity, User
from tasks import transitions
from tests.admin_pages import act, errors, form_of, send
from ventures import catalogue, ledger
from ventures.ledger import Spent
from ventures.models import LedgerEntry, Venture

pytestmark = pytest.mark.django_db

LIST = "/admin/ventures/venture/"


@pytest.fixture
def admiral():
    return person(User.objects.create(username="admiral", role="admin"))


@pytest.fixture
def desk(admiral):
    client = Client()
    client.force_login(admiral.user)
    return client


@pytest.fixture
def shoes(admiral):
    return catalogue.create(admiral, name="Shoe store", slug="shoes")


def newest() -> Activity:
    return Activity.objects.order_by("-seq")[0]


def test_an_edit_is_one_activity_with_before_and_after(desk, shoes):
    head = log.head()
    answer = send(
        desk, f"{LIST}{shoes.pk}/change/", name="Shoes", capital_budget_micro_usd="12.50",
        wip_limits='{"in_progress": 3}',
    )  # fmt: skip
    assert errors(answer) == ""
    assert log.head() == head + 1
    assert (newest().kind, newest().actor, newest().venture) == ("venture.changed", "admiral", "shoes")
    assert newest().data["before"] == {"name": "Shoe store", "capital_budget_micro_usd": None, "wip_limits": {}}
    assert newest().data["after"] == {
        "name": "Shoes", "capital_budget_micro_usd": 12_500_000, "wip_limits": {"in_progress": 3},
    }  # fmt: skip
    shown = form_of(desk, f"{LIST}{shoes.pk}/change/")
    assert shown["capital_budget_micro_usd"] == "12.50"
    send(desk, f"{LIST}{shoes.pk}/change/")
    assert log.head() == head + 1


def test_money_that_was_spent_and_the_slug_cannot_be_written(desk, shoes):
    send(
        desk, f"{LIST}{shoes.pk}/change/", slug="other", capital_spent_micro_usd="5", capital_reserved_micro_usd="5",
        version="99", name="Shoes",
    )  # fmt: skip
    shoes.refresh_from_db()
    assert (shoes.slug, shoes.capital_spent_micro_usd, shoes.capital_reserved_micro_usd) == ("shoes", 0, 0)
    assert (shoes.name, shoes.version) == ("Shoes", 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("color", "red"),
        ("wip_limits", '{"in_progress": -1}'),
        ("wip_limits", '{"in_progress": "many"}'),
        ("wip_limits", "[1, 2]"),
        ("wip_limits", '{"in_progress": true}'),
        ("capital_budget_micro_usd", "-3"),
        ("capital_budget_micro_usd", "1.1234567"),
        ("capital_budget_micro_usd", "NaN"),
        ("max_failures", "0"),
        ("status", "done"),
        ("name", ""),
    ],
)
def test_bad_input_is_refused_by_field(desk, shoes, field, value):
    before = Venture.objects.values().get(pk=shoes.pk)
    answer = send(desk, f"{LIST}{shoes.pk}/change/", **{field: value})
    assert errors(answer)
    assert Venture.objects.values().get(pk=shoes.pk) == before


def test_a_venture_is_made_by_its_verb(desk):
    assert errors(send(desk, f"{LIST}add/", name="Blog", slug="blog", capital_budget_micro_usd="3")) == ""
    assert Venture.objects.get(slug="blog").capital_budget_micro_usd == 3_000_000
    assert (newest().kind, newest().venture) == ("venture.created", "blog")
    assert "slug" in errors(send(desk, f"{LIST}add/", name="Blog again", slug="blog"))


def test_the_status_is_an_action_too(desk, shoes):
    assert act(desk, LIST, "paused", shoes) == ["1 paused."]
    shoes.refresh_from_db()
    assert shoes.status == "paused"
    assert newest().data == {"before": {"status": "active"}, "after": {"status": "paused"}}


def test_what_the_verb_refuses_is_shown_and_nothing_goes(desk, admiral, shoes):
    transitions.create(admiral, title="Photos", venture=shoes)
    head = log.head()
    page = desk.post(f"{LIST}{shoes.pk}/delete/", {"post": "yes"}, follow=True)
    assert "It still holds tasks" in [str(message) for message in page.context["messages"]][0]
    empty = catalogue.create(admiral, name="Empty", slug="empty")
    messages = act(desk, LIST, "delete_selected", shoes, empty, post="yes")
    assert "Shoe store: It still holds tasks. Archive it, or delete its tasks first." in messages
    assert "1 deleted." in messages
    assert set(Venture.objects.values_list("slug", flat=True)) == {"default", "shoes"}
    assert log.head() == head + 2


def test_deleting_asks_first(desk, shoes):
    page = desk.post(LIST, {"action": "delete_selected", "_selected_action": [shoes.pk]})
    assert "Are you sure" in page.content.decode()
    assert Venture.objects.filter(pk=shoes.pk).exists()


def test_the_ledger_is_read_only(desk, admiral, shoes):
    with log.unit():
        ledger.book(Actor("system", "test"), Spent(amount_micro_usd=1_250_000), venture="shoes")
    entry = LedgerEntry.objects.get()
    page = desk.get("/admin/ventures/ledgerentry/").content.decode()
    assert "$1.25" in page
    assert desk.get("/admin/ventures/ledgerentry/add/").status_code == 403
    address = f"/admin/ventures/ledgerentry/{entry.pk}/"
    assert desk.post(f"{address}change/", {"amount_micro_usd": "0"}).status_code == 403
    assert desk.post(f"{address}delete/", {"post": "yes"}).status_code == 403
    assert LedgerEntry.objects.get().amount_micro_usd == 1_250_000
