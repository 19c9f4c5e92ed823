"""Plain HTTP: Django's WSGI handler in a pool of threads, behind the event loop. Not: what is answered.

A thread works only while Django does: a body is read whole before a thread is taken, and a large answer goes out
between two visits of a thread, so slow clients hold none. A body that is too large is refused before it is read, one
that breaks off never reaches a view.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple

from django.conf import settings
from django.db import close_old_connections

from mission_control.errors import Refused
from mission_control.log import Busy
from mission_control.strict_json import TooLarge

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Any], Awaitable[None]]

BODY_BYTES = 1_000_000
WRAPPING_BYTES = 100_000  # of a form around its file
IMPORT_PATH, IMPORT_BYTES = "/settings/data/import", 10_000_000  # larger files come in by manage.py import_tasks
SPOOL_BYTES = 1_000_000  # of an upload, kept in memory; more goes to a file
FIRST_BYTES = 512_000  # of an answer, made in one go
BODY_SECONDS = 30  # without a byte of the body
QUEUE = 1_000  # requests waiting for a thread; beyond it the answer is 503 at once


class Gone(Exception):
    """The client went away before its request was complete."""


class Slow(Refused):
    def __init__(self) -> None:
        super().__init__("The body did not arrive in time.", code="slow_body", status=408)


class Answer(NamedTuple):
    """The beginning of an answer; `rest` yields what is left of it, None when this was all."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes
    rest: Iterator[bytes] | None
    close: Callable[[], None]


class PlainHTTP:
    """An ASGI application around a WSGI one."""

    def __init__(self, application: Callable[..., Iterable[bytes]], threads: ThreadPoolExecutor) -> None:
        self.application, self.threads = application, threads
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive)
        if self.waiting > QUEUE:
            raise Busy
        loop = asyncio.get_running_loop()
        self.waiting += 1
        try:
            answer = await loop.run_in_executor(self.threads, self._respond, environ(scope, body))
        finally:
            self.waiting -= 1
            body.close()
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        if answer.rest is None:
            await send({"type": "http.response.body", "body": answer.content})
            return
        try:
            content: bytes | None = answer.content
            while content is not None:
                await send({"type": "http.response.body", "body": content, "more_body": True})
                content = await loop.run_in_executor(self.threads, _next, answer.rest)
            await send({"type": "http.response.body", "body": b""})
        finally:
            await loop.run_in_executor(self.threads, answer.close)

    def _respond(self, environment: dict[str, Any]) -> Answer:
        """In a thread. An answer that fits is finished here, so that its connection goes back in the same thread."""
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            started.append((status, headers))

        parts = self.application(environment, start_response)
        close = getattr(parts, "close", _nothing)
        try:
            rest = iter(parts)
            content, whole = _taken(rest)
        except BaseException:
            close()
            raise
        status, headers = started[-1]
        encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if whole:
            close()
            return Answer(int(status[:3]), encoded, content, None, _nothing)
        close_old_connections()  # the rest is read in other threads
        return Answer(int(status[:3]), encoded, content, rest, close)


async def read_body(scope: Scope, receive: Receive) -> SpooledTemporaryFile[bytes]:
    """The whole body as a file at its beginning; a large upload lies on the disk. TooLarge, Slow, Gone."""
    most = BODY_BYTES
    if scope["path"].endswith("/deliverables"):
        most = settings.MAX_UPLOAD_BYTES + WRAPPING_BYTES
    elif scope["path"] == IMPORT_PATH:
        most = IMPORT_BYTES + WRAPPING_BYTES
    body = SpooledTemporaryFile[bytes](SPOOL_BYTES)
    try:
        async for part in _parts(scope, receive, most):
            body.write(part)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return body


async def read_bytes(scope: Scope, receive: Receive) -> bytes:
    """The whole body of a small request. TooLarge, Slow, Gone."""
    return b"".join([part async for part in _parts(scope, receive, BODY_BYTES)])


async def _parts(scope: Scope, receive: Receive, most: int) -> AsyncIterator[bytes]:
    length, chunked = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = True
    if length > most:
        raise TooLarge(most)
    size, more = 0, chunked or length > 0
    while more:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = await receive()
        except TimeoutError:
            raise Slow from None
        if message["type"] == "http.disconnect":
            raise Gone
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLarge(most)
        more = message.get("more_body", False)
        if part:
            yield part
    if not chunked and size < length:
        raise Gone
    scope["mission_control.body_size"] = size


def environ(scope: Scope, body: Any) -> dict[str, Any]:
    """The WSGI environment (PEP 3333). Header names with an underscore are left out: they could pass for others."""
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    environment: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "CONTENT_LENGTH": str(scope["mission_control.body_size"]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name or raw_name == b"content-length":
            continue
        name, value = raw_name.decode("latin-1").upper().replace("-", "_"), raw_value.decode("latin-1")
        if name != "CONTENT_TYPE":
            name = f"HTTP_{name}"
        if name in environment:
            value = environment[name] + ("; " if name == "HTTP_COOKIE" else ",") + value
        environment[name] = value
    return environment


def _taken(rest: Iterator[bytes]) -> tuple[bytes, bool]:
    """As much as goes out in one go, and whether that is all."""
    parts, size = [], 0
    for part in rest:
        parts.append(part)
        size += len(part)
        if size >= FIRST_BYTES:
            return b"".join(parts), False
    return parts[0] if len(parts) == 1 else b"".join(parts), True


def _next(rest: Iterator[bytes]) -> bytes | None:
    try:
        content, whole = _taken(rest)
    finally:
        close_old_connections()
    return content if content or not whole else None


def _nothing() -> None:
    pass
