"""A2A: other agents find this one by its card and hand it work, which becomes a task. Not: the tasks themselves (api.py).

JSON-RPC of versions 1.0 (`SendMessage`, `GetTask`) and 0.3 (`message/send`, `tasks/get`), each with its own words for
the same task, and the plain HTTP of 1.0 (`POST message:send`, `GET tasks/<id>`). https://a2a-protocol.org/latest/specification
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from mission_control import json_rpc, onboarding, strict_json
from mission_control.errors import Refused, as_refusal
from mission_control.json_rpc import INVALID_PARAMS, METHOD_NOT_FOUND, Answered, Failed, Message
from mission_control.onboarding_views import address_of
from tasks.vocabulary import BLOCKED, CANCELLED, DONE, FAILED, IN_PROGRESS, REVIEW

TASK_NOT_FOUND = -32001
MOST_TITLE, MOST_TEXT = 500, 50_000
A2A_JSON = "application/a2a+json"
WORDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED",
    409: "FAILED_PRECONDITION", 415: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE",
}  # fmt: skip
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
            {"url": address, "protocolBinding": binding, "protocolVersion": version}
            for binding, version in (("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"))
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
        raise _RefusedByRest(answered)
    task: dict[str, Any] = answered.body["task"]
    return task


class _RefusedByRest(Failed):
    """What REST has refused, in the words of JSON-RPC; with REST's status for plain HTTP."""

    def __init__(self, answered: Answered) -> None:
        code = TASK_NOT_FOUND if answered.status == 404 else INVALID_PARAMS
        super().__init__(code, answered.body["error"], answered.body)
        self.rest_status = answered.status


# ── plain HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────────


@csrf_exempt
def message_send(request: HttpRequest) -> HttpResponse:
    """A message becomes a task. Needs an agent's key as bearer."""
    return _plain(request, "POST", lambda: {"task": _newer(_sent(request, _read_body(request)))})


@csrf_exempt
def one_task(request: HttpRequest, code: str) -> HttpResponse:
    """What became of it. Needs an agent's key as bearer."""
    return _plain(request, "GET", lambda: _newer(_read(request, {"id": code})))


def _plain(request: HttpRequest, method: str, act: Callable[[], Any]) -> HttpResponse:
    try:
        if request.method != method:
            raise Refused(f"Send a {method}.", code="method_not_allowed", status=405)
        json_rpc.caller(request)
        return _said(act())
    except Failed as failed:
        status = getattr(failed, "rest_status", 404 if failed.code == TASK_NOT_FOUND else 400)
        reason = failed.data["code"] if failed.data else "not_found" if status == 404 else "invalid"
        return _said(_failure(status, failed.sentence, reason), status)
    except Exception as error:
        refused = as_refusal(error)
        if refused is None:
            raise
        response = _said(_failure(refused.status, refused.sentence, refused.code), refused.status)
        for name, value in refused.headers().items():
            response[name] = value
        if refused.status == 405:
            response["Allow"] = method
        return response


def _read_body(request: HttpRequest) -> dict[str, Any]:
    if request.content_type not in (A2A_JSON, json_rpc.JSON):
        raise Refused(f"Send the body as {A2A_JSON}.", code="unsupported_media_type", status=415)
    said = strict_json.read(request.body)
    if not isinstance(said, dict):
        raise Failed(INVALID_PARAMS, "Send an object with a message.")
    return said


def _failure(status: int, sentence: str, reason: str) -> dict[str, Any]:
    told = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason.upper(), "domain": "a2a-protocol.org",
    }  # fmt: skip
    return {
        "error": {
            "code": status, "status": WORDS.get(status, "FAILED_PRECONDITION"), "message": sentence, "details": [told],
        }
    }  # fmt: skip


def _said(body: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(
        strict_json.write(body), status=status, content_type=A2A_JSON, headers={"Cache-Control": "no-store"}
    )


# ── a task in their words ───────────────────────────────────────────────────────────────────────────────────────────


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
