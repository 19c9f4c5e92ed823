"""Full text search: what it finds on both databases, and that its index follows every change."""

import pytest
from django.db import connection

from tasks import search, transitions
from tasks.models import Task
from tests.conftest import DIRECTOR, a_task

pytestmark = pytest.mark.django_db


def found(text: str) -> set[str]:
    return set(Task.objects.matching(text).values_list("title", flat=True))


def test_all_words_must_be_there_and_their_beginnings_suffice():
    a_task("Fix the login_page", description="It crashes on Größe 42, see RFC-1234 and v1.2.3")
    a_task("Login for agents")
    for text, titles in (
        ("login", {"Fix the login_page", "Login for agents"}),
        ("LOG", {"Fix the login_page", "Login for agents"}),
        ("login fix", {"Fix the login_page"}),
        ("page", {"Fix the login_page"}),
        ("größ", {"Fix the login_page"}),
        ("1234", {"Fix the login_page"}),
        ("rfc-1234", {"Fix the login_page"}),
        ("agents crash", set()),
        ("ogin", set()),
        ("  ", set()),
        ("!?", set()),
    ):
        assert found(text) == titles, text


def test_the_beginning_of_an_id_finds_its_task():
    task = a_task("Plain")
    assert found(task.code) == found(task.code[:4]) == found(task.code.upper()) == {"Plain"}


def test_the_index_follows_every_change():
    task = a_task("Alpha", description="beta")
    transitions.edit(DIRECTOR, task.code, {"title": "Gamma"})
    assert (found("alpha"), found("gamma"), found("beta")) == (set(), {"Gamma"}, {"Gamma"})
    transitions.edit(DIRECTOR, task.code, {"description": "delta"})
    assert (found("beta"), found("delta")) == (set(), {"Gamma"})
    transitions.delete(DIRECTOR, task.code)
    assert found("gamma") == set()
    again = a_task("Epsilon")
    assert found("epsilon") == {again.title}


def test_a_missing_index_is_made_anew_with_what_is_there():
    a_task("Alpha")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("DROP TRIGGER tasks_words_added ON tasks_task")
        else:
            cursor.execute("DROP TRIGGER tasks_words_added")
    a_task("Beta")
    assert found("beta") == set()
    search.keep_index()
    assert (found("alpha"), found("beta")) == ({"Alpha"}, {"Beta"})
    a_task("Gamma")
    assert found("gamma") == {"Gamma"}


def test_a_search_does_not_read_every_task():
    for n in range(3):
        a_task(f"Title {n}")
    plan = Task.objects.matching("title").explain()
    if connection.vendor == "sqlite":
        assert "SCAN tasks_words VIRTUAL TABLE INDEX" in plan and "SCAN tasks_task" not in plan
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
        assert "tasks_words_index" in Task.objects.matching("title").explain()
