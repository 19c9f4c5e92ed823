"""The page of notifications: a person adds channels, tries one, and says what is told there and when."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person

# No push service can be reached from here: the browser answers as if one had.
SUBSCRIBED = """
Notification.requestPermission = async () => "granted";
PushManager.prototype.subscribe = async ({ applicationServerKey }) => ({
  endpoint: "https://push.example.net/device",
  keys: { auth: "BTBZMqHH6r4Tts7J_aSIgg", p256dh: applicationServerKey },
});
"""


def test_a_person_says_where_and_when_to_be_told(olivia: Person):
    olivia.context.add_init_script(SUBSCRIBED)
    page = olivia.open("/")
    page.locator("#bell").click()
    page.get_by_role("link", name="Where and when you are told").click()
    expect(page.locator("#channels")).to_contain_text("Only the bell tells you so far")
    expect(page.locator("#way-email")).to_be_disabled()
    assert violations(page) == []

    page.get_by_role("button", name="Turn on").click()
    phone = page.locator(".channel", has_text="push.example.net")
    expect(phone).to_be_visible()
    expect(phone).to_contain_text("Chrome on Linux")

    page.locator("#way-url").fill("file:///etc/passwd")
    page.get_by_role("button", name="Add channel URL").click()
    expect(page.locator("#toasts")).to_contain_text("Begin with the scheme of a service")
    page.locator("#way-url").fill("json://127.0.0.1:9/geheim")
    page.get_by_role("button", name="Add channel URL").click()
    chat = page.locator(".channel", has_text="json://127.0.0.1")
    expect(chat).to_contain_text("Nothing sent yet")
    expect(page.locator("#way-url")).to_have_value("")
    expect(page.locator("body")).not_to_contain_text("geheim")

    chat.get_by_role("button", name="Send a test").click()
    expect(chat).to_contain_text("The test did not arrive. 127.0.0.1")
    expect(chat).to_contain_text("not a public address")
    chat.get_by_label("Mention").uncheck()
    expect(chat.get_by_label("Mention")).not_to_be_checked()
    page.locator("[name=digest]").select_option("daily")
    page.locator("[name=quiet_from]").fill("22:00")
    page.locator("[name=quiet_until]").fill("07:00")
    page.locator("#times").get_by_label("Failed").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#times")).to_contain_text("Saved.")
    assert violations(page) == []

    page.reload()
    expect(chat.get_by_label("Mention")).not_to_be_checked()
    expect(chat.get_by_label("Failed")).to_be_checked()
    expect(page.locator("[name=digest]")).to_have_value("daily")
    expect(page.locator("[name=quiet_until]")).to_have_value("07:00")
    expect(page.locator("#times").get_by_label("Failed")).to_be_checked()
    for row in (phone, chat):
        row.get_by_role("button", name="Remove").click()
        page.locator("#reason-ok").click()
        expect(row).to_have_count(0)
