"""Readers of the log through each live door, that come back with the last number they saw and write down every event.

Each is a thread: it reconnects after every break, also while the server is gone. Not: the judgement (checker.py).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from typing import Any

import websockets.exceptions
import websockets.sync.client

from tasks.demo.fleet_client import History

BROKEN = (OSError, http.client.HTTPException, websockets.exceptions.WebSocketException, ValueError, EOFError)


class Reader(threading.Thread):
    """Follows from the beginning of the log until `stop`."""

    door = ""

    def __init__(self, port: int, key: str, history: History, name: str = "") -> None:
        super().__init__(name=name or self.door, daemon=True)
        self.port, self.key, self.history = port, key, history
        self.last = 0
        self.breaks = 0
        self.arrivals: dict[int, float] = {}
        self.kinds: Counter[str] = Counter()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            with contextlib.suppress(*BROKEN):
                self.follow()
            self.breaks += 1
            self.over.wait(0.1)

    def follow(self) -> None:
        """Connect and read until it breaks."""
        raise NotImplementedError

    def take(self, event: dict[str, Any]) -> None:
        kind = event.get("kind") or event["type"]
        self.arrivals[event["seq"]] = time.monotonic()
        self.history.add("event", reader=self.name, seq=event["seq"], kind=kind, task=event.get("task"))
        self.kinds[kind] += 1
        self.last = event["seq"]

    def reaches(self, seq: int, seconds: float = 20.0) -> bool:
        """Whether it is shown this number within so long."""
        deadline = time.monotonic() + seconds
        while self.last < seq and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.last >= seq

    def stop(self) -> None:
        self.over.set()


class EventStream(Reader):
    """Server-sent events; comes back with Last-Event-ID."""

    door = "event stream"

    def follow(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Last-Event-ID": str(self.last)}
            connection.request("GET", "/api/v1/events/stream", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise ValueError(f"the stream was answered {answer.status}")
            for raw in answer:
                if self.over.is_set():
                    return
                if raw.startswith(b"data:"):
                    self.take(json.loads(raw[5:]))
        finally:
            connection.close()


class WebSocket(Reader):
    """A websocket; subscribes again with the last number."""

    door = "websocket"

    def follow(self) -> None:
        with websockets.sync.client.connect(
            f"ws://127.0.0.1:{self.port}/ws",
            additional_headers={"Authorization": f"Bearer {self.key}"},
            open_timeout=5,
            ping_interval=None,
        ) as socket:
            socket.send(json.dumps({"type": "subscribe", "channels": ["all"], "since": self.last}))
            while not self.over.is_set():
                with contextlib.suppress(TimeoutError):
                    message = json.loads(socket.recv(timeout=0.5))
                    if "." in message.get("type", "") and "seq" in message and "id" not in message.get("ping", {}):
                        self.take(message)


class Poller(Reader):
    """The list, asked again and again with the last number."""

    door = "list"

    def follow(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            while not self.over.wait(0.2):
                connection.request(
                    "GET", f"/api/v1/activities?since={self.last}&limit=200",
                    headers={"Authorization": f"Bearer {self.key}"},
                )  # fmt: skip
                answer = connection.getresponse()
                body = json.loads(answer.read())
                if answer.status != 200:
                    raise ValueError(f"the list was answered {answer.status}")
                for event in sorted(body["activities"], key=lambda event: int(event["seq"])):
                    self.take(event)
        finally:
            connection.close()


def all_doors(port: int, key: str, history: History) -> list[Reader]:
    return [kind(port, key, history) for kind in (EventStream, WebSocket, Poller)]
