"""A2A: the card, a message that becomes a task, its state in both versions' words, and what is refused."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks import transitions
from tasks.models import Task
from tests.conftest import Api, a_task, claimed, fence

pytestmark = pytest.mark.django_db


def rpc(api, method, params):
    headers = {"authorization": f"Bearer {api.secret}"} if api.secret else {}
    body = json.dumps({"jsonrpc": "2.0", "id": "1", "method": method, "params": params})
    return api.client.generic("POST", "/a2a", body.encode(), "application/json", headers=headers)


def a_message(text="Write the size guide\nFor shoes.", number="m-1", **more):
    return {"message": {"messageId": number, "role": "user", "parts": [{"kind": "text", "text": text}], **more}}


@pytest.fixture
def agent(orchestrator, api_of) -> Api:
    return api_of(orchestrator)


def test_the_card_says_where_and_how_without_a_key_and_without_what_was_typed_in(client, venture):
    card = client.get("/.well-known/agent-card.json", headers={"host": "localhost:9999"}).json()
    assert {line["url"] for line in card["supportedInterfaces"]} == {card["url"]} == {"http://localhost:9999/a2a"}
    assert [(line["protocolBinding"], line["protocolVersion"]) for line in card["supportedInterfaces"]] == [
        ("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"),
    ]  # fmt: skip
    assert card["skills"] and card["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "pollo" not in json.dumps(card)


@pytest.mark.parametrize(
    ("send", "get", "submitted", "completed"),
    [
        ("message/send", "tasks/get", "submitted", "completed"),
        ("SendMessage", "GetTask", "TASK_STATE_SUBMITTED", "TASK_STATE_COMPLETED"),
    ],
)
def test_a_message_becomes_a_task_whose_end_is_heard(agent, ada, send, get, submitted, completed):
    result = rpc(agent, send, a_message()).json()["result"]
    made = result.get("task", result)
    assert made["status"]["state"] == submitted
    task = Task.objects.get(code=made["id"])
    assert (task.title, task.description) == ("Write the size guide", "Write the size guide\nFor shoes.")
    again = rpc(agent, send, a_message()).json()["result"]
    assert again.get("task", again)["id"] == task.code and Task.objects.count() == 1
    claim = claimed(ada, task)
    transitions.complete(ada, task.code, fence(claim), summary="Written.")
    heard = rpc(agent, get, {"id": task.code}).json()["result"]
    assert (heard["status"]["state"], heard["artifacts"][0]["parts"][0]["text"]) == (completed, "Written.")


def test_what_is_refused_says_why(agent, nobody, api_of, ada, closed, stranger):
    assert rpc(nobody, "message/send", a_message()).status_code == 401
    assert rpc(api_of(ada), "message/send", a_message()).json()["error"]["data"]["code"] == "scope_missing"
    hidden = a_task("hidden", venture=closed)
    for code in (hidden.code, "nothing", "../x", 7, None):
        assert rpc(api_of(stranger), "tasks/get", {"id": code}).json()["error"]["code"] == -32001
    assert rpc(agent, "tasks/cancel", {}).json()["error"]["code"] == -32601
    for wrong in (
        {}, {"message": "x"}, a_message(""), a_message(number=""), a_message(number="é"), a_message("x" * 50_001),
        a_message(taskId=hidden.code), a_message(parts=[]), a_message(parts=[{"file": {}}]), a_message(parts=["x"]),
    ):  # fmt: skip
        assert rpc(agent, "SendMessage", wrong).json()["error"]["code"] == -32602, wrong
    assert Task.objects.count() == 1


def plain(api, method, path, body=None, kind="application/a2a+json"):
    headers = {"authorization": f"Bearer {api.secret}"} if api.secret else {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    return api.client.generic(method, f"/a2a/{path}", content, kind, headers=headers)


def test_a_message_by_plain_http_becomes_the_same_task(agent, ada):
    answer = plain(agent, "POST", "message:send", a_message())
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/a2a+json")
    made = answer.json()["task"]
    assert made["status"]["state"] == "TASK_STATE_SUBMITTED"
    assert rpc(agent, "SendMessage", a_message()).json()["result"]["task"]["id"] == made["id"]
    task = Task.objects.get()
    claim = claimed(ada, task)
    transitions.complete(ada, task.code, fence(claim), summary="Written.")
    heard = plain(agent, "GET", f"tasks/{task.code}").json()
    assert (heard["status"]["state"], heard["artifacts"][0]["parts"]) == (
        "TASK_STATE_COMPLETED",
        [{"text": "Written."}],
    )


def test_plain_http_refuses_by_its_status_and_says_why(agent, nobody, api_of, ada, closed, stranger):
    hidden = a_task("hidden", venture=closed)
    said = [
        plain(nobody, "POST", "message:send", a_message()), plain(api_of(ada), "POST", "message:send", a_message()),
        plain(api_of(stranger), "GET", f"tasks/{hidden.code}"), plain(agent, "GET", "tasks/.."),
        plain(agent, "GET", "message:send"), plain(agent, "POST", "message:send", a_message(), "text/plain"),
        plain(agent, "POST", "message:send", b"{"), plain(agent, "POST", "message:send", []),
        plain(agent, "POST", "message:send", {}),
    ]  # fmt: skip
    assert [answer.status_code for answer in said] == [401, 403, 404, 404, 405, 415, 400, 400, 400]
    for answer in said:
        error = answer.json()["error"]
        assert error["code"] == answer.status_code and error["status"].isupper() and error["message"]
        assert error["details"][0]["reason"].isupper()
    assert Task.objects.count() == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40), number=st.text(max_size=10))
def test_no_message_breaks_it(agent, text, number):
    assert rpc(agent, "SendMessage", a_message(text, number)).status_code in (200, 400)
