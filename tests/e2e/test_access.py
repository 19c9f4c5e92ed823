"""For everybody: axe on every page in both themes, narrow screens, a page enlarged twice, right to left, keys alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.e2e.axe import AT_REST, violations
from tests.e2e.conftest import Person, Server
from tests.e2e.walked import DEBUG_ONLY, SIGNED_IN, SIGNED_OUT

# How much wider than the window the page is, and what can be pressed and lies under something else. What is scrolled out
# of sight is not looked at.
NARROW = """
() => ({
  over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  covered: [...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter((thing) => {
    const box = thing.getBoundingClientRect();
    if (!box.width || !thing.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    const stack = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    if (!stack.includes(thing)) return false;
    const top = stack[0], label = thing.labels?.[0];
    const stays = getComputedStyle(top).position === "sticky" || top.closest(".task__head, .rail__foot, .lanes__heads, thead");
    return !(thing.contains(top) || top.contains(thing) || label?.contains(top) || stays);
  }).map((thing) => thing.outerHTML.slice(0, 120)),
})
"""
TURNED = "direction => { document.documentElement.dir = direction; }"
WIDE, TWICE, PHONE = (1440, 900), (720, 450), (360, 740)  # 720 wide is 1440 enlarged twice
STEPS = (("ltr", WIDE), ("ltr", TWICE), ("ltr", PHONE), ("rtl", PHONE), ("rtl", TWICE), ("rtl", WIDE))


def look(page: Page, path: str, **options: object) -> list[str]:
    """What is wrong with the page that is open. In the dark only the colours differ, so only they are asked for again."""
    wrong = [f"light: {one}" for one in violations(page, **options)]
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    wrong += [f"dark: {one}" for one in violations(page, ("color-contrast",), **options)]
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    size = WIDE
    for direction, (width, height) in STEPS:
        page.evaluate(TURNED, direction)
        if (width, height) != size:
            size = (width, height)
            page.set_viewport_size({"width": width, "height": height})
        page.evaluate(AT_REST)
        seen = page.evaluate(NARROW)
        wrong += [f"{direction}, {width} wide: {seen['over']} pixels too wide"] if seen["over"] > 0 else []
        wrong += [f"{direction}, {width} wide, covered: {one}" for one in seen["covered"]]
    return [f"{path} {one}" for one in wrong]


@pytest.fixture
def names(sign_in: Callable[..., Person], server: Server) -> tuple[Person, dict[str, str]]:
    """The admin, and what stands in the braces of the table: pages with all that they can show."""
    olivia = sign_in("olivia", color_scheme="light", reduced_motion="reduce", viewport={"width": 1440, "height": 900})
    asked = olivia.new_task("A title that is long enough to need several lines on a telephone, " * 3, status="inbox",
                            priority="urgent", deadline="2020-01-01T00:00:00Z", tags="one, two")  # fmt: skip
    olivia.post(f"/tasks/{asked}/edit", needs_approval="yes")
    blocked = olivia.new_task("Waiting", status="inbox")
    olivia.post(f"/tasks/{blocked}/block", reason="Which one?")
    task = olivia.new_task(
        "Working", description="# A\n\nSome *text* and `code`.\n\n> quoted\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    olivia.post(f"/tasks/{task}/edit", add_criterion="It runs")
    lease = server.claim("ada", task)
    at = f"/api/v1/tasks/{task}"
    steps = [{"title": state, "state": state} for state in ("done", "running", "failed", "skipped")]
    for path, body in (
        ("/progress", {**lease, "percent": 50, "step": "half"}), ("/plan", {"steps": steps}), ("/join", {}),
        ("/comments", {"text": "@ada `code` and a [link](https://example.org)"}),
        ("/context", {"key": "k", "value": {"a": [1]}}),
        ("/deliverables", {"type": "url", "title": "Seen", "path": "https://example.org"}),
    ):  # fmt: skip
        server.call("ada", "POST", at + path, body)
    olivia.post("/settings/webhooks/new", url="https://hooks.example.org/x", kinds="fleet.*")
    hook = server.one("SELECT code FROM mission_control_webhook")
    return olivia, {"task": task, "asked": asked, "webhook": hook, "claim": server.cast["claim"]}


@pytest.fixture
def guide(server: Server) -> Iterator[Server]:
    """The same data served with DEBUG: another port, the same cookies."""
    other = Server(server.folder)
    other.surroundings = lambda: {**server.surroundings(), "DEBUG": "1"}  # type: ignore[method-assign]
    other.start()
    yield other
    other.stop()


def test_every_page_is_clean_in_both_themes_narrow_enlarged_and_right_to_left(
    names: tuple[Person, dict[str, str]], server: Server, guide: Server, browser: Browser
):
    olivia, known = names
    page, wrong = olivia.page, []
    for path in (path.format(**known) for paths in SIGNED_IN.values() for path in paths):
        page.goto(server.url + path)
        wrong += look(page, path)
    for path in (path for paths in DEBUG_ONLY.values() for path in paths):
        page.goto(guide.url + path)
        wrong += look(page, path, preload=False)  # its many style sheets, which axe would copy into inline ones
    stranger = browser.new_context(color_scheme="light", reduced_motion="reduce", viewport=olivia.page.viewport_size)
    page = stranger.new_page()
    for path in (path for paths in SIGNED_OUT.values() for path in paths):
        page.goto(server.url + path)
        wrong += look(page, path)
    stranger.close()
    assert wrong == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_what_opens_over_the_board(sign_in: Callable[..., Person], theme: str):
    olivia = sign_in("olivia", color_scheme=theme)
    code = olivia.new_task("Readable", description="# A\n\nSome *text*", tags="one", priority="urgent")
    page = olivia.open("/")
    olivia.card(code).locator("a").click()
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    assert violations(page) == [], "drawer"
    page.keyboard.press("Escape")
    for key, name in (("c", "#new-task"), ("?", "#keys-dialog")):
        page.keyboard.press(key)
        expect(page.locator(name)).to_be_visible()
        assert violations(page) == [], name
        page.keyboard.press("Escape")
        expect(page.locator(name)).to_be_hidden()  # no key is a command of the page before
    page.locator("#chip-assignee").click()
    assert violations(page) == [], "filter menu"


def reach(page: Page, place: Locator) -> None:
    """By the Tab key, as far as it takes."""
    for _ in range(90):
        page.keyboard.press("Tab")
        if place.evaluate("place => place === document.activeElement"):
            return
    raise AssertionError(f"{place} cannot be reached")


def holds_the_focus(page: Page, place: str = "body") -> None:
    expect(page.locator(f"{place} :focus")).to_have_count(1)


def test_a_whole_job_is_done_by_keys_alone_and_the_focus_is_never_lost(olivia: Person, server: Server):
    olivia.new_task("Alone at first", status="inbox", tags="alone")
    page = olivia.open("/?tag=alone")
    keys = page.keyboard
    keys.press("ArrowDown")
    keys.press("c")
    keys.type("Carry the word !high #alone ~2h")
    expect(page.locator(".new-task__said")).to_contain_text("High")
    reach(page, page.locator("#new-task [name=status]"))
    keys.type("Inbox")
    keys.press("Control+Enter")
    expect(page.locator("#new-task")).to_be_hidden()
    code = server.one("SELECT code FROM tasks_task WHERE title = 'Carry the word'")
    expect(olivia.card(code)).to_be_visible()
    holds_the_focus(page, ".card")

    keys.press("ArrowUp")  # what presses more stands above
    expect(olivia.card(code).locator("a")).to_be_focused()
    keys.press("Enter")
    expect(page.locator(f"#drawer-{code}")).to_be_visible()
    reach(page, page.locator(".task__title"))
    keys.type(" home")
    keys.press("Enter")
    expect(olivia.card(code)).to_contain_text("home")
    reach(page, page.locator(f"[data-edit='edit-{code}']"))
    keys.press("Enter")
    keys.type("Slowly.")
    keys.press("Control+Enter")
    expect(page.locator(".task__description .prose")).to_contain_text("Slowly.")
    holds_the_focus(page, "#drawer")
    page.locator(f"#drawer-{code} .task__title").focus()  # to the top of it
    ask = page.get_by_role("button", name="Ask for it before the start")
    reach(page, ask)
    keys.press("Enter")
    expect(page.get_by_role("button", name="Needed: start without")).to_be_visible()
    holds_the_focus(page, "#drawer")
    page.locator(f"#drawer-{code} .task__title").focus()
    reach(page, page.get_by_role("button", name="Approve this text"))
    keys.press("Enter")
    expect(page.locator(".approval")).to_contain_text("olivia approved")
    holds_the_focus(page, "#drawer")
    page.locator(f"#drawer-{code} .task__title").focus()
    reach(page, page.get_by_role("button", name="Move to Ready"))
    keys.press("Enter")
    expect(page.locator("#drawer .pill.s-ready")).to_be_visible()
    holds_the_focus(page, ".task__verbs")
    reach(page, page.locator(f"#tab-activity-{code}"))
    keys.press("Enter")
    reach(page, page.get_by_label("Comment"))
    keys.type("Done by keys")
    keys.press("Control+Enter")
    expect(page.locator(".feed__body").first).to_contain_text("Done by keys")
    holds_the_focus(page, "#drawer")
    keys.press("Escape")
    keys.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(olivia.card(code).locator("a")).to_be_focused()

    keys.press(" ")
    expect(page.locator(".card--held")).to_be_visible()
    reached = page.locator(f'[data-cards="assigned"] #card-{code}')
    for _ in range(3):
        keys.press("ArrowRight")
        with suppress(PlaywrightTimeout):
            reached.wait_for(timeout=2500)
            break
    expect(reached).to_be_visible()
    keys.press(" ")
    expect(page.locator(".toast", has_text="Moved to Assigned")).to_be_visible()
    keys.press("Control+z")
    expect(olivia.column_of(code)).to_have_attribute("data-cards", "ready")
    holds_the_focus(page, ".card")
    keys.press("x")
    expect(page.get_by_role("toolbar", name="Selected tasks")).to_be_visible()
    keys.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    keys.type("priority urgent")
    expect(page.locator("#palette [role=option]").first).to_contain_text("Priority: Urgent")
    keys.press("Enter")
    expect(olivia.card(code).locator(".p-urgent")).to_be_visible()
    holds_the_focus(page, ".card")

    keys.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    keys.type("settings")
    keys.press("Enter")
    expect(page).to_have_url(re.compile("/account|/settings"))
    olivia.wait_until_live()
    reach(page, page.locator(".settings__tab", has_text="Notifications"))
    keys.press("Enter")
    olivia.wait_until_live()
    reach(page, page.locator("[name=digest]"))
    keys.press("ArrowDown")
    reach(page, page.locator("#times").get_by_role("button", name="Save", exact=True))
    keys.press("Enter")
    expect(page.locator("#times")).to_contain_text("Saved.")
    holds_the_focus(page, "#times")
