"""Settings in the browser: a webhook from its secret to its last delivery."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person


def test_a_webhook_is_made_tested_rotated_switched_off_and_deleted(olivia: Person):
    page = olivia.open("/settings/webhooks")
    page.get_by_label("Address").fill("https://hook.invalid/in")
    page.get_by_label("Name", exact=True).fill("Shop chat")
    page.get_by_role("button", name="Create webhook").click()
    expect(page.locator(".secret code")).to_have_text(re.compile("^whsec_"))
    expect(page.get_by_label("Address")).to_have_value("")
    assert violations(page) == []
    page.locator("#webhooks").get_by_role("link", name="Shop chat").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator(".hook--sent", has_text="webhook.test")).to_contain_text("dead", timeout=15_000)
    page.get_by_label("Kinds").fill("task.* agent")
    page.get_by_role("button", name="Rotate secret").click()
    page.locator("#reason-ok").click()
    expect(page.locator(".secret code")).to_have_text(re.compile("^whsec_"))
    expect(page.get_by_text("The old secret signs as well")).to_be_visible()
    expect(page.get_by_label("Kinds")).to_have_value("task.* agent")  # what is typed outlives the parts that come anew
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("There is no kind agent")
    page.get_by_text("What happened").first.click()
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_text("Switched off by olivia.")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.locator("#reason-ok").click()
    expect(page).to_have_url(re.compile("/settings/webhooks$"))
    expect(page.locator("#webhooks")).not_to_contain_text("Shop chat")
    page.goto(f"{olivia.server.url}/settings/circuits")
    assert violations(page) == []
