"""A client of the HTTP API for programs that send a lot: one connection, one caller, and a history of all it did.

Only the standard library and no Django, so that a client process starts at once and costs little beside the server it
drives. Not: what to do with it (fleet_simulator.py).

The history is JSON lines, appended before a request leaves and after its answer came, so that whoever checks it later
knows of requests whose answer was lost as well:

    {"line": "client", "client": "ada.1f3c", "agent": "ada", "pid": 4711, …}
    {"line": "call", "op": "ada.1f3c-7", "nth": 1, "verb": "claim", "method": "POST", "path": …, "body": …, "key": …, …}
    {"line": "answer", "op": "ada.1f3c-7", "nth": 1, "status": 200, "replayed": false, "answer": …, …}
    {"line": "lost", "op": "ada.1f3c-7", "nth": 1, "why": "cut off after sending", …}

`mono` is the machine's monotonic clock in seconds (the same for all processes of one machine), `wall` the time of day.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

IDLE_SECONDS = 3.0  # servers close idle connections after 5 s; a request sent into that moment would be lost
LONGEST_ANSWER = 64_000_000


class Lost(Exception):
    """The answer did not come. Whether it was done is not known."""


class Stopped(Exception):
    """The run ends; nothing is sent any more."""


class History:
    """The lines of one or many clients, in one file. Each line is one write, so processes may share the file."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600) if path else None

    @property
    def is_kept(self) -> bool:
        return self._file is not None

    def add(self, line: str, **facts: Any) -> None:
        self._write(json.dumps({"line": line, "mono": time.monotonic(), "wall": time.time(), **facts}))

    def add_answer(self, body: bytes, **facts: Any) -> None:
        """An answer as it came: its JSON is not encoded anew."""
        if self._file is None:
            return
        text = body.decode("utf-8", "replace")
        if not text or "\n" in text or text[0] not in '{["':
            text = json.dumps(text)
        head = json.dumps({"line": "answer", "mono": time.monotonic(), "wall": time.time(), **facts})
        self._write(f'{head[:-1]}, "answer": {text}}}')

    def _write(self, text: str) -> None:
        if self._file is not None:
            os.write(self._file, text.encode() + b"\n")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Connection:
    """HTTP/1.1 over one kept-alive connection. Not thread-safe. Lost: it broke before the whole answer was there."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"Not the address of a server: {url}")
        self.timeout = timeout
        self.prefix = parts.path.rstrip("/")
        self._secure = ssl.create_default_context() if parts.scheme == "https" else None
        self._name, self._port = parts.hostname, parts.port or (443 if self._secure else 80)
        self._host = parts.netloc.rpartition("@")[2]
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._used = 0.0

    def exchange(
        self, method: str, path: str, headers: str, body: bytes, *, timeout: float | None = None, cut: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        """`(status, headers by lower-case name, body)`. `cut`: send, and hang up without waiting for the answer."""
        request = (
            f"{method} {self.prefix}{path} HTTP/1.1\r\nHost: {self._host}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        try:
            wire = self._open()
            wire.settimeout(timeout or self.timeout)
            wire.sendall(request)
            if cut:
                raise Lost("cut off after sending")
            answer = self._answer(wire)
        except Lost:
            self.close()
            raise
        except (OSError, ValueError) as error:
            self.close()
            raise Lost(f"{type(error).__name__}: {error}") from None
        self._used = time.monotonic()
        if answer[1].get("connection", "").lower() == "close":
            self.close()
        return answer

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket, self._buffer = None, b""

    def _open(self) -> socket.socket:
        if self._socket is not None and time.monotonic() - self._used > IDLE_SECONDS:
            self.close()
        if self._socket is None:
            wire = socket.create_connection((self._name, self._port), timeout=min(5.0, self.timeout))
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._secure.wrap_socket(wire, server_hostname=self._name) if self._secure else wire
        return self._socket

    def _answer(self, wire: socket.socket) -> tuple[int, dict[str, str], bytes]:
        head = self._until(wire, b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers: dict[str, str] = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if status in (204, 304):
            return status, headers, b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return status, headers, self._chunks(wire)
        return status, headers, self._bytes(wire, int(headers.get("content-length", "0")))

    def _chunks(self, wire: socket.socket) -> bytes:
        parts = []
        while size := int(self._until(wire, b"\r\n").split(b";")[0], 16):
            parts.append(self._bytes(wire, size))
            self._bytes(wire, 2)
        self._until(wire, b"\r\n")
        return b"".join(parts)

    def _until(self, wire: socket.socket, end: bytes) -> bytes:
        while (place := self._buffer.find(end)) < 0:
            self._more(wire)
        found, self._buffer = self._buffer[:place], self._buffer[place + len(end) :]
        return found

    def _bytes(self, wire: socket.socket, size: int) -> bytes:
        if size > LONGEST_ANSWER:
            raise Lost("the answer is too long")
        while len(self._buffer) < size:
            self._more(wire)
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _more(self, wire: socket.socket) -> None:
        read = wire.recv(65536)
        if not read:
            raise Lost("the server hung up")
        self._buffer += read


@dataclass
class Answer:
    """What came back: `body` is the decoded JSON, or text when it was none. `seconds` of the last try."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    tries: int = 1

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        return self.body.get("code", "") if isinstance(self.body, dict) else ""

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed", "") == "true"

    @property
    def retry_after(self) -> float:
        with contextlib.suppress(ValueError):
            return float(self.headers.get("retry-after", "1"))
        return 1.0


class Client:
    """One caller with its key: an incarnation of an agent. A restarted agent is a new client.

    Every POST carries an Idempotency-Key of its own, so that a lost answer can be asked for again: by default a call is
    sent until it is answered, with the same key, while `may_go_on()` says so. 503 and 429 are waited out likewise.
    """

    def __init__(
        self,
        url: str,
        key: str,
        agent: str,
        history: History,
        *,
        timeout: float = 30.0,
        may_go_on: Callable[[], bool] = lambda: True,
        wait: Callable[[float], Any] = time.sleep,
    ) -> None:
        self.agent = agent
        self.name = f"{agent}.{secrets.token_hex(4)}"
        self.url, self.key, self.history = url, key, history
        self.may_go_on, self.wait = may_go_on, wait
        self.connection = Connection(url, timeout)
        self._numbers: Iterator[int] = itertools.count(1)
        history.add("client", client=self.name, agent=agent, pid=os.getpid(), url=url)

    def call(
        self,
        verb: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        epoch: int | None = None,
        token: str = "",
        tries: int = 1_000_000,
        timeout: float | None = None,
        cut: bool = False,
        secret: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> Answer:
        """Send it until there is an answer. Lost: after `tries`, or at once with `cut`. Stopped: the run ended.

        `verb` and `facts` are for the history only; it does not keep a `secret` answer.
        """
        operation = f"{self.name}-{next(self._numbers)}"
        payload = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        key = operation if method == "POST" else ""
        headers = self._headers(key, epoch, token, bool(payload))
        pause = 0.1
        for number in itertools.count(1):
            if not self.may_go_on():
                raise Stopped
            if self.history.is_kept:
                self.history.add(
                    "call", op=operation, nth=number, client=self.name, agent=self.agent, verb=verb,
                    method=method, path=path, body=body, key=key, epoch=epoch, **(facts or {}),
                )  # fmt: skip
            began = time.monotonic()
            try:
                status, sent, raw = self.connection.exchange(method, path, headers, payload, timeout=timeout, cut=cut)
            except Lost as lost:
                if self.history.is_kept:
                    self.history.add("lost", op=operation, nth=number, why=str(lost))
                if cut or number >= tries:
                    raise
                self.wait(pause)
                pause = min(pause * 2, 2.0)
                continue
            self.history.add_answer(
                b"{}" if secret else raw, op=operation, nth=number, status=status,
                replayed=sent.get("idempotent-replayed") == "true", retry_after=sent.get("retry-after"),
            )  # fmt: skip
            answer = Answer(status, _decoded(raw), sent, time.monotonic() - began, number)
            if status not in (429, 503) or number >= tries:
                return answer
            self.wait(min(answer.retry_after, 5.0))
        raise AssertionError("unreachable")

    def cut_and_retry(self, verb: str, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Send it, lose the answer, and ask for it again under the same Idempotency-Key."""
        numbers, self._numbers = self._numbers, itertools.repeat(next(self._numbers))  # both are one operation
        try:
            with contextlib.suppress(Lost):
                self.call(verb, method, path, body, cut=True, **options)
            return self.call(verb, method, path, body, **options)
        finally:
            self._numbers = numbers

    def close(self) -> None:
        self.connection.close()

    def _headers(self, key: str, epoch: int | None, token: str, has_body: bool) -> str:
        lines = [f"Authorization: Bearer {self.key}\r\nAccept: application/json\r\n"]
        if has_body:
            lines.append("Content-Type: application/json\r\n")
        if key:
            lines.append(f"Idempotency-Key: {key}\r\n")
        if epoch is not None:
            lines.append(f"X-Lease-Epoch: {epoch}\r\nX-Lease-Token: {token}\r\n")
        return "".join(lines)


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
