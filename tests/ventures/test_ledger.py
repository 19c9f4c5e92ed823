"""The ledger: what is booked, what is not booked twice, and that a venture's total is the sum of its lines."""

import pytest
from django.db import IntegrityError, transaction

from mission_control import log
from mission_control.actors import system
from mission_control.models import Activity
from tasks import invariants
from ventures import catalogue, ledger
from ventures.ledger import Spent
from ventures.models import LedgerEntry, Venture

pytestmark = pytest.mark.django_db
SYSTEM = system("test")


def book(spent, **fields):
    with log.unit():
        return ledger.book(SYSTEM, spent, **{"venture": "default", **fields})


def test_a_line_is_added_and_the_venture_has_spent_as_much():
    assert book(Spent(1_250_000, 100, 20, model="a model", note="Night run"), task="k3v9d2qa", agent="ada", attempt=2)
    entry = LedgerEntry.objects.get()
    assert (entry.amount_micro_usd, entry.tokens, entry.model, entry.attempt) == (1_250_000, 120, "a model", 2)
    book(Spent(750_000))
    assert catalogue.default().capital_spent_micro_usd == 2_000_000


def test_nothing_spent_is_not_booked():
    assert not book(Spent(model="a model"))
    assert book(Spent(0, 5))  # tokens without a price are


def test_a_request_is_booked_once():
    assert book(Spent(10), request_id="r1")
    assert not book(Spent(10), request_id="r1")
    assert catalogue.default().capital_spent_micro_usd == 10


def test_only_a_report_that_nothing_else_tells_of_is_recorded():
    book(Spent(10))
    assert not Activity.objects.filter(kind="cost.recorded").exists()
    book(Spent(10, 1, 2, model="m"), announce=True, task="k3v9d2qa")
    data = Activity.objects.get(kind="cost.recorded").data
    assert data == {"amount_micro_usd": 10, "tokens_in": 1, "tokens_out": 2, "model": "m", "attempt": None}


def test_the_difference_to_a_total_is_never_less_than_nothing():
    book(Spent(300, 10, 5), task="k3v9d2qa", agent="ada", attempt=1)
    book(Spent(999, 99, 99), task="k3v9d2qa", agent="ada", attempt=2)
    whole = ledger.difference(Spent(500, 12, 5, model="m"), task="k3v9d2qa", agent="ada", attempt=1)
    assert whole == Spent(200, 2, 0, model="m")
    assert not ledger.difference(Spent(100, 1, 1), task="k3v9d2qa", agent="ada", attempt=1)


def test_a_loss_cannot_be_booked_as_a_cost():
    for wrong in ({"amount_micro_usd": -1}, {"tokens_in": -1}):
        with pytest.raises(IntegrityError), transaction.atomic():
            LedgerEntry.objects.create(venture="default", kind="cost", **wrong)


def test_a_refused_unit_books_nothing():
    with pytest.raises(ZeroDivisionError), log.unit():
        ledger.book(SYSTEM, Spent(10), venture="default")
        raise ZeroDivisionError
    assert not LedgerEntry.objects.exists()
    assert Venture.objects.get(slug="default").capital_spent_micro_usd == 0


# ── corrections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_operator_corrects_what_was_spent_by_more_or_by_less(api_of, operator, venture):
    book(Spent(2_000_000), venture="apollo")
    client = api_of(operator)
    made = client.post("/ventures/apollo/ledger", {"amount": "-1.25", "note": "Refunded", "request_id": "refund-1"})
    assert made.status_code == 201
    entry = made.json()["entry"]
    assert (entry["kind"], entry["amount"], entry["note"]) == ("adjustment", "-1.25", "Refunded")
    assert client.get("/ventures/apollo").json()["venture"]["capital_spent"] == "0.75"
    assert client.get("/projects/apollo/ledger?kind=adjustment").json()["entries"] == [entry]
    line = Activity.objects.get(kind="cost.recorded")
    assert (line.actor, line.venture, line.message, line.data) == (
        "olivia", "apollo", "Refunded", {"kind": "adjustment", "amount_micro_usd": -1_250_000},
    )  # fmt: skip
    again = client.post("/ventures/apollo/ledger", {"amount": "-1.25", "note": "Refunded", "request_id": "refund-1"})
    assert again.json()["entry"] == entry, "the same report is booked once"
    client.post("/ventures/apollo/ledger", {"amount": 0.5, "note": "Forgotten"})
    assert client.get("/ventures/apollo").json()["venture"]["capital_spent"] == "1.25"
    assert invariants.broken(["money_adds_up"]) == {"money_adds_up": []}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"amount": "-2.01", "note": "x"}, 409, "below_zero"), ({"amount": 0, "note": "x"}, 400, "invalid"),
        ({"amount": "1"}, 400, "invalid"), ({"amount": "1", "note": "x", "kind": "cost"}, 400, "invalid"),
        ({"amount": "a", "note": "x"}, 400, "invalid"), ({"amount": "0.0000001", "note": "x"}, 400, "invalid"),
        ({"amount": "1", "note": "x", "request_id": "taken"}, 409, "request_id_taken"),
    ],
)  # fmt: skip
def test_a_correction_that_cannot_be_is_refused(body, status, code, api_of, operator, venture):
    book(Spent(2_000_000), venture="apollo", request_id="taken")
    refused = api_of(operator).post("/ventures/apollo/ledger", body)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert LedgerEntry.objects.count() == 1


def test_who_does_not_operate_corrects_nothing(api_of, orchestrator, lead, viewer, venture):
    for actor in (orchestrator, lead, viewer):
        assert api_of(actor).post("/ventures/apollo/ledger", {"amount": 1, "note": "x"}).status_code == 403
