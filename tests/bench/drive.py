"""The HTTP clients of the benchmark: N keep-alive connections on plain sockets in one process, cheap enough not to count.

Options come as JSON on standard input, the result goes as JSON to standard output. Not: what the figures have to be.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from collections import Counter, deque
from typing import Any

from tests.bench.report import percentile

CLAIM = "/api/v1/tasks/claim"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Client:
    """One connection with one key. In a cycle it claims, reports progress and completes; else it only claims."""

    def __init__(self, port: int, key: str, wish: dict[str, Any], cycle: bool) -> None:
        self.port, self.key, self.cycle = port, key, cycle
        self.claim = self._request(CLAIM, wish)
        self.next = self.claim
        self.step = "claim"
        self.code, self.fence = "", {}
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.read, self.needed, self.sent_at = b"", 0, 0.0

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(self.next)

    def received(self) -> tuple[int, bytes] | None:
        """`(status, body)` when the answer is whole."""
        part = self.socket.recv(262_144)
        if not part:
            raise ConnectionError("the server closed the connection")
        self.read += part
        if not self.needed:
            end = self.read.find(b"\r\n\r\n")
            if end < 0:
                return None
            length = LENGTH.search(self.read, 0, end)
            if length is None:
                raise ConnectionError("an answer without a Content-Length")
            self.head, self.needed = end + 4, end + 4 + int(length[1])
        if len(self.read) < self.needed:
            return None
        status, body = int(self.read[9:12]), self.read[self.head : self.needed]
        self.read, self.needed = b"", 0
        return status, body

    def follow(self, status: int, body: bytes) -> None:
        """Decide what comes next, in a cycle."""
        if self.step == "claim" and status == 200:
            answer = json.loads(body)
            if answer.get("task"):
                self.code = answer["task"]["id"]
                self.fence = {"epoch": answer["epoch"], "lease_token": answer["lease_token"]}
                self._go("progress", {**self.fence, "percent": 50, "message": "Half of it is done"})
        elif self.step == "progress" and status == 200:
            self._go("complete", {**self.fence, "summary": "Done as asked", "tokens_used": 1200})
        else:
            self.next, self.step = self.claim, "claim"

    def _go(self, step: str, body: dict[str, Any]) -> None:
        self.next, self.step = self._request(f"/api/v1/tasks/{self.code}/{step}", body), step

    def _request(self, path: str, body: dict[str, Any]) -> bytes:
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content


def drive(
    ports: list[int],
    keys: list[str],
    clients: int,
    seconds: float,
    wish: dict[str, Any],
    cycle: bool = False,
    per_second: float = 0,
) -> dict[str, Any]:
    """Keep every client busy for that long, or until a claim comes back empty. Only what was answered counts.

    With `per_second` all of them together send that many requests, evenly; those that are not needed wait.
    """
    poll = select.epoll()
    open_clients: dict[int, Client] = {}
    for place in range(clients):
        client = Client(ports[place % len(ports)], keys[place % len(keys)], wish, cycle)
        open_clients[client.socket.fileno()] = client
        poll.register(client.socket.fileno(), select.EPOLLIN)
    batch = wish.get("limit", 1) > 1
    taken: list[float] = []
    statuses: Counter[int] = Counter()
    steps: Counter[str] = Counter()
    claimed, sent, complaint, empty = 0, 0, "", False
    free = deque(open_clients.values())
    cpu, started = time.process_time(), time.perf_counter()
    until = started + seconds
    last = now = started
    while now < until or len(free) < clients:
        due = started + sent / per_second if per_second else started
        while free and due <= now < until:
            free.popleft().send()
            sent += 1
            due = started + sent / per_second if per_second else started
        for descriptor, _ in poll.poll(max(0.0, min(due, until) - now) if free else 60):
            client = open_clients[descriptor]
            answer = client.received()
            if answer is None:
                continue
            last = time.perf_counter()
            status, body = answer
            statuses[status] += 1
            steps[client.step] += 1
            taken.append((last - client.sent_at) * 1000)
            if status != 200:
                complaint = complaint or f"{status} {body[:300].decode(errors='replace')}"
            elif client.step == "claim":
                got = len(json.loads(body)["tasks"]) if batch else b'"lease_token"' in body
                claimed += got
                empty = empty or not got
            if cycle:
                client.follow(status, body)
            free.append(client)
        now = time.perf_counter()
        if empty:
            until = min(until, now)
    spent = last - started
    return {
        "seconds": spent,
        "requests": len(taken),
        "claimed": claimed,
        "per_second": claimed / spent,
        "requests_per_second": len(taken) / spent,
        "median_ms": percentile(taken, 0.5),
        "p95_ms": percentile(taken, 0.95),
        "p99_ms": percentile(taken, 0.99),
        "most_ms": max(taken),
        "statuses": statuses,
        "steps": steps,
        "complaint": complaint,
        "ran_dry": empty,
        "client_cpu_us": (time.process_time() - cpu) / len(taken) * 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(drive(**json.load(sys.stdin))))
