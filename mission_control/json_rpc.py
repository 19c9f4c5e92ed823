"""JSON-RPC 2.0 over one POST: reading a call, answering it, saying no. Not: what may be called (mcp_api.py, a2a_api.py).

Stateless: every POST is judged by itself. One call per POST, as MCP (2025-06-18 and later) and A2A have it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.urls import resolve

from mission_control import callers, strict_json
from mission_control.actors import Actor
from mission_control.errors import Invalid, Refused, as_refusal
from mission_control.rest import lower

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
HTTP_STATUS = {PARSE_ERROR: 400, INVALID_REQUEST: 400}
JSON = "application/json"


class Failed(Exception):
    """The error object of JSON-RPC, and the HTTP status it goes out with."""

    def __init__(self, code: int, sentence: str, data: Any = None, status: int = 0) -> None:
        super().__init__(sentence)
        self.code, self.sentence, self.data = code, sentence, data
        self.status = status or HTTP_STATUS.get(code, 200)


@dataclass(frozen=True)
class Message:
    """One call. `id` is None for a notification, which is owed no answer."""

    method: str
    id: str | int | None = None
    params: dict[str, Any] = field(default_factory=dict)


class Answered(NamedTuple):
    """What a call of the REST API answered: `body` is its JSON, {} without one."""

    status: int
    body: Any

    @property
    def refused(self) -> bool:
        return self.status >= 400


def serve(request: HttpRequest, act: Callable[[Message], Any]) -> HttpResponse:
    """Answer a POST by `act`, which gives the result or raises Failed. Who calls has to show a key, as in REST.

    What is no message at all is answered under the id null; a refusal at the door has REST's status and body.
    """
    if request.method != "POST":
        response = _json({"error": "Send a POST.", "code": "method_not_allowed", "details": []}, 405)
        response["Allow"] = "POST"
        return response
    try:
        caller(request)
        _refuse_other_types(request)
        message = read(request.body)
    except Failed as failed:
        return _failure(None, failed)
    except Exception as error:
        refused = as_refusal(error)
        if refused is None:
            raise
        response = _json(refused.body(), refused.status)
        for name, value in refused.headers().items():
            response[name] = value
        return response
    try:
        result = act(message)
    except Failed as failed:
        return _failure(message.id, failed)
    if message.id is None:
        return HttpResponse(status=202)
    return _json({"jsonrpc": "2.0", "id": message.id, "result": result})


def caller(request: HttpRequest) -> Actor:
    """Who calls, by key or in the open mode. Unknown without; a person's session does not count here."""
    headers = lower(request)
    remote = callers.remote_of(request.META.get("REMOTE_ADDR", ""), headers)
    return callers.require(callers.identify(headers, remote, request.META.get("QUERY_STRING", "")), "read")


def read(body: bytes) -> Message:
    """Failed for what is not exactly one call."""
    try:
        said = strict_json.read(body)
    except Invalid as invalid:
        raise Failed(PARSE_ERROR, invalid.sentence) from None
    if not isinstance(said, dict):
        raise Failed(INVALID_REQUEST, "Send one JSON-RPC object; batches are not taken.")
    method, number, params = said.get("method"), said.get("id"), said.get("params", {})
    if said.get("jsonrpc") != "2.0" or not isinstance(method, str) or not method:
        raise Failed(INVALID_REQUEST, 'Send {"jsonrpc": "2.0", "id": 1, "method": "…", "params": {…}}.')
    if "id" in said and (isinstance(number, bool) or not isinstance(number, str | int)):
        raise Failed(INVALID_REQUEST, "The id is a text or a whole number.")
    if not isinstance(params, dict):
        raise Failed(INVALID_PARAMS, "params is an object.", status=400)
    return Message(method, number, params)


def ask(
    request: HttpRequest, method: str, path: str, *, body: Any = None, query: dict[str, str] | None = None, key: str = ""
) -> Answered:  # fmt: skip
    """A call of the REST API by the caller of `request`, in this thread: the same address, verb, checks and limits.

    `key` is the Idempotency-Key; without one that of the request, if it has one.
    """
    content = b"" if body is None else strict_json.write(body)
    environment = {
        **request.META, "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": urlencode(query or {}),
        "CONTENT_TYPE": JSON, "CONTENT_LENGTH": str(len(content)), "wsgi.input": BytesIO(content),
    }  # fmt: skip
    for header in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
        environment.pop(header, None)
    if key:
        environment["HTTP_IDEMPOTENCY_KEY"] = key
    inner = WSGIRequest(environment)
    inner.user = AnonymousUser()  # the key decides, whatever cookies came along
    match = resolve(path)
    answer = match.func(inner, *match.args, **match.kwargs)
    if hasattr(answer, "render") and not answer.is_rendered:
        answer.render()
    # Our own answer, however large or deep: the limits are those of what comes in.
    return Answered(answer.status_code, json.loads(answer.content or b"{}"))


def _refuse_other_types(request: HttpRequest) -> None:
    if (request.content_type or "").lower() != JSON:
        raise Refused("Send the body as application/json.", code="unsupported_media_type", status=415)
    accepted = request.headers.get("Accept", "*/*").lower()
    if not any(kind in accepted for kind in (JSON, "*/*", "application/*")):
        raise Refused("The answer is application/json: accept it.", code="not_acceptable", status=406)


def _failure(number: str | int | None, failed: Failed) -> HttpResponse:
    error: dict[str, Any] = {"code": failed.code, "message": failed.sentence}
    if failed.data is not None:
        error["data"] = failed.data
    return _json({"jsonrpc": "2.0", "id": number, "error": error}, failed.status)


def _json(body: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(
        strict_json.write(body), status=status, content_type=JSON, headers={"Cache-Control": "no-store"}
    )
