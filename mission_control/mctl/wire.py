"""One HTTP call to Mission Control and its retries, and the event stream. Not: what the calls are called (client.py).

What may have happened is never done twice: a POST carries an Idempotency-Key, which stays the same when it is sent again.
"""

from __future__ import annotations

import http.client
import json
import random
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

LONGEST_PAUSE = 8.0  # seconds between two tries, unless the server asks for more
MOST_EVENT = 10_000_000  # bytes
LOST = (OSError, http.client.HTTPException)
HOPELESS = ValueError  # of what is lost: a certificate that is not to be trusted, the next try would meet it again
NOTHING_DONE = (429, 503)  # the server, or a proxy that had none, turned it away
PERHAPS_DONE = (502, 504)  # a proxy lost the server on the way, as it does while that restarts


class Refused(Exception):
    """The server said no, or could not be reached.

    `code` is for programs (`lease_lost`, `not_found` … as the API has them; `unreachable` when there was no answer),
    `sentence` says why and what would work; `works` has a sentence for each field that was wrong, where several were.
    `status` is that of HTTP, 0 without an answer; `body` the whole answer.
    """

    def __init__(self, sentence: str, *, code: str, status: int = 0, body: dict[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.sentence, self.code, self.status, self.body = sentence, code, status, body or {}

    @property
    def works(self) -> list[str]:
        lines = [f"{one.get('field')}: {one.get('message')}" for one in _tables(self.body.get("details"))]
        return lines if lines != [self.sentence] else []


class Wire:
    """Calls to one server with one key. `patience`: seconds that all tries of one call may take together beyond the
    first; `timeout`: seconds for one try. Redirects are not followed, so the key goes nowhere else."""

    def __init__(self, url: str, key: str = "", *, timeout: float = 30.0, patience: float = 30.0) -> None:
        parts = urlsplit(url)
        plain = url.isascii() and url.isprintable() and " " not in url
        if not plain or parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(f"{url!r} is not an address: it begins with http:// or https://.")
        if not key.isascii() or not key.isprintable():
            raise ValueError("That is not a key: keys hold letters, digits and signs of ASCII.")
        self.url, self.key, self.timeout, self.patience = url.rstrip("/"), key, timeout, patience
        self._parts = parts

    def call(
        self, method: str, path: str, body: Any = None, *, query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None, wait: float = 0.0, api: str = "/api/v1",
    ) -> Any:  # fmt: skip
        """The answer as Python values (None for 204), or the text where it is Markdown. `body` goes out as JSON, or as
        it is when it is `(content type, bytes)`. `wait`: seconds that the server may hold the call. Raises Refused."""
        status, named, content = self.fetch(method, path, body, query=query, headers=headers, wait=wait, api=api)
        if status == 204 or not content:
            return None
        if named.get("content-type", "").startswith("text/markdown"):
            return content.decode("utf-8", "replace")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise self._refused(status, b"") from None

    def fetch(
        self, method: str, path: str, body: Any = None, *, query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None, wait: float = 0.0, api: str = "/api/v1",
    ) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
        """`(status, headers by lower-case name, bytes)` of an answer that is not a refusal, after as many tries as the
        patience allows. A lost answer is asked for again only where that cannot do anything twice."""
        target, raw, named = self._packed(method, api + path, body, query, headers)
        again = method in ("GET", "POST")
        deadline, tries = time.monotonic() + wait + self.patience, 0
        while True:
            asked = 0.0
            try:
                status, got, content = self._once(method, target, raw, named, self.timeout + wait)
                if status < 300:
                    return status, got, content
                refused = self._refused(status, content)
                if not (status in NOTHING_DONE or status in PERHAPS_DONE and again):
                    raise refused
                asked = _seconds(got.get("retry-after", ""))
            except LOST as lost:
                refused = self._unreachable(lost)
                if isinstance(lost, HOPELESS) or not (again or isinstance(lost, ConnectionRefusedError)):
                    raise refused from lost
            pause = max(asked, min(LONGEST_PAUSE, 0.25 * 2**tries) * random.uniform(0.5, 1.0))
            tries += 1
            if time.monotonic() + pause > deadline:
                raise refused
            time.sleep(pause)

    def events(self, since: int | None = None, **query: Any) -> Iterator[dict[str, Any] | None]:
        """The log, live and without an end: `{"seq", "kind", …}` each, None when nothing came for a while and when
        the connection was lost. It is opened again behind the last number, so nothing is missed and nothing comes
        twice. Raises Refused: `cursor_too_old` when so much was missed that the log has been pruned since."""
        failures = 0
        while True:
            known = since
            try:
                for number, event in self._stream(since, query):
                    failures = 0
                    if number is not None:
                        since = number
                    yield event
            except Refused as refused:
                if refused.status not in NOTHING_DONE + PERHAPS_DONE:
                    raise
            except LOST as lost:
                if isinstance(lost, HOPELESS):
                    raise self._unreachable(lost) from lost
            except (ValueError, RecursionError):
                raise self._refused(200, b"") from None
            yield None
            failures = 0 if since != known else failures + 1
            time.sleep(min(LONGEST_PAUSE, 0.25 * 2**failures))

    def _stream(self, since: int | None, query: dict[str, Any]) -> Iterator[tuple[int | None, dict[str, Any] | None]]:
        """One connection: `(number, event)`; `(head, None)` for the sign of life that says how far the log is."""
        asked = {**query, "since": since}
        target, _, named = self._packed("GET", "/api/v1/events/stream", None, asked, {"Accept": "text/event-stream"})
        connection = self._connection(45.0)  # a sign of life comes every 15 seconds
        try:
            connection.request("GET", target, headers=named)
            answer = connection.getresponse()
            if answer.status != 200 or "event-stream" not in answer.headers.get("Content-Type", ""):
                raise self._refused(answer.status, b"" if answer.status == 200 else answer.read())
            said: dict[str, str] = {}
            for raw in iter(lambda: answer.readline(MOST_EVENT), b""):
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                if line.startswith(": head "):
                    first, since = since is None, int(line[7:]) if since is None else since
                    yield (since if first else None), None
                elif line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    said[name] = value[1:] if value.startswith(" ") else value
                elif not line:
                    if "data" in said and "id" in said:
                        since = int(said["id"])
                        yield since, json.loads(said["data"])
                    said = {}
        finally:
            connection.close()

    def _packed(
        self, method: str, path: str, body: Any, query: dict[str, Any] | None, headers: dict[str, str] | None
    ) -> tuple[str, bytes | None, dict[str, str]]:
        named = {"Accept": "application/json", "User-Agent": "mctl", **(headers or {})}
        if self.key:
            named["Authorization"] = f"Bearer {self.key}"
        raw: bytes | None = None
        if isinstance(body, tuple):
            named["Content-Type"], raw = body
        elif body is not None:
            named["Content-Type"], raw = "application/json", json.dumps(body).encode()
        elif method not in ("GET", "DELETE"):
            named["Content-Type"], raw = "application/json", b"{}"
        if method == "POST":
            named.setdefault("Idempotency-Key", str(uuid.uuid4()))
        asked = {
            name: value for name, value in (query or {}).items() if not (value is None or value is False or value == "")
        }
        target = self._parts.path.rstrip("/") + path
        return (f"{target}?{urlencode(asked)}" if asked else target), raw, named

    def _once(
        self, method: str, target: str, raw: bytes | None, headers: dict[str, str], timeout: float
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection(timeout)
        try:
            connection.request(method, target, raw, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(str(self._parts.hostname), self._parts.port, timeout=timeout)

    def _unreachable(self, lost: Exception) -> Refused:
        return Refused(f"{self.url} cannot be reached: {_why(lost)}.", code="unreachable")

    def _refused(self, status: int, content: bytes) -> Refused:
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and isinstance(body.get("error"), str):
            return Refused(body["error"], code=str(body.get("code") or status), status=status, body=body)
        sentence = f"{self.url} answered {status}, and not as Mission Control does. Is the address right?"
        return Refused(sentence, code="not_mission_control", status=status)


def part(text: str) -> str:
    """A piece of a path, whatever it holds."""
    return quote(text, safe="")


def _tables(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _seconds(header: str) -> float:
    return float(header) if header.isascii() and header.isdigit() else 0.0


def _why(lost: Exception) -> str:
    if isinstance(lost, TimeoutError):
        return "it did not answer in time"
    return str(getattr(lost, "strerror", "") or lost or type(lost).__name__).rstrip(".")
