"""Processing in the browser: who could do it and why, the hand-over, the claim that the drawer and the board follow."""

from __future__ import annotations

import re
from urllib.error import HTTPError

import pytest
from playwright.sync_api import expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


def test_a_person_processes_a_task_picks_another_agent_and_sees_it_claimed(olivia: Person, server: Server):
    for agent in ("ada", "grace"):
        server.call(agent, "GET", "/api/v1/agents/me")
    code = olivia.new_task("Write the care guide")
    page = olivia.open()
    olivia.card(code).get_by_role("link").click()
    drawer = page.locator(f"#drawer-{code}")
    expect(drawer.get_by_text("Process would choose it")).to_have_count(1)
    drawer.locator(f"#who-{code}-ada summary").click()
    expect(drawer.locator(f"#who-{code}-ada")).to_contain_text("It asks for no special skill.")
    assert violations(page) == []
    drawer.get_by_role("button", name="Process", exact=True).click()
    expect(drawer.get_by_text("waits for its claim")).to_be_visible()
    expect(olivia.column_of(code)).to_have_attribute("data-cards", "assigned")
    drawer.get_by_role("button", name="Hand it to grace").click()
    expect(drawer.get_by_role("heading", name="Handed to grace")).to_be_visible()
    assert violations(page) == []
    with pytest.raises(HTTPError, match="403"):
        server.claim("ada", code)
    branch = server.one("SELECT branch FROM tasks_task WHERE code = ?", code)
    assert branch == f"agent/grace-write-the-care-guide-{code}"
    told = server.call("grace", "POST", f"/api/v1/tasks/{code}/claim", {})
    assert told["briefing"]["quoted"]["branch"] == branch
    expect(olivia.column_of(code)).to_have_attribute("data-cards", "in_progress")
    expect(drawer.get_by_role("heading", name="Handed to grace")).to_have_count(0)
    drawer.get_by_role("link", name=re.compile("Sessions")).click()
    running = drawer.locator(".session", has_text="running")
    running.get_by_text("What it was given").click()
    expect(running).to_contain_text(branch)


def test_a_card_that_is_dropped_on_in_progress_is_handed_over(olivia: Person, server: Server):
    server.call("ada", "GET", "/api/v1/agents/me")
    code = olivia.new_task("Iron the aprons", assignee="ada")
    olivia.open()
    olivia.drag(code, olivia.column("in_progress"))
    expect(olivia.page.locator(".toast", has_text="Handed to ada. It moves on when it is claimed")).to_be_visible()
    expect(olivia.column_of(code)).to_have_attribute("data-cards", "assigned")
    server.claim("ada", code)
    expect(olivia.column_of(code)).to_have_attribute("data-cards", "in_progress")
