"""Enrolment tokens: who may make them, how often they work, what an agent that shows one may do."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections

from agents import enrolment, roster
from agents.models import Agent, EnrolmentToken
from mission_control import log
from mission_control.accounts import people
from mission_control.errors import Invalid, NotAllowed
from mission_control.models import Activity
from tests.conftest import DIRECTOR, Api

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def enrolled(nobody, token, name="Newcomer"):
    return nobody.post("/agents/register", {"name": name, "enrolment_token": token})


def test_an_agent_that_shows_a_token_works_at_once_under_its_maker(nobody, api_of, operator):
    made = api_of(operator).post("/enrolments", {"label": "laptops", "scopes": ["work", "orchestrate"], "most_uses": 2})
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    token = made.json()["enrolment_token"]
    answer = enrolled(nobody, token)
    body = answer.json()
    assert (answer.status_code, body["claim_url"]) == (201, None)
    assert (body["agent"]["claimed"], body["agent"]["owner"]) == (True, "olivia")
    agent = Api(body["api_key"])
    assert agent.post("/tasks/claim", {}).json()["action"] == "none"
    assert agent.post("/tasks", {"title": "x"}).status_code == 201
    line = Activity.objects.get(kind="agent.registered", agent=body["agent"]["id"])
    assert line.data["enrolment"] == made.json()["enrolment"]["prefix"]
    listed = api_of(operator).get("/enrolments").json()["enrolments"][0]
    assert (listed["uses"], listed["most_uses"]) == (1, 2)
    assert token not in str(listed) and not EnrolmentToken.objects.filter(digest__contains=token).exists()


def test_a_token_without_scopes_gives_keys_that_only_work(nobody, operator):
    _, token = enrolment.create(operator)
    agent = Api(enrolled(nobody, token).json()["api_key"])
    assert agent.post("/tasks", {"title": "x"}).json()["code"] == "scope_missing"


def test_a_token_that_is_not_live_makes_no_agent(nobody, operator):
    _, used = enrolment.create(operator)
    assert enrolled(nobody, used, "First").status_code == 201
    revoked, gone = enrolment.create(operator)
    enrolment.revoke(operator, revoked.prefix)
    expired, late = enrolment.create(operator)
    EnrolmentToken.objects.filter(pk=expired.pk).update(expires_at=log.now() - timedelta(seconds=1))
    before = Agent.objects.count()
    said = {enrolled(nobody, token).json()["error"] for token in (used, gone, late, late[:-1] + "~", "mce_", "x", "é")}
    assert len(said) == 1 and "not valid" in said.pop()
    assert Agent.objects.count() == before


def test_nobody_enrols_by_the_token_of_somebody_who_may_no_longer_sign_in(nobody, operator, admin):
    _, secret = enrolment.create(operator)
    people.change(admin, operator.user, {"is_active": False})
    assert "not valid" in enrolled(nobody, secret).json()["error"]
    people.change(admin, operator.user, {"is_active": True})
    assert enrolled(nobody, secret).status_code == 201
    _, left_behind = enrolment.create(operator)
    Agent.objects.filter(owner=operator.user).update(owner=None)
    people.delete(admin, operator.user)
    assert "not valid" in enrolled(nobody, left_behind).json()["error"]


def test_a_registration_that_is_refused_uses_nothing_up(nobody, operator, ada):
    token, secret = enrolment.create(operator)
    assert nobody.post("/agents/register", {"name": "x", "id": "ada", "enrolment_token": secret}).status_code == 400
    token.refresh_from_db()
    assert token.uses == 0


@pytest.mark.parametrize(
    "wrong", [{"hours": 0}, {"most_uses": 0}, {"scopes": []}, {"hours": 10**6}, {"scopes": ["root"]}]
)
def test_a_wrong_token_is_refused(operator, api_of, wrong):
    with pytest.raises(Invalid):
        enrolment.create(operator, **wrong)
    assert api_of(operator).post("/enrolments", wrong).status_code == 400


def test_who_makes_and_revokes_tokens(operator, admin, viewer, ada, api_of):
    with pytest.raises(NotAllowed):
        enrolment.create(operator, scopes=["admin"])
    made, _ = enrolment.create(admin, scopes=["admin"])
    for actor in (viewer, ada):
        with pytest.raises(NotAllowed):
            enrolment.create(actor)
        with pytest.raises(NotAllowed):
            enrolment.revoke(actor, made.prefix)
    assert api_of(operator).delete(f"/enrolments/{made.prefix}").status_code == 204
    assert api_of(operator).delete(f"/enrolments/{made.prefix}").status_code == 404
    kinds = list(Activity.objects.filter(kind__startswith="enrolment.").order_by("seq").values_list("kind", flat=True))
    assert kinds == ["enrolment.created", "enrolment.revoked"]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_two_at_once_share_one_use():
    _, secret = enrolment.create(DIRECTOR)
    came, start = [], threading.Barrier(4)

    def come(number):
        start.wait()
        try:
            came.append(roster.register(name=f"Racer {number}", enrolment_token=secret)[0].slug)
        except Invalid:
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 1 == Agent.objects.filter(name__startswith="Racer").count()
    assert connection.is_usable()


def test_the_page_makes_one_shows_it_once_and_revokes_it(client, operator):
    client.force_login(operator.user)
    fields = {"scopes": ["work"], "label": "laptops", "hours": "24", "most_uses": "3"}
    html = client.post("/connect/enrolments", fields, headers=PART).content.decode()
    token = EnrolmentToken.objects.get()
    assert f"MISSION_CONTROL_TOKEN=mce_{token.prefix}" in html and "0 of 3 used" in html
    shown = client.get("/connect").content.decode()
    assert f"mce_{token.prefix}…" in shown and "MISSION_CONTROL_TOKEN=mce_" not in shown
    assert "revoked" in client.post(f"/connect/enrolments/{token.prefix}/revoke", headers=PART).content.decode()
    for wrong in ({**fields, "hours": "soon"}, {**fields, "most_uses": "-1"}, {**fields, "scopes": []}):
        assert client.post("/connect/enrolments", wrong, headers=PART).status_code == 400
