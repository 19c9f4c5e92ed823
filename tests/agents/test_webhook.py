"""The own address of an agent: named by itself, told only once a person answers for it, gone with the agent."""

import pytest

from agents import roster
from mission_control.models import Delivery, Webhook
from mission_control.outbound import deliveries
from tests.conftest import DIRECTOR, Api, a_task

pytestmark = pytest.mark.django_db
URL = "https://agent.example/wake?token=t"


def registered(**body) -> dict:
    answer = Api().post("/agents/register", {"name": "Nina", **body})
    assert answer.status_code == 201, answer.content
    return answer.json()


def told() -> list[str]:
    deliveries.make_from_log()
    return list(Delivery.objects.values_list("kind", flat=True))


def test_an_agent_that_registers_with_an_address_is_told_once_it_is_claimed(operator):
    said = registered(webhookUrl=URL)
    assert said["webhook_secret"].startswith("whsec_")
    nina = roster.by_slug("nina")
    a_task("too early", assignee=nina)
    assert told() == []
    me = Api(said["api_key"]).get("/agents/me").json()
    assert me["webhook"] == {
        "url": URL, "enabled": False, "disabled_reason": "Nobody has claimed the agent yet.", "failing_since": None,
    }  # fmt: skip
    assert me["webhook_secret"] is None
    roster.claim(operator, said["claim_url"].rsplit("/", 1)[1])
    a_task("now", assignee=nina)
    assert told() == ["task.assigned"]


def test_an_address_that_may_not_be_called_registers_nobody():
    refused = Api().post("/agents/register", {"name": "Nina", "webhook_url": "http://169.254.169.254/"})
    assert refused.status_code == 400
    assert [detail["field"] for detail in refused.json()["details"]] == ["webhook_url"]
    assert not Webhook.objects.exists()
    assert Api().post("/agents/register", {"name": "Nina"}).json()["agent"]["id"] == "nina"


def test_without_an_address_there_is_no_secret():
    assert "webhook_secret" not in registered()
    assert not Webhook.objects.exists()


def test_an_agent_changes_its_address_and_gets_another_secret(ada, api_of):
    api = api_of(ada)
    first = api.patch("/agents/me", {"webhook_url": URL}).json()
    same = api.patch("/agents/me", {"webhook_url": URL}).json()
    other = api.patch("/agents/me", {"webhook_url": "https://other.example/"}).json()
    assert same["webhook_secret"] is None
    assert first["webhook_secret"] != other["webhook_secret"]
    assert (other["webhook"]["url"], other["webhook"]["enabled"]) == ("https://other.example/", True)
    assert Webhook.objects.get().agent == "ada"
    assert api.patch("/agents/me", {"webhook_url": ""}).json()["webhook"] is None
    assert not Webhook.objects.exists()
    refused = api.patch("/agents/me", {"webhook_url": "http://localhost/", "role": "writer"})
    assert refused.status_code == 400
    assert api.get("/agents/me").json()["agent"]["role"] == ""


def test_the_address_is_shown_to_the_agent_itself_and_not_to_others(ada, api_of, viewer):
    api_of(ada).patch("/agents/me", {"webhook_url": URL})
    for path in ("/agents", "/agents/ada", "/activities?since=0"):
        assert b"token=t" not in api_of(viewer).get(path).content


def test_the_address_goes_with_the_agent(ada):
    roster.set_webhook(ada, ada.agent, URL)
    roster.delete(DIRECTOR, ada.agent)
    assert not Webhook.objects.exists()
