"""What counts as JSON here, and what is said to the rest."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from mission_control import strict_json
from mission_control.errors import Invalid, Refused


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", {}),
        (b"  \n ", {}),
        (b'{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        ('{"ü": "\U0001f600"}'.encode(), {"ü": "\U0001f600"}),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"1e22", 10**22),
        (b"-0.0", 0.0),
        (b"[" * 32 + b"]" * 32, None),
    ],
)
def test_strict_json_is_read(body, value):
    read = strict_json.read(body)
    assert value is None or read == value


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b"{", "", "strict JSON"),
        (b"{'a': 1}", "", "strict JSON"),
        (b'{"a": 1,}', "", "strict JSON"),
        (b"\xff\xfe", "", "UTF-8"),
        (b'{"a": NaN}', "", "NaN"),
        (b'{"a": -Infinity}', "", "Infinity"),
        (b'{"a": 1e999}', "", "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "", "too many digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "", "'a' stands twice"),
        (b'{"a": {"b": "x\\u0000y"}}', "a.b", "NUL"),
        (b'{"a": ["ok", "\\ud800"]}', "a.1", "surrogate"),
        (b'{"a\\u0000": 1}', "", "NUL"),
        (b'{"a": {"\\udfff": 1}}', "a", "surrogate"),
        (b"[" * 34 + b"]" * 34, None, "nested deeper"),
        (b"[" * 400_000, "", "nested deeper"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, None, "nested deeper"),
    ],
)
def test_what_is_not_is_refused_with_its_place(body, field, says):
    with pytest.raises(Invalid) as refusal:
        strict_json.read(body)
    [detail] = refusal.value.details
    assert says in detail["message"]
    assert field is None or detail["field"] == field
    strict_json.write(refusal.value.body())  # it can be said


def test_a_body_beyond_the_limit_is_not_even_read():
    with pytest.raises(Refused) as refusal:
        strict_json.read(b" " * 1_000_001)
    assert refusal.value.status == 413


def test_times_are_written_in_utc_and_money_as_text():
    moment = datetime(2026, 11, 21, 2, 40, tzinfo=timezone(timedelta(hours=2)))
    assert strict_json.write({"at": moment, "usd": Decimal("1.50")}) == b'{"at":"2026-11-21T00:40:00Z","usd":"1.50"}'
    assert strict_json.iso(datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)) == "2026-01-02T03:04:05.000600Z"
    assert strict_json.iso(None) is None


@pytest.mark.parametrize("value", [object(), float("nan"), b"bytes"])
def test_what_has_no_json_form_is_a_fault(value):
    with pytest.raises((TypeError, ValueError)):
        strict_json.write({"x": value})
