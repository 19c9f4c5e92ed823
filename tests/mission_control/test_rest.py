"""REST's edges: sessions with CSRF, content types, and one shape of every refusal."""

import pytest
from django.test import Client

from agents import roster
from mission_control.models import Activity
from tests.conftest import Api, a_task, key_of

pytestmark = pytest.mark.django_db


def is_refusal(answer, status: int, code: str = "") -> bool:
    body = answer.json()
    assert set(body) >= {"error", "code", "details"}
    assert isinstance(body["error"], str) and body["error"]
    assert all(set(line) == {"field", "message"} for line in body["details"])
    assert answer["Content-Type"] == "application/json"
    assert (answer.status_code, body["code"] if code else "") == (status, code), body
    return True


# ── who calls ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_gets_in_without_proof(nobody, ada):
    for answer in (nobody.get("/tasks"), nobody.post("/tasks", {"title": "x"}), Api("mc_wrong" * 5).get("/tasks")):
        assert is_refusal(answer, 401, "not_authenticated")
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_person_calls_with_a_session_and_its_csrf_token(operator):
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator.user)
    assert client.get("/api/v1/tasks").status_code == 200
    body = {"data": {"title": "x"}, "content_type": "application/json"}
    assert is_refusal(client.post("/api/v1/tasks", **body), 403, "csrf")
    client.cookies["csrftoken"] = "a" * 32
    answer = client.post("/api/v1/tasks", **body, headers={"x-csrftoken": "a" * 32})
    assert answer.status_code == 201
    assert is_refusal(client.post("/api/v1/tasks", **body, headers={"x-csrftoken": "b" * 32}), 403, "csrf")


def test_a_key_needs_no_csrf_token_and_wins_over_a_session(operator, ada):
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator.user)
    answer = client.get("/api/v1/agents/me", headers={"authorization": f"Bearer {key_of(ada.agent)}"})
    assert answer.json()["agent"]["id"] == "ada"
    answer = client.get("/api/v1/tasks", headers={"authorization": "Bearer mc_wrong"})
    assert is_refusal(answer, 401)


def test_a_deactivated_person_is_nobody(api_of, operator):
    api = api_of(operator)
    operator.user.is_active = False
    operator.user.save()
    assert is_refusal(api.get("/tasks"), 401)


def test_a_revoked_key_is_nobodys_at_once(api_of, operator, ada):
    api = api_of(ada)
    assert api.get("/tasks").status_code == 200
    assert api_of(operator).delete(f"/agents/ada/keys/{api.secret[3:11]}").status_code == 204
    assert is_refusal(api.get("/tasks"), 401)


def test_a_key_in_the_address_is_refused(api_of, ada, operator):
    for api in (api_of(ada), api_of(operator), Api()):
        assert is_refusal(api.get(f"/tasks?key={key_of(ada.agent)}"), 400, "invalid")


def test_an_agent_that_nobody_claimed_only_reads_itself(nobody):
    agent, secret, _ = roster.register(name="Newcomer")
    api = Api(secret)
    assert api.get("/agents/me").json()["agent"]["state"] == "pending_claim"
    for method, path in (
        ("GET", "/tasks"), ("GET", f"/agents/{agent.slug}"), ("GET", "/vocabulary"), ("GET", "/activities"),
        ("PATCH", "/agents/me"), ("POST", "/tasks/claim"), ("POST", "/agents/heartbeat"), ("POST", "/tickets"),
        ("GET", "/tasks/ready-for-work"), ("POST", "/tasks"), ("GET", "/board/summary"),
    ):  # fmt: skip
        assert is_refusal(api.call(method, path, {}), 403, "pending_claim"), path


def test_the_open_mode_serves_plain_calls_as_the_built_in_agent(settings, ada):
    settings.OPEN_MODE = True
    local = {"headers": {"host": "localhost:8000"}, "content_type": "application/json"}
    client = Client()
    made = client.post("/api/tasks", {"title": "By curl", "created_by_agent_id": "ada"}, **local)
    assert (made.status_code, made.json()["created_by"]) == (201, "ada")
    taken = client.post("/api/tasks/claim", {"agentId": "ada", "agentName": "Ada"}, **local)
    assert (taken.json()["title"], taken.json()["assigned_agent_id"]) == ("By curl", "ada")
    done = client.post("/api/tasks/complete", {"taskId": taken.json()["id"], "agentId": "ada", "output": "ok"}, **local)
    assert done.json()["status"] == "done"
    assert client.get("/api/agents/me", **local).json()["agent"]["id"] == "local"
    assert is_refusal(client.post("/api/fleet/freeze", {}, **local), 403)
    for more in ({"x-forwarded-for": "127.0.0.1"}, {"origin": "http://localhost:8000"}, {"host": "testserver"}):
        assert is_refusal(client.get("/api/tasks", headers={**local["headers"], **more}), 401)


def test_a_call_is_a_sign_of_life(api_of, ada):
    assert ada.agent.last_seen_at is None
    api_of(ada).get("/tasks")
    ada.agent.refresh_from_db()
    assert ada.agent.last_seen_at is not None
    assert Activity.objects.filter(kind="agent.seen_again", agent="ada").count() == 1


# ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"title=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"title": "x"}', "text/plain", 415, "unsupported_media_type"),
        (b'{"title": "x"}', "application/json; charset=utf-8", 201, ""),
        (b'{"title": "x"', "application/json", 400, "invalid"),
        (b'{"title": "\\u0000"}', "application/json", 400, "invalid"),
        (b'{"title": "\\ud800"}', "application/json", 400, "invalid"),
        (b'{"title": "\xff"}', "application/json", 400, "invalid"),
        (b'{"title": NaN}', "application/json", 400, "invalid"),
        (b'{"title": "a", "title": "b"}', "application/json", 400, "invalid"),
        (b"[" * 100_000, "application/json", 400, "invalid"),
        (b'"title"', "application/json", 400, "invalid"),
        (b"null", "application/json", 400, "invalid"),
        (b'{"title": "' + b"x" * 1_000_000 + b'"}', "application/json", 413, "too_large"),
        (b"--x\r\n", "multipart/form-data; boundary=x", 415, "unsupported_media_type"),
    ],
    ids=str,
)
@pytest.mark.parametrize("idempotent", [False, True])
def test_a_body_is_strict_json_or_refused(body, kind, status, code, idempotent, api_of, operator):
    headers = {"idempotency_key": "k"} if idempotent else {}
    answer = api_of(operator).post("/tasks", body, content_type=kind, **headers)
    assert answer.status_code == 201 if status == 201 else is_refusal(answer, status, code)


def test_whatever_accept_says_the_answer_is_json(api_of, operator):
    for accept in ("text/html", "application/xml", "*/*", "nonsense"):
        assert api_of(operator).get("/tasks", accept=accept)["Content-Type"] == "application/json"


# ── what goes out ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_refusal_has_the_same_shape(api_of, operator, viewer, nobody):
    api, task = api_of(operator), a_task()
    assert is_refusal(api.get("/nothing"), 404, "not_found")
    assert is_refusal(nobody.get("/nothing"), 404, "not_found")
    assert is_refusal(api.get("/tasks/"), 404, "not_found")
    assert is_refusal(api.get("/tasks/%00"), 404, "not_found")
    assert is_refusal(api.get("/tasks/zzzzzzzz"), 404, "not_found")
    assert is_refusal(api.get("/tasks/UPPER123"), 404, "not_found")
    assert is_refusal(api.get("/api"), 404, "not_found")
    assert is_refusal(api.put("/tasks", {}), 405, "method_not_allowed")
    assert is_refusal(api.call("OPTIONS", "/tasks"), 405, "method_not_allowed")
    assert is_refusal(api.call("PROPFIND", "/tasks"), 405, "method_not_allowed")
    assert is_refusal(api_of(viewer).post("/tasks", {"title": "x"}), 403, "scope_missing")
    assert is_refusal(api.post(f"/tasks/{task.code}/resume", {}), 409, "wrong_state")
    assert is_refusal(api.patch(f"/tasks/{task.code}", {"title": "x"}, if_match='"9"'), 412, "stale")
    assert api.put("/tasks", {})["Allow"] == "GET, HEAD, POST, PATCH, DELETE"


def test_an_answer_does_nothing_in_a_browser(api_of, operator):
    answer = api_of(operator).get("/tasks")
    assert answer["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private, no-cache"


def test_a_busy_database_is_said_and_nothing_else(api_of, operator, monkeypatch):
    from django.db import OperationalError

    from tasks import api as calls

    def locked(*_, **__):
        raise OperationalError("database is locked")

    monkeypatch.setattr(calls, "page", locked)
    answer = api_of(operator).get("/tasks")
    assert is_refusal(answer, 503, "busy")
    assert answer["Retry-After"] == "1"


def test_a_fault_of_ours_is_told_without_its_inside(operator, monkeypatch):
    from tasks import api as calls

    monkeypatch.setattr(calls, "page", lambda *_, **__: 1 / 0)
    client = Client(raise_request_exception=False)
    client.force_login(operator.user)
    answer = client.get("/api/v1/tasks")
    assert answer.status_code == 500
    assert set(answer.json()) >= {"error", "code"}
    assert b"ZeroDivision" not in answer.content
