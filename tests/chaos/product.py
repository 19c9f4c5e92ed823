"""The product as others run it: `manage.py serve` in a process of its own, on a port that stays the same when it is
killed and started again. Not: what is done to it (the tests), its databases (tests/servers.py).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0  # on a machine that has much else to do
LEASE_SECONDS_MIN = 2  # so that zombies need not be waited for


class NotServing(Exception):
    """It did not start, or does not answer; the message holds the end of its log."""


class Product:
    """One server process with its folder. `kill` takes whatever process owns the port, as a crash would."""

    def __init__(self, folder: Path, database_url: str, *, redis_url: str = "", port: int = 0, **settings: str) -> None:
        self.folder, self.database_url = folder, database_url
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.kills = 0
        self.settings = {"LEASE_SECONDS_MIN": str(LEASE_SECONDS_MIN), "REDIS_URL": redis_url, **settings}

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of a contributor's own settings."""
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
            if name in os.environ
        }
        return {
            **kept,
            "DATABASE_URL": self.database_url,
            "DATA_DIR": str(self.folder / "data"),
            "STATIC_ROOT": str(self.folder.parent / "static"),
            "SECRET_KEY": "a-secret-for-tests-that-is-long-enough-to-be-accepted-0123456789",
            "LOG_KEY": "another-secret-for-tests-that-is-long-enough-to-be-accepted-0123",
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    def start(self) -> Self:
        """Start it and wait until it answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                tail = self.log.read_text(errors="replace")[-2000:]
                raise NotServing(f"It does not answer on {self.url}:\n{tail}")
            time.sleep(0.05)
        return self

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    def kill(self) -> int:
        """SIGKILL to the process that owns the port; its pid. It must have been ours."""
        owners = owners_of(self.port)
        assert self.process is not None
        if owners != {self.process.pid}:
            raise NotServing(f"Port {self.port} belongs to {owners or 'nobody'}, not to {self.process.pid}")
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL
        assert owners_of(self.port) == set(), "nobody may answer on the port after the kill"
        self.kills += 1
        return self.process.pid

    def stop(self) -> int:
        """SIGTERM, and the exit code: 0 when it left in order."""
        if self.process is None:
            return 0
        if self.process.poll() is not None:
            return self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of ours beside the server."""
        ran = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, text=True, capture_output=True,
            check=False,
        )  # fmt: skip
        if check and ran.returncode:
            raise NotServing(f"manage.py {arguments[0]} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
        return ran

    def admin_key(self) -> str:
        """A key that may do everything, of an agent that does no work."""
        return self.manage("create_agent", "margaret", "--scopes", "admin").stdout.strip()

    def ask(self, method: str, path: str, key: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request of a client that needs no history: `(status, JSON)`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        payload = None if body is None else json.dumps(body)
        connection.request(
            method, path, payload,
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **{
                name.replace("_", "-"): value for name, value in headers.items()
            }},
        )  # fmt: skip
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        return answer.status, json.loads(raw) if raw else None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def owners_of(port: int) -> set[int]:
    """The processes that listen on a TCP port of this machine."""
    if Path("/proc/net/tcp").exists():
        return _owners_by_proc(port)
    listed = subprocess.run(
        ["lsof", "-nP", "-t", f"-iTCP:{port}", "-sTCP:LISTEN"], capture_output=True, text=True, check=False
    )
    return {int(line) for line in listed.stdout.split()}


def _owners_by_proc(port: int) -> set[int]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                cells = line.split()
                if cells[3] == "0A" and int(cells[1].rsplit(":", 1)[1], 16) == port:  # 0A: listening
                    inodes.add(f"socket:[{cells[9]}]")
    owners = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if any(os.readlink(file) in inodes for file in (process / "fd").iterdir()):
                    owners.add(int(process.name))
    return owners
