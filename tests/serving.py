"""Real servers for tests outside of the fault runs: fixtures of a product on the database that the run is about.

A database is migrated once a session and copied for each server, so that one starts in about a second.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websockets.sync.client
from psycopg import sql

from tests import servers
from tests.chaos.product import ROOT, Product

_numbers = itertools.count(1)


# The process beside a server: one line in, one line out, so that Django is set up once.
INSIDE = """
import json, sys, traceback, django
django.setup()
for line in sys.stdin:
    asked = json.loads(line)
    names = {"result": None, **asked["names"]}
    try:
        exec(asked["script"], names)
        said = {"result": names["result"]}
    except Exception:
        said = {"error": traceback.format_exc()}
    print(json.dumps(said), flush=True)
"""


class Served(Product):
    """A product with what these tests ask of it."""

    beside: subprocess.Popen[str] | None = None

    def inside(self, script: str, **names: Any) -> Any:
        """Run a script beside the server, on its database; what it assigns to `result` comes back as JSON."""
        if self.beside is None:
            self.beside = subprocess.Popen(
                [sys.executable, "-c", INSIDE],
                cwd=ROOT, env={**self.environment, "DJANGO_SETTINGS_MODULE": "mission_control.settings"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert self.beside.stdin and self.beside.stdout
        print(json.dumps({"script": script, "names": names}), file=self.beside.stdin, flush=True)
        said = json.loads(self.beside.stdout.readline())
        assert "error" not in said, said["error"]
        return said["result"]

    def stop(self) -> int:
        if self.beside is not None:
            assert self.beside.stdin
            self.beside.stdin.close()
            self.beside.wait(10)
            self.beside = None
        return super().stop()

    def agent(self, slug: str, *, scopes: str = "work", capabilities: str = "", **fields: Any) -> str:
        """A key of a new or known agent."""
        fields["capabilities"] = capabilities.split(",") if capabilities else []
        return self.inside(MAKE_AGENT, slug=slug, scopes=scopes.split(","), fields=fields)

    def venture(self, slug: str, **fields: Any) -> str:
        return self.inside(MAKE_VENTURE, slug=slug, fields=fields)

    def tasks(self, count: int, **fields: Any) -> list[str]:
        """So many new tasks; their codes. `assignee` and `venture` by slug."""
        return self.inside(MAKE_TASKS, count=count, fields=fields)

    def do(self, verb: str, code: str, **fields: Any) -> None:
        """A verb of tasks/transitions.py, done by the system."""
        self.inside(DO_VERB, verb=verb, code=code, fields=fields)

    def person(self, name: str = "olivia", role: str = "operator") -> str:
        """A person who is logged in; the value of the session cookie."""
        return self.inside(LOG_IN, name=name, role=role)

    def socket(self, path: str = "/ws", key: str = "", **options: Any) -> websockets.sync.client.ClientConnection:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        return websockets.sync.client.connect(
            f"ws://127.0.0.1:{self.port}{path}", additional_headers=headers, open_timeout=10, **options
        )

    def stream(self, path: str, key: str = "", timeout: float = 20, **headers: str) -> EventSource:
        return EventSource(self.port, path, key, timeout, headers)

    @property
    def waiting(self) -> int:
        """How many stand in the line for work."""
        return int(self.metric("mission_control_waiting"))

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=20) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.split()[-1])
        raise AssertionError(f"/metrics has no {name}")

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    @property
    def connections(self) -> int:
        """To the database, of this server alone."""
        if self.database_url.startswith("sqlite"):
            file = self.database_url.removeprefix("sqlite:///")
            links = Path(f"/proc/{self.process.pid}/fd").iterdir()
            return sum(os.readlink(link) == file for link in links)
        with psycopg.connect(self.database_url) as connection:
            asked = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return connection.execute(asked).fetchone()[0]


MAKE_AGENT = """
from agents import keys, roster
from agents.models import Agent
from mission_control.actors import system
agent = Agent.objects.filter(slug=slug).first() or roster.create(system("test"), name=slug.title(), slug=slug, **fields)
result = keys.create(system("test"), agent, scopes=scopes)[1]
"""
MAKE_VENTURE = """
from mission_control.actors import system
from ventures import catalogue
result = catalogue.create(system("test"), name=slug.title(), slug=slug, **fields).slug
"""
DO_VERB = """
from mission_control.actors import system
from tasks import transitions
getattr(transitions, verb)(system("test"), code, **fields)
"""
MAKE_TASKS = """
from mission_control.actors import system
from agents.roster import by_slug
from tasks import transitions
from ventures.models import Venture
if "assignee" in fields:
    fields["assignee"] = by_slug(fields["assignee"])
if "venture" in fields:
    fields["venture"] = Venture.objects.get(slug=fields["venture"])
result = []
for begin in range(0, count, 500):
    many = [{"title": f"Task {n}", **fields} for n in range(begin, min(count, begin + 500))]
    result += [task.code for task in transitions.create_many(system("test"), many)]
"""
LOG_IN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from mission_control.models import User
user, _ = User.objects.get_or_create(username=name, defaults={"role": role})
session = SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session.save()
result = session.session_key
"""


class EventSource:
    """One event stream, read line by line: `events()` yields `(id or None, event name, data)`."""

    def __init__(self, port: int, path: str, key: str, timeout: float, headers: dict[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            named["Authorization"] = f"Bearer {key}"
        self.connection.request("GET", path, headers=named)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def json(self) -> Any:
        return json.loads(self.answer.read())

    def events(self) -> Iterator[tuple[int | None, str, Any]]:
        fields: dict[str, str] = {}
        for raw in self.answer:
            line = raw.decode().rstrip("\n")
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields and not line:
                if "data" in fields:
                    number = int(fields["id"]) if "id" in fields else None
                    yield number, fields.get("event", "message"), json.loads(fields["data"])
                fields = {}

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> EventSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(true: Callable[[], Any], seconds: float = 10, what: str = "it") -> Any:
    """Look again and again until it is true; what it said. Fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        said = true()
        if said:
            return said
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


def heard(socket: Any, seconds: float = 10) -> dict[str, Any]:
    """The next message of a websocket that is not a sign of life."""
    deadline = time.monotonic() + seconds
    while True:
        message = json.loads(socket.recv(timeout=max(0.01, deadline - time.monotonic())))
        if message["type"] != "ping":
            return message


def subscribed(socket: Any, *channels: str, since: int | None = None) -> dict[str, Any]:
    """Subscribe and wait for the answer."""
    socket.send(json.dumps({"type": "subscribe", "channels": list(channels), "since": since}))
    while True:
        message = heard(socket)
        if message["type"] == "subscribed":
            return message


@pytest.fixture(scope="session")
def database_server():
    """PostgreSQL, where the run is about that; None on SQLite."""
    if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        yield None
        return
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def new_database(database_server, tmp_path_factory):
    """`new_database()`: the address of a migrated, empty database."""
    folder = tmp_path_factory.mktemp("databases")
    made = []

    def create(template=""):
        name = f"served_{os.getpid()}_{next(_numbers)}"
        if database_server is None:
            return f"sqlite:///{folder / name}.sqlite3"
        with psycopg.connect(database_server.url, autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            if template:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template.rsplit("/", 1)[1]))
            connection.execute(statement)
        made.append(name)
        return f"{database_server.url.rsplit('/', 1)[0]}/{name}"

    template = create()
    Served(folder / "migrate", template).manage("migrate", "--verbosity", "0")

    def copy():
        if database_server is not None:
            return create(template)
        address = create()
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(template.removeprefix("sqlite:///") + suffix, address.removeprefix("sqlite:///") + suffix)
        return address

    yield copy
    if database_server is not None:
        with psycopg.connect(database_server.url, autocommit=True) as connection:
            for name in made:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def make_product(new_database, tmp_path_factory):
    """`make_product(**settings)`: a product that is not started yet; all are stopped at the end."""
    made = []

    def make(*, database_url="", **settings):
        folder = tmp_path_factory.mktemp("product")
        static = tmp_path_factory.getbasetemp().parent / "static"  # collected once for all processes of the run
        product = Served(folder, database_url or new_database(), STATIC_ROOT=str(static), **settings)
        made.append(product)
        return product

    yield make
    for product in made:
        product.stop()


@pytest.fixture
def new_product(make_product):
    """`new_product(**settings)`: a running one for this test alone."""
    made = []

    def make(**settings):
        product = make_product(**settings)
        made.append(product)
        return product.start()

    yield make
    for product in made:
        product.stop()


@pytest.fixture(scope="module")
def product(make_product):
    """One that the tests of a module share. It is stopped afterwards."""
    running = make_product().start()
    yield running
    assert running.stop() == 0
