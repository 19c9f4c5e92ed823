"""What people keep open all day: limits, saved views, marks that say more, and many tabs of one browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.conftest import Person, Server


def test_a_limit_is_set_at_its_count_and_a_full_column_says_so_to_all(olivia: Person):
    for number in range(2):
        olivia.new_task(f"Sorted {number}", status="inbox", venture="field-notes", tags="limited")
    page = olivia.open("/ventures/field-notes/board")
    count = page.locator("#head-inbox [data-limit]")
    count.click()
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    expect(count).to_have_class(re.compile("count--full"))
    expect(count).to_contain_text("2 / 2")
    expect(count).to_be_focused()
    other = olivia.context.new_page()
    other.goto(page.url)
    expect(other.locator("#head-inbox .count--full")).to_contain_text("2 / 2")
    count.click()
    page.get_by_role("button", name="No limit").click()
    expect(count).not_to_have_class(re.compile("count--full"))
    expect(other.locator("#head-inbox .count")).not_to_contain_text("/ 2")


def test_a_view_is_saved_under_a_name_and_opened_from_another_page(olivia: Person, server: Server):
    olivia.new_task("Kept in view", tags="kept")
    page = olivia.open("/?tag=kept&view=list")
    views = page.get_by_role("button", name="Saved views")
    views.click()
    page.get_by_label("Name of the view").fill("What I keep")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#views").get_by_role("link", name="What I keep")).to_be_visible()
    olivia.open("/agents")
    views.click()
    page.get_by_role("link", name="What I keep").click()
    expect(page).to_have_url(f"{server.url}/?tag=kept&view=list")
    expect(page.locator(".listing tbody tr")).to_have_count(1)


def test_a_card_says_what_it_waits_for_how_long_it_is_held_and_that_it_was_cancelled(olivia: Person, server: Server):
    first, second, third = (olivia.new_task(f"Marked {n}", tags="marked") for n in range(3))
    olivia.post(f"/tasks/{second}/dependencies/add", depends_on=first)
    server.claim("ada", first)
    olivia.post(f"/tasks/{third}/cancel")
    page = olivia.open("/?tag=marked")
    olivia.card(second).locator(".card__step").hover()
    expect(page.locator("#hover")).to_contain_text("Marked 0")
    expect(olivia.card(first).locator(".lease circle").last).not_to_have_attribute("stroke-dasharray", "0 100")
    expect(olivia.card(third)).to_have_count(0)
    page.locator("#chip-cancelled").click()
    expect(olivia.column_of(third)).to_have_attribute("data-cards", "cancelled")


def test_twelve_tabs_of_one_browser_are_all_live_and_their_titles_and_signs_say_how_much_waits(
    olivia: Person, server: Server
):
    code = olivia.new_task("Seen in every tab", tags="tabs")
    tabs = [olivia.context.new_page() for _ in range(12)]
    for tab in tabs:
        tab.goto(f"{server.url}/?tag=tabs")
    for tab in tabs:
        expect(tab.locator("html")).to_have_attribute("data-connection", "live")
    lease = server.claim("ada", code)
    server.call("ada", "POST", f"/api/v1/tasks/{code}/complete", {**lease, "review": True, "summary": "Ready"})
    for tab in tabs:
        expect(tab.locator(f"[data-cards='review'] #card-{code}")).to_be_visible()
        expect(tab).to_have_title(re.compile(r"^\(\d+\) "))
        expect(tab.locator('link[rel="icon"]')).to_have_attribute("href", re.compile("mark-waiting"))
    olivia.post(f"/tasks/{code}/accept")
    for tab in tabs:
        expect(tab.locator(f"[data-cards='done'] #card-{code}")).to_be_visible()
