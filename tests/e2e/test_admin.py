"""The admin in a real browser: under the strict policy of the product, and with open boards that follow."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.conftest import Person, Server


def test_no_page_of_the_admin_breaks_the_content_security_policy(olivia: Person):
    """The complaints of every page are collected: `olivia` ends with none."""
    olivia.new_task("Something for the lists")
    page = olivia.open("/admin/", live=False)
    lists = page.locator("#content-main th a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert len(lists) >= 13
    for address in lists:
        answer = page.goto(olivia.server.url + address)
        assert answer is not None
        assert answer.status == 200
        first = page.locator("#result_list th a").first
        if first.count():
            first.click()
            expect(page.locator("#content h1")).to_have_text(re.compile("^(Change|View) "))
        page.goto(olivia.server.url + address)
        add = page.locator(".object-tools .addlink")
        if add.count():
            add.click()
            expect(page.locator("#content h1")).to_have_text(re.compile("^Add "))


def test_what_is_done_in_the_admin_shows_on_an_open_board(sign_in: Callable[..., Person], server: Server):
    oscar, olivia = sign_in("oscar"), sign_in("olivia")
    oscar.open()
    page = olivia.open("/admin/tasks/task/add/", live=False)
    page.locator("[name=title]").fill("Ordered from the office")
    page.locator(".field-venture .select2-selection").click()
    page.keyboard.type("shoe")
    page.locator(".select2-results__option", has_text="Shoe store").click()
    page.locator("[name=_save]").click()
    card = oscar.page.locator(".card", has_text="Ordered from the office")
    expect(oscar.column("ready").locator(card)).to_be_visible()

    code = card.get_attribute("data-code") or ""
    page.locator("tr", has_text="Ordered from the office").locator("input.action-select").check()
    page.locator("select[name=action]").select_option("pause")
    page.locator("input[name=reason]").fill("The office is closed")
    page.locator("button[name=index]").click()
    expect(page.locator(".messagelist")).to_have_text("1 paused.")
    expect(oscar.column("on_hold").locator(f"#card-{code}")).to_contain_text("The office is closed")

    page.locator("a", has_text="Ordered from the office").click()
    page.locator("[name=title]").fill("Ordered from the new office")
    page.locator("[name=_save]").click()
    expect(oscar.card(code)).to_contain_text("Ordered from the new office")
    assert server.one("SELECT title FROM tasks_task WHERE code = ?", code) == "Ordered from the new office"


def test_an_operator_has_no_admin(sign_in: Callable[..., Person]):
    oscar = sign_in("oscar")
    answer = oscar.page.goto(f"{oscar.server.url}/admin/")
    assert answer is not None
    assert answer.status == 403
