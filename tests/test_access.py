"""Who may call what: every address of the API, with every method and by everyone, against one table.

The addresses are taken from the URL list, so a new call without a line here makes the test red. Ids of another's
are asked for by a stranger in all of them: 404, as if they were not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from mission_control.endpoints import Endpoint
from tests.conftest import Api, a_task, claimed

pytestmark = pytest.mark.django_db

READERS = {"viewer", "operator", "admin", "agent", "lead", "orchestrator", "admin key"}
WORKERS = READERS - {"viewer"}
AGENTS = {"agent", "lead", "orchestrator", "admin key"}
CREATORS = {"operator", "admin", "orchestrator", "admin key"}
STEERERS = CREATORS | {"lead"}
OPERATORS = {"operator", "admin", "admin key"}
PEOPLE = {"viewer", "operator", "admin"}
ANYONE = READERS | {"nobody", "pending"}
KNOWN = READERS | {"pending"}

# (method, address) → who gets past the door: answered by anything but 401 and 403 (and, for the rest, with those).
# A verb may still refuse what it is asked to do; the bodies below are empty, and the task is nobody's.
WHO: dict[tuple[str, str], set[str]] = {
    ("GET", "tasks/export"): READERS, ("GET", "tasks"): READERS, ("POST", "tasks"): CREATORS, ("PATCH", "tasks"): WORKERS, ("DELETE", "tasks"): WORKERS,
    ("POST", "tasks/claim"): AGENTS, ("POST", "tasks/complete"): WORKERS,
    ("GET", "tasks/ready-for-work"): AGENTS, ("POST", "tasks/ready-for-work"): AGENTS,
    ("GET", "tasks/pending"): AGENTS, ("GET", "tasks/listen"): AGENTS,
    ("GET", "tasks/stuck"): OPERATORS, ("GET", "tasks/orphaned"): OPERATORS, ("POST", "tasks/cleanup-stale"): OPERATORS,
    ("GET", "tasks/{code}"): READERS, ("PATCH", "tasks/{code}"): WORKERS, ("DELETE", "tasks/{code}"): STEERERS,
    ("POST", "tasks/{code}/claim"): AGENTS,
    ("POST", "tasks/{code}/heartbeat"): WORKERS, ("POST", "tasks/{code}/progress"): WORKERS,
    ("POST", "tasks/{code}/release"): WORKERS, ("POST", "tasks/{code}/fail"): WORKERS,
    ("POST", "tasks/{code}/complete"): WORKERS, ("POST", "tasks/{code}/block"): WORKERS,
    ("POST", "tasks/{code}/unblock"): STEERERS, ("POST", "tasks/{code}/pause"): STEERERS,
    ("POST", "tasks/{code}/resume"): STEERERS, ("POST", "tasks/{code}/cancel"): STEERERS,
    ("POST", "tasks/{code}/reopen"): STEERERS, ("POST", "tasks/{code}/retry"): STEERERS,
    ("POST", "tasks/{code}/accept"): STEERERS, ("POST", "tasks/{code}/return"): WORKERS,
    ("GET", "tasks/{code}/feedback"): READERS, ("POST", "tasks/{code}/feedback"): WORKERS,
    ("GET", "feedback/metrics"): READERS, ("GET", "audit"): READERS,
    ("GET", "tasks/{code}/approve"): READERS, ("POST", "tasks/{code}/approve"): WORKERS,
    ("PUT", "tasks/{code}/move"): WORKERS, ("PUT", "tasks/{code}/execution"): WORKERS,
    ("POST", "tasks/{code}/process"): STEERERS, ("GET", "tasks/{code}/candidates"): READERS,
    ("GET", "tasks/{code}/why"): READERS, ("GET", "tasks/{code}/briefing"): READERS,
    ("GET", "tasks/{code}/activities"): READERS, ("POST", "tasks/{code}/activities"): WORKERS,
    ("GET", "tasks/{code}/deliverables"): READERS, ("POST", "tasks/{code}/deliverables"): WORKERS,
    ("GET", "tasks/{code}/deliverables/{number}/file"): READERS,
    ("POST", "tasks/{code}/deliverables/{number}/adopt"): STEERERS,
    ("GET", "tasks/{code}/subagent"): READERS, ("POST", "tasks/{code}/subagent"): WORKERS,
    ("GET", "tasks/{code}/sessions"): READERS, ("POST", "tasks/{code}/sessions"): WORKERS,
    ("GET", "tasks/{code}/runs"): READERS, ("POST", "tasks/{code}/runs"): AGENTS,
    ("GET", "tasks/{code}/runs/{number}"): READERS,
    ("GET", "tasks/{code}/dependencies"): READERS, ("POST", "tasks/{code}/dependencies"): WORKERS,
    ("DELETE", "tasks/{code}/dependencies"): WORKERS, ("DELETE", "tasks/{code}/dependencies/{before}"): STEERERS,
    ("GET", "tasks/{code}/plan"): READERS, ("POST", "tasks/{code}/plan"): WORKERS,
    ("PATCH", "tasks/{code}/plan/{number}"): WORKERS,
    ("GET", "tasks/{code}/comments"): READERS, ("POST", "tasks/{code}/comments"): WORKERS,
    ("GET", "tasks/{code}/participants"): READERS, ("POST", "tasks/{code}/participants"): WORKERS,
    ("DELETE", "tasks/{code}/participants/{slug}"): STEERERS,
    ("POST", "tasks/{code}/join"): WORKERS, ("POST", "tasks/{code}/leave"): WORKERS, ("POST", "tasks/{code}/sync"): WORKERS,
    ("POST", "tasks/{code}/discover"): WORKERS,
    ("GET", "tasks/{code}/context"): READERS, ("POST", "tasks/{code}/context"): WORKERS,
    ("GET", "tasks/{code}/context/{key}"): READERS, ("DELETE", "tasks/{code}/context/{key}"): WORKERS,
    ("GET", "tasks/{code}/notes"): READERS, ("POST", "tasks/{code}/notes"): WORKERS,
    **{("GET", f"tasks/{{code}}/{name}"): READERS for name in ("context.yaml", "progress.jsonl", "notes.md", "archive.tar.gz")},
    ("POST", "tasks/{code}/usage"): WORKERS, ("POST", "usage"): WORKERS, ("GET", "usage/unmatched"): OPERATORS,
    ("GET", "sessions"): READERS, ("POST", "sessions"): WORKERS, ("POST", "openclaw/sessions"): WORKERS,
    ("GET", "sessions/{key}"): READERS, ("PATCH", "sessions/{key}"): WORKERS,
    ("DELETE", "sessions/{key}"): WORKERS,
    ("GET", "openclaw/sessions"): READERS, ("GET", "openclaw/sessions/{key}"): READERS,
    ("PATCH", "openclaw/sessions/{key}"): WORKERS, ("DELETE", "openclaw/sessions/{key}"): WORKERS,
    ("POST", "agents/heartbeat"): AGENTS,
    ("GET", "activities"): READERS, ("POST", "activities"): WORKERS, ("GET", "events"): READERS, ("POST", "events"): WORKERS,
    ("GET", "board/summary"): READERS, ("GET", "board/columns"): READERS, ("GET", "vocabulary"): READERS,
    ("GET", "agents"): READERS, ("POST", "agents"): WORKERS, ("POST", "agents/register"): ANYONE,
    ("GET", "agents/me"): AGENTS | {"pending"}, ("PATCH", "agents/me"): AGENTS, ("POST", "agents/availability"): WORKERS,
    ("GET", "agents/{slug}"): READERS, ("PATCH", "agents/{slug}"): CREATORS, ("DELETE", "agents/{slug}"): OPERATORS,
    ("GET", "agents/{slug}/keys"): OPERATORS, ("POST", "agents/{slug}/keys"): OPERATORS,
    ("DELETE", "agents/{slug}/keys/{prefix}"): OPERATORS,
    ("GET", "enrolments"): OPERATORS, ("POST", "enrolments"): OPERATORS, ("DELETE", "enrolments/{prefix}"): OPERATORS,
    **{
        line: who
        for name in ("ventures", "projects")
        for line, who in {
            ("GET", name): READERS, ("POST", name): WORKERS, ("PATCH", name): WORKERS, ("DELETE", name): WORKERS,
            ("GET", f"{name}/{{slug}}"): READERS, ("PATCH", f"{name}/{{slug}}"): CREATORS,
            ("DELETE", f"{name}/{{slug}}"): CREATORS, ("GET", f"{name}/{{slug}}/ledger"): READERS,
            ("POST", f"{name}/{{slug}}/ledger"): WORKERS,
            ("POST", f"{name}/{{slug}}/merge"): OPERATORS,
            ("POST", f"{name}/{{slug}}/join"): WORKERS, ("GET", f"{name}/{{slug}}/members"): READERS,
        }.items()
    },
    ("GET", "fleet/freeze"): READERS, ("POST", "fleet/freeze"): OPERATORS, ("GET", "fleet/thaw"): READERS,
    ("POST", "fleet/thaw"): OPERATORS, ("POST", "tickets"): READERS,
    ("GET", "circuits"): OPERATORS, ("POST", "circuits/{waker}/{woken}/reset"): OPERATORS,
    ("GET", "webhooks"): OPERATORS, ("POST", "webhooks"): OPERATORS, ("GET", "webhooks/{hook}"): OPERATORS,
    ("PATCH", "webhooks/{hook}"): OPERATORS, ("DELETE", "webhooks/{hook}"): OPERATORS,
    ("POST", "webhooks/{hook}/rotate"): OPERATORS, ("POST", "webhooks/{hook}/test"): OPERATORS,
    ("POST", "webhooks/{hook}/redeliver"): OPERATORS, ("GET", "webhooks/{hook}/deliveries"): OPERATORS,
    ("POST", "webhooks/{hook}/deliveries/{message}/redeliver"): OPERATORS,
    ("GET", "notifications"): READERS, ("POST", "notifications/read"): READERS,
    ("POST", "notifications/{number}/read"): READERS,
    ("GET", "notifications/schedule"): PEOPLE, ("PATCH", "notifications/schedule"): PEOPLE,
    ("GET", "notifications/push-key"): PEOPLE, ("GET", "notifications/channels"): PEOPLE,
    ("POST", "notifications/channels"): PEOPLE, ("GET", "notifications/channels/{channel}"): PEOPLE,
    ("PATCH", "notifications/channels/{channel}"): PEOPLE, ("DELETE", "notifications/channels/{channel}"): PEOPLE,
    ("POST", "notifications/channels/{channel}/test"): PEOPLE,
    ("GET", "tasks/{code}/watch"): READERS, ("POST", "tasks/{code}/watch"): READERS,
    ("DELETE", "tasks/{code}/watch"): READERS,
}  # fmt: skip


@dataclass(frozen=True)
class Route:
    method: str
    address: str
    made: Endpoint = field(compare=False)

    @property
    def named(self) -> set[str]:
        return set(re.findall(r"{(\w+)}", self.address))


def routes(patterns: Any = None, under: str = "") -> list[Route]:
    """Every call that is bound to an address under /api/v1."""
    found = []
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        address = under + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            if str(pattern.pattern) == "api/v1/":
                found += routes(pattern.url_patterns)
        elif isinstance(pattern, URLPattern) and patterns is not None:
            found += [Route(m, address, e) for m, e in pattern.callback.cls.endpoints.items()]
    return found


ROUTES = routes()


def test_every_call_stands_in_the_table():
    listed = {(route.method, route.address) for route in ROUTES}
    assert listed == set(WHO)
    assert len(listed) > 90


def test_every_post_is_repeated_in_a_test():
    from tests.test_repeating import CASES  # it takes the addresses from here

    posts = {route.address for route in ROUTES if route.method == "POST"}
    assert posts == set(CASES), "a POST needs a line in tests/test_repeating.py"


@pytest.fixture
def cast(operator, admin, viewer, ada, lead, orchestrator, api_of, stranger) -> dict[str, Api]:
    from agents import roster
    from tests.conftest import key_of

    _, pending, _ = roster.register(name="Newcomer")
    return {
        "nobody": Api(), "pending": Api(pending), "viewer": api_of(viewer), "operator": api_of(operator),
        "admin": api_of(admin), "agent": api_of(ada), "lead": api_of(lead), "orchestrator": api_of(orchestrator),
        "admin key": Api(key_of(stranger.agent, "admin")),
    }  # fmt: skip


def asked(api: Api, route: Route, ids: dict[str, Any]) -> Any:
    body = {} if route.method in ("POST", "PATCH", "PUT") else None
    root = "/api" if route.made.bare_only else "/api/v1"
    return api.call(route.method, f"{root}/{route.address.format(**ids)}", body)


def test_each_call_lets_in_exactly_those_of_the_table(cast, venture, bob, monkeypatch):
    from agents import api as agent_calls

    monkeypatch.setattr(agent_calls, "REGISTRATIONS", (1000, 60))
    wrong = []
    for route in ROUTES:
        for who, api in cast.items():
            task = a_task(venture=venture)
            ids = {
                "code": task.code,
                "before": task.code,
                "number": 1,
                "key": "nowhere",
                "slug": "apollo",
                "prefix": "x",
                "hook": "x",
                "channel": "x",
                "message": "x",
                "waker": "x",
                "woken": "x",
            }
            if route.address.startswith("agents/"):
                ids["slug"] = "bob"
            status = asked(api, route, ids).status_code
            inside = status not in (401, 403)
            if inside is not (who in WHO[route.method, route.address]):
                wrong.append(f"{route.method} {route.address}: {who} got {status}")
            if status >= 500:
                wrong.append(f"{route.method} {route.address}: {who} broke it")
            assert (status == 401) is (who == "nobody" and not inside)
    assert not wrong, "\n".join(wrong)


def test_a_strangers_ids_are_not_there_in_any_call(stranger, api_of, closed, ada):
    """An agent with every scope but admin that did not join: as if the venture and all in it did not exist."""
    outsider = api_of(stranger, "work", "orchestrate")
    hidden = a_task("hidden", venture=closed)
    taken = a_task("taken", venture=closed, review_required=True)
    claimed(ada, taken, session_key="secret")
    checked = 0
    for route in ROUTES:
        if not route.named & {"code", "key"} and route.address.split("/")[0] not in ("ventures", "projects"):
            continue
        if "{" not in route.address:
            continue
        for task in (hidden, taken):
            ids = {
                "code": task.code,
                "before": task.code,
                "number": 1,
                "key": "secret",
                "slug": "backroom",
                "prefix": "x",
            }
            body = _valid(route, task)
            path = f"/api/v1/{route.address.format(**ids)}"
            if (route.method, route.address) == ("DELETE", "tasks/{code}/dependencies"):
                path += f"?depends_on={task.code}"
            answer = outsider.call(route.method, path, body)
            assert answer.status_code == 404, f"{route.method} {path}: {answer.status_code} {answer.content!r}"
            for name in ("hidden", "taken", "Backroom"):
                assert name.encode() not in answer.content
            checked += 1
    assert checked > 80
    for path in (
        "/tasks",
        "/activities?since=0",
        "/sessions",
        "/ventures",
        "/board/summary",
        "/tasks/pending",
        "/agents/me",
    ):
        shown = outsider.get(path).content
        assert b"hidden" not in shown and b"taken" not in shown and b"ackroom" not in shown, path
    body = {"task": hidden.code, "message": "x"}
    assert outsider.post("/activities", body).status_code == 404
    assert outsider.post("/usage", {"task": hidden.code, "cost": 1}).status_code == 404
    assert outsider.bare.post("/tasks/complete", {"taskId": hidden.code}).status_code == 404
    assert outsider.bare.patch("/tasks", {"id": hidden.code, "title": "x"}).status_code == 404
    assert outsider.bare.delete(f"/tasks?id={hidden.code}").status_code == 404


def _valid(route: Route, task: Any) -> Any:
    """A body that would be taken, were the caller allowed to."""
    if route.method not in ("POST", "PATCH", "PUT"):
        return None
    last = route.address.rsplit("/", 1)[-1]
    return {
        "block": {"reason": "x"}, "return": {"reason": "x"}, "move": {"status": "inbox"}, "execution": {"action": "pause"},
        "activities": {"message": "x"}, "deliverables": {"title": "x"}, "subagent": {"session_key": "x"},
        "sessions": {"session_key": "x"}, "approve": {"hash": "0" * 64}, "feedback": {"quality": 3, "timeliness": 3},
        "plan": {"title": "x"}, "{number}": {"title": "x"}, "comments": {"text": "x"}, "notes": {"text": "x"}, "sync": {"message": "x"}, "discover": {"message": "x"},
        "context": {"key": "x", "value": 1}, "dependencies": {"depends_on": task.code}, "{code}": {"title": "x"}, "{key}": {"summary": "x"},
        "{slug}": {"name": "x"}, "ledger": {"amount": 1, "note": "x"},
    }.get(last, {})  # fmt: skip


def test_an_id_that_no_database_can_hold_belongs_to_nothing(api_of, admin):
    """As an address with a number in it: SQLite would break at 64 bits, PostgreSQL at its column's."""
    task = a_task()
    huge = "9" * 20
    calls = [
        ("POST", f"/notifications/{huge}/read"),
        ("PATCH", f"/tasks/{task.code}/plan/{huge}"),
        ("GET", f"/tasks/{task.code}/runs/{huge}"),
    ]
    calls += [(method, path.replace(huge, "9" * 18)) for method, path in calls]
    assert [
        api_of(admin).call(method, path, {"state": "done"} if method == "PATCH" else {}).status_code
        for method, path in calls
    ] == [404] * len(calls)
