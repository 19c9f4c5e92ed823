"""Away and back: offline, asleep, a server that restarts. Afterwards the board equals the database."""

from __future__ import annotations

import signal
from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.conftest import Person, Server


def same(person: Person, server: Server) -> None:
    """The page shows what independent SQL says: every column's first cards in order, and true counts."""
    for column, codes in server.board().items():
        cards = person.column(column).locator(".card")
        expect(cards).to_have_count(len(codes))
        assert cards.evaluate_all("cards => cards.map(c => c.dataset.code)") == codes, column
    assert person.shown_counts() == server.counts()


def busy(person: Person, server: Server, rounds: int) -> None:
    """A stretch of everything that can happen to a board."""
    for number in range(rounds):
        code = person.new_task(f"Busy {number}", status=["inbox", "ready", "ready"][number % 3])
        if number % 3 == 1:
            lease = server.claim("ada", code)
            if number % 2:
                server.call("ada", "POST", f"/api/v1/tasks/{code}/complete", {**lease, "review": number % 5 == 0})
        elif number % 3 == 2:
            person.post(f"/tasks/{code}/pause", reason="later")
        else:
            person.post(f"/tasks/{code}/edit", priority="urgent")


def test_after_a_minute_offline_the_board_equals_the_database(sign_in: Callable[..., Person], own_server: Server):
    own_server.fill()
    olivia, oscar = sign_in("olivia", at=own_server), sign_in("oscar", at=own_server)
    oscar.open()
    busy(oscar, own_server, 8)
    first = oscar.new_task("Open all the while")
    page = olivia.open()
    olivia.card(first).locator("a").click()
    page.locator(f"#title-{first}").focus()
    page.keyboard.type("half ")
    olivia.context.set_offline(True)
    expect(page.locator("html")).to_have_attribute("data-connection", "waiting")
    expect(page.locator("[data-live-text]")).to_contain_text("reconnecting in")
    busy(oscar, own_server, 12)
    oscar.post(f"/tasks/{first}/to-inbox")
    olivia.context.set_offline(False)
    olivia.wait_until_live()
    same(olivia, own_server)
    same(oscar, own_server)
    assert "half " in page.locator(f"#title-{first}").input_value()


def test_a_page_that_was_away_for_long_says_it_is_stale(sign_in: Callable[..., Person], own_server: Server):
    own_server.fill()
    olivia = sign_in("olivia", at=own_server)
    olivia.page.clock.install()
    page = olivia.open()
    own_server.stop(signal.SIGKILL)
    expect(page.locator("[data-live-text]")).to_contain_text("reconnecting in")
    page.clock.fast_forward(30_000)
    expect(page.locator("html")).to_have_attribute("data-connection", "stale")
    expect(page.locator("[data-link-state]")).to_have_text("Not up to date")
    own_server.start()
    page.clock.fast_forward(20_000)
    olivia.wait_until_live()
    expect(page.locator("[data-link-state]")).to_be_empty()


def test_the_server_restarts_in_the_middle_and_the_board_goes_on(sign_in: Callable[..., Person], own_server: Server):
    own_server.fill()
    olivia = sign_in("olivia", at=own_server)
    page = olivia.open()
    busy(olivia, own_server, 4)
    same(olivia, own_server)
    own_server.stop(signal.SIGKILL)
    own_server.start()
    made = olivia.new_task("After the restart", status="inbox")
    olivia.wait_until_live()
    expect(olivia.column("inbox").locator(f"#card-{made}")).to_be_visible()
    same(olivia, own_server)
    own_server.stop(signal.SIGTERM)
    expect(page.locator("html")).not_to_have_attribute("data-connection", "live")
    own_server.start()
    olivia.wait_until_live()
    same(olivia, own_server)


def test_nothing_is_lost_when_the_server_is_killed_while_forms_are_open(
    sign_in: Callable[..., Person], own_server: Server
):
    own_server.fill()
    olivia = sign_in("olivia", at=own_server)
    code = olivia.new_task("Rewritten")
    page = olivia.open()
    olivia.card(code).locator("a").click()
    page.locator(f"[data-edit='edit-{code}']").click()
    page.keyboard.type("Half a description")
    page.locator("[data-drawer-close]").focus()
    page.keyboard.press("c")
    page.keyboard.type("Half a task")
    page.locator("#new-task [name=description]").fill("and what it needs")
    own_server.stop(signal.SIGKILL)
    expect(page.locator("html")).to_have_attribute("data-connection", "waiting")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toast--bad, #new-task .field__error:not(:empty)").first).to_be_visible()
    olivia.complaints.clear()  # that nobody answered
    own_server.start()
    olivia.wait_until_live()
    expect(page.locator("#new-task [name=title]")).to_have_value("Half a task")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#new-task")).to_be_hidden()
    assert own_server.rows("SELECT description FROM tasks_task WHERE title = 'Half a task'") == [("and what it needs",)]
    text = page.locator(f"#edit-{code} textarea")
    expect(text).to_have_value("Half a description")
    page.reload()  # what is half written outlives the page as well
    expect(text).to_have_value("Half a description")
    text.focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator(".task__description .prose")).to_contain_text("Half a description")
    assert own_server.one("SELECT description FROM tasks_task WHERE code = ?", code) == "Half a description"


def test_what_happens_while_a_card_is_in_the_hand_waits_for_the_drop(sign_in: Callable[..., Person]):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    oscar.open("/agents")
    held, other = (olivia.new_task(f"Hand {n}", status="inbox", tags="hand") for n in (1, 2))
    page = olivia.open("/?tag=hand")
    box = olivia.card(held).bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 90, steps=5)
    expect(page.locator(".card--lifted")).to_be_visible()
    oscar.post(f"/tasks/{other}/to-ready")
    oscar.post(f"/tasks/{held}/edit", title="Hand renamed")
    page.wait_for_timeout(900)
    expect(page.locator(".card--lifted")).to_be_visible()
    assert page.locator(f'[data-cards="inbox"] #card-{other}').count() == 1
    page.mouse.up()
    expect(olivia.column("ready").locator(f"#card-{other}")).to_be_visible()
    expect(olivia.card(held)).to_contain_text("Hand renamed")


def test_a_hidden_page_catches_up_when_it_is_looked_at_again(sign_in: Callable[..., Person]):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    oscar.open("/agents")
    code = olivia.new_task("Out of sight", status="inbox", tags="sight")
    page = olivia.open("/?tag=sight")
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    oscar.post(f"/tasks/{code}/to-ready")
    page.wait_for_timeout(400)
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    expect(olivia.column("ready").locator(f"#card-{code}")).to_be_visible()


def test_signing_out_elsewhere_ends_the_page(sign_in: Callable[..., Person], server: Server):
    victor = sign_in("victor")
    page = victor.open()
    victor.context.request.get(f"{server.url}/account/logout")
    token = next(c["value"] for c in victor.context.cookies() if c["name"] == "csrftoken")
    victor.context.request.post(
        f"{server.url}/account/logout", form={"csrfmiddlewaretoken": token}, headers={"Referer": server.url}
    )
    expect(page).to_have_url(f"{server.url}/account/login?next=%2F", timeout=15_000)
