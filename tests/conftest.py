"""The cast of the tests: people of each role, agents of different skills, a stranger, and a client for each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client, override_settings

from agents import keys, roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import SCOPE_ABILITIES, Actor, person, system
from mission_control.models import Activity, User
from tasks import claiming, transitions
from tasks.claiming import Claim, Wish
from tasks.leases import Fence
from tasks.models import Task
from ventures import catalogue
from ventures.models import Venture

DIRECTOR = system("test")


class Api:
    """One caller of the API. `root` is /api/v1 or, for simple clients, /api."""

    def __init__(self, secret: str = "", user: User | None = None, root: str = "/api/v1", **client: Any) -> None:
        self.client = Client(raise_request_exception=True, **client)
        self.secret, self.user, self.root = secret, user, root
        if user:
            self.client.force_login(user)

    @property
    def bare(self) -> Api:
        return Api(self.secret, self.user, "/api")

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.secret:
            named.setdefault("authorization", f"Bearer {self.secret}")
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = named.pop("content-type", "application/json")
        path = path if path.startswith("/api") else f"{self.root}{path}"
        return self.client.generic(method, path, raw, kind, headers=named)

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("PATCH", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("PUT", path, body, **headers)

    def delete(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("DELETE", path, body, **headers)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever starts the product as a process of its own is slow."""
    for item in items:
        if "make_product" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="session")
def static_files_under_their_plain_names() -> Iterator[None]:
    """Pages are rendered without having collected and hashed the static files first; `serve` does that in real runs."""
    plain = {**settings.STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    with override_settings(STORAGES=plain):
        yield


@pytest.fixture(autouse=True, scope="session")
def no_floats_in_the_log() -> Iterator[None]:
    """Whatever a test records: a float in `data` fails it. Two databases do not write the same one the same way."""

    def watch(lines: list[Activity]) -> None:
        for line in lines:
            _refuse_floats(line.data)

    log.watchers.append(watch)
    yield
    log.watchers.remove(watch)


def _refuse_floats(value: Any) -> None:
    assert not isinstance(value, float), f"the log holds no floats: {value}"
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _refuse_floats(inner)


@pytest.fixture(autouse=True)
def no_windows_left_open():
    """Limits count in the cache, which outlives a test."""
    cache.clear()


# ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def operator(db) -> Actor:
    return person(User.objects.create(username="olivia", role="operator"))


@pytest.fixture
def viewer(db) -> Actor:
    return person(User.objects.create(username="victor", role="viewer"))


@pytest.fixture
def admin(db) -> Actor:
    return person(User.objects.create(username="amy", role="admin"))


# ── ventures and agents ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def venture(db) -> Venture:
    return catalogue.create(DIRECTOR, name="Apollo", slug="apollo")


@pytest.fixture
def closed(ada) -> Venture:
    """A venture that only ada has joined."""
    venture = catalogue.create(DIRECTOR, name="Backroom", slug="backroom", open_to_all=False)
    roster.join(DIRECTOR, ada.agent, venture)
    return venture


def an_agent(slug: str, *capabilities: str, scopes: tuple[str, ...] = ("work",), **fields: Any) -> Actor:
    agent = roster.create(DIRECTOR, name=slug.title(), slug=slug, capabilities=sorted(capabilities), **fields)
    abilities = frozenset().union(*(SCOPE_ABILITIES[scope] for scope in scopes))
    return Actor("agent", slug, abilities, agent=agent)


@pytest.fixture
def ada(db) -> Actor:
    return an_agent("ada", "python", "review")


@pytest.fixture
def bob(db) -> Actor:
    return an_agent("bob", "design")


@pytest.fixture
def lead(db) -> Actor:
    """A lead: it steers others with a key that only works."""
    return an_agent("lea", "python", is_lead=True)


@pytest.fixture
def stranger(db) -> Actor:
    """An agent without skills that joined nothing."""
    return an_agent("stella")


@pytest.fixture
def orchestrator(db) -> Actor:
    return an_agent("otto", scopes=("work", "orchestrate"))


# ── their clients ───────────────────────────────────────────────────────────────────────────────────────────────────


def key_of(agent: Agent, *scopes: str) -> str:
    return keys.create(DIRECTOR, agent, scopes=scopes or ("work",))[1]


@pytest.fixture
def api_of():
    """`api_of(actor, *scopes)`: a client that calls as this person or agent."""

    def make(actor: Actor, *scopes: str) -> Api:
        if actor.is_person:
            return Api(user=actor.user)
        named = tuple(scope for scope, abilities in SCOPE_ABILITIES.items() if abilities <= actor.abilities)
        return Api(key_of(actor.agent, *(scopes or named)))

    return make


@pytest.fixture
def nobody() -> Api:
    return Api()


# ── work ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def a_task(title: str = "Write the size guide", **fields: Any) -> Task:
    return transitions.create(DIRECTOR, title=title, **fields)


def claimed(actor: Actor, task: Task | None = None, **wish: Any) -> Claim:
    """The actor's lease on this task, or on the next one."""
    if task is None:
        return claiming.claim_next(actor, Wish(**wish))[0]
    return claiming.claim_task(actor, task.code, Wish(**wish))


def fence(claim: Claim) -> Fence:
    return Fence(claim.epoch, claim.lease_token)


def fresh(task: Task) -> Task:
    return Task.objects.select_related("venture", "assignee", "holder", "held_by").get(pk=task.pk)
