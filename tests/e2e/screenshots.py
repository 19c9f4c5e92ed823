"""Pictures of every page with the demo's data: light, dark, and on a phone. `make screenshots` writes them to screenshots/.

Not a test: for people who look at a change.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Page, sync_playwright

from tests.e2e.cast import PASSWORD
from tests.e2e.conftest import CHROMIUM, QUIET, ROOT, Server

LOOKS = {
    "light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
    "phone-dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True},
}
ADMIN = f"""
from mission_control.models import User
user = User(username="olivia", role="admin"); user.set_password({PASSWORD!r}); user.save()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "screenshots", help="folder for the pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            server.manage("seed_demo")
            server.manage("shell", "-c", ADMIN)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=next(filter(None, map(shutil.which, CHROMIUM))), args=list(QUIET)
                )
                options.to.mkdir(exist_ok=True)
                for name, look in LOOKS.items():
                    context = browser.new_context(**look)
                    shoot(context.new_page(), server, options.to, name)
                    context.close()
                browser.close()
        finally:
            server.stop()


def shoot(page: Page, server: Server, to: Path, look: str) -> None:
    def picture(name: str) -> None:
        page.wait_for_timeout(400)
        page.screenshot(path=to / f"{name}-{look}.png")
        print(to / f"{name}-{look}.png")

    page.goto(f"{server.url}/account/login")
    picture("login")
    sign_in(page, server)
    for name, path in {
        "board": "/",
        "board-lanes": "/?group=assignee",
        "board-list": "/?view=list",
        "board-past": "/?at=600",
        "inbox": "/inbox",
        "sessions": "/sessions",
        "agents": "/agents",
        "ventures": "/ventures",
        "connect": "/connect",
        "keys": "/settings/keys",
        "webhooks": "/settings/webhooks",
        "data": "/settings/data",
        "loop-breaker": "/settings/circuits",
        "account": "/account",
        "users": "/settings/users",
        "missing": "/nothing",
    }.items():
        page.goto(server.url + path)
        picture(name)
    page.goto(f"{server.url}/agents/{server.one('SELECT slug FROM agents_agent ORDER BY tasks_completed DESC')}")
    picture("agent")
    page.goto(
        f"{server.url}/ventures/{server.one('SELECT slug FROM ventures_venture ORDER BY capital_spent_micro_usd DESC')}"
    )
    picture("venture")
    open_drawer(page, server)
    picture("drawer")
    for tab in ("Activity", "Deliverables", "Sessions", "Context"):
        page.locator(".tabs").get_by_text(tab).click()
        picture(tab.lower())
    page.goto(server.url)
    page.keyboard.press("c")
    picture("new-task")
    page.keyboard.press("Escape")
    page.get_by_role("switch", name="Freeze").click()
    picture("freeze")
    page.locator("#freeze-dialog").get_by_role("button", name="Freeze").click()
    picture("frozen")
    page.locator(".frozen").get_by_role("button", name="Thaw").click()
    page.locator("#thaw-dialog").get_by_role("button", name="Thaw").click()


def sign_in(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/account/login")
    page.locator("#id_login").fill("olivia")
    page.locator("#id_password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(re.compile(r"/$"))


def open_drawer(page: Page, server: Server) -> None:
    """The task with most to show, over the board."""
    code = server.one(
        "SELECT t.code FROM tasks_task t WHERE t.status = 'in_progress'"
        " ORDER BY (SELECT COUNT(*) FROM mission_control_activity a WHERE a.task = t.code) DESC"
    )
    page.goto(server.url)
    page.locator(f"#card-{code} a").evaluate("link => link.click()")
    page.locator(f"#drawer-{code}").wait_for()
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
