"""Every POST of the API, sent again under the Idempotency-Key of the first time: one effect, one answer.

The addresses are taken from the URL list, so a new POST without a line here makes tests/test_access.py red.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mission_control import log, loops, schema
from mission_control.models import IdempotentAnswer
from mission_control.outbound import deliveries, webhooks
from tasks import handover, transitions
from tests.conftest import DIRECTOR, Api, a_task, claimed, fence, fresh
from tests.test_access import ROUTES
from ventures.models import Venture

pytestmark = pytest.mark.django_db
POSTS = sorted({route.address for route in ROUTES if route.method == "POST"})


@dataclass
class World:
    """Who calls, and what they call about: a new task in the state that the call is for."""

    boss: Api  # a person who operates
    ada: Api
    bob: Api
    actors: dict[str, Any]
    place: Path

    def task(self, **fields: Any) -> Any:
        return a_task(**fields)

    def held(self, **fields: Any) -> Any:
        """Leased to ada as session `run`."""
        task = a_task(**fields)
        claimed(self.actors["ada"], task, session_key="run")
        return task

    def in_review(self) -> Any:
        task = self.held(review_required=True)
        transitions.complete(DIRECTOR, task.code, summary="Done")
        return task

    def done(self) -> Any:
        task = self.held()
        transitions.complete(DIRECTOR, task.code, summary="Done")
        return task


# address → (world) → (who, body, ids of the address)
Case = Callable[[World], tuple[Api, Any, dict[str, Any]]]


def about(make: str, body: Any = None, who: str = "boss", **ids: Any) -> Case:
    """A call about a task that `make` makes."""

    def case(world: World) -> tuple[Api, Any, dict[str, Any]]:
        return getattr(world, who), body, {"code": getattr(world, make)().code, **ids}

    return case


def plain(body: Any = None, who: str = "boss", **ids: Any) -> Case:
    return lambda world: (getattr(world, who), body, ids)


def approving(world: World) -> tuple[Api, Any, dict[str, Any]]:
    task = a_task(needs_approval=True)
    return world.boss, {"hash": handover.digest(fresh(task))}, {"code": task.code}


def retrying(world: World) -> tuple[Api, Any, dict[str, Any]]:
    from ventures import catalogue

    catalogue.change(DIRECTOR, catalogue.default(), {"max_failures": 1})
    task = a_task()
    transitions.fail(world.actors["ada"], task.code, fence(claimed(world.actors["ada"], task)))
    return world.boss, None, {"code": task.code}


def adopting(world: World) -> tuple[Api, Any, dict[str, Any]]:
    task = a_task()
    with log.unit():
        transitions.add_deliverables(
            DIRECTOR,
            transitions.lock(DIRECTOR, task.code),
            [{"type": "url", "title": "Left"}],
            attempt=1,
            orphaned=True,
        )
    return world.boss, None, {"code": task.code, "number": 1}


def leaving(world: World) -> tuple[Api, Any, dict[str, Any]]:
    task = a_task()
    world.ada.post(f"/tasks/{task.code}/join")
    return world.ada, None, {"code": task.code}


def completing_flat(world: World) -> tuple[Api, Any, dict[str, Any]]:
    return world.ada, {"taskId": world.held().code, "output": {"rows": 3}}, {}


def waiting(world: World) -> tuple[Api, Any, dict[str, Any]]:
    return world.boss, {"depends_on": a_task().code}, {"code": a_task().code}


def costing(world: World) -> tuple[Api, Any, dict[str, Any]]:
    return world.ada, {"task": a_task().code, "cost": "0.10"}, {}


def hooked(body: Any = None) -> Case:
    return lambda world: (world.boss, body, {"hook": webhooks.create(DIRECTOR, url="https://hook.example/in")[0].code})


def delivered(world: World) -> tuple[Api, Any, dict[str, Any]]:
    hook, _ = webhooks.create(DIRECTOR, url="https://hook.example/in")
    a_task()
    deliveries.make_from_log()
    return world.boss, None, {"hook": hook.code, "message": hook.deliveries.get().message_id}


def merged(world: World) -> tuple[Api, Any, dict[str, Any]]:
    for words in ("init -b main", "-c user.name=Olivia -c user.email=o@example.org commit --allow-empty -m first"):
        subprocess.run(["git", *words.split()], cwd=world.place, check=True, capture_output=True)
    Venture.objects.filter(slug="apollo").update(workspace=str(world.place))
    return world.boss, {"dry_run": False}, {"slug": "apollo"}


def called(world: World) -> tuple[Api, Any, dict[str, Any]]:
    ada, bob = world.actors["ada"], world.actors["bob"]
    loops.Circuit.objects.create(
        waker=ada.name, woken=bob.name, window_began_at=log.now(), opened_at=log.now(), reason="x"
    )
    return world.boss, None, {"waker": ada.name, "woken": bob.name}


def told(world: World) -> tuple[Api, Any, dict[str, Any]]:
    from mission_control.models import Notification
    from mission_control.outbound import notifications

    transitions.create(DIRECTOR, title="For ada", assignee=world.actors["ada"].agent)
    notifications.make_from_log()
    return world.ada, None, {"number": Notification.objects.get().pk}


def channelled(world: World) -> tuple[Api, Any, dict[str, Any]]:
    made = world.boss.post("/notifications/channels", CHANNEL).json()["channel"]
    return world.boss, None, {"channel": made["id"]}


CHANNEL = {"type": "url", "address": "ntfys://ntfy.example/fleet"}
SPOKEN = {"text": "Hello"}
CASES: dict[str, Case] = {
    "tasks": plain({"title": "New"}), "tasks/complete": completing_flat,
    "tasks/claim": lambda world: (world.ada, {}, {"code": a_task().code}),
    "tasks/ready-for-work": lambda world: (world.ada, {}, {"code": a_task().code}),
    "tasks/cleanup-stale": plain({"olderThanMinutes": 5}),
    "tasks/{code}/claim": about("task", {"sessionKey": "k"}, "ada"), "tasks/{code}/runs": about("task", {}, "ada"),
    "tasks/{code}/heartbeat": about("held", None, "ada"),
    "tasks/{code}/progress": about("held", {"percent": 10, "actual_cost": "0.10"}, "ada"),
    "tasks/{code}/release": about("held", None, "ada"), "tasks/{code}/fail": about("held", {"error": "x"}, "ada"),
    "tasks/{code}/complete": about("held", {"summary": "Done"}, "ada"),
    "tasks/{code}/block": about("held", {"reason": "Which?"}, "ada"),
    "tasks/{code}/process": about("task", {"agent": "ada"}),
    "tasks/{code}/pause": about("task", {"reason": "Later"}), "tasks/{code}/cancel": about("task", {"reason": "No"}),
    "tasks/{code}/resume": lambda w: (w.boss, None, {"code": transitions.pause(DIRECTOR, a_task().code).code}),
    "tasks/{code}/unblock": lambda w: (
        w.boss, {"answer": "42"}, {"code": transitions.block(DIRECTOR, a_task().code, kind="needs_input", reason="?").code},
    ),
    "tasks/{code}/reopen": about("done"), "tasks/{code}/retry": retrying, "tasks/{code}/accept": about("in_review"),
    "tasks/{code}/return": about("in_review", {"reason": "More"}), "tasks/{code}/approve": approving,
    "tasks/{code}/feedback": about("done", {"quality": 4, "timeliness": 5}),
    "tasks/{code}/watch": about("task"),
    "tasks/{code}/activities": about("task", {"message": "x", "metadata": {"a": 1.5}}, "ada"),
    "tasks/{code}/deliverables": about("task", {"title": "Result"}, "ada"),
    "tasks/{code}/deliverables/{number}/adopt": adopting,
    "tasks/{code}/subagent": about("held", {"session_key": "s:1", "agent_name": "bob"}),
    "tasks/{code}/sessions": about("held", {"session_key": "s:2", "agent_name": "bob"}),
    "tasks/{code}/dependencies": waiting, "tasks/{code}/plan": about("task", {"title": "One more"}),
    "tasks/{code}/comments": about("task", SPOKEN), "tasks/{code}/notes": about("task", SPOKEN, "ada"),
    "tasks/{code}/participants": about("task", {"agent": "bob"}), "tasks/{code}/join": about("task", None, "ada"),
    "tasks/{code}/leave": leaving, "tasks/{code}/sync": about("task", {"message": "x"}, "ada"),
    "tasks/{code}/discover": about("task", {"message": "x"}, "ada"),
    "tasks/{code}/context": about("task", {"key": "k", "value": 1}, "ada"),
    "tasks/{code}/usage": about("task", {"cost": "0.10"}, "ada"), "usage": costing,
    "sessions": plain({"session_key": "watch"}, "ada"), "openclaw/sessions": plain({"session_key": "watch"}, "ada"),
    "agents/heartbeat": plain(None, "ada"), "activities": plain({"message": "x"}), "events": plain({"message": "x"}),
    "agents": plain({"id": "carol", "name": "Carol"}), "agents/register": plain({"name": "Newcomer"}, "nobody"),
    "enrolments": plain({"label": "For the fleet"}),
    "agents/availability": plain({"status": "busy"}, "ada"), "agents/{slug}/keys": plain({}, slug="ada"),
    "fleet/freeze": plain({"reason": "x"}), "fleet/thaw": plain(), "tickets": plain(),
    "circuits/{waker}/{woken}/reset": called,
    "webhooks": plain({"url": "https://hook.example/in"}), "webhooks/{hook}/rotate": hooked({}),
    "webhooks/{hook}/test": hooked(), "webhooks/{hook}/redeliver": hooked({"since": 0}),
    "webhooks/{hook}/deliveries/{message}/redeliver": delivered,
    "notifications/channels": plain(CHANNEL), "notifications/channels/{channel}/test": channelled,
    "notifications/read": plain({}), "notifications/{number}/read": told,
    **{
        f"{name}{rest}": case
        for name in ("ventures", "projects")
        for rest, case in {
            "": plain({"name": "Shop"}), "/{slug}/join": plain(None, "ada", slug="apollo"),
            "/{slug}/ledger": plain({"amount": "1.00", "note": "x"}, slug="apollo"),
            "/{slug}/merge": merged,
        }.items()
    },
}  # fmt: skip


@pytest.fixture
def world(api_of, operator, ada, bob, venture, tmp_path) -> World:
    made = World(api_of(operator), api_of(ada), api_of(bob), {"ada": ada, "bob": bob}, tmp_path)
    made.nobody = Api()  # type: ignore[attr-defined]
    return made


def test_every_post_is_said_to_take_a_key():
    silent = [
        route.address
        for route in ROUTES
        if route.method == "POST" and "Idempotency-Key" not in {told.name for told in schema._parameters(route.made)}
    ]
    assert silent == []


@pytest.mark.parametrize("address", POSTS)
def test_a_post_that_is_sent_again_has_one_effect_and_the_same_answer(address, world):
    api, body, ids = CASES[address](world)
    root = "/api" if address == "tasks/complete" else "/api/v1"
    path = f"{root}/{address.format(**ids)}"
    first = api.post(path, body, idempotency_key="once-and-no-more")
    assert first.status_code in (200, 201, 202, 204), first.content
    assert "Idempotent-Replayed" not in first
    head = log.head()
    again = api.post(path, body, idempotency_key="once-and-no-more")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again["Idempotent-Replayed"] == "true"
    assert log.head() == head, "it was recorded twice"
    assert IdempotentAnswer.objects.count() == 1
    other = api.post(path, {**(body or {}), "more": 1}, idempotency_key="once-and-no-more")
    assert other.status_code == 422, "another request under the same key"
