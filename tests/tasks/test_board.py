"""What the board shows: the order of each column, its pages, its counts, its filters, and what stands on a card."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.http import QueryDict

from agents import roster
from mission_control import log
from mission_control.models import Activity
from tasks import board, forms, transitions
from tasks.board import Board, Filters, cards, order_of, read_order
from tasks.models import Task
from tasks.vocabulary import COLUMNS, HIGH, LOW, STATUSES, URGENT
from tests.conftest import DIRECTOR, a_task, claimed, fence, fresh
from ventures import catalogue
from ventures.ledger import Spent

pytestmark = pytest.mark.django_db


def codes(column: board.Column) -> list[str]:
    return [place.code for place in column.places]


def card_of(task: Task) -> board.Card:
    shown = Board(Filters(cancelled=True))
    return cards(shown.places_of([task.code]), shown.names)[0]


# ── order and pages ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_ready_is_in_the_order_of_the_queue():
    low, urgent, high = (a_task(priority=rank) for rank in (LOW, URGENT, HIGH))
    assert codes(Board(Filters()).column("ready")) == [urgent.code, high.code, low.code]


def test_a_column_that_people_do_not_order_shows_the_latest_change_first(operator):
    first, second = a_task(), a_task()
    transitions.pause(operator, second.code)
    time.sleep(0.002)  # the database's clock counts milliseconds
    transitions.block(operator, first.code, kind="needs_input", reason="Which?")
    assert codes(Board(Filters()).column("on_hold")) == [first.code, second.code]


@pytest.mark.parametrize("key", ["inbox", "on_hold"])
def test_pages_follow_each_other_without_a_gap_or_a_repeat(operator, key):
    tasks = [a_task(f"Task {n}", status="inbox") for n in range(11)]
    if key == "on_hold":
        for n, task in enumerate(tasks):
            transitions.pause(operator, task.code) if n % 2 else transitions.block(
                operator, task.code, kind="transient", reason="wait"
            )
    whole = codes(Board(Filters()).column(key, limit=100))
    assert sorted(whole) == sorted(task.code for task in tasks)
    paged, after = [], ""
    while True:
        column = Board(Filters()).column(key, after=after, limit=4)
        paged += codes(column)
        if not column.more:
            break
        after = column.places[-1].order
    assert paged == whole


def test_a_drop_where_there_is_no_room_left_says_that_others_were_renumbered(operator):
    first, second, third, dropped = (a_task(f"Task {n}", status="inbox") for n in range(4))
    for place, task in enumerate((first, second, third)):
        Task.objects.filter(pk=task.pk).update(sort_key=5_000 + place)
    transitions.move(operator, dropped.code, "inbox", after=first.code, before=second.code)
    assert codes(Board(Filters()).column("inbox")) == [first.code, dropped.code, second.code, third.code]
    assert Activity.objects.get(kind="task.moved").data["renumbered"] == 2
    transitions.move(operator, dropped.code, "inbox", after=second.code, before=third.code)
    assert Activity.objects.filter(kind="task.moved").latest("seq").data["renumbered"] == 0


def test_the_order_of_a_place_sorts_as_text_like_its_numbers():
    pairs = [(0, 5), (3, 9), (3, 10), (16, 0), (2**62, 1)]
    assert sorted(order_of(*pair) for pair in pairs) == [order_of(*pair) for pair in pairs]
    assert [read_order(order_of(*pair)) for pair in pairs] == pairs


@pytest.mark.parametrize("wrong", ["", "7", "z" * 32, "0" * 33])
def test_an_order_that_is_not_ours_is_refused(wrong):
    with pytest.raises(ValueError, match=r"order|int"):
        read_order(wrong)


def test_each_column_is_read_by_an_index(django_assert_max_num_queries):
    for n in range(3):
        a_task(f"Task {n}")
    shown = Board(Filters())
    with django_assert_max_num_queries(14):
        for key in shown.keys:
            shown.column(key)


# ── counts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_counts_are_true_before_and_after_they_are_folded(operator, venture):
    for n in range(3):
        a_task(f"Here {n}", venture=venture)
    a_task("There")
    transitions.pause(operator, a_task("Held").code)
    for _ in range(2):
        heads = {column.key: column.count for column in Board(Filters()).heads()}
        assert (heads["ready"], heads["on_hold"], heads["done"]) == (4, 1, 0)
        assert Board(Filters(board=venture.slug)).column("ready").count == 3
        log.fold_counts()


def test_under_a_filter_a_column_counts_what_passes(monkeypatch):
    for n in range(4):
        a_task(f"Lamp {n}")
    a_task("Chair")
    assert Board(Filters(q="lamp")).column("ready").count_text == "4"
    monkeypatch.setattr(board, "COUNTED", 3)
    assert Board(Filters(q="lamp")).column("ready").count_text == "3+"


# ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def shown_under(**filters) -> set[str]:
    under = Board(Filters(**filters))
    return {code for key in under.keys for code in codes(under.column(key))}


def test_filters_narrow_by_text_code_tag_priority_and_venture(venture):
    one = a_task("Wash the 100 % wool", tags=["laundry", "soft"], priority=URGENT, venture=venture)
    two = a_task("Wash the car", tags=["soft"], priority=LOW)
    assert shown_under(q="WASH") == {one.code, two.code}
    assert shown_under(q="100 %") == {one.code}
    assert shown_under(q=two.code[:5]) == {two.code}
    assert shown_under(tags=("soft",)) == {one.code, two.code}
    assert shown_under(tags=("soft", "laundry")) == {one.code}
    assert shown_under(tags=("sof",)) == set()
    assert shown_under(priorities=("urgent", "high")) == {one.code}
    assert shown_under(ventures=(venture.slug,)) == {one.code}
    assert shown_under(board=venture.slug) == {one.code}
    assert shown_under(ventures=("nowhere",)) == set()


@pytest.mark.parametrize("tag", ["é", "日本", 'a"b', "50%", "a_b", "back\\slash"])
def test_a_tag_is_found_whatever_is_in_it(tag):
    with_tag, _ = a_task("With", tags=[tag]), a_task("Without", tags=["50", "axb", "backslash"])
    assert shown_under(tags=(tag,)) == {with_tag.code}


def test_the_assignee_filter_finds_what_is_meant_for_in_hand_and_handed_in_by_somebody(ada, bob, operator):
    meant = a_task("Meant", assignee=ada.agent)
    held, handed, other, free = (a_task(title) for title in ("Held", "Handed in", "Other", "Free"))
    claimed(ada, held)
    transitions.complete(ada, handed.code, fence(claimed(ada, handed)))
    claimed(bob, other)
    assert shown_under(assignees=("ada",)) == {meant.code, held.code, handed.code}
    assert shown_under(assignees=("-",)) == {free.code}
    assert shown_under(assignees=("-", "bob")) == {free.code, other.code}


def test_cancelled_shows_behind_its_filter_only(operator):
    task = a_task()
    transitions.cancel(operator, task.code)
    assert shown_under() == set()
    assert shown_under(cancelled=True) == {task.code}
    assert Board(Filters()).places_of([task.code]) == []
    assert [place.column for place in Board(Filters(cancelled=True)).places_of([task.code])] == ["cancelled"]


def test_a_filtered_board_says_which_of_some_cards_it_shows():
    lamp, chair = a_task("Lamp"), a_task("Chair")
    places = Board(Filters(q="lamp")).places_of([lamp.code, chair.code, "zzzzzzzz"])
    assert [place.code for place in places] == [lamp.code]


def test_what_an_address_asks_for_is_read_and_written_back():
    asked = QueryDict(
        "q=a%00b&venture=x&assignee=ada&assignee=-&priority=urgent&priority=nonsense&tag=t&state=failed&state=gone&deadline=overdue&cancelled=1"
    )
    read = forms.filters_from(asked)
    assert read == Filters("", "ab", ("x",), ("ada", "-"), ("urgent",), ("t",), ("failed",), ("overdue",), True)
    assert forms.filters_from(QueryDict(read.query())) == read
    assert forms.filters_from(asked, "apollo").venture_slugs == ("apollo",)


# ── places and cards ────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_status_has_a_column():
    assert {status for _, statuses in COLUMNS.values() for status in statuses} == set(STATUSES)


def test_the_key_of_a_place_changes_with_everything_the_card_shows(ada, operator, venture):
    task = a_task(venture=venture, assignee=ada.agent)

    def key():
        return Board(Filters()).places_of([task.code])[0].key

    seen = [key()]
    transitions.edit(operator, task.code, {"title": "Renamed"})
    seen.append(key())
    catalogue.change(DIRECTOR, venture, {"icon": "🪁"})
    seen.append(key())
    roster.change(operator, ada.agent, {"avatar": "🦊"})
    seen.append(key())
    lease = fence(claimed(ada, task))
    seen.append(key())
    Task.objects.filter(pk=task.pk).update(heartbeat_at=log.now() + timedelta(seconds=5))
    seen.append(key())
    transitions.progress(ada, task.code, lease, percent=3)
    seen.append(key())
    assert len(set(seen)) == len(seen)


def test_a_card_shows_who_works_how_far_it_is_and_what_it_cost(ada):
    task = a_task(estimated_cost_micro_usd=600_000, tags=["a", "b", "c", "d"])
    assert card_of(task).cost == "~$0.60"
    lease = fence(claimed(ada, task))
    transitions.progress(
        ada, task.code, lease, percent=64, step="Step 5 of 8", total=Spent(420_000, tokens_in=18_000, tokens_out=230)
    )
    card = card_of(task)
    assert (card.face, card.face_state, card.percent, card.step) == ("Ada", "busy", 64, "Step 5 of 8")
    assert (card.tokens, card.cost, card.tags, card.tags_hidden) == ("18.2k", "$0.42", ["a", "b", "c"], 1)
    assert card.lease_seconds == 300
    assert card.lease_expires_at.endswith("Z")
    transitions.complete(ada, task.code, lease)
    done = card_of(task)
    assert (done.column, done.face, done.face_state) == ("done", "Ada", "still")
    assert done.lease_expires_at == "" and done.heartbeat_at == "" and done.since


def test_a_card_in_the_hands_of_a_person_shows_the_person(operator):
    task = a_task()
    transitions.start(operator, task.code)
    assert (card_of(task).face, card_of(task).face_state) == ("olivia", "person")


def test_a_card_on_hold_says_why(ada, operator):
    before = a_task("Before")
    waits = a_task("Waits", depends_on=[before])
    asks, paused, fails = a_task("Asks"), a_task("Paused"), a_task("Fails")
    transitions.block(operator, asks.code, kind="needs_input", reason="Which colour?")
    transitions.pause(operator, paused.code, reason="until Monday")
    for _ in range(3):
        Task.objects.filter(pk=fails.pk).update(not_before=None, offered=True)
        transitions.fail(ada, fails.code, fence(claimed(ada, fails)), error="no")
    assert [(card_of(task).reason, card_of(task).reason_tone) for task in (waits, asks, paused, fails)] == [
        ("Blocked by 1 open task", ""),
        ("Needs an answer: Which colour?", "ask"),
        ("Paused: until Monday", "warn"),
        ("Failed 3 times", "bad"),
    ]


def test_a_deadline_is_shown_while_the_task_is_open(ada):
    task = a_task(deadline=log.now() + timedelta(days=2))
    assert card_of(task).deadline
    transitions.complete(ada, task.code, fence(claimed(ada, task)))
    assert not card_of(fresh(task)).deadline
