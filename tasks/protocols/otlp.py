"""Reading OTLP: which tokens and costs a request of metrics or logs reports, for what. Not: booking them (telemetry.py).

Protobuf and JSON. https://opentelemetry.io/docs/specs/otlp/ and the metrics of common coding agents; what is neither a
count of tokens nor a cost is accepted and passed over.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from mission_control import strict_json
from mission_control.errors import Invalid
from mission_control.money import MICRO

PROTOBUF = "application/x-protobuf"
MOST_BYTES = 4_000_000  # unpacked
MOST_POINTS = 5_000
MOST_PARTS = 50_000  # resources, scopes, metrics, records and points, whatever they hold
MOST_AMOUNT = 10**15
MOST_NANOS = 2**63 - 1
CUMULATIVE = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
OUT = ("output", "thought", "reasoning", "completion")
SPARE = "gen_ai."  # the general names, where the program has none of its own
METERED = ("claude_code.", "gemini_cli.")  # their log records repeat what their metrics count,
METERED_SERVICES = ("claude-code", "gemini-cli")  # those under the general names too
TOKENS_IN = ("gen_ai.usage.input_tokens", "input_tokens", "input_token_count")
TOKENS_OUT = ("gen_ai.usage.output_tokens", "output_tokens", "output_token_count")
COST = ("cost_usd", "gen_ai.usage.cost")


@dataclass(frozen=True)
class Point:
    """What one data point or log record reports. `amount` is in tokens or, of sort "cost", in micro-USD."""

    digest: str
    name: str
    task: str
    session: str
    sort: str  # tokens_in, tokens_out, cost
    amount: int
    cumulative: bool
    start_nanos: int
    at_nanos: int
    model: str


class Wrong(Exception):
    """One point that cannot be what it claims to be."""


@dataclass
class Report:
    points: list[Point]
    rejected: int = 0
    why: str = ""
    looked_at: int = 0

    def each(self, parts: Sequence[Any]) -> Sequence[Any]:
        """Invalid before one request keeps the server busy with parts that hold nothing: two bytes make one."""
        self.looked_at += len(parts)
        if self.looked_at > MOST_PARTS:
            raise Invalid({"": f"More than {MOST_PARTS:,} parts in one request: send fewer at once."})
        return parts

    def add(self, made: Iterable[Point | Wrong]) -> None:
        for point in made:
            if isinstance(point, Wrong):
                self.rejected, self.why = self.rejected + 1, str(point)
            else:
                self.points.append(point)
            if len(self.points) > MOST_POINTS:
                raise Invalid({"": f"More than {MOST_POINTS:,} data points in one request: send fewer at once."})


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its compression. Invalid: not gzip, or larger than MOST_BYTES once unpacked."""
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Invalid({"Content-Encoding": "Use gzip, or none."})
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(body, MOST_BYTES + 1)
    except zlib.error:
        raise Invalid({"": "The body is not gzip."}) from None
    if len(content) > MOST_BYTES:
        raise strict_json.TooLarge(MOST_BYTES)
    if not unpacking.eof or unpacking.unused_data:
        raise Invalid({"": "The gzip body is not whole."})
    return content


def read(kind: Any, body: bytes, protobuf: bool) -> Any:
    """The message of a body. Invalid when it is none."""
    message = kind()
    try:
        if protobuf:
            message.ParseFromString(body)
        else:
            said = strict_json.read(body)
            if not isinstance(said, dict):
                raise Invalid({"": "Send a JSON object."})
            ParseDict(said, message, ignore_unknown_fields=True)
    except (DecodeError, ParseError, ValueError, TypeError, OverflowError, AttributeError, RecursionError) as error:
        raise Invalid({"": f"This is no {kind.DESCRIPTOR.name}."}) from error
    return message


def metrics(body: bytes, protobuf: bool, sender: str) -> Report:
    """What a request of metrics reports."""
    report = Report([])
    for resource in report.each(read(ExportMetricsServiceRequest, body, protobuf).resource_metrics):
        around = _attributes(resource.resource.attributes)
        metrics = [metric for scope in report.each(resource.scope_metrics) for metric in report.each(scope.metrics)]
        found = [metric for metric in metrics if _sort(metric.name)]
        own = any(not metric.name.startswith(SPARE) for metric in found)
        for metric in found:
            if not (own and metric.name.startswith(SPARE)):
                report.add(_points(metric, around, sender, report))
    return report


def logs(body: bytes, protobuf: bool, sender: str) -> Report:
    """What a request of log records reports."""
    report = Report([])
    for resource in report.each(read(ExportLogsServiceRequest, body, protobuf).resource_logs):
        around = _attributes(resource.resource.attributes)
        if around.get("service.name") in METERED_SERVICES:
            continue
        for scope in report.each(resource.scope_logs):
            for record in report.each(scope.log_records):
                report.add(_record(record, around, sender))
    return report


def _sort(name: str) -> str:
    if name.endswith((".token.usage", ".tokens.usage")):
        return "tokens"
    return "cost" if name.endswith((".cost.usage", ".cost")) else ""


def _points(metric: Any, around: dict[str, Any], sender: str, report: Report) -> Iterator[Point | Wrong]:
    kind = metric.WhichOneof("data")
    if kind not in ("sum", "histogram"):
        return
    data = getattr(metric, kind)
    for point in report.each(data.data_points):
        said = _attributes(point.attributes)
        if kind == "histogram":
            value = point.sum
        else:
            value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        sort = "cost" if _sort(metric.name) == "cost" else _direction(said)
        yield _point(
            metric.name, sort, value, {**around, **said}, [sender, metric.name, around, said],
            data.aggregation_temporality == CUMULATIVE, point.start_time_unix_nano, point.time_unix_nano,
        )  # fmt: skip


def _direction(said: dict[str, Any]) -> str:
    kind = str(said.get("gen_ai.token.type") or said.get("type") or "").lower()
    return "tokens_out" if kind in OUT else "tokens_in"


def _record(record: Any, around: dict[str, Any], sender: str) -> Iterator[Point | Wrong]:
    said = _attributes(record.attributes)
    name = str(record.event_name or said.get("event.name") or record.body.string_value or "log")
    if name.startswith(METERED):
        return
    at = record.time_unix_nano or record.observed_time_unix_nano
    for sort, names in (("tokens_in", TOKENS_IN), ("tokens_out", TOKENS_OUT), ("cost", COST)):
        value = next((said[known] for known in names if known in said), None)
        if value is not None:
            identity = [sender, name, sort, around, said, at]
            yield _point(name, sort, value, {**around, **said}, identity, False, 0, at)


def _point(
    name: str, sort: str, value: Any, said: dict[str, Any], identity: Any, cumulative: bool, start: int, at: int
) -> Point | Wrong:  # fmt: skip
    try:
        number = float(value)
    except (TypeError, ValueError):
        return Wrong(f"{_plain(name, 100)}: not a number.")
    amount = number * MICRO if sort == "cost" else number
    if not math.isfinite(amount) or not 0 <= amount <= MOST_AMOUNT:
        return Wrong(f"{_plain(name, 100)}: a value is not between 0 and {MOST_AMOUNT:,}.")
    if max(start, at) > MOST_NANOS or at == 0:
        return Wrong(f"{_plain(name, 100)}: a point without a time, or one that no clock shows.")
    return Point(
        hashlib.sha256(repr(identity).encode()).hexdigest(), _plain(name, 200), _plain(said.get("task.id"), 8, whole=True),
        _plain(said.get("session.id"), 260, whole=True), sort, round(amount), cumulative, start, at,
        _plain(said.get("gen_ai.request.model") or said.get("model"), 120),
    )  # fmt: skip


def _attributes(pairs: Any) -> dict[str, Any]:
    """Plain values alone, by name and in their order by name; what is nested names nothing that is booked."""
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value", "bool_value"):
            found[pair.key] = getattr(pair.value, kind)
    return dict(sorted(found.items()))


def _plain(value: Any, most: int, *, whole: bool = False) -> str:
    """A text that every database holds; "" for one that is too long where it has to be `whole`."""
    text = "" if value is None else str(value)
    if not text.isprintable() or (whole and len(text) > most):
        return ""
    return text[:most]
