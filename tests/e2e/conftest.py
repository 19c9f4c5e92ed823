"""A server with its own data, people who are signed in, and what the database says by itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.cast import PASSWORD

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
COLUMNS = {
    "inbox": ("inbox",), "ready": ("ready",), "assigned": ("assigned",), "in_progress": ("in_progress",),
    "on_hold": ("paused", "blocked", "failed"), "review": ("review",), "done": ("done",),
}  # fmt: skip
expect.set_options(timeout=8000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, "No Chromium on PATH."
    return {**browser_type_launch_args, "executable_path": path, "args": list(QUIET)}


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Server:
    """`manage.py serve` as a process, on SQLite in a folder of its own."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None
    first_run: str = ""
    cast: dict[str, Any] = field(default_factory=dict)
    filled: frozenset[str] = frozenset()  # the codes of the tasks that all tests may count on

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def surroundings(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "DATA_DIR": str(self.folder), "THREADS": "8", "LOG_LEVEL": "WARNING"}

    def start(self) -> None:
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port)]
        log = (self.folder / "server.log").open("a")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.surroundings(), stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("First admin"):
                self.first_run = re.search(r"(/first-run/\S+)", line)[1]  # type: ignore[index]
            if line.startswith("Mission Control"):
                self.port = int(re.search(r":(\d+)\s*$", line)[1])  # type: ignore[index]
            if line.startswith("Connect an agent"):
                break
        else:
            raise AssertionError(f"The server did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if urlopen(f"{self.url}/healthz", timeout=2).status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("The server does not answer.")

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(how)
            self.process.wait(40)
            self.process = None

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.surroundings(), text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def fill(self) -> None:
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/e2e/cast.py")], cwd=ROOT, env=self.surroundings(), text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        self.cast = json.loads(done.stdout)
        self.filled = frozenset(self.open_tasks())

    # ── what the database says, by SQL that is not the product's ────────────────────────────────────────────────────

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.folder / 'mission-control.sqlite3'}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def one(self, sql: str, *values: Any) -> Any:
        found = self.rows(sql, *values)
        return found[0][0] if found else None

    def board(self) -> dict[str, list[str]]:
        """Column → the codes of its first 50 cards, top to bottom."""
        shown = {}
        for column, statuses in COLUMNS.items():
            marks = ",".join("?" * len(statuses))
            order = "sort_key, id" if column in ("inbox", "ready", "assigned") else "status_changed_at DESC, id DESC"
            sql = f"SELECT code FROM tasks_task WHERE status IN ({marks}) ORDER BY {order} LIMIT 50"
            shown[column] = [code for (code,) in self.rows(sql, *statuses)]
        return shown

    def open_tasks(self) -> list[str]:
        return [code for (code,) in self.rows("SELECT code FROM tasks_task WHERE status NOT IN ('done', 'cancelled')")]

    def counts(self) -> dict[str, int]:
        by_status = dict(self.rows("SELECT status, COUNT(*) FROM tasks_task GROUP BY status"))
        return {column: sum(by_status.get(status, 0) for status in statuses) for column, statuses in COLUMNS.items()}

    # ── an agent ────────────────────────────────────────────────────────────────────────────────────────────────────

    def call(self, who: str, method: str, path: str, body: Any = None) -> Any:
        """One call of the API as this agent: the decoded answer."""
        request = Request(
            self.url + path, method=method, data=json.dumps(body or {}).encode() if method != "GET" else None,
            headers={"Authorization": f"Bearer {self.cast['keys'][who]}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def claim(self, who: str, code: str, lease_seconds: int = 300) -> dict[str, Any]:
        claimed: dict[str, Any] = self.call(
            who, "POST", f"/api/v1/tasks/{code}/claim", {"sessionKey": f"{who}:{code}", "lease_seconds": lease_seconds}
        )
        return {"epoch": claimed["epoch"], "lease_token": claimed["lease_token"]}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not stop it."""
    running = Server(tmp_path_factory.mktemp("server"))
    running.start()
    running.fill()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for one test, which may stop it."""
    running = Server(tmp_path)
    running.start()
    yield running
    running.stop()


# ── people in front of it ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Person:
    """Somebody who is signed in: a page, and the same acts by plain requests."""

    server: Server
    context: BrowserContext
    page: Page
    complaints: list[str]

    def open(self, path: str = "/", *, live: bool = True) -> Page:
        self.page.goto(self.server.url + path)
        if live:
            self.wait_until_live()
        return self.page

    def wait_until_live(self) -> None:
        expect(self.page.locator("html")).to_have_attribute("data-connection", "live", timeout=15_000)

    def post(self, path: str, **fields: str) -> Any:
        token = next(c["value"] for c in self.context.cookies() if c["name"] == "csrftoken")
        answer = self.context.request.post(
            self.server.url + path,
            data=urlencode(fields),
            headers={"Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": token, "HX-Request": "true"},
        )
        assert answer.ok, f"{answer.status} {answer.text()[:300]}"
        return answer

    def new_task(self, title: str, **fields: str) -> str:
        """The code of a task made by the page's own address."""
        return str(self.post("/tasks/new", title=title, **{"status": "ready", **fields}).headers["x-task-code"])

    def card(self, code: str) -> Any:
        return self.page.locator(f"#card-{code}:not(.card--lifted)")  # beside the one in the hand there is its place

    def column(self, key: str) -> Any:
        return self.page.locator(f'[data-cards="{key}"]')

    def column_of(self, code: str) -> Any:
        return self.page.locator(f"[data-cards]:has(#card-{code})")

    def shown(self) -> dict[str, list[str]]:
        """Column → codes on the page, top to bottom."""
        return {
            column: self.column(column).locator(".card").evaluate_all("cards => cards.map(c => c.dataset.code)")
            for column in COLUMNS
        }

    def shown_counts(self) -> dict[str, int]:
        return {
            column: int(re.sub(r"\D", "", self.page.locator(f"#head-{column} .count").inner_text()))
            for column in COLUMNS
        }

    def drag(self, code: str, onto: Any, *, dy: int = 20) -> None:
        """By mouse, from the head of the card to the place `dy` below the top of `onto`."""
        card = self.card(code)
        card.scroll_into_view_if_needed()
        begin = card.bounding_box()
        mouse = self.page.mouse
        mouse.move(begin["x"] + 60, begin["y"] + 12)
        mouse.down()
        lifted = self.page.locator(".card--lifted")
        for step in range(160):  # a hand is never still while what drags is loading
            mouse.move(begin["x"] + 68 + step % 3, begin["y"] + 22, steps=3)
            if lifted.count():
                break
            self.page.wait_for_timeout(50)
        expect(lifted).to_be_visible()
        goal = onto.bounding_box()
        mouse.move(goal["x"] + 80, goal["y"] + dy, steps=12)
        self.page.wait_for_timeout(120)  # the list makes room by an animation
        mouse.up()


@pytest.fixture
def sign_in(browser: Browser, server: Server) -> Iterator[Callable[..., Person]]:
    """`sign_in("olivia")`: a browser of their own. No page may complain by the end of the test."""
    people: list[Person] = []
    admins: list[Person] = []

    def enter(name: str = "olivia", *, at: Server | None = None, **how: Any) -> Person:
        place = at or server
        context = browser.new_context(**{"viewport": {"width": 1600, "height": 900}, **how})
        answer = context.request.get(f"{place.url}/account/login")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', answer.text())[1]  # type: ignore[index]
        form = {"login": name, "password": PASSWORD, "csrfmiddlewaretoken": token}
        signed = context.request.post(f"{place.url}/account/login", form=form, headers={"Referer": place.url})
        assert signed.ok and "/account/login" not in signed.url, signed.text()[:500]
        page = context.new_page()
        person = Person(place, context, page, _listen(page))
        people.append(person)
        if name == "olivia" and place is server:
            admins.append(person)
        return person

    yield enter
    complaints = [complaint for person in people for complaint in person.complaints]
    for page in [page for person in people for page in person.context.pages]:
        page.close()
    if admins:  # a column shows fifty cards: what this test leaves behind would hide what the next one makes
        for code in set(server.open_tasks()) - server.filled:
            admins[0].post(f"/tasks/{code}/cancel")
    for person in people:
        person.context.close()
    assert complaints == []


def _listen(page: Page) -> list[str]:
    """Errors of scripts, and everything the content security policy forbade."""
    heard: list[str] = []
    page.on("pageerror", lambda error: heard.append(f"{page.url}: {error}"))

    def console(message: Any) -> None:
        wanted = "Content Security Policy" in message.text or message.text.startswith("htmx")
        if message.type == "error" and wanted:
            heard.append(f"{page.url}: {message.text}")

    page.on("console", console)
    page.on("dialog", lambda dialog: (heard.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
    return heard


@pytest.fixture
def olivia(sign_in: Callable[..., Person]) -> Person:
    """The admin."""
    return sign_in("olivia")
