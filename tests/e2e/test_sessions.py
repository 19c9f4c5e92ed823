"""All runs in the browser: live ones on top, by themselves; the filter stands in the address."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


def test_a_run_appears_while_it_is_live_goes_down_when_it_is_over_and_filters_narrow(olivia: Person, server: Server):
    page = olivia.open("/sessions")
    live, over = page.locator("section:has(#runs-live)"), page.locator("section:has(#runs-over)")
    code = olivia.new_task("Run along")
    lease = server.claim("ada", code)
    expect(live).to_contain_text("Run along")
    server.call("ada", "POST", f"/api/v1/tasks/{code}/complete", {**lease, "summary": "Ran"})
    expect(over).to_contain_text("Run along")
    expect(live).not_to_contain_text("Run along")
    page.get_by_label("State").select_option("failed")
    expect(over).not_to_contain_text("Run along")
    expect(page).to_have_url(re.compile("state=failed"))
    page.get_by_label("State").select_option("")
    page.locator("select[name=agent]").select_option("ada")
    over.get_by_role("link", name="Run along").click()
    expect(page.locator("#drawer .task__title")).to_have_value("Run along")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    page.reload()
    expect(page.locator("select[name=agent]")).to_have_value("ada")
    assert violations(page) == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
