"""The board as it was: held against what was really there at each line of the log, and honest about what was pruned."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.test import Client

from mission_control import log
from mission_control.actors import system
from mission_control.keeping import retention
from mission_control.models import Activity
from tasks import transitions
from tasks.models import Task
from tasks.pages import past
from tasks.pages.past import Past, line_at
from tasks.vocabulary import HIGH, PRIORITIES, URGENT
from tests.conftest import DIRECTOR, a_task, claimed, fence
from tests.mission_control.keeping.test_retention import aged, sealed
from ventures import catalogue

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def rebuilt(seq: int, venture: str = "") -> dict[str, tuple[str, str, str, list[str]]]:
    past = Past(seq, venture)
    return {
        card.code: (card.status, card.title, card.priority, card.tags)
        for column in past.columns for card in past.cards(column)
    }  # fmt: skip


def there(venture: str = "") -> dict[str, tuple[str, str, str, list[str]]]:
    tasks = Task.objects.filter(venture__slug=venture) if venture else Task.objects.all()
    return {task.code: (task.status, task.title, PRIORITIES[task.priority], task.tags) for task in tasks}


def a_story(operator, ada, venture):
    """Each step as it happens; yields after every one."""
    one, two = a_task("One", tags=["a"]), a_task("Two", venture=venture, status="inbox")
    yield
    transitions.edit(operator, one.code, {"title": "One, renamed", "priority": URGENT, "tags": ["a", "b"]})
    yield
    transitions.move(operator, two.code, "ready")
    yield
    claim = claimed(ada, one)
    yield
    transitions.progress(ada, one.code, fence(claim), percent=40, step="Half of it")
    yield
    transitions.edit(operator, two.code, {"venture": catalogue.default(), "assignee": ada.agent})
    yield
    transitions.complete(ada, one.code, fence=fence(claim), summary="Done.", review=True)
    transitions.pause(operator, two.code, reason="Wait for Monday.")
    yield
    transitions.accept(operator, one.code)
    yield
    transitions.delete(operator, two.code)
    yield
    transitions.reopen(operator, one.code)
    yield


def test_every_moment_comes_back_as_it_was(operator, ada, venture):
    moments = []
    for _ in a_story(operator, ada, venture):
        moments.append((log.head(), there(), there(venture.slug)))
    for seq, whole, of_venture in moments:
        assert rebuilt(seq) == whole
        assert rebuilt(seq, venture.slug) == of_venture


def test_a_card_shows_who_was_at_it_how_far_it_was_and_why_it_stood(operator, ada, venture):
    seqs = []
    for _ in a_story(operator, ada, venture):
        seqs.append(log.head())

    def card(seq: int, title: str):
        past = Past(seq)
        return next(card for column in past.columns for card in past.cards(column) if card.title == title)

    working = card(seqs[4], "One, renamed")
    assert (working.face, working.percent, working.step) == ("Ada", 40, "Half of it")
    assert card(seqs[3], "One, renamed").percent is None
    assert card(seqs[6], "Two").reason == "Paused: Wait for Monday."
    assert card(seqs[6], "One, renamed").face == "Ada"


def test_counts_are_true_beyond_the_cards_that_are_shown(operator):
    transitions.create_many(DIRECTOR, [{"title": f"Task {n}", "status": "inbox"} for n in range(120)])
    column = next(column for column in Past(log.head()).columns if column.key == "inbox")
    assert (column.count, column.count_text, column.more) == (120, "120", True)
    assert len(Past(log.head()).columns[0].places) == 0


@pytest.mark.parametrize(("folded", "far"), [(0, 1000), (4, 3), (100, 0)])
def test_a_moment_comes_back_the_same_by_every_way_to_it(operator, ada, venture, folded, far, monkeypatch):
    monkeypatch.setattr(past, "FIRST_CHUNK", 2)
    monkeypatch.setattr(past, "FAR", far)
    moments = []
    for step, _ in enumerate(a_story(operator, ada, venture)):
        if step == folded:
            log.fold_counts()
        moments.append((log.head(), there(), log.counts_by_venture()))
    a_crowd = [{"title": f"Task {n}"} for n in range(past.PAGE + 3)]
    transitions.create_many(DIRECTOR, a_crowd)  # more ready ones than are shown: no short way to them
    if folded > 10:
        log.fold_counts()
    for seq, whole, counts in moments:
        assert rebuilt(seq) == whole
        assert {slug: told for slug, told in log.counts_at(seq).items() if told} == counts


def test_what_began_below_the_prune_is_todays_with_later_changes_taken_back(operator, ada):
    old, gone = a_task("As it began", priority=HIGH, tags=["x"]), a_task("Was deleted")
    transitions.delete(operator, gone.code)
    aged()
    with log.unit():
        log.record("activity.logged", system("test"), message="Today")
    sealed()
    before = log.head()
    transitions.edit(operator, old.code, {"title": "As it is called now", "priority": URGENT, "tags": []})
    transitions.pause(operator, old.code)
    after = log.head()
    retention.prune(system("test"), timedelta(days=7))
    assert Past(1).seq == before and Past(1).pruned_at
    assert rebuilt(1) == rebuilt(before) == {old.code: ("ready", "As it began", "high", ["x"])}
    assert rebuilt(after) == {old.code: ("paused", "As it is called now", "urgent", [])}


def test_a_moment_is_found_by_its_time():
    for n in range(7):
        a_task(f"Task {n}")
        time.sleep(0.002)  # the database's clock counts milliseconds
    for seq, at in Activity.objects.filter(kind="task.created").values_list("seq", "at"):
        assert line_at(at) == seq
        assert line_at(at - timedelta(milliseconds=1)) == seq - 1
    assert line_at(log.now() + timedelta(days=1)) == log.head()


def test_any_number_of_lines_takes_the_same_few_statements(operator, django_assert_max_num_queries):
    for n in range(12):
        transitions.move(operator, a_task(f"Task {n}").code, "inbox")
    past = Past(log.head())
    with django_assert_max_num_queries(10):
        assert sum(len(past.cards(column)) for column in past.columns) == 12


def test_the_page_shows_a_moment_and_offers_nothing_that_changes(operator, viewer, venture):
    task = a_task("In the <past>", venture=venture)
    seq = log.head()
    transitions.cancel(operator, task.code)
    client = Client()
    client.force_login(viewer.user)
    assert "In the &lt;past&gt;" not in client.get("/").content.decode()
    page = client.get(f"/?at={seq}").content.decode()
    assert "In the &lt;past&gt;" in page and "data-board" not in page and "data-cards" not in page
    moment = Activity.objects.get(seq=seq).at.isoformat()
    part = client.get(f"/ventures/{venture.slug}/board", {"at": moment}, headers=PART).content.decode()
    assert f'data-seq="{seq}"' in part and "<html" not in part and f"card-{task.code}" in part
    assert client.get("/?at=yesterday").status_code == 400
    assert client.get("/ventures/nowhere/board?at=now").status_code == 404
    assert f'data-seq="{log.head()}"' in client.get("/?at=999999999999").content.decode()
