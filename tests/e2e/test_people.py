"""The people in the browser: one is invited, comes in by the link, gets another role, and is out at once when deactivated."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Browser, expect

from tests.e2e.axe import violations
from tests.e2e.cast import PASSWORD
from tests.e2e.conftest import Person, Server


def test_one_is_invited_comes_in_gets_another_role_and_is_out_within_seconds(
    sign_in: Callable[..., Person], browser: Browser, server: Server
):
    olivia = sign_in("olivia")
    page = olivia.open("/settings")
    page.get_by_role("navigation", name="Settings").get_by_role("link", name="Users").click()
    expect(page.locator("h1")).to_have_text("Users")
    olivia.wait_until_live()
    page.get_by_label("Name to sign in with").fill("olivia")
    page.get_by_role("button", name="Invite").click()
    expect(page.locator(".toasts")).to_contain_text("already exists")
    page.get_by_label("Name to sign in with").fill("nora")
    page.locator(".invite select").select_option("viewer")
    page.get_by_role("button", name="Invite").click()
    line = page.locator(".member", has_text="nora")
    expect(line).to_contain_text("invited")
    link = page.locator(".secret code").inner_text()
    assert re.fullmatch(rf"{server.url}/welcome/[\w-]{{32}}", link)
    expect(page.get_by_label("Name to sign in with")).to_have_value("")
    assert violations(page) == []

    context = browser.new_context(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    guest = context.new_page()
    guest.goto(link)
    for theme in ("light", "dark"):
        guest.emulate_media(color_scheme=theme)
        assert violations(guest) == []
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_label("The same again").fill(PASSWORD)
    guest.get_by_role("button", name="Set the password").click()
    expect(guest.get_by_role("status")).to_contain_text("Your password is set, nora")
    guest.locator("#id_login").fill("nora")
    guest.locator("#id_password").fill(PASSWORD)
    guest.get_by_role("button", name="Sign in", exact=True).click()
    expect(guest.locator("html")).to_have_attribute("data-connection", "live")
    expect(line).to_contain_text("Last sign-in")  # by itself
    expect(page.locator(".secret")).to_be_visible()

    line.get_by_role("button", name="Role of nora: Viewer").click()
    page.get_by_role("button", name="Operator steers the work").locator("visible=true").click()
    expect(line.get_by_role("button", name="Role of nora: Operator")).to_be_visible()
    guest.reload()
    expect(guest.locator("[data-new-task]").first).to_be_visible()

    line.get_by_role("button", name="More about nora").click()
    page.get_by_role("button", name="Deactivate").locator("visible=true").click()
    page.locator("#reason-dialog").get_by_role("button", name="Deactivate").click()
    expect(line).to_contain_text("deactivated")
    expect(guest.locator("html")).not_to_have_attribute("data-connection", "live", timeout=5000)
    guest.goto(server.url + "/agents")
    expect(guest).to_have_url(re.compile("/account/login"))
    context.close()

    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
