"""MCP: both eras of the protocol, every tool by the same verbs as REST, refusals a model can act on, and bad input."""

import asyncio
import json
import re
import shutil
import subprocess

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from mission_control import callers, strict_json
from mission_control.models import Activity
from tasks.models import Deliverable
from tasks.protocols.mcp_tools import BY_NAME, TOOLS
from tests.conftest import Api, a_task, fresh

NAMES = [
    "next_task", "get_task", "list_tasks", "create_task", "report_progress", "add_deliverable", "complete_task",
    "fail_task", "block_task", "release_task", "share_context", "add_note", "why", "inbox",
]  # fmt: skip
META = "io.modelcontextprotocol/"
ENVELOPE = {f"{META}protocolVersion": "2026-07-28", f"{META}clientCapabilities": {}}


def sent(api, body, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if api.secret:
        named.setdefault("authorization", f"Bearer {api.secret}")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = named.pop("content-type", "application/json")
    return api.client.generic("POST", "/mcp", raw, kind, headers=named)


def rpc(api, method, params=None, **headers):
    return sent(api, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}, **headers)


def used(api, name, **arguments):
    """The structured answer of a tool; AssertionError when it refused."""
    result = rpc(api, "tools/call", {"name": name, "arguments": arguments}).json()["result"]
    assert not result["isError"], result
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return result["structuredContent"]


def refused(api, name, **arguments):
    """The structured refusal of a tool and its text."""
    result = rpc(api, "tools/call", {"name": name, "arguments": arguments}).json()["result"]
    assert result["isError"], result
    return result["structuredContent"], result["content"][0]["text"]


@pytest.fixture
def agent(orchestrator, api_of) -> Api:
    return api_of(orchestrator)


# ── the protocol ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_shows_no_key_is_told_how_to_and_learns_nothing(nobody, api_of, operator):
    for api in (nobody, api_of(operator), Api("mc_" + "x" * 40)):
        answer = rpc(api, "tools/list")
        assert (answer.status_code, answer["WWW-Authenticate"][:6]) == (401, "Bearer")
        assert "tools" not in answer.json()


def test_the_stateless_era_needs_no_handshake(agent):
    said = {"mcp_protocol_version": "2026-07-28", "mcp_method": "server/discover"}
    found = rpc(agent, "server/discover", {"_meta": ENVELOPE}, **said).json()["result"]
    assert found["supportedVersions"] == ["2026-07-28"] and found["resultType"] == "complete"
    said["mcp_method"] = "tools/list"
    listed = rpc(agent, "tools/list", {"_meta": ENVELOPE}, **said).json()["result"]
    assert [tool["name"] for tool in listed["tools"]] == NAMES
    assert listed["ttlMs"] > 0 and listed["cacheScope"] == "public"


@pytest.mark.parametrize(
    ("headers", "params", "code"),
    [
        ({"mcp_protocol_version": "2026-07-28"}, {}, -32602),
        ({"mcp_protocol_version": "2026-07-28"}, {"_meta": ENVELOPE}, -32020),
        ({"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/call"}, {"_meta": ENVELOPE}, -32020),
        ({"mcp_protocol_version": "2099-01-01"}, {"_meta": ENVELOPE}, -32022),
        ({"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/list"}, {"_meta": "x"}, -32602),
    ],
)
def test_an_envelope_that_contradicts_its_headers_is_refused(agent, headers, params, code):
    answer = rpc(agent, "tools/list", params, **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_a_method_that_is_not_there_is_404_in_the_stateless_era_and_an_error_in_the_older_one(agent):
    said = {"mcp_protocol_version": "2026-07-28", "mcp_method": "initialize"}
    modern = rpc(agent, "initialize", {"_meta": ENVELOPE}, **said)
    older = rpc(agent, "resources/list")
    assert (modern.status_code, modern.json()["error"]["code"]) == (404, -32601)
    assert (older.status_code, older.json()["error"]["code"]) == (200, -32601)


@pytest.mark.parametrize(
    ("asked", "given"), [("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25"), (7, "2025-11-25")]
)
def test_initialize_is_answered_with_a_version_that_both_may_speak(agent, asked, given):
    result = rpc(agent, "initialize", {"protocolVersion": asked, "capabilities": {}, "clientInfo": {}}).json()["result"]
    assert result["protocolVersion"] == given
    assert sent(agent, {"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
    assert rpc(agent, "ping").json()["result"] == {}


def test_only_post_is_answered(agent):
    for method in ("GET", "DELETE", "PUT"):
        answer = agent.client.generic(method, "/mcp", headers={"authorization": f"Bearer {agent.secret}"})
        assert (answer.status_code, answer["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, -32700), (b"\xff", 400, -32700), (b"[" * 5000, 400, -32700), (b'{"a":"\\u0000"}', 400, -32700),
        (b"[]", 400, -32600), (b"7", 400, -32600), (b"{}", 400, -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', 400, -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', 400, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 400, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}', 200, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["x"]}}', 200, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"why","arguments":[1]}}', 200, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}', 200, -32602),
    ],
)  # fmt: skip
def test_what_is_no_call_is_an_error_of_json_rpc(agent, body, status, code):
    answer = sent(agent, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_the_limits_are_those_of_rest(agent, nobody, monkeypatch):
    assert sent(agent, b'"' + b"x" * 1_000_001 + b'"').status_code == 413
    assert sent(agent, b"{}", content_type="text/plain").status_code == 415
    assert rpc(agent, "ping", accept="text/html").status_code == 406
    monkeypatch.setattr(callers, "FAILED_LOGINS", (1, 60))
    assert [rpc(Api("mc_" + "y" * 40), "ping").status_code for _ in range(3)][-1] == 429


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tool=st.sampled_from(TOOLS), given_=st.dictionaries(TEXTS, JSON_VALUES, max_size=2), data=st.data(),
)  # fmt: skip
def test_no_argument_breaks_a_tool(agent, tool, given_, data):
    named = data.draw(st.dictionaries(st.sampled_from(list(tool.takes)), JSON_VALUES, max_size=4))
    answer = rpc(agent, "tools/call", {"name": tool.name, "arguments": {**given_, **named}})
    assert answer.status_code == 200, answer.content
    assert "result" in answer.json() or answer.json()["error"]["code"] == -32602


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(min_size=1, max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_body_breaks_the_door(agent, body):
    assert sent(agent, body).status_code in (200, 202, 400)


# ── the tools ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_schema_is_strict_and_every_argument_is_known_to_the_call_behind_it(agent):
    from django.urls import resolve

    for tool in rpc(agent, "tools/list").json()["result"]["tools"]:
        schema, ours = tool["inputSchema"], BY_NAME[tool["name"]]
        assert schema["additionalProperties"] is False and set(schema["required"]) <= set(schema["properties"])
        view = resolve("/api/v1/" + ours.address.format(task="a" * 8)).func
        made = view.cls.endpoints[ours.method]
        own = {"task", "idempotency_key", "mark_read_until"}
        if made.takes:
            known = set(made.takes().fields)
        else:
            known = {param.name for param in made.query.params}
        assert set(schema["properties"]) - own <= known, tool["name"]
    assert len(strict_json.write([tool.described() for tool in TOOLS])) < 10_000  # what each conversation pays for


def test_a_task_goes_from_the_queue_to_done(agent, ada, venture):
    made = used(agent, "create_task", title="Draw the map", venture="apollo", priority="high", tags=["map"])
    assert made["status"] == "ready" and "description" not in made
    assert [task["id"] for task in used(agent, "list_tasks", status="ready", limit=5)["tasks"]] == [made["id"]]
    got = used(agent, "next_task", session_key="run-1", lease_seconds=60)
    assert got["action"] == "claimed" and got["task"]["id"] == made["id"] == got["briefing"]["task"]
    assert used(agent, "next_task", session_key="run-1")["epoch"] == got["epoch"]
    lease = {"task": made["id"], "epoch": got["epoch"], "lease_token": got["lease_token"]}
    assert used(agent, "report_progress", percent=40, message="half", **lease)["status"] == "in_progress"
    used(agent, "add_deliverable", title="Map", type="url", path="https://example.org/map", **lease)
    used(agent, "share_context", key="scale", value={"km": 3}, **lease)
    used(agent, "add_note", text="Ink is low.", **lease)
    assert used(agent, "get_task", task=made["id"])["session_key"] == "run-1"
    assert Deliverable.objects.get(task__code=made["id"]).path == "https://example.org/map"
    assert used(agent, "why", task=made["id"])
    done = used(agent, "complete_task", summary="Drawn.", tokens_in=10, tokens_out=5, actual_cost=0.01, **lease)
    assert (done["status"], done["tokens_used"]) == ("done", 15)
    assert used(agent, "next_task") == {"action": "none", "retry_after": 15}
    assert "unread" in used(agent, "inbox", limit=5)


def test_a_call_that_is_repeated_has_one_effect(agent, venture):
    first = used(agent, "create_task", title="Once", idempotency_key="k1")
    assert used(agent, "create_task", title="Once", idempotency_key="k1")["id"] == first["id"]
    assert refused(agent, "create_task", title="Other", idempotency_key="k1")[0]["code"] == "idempotency_mismatch"
    got = used(agent, "next_task")
    lease = {"task": first["id"], "epoch": got["epoch"], "lease_token": got["lease_token"]}
    before = Activity.objects.filter(task=first["id"]).count()
    assert used(agent, "fail_task", error="no ink", **lease) == used(agent, "fail_task", error="no ink", **lease)
    assert Activity.objects.filter(task=first["id"]).count() == before + 1


def test_a_claim_is_told_however_deep_or_long_what_stands_around_it(agent, venture):
    deep = "bottom"
    for _ in range(30):
        deep = [deep]
    task = a_task(venture=venture)
    assert agent.post(f"/api/v1/tasks/{task.code}/context", {"key": "deep", "value": deep}).status_code == 201
    assert used(agent, "next_task")["briefing"]["quoted"]["context"][0]["value"] == deep
    for _ in range(12):
        a_task(venture=venture, description="é" * 50_000)
    assert len(used(agent, "list_tasks", limit=20)["tasks"]) == 13


@pytest.mark.parametrize("tool", ["block_task", "release_task"])
def test_a_lease_is_given_back(agent, venture, tool):
    task = a_task(venture=venture)
    got = used(agent, "next_task")
    lease = {"task": task.code, "epoch": got["epoch"], "lease_token": got["lease_token"]}
    used(agent, tool, reason="Which ink?", **lease)
    assert fresh(task).holder is None


def test_a_refusal_says_what_would_work(agent, ada, api_of, closed, venture):
    told, text = refused(agent, "get_task", task="a" * 8)
    assert told["code"] == "not_found" and "list_tasks" in text
    told, text = refused(agent, "report_progress", task=a_task(venture=venture).code, percent=3)
    assert told["error"] in text and told["code"] in ("lease_lost", "wrong_state")
    told, text = refused(api_of(ada), "create_task", title="x")
    assert told["code"] == "scope_missing" and "key" in told["try"]
    told, text = refused(agent, "create_task", title="x", colour="red")
    assert "colour is unknown" in text
    told, text = refused(agent, "create_task", title="x", venture="nowhere")
    assert told["details"][0]["field"] == "venture" and "- venture:" in text
    for wrong in ({"limit": 0}, {"limit": "1"}, {"status": "gone"}, {"mine": 1}):
        assert refused(agent, "list_tasks", **wrong)[0]["code"] == "invalid"
    hidden = a_task("hidden", venture=closed)
    assert refused(agent, "why", task=hidden.code)[0]["code"] == "not_found"


def test_notifications_are_read_up_to_the_one_that_was_seen(ada, api_of, operator, venture):
    from tasks import transitions

    agent = api_of(ada)
    task = a_task(venture=venture, assignee=ada.agent)
    transitions.cancel(operator, task.code, reason="not needed")
    heard = used(agent, "inbox")
    assert heard["notifications"] and heard["unread"] == len(heard["notifications"])
    after = used(agent, "inbox", mark_read_until=heard["notifications"][0]["id"])
    assert after == {"notifications": [], "unread": 0, "next": None}


# ── with the clients of others ──────────────────────────────────────────────────────────────────────────────────────


async def _work_through(url, key, mode):
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            listed = [tool.name for tool in (await client.list_tools()).tools]
            got = (await client.call_tool("next_task", {})).structured_content
            lease = {"task": got["task"]["id"], "epoch": got["epoch"], "lease_token": got["lease_token"]}
            done = await client.call_tool("complete_task", {**lease, "summary": "By the SDK."})
            late = await client.call_tool("report_progress", {**lease, "percent": 1})
            return listed, done.structured_content["status"], late.is_error


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_works_in_both_eras(product, mode):
    key = product.agent(f"sdk-{mode}")
    product.tasks(1)
    listed, status, late = asyncio.run(_work_through(f"{product.url}/mcp", key, mode))
    assert (listed, status, late) == (NAMES, "done", True)


def test_the_protocols_own_conformance_client_finds_nothing_wrong(new_product, tmp_path):
    """From the npm registry, installed here: needs node and npm. It shows no key, so it comes in by the open mode."""
    assert shutil.which("npm"), "this test needs node and npm on PATH"
    (tmp_path / "package.json").write_text("{}")
    install = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
        "@modelcontextprotocol/conformance@0.1.9",
    ]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    product = new_product(MISSION_CONTROL_OPEN="1")
    for scenario in ("server-initialize", "ping", "tools-list"):
        command = [tmp_path / "node_modules/.bin/conformance", "server", "--url", f"{product.url}/mcp"]
        told = subprocess.run(
            [*command, "--scenario", scenario], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert told.returncode == 0, told.stdout + told.stderr
        assert re.search(r"Passed: ([1-9]\d*)/\1, 0 failed, 0 warnings", told.stdout), told.stdout
