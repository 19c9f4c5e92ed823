"""What REST takes in, field by field: strict about types, forgiving about names. Not: what each call takes.

A serializer here refuses what it does not know instead of ignoring it, takes snake_case and camelCase and the names
that other tools use, and answers one entry per field.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from functools import cache
from typing import Any, ClassVar

from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mission_control import strict_json
from mission_control.errors import Invalid
from mission_control.money import to_micro_usd

BIG = 2**63 - 1
EARLIEST, LATEST = 1970, 2200
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Text(serializers.CharField):
    """A string and nothing else; null is the empty one. Optional unless it says otherwise."""

    def __init__(self, most: int, *, required: bool = False, blank: bool | None = None, **options: Any) -> None:
        blank = not required if blank is None else blank
        options.setdefault("trim_whitespace", False)
        super().__init__(max_length=most, required=required, allow_blank=blank, allow_null=blank, **options)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation("" if data is None and self.allow_null else data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Line(Text):
    """A text without line breaks or other control characters, trimmed."""

    def __init__(self, most: int, **options: Any) -> None:
        super().__init__(most, **{"trim_whitespace": True, **options})

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not text.isprintable():
            raise serializers.ValidationError("Use printable characters on one line.")
        return text


class Matching(Line):
    """A line of a certain form."""

    def __init__(self, most: int, pattern: str, complaint: str, **options: Any) -> None:
        super().__init__(most, **options)
        self.pattern, self.complaint = re.compile(pattern), complaint

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not self.pattern.fullmatch(text):
            raise serializers.ValidationError(self.complaint)
        return text


class Whole(serializers.IntegerField):
    """A JSON integer."""

    def __init__(self, least: int = 0, most: int = BIG, *, required: bool = False, **options: Any) -> None:
        super().__init__(min_value=least, max_value=most, required=required, **options)

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class Flag(serializers.BooleanField):
    """true or false, no words for it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Give true or false.")
        return data


@extend_schema_field({"oneOf": [{"type": "number", "minimum": 0}, {"type": "string"}], "example": "1.25"})
class Usd(serializers.Field[int, Any, str, Any]):
    """An amount in USD as a number or a decimal string; integer micro-USD inside."""

    signed = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})

    def to_internal_value(self, data: Any) -> int:
        try:
            return to_micro_usd(data, signed=self.signed)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


@extend_schema_field({"oneOf": [{"type": "number"}, {"type": "string"}], "example": "-1.25"})
class SignedUsd(Usd):
    """An amount that may be negative."""

    signed = True


class Hours(serializers.DecimalField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=8, decimal_places=2, min_value=0, **{"required": False, **options})

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int | float | str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "date-time"})
class Moment(serializers.Field[datetime, Any, str, Any]):
    """ISO 8601. Without a zone it is UTC; a day alone means its last second."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})

    def to_internal_value(self, data: Any) -> datetime:
        return read_moment(data)


def read_moment(data: Any) -> datetime:
    """An aware datetime in UTC; serializers.ValidationError when it is none."""
    if not isinstance(data, str) or len(data) > 40:
        raise serializers.ValidationError("Give a time in ISO 8601, for example 2026-12-01T18:00:00Z.")
    try:
        day = parse_date(data) if len(data) <= len("2026-12-01") else None
        moment = datetime.combine(day, time(23, 59, 59)) if day else parse_datetime(data)
        if moment is None:
            raise ValueError
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise serializers.ValidationError("Give a time in ISO 8601, for example 2026-12-01T18:00:00Z.") from None
    if not EARLIEST <= moment.year <= LATEST:
        raise serializers.ValidationError(f"Give a year between {EARLIEST} and {LATEST}.")
    return moment


class Words(serializers.ListField):
    """A list of short texts without a comma, each once, in the order given; `folded`: sorted lower-case words."""

    def __init__(self, most: int, length: int, *, folded: bool = False, **options: Any) -> None:
        super().__init__(child=Line(length, required=True), max_length=most, **{"required": False, **options})
        self.folded = folded

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        words = [" ".join(word.split()) for word in super().to_internal_value(data)]
        if any("," in word for word in words):
            raise serializers.ValidationError("No commas within a word.")
        return sorted({word.lower() for word in words}) if self.folded else list(dict.fromkeys(words))


@extend_schema_field({})
class AnyJson(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value, kept as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """null is a value like any other."""
        return (True, None) if data is None else super().validate_empty_values(data)

    def to_internal_value(self, data: Any) -> Any:
        return data


@extend_schema_field({"oneOf": [{"type": "object", "additionalProperties": {}}, {"type": "string"}]})
class Metadata(serializers.Field[dict[str, Any], Any, Any, Any]):
    """An object, or the same as a JSON text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "allow_null": True, **options})

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, str):
            try:
                data = strict_json.read(data.encode())
            except Invalid as invalid:
                raise serializers.ValidationError(invalid.details[0]["message"]) from None
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give an object, or one as a JSON text.")
        return data


@extend_schema_field({"type": "string"})
class Named(serializers.Field[Any, Any, Any, Any]):
    """A word or an id that a function turns into the thing; its ValueError or Invalid is the complaint."""

    def __init__(self, find: Any, **options: Any) -> None:
        super().__init__(**{"required": False, **options})
        self.find = find

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str):
            try:
                strict_json.check_text(data)
                return self.find(data)
            except ValueError as error:
                raise serializers.ValidationError(str(error)) from None
            except Invalid as invalid:
                raise serializers.ValidationError(invalid.details[0]["message"]) from None
        raise serializers.ValidationError("Give a text.")


class StrictSerializer(serializers.Serializer[Any]):
    """What a call takes. `aliases`: other names → ours; `read_only_names`: fields of the answer, which nobody sets."""

    aliases: ClassVar[dict[str, str]] = {}
    read_only_names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def read(cls, given: Any) -> dict[str, Any]:
        """The checked values; Invalid with one entry per field."""
        try:
            return dict(_reader(cls).run_validation(given))
        except serializers.ValidationError as error:
            raise Invalid(flat(error.detail)) from None

    @classmethod
    def named(cls, key: str) -> str:
        snake = _HUMP.sub("_", key).lower() if not key.islower() else key
        return cls.aliases.get(snake, snake)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError({"": ["Send a JSON object."]})
        ours: dict[str, Any] = {}
        called: dict[str, str] = {}
        wrong: dict[str, Any] = {}
        for key, value in data.items():
            name = self.named(key)
            if name not in self.fields:
                read_only = name in self.read_only_names
                wrong[key] = "This field is read only." if read_only else "This field is unknown."
            elif name in ours:
                wrong[key] = f"It means the same as {called[name]}, which is given already."
            else:
                ours[name], called[name] = value, key
        try:
            values: dict[str, Any] = super().to_internal_value(ours)
        except serializers.ValidationError as error:
            assert isinstance(error.detail, dict)
            wrong.update({called.get(name, name): detail for name, detail in error.detail.items()})
        if wrong:
            raise serializers.ValidationError(wrong)
        return values


@cache
def _reader(cls: type[StrictSerializer]) -> StrictSerializer:
    """One reader per kind: validating keeps no state in it, and making the fields is what costs."""
    return cls()


def flat(detail: Any, path: str = "") -> dict[str, str]:
    """DRF's nested error details as `{path: sentence}`."""
    found: dict[str, str] = {}
    if isinstance(detail, dict):
        for name, inner in detail.items():
            plain = "" if name == "non_field_errors" else str(name)
            found.update(flat(inner, f"{path}.{plain}" if path and plain else path or plain))
    elif isinstance(detail, list) and any(isinstance(item, dict | list) for item in detail):
        for place, inner in enumerate(detail):
            if inner:
                found.update(flat(inner, f"{path}.{place}" if path else str(place)))
    elif isinstance(detail, list):
        found[path] = " ".join(str(item) for item in detail)
    else:
        found[path] = str(detail)
    return found


class Answer(serializers.Serializer[Any]):
    """What a call gives. The fields tell the schema; `shape` makes the object."""

    @classmethod
    def shape(cls, thing: Any, call: Any) -> Any:
        return thing

    @classmethod
    def shapes(cls, things: list[Any], call: Any) -> list[Any]:
        return [cls.shape(thing, call) for thing in things]


class ErrorOut(Answer):
    """The one shape of every refusal; facts that belong to the code stand beside."""

    class Detail(serializers.Serializer[Any]):
        field = serializers.CharField()
        message = serializers.CharField()

    error = serializers.CharField(help_text="A sentence that says why, and what would work.")
    code = serializers.CharField(help_text="For programs: lease_lost, wrong_state, invalid, not_found …")
    details = Detail(many=True, help_text="One entry per field that was refused.")
