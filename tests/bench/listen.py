"""Many websockets in one process, on plain sockets: opened, subscribed, listened to, closed. Not: what they hear.

Reads commands from standard input, one JSON line each, and answers each with one line:
`{"do": "open", "count": 1000}`, `{"do": "listen", "seconds": 5}`, `{"do": "close"}`, `{"do": "reconnect", "times": 500}`.
The process that drives it notes when each event was committed; here is noted when each socket had it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import select
import socket
import sys
import time
from collections import Counter
from typing import Any

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
SEQ = re.compile(rb'"seq": ?(\d+)')


class Ended(Exception):
    """The server closed this socket."""


class Socket:
    """One client connection after its handshake. `proof` is the header that says who it is."""

    def __init__(self, port: int, path: str, proof: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"{proof}\r\nSec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def shaken(self) -> None:
        """Wait for the end of the handshake; what follows it stays to be read."""
        while b"\r\n\r\n" not in self.read:
            part = self.socket.recv(65_536)
            if not part:
                raise Ended("closed during the handshake")
            self.read += part
        head, self.read = self.read.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise Ended(head.split(b"\r\n")[0].decode())

    def send(self, text: str) -> None:
        self._frame(TEXT, text.encode())

    def frames(self, part: bytes) -> list[bytes]:
        """The text frames that are whole after this part; pings are answered here."""
        if not part:
            raise Ended("closed")
        self.read += part
        return self._whole()

    def wait_for(self, word: bytes) -> None:
        """Read until a text frame holds the word."""
        frames = self._whole()
        while not any(word in frame for frame in frames):
            frames = self.frames(self.socket.recv(65_536))

    def _whole(self) -> list[bytes]:
        buffer, found, at = self.read, [], 0
        while len(buffer) - at >= 2:
            length, start = buffer[at + 1] & 127, at + 2
            if length == 126:
                length, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < start + length:
                break
            content, kind = buffer[start : start + length], buffer[at] & 15
            at = start + length
            if kind == TEXT:
                found.append(content)
            elif kind == PING:
                self._frame(PONG, content)
            elif kind == CLOSE:
                raise Ended(f"closed with {int.from_bytes(content[:2], 'big')}")
        self.read = buffer[at:]
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._frame(CLOSE, (1000).to_bytes(2, "big"))
        self.socket.close()

    def _frame(self, kind: int, content: bytes) -> None:
        mask = os.urandom(4)
        length = bytes([128 | len(content)]) if len(content) < 126 else b"\xfe" + len(content).to_bytes(2, "big")
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(content))
        self.socket.sendall(bytes([128 | kind]) + length + mask + masked)


class Crowd:
    """All sockets of this process."""

    def __init__(self, port: int, path: str, keys: list[str], subscribe: dict[str, Any]) -> None:
        self.port, self.path, self.keys, self.subscribe = port, path, keys, json.dumps(subscribe)
        self.sockets: list[Socket] = []

    def open(self, count: int) -> dict[str, Any]:
        """Open that many more, fifty handshakes at a time, each subscribed before the next fifty begin."""
        started = time.perf_counter()
        for first in range(0, count, 50):
            self.sockets += self._some(min(50, count - first))
        return {"open": len(self.sockets), "seconds": time.perf_counter() - started}

    def reconnect(self, times: int) -> dict[str, Any]:
        """Open and close that many connections, fifty at a time; the ones that are open stay open."""
        started = time.perf_counter()
        for first in range(0, times, 50):
            for each in self._some(min(50, times - first)):
                each.close()
        return {"times": times, "seconds": time.perf_counter() - started}

    def listen(self, seconds: float) -> dict[str, Any]:
        """`{number: [Unix time at which each socket had it, sorted]}` and how many sockets were lost meanwhile."""
        poll = select.epoll()
        by_descriptor = {each.socket.fileno(): each for each in self.sockets}
        for descriptor, each in by_descriptor.items():
            each.socket.setblocking(False)
            poll.register(descriptor, select.EPOLLIN)
        heard: dict[int, list[float]] = {}
        lost: Counter[str] = Counter()
        frames_heard = 0
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for descriptor, _ in poll.poll(min(left, 0.2)):
                try:
                    frames = by_descriptor[descriptor].frames(by_descriptor[descriptor].socket.recv(262_144))
                except Ended as end:
                    lost[str(end)] += 1
                    poll.unregister(descriptor)
                    continue
                if frames:
                    now = time.time()
                    for frame in frames:
                        frames_heard += 1
                        for seq in SEQ.findall(frame):
                            heard.setdefault(int(seq), []).append(now)
        poll.close()
        for each in self.sockets:
            each.socket.setblocking(True)
        return {"heard": heard, "lost": lost, "frames": frames_heard}

    def close(self) -> dict[str, Any]:
        for each in self.sockets:
            each.close()
        closed, self.sockets = len(self.sockets), []
        return {"closed": closed}

    def _some(self, count: int) -> list[Socket]:
        proofs = [f"Authorization: Bearer {key}" for key in self.keys]
        some = [Socket(self.port, self.path, proofs[place % len(proofs)]) for place in range(count)]
        for each in some:
            each.shaken()
            each.send(self.subscribe)
        for each in some:
            each.wait_for(b'"subscribed"')
        return some


def main() -> None:
    crowd: Crowd | None = None
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        try:
            if what == "connect":
                crowd = Crowd(**command)
                answer: dict[str, Any] = {}
            else:
                answer = getattr(crowd, what)(**command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
