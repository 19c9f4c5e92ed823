"""Open boards without a browser: each has its socket and asks as static/js/live.js, board.js and watch.js do.

Ten browsers on the machine of the server would leave it no processor, and would ask less often for want of one. Options
come as JSON on standard input; the result goes as JSON to standard output when the time is over.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from typing import Any

from tests.bench.listen import Socket

BURST = 0.03  # seconds, like all that follows: live.js
CARDS_PACE, MANY = 0.25, 80  # board.js
RAIL_PACE = 0.7  # _rail.html
EASY, MOST_PATIENCE = 0.03, 4  # wire.js
QUIET = 0.5  # after the last event is heard


class Board:
    """One page: a thread that hears, one that asks for cards, one that asks for the rail."""

    def __init__(self, port: int, cookie: str, head: int, until: float) -> None:
        self.port, self.cookie, self.until = port, cookie, until
        self.socket = Socket(port, "/ws", f"Cookie: {cookie}\r\nOrigin: http://127.0.0.1:{port}")
        self.socket.shaken()
        self.socket.send(json.dumps({"type": "subscribe", "channels": ["all"], "since": head}))
        self.socket.wait_for(b'"subscribed"')
        self.socket.socket.settimeout(0.2)
        self.seq, self.missed = head, 0
        self.touched: set[str] = set()
        self.rail_is_due = False
        self.lock = threading.Lock()
        self.took: dict[str, list[float]] = {"cards": [], "whole": [], "rail": []}
        self.threads = [threading.Thread(target=work) for work in (self.hear, self.ask_for_cards, self.ask_for_rail)]

    def hear(self) -> None:
        while time.time() < self.until + QUIET:
            try:
                frames = self.socket.frames(self.socket.socket.recv(262_144))
            except TimeoutError:
                continue
            for frame in frames:
                event = json.loads(frame)
                seq = event.get("seq") if event["type"] not in ("hello", "subscribed") else None
                if not seq:
                    continue
                self.missed += max(0, seq - self.seq - 1)
                self.seq = max(self.seq, seq)
                with self.lock:
                    self.touched |= {event["task"]} if event.get("task") else set()
                    self.rail_is_due = True
        self.socket.close()

    def ask_for_cards(self) -> None:
        connection = self._connected()
        while time.time() < self.until:
            with self.lock:
                codes, self.touched = self.touched, set()
            if not codes:
                time.sleep(BURST)
            elif len(codes) > MANY:
                self._ask(connection, "whole", "/", CARDS_PACE)
            else:
                self._ask(connection, "cards", f"/board/cards?codes={'%2C'.join(codes)}", CARDS_PACE)

    def ask_for_rail(self) -> None:
        connection = self._connected()
        while time.time() < self.until:
            with self.lock:
                due, self.rail_is_due = self.rail_is_due, False
            if due:
                self._ask(connection, "rail", "/rail?here=/", RAIL_PACE)
            else:
                time.sleep(BURST)

    def _ask(self, connection: http.client.HTTPConnection, kind: str, path: str, pace: float) -> None:
        """Asks, and waits for as long as the page would before it asks again."""
        began = time.monotonic()
        headers = {"Cookie": self.cookie, "HX-Request": "true", "Accept": "text/html", "Accept-Encoding": "gzip, br"}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise ConnectionError(f"GET {path} was answered {answer.status}")
        took = time.monotonic() - began
        self.took[kind].append(took * 1000)
        patience = min(MOST_PATIENCE, max(1.0, took / EASY))
        time.sleep(max(0.0, pace * patience - took))

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)


def ask(port: int, cookies: list[str], head: int, seconds: float) -> dict[str, Any]:
    """What so many boards asked and heard: milliseconds of each answer by kind, and per board its last number and gaps."""
    until = time.time() + seconds
    boards = [Board(port, cookie, head, until) for cookie in cookies]
    threads = [thread for board in boards for thread in board.threads]
    failed: list[str] = []
    threading.excepthook = lambda broken: failed.append(f"{type(broken.exc_value).__name__}: {broken.exc_value}")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "took": {kind: [ms for board in boards for ms in board.took[kind]] for kind in ("cards", "whole", "rail")},
        "heads": [board.seq for board in boards],
        "missed": sum(board.missed for board in boards),
        "failed": failed,
    }


if __name__ == "__main__":
    print(json.dumps(ask(**json.load(sys.stdin))))
