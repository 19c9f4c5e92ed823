"""The inbox in the browser: what needs a person comes and goes by itself, and is dealt with by single keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


@pytest.fixture
def inbox(own_server: Server, sign_in: Callable[..., Person]) -> Person:
    own_server.fill()
    olivia = sign_in("olivia", at=own_server)
    olivia.open("/inbox")
    return olivia


def hand_in(olivia: Person, title: str) -> str:
    code = olivia.new_task(title)
    lease = olivia.server.claim("ada", code)
    olivia.server.call("ada", "POST", f"/api/v1/tasks/{code}/complete", {**lease, "review": True, "summary": "Ready"})
    return code


def status(server: Server, code: str) -> str:
    return str(server.one("SELECT status FROM tasks_task WHERE code = ?", code))


def test_what_needs_a_person_comes_by_itself_and_is_dealt_with_by_keys(inbox: Person, own_server: Server):
    page = inbox.page
    rows, rail = page.locator("[data-ask-row]"), page.locator('.rail a[href="/inbox"] .count')
    expect(page.locator("#inbox")).to_contain_text("Nothing needs you")
    expect(rail).to_have_count(0)
    first, second, third = (hand_in(inbox, title) for title in ("First", "Second", "Third"))
    expect(rows).to_have_count(3)
    expect(rail).to_have_text("3")
    page.keyboard.press("j")
    expect(page.locator(f"#ask-review-{first} a")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator(f"#ask-review-{second} a")).to_be_focused()
    page.keyboard.press("a")
    expect(rows).to_have_count(2)
    expect(page.locator(f"#ask-review-{third} a")).to_be_focused()
    assert status(own_server, second) == "done"
    page.keyboard.press("r")
    page.locator("#reason-input").fill("r is only a letter here")
    page.locator("#reason-ok").click()
    expect(rows).to_have_count(1)
    expect(page.locator(f"#ask-review-{first} a")).to_be_focused()
    assert status(own_server, third) == "ready"
    page.keyboard.press("a")
    expect(page.locator("#inbox")).to_contain_text("Nothing needs you")
    expect(rail).to_have_count(0)


def test_what_is_alike_is_accepted_together_by_one_key(inbox: Person, own_server: Server):
    page = inbox.page
    codes = [hand_in(inbox, f"Alike {n}") for n in range(3)]
    expect(page.locator("[data-ask-row]")).to_have_count(3)
    expect(page.get_by_role("button", name="Accept all 3")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("j")
    page.keyboard.press("Shift+A")
    expect(page.locator("#reason-title")).to_have_text("Accept 3 tasks?")
    page.keyboard.press("Enter")
    expect(page.locator("#inbox")).to_contain_text("Nothing needs you")
    assert [status(own_server, code) for code in codes] == ["done"] * 3


def test_a_question_is_answered_over_the_list_and_the_task_opens_beside_it(inbox: Person, own_server: Server):
    page = inbox.page
    code = inbox.new_task("Paint the door")
    lease = own_server.claim("ada", code)
    ask = {**lease, "kind": "needs_input", "reason": "Which colour? <b>Red</b>?"}
    own_server.call("ada", "POST", f"/api/v1/tasks/{code}/block", ask)
    row = page.locator(f"#ask-question-{code}")
    expect(row).to_contain_text("Which colour? <b>Red</b>?")
    row.get_by_role("link").click()
    expect(page.locator("#drawer .task__title")).to_have_value("Paint the door")
    page.go_back()
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page).to_have_url(f"{own_server.url}/inbox")
    row.get_by_role("button", name="Answer").click()
    expect(page.locator("#reason-text")).to_contain_text("Which colour?")
    page.locator("#reason-input").fill("Green")
    page.locator("#reason-ok").click()
    expect(row).to_have_count(0)
    assert own_server.rows("SELECT message FROM mission_control_activity WHERE kind = 'task.unblocked'") == [("Green",)]


def test_a_start_is_read_over_the_list_and_approved_there(inbox: Person, own_server: Server):
    page = inbox.page
    code = inbox.new_task("Read me first", description="All of this")
    inbox.post(f"/tasks/{code}/edit", needs_approval="yes")
    row = page.locator(f"#ask-approval-{code}")
    expect(row).to_contain_text("Waits for approval")
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator("#drawer .approval__read")).to_contain_text("All of this")
    page.get_by_role("button", name="Approve this text").click()
    expect(row).to_have_count(0)
    assert own_server.one("SELECT approved_by FROM tasks_task WHERE code = ?", code) == "olivia"


def test_a_viewer_looks_on_and_axe_finds_nothing(inbox: Person, own_server: Server, sign_in: Callable[..., Person]):
    code = hand_in(inbox, "Look at me")
    victor = sign_in("victor", at=own_server, viewport={"width": 360, "height": 740})
    page = victor.open("/inbox")
    expect(page.locator(f"#ask-review-{code}")).to_be_visible()
    expect(page.locator(".ask__verbs")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []
    expect(inbox.page.locator(".ask__verbs button")).to_have_count(2)
    assert violations(inbox.page) == []
