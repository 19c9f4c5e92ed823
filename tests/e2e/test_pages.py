"""All pages: the way in, the first run, agents and their keys, what agents write, the phone, paper, the weight."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.cast import PASSWORD
from tests.e2e.conftest import Person, Server

# ── the way in ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_run_makes_the_admin_once_and_connects_an_agent(browser: Browser, own_server: Server):
    context = browser.new_context()
    page = context.new_page()
    page.goto(own_server.url)
    expect(page.locator(".entrance__message")).to_contain_text("Nobody can sign in yet")
    page.goto(own_server.url + own_server.first_run)
    page.locator("#id_username").fill("nora")
    page.locator("#id_password1").fill("short")
    page.locator("#id_password2").fill("short")
    page.get_by_role("button", name="Create the account").click()
    expect(page.locator(".field__error")).to_contain_text("too short")
    page.locator("#id_password1").fill(PASSWORD)
    page.locator("#id_password2").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page).to_have_url(own_server.url + "/connect")
    page.get_by_label("Name").fill("ada")
    page.get_by_role("button", name="Connect", exact=True).click()
    line = page.locator("#line").inner_text()
    key = re.search(r"Bearer (mc_\w+)", line)[1]
    own_server.cast["keys"] = {"ada": key}
    assert own_server.call("ada", "GET", "/api/v1/agents/me")["agent"]["id"] == "ada"
    assert own_server.rows("SELECT username, role FROM mission_control_user") == [("nora", "admin")]
    page.goto(own_server.url + own_server.first_run)
    expect(page.locator(".entrance__text")).to_contain_text("was used already")
    context.close()


def test_a_wrong_password_is_refused_and_the_way_back_is_kept(browser: Browser, server: Server):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.url}/agents/ada")
    expect(page).to_have_url(re.compile(r"/account/login\?next=/agents/ada|%2Fagents%2Fada"))
    page.locator("#id_login").fill("olivia")
    page.locator("#id_password").fill("not it")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator(".field__error:visible")).to_contain_text("not correct")
    page.locator("#id_password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{server.url}/agents/ada")
    context.close()


def test_logging_out_asks_for_the_password_again(sign_in: Callable[..., Person], server: Server):
    oscar = sign_in("oscar")
    page = oscar.open("/agents")
    page.get_by_role("button", name="Account of oscar").click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/account/login"))
    page.goto(server.url)
    expect(page).to_have_url(re.compile("/account/login"))


# ── agents ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_shown_once_works_and_is_revoked(olivia: Person, server: Server):
    page = olivia.open("/agents/grace")
    page.get_by_label("Label").fill("laptop")
    page.get_by_role("button", name="Create key").click()
    secret = page.locator(".secret code").inner_text()
    server.cast["keys"]["laptop"] = secret
    assert server.call("laptop", "GET", "/api/v1/agents/me")["agent"]["id"] == "grace"
    page.reload()
    expect(page.locator(".keyring")).to_contain_text("laptop")
    assert secret not in page.content()
    page.get_by_role("button", name=f"Revoke mc_{secret[3:11]}").click()
    page.locator("#reason-ok").click()
    expect(page.locator(".keyring__key--over")).to_contain_text("laptop")
    with pytest.raises(OSError, match="401"):
        server.call("laptop", "GET", "/api/v1/agents/me")


def test_a_registered_agent_is_claimed_by_its_link_once(olivia: Person, server: Server):
    page = olivia.open(server.cast["claim"])
    expect(page.locator("h1")).to_have_text("Is this agent yours?")
    expect(page.locator(".claim")).to_contain_text("<script>alert(3)</script>")
    page.get_by_role("button", name="Claim Newcomer").click()
    expect(page).to_have_url(f"{server.url}/agents/{server.cast['pending']}")
    assert server.one("SELECT claimed_at IS NOT NULL FROM agents_agent WHERE slug = ?", server.cast["pending"]) == 1
    page.goto(server.url + server.cast["claim"])
    expect(page.locator(".entrance__text")).to_contain_text("was used already")


# ── for everybody ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_phone_has_the_rail_as_a_sheet_columns_to_swipe_and_the_task_as_the_page(sign_in: Callable[..., Person]):
    olivia = sign_in("olivia", viewport={"width": 390, "height": 844}, has_touch=True)
    code = olivia.new_task("On the phone", status="inbox", tags="phone")
    page = olivia.open("/?tag=phone")
    expect(page.locator("#rail")).to_be_hidden()
    page.get_by_role("button", name="Menu").tap()
    expect(page.locator("#rail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#rail")).to_be_hidden()
    width = page.locator("#column-inbox").bounding_box()["width"]
    assert 320 < width < 360
    olivia.card(code).locator("a").tap()
    expect(page.locator("#drawer")).to_be_visible()
    assert page.locator("#drawer").bounding_box()["width"] > 389
    page.locator("[data-drawer-close]").tap()
    expect(page.locator("#drawer")).to_be_hidden()


def test_the_theme_is_kept_and_the_system_decides_otherwise(sign_in: Callable[..., Person]):
    olivia = sign_in("olivia", color_scheme="light")
    page = olivia.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="System").click()
    assert page.evaluate(ground) == light


def test_on_paper_are_a_task_without_buttons_and_the_board_as_a_list(sign_in: Callable[..., Person]):
    olivia = sign_in("olivia", color_scheme="dark")
    code = olivia.new_task("On paper", status="inbox", tags="paper", description="word " * 4000)
    olivia.new_task("On paper as well", tags="paper")
    page = olivia.open("/?tag=paper")
    page.emulate_media(media="print")
    expect(page.locator(".card")).to_have_count(2)
    lefts = {
        box["x"] for box in page.locator(".card").evaluate_all("cards => cards.map(c => c.getBoundingClientRect())")
    }
    assert len(lefts) == 1
    expect(page.locator(".rail, .bar, .filters, button").filter(visible=True)).to_have_count(0)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(media="screen")
    olivia.card(code).locator("a").click()
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.locator(".stage")).to_be_hidden()
    expect(page.locator(".task__head .pill")).to_be_visible()
    expect(page.locator("#drawer").get_by_role("button").filter(visible=True)).to_have_count(1)  # the code
    expect(page.locator("#drawer .facts dt").filter(visible=True)).to_have_text(
        ["Assignee", "Priority", "Tags", "Time", "Cost", "Created"]
    )
    height = page.locator("#drawer").evaluate("drawer => drawer.clientHeight - drawer.scrollHeight")
    assert height == 0, "all of it goes onto the pages"


def test_every_card_action_is_reachable_by_keyboard(olivia: Person, server: Server):
    code = olivia.new_task("Keys only", status="inbox", tags="keys")
    page = olivia.open("/?tag=keys")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    button = page.get_by_role("button", name="Move to Ready")
    for _ in range(12):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.locator(".pill.s-ready")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", code) == "ready"


def test_the_whole_page_weighs_less_than_120_kilobytes(sign_in: Callable[..., Person], server: Server):
    oscar = sign_in("oscar")
    session = oscar.context.new_cdp_session(oscar.page)
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    oscar.open()
    oscar.page.wait_for_load_state("networkidle")
    assert len(sizes) > 20
    assert sum(sizes) < 120_000, sum(sizes)
