"""The way in with a passkey and with codes, in a browser with an authenticator of its own, and the account page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.authenticator import code_of
from tests.e2e.axe import violations
from tests.e2e.cast import PASSWORD
from tests.e2e.conftest import Server


class Visitor:
    """A browser under the name localhost: passkeys exist for names, not for numbers."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server = page, server
        self.url = f"http://localhost:{server.port}"
        self.blocked: list[str] = []
        page.on("console", lambda m: self.blocked.append(m.text) if "Content Security Policy" in m.text else None)
        self.devices = page.context.new_cdp_session(page)
        self.devices.send("WebAuthn.enable")

    def plug_in(self) -> str:
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
                   "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip
        return self.devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def sign_in(self, name: str) -> None:
        self.page.goto(self.url + "/account/login")
        self.page.locator("#id_login").fill(name)
        self.page.locator("#id_password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def prove(self) -> None:
        """That it is still the same person: asked once for five minutes before the way in is changed."""
        expect(self.page.locator("h1")).to_have_text("Is it you?")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Confirm").click()

    def sign_out(self) -> None:
        self.page.goto(self.url + "/account/logout")
        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page).to_have_url(re.compile("/account/login"))


@pytest.fixture
def visitor(browser: Browser, own_server: Server) -> Iterator[Visitor]:
    own_server.fill()
    context = browser.new_context()
    visitor = Visitor(context.new_page(), own_server)
    yield visitor
    assert visitor.blocked == []
    context.close()


def test_a_passkey_is_added_signs_in_alone_and_after_the_password_and_is_removed(visitor: Visitor):
    page = visitor.page
    page.goto(visitor.server.url + "/account/login")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("[data-passkey-error]")).to_contain_text("localhost by its name")
    visitor.plug_in()
    page.goto(visitor.url + "/account/login")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("[data-passkey-error]")).to_contain_text("The device did not confirm it")
    assert violations(page) == []

    visitor.sign_in("oscar")
    page.get_by_role("button", name="Account of oscar").click()
    page.locator("#account-menu").get_by_role("link", name="Your account").click()
    page.get_by_role("link", name="Add a passkey").click()
    assert violations(page) == []
    visitor.prove()
    page.get_by_label("Name").fill("laptop")
    assert violations(page) == []
    page.get_by_role("button", name="Add").click()
    expect(page.locator("h1")).to_have_text("Recovery codes")
    assert violations(page) == []
    page.get_by_role("link", name="I have kept them").click()
    expect(page.locator(".way__row")).to_contain_text("laptop")
    assert violations(page) == []

    visitor.sign_out()
    page.goto(visitor.url + "/agents")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(visitor.url + "/agents")
    expect(page.get_by_role("button", name="Account of oscar")).to_be_visible()

    visitor.sign_out()
    visitor.sign_in("oscar")
    expect(page.locator("h1")).to_have_text("One more step")
    assert violations(page) == []
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("button", name="Account of oscar")).to_be_visible()

    page.goto(visitor.url + "/account")
    page.get_by_role("link", name="Remove laptop").click()
    visitor.prove()
    assert violations(page) == []
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("None yet. A passkey")).to_be_visible()
    changes = "SELECT data FROM mission_control_activity WHERE kind = 'user.changed' ORDER BY seq"
    told = [re.search("passkey_[a-z]+", str(data)) for (data,) in visitor.server.rows(changes)]
    assert [change[0] for change in told if change] == ["passkey_added", "passkey_removed"]
    logins = "SELECT data FROM mission_control_activity WHERE kind = 'login.succeeded' ORDER BY seq"
    assert ["webauthn" in str(data) for (data,) in visitor.server.rows(logins)] == [False, True, True]


def test_an_app_is_added_asked_for_required_and_a_recovery_code_stands_in_on_a_phone_in_both_themes(visitor: Visitor):
    page = visitor.page
    page.set_viewport_size({"width": 360, "height": 780})

    def fits(path: str) -> None:
        page.goto(visitor.url + path)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # no colour is on its way
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
            assert violations(page) == [], f"{path} {theme}"

    visitor.sign_in("oscar")
    fits("/account")
    page.get_by_role("link", name="Add an app").click()
    visitor.prove()
    expect(page.locator("h1")).to_have_text("Add an authenticator app")
    for path in ("/account/passkeys/add", "/account/password/change", "/account/authenticator/add"):
        fits(path)
    secret = page.locator("#authenticator_secret").inner_text()
    page.locator("#id_code").fill("000000")
    page.get_by_role("button", name="Add").click()
    expect(page.locator(".field__error")).to_contain_text("Incorrect code")
    assert page.locator("#authenticator_secret").inner_text() == secret
    page.locator("#id_code").fill(code_of(secret))
    page.get_by_role("button", name="Add").click()
    expect(page.locator("h1")).to_have_text("Recovery codes")
    recovery = page.locator(".entrance__codes code").first.inner_text()
    visitor.sign_out()
    visitor.sign_in("oscar")
    page.locator("#id_code").fill("000000")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator(".field__error")).to_contain_text("Incorrect code")
    page.locator("#id_code").fill(recovery)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("button", name="Account of oscar")).to_be_visible()

    visitor.sign_out()
    visitor.sign_in("olivia")
    fits("/settings/users")
    page.get_by_role("button", name="Require it").click()
    expect(page.locator("h1")).to_have_text("Add a second step")  # olivia has none herself
    fits("/account/second-step")
    page.goto(visitor.url + "/agents")
    expect(page).to_have_url(visitor.url + "/account/second-step")
    page.get_by_role("link", name="Add an authenticator app").click()
    visitor.prove()
    page.locator("#id_code").fill(code_of(page.locator("#authenticator_secret").inner_text()))
    page.get_by_role("button", name="Add").click()
    page.get_by_role("link", name="I have kept them").click()
    expect(page.locator("h1")).to_have_text("Your account")
