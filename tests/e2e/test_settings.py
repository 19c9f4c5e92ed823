"""Settings in the browser: a webhook from its secret to its last delivery."""

from __future__ import annotations

import re
import tarfile

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.cast import PASSWORD
from tests.e2e.conftest import Person, Server


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


def test_tasks_come_in_by_a_file_after_a_preview_and_all_goes_out_again(olivia: Person, server: Server):
    page = olivia.open("/settings/data")
    count = "SELECT COUNT(*) FROM tasks_task WHERE title = 'Buy <b>laces</b>'"
    rows = b"id,title,status\nA-1,Buy <b>laces</b>,ready\n"
    page.get_by_label("File").set_input_files({"name": "tasks.csv", "mimeType": "text/csv", "buffer": rows})
    report = page.locator("#import-report")
    page.get_by_role("button", name="Preview").click()
    expect(report).to_contain_text("1 would be created")
    expect(report).to_contain_text("Buy <b>laces</b>")
    assert server.one(count) == 0
    page.get_by_role("button", name="Import", exact=True).click()
    expect(report).to_contain_text("1 created")
    assert server.one(count) == 1
    assert violations(page) == []
    with page.expect_download() as taken:
        page.get_by_role("link", name="CSV").click()
    assert "Buy <b>laces</b>" in taken.value.path().read_text("utf-8-sig")
    page.get_by_role("button", name="Download a backup").click()  # it holds every key: first, is it really them?
    page.locator("[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/settings/data")
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download a backup").click()
    with tarfile.open(taken.value.path()) as archive:
        assert "manifest.json" in archive.getnames()
    assert server.one("SELECT COUNT(*) FROM mission_control_activity WHERE kind = 'backup.downloaded'") == 1


def test_a_key_is_found_among_all_and_revoked(olivia: Person, server: Server):
    olivia.post("/agents/grace/keys", label="to be lost", scopes="work")
    page = olivia.open("/settings/keys")
    key = page.locator("#all-keys .row", has_text="to be lost")
    key.get_by_role("button", name="Revoke").click()
    page.locator("#reason-ok").click()
    expect(page.get_by_role("region", name="Revoked or ended")).to_contain_text("to be lost")
    assert violations(page) == []
