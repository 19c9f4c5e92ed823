"""What is measured while it runs, for Prometheus. Not: who may read it (health.py)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from mission_control import chores, doors, live, log

registry = CollectorRegistry()
ProcessCollector(registry=registry)
requests = Counter("mission_control_requests", "Answered requests", ["route", "method", "status"], registry=registry)
seconds = Histogram(
    "mission_control_request_seconds", "Time from the request to its answer", ["route"], registry=registry,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
claims = Counter("mission_control_claims", "Answers to a claim", ["outcome"], registry=registry)
waiting = Gauge("mission_control_waiting", "Requests that wait for work", registry=registry)
swept = Counter("mission_control_swept", "Leases seen by the sweep of this process", ["outcome"], registry=registry)


class CountRequests:
    """Middleware: counts what Django answers, by the pattern of the address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        note(match.route if match else "(none)", request.method or "", response.status_code, began)
        return response


def note(route: str, method: str, status: int, began: float) -> None:
    """Count one answer. `began` is of time.perf_counter."""
    requests.labels(route, method, status).inc()
    seconds.labels(route).observe(time.perf_counter() - began)


def note_claim(status: int, content: bytes) -> None:
    """Count the answer to a claim: claimed, nothing, or the code of the refusal."""
    if status == 200 and not content.startswith(b'{"task":null'):
        outcome = "claimed"
    elif status in (200, 404):
        outcome = "nothing"
    else:
        outcome = str(json.loads(content).get("code", status))
    claims.labels(outcome).inc()


def text() -> bytes:
    """Everything in the format of Prometheus. Reads the database for the queue."""
    return generate_latest(registry)


class _Now:
    """What is looked up when somebody asks."""

    def collect(self) -> Iterator[Metric]:
        yield self._by_label("streams", "Open websockets and event streams", "door", _streams())
        yield self._by_label("tasks", "Tasks by status", "status", _tasks())
        yield self._by_label("chore_age_seconds", "Since a chore last ended well", "chore", _chores())
        yield self._by_label("database_pool", "Connections of the pool", "state", _pool())
        for name, help_text, value in (
            ("tail_lag_seconds", "Age of the newest event when this process read it", _lag()),
            ("head", "Number of the newest activity", float(log.head())),
            ("resident_bytes", "Memory of this process", _resident_bytes()),
        ):
            yield GaugeMetricFamily(f"mission_control_{name}", help_text, value=value)

    def _by_label(self, name: str, help_text: str, label: str, values: dict[str, float]) -> Metric:
        family = GaugeMetricFamily(f"mission_control_{name}", help_text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family

    def describe(self) -> list[Any]:
        return []  # else registering would collect, before there is a database


registry.register(_Now())


def _streams() -> dict[str, float]:
    counted = dict.fromkeys([*doors.SOCKETS, *doors.EVENT_STREAMS], 0.0)
    for stream in list(doors.open_streams):
        counted[stream.door.path] += 1
    return counted


def _tasks() -> dict[str, float]:
    counted: dict[str, float] = {}
    for statuses in log.counts_by_venture().values():
        for status, n in statuses.items():
            counted[status] = counted.get(status, 0.0) + n
    return counted


def _chores() -> dict[str, float]:
    now = time.monotonic()
    return {chore.name: now - chore.ended_well for chore in chores.registered.values()} if chores.runner else {}


def _pool() -> dict[str, float]:
    if settings.IS_SQLITE or not getattr(connection, "pool", None):
        return {}
    stats = connection.pool.get_stats()  # type: ignore[attr-defined]
    named = {"size": "pool_size", "idle": "pool_available", "waiting": "requests_waiting"}
    return {name: float(stats.get(key, 0)) for name, key in named.items()}


def _lag() -> float:
    return live.lag_seconds()


def _resident_bytes() -> float:
    try:
        with open("/proc/self/statm") as statm:
            return float(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0.0
