"""The bell: its number follows what happens, its list leads to the task, and what was seen is read."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


def test_a_mention_rings_and_opening_its_task_reads_it(olivia: Person, server: Server):
    code = olivia.new_task("Name somebody")
    page = olivia.open("/")
    page.locator("#bell").click()
    if page.locator("#told button").count():
        page.locator("#told button").click()
    page.keyboard.press("Escape")
    expect(page.locator(".bell__count")).to_have_count(0)
    server.call("ada", "POST", f"/api/v1/tasks/{code}/comments", {"text": "@olivia which colour?"})
    expect(page.locator(".bell__count")).to_have_text("1")
    page.locator("#bell").click()
    row = page.locator(".told__row--new")
    expect(row).to_contain_text("Name somebody")
    expect(row).to_contain_text("mentions you · ada: @olivia which colour?")
    assert violations(page) == []
    row.click()
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    page.locator("#bell").click()
    expect(page.locator("#told")).to_contain_text("Name somebody")
    expect(page.locator(".told__row--new")).to_have_count(0)


def test_all_are_marked_as_read_at_once(olivia: Person, server: Server):
    code = olivia.new_task("Several words")
    page = olivia.open("/")
    for n in range(3):
        server.call("ada", "POST", f"/api/v1/tasks/{code}/comments", {"text": f"@olivia {n}"})
    expect(page.locator(".bell__count")).to_have_text("3")
    page.locator("#bell").click()
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.locator(".told__row--new")).to_have_count(0)
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator(".bell__count")).to_have_count(0)
