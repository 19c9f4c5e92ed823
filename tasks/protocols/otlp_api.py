"""OTLP over HTTP: /v1/metrics and /v1/logs, and what of it belongs to no task. Not: its reading (otlp.py), rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from rest_framework import serializers

from mission_control import callers, json_rpc, strict_json
from mission_control.endpoints import WORK, Call, endpoint
from mission_control.errors import Refused
from mission_control.fields import Answer
from mission_control.money import to_usd
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Query
from mission_control.rest import answer_exception
from mission_control.strict_json import iso
from tasks.protocols import otlp, telemetry
from tasks.protocols.otlp import PROTOBUF, Report
from tasks.telemetry_models import Series


@csrf_exempt
def metrics(request: HttpRequest) -> HttpResponse:
    """Tokens and costs as metrics, on the task or session that they name."""
    return _answered(request, otlp.metrics, ExportMetricsServiceResponse, "rejected_data_points")


@csrf_exempt
def logs(request: HttpRequest) -> HttpResponse:
    """Tokens and costs as log records, of programs that have no metrics of them."""
    return _answered(request, otlp.logs, ExportLogsServiceResponse, "rejected_log_records")


def _answered(
    request: HttpRequest, reading: Callable[[bytes, bool, str], Report], kind: Any, counter: str
) -> HttpResponse:  # fmt: skip
    try:
        if request.method != "POST":
            raise Refused("Send a POST.", code="method_not_allowed", status=405)
        actor = callers.require(json_rpc.caller(request), *WORK)
        callers.note_seen(actor)
        protobuf = _is_protobuf(request)
        body = otlp.unpacked(request.body, request.headers.get("Content-Encoding", "").strip().lower())
        report = reading(body, protobuf, actor.name)
        booked = telemetry.take(actor, report.points)
    except Exception as error:
        refused: Any = answer_exception(error)
        if refused is None:
            raise
        if refused.status_code == 405:
            refused["Allow"] = "POST"
        return refused
    response = kind()
    if report.rejected or booked.unmatched:
        setattr(response.partial_success, counter, report.rejected)
        why = [report.why] if report.why else []
        if booked.unmatched:
            why.append(f"{booked.unmatched} belong to no task: name one as resource attribute task.id or session.id.")
        response.partial_success.error_message = " ".join(why)
    if protobuf:
        return HttpResponse(response.SerializeToString(), content_type=PROTOBUF)
    return HttpResponse(strict_json.write(MessageToDict(response)), content_type="application/json")


def _is_protobuf(request: HttpRequest) -> bool:
    kind = (request.content_type or "").lower()
    if kind not in (PROTOBUF, "application/json"):
        raise Refused(f"Send {PROTOBUF} or application/json.", code="unsupported_media_type", status=415)
    return kind == PROTOBUF


class UnmatchedOut(Answer):
    agent = serializers.CharField()
    name = serializers.CharField(help_text="The metric or the event.")
    subject = serializers.CharField(allow_blank=True, help_text="The task or session that it names.")
    tokens = serializers.IntegerField()
    cost = serializers.CharField(help_text="USD.")
    seen_at = serializers.DateTimeField()

    @classmethod
    def shape(cls, thing: Series, call: Any) -> dict[str, Any]:
        return {
            "agent": thing.agent, "name": thing.name, "subject": thing.subject, "tokens": thing.unmatched_tokens,
            "cost": to_usd(thing.unmatched_micro_usd), "seen_at": iso(thing.seen_at),
        }  # fmt: skip


@endpoint("GET", needs=("operate",), gives=UnmatchedOut, name="reports", paged=True, query=Query(LIMIT, CURSOR))
def list_unmatched(call: Call) -> Page:
    """Usage that telemetry reported and that belongs to no task, newest first."""
    return page(Series.objects.unmatched(), call.query, orders={"id": None}, default="-id", bare=call.bare)
