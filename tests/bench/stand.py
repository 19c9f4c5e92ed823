"""What a section stands on: databases in temp folders, Django processes on them, real servers, all stopped at the end.

A `Stand` owns everything it starts. PostgreSQL runs with fsync on, as in production. A database is migrated once a run
and copied for each use, so that no section sees what another one wrote.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from tests import servers
from tests.bench import machine

ROOT = Path(__file__).resolve().parents[2]
MILLION = 1_000_000
URGENT_SHARE = 5  # every fifth task is an urgent one that asks for a skill nobody here has


class Failed(Exception):
    """A section cannot go on; the message is one line for a person."""


class Stand:
    """The servers and folders of one run. Use it as a context manager."""

    def __init__(self, *, quick: bool = False, minutes: float = 5) -> None:
        self.quick, self.minutes = quick, minutes
        self.folder = Path(tempfile.mkdtemp(prefix="mission-control-bench-"))
        self._closing = contextlib.ExitStack()
        self._closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._postgres: servers.Postgres | None = None
        self._valkey: servers.Valkey | None = None
        self._migrated: dict[str, Database] = {}
        self._loaded: dict[tuple[str, int], Database] = {}
        self._names = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def postgres(self) -> servers.Postgres:
        if self._postgres is None:
            self._postgres = self._closing.enter_context(
                servers.postgres(fsync=True, own=True, settings={"track_commit_timestamp": "on"})
            )
        return self._postgres

    @property
    def valkey(self) -> servers.Valkey:
        if self._valkey is None:
            self._valkey = self._closing.enter_context(servers.valkey(own=True))
        return self._valkey

    def versions(self) -> dict[str, str]:
        """Of the servers that this run started."""
        return {server.name.lower(): server.version for server in (self._postgres, self._valkey) if server is not None}

    def data_folder(self, kind: str) -> Path:
        """Where that database keeps its files: the folder in which an fsync has to be timed."""
        return self.postgres.folder if kind == "postgresql" else self.folder

    def fresh(self, kind: str) -> Database:
        """A migrated, empty database: `postgresql` or `sqlite`."""
        if kind not in self._migrated:
            empty = self._made(kind)
            empty.run_manage("migrate", "--verbosity", "0")
            self._migrated[kind] = empty
        return self._copy(self._migrated[kind])

    def loaded(self, kind: str, tasks: int) -> Database:
        """A database with that many tasks, a fifth of them urgent ones of another skill; shared by all sections."""
        key = (kind, tasks)
        if key not in self._loaded:
            database = self.fresh(kind)
            started = time.monotonic()
            with database.inside() as inside:
                inside("load", tasks=tasks, urgent=tasks // URGENT_SHARE)
                inside("settle")
            say(f"  loaded {tasks} tasks into {kind} in {time.monotonic() - started:.0f} s")
            self._loaded[key] = database
        return self._loaded[key]

    def _made(self, kind: str) -> Database:
        self._names += 1
        folder = self.folder / f"{kind}-{self._names}"
        folder.mkdir()
        if kind == "postgresql":
            return Database(kind, self.postgres.create_database(f"bench_{self._names}"), folder)
        return Database(kind, f"sqlite:///{folder / 'bench.sqlite3'}", folder)

    def _copy(self, original: Database) -> Database:
        if original.kind == "sqlite":
            copy = self._made("sqlite")
            for path in original.folder.glob("bench.sqlite3*"):
                shutil.copy(path, copy.folder / path.name)
            return copy
        self._names += 1
        folder, name = self.folder / f"postgresql-{self._names}", f"bench_{self._names}"
        folder.mkdir()
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(original.url.rsplit("/", 1)[1])
                )
            )
        return Database("postgresql", original.url.rsplit("/", 1)[0] + "/" + name, folder)


class Database:
    """A database with the folder of the processes that use it."""

    def __init__(self, kind: str, url: str, folder: Path) -> None:
        self.kind, self.url, self.folder = kind, url, folder

    @property
    def file(self) -> Path:
        return self.folder / "bench.sqlite3"

    def environment(self, **more: str) -> dict[str, str]:
        """What our processes run under; nothing of a contributor's own settings."""
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
            if name in os.environ
        }
        return {
            **kept,
            "DATABASE_URL": self.url,
            "DATA_DIR": str(self.folder),
            "STATIC_ROOT": str(self.folder.parent / "static"),
            "SECRET_KEY": "bench-secret-key-of-more-than-fifty-characters-0123456789",
            "LOG_KEY": "bench-log-key-of-more-than-fifty-characters-01234567890123",
            "DJANGO_SETTINGS_MODULE": "mission_control.settings",
            "PYTHONPATH": str(ROOT),
            "LOG_LEVEL": "WARNING",
            **more,
        }

    def run_manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"manage.py {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")
        return done.stdout

    def inside(self) -> Inside:
        return Inside(self)

    @contextlib.contextmanager
    def served(self, **environment: str) -> Iterator[Serve]:
        """A real `manage.py serve` on a free port of loopback."""
        server = Serve(self, environment)
        try:
            server.wait()
            yield server
        except Exception as problem:
            ended = server.process.poll()
            state = "still runs" if ended is None else f"ended with {ended}"
            reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
            raise Failed(f"{reason} | the server {state} and said: {server.said() or 'nothing'}") from problem
        finally:
            server.stop()


class Inside:
    """A Django process on a database that calls the functions of inside.py: `inside("load", tasks=1000)`."""

    def __init__(self, database: Database) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.inside"],
            cwd=ROOT, env=database.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __call__(self, function: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps({"call": function, **arguments}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the process inside Django ended at {function}()")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{function}(): {answer['error']}")
        return answer["result"]


class Serve:
    """A running server: its port, its pid, what it wrote."""

    def __init__(self, database: Database, environment: dict[str, str]) -> None:
        self.port = servers._free_port()
        self.log_path = database.folder / f"serve-{self.port}.log"
        self.started = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT,
                env=database.environment(HOST="127.0.0.1", PORT=str(self.port), **environment),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait(self, seconds: float = 60) -> None:
        """Until it says that it is ready."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"the server ended: {self.said()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise Failed(f"the server was not ready after {seconds:.0f} s: {self.said()}")

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return fetch(self.port, "GET", path, headers)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return fetch(self.port, "POST", path, {"Content-Type": "application/json", **headers}, json.dumps(body))

    def said(self) -> str:
        return " ".join(self.log_path.read_text(errors="replace").split())[-600:]

    @property
    def rss_mb(self) -> float:
        return machine.tree_rss_mb(self.pid)

    @property
    def threads(self) -> int:
        return machine.threads(self.pid)

    @property
    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.pid)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(35)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def fetch(
    port: int, method: str, path: str, headers: dict[str, str], body: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """`(status, headers with lower-case names, body as sent)` over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def program(module: str, options: dict[str, Any]) -> Any:
    """Run one of our client programs in a process of its own; options and result are JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{module}"],
        input=json.dumps(options), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"{module} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
