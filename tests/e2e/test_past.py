"""The board as it was: a slider over the log that changes nothing."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.conftest import Person, Server


def test_a_slider_leads_through_the_past_and_back_to_now(olivia: Person, server: Server):
    code = olivia.new_task("Was in the inbox once", status="inbox")
    then = server.one("SELECT MAX(seq) FROM mission_control_activity")
    olivia.post(f"/tasks/{code}/cancel")
    page = olivia.open("/")
    page.get_by_role("link", name="History").click()
    slider = page.get_by_role("slider")
    slider.focus()
    expect(olivia.card(code)).to_have_attribute("data-status", "cancelled")
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(f"{server.url}/?at={then}")
    expect(olivia.card(code)).to_have_attribute("data-status", "inbox")
    expect(page.locator(".past__what")).to_contain_text("Was in the inbox once")
    expect(slider).to_be_focused()
    later = olivia.new_task("Made meanwhile", status="inbox")  # it reaches the page, which shows the past all the same
    page.keyboard.press("x")
    olivia.card(code).hover()
    expect(page.locator(".card__menu")).to_have_count(0)
    expect(olivia.card(later)).to_have_count(0)
    page.reload()
    expect(olivia.card(code)).to_have_attribute("data-status", "inbox")
    page.get_by_role("link", name="Back to now").click()
    expect(olivia.card(later)).to_be_visible()
    expect(olivia.card(code)).to_have_count(0)
