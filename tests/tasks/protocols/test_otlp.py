"""OTLP: what an agent's telemetry reports lands on its task once, in both encodings, and nothing that is sent breaks it."""

import gzip
import json
import re
import threading
from datetime import timedelta

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from mission_control import log
from mission_control.models import Activity
from tasks.protocols import otlp, telemetry
from tasks.telemetry_models import Series
from tests.conftest import Api, a_task, claimed, fresh
from ventures.models import LedgerEntry

pytestmark = pytest.mark.django_db
SECOND = 1_000_000_000
PROTOBUF = "application/x-protobuf"


def sent(api, body, path="/v1/metrics", kind="application/json", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if api.secret:
        named["authorization"] = f"Bearer {api.secret}"
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.client.generic("POST", path, raw, kind, headers=named)


def said(**values):
    shapes = {str: "stringValue", int: "intValue", float: "doubleValue"}
    return [{"key": key.replace("_", "."), "value": {shapes[type(value)]: value}} for key, value in values.items()]


def a_report(task="", *points, name="claude_code.token.usage", temporality=2, session="", kind="sum"):
    resource = said(**({"task_id": task} if task else {}), **({"session_id": session} if session else {}))
    data = {kind: {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": list(points)}}
    scopes = [{"metrics": [{"name": name, **data}]}]
    return {"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": scopes}]}


def a_point(value, at, *, start=1, kind="input", field="asInt", **more):
    attributes = [*said(type=kind), *said(**more)]
    return {"attributes": attributes, "startTimeUnixNano": start * SECOND, "timeUnixNano": at * SECOND, field: value}


@pytest.fixture
def agent(ada, api_of) -> Api:
    return api_of(ada)


@pytest.fixture
def task(ada, venture):
    task = a_task(venture=venture)
    claimed(ada, task, session_key="run-1")
    return task


def test_a_running_total_books_what_it_grew_by_and_repeats_book_nothing(agent, task):
    for value, at, total in ((100, 2, 100), (100, 2, 100), (150, 3, 150), (120, 2, 150), (150, 4, 150), (170, 5, 170)):
        assert sent(agent, a_report(task.code, a_point(value, at))).status_code == 200
        assert fresh(task).tokens_used == total
    restarted = a_report(task.code, a_point(30, 7, start=6))
    assert [sent(agent, restarted).json() for _ in range(2)] == [{}, {}]
    assert fresh(task).tokens_used == 200
    assert LedgerEntry.objects.filter(task=task.code).count() == 4
    assert Activity.objects.filter(kind="cost.recorded", task=task.code).count() == 4


def test_deltas_are_added_up_each_once(agent, task):
    for value, at, total in ((5, 2, 5), (5, 2, 5), (5, 3, 10), (7, 4, 17)):
        sent(agent, a_report(task.code, a_point(value, at), temporality=1))
        assert fresh(task).tokens_used == total


def test_directions_costs_and_models_are_told_apart(agent, task):
    points = [a_point(10, 2, kind=kind, model="m-1") for kind in ("input", "output", "cacheRead", "thought")]
    sent(agent, a_report(task.code, *points))
    cost = a_report(task.code, a_point(0.25, 2, field="asDouble", model="m-1"), name="claude_code.cost.usage")
    sent(agent, cost)
    entries = LedgerEntry.objects.filter(task=task.code)
    assert (sum(e.tokens_in for e in entries), sum(e.tokens_out for e in entries)) == (20, 20)
    assert fresh(task).actual_cost_micro_usd == 250_000
    assert {entry.model for entry in entries} == {"m-1"}


def test_a_session_stands_for_its_task_and_a_histogram_for_its_sum(agent, task):
    point = a_point(40.0, 2, field="sum")
    report = a_report("", point, name="gen_ai.client.token.usage", session="run-1", kind="histogram")
    assert sent(agent, report).json() == {}
    assert fresh(task).tokens_used == 40


def test_the_general_names_are_passed_over_beside_a_programs_own(agent, task):
    report = a_report(task.code, a_point(10, 2), name="gemini_cli.token.usage")
    spare = a_report(task.code, a_point(10.0, 2, field="sum"), name="gen_ai.client.token.usage", kind="histogram")
    metrics = spare["resourceMetrics"][0]["scopeMetrics"]
    report["resourceMetrics"][0]["scopeMetrics"] += metrics
    sent(agent, report)
    assert fresh(task).tokens_used == 10


def test_log_records_book_once_where_metrics_do_not_count_the_same(agent, task):
    def record(name, at, **values):
        return {"timeUnixNano": at * SECOND, "eventName": name, "attributes": [
            {"key": key, "value": {"intValue": value}} for key, value in values.items()
        ]}  # fmt: skip

    records = [
        record("codex.sse_event", 2, input_token_count=8, output_token_count=3),
        record("codex.sse_event", 3, input_token_count=8),
        record("claude_code.api_request", 2, input_tokens=500),
        record("anything", 2),
    ]
    body = {
        "resourceLogs": [{"resource": {"attributes": said(task_id=task.code)}, "scopeLogs": [{"logRecords": records}]}]
    }
    general = {
        "timeUnixNano": 2 * SECOND, "attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": 5}}],
    }  # fmt: skip
    resource = {"attributes": said(task_id=task.code, service_name="gemini-cli")}
    body["resourceLogs"].append({"resource": resource, "scopeLogs": [{"logRecords": [general]}]})
    for _ in range(2):
        assert sent(agent, body, "/v1/logs").json() == {}
        assert fresh(task).tokens_used == 19


def test_what_belongs_to_no_task_is_seen_by_operators_and_told_once(agent, api_of, operator, closed, stranger):
    hidden = a_task("hidden", venture=closed)
    outsider = api_of(stranger)
    for at, value, new in ((2, 10, True), (3, 15, True), (3, 15, False)):
        answer = sent(outsider, a_report(hidden.code, a_point(value, at))).json()
        assert ("partialSuccess" in answer) is new
    assert fresh(hidden).tokens_used == 0
    [report] = api_of(operator).get("/usage/unmatched").json()["reports"]
    assert (report["agent"], report["subject"], report["tokens"]) == ("stella", hidden.code, 15)
    assert Activity.objects.filter(kind="usage.unmatched").count() == 1
    assert "task.id" in sent(agent, a_report("", a_point(1, 2))).json()["partialSuccess"]["errorMessage"]


def test_log_records_of_no_task_are_added_up_and_told_once(agent, api_of, operator):
    for at in (2, 3, 3):
        spent = {"key": "input_tokens", "value": {"intValue": 100}}
        record = {"timeUnixNano": at * SECOND, "eventName": "call", "attributes": [spent]}
        assert sent(agent, {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}, "/v1/logs").status_code == 200
    [report] = api_of(operator).get("/usage/unmatched").json()["reports"]
    assert (report["name"], report["tokens"]) == ("call", 200)
    assert Activity.objects.filter(kind="usage.unmatched").count() == 1


def test_a_full_batch_of_records_takes_a_few_statements(agent, task, django_assert_max_num_queries):
    counted = {"input_tokens": 3, "output_tokens": 4, "cost_usd": 1}
    attributes = [{"key": key, "value": {"intValue": value}} for key, value in counted.items()]
    records = [{"timeUnixNano": (n + 1) * SECOND, "attributes": attributes} for n in range(512)]
    resource = {"attributes": said(task_id=task.code)}
    body = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}
    with django_assert_max_num_queries(100):
        assert sent(agent, body, "/v1/logs").json() == {}
    assert sent(agent, body, "/v1/logs").json() == {}
    assert (fresh(task).tokens_used, fresh(task).actual_cost_micro_usd) == (512 * 7, 512_000_000)


def test_what_nobody_reports_any_more_is_forgotten(agent, task):
    sent(agent, a_report(task.code, a_point(100, 2)))
    sent(agent, a_report("", a_point(100, 2)))
    Series.objects.update(seen_at=log.now() - timedelta(days=telemetry.KEPT_DAYS + 1))
    sent(agent, a_report(task.code, a_point(150, 3)))
    assert telemetry.forget_old() == 1
    sent(agent, a_report(task.code, a_point(170, 4)))
    assert fresh(task).tokens_used == 170


@pytest.mark.parametrize(
    "point",
    [a_point(-1, 2), a_point(2**62, 2), a_point(1, 0), a_point("NaN", 2, field="asDouble"), a_point("Infinity", 2, field="asDouble"),
     {**a_point(1, 2), "timeUnixNano": str(2**64 - 1)}],
    ids=["negative", "huge", "timeless", "NaN", "infinite", "beyond time"],
)  # fmt: skip
def test_a_point_that_cannot_be_is_rejected_and_the_rest_is_booked(agent, task, point):
    answer = sent(agent, a_report(task.code, point, a_point(5, 2, kind="output")))
    assert (answer.status_code, answer.json()["partialSuccess"]["rejectedDataPoints"]) == (200, "1")
    assert fresh(task).tokens_used == 5


def test_many_parts_that_hold_nothing_and_many_subjects_are_refused(agent):
    empty = gzip.compress(b"\x0a\x00" * 60_000)
    answer = sent(agent, empty, "/v1/logs", PROTOBUF, content_encoding="gzip")
    assert (answer.status_code, "parts" in answer.json()["error"]) == (400, True)
    reports = [a_report("", a_point(1, 2), session=f"run-{n}")["resourceMetrics"][0] for n in range(201)]
    answer = sent(agent, {"resourceMetrics": reports})
    assert (answer.status_code, "sessions" in answer.json()["error"]) == (400, True)
    assert not Series.objects.exists()


def test_limits_and_wrong_bodies_are_refused_clearly(agent, nobody, api_of, viewer, monkeypatch):
    whole = gzip.compress(b"{}")
    for body, headers, status in (
        (b"{", {}, 400), (b"[]", {}, 400), (b'{"resourceMetrics": 7}', {}, 400), (b"\xff", {"kind": PROTOBUF}, 400),
        (b"x", {"kind": "text/plain"}, 415), (b"x", {"content_encoding": "gzip"}, 400), (b"x", {"content_encoding": "br"}, 400),
        (whole[:-3], {"content_encoding": "gzip"}, 400), (b"x" * 1_000_001, {}, 413),
        (gzip.compress(b" " * 4_000_001), {"content_encoding": "gzip"}, 413), (b"[" * 5000, {}, 400),
    ):  # fmt: skip
        answer = sent(agent, body, **headers)
        assert (answer.status_code, "error" in answer.json()) == (status, True), body[:20]
    assert sent(agent, whole, content_encoding="gzip").status_code == 200
    assert sent(nobody, b"{}").status_code == 401
    assert agent.client.get("/v1/metrics").status_code == 405
    monkeypatch.setattr(otlp, "MOST_POINTS", 1)
    assert sent(agent, a_report("", a_point(1, 2), a_point(2, 3))).status_code == 400


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(min_size=1, max_size=300), path=st.sampled_from(["/v1/metrics", "/v1/logs"]), packed=st.booleans()
)
def test_no_bytes_break_it(agent, body, path, packed):
    for kind in (PROTOBUF, "application/json"):
        raw, headers = (gzip.compress(body), {"content_encoding": "gzip"}) if packed else (body, {})
        assert sent(agent, raw, path, kind, **headers).status_code in (200, 400)


TEXTS = st.text(max_size=10)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(task=TEXTS, session=TEXTS, model=TEXTS, name=TEXTS, value=st.integers(0, 2**70), at=st.integers(0, 2**65))
def test_no_value_breaks_it(agent, task, session, model, name, value, at):
    point = {**a_point(str(value), 1, model=model), "timeUnixNano": str(at)}
    answer = sent(agent, a_report(task, point, name=f"{name}.token.usage", session=session))
    assert answer.status_code in (200, 400), answer.content


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_same_report_twice_at_once_is_booked_once(ada, api_of, venture):
    task, agent = a_task(venture=venture), api_of(ada)
    body, start, codes = a_report(task.code, a_point(100, 2)), threading.Barrier(4), []

    def report():
        start.wait()
        try:
            codes.append(sent(Api(agent.secret), body).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {200, 503} and 200 in codes
    assert fresh(task).tokens_used == 100 and Series.objects.count() == 1


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_the_official_exporter_lands_on_the_task(product, temporality):
    key = product.agent(f"otel-{temporality.name.lower()}")
    [code] = product.tasks(1)
    exporter = OTLPMetricExporter(
        f"{product.url}/v1/metrics",
        headers={"Authorization": f"Bearer {key}"},
        preferred_temporality={Counter: temporality},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], Resource.create({"task.id": code}))
    counter = provider.get_meter("agent").create_counter("agent.token.usage")
    for _ in range(2):
        counter.add(50, {"type": "input"})
        counter.add(7, {"type": "output"})
        assert provider.force_flush()
    provider.shutdown()
    used = product.inside("from tasks.models import Task\nresult = Task.objects.get(code=code).tokens_used", code=code)
    assert used == 114


def test_waiting_costs_no_token_and_what_is_spent_on_no_task_is_shown(agent, ada, api_of, operator, client, venture):
    """Waits, works, waits again: only what was reported while there was no task counts as waiting."""
    client.force_login(operator.user)

    def shown():
        page = re.sub(r"<[^>]+>", " ", client.get("/agents/ada").content.decode())
        return int(re.search(r"Tokens while waiting\s+(\d+)", page)[1]), agent.get("/agents/me").json()[
            "tokens_without_work"
        ]

    assert agent.post("/tasks/claim", {}).json()["task"] is None
    assert shown() == (0, 0)
    task = a_task(venture=venture)
    claimed(ada, task, session_key="run-1")
    sent(agent, a_report(task.code, a_point(900, 2)))
    assert (fresh(task).tokens_used, shown()) == (900, (0, 0))
    sent(agent, a_report("", a_point(70, 3)))
    sent(agent, a_report("", a_point(120, 4)))
    assert (fresh(task).tokens_used, shown()) == (900, (120, 120))
