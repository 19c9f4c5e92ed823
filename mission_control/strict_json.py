"""JSON as it comes in and goes out: strict when read, canonical words for money and time when written. Not: HTTP.

What is refused on the way in is what would break later: a body that two databases keep differently, a text that one
of them cannot hold, a number that no column takes.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from mission_control.errors import Invalid, Refused

MOST_BYTES = 1_000_000
MOST_DEPTH = 32
EXACT_FLOAT = 1e16  # beyond it every float is a whole number, and PostgreSQL gives it back as one


class TooLarge(Refused):
    def __init__(self, most: int = MOST_BYTES) -> None:
        super().__init__(f"The body is larger than {most:,} bytes.", code="too_large", status=413)


def read(body: bytes) -> Any:
    """The value of a JSON text. Invalid names the field; an empty body is an empty object."""
    if len(body) > MOST_BYTES:
        raise TooLarge
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid({"": "The body is not valid UTF-8."}) from None
    if not text.strip():
        return {}
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise Invalid({"": f"The JSON is nested deeper than {MOST_DEPTH} levels."}) from None
    except ValueError as error:
        said = str(error) if isinstance(error, (_Unfit, json.JSONDecodeError)) else "a number has too many digits"
        raise Invalid({"": f"The body is not strict JSON: {said}."}) from None
    check(value)
    return value


def check(value: Any, path: str = "") -> None:
    """Invalid when it is nested too deeply or holds a text that cannot be stored; the field is its path."""
    depth, level = 0, [(path, value)]
    while level:
        depth += 1
        if depth > MOST_DEPTH + 1:
            raise Invalid({level[0][0]: f"The JSON is nested deeper than {MOST_DEPTH} levels."})
        below: list[tuple[str, Any]] = []
        for where, item in level:
            if isinstance(item, str):
                check_text(item, where)
            elif isinstance(item, dict):
                for key, inner in item.items():
                    check_text(key, where)
                    if isinstance(inner, (str, dict, list)):
                        below.append((f"{where}.{key}" if where else key, inner))
            elif isinstance(item, list):
                below += [
                    (f"{where}.{place}" if where else str(place), inner)
                    for place, inner in enumerate(item)
                    if isinstance(inner, (str, dict, list))
                ]
        level = below


def check_text(text: str, where: str = "") -> None:
    """Invalid: a NUL, which PostgreSQL cannot hold, or half a surrogate pair, which is no character."""
    if text.isascii():
        if "\0" in text:
            raise Invalid({_printable(where): "The text holds a NUL character."})
        return
    if "\0" in text:
        raise Invalid({_printable(where): "The text holds a NUL character."})
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid({_printable(where): "The text holds half of a surrogate pair."}) from None


def write(value: Any) -> bytes:
    """Compact JSON: times as ISO 8601 in UTC, decimals as strings."""
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def iso(moment: datetime | None) -> str | None:
    """`2026-11-21T02:40:06.123456Z`"""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


class _Unfit(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Unfit(f"the key {_printable(twice)[:100]!r} stands twice in one object")
    return found


def _float(digits: str) -> float | int:
    number = float(digits)
    if math.isinf(number):
        raise _Unfit("a number is too large")
    if abs(number) >= EXACT_FLOAT:
        return int(number)
    return number or 0.0  # not -0.0


def _constant(word: str) -> Any:
    raise _Unfit(f"{word} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date | Decimal):
        return str(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "␀")
