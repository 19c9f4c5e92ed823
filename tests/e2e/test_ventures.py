"""Ventures in the browser: one is made, its money moves by itself, its settings are saved; who only reads sees no form."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


def test_a_venture_is_made_gets_a_budget_and_shows_what_is_spent(
    olivia: Person, sign_in: Callable[..., Person], server: Server
):
    page = olivia.open("/ventures")
    page.get_by_role("button", name="New venture").click()
    page.locator("#venture-dialog").get_by_label("Name").fill("Moon base")
    page.locator("#venture-dialog").get_by_role("button", name="Create").click()
    expect(page).to_have_url(re.compile("/ventures/moon-base$"))
    page.get_by_label("Budget in USD").fill("10")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Saved")).to_be_visible()
    expect(page.locator(".budget")).to_contain_text("$10.00 left")
    victor = sign_in("victor")
    seen = victor.open("/ventures")
    code = olivia.new_task("Dig", venture="moon-base")
    lease = server.claim("ada", code)
    server.call("ada", "POST", f"/api/v1/tasks/{code}/complete", {**lease, "cost": "8.50", "summary": "Dug"})
    expect(page.locator(".budget")).to_contain_text("$1.50 left")
    expect(page.locator("tr", has_text=code)).to_contain_text("$8.50")
    expect(page.get_by_text("1 task finished")).to_be_visible()
    expect(seen.locator("#venture-moon-base .budget--warn")).to_contain_text("$1.50 left")
    victor.open("/ventures/moon-base")
    expect(seen.locator("form.adjust")).to_have_count(0)
    page.get_by_text("Repository and limits").click()
    for shown in (page, seen):
        assert violations(shown) == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
    page.goto(f"{server.url}/ventures")
    assert violations(page) == []
    page.locator("#venture-moon-base").get_by_role("link", name="Board").click()
    expect(page).to_have_url(re.compile("/ventures/moon-base/board"))
