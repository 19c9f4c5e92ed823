"""The task over the board and as a page of its own: opens, closes, edits in place, keeps what is being written."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Person, Server


def test_it_opens_over_the_board_and_back_closes_it(olivia: Person, server: Server):
    code = olivia.new_task("Open me", tags="open")
    page = olivia.open("/?tag=open")
    olivia.card(code).locator("a").click()
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    expect(page).to_have_url(f"{server.url}/tasks/{code}")
    expect(olivia.card(code)).to_have_class(re.compile("card--open"))
    expect(page).to_have_title(re.compile("Open me"))
    page.go_back()
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page).to_have_url(f"{server.url}/?tag=open")
    page.go_forward()
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    assert page.evaluate("document.activeElement.closest('.card')?.dataset.code") == code


def test_its_address_is_a_page_of_its_own(olivia: Person):
    code = olivia.new_task("A page", description="# Big\n\n- one\n- two")
    page = olivia.open(f"/tasks/{code}")
    expect(page.locator(".drawer--page .prose li")).to_have_count(2)
    page.locator(".tabs").get_by_text("Activity").click()
    expect(page.locator(".feed__item")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"\?tab=activity$"))
    page.reload()
    expect(page.locator(".feed__item")).to_contain_text("created it in Ready")


def test_an_unknown_task_is_a_page_that_says_so(olivia: Person):
    page = olivia.open("/tasks/zzzzzzzz", live=False)
    expect(page.locator("h1")).to_have_text("It is not there")


def test_title_priority_assignee_deadline_and_tags_are_edited_in_place(olivia: Person, server: Server):
    code = olivia.new_task("Before", status="assigned", tags="old")
    page = olivia.open("/?q=" + code)
    olivia.card(code).locator("a").click()
    page.locator(f"#title-{code}").fill("After")
    page.keyboard.press("Enter")
    expect(olivia.card(code).locator("h3")).to_have_text("After")
    page.locator(f"#priority-{code}").select_option("urgent")
    expect(olivia.card(code).locator(".p-urgent")).to_be_visible()
    page.locator(f"#assignee-{code}").select_option("grace")
    expect(olivia.card(code)).to_contain_text("grace")
    page.get_by_text("Set a deadline").click()
    page.locator(f"#deadline-{code}").fill("2031-05-04T12:30")
    page.locator(f"#deadline-{code}").blur()
    expect(olivia.card(code).locator("[data-due]")).to_be_visible()
    page.locator(f"#add-tag-{code}").fill("new")
    page.keyboard.press("Enter")
    expect(olivia.card(code).locator(".tag")).to_have_text(["old", "new"])
    page.get_by_role("button", name="Remove the tag old").click()
    expect(olivia.card(code).locator(".tag")).to_have_text(["new"])
    row = server.rows(
        "SELECT t.title, t.priority, a.slug, t.deadline, t.tags FROM tasks_task t"
        " JOIN agents_agent a ON a.id = t.assignee_id WHERE t.code = ?", code,
    )[0]  # fmt: skip
    offset = page.evaluate("new Date('2031-05-04T12:30').toISOString()")
    assert row[:3] == ("After", 3, "grace")
    assert row[4] == '["new"]'
    assert datetime.fromisoformat(row[3]) == datetime.fromisoformat(offset).replace(tzinfo=None)


def test_half_typed_text_survives_changes_by_others(sign_in: Callable[..., Person], server: Server):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    oscar.open("/agents")
    code = olivia.new_task("Keep", description="first", status="inbox")
    page = olivia.open(f"/tasks/{code}")
    page.locator(f"#title-{code}").focus()
    page.keyboard.press("End")
    page.keyboard.type(" what I type")
    page.locator(f"[data-edit=edit-{code}]").click()  # this saves the title: focus leaves it
    expect(page.locator(f"#drawer-{code}")).to_have_attribute("data-title", re.compile("what I type"))
    text = page.locator(f"#text-{code}")
    text.fill("second, not yet sent")
    page.locator(f"#depends-{code}").fill("half a co")
    text.focus()
    oscar.post(f"/tasks/{code}/edit", priority="high")
    oscar.post(f"/tasks/{code}/edit", title="Renamed by Oscar")
    expect(page.locator(f"#title-{code}")).to_have_value("Renamed by Oscar")
    expect(page.locator(f"#priority-{code}")).to_have_value("high")
    expect(text).to_have_value("second, not yet sent")
    expect(text).to_be_focused()
    expect(page.locator(f"#depends-{code}")).to_have_value("half a co")
    page.reload()
    expect(text).to_have_value("second, not yet sent")  # also after a reload
    page.locator(f"#edit-{code}").get_by_role("button", name="Save").click()
    expect(page.locator("[data-view] p")).to_have_text("second, not yet sent")
    assert server.one("SELECT description FROM tasks_task WHERE code = ?", code) == "second, not yet sent"


def test_a_field_that_was_just_opened_stays_open(sign_in: Callable[..., Person]):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    oscar.open("/agents")
    code = olivia.new_task("No deadline yet", status="inbox")
    page = olivia.open(f"/tasks/{code}")
    page.get_by_text("Set a deadline").click()
    oscar.post(f"/tasks/{code}/edit", priority="urgent")
    expect(page.locator(f"#priority-{code}")).to_have_value("urgent")
    expect(page.locator(f"#deadline-{code}")).to_be_visible()
    expect(page.get_by_text("Set a deadline")).to_be_hidden()


def test_a_save_over_somebody_elses_description_is_refused(sign_in: Callable[..., Person], server: Server):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    oscar.open("/agents")
    code = olivia.new_task("Two writers", description="first", status="inbox")
    page = olivia.open(f"/tasks/{code}")
    page.locator(f"[data-edit=edit-{code}]").click()
    page.locator(f"#text-{code}").fill("mine")
    oscar.post(f"/tasks/{code}/edit", description="theirs")
    page.locator(f"#edit-{code}").get_by_role("button", name="Save").click()
    expect(page.locator(".toast--bad")).to_contain_text("Somebody changed the description meanwhile")
    expect(page.locator(f"#text-{code}")).to_have_value("mine")
    assert server.one("SELECT description FROM tasks_task WHERE code = ?", code) == "theirs"
    page.locator(f"#edit-{code}").get_by_role("button", name="Cancel").click()
    expect(page.locator("[data-view] p")).to_have_text("theirs")


def test_verbs_are_buttons_and_those_that_need_a_reason_ask_for_it(olivia: Person, server: Server):
    code = olivia.new_task("Block me")
    page = olivia.open(f"/tasks/{code}")
    page.get_by_role("group", name="What can be done").get_by_role("button", name="Block").click()
    page.locator("#reason-ok").click()
    expect(page.locator("#reason-error")).to_contain_text("Say why")
    page.locator("#reason-input").fill("Which shelf?")
    page.locator("#reason-ok").click()
    expect(page.locator(".pill")).to_have_text("Blocked")
    expect(page.locator(".task__reason")).to_have_text("Needs an answer: Which shelf?")
    expect(page.locator(".gate--shut").first).to_contain_text("Which shelf?")
    assert server.one("SELECT blocked_reason FROM tasks_task WHERE code = ?", code) == "Which shelf?"
    page.get_by_role("button", name="Unblock", exact=True).click()
    page.locator("#reason-input").fill("The lower one.")
    page.locator("#reason-ok").click()
    expect(page.locator(".pill")).to_have_text("Ready")
    page.locator(".tabs").get_by_text("Activity").click()
    expect(page.locator(".feed__item").first).to_contain_text("The lower one.")


@pytest.mark.parametrize(("button", "status"), [("Start", "in_progress"), ("Move to Inbox", "inbox")])
def test_a_verb_without_a_reason_acts_at_once(olivia: Person, server: Server, button: str, status: str):
    code = olivia.new_task(f"Press {button}")
    page = olivia.open(f"/tasks/{code}")
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator(f".pill.s-{status}")).to_be_visible()
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", code) == status


def test_dependencies_are_added_by_title_and_removed_and_block_meanwhile(olivia: Person, server: Server):
    first = olivia.new_task("Paint the wall once")
    then = olivia.new_task("Hang the picture")
    page = olivia.open(f"/tasks/{then}")
    page.locator(f"#depends-{then}").press_sequentially("Paint the wall", delay=15)
    expect(page.locator(f"#tasks-{then} option")).to_have_count(1)
    page.locator(f"#depends-{then}").fill("Paint the wall once")
    page.locator(f"#form-depends-{then}").get_by_role("button", name="Add").click()
    expect(page.locator(f"#needs-{then}-{first}")).to_be_visible()
    expect(page.locator(".pill")).to_have_text("Blocked")
    page.goto(f"{server.url}/tasks/{first}")
    page.locator(f"#depends-{first}").fill(then)
    page.locator(f"#form-depends-{first}").get_by_role("button", name="Add").click()
    expect(page.locator(".toast--bad")).to_contain_text("cycle")
    page.goto(f"{server.url}/tasks/{then}")
    page.get_by_role("button", name=f"No longer wait for {first}").click()
    expect(page.locator(".pill")).to_have_text("Ready")


def test_activity_sessions_and_deliverables_are_live(olivia: Person, server: Server):
    code = olivia.new_task("Watch me work")
    page = olivia.open(f"/tasks/{code}?tab=activity")
    lease = server.claim("ada", code)
    expect(page.locator(".feed__item").first).to_contain_text("ada claimed it, epoch 1")
    server.call(
        "ada", "POST", f"/api/v1/tasks/{code}/progress", {**lease, "percent": 10, "message": "Found the ladder."}
    )
    expect(page.locator(".feed__item").first).to_contain_text("Found the ladder.")
    page.locator(".tabs").get_by_text("Sessions").click()
    expect(page.locator(".session")).to_contain_text("running")
    page.locator(".tabs").get_by_text("Deliverables").click()
    expect(page.locator(".empty")).to_be_visible()
    things = [
        {"type": "url", "title": "The preview", "path": "https://example.org/p"},
        {"type": "url", "title": "A trap", "path": "javascript:alert(1)"},
    ]
    for thing in things:
        server.call("ada", "POST", f"/api/v1/tasks/{code}/deliverables", thing)
    expect(page.locator(".row__text b")).to_have_text(["A trap", "The preview"])
    expect(page.get_by_role("link", name="Open")).to_have_count(1)
    expect(page.get_by_role("link", name="Open")).to_have_attribute("href", "https://example.org/p")


def test_what_holds_a_task_up_is_opened_where_it_is_said(olivia: Person, server: Server):
    first, then = olivia.new_task("Dig the ground"), olivia.new_task("Lay the first stone")
    for before, after in (
        (first, then),
        (then, olivia.new_task("Raise the wall")),
        (then, olivia.new_task("Set the door")),
    ):
        olivia.post(f"/tasks/{after}/dependencies/add", depends_on=before)
    held = olivia.new_task("Waits in the inbox", status="inbox", tags="held")
    page = olivia.open("/?tag=held")
    olivia.card(held).locator("a").click()
    page.locator(".why").get_by_role("button", name="Release it to the queue").click()
    expect(page.locator("#drawer .pill")).to_have_text("Ready")
    meant = olivia.new_task("For nobody yet", status="assigned")
    page = olivia.open(f"/tasks/{meant}")
    page.locator(".why").get_by_role("link", name="Choose an assignee").click()
    expect(page.locator(f"#assignee-{meant}")).to_be_focused()
    page = olivia.open(f"/tasks/{then}")
    expect(page.locator(".graph__node")).to_have_count(4)
    page.locator(".why").get_by_role("link", name=f"See why {first} is not done").click()
    expect(page).to_have_url(f"{server.url}/tasks/{first}")
    olivia.post("/fleet/freeze", reason="Look first")
    page.locator(".why").get_by_role("button", name="Thaw the fleet").click()
    expect(page.locator(".frozen")).to_be_hidden()
    expect(page.locator(".why")).not_to_contain_text("frozen by")


def test_files_changes_and_names_are_shown_where_the_work_is(sign_in: Callable[..., Person], server: Server):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    code = olivia.new_task("Look closely", status="inbox")
    oscar.open("/agents")
    page = olivia.open(f"/tasks/{code}")
    page.locator(f"#title-{code}").fill("Mine")
    oscar.post(f"/tasks/{code}/edit", title="Theirs")
    page.keyboard.press("Enter")
    expect(page.locator(".toast--bad")).to_contain_text("Somebody changed the title meanwhile, to “Theirs”")
    page.keyboard.press("Escape")
    page.locator(".tabs").get_by_text("Audit").click()
    expect(page.locator(".audit__before").first).to_contain_text("Look closely")
    expect(page.locator(".audit__after").first).to_contain_text("Theirs")

    diff = {"name": "a.diff", "mimeType": "text/html", "buffer": b"--- a\n+++ b\n-old <img src=x>\n+new\n"}
    token = next(c["value"] for c in olivia.context.cookies() if c["name"] == "csrftoken")
    answer = olivia.context.request.post(
        f"{server.url}/api/v1/tasks/{code}/deliverables", multipart={"title": "The change", "file": diff},
        headers={"X-CSRFToken": token, "Referer": server.url},
    )  # fmt: skip
    assert answer.ok, answer.text()
    page.locator(".tabs").get_by_text("Deliverables").click()
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".diff--removed")).to_have_text("-old <img src=x>")
    server.call(
        "ada",
        "POST",
        f"/api/v1/tasks/{code}/deliverables",
        {"type": "url", "title": "L", "path": "https://example.org"},
    )
    expect(page.locator(".row__text b").first).to_have_text("L")
    expect(page.locator(".diff--added")).to_have_text("+new")  # what is unfolded stays so through a live update
    page.get_by_role("button", name="Fold").click()
    expect(page.locator(".preview")).to_have_count(0)

    page.locator(".tabs").get_by_text("Activity").click()
    field = page.locator(f"#comment-{code}")
    field.press_sequentially("Ask @gr", delay=20)
    expect(page.get_by_role("option", name="@grace")).to_be_visible()
    page.keyboard.press("Enter")
    expect(field).to_have_value("Ask @grace ")
    page.keyboard.type("or @")
    expect(page.get_by_role("listbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(field).to_be_focused()


def test_a_deleted_task_closes_its_drawer(olivia: Person, server: Server):
    code = olivia.new_task("Soon gone", status="inbox", tags="gone")
    page = olivia.open("/?tag=gone")
    olivia.card(code).locator("a").click()
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    token = next(c["value"] for c in olivia.context.cookies() if c["name"] == "csrftoken")
    answer = olivia.context.request.delete(
        f"{server.url}/api/v1/tasks/{code}", headers={"X-CSRFToken": token, "Referer": server.url}
    )
    assert answer.ok, answer.text()
    expect(olivia.card(code)).to_have_count(0)
    expect(page.locator("#drawer")).to_be_hidden()
