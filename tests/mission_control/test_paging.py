"""Cursors: every row once, also while rows come and go; and only our own cursors."""

import pytest
from django.http import QueryDict

from mission_control.errors import Invalid
from mission_control.paging import page
from mission_control.query import CURSOR, LIMIT, Param, Query, flag, ordering, several, whole
from ventures.models import Venture

pytestmark = pytest.mark.django_db
ORDERS = {"name": "name", "created_at": None, "priority": "priority"}


@pytest.fixture(autouse=True)
def ventures():
    Venture.objects.bulk_create(Venture(name=f"V{n % 3}", slug=f"v{n:02}", priority=n % 4) for n in range(20))


def walked(order, limit=3, between=lambda: None):
    seen, cursor = [], None
    while True:
        found = page(
            Venture.objects.all(), {"ordering": order, "limit": limit, "cursor": cursor}, orders=ORDERS, default="name"
        )
        seen += [venture.slug for venture in found.items]
        if not found.next:
            return seen
        cursor = found.next
        between()


@pytest.mark.parametrize("order", ["name", "-name", "created_at", "-created_at", "priority", "-priority"])
def test_every_row_comes_once_in_order(order):
    seen = walked(order)
    assert len(seen) == len(set(seen)) == Venture.objects.count()
    name, turned = order.removeprefix("-"), order.startswith("-")
    column = {"created_at": "pk"}.get(name, name)
    keys = [getattr(Venture.objects.get(slug=slug), column) for slug in seen]
    assert keys == sorted(keys, reverse=turned)


def test_rows_that_come_and_go_do_not_shift_the_pages():
    numbers = iter(range(100))

    def disturb():
        n = next(numbers)
        Venture.objects.create(name="A", slug=f"new{n}")
        Venture.objects.filter(slug=f"v{n:02}").delete()

    seen = walked("created_at", between=disturb)
    assert len(seen) == len(set(seen))
    assert {f"v{n:02}" for n in range(10, 20)} <= set(seen)


@pytest.mark.parametrize("cursor", ["x", "", "=", "ä", "AAAA", "a" * 800, "W10", "bnVsbA=="])
def test_a_cursor_that_is_not_ours_is_refused(cursor):
    if not cursor:
        return
    with pytest.raises(Invalid) as refusal:
        page(Venture.objects.all(), {"cursor": cursor}, orders=ORDERS, default="name")
    assert refusal.value.details[0]["field"] == "cursor"


def test_a_cursor_belongs_to_its_order_and_cannot_be_changed():
    found = page(Venture.objects.all(), {"limit": 2}, orders=ORDERS, default="name")
    with pytest.raises(Invalid):
        page(Venture.objects.all(), {"cursor": found.next, "ordering": "-name"}, orders=ORDERS, default="name")
    swapped = found.next[:20] + ("A" if found.next[20] != "A" else "B") + found.next[21:]
    with pytest.raises(Invalid):
        page(Venture.objects.all(), {"cursor": swapped}, orders=ORDERS, default="name")


def test_parameters_are_known_by_name_and_given_once():
    query = Query(
        Param("n", whole(0, 9), ""),
        Param("on", flag, "", also=("an",)),
        Param("l", several(whole()), ""),
        ordering("a"),
        LIMIT,
        CURSOR,
    )
    assert query.read(QueryDict("n=3&an=false&l=1,2,,3&ordering=-a&limit=200")) == {
        "n": 3, "on": False, "l": [1, 2, 3], "ordering": "-a", "limit": 200,
    }  # fmt: skip
    for given in ("x=1", "n=1&n=2", "on=1&an=1", "n=10", "n=-1", "n=1e3", "n=٣", "n=", "on=maybe", "l=a", "ordering=b",
                  "limit=0", "limit=201", "limit=99999999999999999999", "cursor=%00", "l=" + "1," * 1001):  # fmt: skip
        with pytest.raises(Invalid):
            query.read(QueryDict(given))
