"""The calls on ventures, under both of their names, and on their ledger."""

import pytest

from tasks import transitions
from tests.conftest import a_task, claimed
from ventures import serializers as shape
from ventures.ledger import Spent
from ventures.models import Venture

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(api_of, operator):
    return api_of(operator)


def fields(answer) -> set[str]:
    assert answer.status_code == 400, answer.content
    return {line["field"] for line in answer.json()["details"]}


def test_a_venture_is_created_read_changed_and_deleted(api):
    made = api.post(
        "/ventures",
        {"name": "Shoe store", "icon": "👟", "color": "#4f7cff", "capitalBudget": "1500.50", "priority": "high",
         "repoUrl": "https://example.org/x", "intake": "inbox", "wip_limits": {"in_progress": 3}, "maxFailures": 5},
    )  # fmt: skip
    venture = made.json()["venture"]
    assert made.status_code == 201
    assert (venture["id"], venture["capital_budget"], venture["priority"]) == ("shoe-store", "1500.50", "high")
    assert (venture["capital_spent"], venture["wip_limits"], venture["max_failures"]) == ("0.00", {"in_progress": 3}, 5)
    read = api.get("/ventures/shoe-store")
    assert read.json()["venture"] == venture and set(venture) == set(shape.VentureOut().fields)
    changed = api.patch("/ventures/shoe-store", {"capital_budget": None, "status": "paused"}, if_match=read["ETag"])
    assert (changed.json()["venture"]["capital_budget"], changed.json()["venture"]["status"]) == (None, "paused")
    assert api.patch("/ventures/shoe-store", {"status": "active"}, if_match=read["ETag"]).status_code == 412
    assert api.delete("/ventures/shoe-store").status_code == 204
    assert api.get("/ventures/shoe-store").status_code == 404


def test_projects_are_ventures(api, venture):
    assert api.get("/projects/apollo").json() == api.get("/ventures/apollo").json()
    assert [v["id"] for v in api.bare.get("/projects").json()] == ["apollo", "default"]
    assert api.post("/projects", {"name": "New", "id": "new"}).json()["venture"]["id"] == "new"
    assert api.patch("/projects/new", {"name": "Newer"}).json()["venture"]["name"] == "Newer"
    assert api.get("/projects/new/ledger").status_code == 200
    assert api.delete("/projects/new").status_code == 204


def test_bare_calls_name_the_venture_in_body_or_address(api, venture):
    assert api.bare.patch("/ventures", {"id": "apollo", "name": "New"}).json()["name"] == "New"
    assert fields(api.bare.patch("/ventures", {"name": "New"})) == {"id"}
    assert api.patch("/ventures", {"id": "apollo"}).status_code == 405
    assert api.bare.delete("/ventures?id=apollo").status_code == 204
    assert api.bare.delete("/ventures").status_code == 400
    assert api.bare.delete("/ventures?id=apollo").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": 5}, {"name": None}, {"color": "red"}, {"status": "gone"}, {"priority": "huge"}, {"priority": 2},
        {"capital_budget": -1}, {"capital_budget": "1e99"}, {"capital_budget": "x"}, {"intake": "later"},
        {"review_required": "yes"}, {"wip_limits": []}, {"wip_limits": {"nowhere": 1}}, {"wip_limits": {"ready": 0}},
        {"wip_limits": {"ready": "3"}}, {"max_failures": 0}, {"max_failures": 2**40}, {"id": "a b"}, {"id": ""},
        {"capital_spent": 5}, {"version": 2}, {"nonsense": 1}, {"default_branch": ""}, {"icon": "x" * 17},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_venture_is_told_by_field(wrong, api):
    answer = api.post("/ventures", {"name": "New", **wrong})
    assert {field.split(".")[0] for field in fields(answer)} == set(wrong)
    assert Venture.objects.count() == 1


def test_a_slug_is_taken_once(api, venture):
    assert fields(api.post("/ventures", {"name": "x", "id": "apollo"})) == {"slug"}
    assert api.post("/ventures", {"name": "Apollo"}).json()["venture"]["id"] == "apollo-2"


def test_ventures_are_listed_and_filtered(api, venture, closed, api_of, stranger, ada):
    api.patch("/ventures/apollo", {"status": "archived"})
    for query, slugs in (
        ("", ["apollo", "backroom", "default"]), ("?status=archived,paused", ["apollo"]), ("?q=back", ["backroom"]),
        ("?ordering=-name&limit=1", ["default"]),
    ):  # fmt: skip
        assert [v["id"] for v in api.get("/ventures" + query).json()["ventures"]] == slugs, query
    assert [v["id"] for v in api_of(stranger).get("/ventures").json()["ventures"]] == ["apollo", "default"]
    assert len(api_of(ada).get("/ventures").json()["ventures"]) == 3
    for wrong in ("?status=gone", "?foo=1", "?ordering=id"):
        assert api.get("/ventures" + wrong).status_code == 400


def test_who_may_change_ventures(api_of, ada, viewer, orchestrator, stranger, venture, closed):
    for who in (ada, viewer):
        assert api_of(who).post("/ventures", {"name": "x"}).status_code == 403
        assert api_of(who).patch("/ventures/apollo", {"name": "x"}).status_code == 403
        assert api_of(who).delete("/ventures/apollo").status_code == 403
    assert api_of(orchestrator).patch("/ventures/apollo", {"name": "x"}).status_code == 200
    for method in ("GET", "PATCH", "DELETE"):
        assert (
            api_of(orchestrator).call(method, "/ventures/backroom", {} if method == "PATCH" else None).status_code
            == 404
        )


def test_a_venture_with_tasks_and_the_default_one_stay(api, venture):
    a_task(venture=venture)
    assert api.delete("/ventures/apollo").json()["code"] == "not_empty"
    assert api.delete("/ventures/default").json()["code"] == "default_venture"


def test_the_ledger_shows_what_was_spent(api, ada, venture, api_of, stranger, closed):
    task = a_task(venture=venture)
    claimed(ada, task)
    transitions.progress(ada, task.code, total=Spent(250_000, 10, 5, model="m"))
    transitions.complete(ada, task.code, total=Spent(1_000_000, 20, 5))
    entries = api.get("/ventures/apollo/ledger").json()["entries"]
    assert [(e["amount"], e["tokens_in"], e["agent"], e["attempt"]) for e in entries] == [
        ("0.75", 10, "ada", 1), ("0.25", 10, "ada", 1),
    ]  # fmt: skip
    assert set(entries[0]) == set(shape.EntryOut().fields)
    assert api.get("/ventures/apollo").json()["venture"]["capital_spent"] == "1.00"
    assert api.get("/ventures/apollo/ledger?agent=bob").json()["entries"] == []
    page = api.get("/ventures/apollo/ledger?limit=1").json()
    assert api.get(f"/ventures/apollo/ledger?limit=1&cursor={page['next']}").json()["entries"][0]["amount"] == "0.25"
    assert api_of(stranger).get("/ventures/backroom/ledger").status_code == 404
