"""A2A: other agents find this one by its card and hand it work, which becomes a task. Not: the tasks themselves (api.py).

JSON-RPC of versions 1.0 (`SendMessage`, `GetTask`) and 0.3 (`message/send`, `tasks/get`), each with its own words for
the same task. https://a2a-protocol.org/latest/specification
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from mission_control import json_rpc, onboarding, strict_json
from mission_control.json_rpc import INVALID_PARAMS, METHOD_NOT_FOUND, Answered, Failed, Message
from mission_control.onboarding_views import address_of
from tasks.vocabulary import BLOCKED, CANCELLED, DONE, FAILED, IN_PROGRESS, REVIEW

TASK_NOT_FOUND = -32001
MOST_TITLE, MOST_TEXT = 500, 50_000
STATES = {
    DONE: "completed", CANCELLED: "canceled", FAILED: "failed", IN_PROGRESS: "working", REVIEW: "working",
    BLOCKED: "input-required",
}  # fmt: skip


@require_safe
def card(request: HttpRequest) -> HttpResponse:
    """Who is here and how to speak with it. Open to everybody; nothing in it was typed in by anybody."""
    address = f"{address_of(request)}/a2a"
    plain = ["text/plain"]
    skill = {
        "id": "take-a-task", "name": "Take a task", "tags": ["tasks", "queue"], "examples": ["Write the size guide"],
        "description": "Puts the message into the queue, where a fit agent claims it. Ask for its state with the task's id.",
    }  # fmt: skip
    said = "A key with the scope orchestrate."
    bearer = {  # 0.3 reads the first line, 1.0 the second
        "type": "http", "scheme": "bearer", "description": said,
        "httpAuthSecurityScheme": {"scheme": "bearer", "description": said},
    }  # fmt: skip
    body = {
        "name": "Mission Control", "description": "A queue of tasks that agents work on and people steer.",
        "version": onboarding.VERSION, "protocolVersion": "0.3.0", "url": address, "preferredTransport": "JSONRPC",
        "supportedInterfaces": [
            {"url": address, "protocolBinding": "JSONRPC", "protocolVersion": version} for version in ("1.0", "0.3")
        ],
        "capabilities": {"streaming": False, "pushNotifications": False},
        "defaultInputModes": plain, "defaultOutputModes": plain, "skills": [skill],
        "securitySchemes": {"bearer": bearer}, "security": [{"bearer": []}],
        "securityRequirements": [{"schemes": {"bearer": {"list": []}}}],
    }  # fmt: skip
    return HttpResponse(strict_json.write(body), content_type="application/json", headers={"Cache-Control": "no-cache"})


@csrf_exempt
def a2a(request: HttpRequest) -> HttpResponse:
    """One call of A2A. Needs an agent's key as bearer."""
    return json_rpc.serve(request, lambda message: _result(request, message))


def _result(request: HttpRequest, message: Message) -> Any:
    params = message.params
    if message.method == "SendMessage":
        return {"task": _newer(_sent(request, params))}
    if message.method == "message/send":
        return _older(_sent(request, params))
    if message.method == "GetTask":
        return _newer(_read(request, params))
    if message.method == "tasks/get":
        return _older(_read(request, params))
    raise Failed(METHOD_NOT_FOUND, f"There is no method {message.method[:100]}: send a message or get a task.")


def _sent(request: HttpRequest, params: dict[str, Any]) -> dict[str, Any]:
    """The task that a message becomes. The same messageId again is the same task."""
    said = params.get("message")
    if not isinstance(said, dict):
        raise Failed(INVALID_PARAMS, "message is an object with messageId, role and parts.")
    if said.get("taskId"):
        raise Failed(INVALID_PARAMS, "A task that is there takes no message; send a new one.")
    number, parts = said.get("messageId"), said.get("parts")
    if not isinstance(number, str) or not 1 <= len(number) <= 200 or not all("!" <= c <= "~" for c in number):
        raise Failed(INVALID_PARAMS, "messageId is 1 to 200 visible ASCII characters.")
    texts = [part["text"] for part in _list(parts) if isinstance(part, dict) and isinstance(part.get("text"), str)]
    if not texts or len(texts) != len(_list(parts)):
        raise Failed(INVALID_PARAMS, "parts is a list of text parts: only text is taken.")
    text = "\n\n".join(texts).strip()
    if not text or len(text) > MOST_TEXT:
        raise Failed(INVALID_PARAMS, f"The text has 1 to {MOST_TEXT:,} characters.")
    title = (
        " ".join("".join(c if c.isprintable() else " " for c in text.splitlines()[0]).split())[:MOST_TITLE] or "Message"
    )
    body = {"title": title, "description": text, "tags": ["a2a"]}
    return _task(json_rpc.ask(request, "POST", "/api/v1/tasks", body=body, key=f"a2a-{number}"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _read(request: HttpRequest, params: dict[str, Any]) -> dict[str, Any]:
    code = params.get("id")
    if not isinstance(code, str) or not (len(code) == 8 and code.isascii() and code.isalnum() and code == code.lower()):
        raise Failed(TASK_NOT_FOUND, "There is no such task.")
    return _task(json_rpc.ask(request, "GET", f"/api/v1/tasks/{code}"))


def _task(answered: Answered) -> dict[str, Any]:
    if answered.refused:
        code = TASK_NOT_FOUND if answered.status == 404 else INVALID_PARAMS
        raise Failed(code, answered.body["error"], answered.body)
    task: dict[str, Any] = answered.body["task"]
    return task


def _shared(task: dict[str, Any], state: str, parts: list[dict[str, str]]) -> dict[str, Any]:
    results = [{"artifactId": "summary", "name": "summary", "parts": parts}] if parts else []
    return {
        "id": task["id"], "contextId": task["id"], "status": {"state": state, "timestamp": task["status_changed_at"]},
        "artifacts": results,
    }  # fmt: skip


def _newer(task: dict[str, Any]) -> dict[str, Any]:
    state = STATES.get(task["status"], "submitted").replace("-", "_").upper()
    summary = task.get("completion_summary")
    return _shared(task, f"TASK_STATE_{state}", [{"text": summary}] if summary else [])


def _older(task: dict[str, Any]) -> dict[str, Any]:
    summary = task.get("completion_summary")
    parts = [{"kind": "text", "text": summary}] if summary else []
    return {"kind": "task", **_shared(task, STATES.get(task["status"], "submitted"), parts)}
