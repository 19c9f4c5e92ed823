"""What REST takes in: types are not guessed, names are forgiven, every wrong field is told at once."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rest_framework import serializers

from mission_control.errors import Invalid
from mission_control.fields import (
    AnyJson,
    Flag,
    Hours,
    Line,
    Matching,
    Metadata,
    Moment,
    Named,
    StrictSerializer,
    Text,
    Usd,
    Whole,
    Words,
    flat,
)


def wrong(kind, value) -> bool:
    try:
        kind.run_validation(value)
    except serializers.ValidationError:
        return True
    return False


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (Text(5), {"abc": "abc", "": "", None: "", "a\nb": "a\nb"}, ["abcdef", 1, True, ["a"], {}]),
        (Text(5, required=True), {"a": "a"}, ["", None, 7]),
        (Line(9), {" a b ": "a b", None: ""}, ["a\nb", "a\tb", "a\u202eb", "\x7f"]),
        (Matching(3, r"[a-z]+", "No."), {"abc": "abc"}, ["ABC", "a1", 5]),
        (Whole(0, 9), {0: 0, 9: 9}, [-1, 10, 1.0, "1", True, None, 10**30]),
        (Flag(), {True: True, False: False}, [1, 0, "true", "yes", None]),
        (Usd(), {"1.25": 1_250_000, 2: 2_000_000, 0.1: 100_000, "0.000001": 1}, ["1.2345678", -1, "x", "NaN", True, "1e99", []]),
        (Hours(), {"1.25": Decimal("1.25"), 2: Decimal(2), 0.5: Decimal("0.5")}, [-1, "x", True, "1e99", 1e9, [], "NaN"]),
        (Words(3, 4), {}, ["a", [1], ["a,b"], ["abcde"], ["a", "b", "c", "d"], [""], [None], {"a": 1}]),
        (Metadata(), {'{"a": 1}': {"a": 1}}, ["[1]", "x", 5, [1], '{"a": NaN}', "[" * 999]),
        (Named(lambda word: {"a": 1}[word] if word == "a" else int(word)), {"a": 1}, ["x", 5, None, []]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_field_takes_its_type_and_nothing_else(field, good, bad):
    for given, read in good.items():
        assert field.run_validation(given) == read, given
    for given in bad:
        assert wrong(field, given), given


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2026-12-01T18:00:00Z", datetime(2026, 12, 1, 18, tzinfo=UTC)),
        ("2026-12-01T18:00:00+02:00", datetime(2026, 12, 1, 16, tzinfo=UTC)),
        ("2026-12-01 18:00", datetime(2026, 12, 1, 18, tzinfo=UTC)),
        ("2026-12-01", datetime(2026, 12, 1, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_has_a_zone_and_a_day_ends_at_its_end(given, read):
    assert Moment().run_validation(given) == read


@pytest.mark.parametrize(
    "given", ["tomorrow", "", 5, True, None, "2026-13-01", "2026-02-30", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1" * 50]
)  # fmt: skip
def test_what_is_no_time_is_refused(given):
    assert wrong(Moment(), given)


def test_words_are_folded_or_kept_in_order():
    assert Words(9, 9).run_validation(["b", " a  x ", "b"]) == ["b", "a x"]
    assert Words(9, 9, folded=True).run_validation(["B", "a", "b"]) == ["a", "b"]


class Thing(StrictSerializer):
    aliases = {"due_date": "deadline", "parent_task_id": "parent"}
    read_only_names = ("id",)
    title = Line(5, required=True)
    deadline = Moment()
    parent = Line(8)
    extra = AnyJson()


def test_names_may_be_camel_case_or_those_of_other_tools():
    read = Thing.read({"title": "x", "dueDate": "2026-12-01", "parentTaskId": "k3v9d2qa", "extra": [1, {"a": None}]})
    assert set(read) == {"title", "deadline", "parent", "extra"}
    assert Thing.read({"title": "x", "extra": None})["extra"] is None


def test_every_wrong_field_is_told_under_the_name_that_was_given():
    with pytest.raises(Invalid) as refusal:
        Thing.read({"titel": "x", "id": 4, "dueDate": "never", "due_date": "2026-12-01", "parent": 5})
    told = {line["field"]: line["message"] for line in refusal.value.details}
    assert told["titel"] == "This field is unknown."
    assert told["id"] == "This field is read only."
    assert told["title"] == "This field is required."
    assert told["due_date"] == "It means the same as dueDate, which is given already."
    assert "ISO 8601" in told["dueDate"]
    assert told["parent"] == "Not a valid string."
    assert refusal.value.status == 400


@pytest.mark.parametrize("given", [[], "x", 5, None, [{}]])
def test_only_an_object_is_an_object(given):
    with pytest.raises(Invalid):
        Thing.read(given)


def test_nested_complaints_become_paths():
    detail = {"a": [{}, {"b": ["no"]}], "c": {"d": ["x", "y"]}, "non_field_errors": ["z"]}
    assert flat(detail) == {"a.1.b": "no", "c.d": "x y", "": "z"}
