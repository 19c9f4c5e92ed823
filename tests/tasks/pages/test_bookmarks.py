"""Saved views of the board: one's own, shared ones, and what is no view."""

import pytest
from django.test import Client

from mission_control.errors import Invalid, NotAllowed, NotThere
from mission_control.models import Activity
from tasks.pages import bookmarks

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true", "HX-Current-URL": "http://testserver/ventures/shop/board?q=boots&at=3&group=priority"}


def names(actor) -> list[str]:
    return [view.name for view in bookmarks.of(actor)]


def test_a_view_is_ones_own_until_it_is_shared(operator, viewer):
    bookmarks.keep(viewer, "Mine", "/?q=boots")
    assert (names(viewer), names(operator)) == (["Mine"], [])
    assert not Activity.objects.filter(kind="view.saved").exists()
    bookmarks.keep(operator, "Late", "/?deadline=overdue&view=list", shared=True)
    assert (names(viewer), names(operator)) == (["Late", "Mine"], ["Late"])
    assert Activity.objects.get(kind="view.saved").data == {
        "address": "/?deadline=overdue&view=list", "shared": True,
    }  # fmt: skip
    with pytest.raises(NotAllowed):
        bookmarks.keep(viewer, "Ours", "/", shared=True)


def test_saving_under_the_same_name_changes_the_view(viewer):
    bookmarks.keep(viewer, "Mine", "/?q=boots")
    bookmarks.keep(viewer, "Mine", "/?q=shoes&codes=x&loaded=ready:3")
    assert [view.url for view in bookmarks.of(viewer)] == ["/?q=shoes"]


def test_an_operator_deletes_what_is_shared_and_nobody_anothers_own(operator, viewer, admin):
    mine = bookmarks.keep(viewer, "Mine", "/")
    shared = bookmarks.keep(admin, "Ours", "/", shared=True)
    with pytest.raises(NotThere):
        bookmarks.delete(operator, mine.pk)
    with pytest.raises(NotAllowed):
        bookmarks.delete(viewer, shared.pk)
    bookmarks.delete(operator, shared.pk)
    assert Activity.objects.filter(kind="view.deleted").count() == 1
    bookmarks.delete(viewer, mine.pk)
    assert names(viewer) == []


@pytest.mark.parametrize(
    "address",
    ["/admin/", "//evil.example/", "javascript:alert(1)", "/ventures/../board", "/?q=" + "x" * 1001, "/tasks/a"],
)
def test_what_is_no_view_of_the_board_is_refused(address, viewer):
    with pytest.raises(Invalid):
        bookmarks.keep(viewer, "Odd", address)


def test_the_menu_keeps_what_the_board_shows_under_a_name(operator):
    client = Client()
    client.force_login(operator.user)
    assert "Save what is shown" in client.get("/views", headers=PART).content.decode()
    menu = client.post("/views/save", {"name": "Boots <b>", "shared": "1"}, headers=PART).content.decode()
    assert 'href="/ventures/shop/board?q=boots&amp;group=priority"' in menu and "Boots &lt;b&gt;" in menu
    elsewhere = {**PART, "HX-Current-URL": "http://testserver/inbox"}
    assert "Save what is shown" not in client.get("/views", headers=elsewhere).content.decode()
    assert client.post("/views/save", {"name": " "}, headers=PART).status_code == 400
    number = bookmarks.of(operator).get().pk
    assert "Boots" not in client.post(f"/views/{number}/delete", headers=PART).content.decode()
