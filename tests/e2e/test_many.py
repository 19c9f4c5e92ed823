"""Many cards at once, a card carried by the keyboard, and a move taken back."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


def test_cards_are_selected_and_dealt_with_together_and_each_says_what_became_of_it(olivia: Person, server: Server):
    codes = [olivia.new_task(f"One of many {n}", status="inbox") for n in range(3)]
    page = olivia.open("/?q=One+of+many")
    bar = page.get_by_role("toolbar", name="Selected tasks")
    olivia.card(codes[0]).locator("a").focus()
    page.keyboard.press("x")
    expect(bar).to_be_visible()
    olivia.card(codes[2]).click(modifiers=["Shift"])
    expect(bar.locator(".bulk__count")).to_have_text("3 selected")
    assert len(page.context.pages) == 1  # no window for the card
    bar.get_by_label("Priority of the selected tasks").select_option("urgent")
    expect(page.locator(".p-urgent:visible")).to_have_count(3)
    expect(bar).to_be_hidden()
    olivia.post(f"/tasks/{codes[1]}/cancel")
    expect(olivia.card(codes[1])).to_have_count(0)
    stuck = olivia.new_task("One of many is at work", status="ready")
    server.claim("ada", stuck)
    expect(olivia.column_of(stuck)).to_have_attribute("data-cards", "in_progress")
    for code in (codes[0], stuck):
        olivia.card(code).click(modifiers=["Control"])
    bar.get_by_label("Move the selected tasks").select_option("inbox")
    expect(page.locator(".toast", has_text="2 tasks changed")).to_be_visible()
    for code in (codes[0], stuck):
        olivia.card(code).click(modifiers=["Control"])
    bar.get_by_label("Move the selected tasks").select_option("done")
    expect(page.locator(".toast--bad")).to_contain_text("0 tasks changed, 2 refused")
    expect(olivia.card(codes[0])).to_contain_text("Cannot")
    expect(bar.locator(".bulk__count")).to_have_text("2 selected")
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()


def test_a_card_is_carried_by_the_keyboard_and_the_move_is_taken_back(sign_in: Callable[..., Person], server: Server):
    olivia = sign_in("olivia")
    first, second = (olivia.new_task(f"Carried {n}", status="inbox") for n in range(2))
    page = olivia.open("/?q=Carried")
    voice = page.locator('.only-read[role="alert"]')
    card = olivia.card(first)
    card.locator("a").focus()
    page.keyboard.press(" ")
    expect(voice).to_contain_text("Carried 0 taken up, in Inbox")
    page.keyboard.press("ArrowDown")
    expect(voice).to_have_text("Inbox, place 2 of 2")
    page.keyboard.press("ArrowRight")
    expect(voice).to_have_text("Ready, place 1 of 1")
    page.keyboard.press("Escape")
    expect(olivia.column_of(first)).to_have_attribute("data-cards", "inbox")
    expect(card.locator("a")).to_be_focused()
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", first) == "inbox"
    page.keyboard.press(" ")
    expect(voice).to_contain_text("taken up")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    expect(voice).to_have_text("Put down in Ready")
    expect(page.locator(".toast", has_text="Moved to Ready")).to_be_visible()
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", first) == "ready"
    page.keyboard.press("Control+z")
    expect(page.locator(".toast", has_text="Taken back")).to_be_visible()
    expect(olivia.column_of(first)).to_have_attribute("data-cards", "inbox")
    assert olivia.shown()["inbox"] == [first, second]
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", first) == "inbox"
    page.keyboard.press(" ")
    expect(voice).to_contain_text("taken up")
    for _ in range(5):  # past Ready, Assigned, In progress and On hold: nobody hands in what nobody has begun
        page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    expect(page.locator(".toast--bad")).to_be_visible()
    expect(voice).to_contain_text("Refused")
    expect(olivia.column_of(first)).to_have_attribute("data-cards", "inbox")


def test_rows_and_a_list_stand_in_the_address_and_are_live(olivia: Person, server: Server):
    first = olivia.new_task("Arranged 1", priority="urgent")
    page = olivia.open("/?q=Arranged")
    page.locator("#chip-display").click()
    page.get_by_label("Rows by priority").check()
    expect(page).to_have_url(f"{server.url}/?q=Arranged&group=priority")
    expect(page.locator("#lane-priority-urgent .lane__head")).to_contain_text("1 open")
    second = olivia.new_task("Arranged 2", priority="low", status="inbox")
    expect(page.locator("#lane-priority-low [data-cards='inbox']").locator(f"#card-{second}")).to_be_visible()
    olivia.card(second).locator("a").focus()
    page.keyboard.press(" ")
    expect(page.locator('.only-read[role="alert"]')).to_contain_text("taken up")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    expect(
        page.locator(f"#lane-priority-low [data-cards='ready'] #card-{second}:not(.card--pending)")
    ).to_have_attribute("data-status", "ready")
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", second) == "ready"
    page.locator("#lane-priority-urgent .lane__head").click()
    expect(olivia.card(first)).to_be_hidden()
    page.reload()
    expect(olivia.card(second)).to_be_visible()
    expect(olivia.card(first)).to_be_hidden()
    assert violations(page) == []
    page.locator("#chip-display").click()
    page.get_by_label("List").check()
    rows = page.locator(".listing tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="Priority").click()
    expect(page).to_have_url(f"{server.url}/?q=Arranged&view=list&sort=-priority")
    expect(rows.first).to_have_attribute("data-code", first)
    olivia.post(f"/tasks/{first}/edit", title="Arranged anew")
    expect(rows.first).to_contain_text("Arranged anew")
    expect(page.get_by_role("link", name="Priority")).to_be_focused()
    assert violations(page) == []
    page.locator("#chip-display").click()
    page.get_by_label("Columns").check()
    expect(page).to_have_url(f"{server.url}/?q=Arranged")
    expect(olivia.column_of(second)).to_have_attribute("data-cards", "ready")
