"""What people send from the pages: what is taken, what is refused at which field."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mission_control.errors import Invalid
from tasks import forms
from tasks.vocabulary import MEDIUM, URGENT
from tests.conftest import a_task

pytestmark = pytest.mark.django_db


def refused(fields: dict[str, str]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        forms.new_task(fields)
    return {entry["field"]: entry["message"] for entry in caught.value.details}


def test_a_new_task_from_a_full_form(venture, ada):
    given = forms.new_task(
        {
            "title": "  Two\nlines ", "description": "a\r\nb", "venture": "apollo", "status": "ready",
            "priority": "urgent", "assignee": "ada", "tags": " one, two ,one,, ", "deadline": "2031-05-04T10:30:00.000Z",
        }
    )  # fmt: skip
    assert given == {
        "title": "Two lines", "description": "a\nb", "venture": venture, "status": "assigned", "priority": URGENT,
        "assignee": ada.agent, "tags": ["one", "two"], "deadline": datetime(2031, 5, 4, 10, 30, tzinfo=UTC),
    }  # fmt: skip


def test_a_new_task_needs_a_title_alone():
    given = forms.new_task({"title": "x"})
    assert (given["title"], given["priority"], given["assignee"], given["status"]) == ("x", MEDIUM, None, "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "   "), ("title", "x" * 501), ("title", "a\x00b"), ("description", "x" * 50_001),
        ("description", "\ud800"), ("venture", "nowhere"), ("status", "done"), ("priority", "soon"),
        ("assignee", "nobody"), ("tags", "x" * 51), ("tags", ",".join(map(str, range(21)))), ("deadline", "tomorrow"),
        ("deadline", "9999-99-99"), ("deadline", "0001-01-01T00:00:00+14:00"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_at_its_field(field, value):
    assert list(refused({"title": "fine", field: value})) == [field]


def test_everything_wrong_is_told_at_once():
    assert set(refused({"title": "", "priority": "soon", "venture": "nowhere"})) == {"title", "priority", "venture"}


def test_what_the_title_says_goes_before_the_fields(venture, ada):
    given = forms.new_task(
        {
            "title": "Fix login !urgent #apollo #web @ada ~1.5h ~$2 due 2031-05-04", "zone": "America/New_York",
            "venture": "default", "priority": "low", "status": "ready", "tags": "one", "deadline": "2030-01-01",
        }
    )  # fmt: skip
    assert given == {
        "title": "Fix login", "description": "", "venture": venture, "status": "assigned", "priority": URGENT,
        "assignee": ada.agent, "tags": ["one", "web"], "deadline": datetime(2031, 5, 5, 3, 59, tzinfo=UTC),
        "estimated_hours": Decimal("1.50"), "estimated_cost_micro_usd": 2_000_000,
    }  # fmt: skip


def test_a_title_of_signs_alone_is_none_and_an_unknown_zone_is_utc():
    assert list(refused({"title": "!high #bug"})) == ["title"]
    assert forms.smart_line({"title": "x due 2031-05-04", "zone": "../etc"}).deadline == datetime(
        2031, 5, 4, 23, 59, tzinfo=UTC
    )


def test_changes_hold_only_what_was_sent():
    task = a_task(tags=["a", "b"])
    assert forms.changes(task, {}) == {}
    assert forms.changes(task, {"add_tag": "c, a"}) == {"tags": ["a", "b", "c"]}
    assert forms.changes(task, {"remove_tag": "a"}) == {"tags": ["b"]}
    assert forms.changes(task, {"deadline": "", "assignee": ""}) == {"deadline": None, "assignee": None}
    with pytest.raises(Invalid):
        forms.changes(task, {"title": " "})


def test_a_reason_is_text_of_some_length():
    assert forms.reason({}) == ""
    assert forms.reason({"reason": " because "}) == "because"
    with pytest.raises(Invalid):
        forms.reason({"reason": "x" * 2001})
