"""The command palette: found by the keyboard, goes to anything, runs what the open task allows."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person


def opened(page: Page, words: str = "") -> None:
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    if words:
        page.keyboard.type(words)


def test_it_opens_a_task_over_the_board_and_remembers_it(olivia: Person):
    code = olivia.new_task("Polish the silver spoons")
    page = olivia.open("/")
    opened(page, "silver spoons")
    expect(page.locator("#palette [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    opened(page)
    expect(page.locator("#palette [data-heading=Recent] [role=option]").first).to_contain_text(
        "Polish the silver spoons"
    )


def test_it_runs_a_verb_of_the_open_task(olivia: Person):
    code = olivia.new_task("Hold this one")
    page = olivia.open(f"/tasks/{code}")
    opened(page, "pause")
    page.keyboard.press("Enter")
    page.locator("#reason-input").fill("Later")
    page.locator("#reason-ok").click()
    expect(page.locator(".drawer--page")).to_contain_text(re.compile("Paused", re.IGNORECASE))


def test_it_goes_to_pages_and_starts_a_new_task(olivia: Person):
    page = olivia.open("/")
    opened(page, "agents")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/agents$"))
    olivia.wait_until_live()
    opened(page, "new task")
    page.keyboard.press("Enter")
    expect(page.locator("#new-task")).to_be_visible()


def test_what_is_typed_ahead_of_a_part_that_still_loads_is_not_lost(olivia: Person):
    task = olivia.new_task("Typed ahead", venture="field-notes", status="ready")
    held: list[Route] = []
    page = olivia.open("/ventures/field-notes/board")
    page.route(re.compile(r"/(palette|limits|lifting)\b[^/]*\.js"), lambda route: held.append(route))

    def let_go() -> None:
        page.wait_for_timeout(50)
        held.pop().continue_()

    count = page.locator("#head-ready [data-limit]")
    count.click()
    page.keyboard.type("15")
    page.keyboard.press("Backspace")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    let_go()
    expect(count).to_contain_text("/ 12")
    olivia.card(task).locator("a").focus()
    for key in (" ", "ArrowLeft", " "):
        page.keyboard.press(key)
    let_go()
    expect(olivia.card(task)).to_have_attribute("data-status", "inbox")
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    let_go()
    expect(page.locator("#palette")).to_be_attached()
    expect(page.locator("#palette")).to_be_hidden()


def test_nothing_found_is_said_and_the_arrows_go_round(olivia: Person):
    page = olivia.open("/")
    opened(page, "qqqqzzzz")
    expect(page.locator(".palette__none")).to_have_text("Nothing is called that.")
    page.locator(".palette__input").fill("")
    expect(page.locator("#palette [role=option]").first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#palette [role=option]").last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()


def test_it_is_accessible(olivia: Person):
    page = olivia.open("/")
    opened(page, "te")
    assert violations(page) == []
