"""The answer to POST /tasks/claim, from bytes to bytes, without a framework in between: the hot path of the product.

The ASGI endpoint that waits (waiting.py) and the REST view (api.py) both call `answer_claim`. Not: who gets which
task (claiming.py), how one waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings

from agents.acting import act_for
from mission_control import callers, idempotency, strict_json
from mission_control.actors import Actor
from mission_control.errors import Invalid, Refused
from mission_control.idempotency import Reply
from tasks.claiming import MOST, Wish, claim_next
from tasks.shapes import claim_shape
from ventures.models import DEFAULT_SLUG, Venture

MOST_WAIT = 60
RETRY_AFTER = 15
NOTHING_V1: dict[str, Any] = {"task": None, "tasks": [], "action": "none", "retry_after": RETRY_AFTER}
NOTHING_BARE = {"message": "No available tasks"}

# What a body may hold, under the names other tools use.
NAMES = {
    "session_key": "session_key", "sessionKey": "session_key", "openclaw_session_id": "session_key",
    "capabilities": "capabilities",
    "venture": "venture", "venture_id": "venture", "ventureId": "venture", "project_id": "venture",
    "projectId": "venture", "workspace_id": "venture", "workspaceId": "venture",
    "limit": "limit",
    "lease_seconds": "lease_seconds", "leaseSeconds": "lease_seconds",
    "wait": "wait",
    "idle_work": "idle_work", "idleWork": "idle_work",
    "agent_id": "agent", "agentId": "agent",
    "agent_name": "agent_name", "agentName": "agent_name",
}  # fmt: skip


class ClaimAnswer(NamedTuple):
    """`content` is JSON bytes. `wait_more` > 0: there was nothing, and the caller may wait so many seconds for news
    and then ask again with `waited` raised by them; the answer in hand is the one to give if it does not."""

    status: int
    content: bytes
    headers: dict[str, str]
    wait_more: float = 0.0


@dataclass
class Asked:
    wish: Wish
    wait: float = 0.0
    agent: str = ""
    batch: bool = False


def answer_claim(
    *,
    headers: Mapping[str, str],
    body: bytes,
    bare: bool,
    remote: str = "",
    query: str = "",
    waited: float = 0.0,
    actor: Actor | None = None,
) -> ClaimAnswer:
    """Authenticate, read, claim, shape. Never raises for what a caller sent; blocks on the database: call in a thread.

    `headers` by lower-case name: authorization, idempotency-key, content-type, and for the open mode host, origin,
    sec-fetch-site, forwarded, x-forwarded-*. `remote` is the peer's address, `bare` is True under /api. `actor`: the
    caller, when it is known already. A request without an Authorization header but with a cookie belongs to the REST
    view, which knows sessions and CSRF.
    """
    try:
        caller = actor or callers.identify(headers, callers.remote_of(remote, headers), query)
        if not waited:
            callers.note_seen(caller)
        return _answered(callers.require(caller, "work", "orchestrate", "operate"), headers, body, bare, waited)
    except Refused as refused:
        reply = idempotency.refusal(refused)
        return ClaimAnswer(*reply)


def _answered(caller: Actor, headers: Mapping[str, str], body: bytes, bare: bool, waited: float) -> ClaimAnswer:
    _refuse_other_types(headers, body)
    key = headers.get("idempotency-key")
    more = 0.0

    def work() -> Reply:
        nonlocal more
        asked = read_wish(body, bare)
        claimer = act_for(caller, asked.agent) if asked.agent else caller
        _refuse_hidden(claimer, asked.wish.venture)
        claims = claim_next(claimer, asked.wish)
        if claims:
            return Reply(200, strict_json.write(claim_shape(claims, bare=bare, batch=asked.batch)), {})
        more = max(0.0, asked.wait - waited)
        if more:
            raise _NothingYet
        return Reply(404 if bare else 200, strict_json.write(NOTHING_BARE if bare else NOTHING_V1), {})

    try:
        reply = work() if key is None else idempotency.once(caller, key, _same(bare, body), work)
    except _NothingYet:
        return ClaimAnswer(404 if bare else 200, strict_json.write(NOTHING_BARE if bare else NOTHING_V1), {}, more)
    return ClaimAnswer(*reply)


def _refuse_hidden(claimer: Actor, venture: Venture | None) -> None:
    """A venture that the agent may not see is not there for it, as in every other call."""
    if venture and not Venture.objects.visible_to(claimer).filter(pk=venture.pk).exists():
        raise Invalid({"venture": "There is no such venture."})


class _NothingYet(Exception):
    """Undoes the row of the idempotency key: the waiting is not over."""


def _same(bare: bool, body: bytes) -> bytes:
    return b"POST " + (b"/api" if bare else b"/api/v1") + b"/tasks/claim\n" + body


def _refuse_other_types(headers: Mapping[str, str], body: bytes) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise Refused("Send the body as application/json.", code="unsupported_media_type", status=415)


def read_wish(body: bytes, bare: bool) -> Asked:
    """Invalid with one entry per field."""
    given = strict_json.read(body)
    if not isinstance(given, dict):
        raise Invalid({"": "Send a JSON object."})
    wrong: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = NAMES.get(key)
        if name is None:
            wrong[key] = "This field is unknown."
        elif name in values:
            wrong[key] = f"The same as {name}, which is given already."
        elif value is not None:
            values[name] = value
    asked = Asked(Wish(simple=bare))
    for name, value in values.items():
        complaint = _CHECKS[name](value)
        if complaint:
            wrong[next(key for key in given if NAMES.get(key) == name)] = complaint
    if wrong:
        raise Invalid(wrong)
    wish = asked.wish
    wish.session_key = values.get("session_key", "")
    wish.capabilities = values.get("capabilities")
    wish.limit = values.get("limit", 1)
    wish.lease_seconds = values.get("lease_seconds")
    wish.idle_work = values.get("idle_work", False)
    asked.batch = "limit" in values and values["limit"] > 1
    asked.wait = float(values.get("wait", 0))
    asked.agent = values.get("agent", "")
    if "venture" in values:
        wish.venture = Venture.objects.filter(slug=values["venture"] or DEFAULT_SLUG).first()
        if wish.venture is None:
            raise Invalid({"venture": "There is no such venture."})
    return asked


def _text(most: int) -> Any:
    def complaint(value: Any) -> str:
        if not isinstance(value, str):
            return "Give a text."
        return f"At most {most} characters." if len(value) > most else ""

    return complaint


def _whole(least: int, most: int) -> Any:
    def complaint(value: Any) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            return "Give a whole number."
        return "" if least <= value <= most else f"Between {least} and {most}."

    return complaint


def _key(value: Any) -> str:
    if not isinstance(value, str):
        return "Give a text."
    return "" if len(value) <= 200 and value.isprintable() else "At most 200 printable characters."


def _words(value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return "Give a list of words."
    return "At most 100 words." if len(value) > 100 else ""


def _seconds(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "Give a number of seconds."
    return "" if 0 <= value <= MOST_WAIT else f"Between 0 and {MOST_WAIT}."


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "Give true or false."


_CHECKS = {
    "session_key": _key, "capabilities": _words, "venture": _text(60), "limit": _whole(1, MOST),
    "lease_seconds": _whole(settings.LEASE_SECONDS_MIN, settings.LEASE_SECONDS_MAX), "wait": _seconds, "idle_work": _flag, "agent": _text(60),
    "agent_name": _text(200),
}  # fmt: skip
