"""What a team says about a task, in the browser: plan, comments with mentions, shared context, notes; live for others."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.conftest import Person, Server


def test_a_plan_is_written_and_ticked_off_and_the_agent_moves_it_on(olivia: Person, server: Server):
    code = olivia.new_task("With a plan", tags="planned")
    page = olivia.open(f"/tasks/{code}")
    steps = page.locator(".step__title")
    for number, title in enumerate(("Read", "Write"), start=1):
        page.locator(f"#add-step-{code}").fill(title)
        page.locator(".plan__add").get_by_role("button", name="Add").click()
        expect(steps).to_have_count(number)
    expect(page.locator(f"#add-step-{code}")).to_have_value("")
    page.get_by_role("button", name="Read: pending. Mark as done").click()
    expect(page.locator(".step--done")).to_have_count(1)
    expect(page.locator(f"#plan-{code}")).to_contain_text("1 of 2")
    lease = server.claim("ada", code)
    server.call("ada", "POST", f"/api/v1/tasks/{code}/progress", {**lease, "step": "Write"})
    expect(page.locator('.step[aria-current="step"]')).to_contain_text("Write")
    olivia.open("/?tag=planned")
    expect(olivia.card(code).locator(".card__step")).to_have_text("Write")
    expect(olivia.card(code).locator("progress")).to_have_attribute("value", "50")
    server.call("ada", "PATCH", f"/api/v1/tasks/{code}/plan/2", {**lease, "state": "done"})
    expect(olivia.card(code).locator("progress")).to_have_attribute("value", "100")


def test_a_comment_is_seen_by_another_and_counted_on_the_card(olivia: Person, sign_in: Callable[..., Person]):
    code = olivia.new_task("Talk about me", tags="talk")
    victor = sign_in("victor")
    victor.open("/?tag=talk")
    page = olivia.open(f"/tasks/{code}?tab=activity")
    page.locator(f"#comment-{code}").fill("@ada could you *look* at `@grace`? Not @nobody.")
    page.get_by_role("button", name="Comment", exact=True).click()
    body = page.locator(".feed__body").first
    expect(body.locator("em")).to_have_text("look")
    expect(body.locator("strong")).to_have_text(["@ada"])
    expect(page.locator(f"#comment-{code}")).to_have_value("")
    expect(victor.card(code).locator('[title="1 comment"]')).to_be_visible()
    victor.card(code).locator("a").click()
    victor.page.locator(".tabs").get_by_text("Activity").click()
    expect(victor.page.locator(".feed__body")).to_contain_text("could you look")
    expect(victor.page.locator(f"#comment-{code}")).to_have_count(0)


def test_what_was_said_can_be_read_alone(olivia: Person, server: Server):
    code = olivia.new_task("Much happens here")
    page = olivia.open(f"/tasks/{code}?tab=activity")
    server.call("ada", "POST", f"/api/v1/tasks/{code}/comments", {"text": "One"})
    expect(page.locator(".feed__item")).to_have_count(2)
    page.get_by_role("link", name="Comments").click()
    expect(page.locator(".feed__item")).to_have_count(1)
    server.call("ada", "POST", f"/api/v1/tasks/{code}/activities", {"message": "Only a line"})
    server.call("ada", "POST", f"/api/v1/tasks/{code}/discover", {"message": "Two", "impact": "Big"})
    expect(page.locator(".feed__item").first).to_contain_text("shared a finding: Big")
    expect(page.locator(".feed__item")).to_have_count(2)
    page.locator(f"#comment-{code}").fill("Three")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".feed__item")).to_have_count(3)
    page.get_by_role("link", name="Everything").click()
    expect(page.locator(".feed__item")).to_have_count(5)


def test_a_comment_half_written_survives_live_updates_and_a_reload(olivia: Person, server: Server):
    code = olivia.new_task("Do not lose my words")
    page = olivia.open(f"/tasks/{code}?tab=activity")
    box = page.locator(f"#comment-{code}")
    box.press_sequentially("Half a thou")
    server.call("ada", "POST", f"/api/v1/tasks/{code}/comments", {"text": "I interrupt"})
    expect(page.locator(".feed__body")).to_contain_text("I interrupt")
    box.press_sequentially("ght")
    expect(box).to_have_value("Half a thought")
    page.reload()
    expect(box).to_have_value("Half a thought")
    page.get_by_role("button", name="Comment", exact=True).click()
    expect(page.locator(".feed__body").first).to_contain_text("Half a thought")
    page.reload()
    expect(page.locator(".feed__body").first).to_contain_text("Half a thought")
    expect(box).to_have_value("")


def test_context_is_shared_by_both_sides_and_notes_are_ones_own(
    olivia: Person, server: Server, sign_in: Callable[..., Person]
):
    code = olivia.new_task("Shared ground")
    page = olivia.open(f"/tasks/{code}?tab=context")
    expect(page.locator(f"#shared-{code} + .rows")).to_contain_text("Nothing is shared yet")
    server.call("ada", "POST", f"/api/v1/tasks/{code}/join", {"role": "author"})
    shared = {"key": "stack", "value": {"db": "sqlite", "ports": [1, 2]}, "kind": "decision"}
    server.call("ada", "POST", f"/api/v1/tasks/{code}/context", shared)
    expect(page.locator(".shared__json")).to_contain_text('"ports": [')
    expect(page.locator(f"#team-{code} + .rows")).to_contain_text("author")
    page.locator(f"#share-key-{code}").fill("tone")
    page.locator(f"#share-kind-{code}").select_option("requirement")
    page.locator(f"#share-value-{code}").fill("Calm.\nExact.")
    page.get_by_role("button", name="Share").click()
    expect(page.locator(".shared__text").first).to_have_text(re.compile(r"Calm\.\s+Exact\."))
    assert server.rows("SELECT key, kind, by FROM tasks_contextentry WHERE key = 'tone'") == [
        ("tone", "requirement", "olivia")
    ]
    page.locator(f"#note-{code}").fill("Ask Grace first")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(f"#notes-{code} + .rows")).to_contain_text("Ask Grace first")
    oscar = sign_in("oscar")
    oscar.open(f"/tasks/{code}?tab=context")
    expect(oscar.page.locator(f"#notes-{code} + .rows")).to_have_text(re.compile("None"))
    expect(oscar.page.locator(".shared__text")).to_have_count(1)
