"""The calls on the fleet, tickets, and the document with its pages."""

import pytest

from mission_control import tickets
from tests.conftest import Api

pytestmark = pytest.mark.django_db


def test_an_operator_freezes_and_thaws_the_fleet(api_of, operator, viewer, ada, orchestrator):
    api = api_of(operator)
    assert api.get("/fleet/freeze").json()["frozen"] is False
    frozen = api.post("/fleet/freeze", {"reason": "Too hot"}).json()
    assert (frozen["frozen"], frozen["frozen_by"], frozen["reason"]) == (True, "olivia", "Too hot")
    for who in (viewer, ada, orchestrator):
        assert api_of(who).get("/fleet/thaw").json()["frozen"] is True
        assert api_of(who).post("/fleet/thaw").status_code == 403
        assert api_of(who).post("/fleet/freeze", {}).status_code == 403
    thawed = api.bare.post("/fleet/thaw").json()
    assert (thawed["frozen"], thawed["frozen_at"], thawed["reason"]) == (False, None, "")
    for wrong in ({"reason": 5}, {"reason": "x" * 501}, {"why": "x"}):
        assert api.post("/fleet/freeze", wrong).status_code == 400


def test_a_ticket_is_for_its_caller_and_for_once(api_of, operator, ada):
    for actor, kind in ((operator, "user"), (ada, "agent")):
        answer = api_of(actor).post("/tickets")
        assert (answer.status_code, answer.json()["expires_in"], answer["Cache-Control"]) == (201, 60, "no-store")
        assert tickets.redeem(answer.json()["ticket"])[:2] == (kind, actor.name)
        assert tickets.redeem(answer.json()["ticket"]) is None
    assert Api().post("/tickets").status_code == 401


def test_the_docs_load_nothing_from_elsewhere(nobody):
    page = nobody.get("/api/docs")
    assert page.status_code == 200
    text = page.content.decode()
    assert "://" not in text.replace("http://www.w3.org", "") and "<script>" not in text
    assert page["Content-Security-Policy"].count("'unsafe-inline'") == 1
    script = nobody.get("/api/docs?script=")
    assert script["Content-Type"].startswith("application/javascript")
    assert b"/api/schema" in script.content
    assert "unsafe-inline" not in nobody.get("/api/schema")["Content-Security-Policy"]


def test_the_document_is_there_for_anyone(nobody):
    document = nobody.get("/api/schema", accept="application/vnd.oai.openapi+json").json()
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/tasks/claim" in document["paths"]
    assert all(path.startswith("/api/v1/") for path in document["paths"])
