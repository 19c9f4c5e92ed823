"""The board in rows and as a table: what the columns show, arranged otherwise, and nothing twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from mission_control import log
from tasks import transitions
from tasks.board import Board, Filters
from tasks.models import Task
from tasks.pages.lanes import lanes, listing
from tasks.vocabulary import HIGH, LOW, URGENT
from tests.conftest import a_task, claimed, fence

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def shown(group: str, **filters) -> dict[str, dict[str, list[str]]]:
    """Lane → column → codes, empty columns aside."""
    found, _ = lanes(Board(Filters(**filters)), group)
    return {
        lane.key: {column.key: [place.code for place in column.places] for column in lane.columns if column.places}
        for lane in found
    }


def test_each_task_stands_in_one_lane_that_of_who_has_it_in_hand_or_is_meant_to(operator, ada, bob):
    meant = a_task("meant for bob", assignee=bob.agent)
    held = a_task("in hand")
    claimed(ada, held)
    done = a_task("handed in")
    transitions.complete(bob, done.code, fence=fence(claimed(bob, done)), review=True)
    by_hand = a_task("by hand")
    transitions.start(operator, by_hand.code)
    free = a_task("free")
    assert shown("assignee") == {
        "ada": {"in_progress": [held.code]}, "bob": {"assigned": [meant.code], "review": [done.code]},
        "people": {"in_progress": [by_hand.code]}, "nobody": {"ready": [free.code]},
    }  # fmt: skip
    assert shown("assignee", assignees=("ada",)) == {"ada": {"in_progress": [held.code]}}


def test_lanes_of_ventures_and_priorities_count_what_is_open_and_name_the_way_to_all(operator, venture):
    here, there = a_task("here", venture=venture, priority=URGENT), a_task("there")
    transitions.cancel(operator, a_task("gone", venture=venture).code)
    assert shown("venture") == {"apollo": {"ready": [here.code]}, "default": {"ready": [there.code]}}
    assert shown("priority") == {"urgent": {"ready": [here.code]}, "medium": {"ready": [there.code]}}
    found, hidden = lanes(Board(Filters(q="ere", cancelled=True)), "venture")
    assert [(lane.count, lane.query) for lane in found] == [
        (1, "q=ere&venture=apollo&cancelled=1"), (1, "q=ere&venture=default&cancelled=1"),
    ]  # fmt: skip
    assert hidden == 0


def test_a_table_is_sorted_by_what_was_asked_for_with_empty_cells_last(operator, venture):
    soon = a_task("b", deadline=log.now() + timedelta(hours=2), priority=LOW, venture=venture)
    late = a_task("c", deadline=log.now() + timedelta(days=2), priority=HIGH)
    never = a_task("a", priority=URGENT)
    transitions.cancel(operator, a_task("gone").code)

    def order(sort: str, **filters) -> list[str]:
        return [row.card.code for row in listing(Board(Filters(**filters)), sort, 0).rows]

    assert order("title") == [never.code, soon.code, late.code]
    assert order("deadline") == [soon.code, late.code, never.code]
    assert order("-deadline") == [late.code, soon.code, never.code]
    assert order("-priority") == [never.code, late.code, soon.code]
    assert order("venture") == [soon.code, never.code, late.code]
    assert order("; DROP TABLE") == order("-changed") == [never.code, late.code, soon.code]
    assert order("title", board="apollo") == [soon.code]


def test_deadlines_and_states_narrow_the_board(operator):
    now = log.now()
    late, today, week, never = (
        a_task(name, deadline=due)
        for name, due in (("late", now - timedelta(hours=1)), ("today", now + timedelta(hours=3)),
                          ("week", now + timedelta(days=3)), ("never", None))
    )  # fmt: skip
    transitions.pause(operator, week.code)

    def passing(**filters) -> set[str]:
        return {task.code for task in Board(Filters(**filters)).passing(Task.objects.all())}

    assert passing(deadlines=("overdue",)) == {late.code}
    assert passing(deadlines=("day",)) == {today.code}
    assert passing(deadlines=("week", "none")) == {today.code, week.code, never.code}
    assert passing(states=("paused",)) == {week.code}
    assert passing(states=("ready",), deadlines=("week",)) == {today.code}


def test_the_page_shows_rows_or_a_table_and_plain_columns_for_what_is_neither(viewer, venture):
    a_task("One <b>", venture=venture)
    client = Client()
    client.force_login(viewer.user)
    rows = client.get("/?group=priority").content.decode()
    assert 'id="lane-priority-medium"' in rows and 'data-view="lanes"' in rows and "One &lt;b&gt;" in rows
    table = client.get(f"/ventures/{venture.slug}/board?view=list&sort=title", headers=PART).content.decode()
    assert 'aria-sort="ascending"' in table and "One &lt;b&gt;" in table and "<html" not in table
    plain = client.get("/?group=colour&view=circle").content.decode()
    assert 'data-view="' not in plain.partition('<main class="board"')[2].partition(">")[0]
    assert 'id="column-ready"' in plain and "css/pages.css" not in plain


@pytest.mark.parametrize("group", ["assignee", "venture", "priority"])
def test_lanes_take_a_bounded_number_of_statements(group, ada, bob, venture, django_assert_max_num_queries):
    for n in range(12):
        a_task(
            f"Task {n}", venture=venture if n % 2 else None, assignee=ada.agent if n % 3 else bob.agent, priority=n % 4
        )
    with django_assert_max_num_queries(10 * 4 + 8):
        lanes(Board(Filters()), group)
