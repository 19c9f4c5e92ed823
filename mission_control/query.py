"""The part of an address behind the question mark: which names a call knows and what they become. The rest is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rest_framework import serializers

from mission_control import strict_json
from mission_control.errors import Invalid
from mission_control.fields import BIG, read_moment

MOST_PER_PAGE, PER_PAGE = 200, 50


@dataclass(frozen=True)
class Param:
    """One name. `read` turns its text into a value; ValueError or Invalid is the complaint."""

    name: str
    read: Callable[[str], Any]
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    also: Sequence[str] = ()  # other names, not in the schema


class Query:
    """The parameters of one call."""

    def __init__(self, *params: Param) -> None:
        self.params = params
        self.by_name = {name: param for param in params for name in (param.name, *param.also)}

    def read(self, given: Any) -> dict[str, Any]:
        """`{name: value}` of what was given; Invalid with one entry per parameter."""
        values: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for name, texts in given.lists():
            param = self.by_name.get(name)
            if param is None:
                wrong[name.replace("\0", "␀")] = "This parameter is unknown."
            elif len(texts) > 1 or param.name in values:
                wrong[name] = "Give it once."
            else:
                try:
                    strict_json.check_text(texts[0], name)
                    values[param.name] = param.read(texts[0])
                except Invalid as invalid:
                    wrong[name] = invalid.details[0]["message"]
                except serializers.ValidationError as error:
                    wrong[name] = " ".join(str(said) for said in error.detail)
                except ValueError as error:
                    wrong[name] = str(error)
        if wrong:
            raise Invalid(wrong)
        return values


def whole(least: int = 0, most: int = BIG) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
            raise ValueError(f"Give a whole number between {least} and {most}.")
        return int(text)

    return read


def flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", ""):
        return True
    if text.lower() in ("0", "false", "no"):
        return False
    raise ValueError("Give true or false.")


def line(most: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > most:
            raise ValueError(f"At most {most} characters.")
        return text.strip()

    return read


def one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"Use one of: {', '.join(words)}.")
        return text

    return read


def several(read_one: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A list with commas; empty parts are left out."""

    def read(text: str) -> list[Any]:
        if len(text) > 2000:
            raise ValueError("At most 2000 characters.")
        return [read_one(part.strip()) for part in text.split(",") if part.strip()]

    return read


def integer(least: int = 0, most: int = BIG) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


LIMIT = Param(
    "limit",
    whole(1, MOST_PER_PAGE),
    f"How many at most: up to {MOST_PER_PAGE}, {PER_PAGE} when not given (under /api {MOST_PER_PAGE}).",
    {**integer(1, MOST_PER_PAGE), "default": PER_PAGE},
)
CURSOR = Param("cursor", line(800), "`next` of the page before.")
SINCE = Param("since", whole(0), "Only what has a higher number.", integer())


def moment(name: str, about: str) -> Param:
    return Param(name, read_moment, about, {"type": "string", "format": "date-time"})


def ordering(*names: str) -> Param:
    allowed = [form for name in names for form in (name, f"-{name}")]
    return Param("ordering", one_of(*allowed), "The order; - turns it round.", {"type": "string", "enum": allowed})
