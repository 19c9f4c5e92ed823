"""The nine steps of an orchestration over real HTTP, each seen on a board and a drawer that stay open."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.e2e.conftest import Person, Server

KEY = "agent:main:subagent:5f3a9b1c"


def test_nine_steps_are_seen_without_a_reload(server: Server, sign_in: Callable[..., Person]):
    olivia, victor = sign_in("olivia"), sign_in("victor")
    code = olivia.new_task("Orchestrate me", status="inbox", tags="orchestra")
    board, at = victor.open("/?tag=orchestra"), f"/api/tasks/{code}"
    drawer = sign_in("oscar").open(f"/tasks/{code}?tab=activity")
    expect(victor.card(code)).to_be_visible()
    loads = []
    for page in (board, drawer):
        page.on("framenavigated", lambda frame: loads.append(frame.url))

    def call(method: str, path: str, body: Any = None) -> Any:
        return server.call("otto", method, path, body)

    def seen(locator: Any, text: str | re.Pattern[str]) -> None:
        expect(locator).to_contain_text(text)

    def in_column(key: str) -> None:
        expect(victor.column(key).locator(f"#card-{code}")).to_be_visible()

    first = drawer.locator(".feed__item").first
    counter = board.locator(".rail__note b")

    assert code in [task["id"] for task in call("GET", "/api/tasks?status=inbox")]  # 1
    in_column("inbox")

    call("POST", f"{at}/activities", {"message": "Triaged", "metadata": {"size": {"hours": 2}}})  # 2
    seen(first, "Triaged")

    call("PATCH", at, {"status": "assigned", "assigned_agent_id": "ada"})  # 3
    in_column("assigned")
    seen(victor.card(code), "ada")

    call("POST", f"{at}/subagent", {"openclaw_session_id": KEY, "agent_name": "ada"})  # 4
    seen(first, f"spawned {KEY}")
    expect(counter).to_have_text("1")

    call("POST", f"{at}/activities", {"activity_type": "spawned", "message": "A designer is at it"})  # 5
    seen(first, "A designer is at it")

    call("POST", f"{at}/deliverables", {"deliverable_type": "file", "title": "The logo", "path": "logo.svg"})  # 6
    seen(first, "handed over The logo")
    expect(victor.card(code).locator('[title="1 deliverable"]')).to_be_visible()

    call("POST", f"{at}/activities", {"activity_type": "completed", "message": "The designer is done"})  # 7
    seen(first, "The designer is done")

    call("PATCH", f"/api/openclaw/sessions/{KEY}", {"status": "completed"})  # 8
    seen(first, f"ended {KEY}")
    expect(counter).to_have_text("0")

    call("PATCH", at, {"status": "review"})  # 9
    in_column("review")
    seen(drawer.locator(".pill").first, "Review")
    assert loads == []
