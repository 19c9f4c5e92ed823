"""Approval, criteria and feedback in the browser, before the eyes of a second person."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


def test_a_start_is_approved_as_it_reads_and_an_edit_takes_that_back(
    olivia: Person, sign_in: Callable[..., Person], server: Server
):
    code = olivia.new_task("Read me first", description="Do it\u200b well", tags="gated")
    victor = sign_in("victor")
    victor.open("/?tag=gated")
    page = olivia.open(f"/tasks/{code}")
    page.get_by_role("button", name="Ask for it before the start").click()
    expect(victor.card(code)).to_contain_text("Waits for approval")
    expect(page.locator(".approval__hidden")).to_have_text("U+200B ZERO WIDTH SPACE")
    expect(page.locator(".approval")).to_contain_text("Read me first")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert violations(page) == []
    page.get_by_role("button", name="Approve this text").click()
    expect(page.locator(".approval")).to_contain_text("olivia approved what will be read")
    expect(victor.card(code)).not_to_contain_text("Waits for approval")
    page.locator(f"#add-criterion-{code}").fill("No drips")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Approve this text")).to_be_visible()
    expect(victor.card(code)).to_contain_text("Waits for approval")


def test_feedback_is_given_on_finished_work(olivia: Person):
    code = olivia.new_task("Rate me")
    page = olivia.open(f"/tasks/{code}")
    page.locator(f"#verb-start-{code} button").click()
    page.locator(f"#verb-complete-{code} button").click()
    page.locator("dialog[open]").get_by_role("button", name="Complete").click()
    page.locator(f"#quality-{code}").select_option("4")
    page.locator(f"#feedback-notes-{code}").fill("Neat")
    page.get_by_role("button", name="Give feedback").click()
    expect(page.get_by_text("Quality 4 of 5, time 5 of 5")).to_be_visible()
