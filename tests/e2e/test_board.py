"""The board in real browsers: it follows every change by itself, keeps what a person is doing, and is true."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.axe import violations
from tests.e2e.conftest import Person, Server


def test_a_new_task_by_the_key_c_appears_in_both_browsers(sign_in: Callable[..., Person], server: Server):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    oscar.open()
    page = olivia.open()
    page.keyboard.press("c")
    page.keyboard.type("Buy a kettle that whistles")
    page.keyboard.press("Enter")
    page.keyboard.type("A *quiet* one.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#new-task")).to_be_hidden()
    mine = olivia.column("ready").locator(".card", has_text="Buy a kettle that whistles")
    expect(mine).to_be_visible()
    expect(oscar.column("ready").locator(".card", has_text="Buy a kettle that whistles")).to_be_visible()
    code = mine.get_attribute("data-code")
    assert server.rows("SELECT title, description, status FROM tasks_task WHERE code = ?", code) == [
        ("Buy a kettle that whistles", "A *quiet* one.", "ready")
    ]


def test_the_title_of_a_new_task_says_more_and_it_is_seen_before_it_happens(olivia: Person, server: Server):
    page = olivia.open()
    page.keyboard.press("c")
    page.keyboard.type("Fix the lamp !high #light @ada ~90m due tomorrow")
    said = page.locator("[data-said]")
    expect(said.locator(".chip")).to_have_text(["High", "ada", "light", "1.5 h estimated", "Due tomorrow"])
    page.keyboard.press("Escape")
    page.reload()
    olivia.wait_until_live()
    page.keyboard.press("c")
    expect(said.locator(".chip")).to_have_count(5)
    page.keyboard.press("End")
    page.keyboard.type(" \\#4 \\@ada")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#new-task")).to_be_hidden()
    expect(olivia.column("assigned").locator(".card", has_text="Fix the lamp #4 @ada")).to_be_visible()
    sql = "SELECT priority, tags, estimated_hours FROM tasks_task WHERE title LIKE 'Fix the lamp%'"
    assert server.rows(sql) == [(2, '["light"]', 1.5)]
    page.keyboard.press("c")
    expect(said).to_be_empty()
    page.keyboard.press("Escape")


def test_what_is_half_typed_stays_when_the_dialog_closes_and_the_page_loads_again(olivia: Person):
    page = olivia.open()
    page.keyboard.press("c")
    page.keyboard.type("Half a thought")
    page.keyboard.press("Escape")
    expect(page.locator("#new-task")).to_be_hidden()
    page.reload()
    olivia.wait_until_live()
    page.locator("#column-inbox [data-new-task]").click()
    expect(page.locator("#new-task [name=title]")).to_have_value("Half a thought")
    expect(page.locator("#new-task [name=status]")).to_have_value("inbox")


def test_a_task_without_a_title_is_refused_at_its_field(olivia: Person):
    page = olivia.open()
    page.keyboard.press("c")
    page.locator("#new-task [type=submit]").click()
    expect(page.locator("#new-task [data-error-for=title]")).to_have_text("A task needs a title.")


def test_two_boards_follow_a_drag_and_the_verbs_of_an_agent(sign_in: Callable[..., Person], server: Server):
    olivia, oscar = sign_in("olivia"), sign_in("oscar")
    code = olivia.new_task("Sort the shelf", status="inbox")
    olivia.open()
    oscar.open()
    olivia.drag(code, olivia.column("ready"))
    expect(oscar.column("ready").locator(f"#card-{code}")).to_be_visible()
    lease = server.claim("ada", code)
    for person in (olivia, oscar):
        expect(person.column("in_progress").locator(f"#card-{code} .card__foot")).to_contain_text("ada")
    server.call("ada", "POST", f"/api/v1/tasks/{code}/progress", {**lease, "percent": 40, "step": "by colour"})
    for person in (olivia, oscar):
        expect(person.card(code).locator("progress")).to_have_attribute("value", "40")
        expect(person.card(code)).to_contain_text("by colour")
        expect(person.card(code).locator(".lease")).to_be_visible()
    server.call("ada", "POST", f"/api/v1/tasks/{code}/complete", {**lease, "summary": "Sorted.", "actual_cost": "0.42"})
    for person in (olivia, oscar):
        expect(person.column("done").locator(f"#card-{code}")).to_contain_text("$0.42")


def test_dragging_within_ready_sets_the_order_of_the_queue(olivia: Person, server: Server):
    first, second, third = (olivia.new_task(f"Queue {n}", tags="queue") for n in (1, 2, 3))
    olivia.open("/?tag=queue")
    expect(olivia.column("ready").locator(".card")).to_have_count(3)
    olivia.drag(third, olivia.card(first), dy=4)
    expect(olivia.column("ready").locator(".card").first).to_have_attribute("data-code", third)
    expect(olivia.page.locator(".card--pending")).to_have_count(0)
    sql = "SELECT code FROM tasks_task WHERE code IN (?, ?, ?) ORDER BY sort_key, id"
    assert [code for (code,) in server.rows(sql, first, second, third)] == [third, first, second]


def test_a_refused_drop_brings_the_card_home_and_says_why(olivia: Person, server: Server):
    code = olivia.new_task("Not ready for a verdict", status="inbox")
    olivia.open()
    olivia.page.set_viewport_size({"width": 2400, "height": 900})
    olivia.drag(code, olivia.column("review"))
    expect(olivia.page.locator(".toast--bad")).to_contain_text("It is in the inbox")
    expect(olivia.column("inbox").locator(f"#card-{code}")).to_be_visible()
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", code) == "inbox"


def test_a_click_after_a_drag_does_not_open_the_drawer(olivia: Person):
    code = olivia.new_task("Dropped where it was", status="inbox")
    olivia.open()
    olivia.drag(code, olivia.card(code), dy=10)
    olivia.page.wait_for_timeout(150)
    expect(olivia.page.locator("#drawer")).to_be_hidden()
    olivia.card(code).locator("a").click()
    expect(olivia.page.locator("#drawer")).to_be_visible()


def test_touch_drags_after_a_moment_and_scrolls_before(sign_in: Callable[..., Person], server: Server):
    olivia = sign_in("olivia", has_touch=True, viewport={"width": 1400, "height": 900})
    code = olivia.new_task("By finger", status="inbox")
    page = olivia.open()
    touch = olivia.context.new_cdp_session(page)
    begin, goal = olivia.card(code).bounding_box(), olivia.column("ready").bounding_box()

    def send(kind: str, x: float = 0, y: float = 0) -> None:
        points = [] if kind == "touchEnd" else [{"x": x, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = begin["x"] + 60, begin["y"] + 20
    for _ in range(5):  # the first touch may only load the script
        send("touchStart", x, y)
        page.wait_for_timeout(450)
        for step in range(1, 11):
            send("touchMove", x + (goal["x"] + 80 - x) * step / 10, y + (goal["y"] + 30 - y) * step / 10)
            page.wait_for_timeout(20)
        page.wait_for_timeout(120)
        send("touchEnd")
        if page.locator(f'[data-cards="ready"] #card-{code}').count():
            break
    expect(olivia.column("ready").locator(f"#card-{code}")).to_be_visible()
    expect(page.locator(".card--pending")).to_have_count(0)
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", code) == "ready"


def test_the_move_menu_is_the_way_without_dragging(olivia: Person, server: Server):
    code = olivia.new_task("By keyboard", status="inbox")
    page = olivia.open()
    olivia.card(code).locator("a").focus()
    page.keyboard.press("m")
    page.locator("#move-menu").get_by_text("Ready", exact=True).click()
    expect(olivia.column("ready").locator(f"#card-{code}")).to_be_visible()
    assert server.one("SELECT status FROM tasks_task WHERE code = ?", code) == "ready"


def test_arrows_walk_the_cards(olivia: Person):
    olivia.new_task("Above", status="inbox")
    olivia.new_task("Below", status="inbox")
    page = olivia.open()
    page.keyboard.press("ArrowDown")
    first = page.evaluate("document.activeElement.closest('.card').dataset.code")
    page.keyboard.press("ArrowDown")
    second = page.evaluate("document.activeElement.closest('.card').dataset.code")
    page.keyboard.press("ArrowUp")
    assert first != second
    assert page.evaluate("document.activeElement.closest('.card').dataset.code") == first


def test_filters_stand_in_the_address_and_come_back_with_it(olivia: Person):
    urgent = olivia.new_task("Fix the till", priority="urgent", tags="till, shop", venture="shoe-store")
    calm = olivia.new_task("Dust the till", priority="low", tags="till")
    page = olivia.open()
    page.locator("#chip-tag").click()
    page.locator("#filter-tag").get_by_text("till", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?tag=till$"))
    expect(olivia.card(calm)).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#chip-priority").click()
    page.locator("#filter-priority").get_by_text("Urgent").click()
    expect(olivia.card(calm)).to_have_count(0)
    expect(olivia.card(urgent)).to_be_visible()
    expect(page.locator("#head-ready .count")).to_have_text("1")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("dust")
    expect(page.locator(".card")).to_have_count(0)
    address = page.url
    assert "q=dust" in address
    page.goto(address.replace("dust", "fix"))
    expect(olivia.card(urgent)).to_be_visible()
    expect(page.locator("#search")).to_have_value("fix")
    page.locator("[data-clear]").click()
    expect(olivia.card(calm)).to_be_visible()


def test_a_filtered_board_takes_in_only_what_passes(olivia: Person):
    olivia.open("/?tag=lamp")
    passes = olivia.new_task("A lamp", tags="lamp")
    olivia.new_task("A chair", tags="chair")
    expect(olivia.card(passes)).to_be_visible()
    expect(olivia.page.locator(".card")).to_have_count(1)
    olivia.post(f"/tasks/{passes}/edit", remove_tag="lamp")
    expect(olivia.page.locator(".card")).to_have_count(0)


def test_the_board_of_a_venture_shows_its_tasks_alone(olivia: Person):
    olivia.open("/ventures/field-notes/board")
    here = olivia.new_task("Press a fern", venture="field-notes")
    there = olivia.new_task("Lace a boot", venture="shoe-store")
    expect(olivia.card(here)).to_be_visible()
    expect(olivia.card(there)).to_have_count(0)
    expect(olivia.page.locator("h1")).to_contain_text("Field notes")


def test_a_collapsed_column_stays_collapsed(olivia: Person):
    page = olivia.open()
    page.locator("#head-done").hover()
    page.locator("[data-collapse=done]").click()
    expect(page.locator("#column-done .column__cards .card").first).to_be_hidden()
    page.reload()
    assert page.locator("#column-done").bounding_box()["width"] < 60
    page.locator("[data-collapse=done]").click()
    assert page.locator("#column-done").bounding_box()["width"] > 200


def test_more_cards_come_while_one_scrolls(olivia: Person, server: Server):
    for number in range(70):
        olivia.new_task(f"Scroll {number:02}", status="inbox", tags="scroll")
    page = olivia.open("/?tag=scroll")
    expect(page.locator("#head-inbox .count")).to_have_text("70")
    assert olivia.column("inbox").locator(".card").count() in (50, 70)
    olivia.column("inbox").evaluate("list => list.scrollTo(0, list.scrollHeight)")
    expect(olivia.column("inbox").locator(".card")).to_have_count(70)
    codes = olivia.column("inbox").locator(".card").evaluate_all("cards => cards.map(c => c.dataset.code)")
    sql = "SELECT code FROM tasks_task WHERE title LIKE 'Scroll %' ORDER BY sort_key, id"
    assert codes == [code for (code,) in server.rows(sql)]


def test_scroll_focus_and_an_open_drawer_survive_a_live_change(olivia: Person):
    codes = [olivia.new_task(f"Stay {n:02}", status="inbox", tags="stay") for n in range(30)]
    page = olivia.open("/?tag=stay")
    column = olivia.column("inbox")
    column.evaluate("list => list.scrollTo(0, 600)")
    olivia.card(codes[12]).locator("a").focus()
    before = olivia.card(codes[12]).bounding_box()["y"]
    new = olivia.new_task("Stay too", status="inbox", tags="stay")
    olivia.post(f"/tasks/{codes[3]}/edit", title="Stay, renamed")
    expect(olivia.card(codes[3])).to_contain_text("renamed")
    expect(olivia.card(new)).to_have_count(1)
    expect(page.locator("#head-inbox [data-collapse]")).to_have_attribute("aria-expanded", "true")
    assert abs(olivia.card(codes[12]).bounding_box()["y"] - before) < 3
    assert page.evaluate("document.activeElement.closest('.card').dataset.code") == codes[12]


SLOW_SERVER = """
(() => {
  const { fetch } = window;
  window.askedAt = [];
  window.fetch = async (address, how) => {
    if (String(address).startsWith("/board/cards")) {
      window.askedAt.push(performance.now());
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return fetch(address, how);
  };
})();
"""


def test_a_busy_server_is_asked_less_often_and_nothing_is_missed(olivia: Person):
    olivia.page.add_init_script(SLOW_SERVER)
    page = olivia.open()
    code = olivia.new_task("Weigh the anchors")
    expect(olivia.card(code)).to_be_visible()
    for number in range(10):
        olivia.post(f"/tasks/{code}/edit", title=f"Weigh anchor {number}")
        page.wait_for_timeout(150)
    expect(olivia.card(code)).to_contain_text("Weigh anchor 9")
    times = page.evaluate("window.askedAt")
    assert len(times) >= 2
    assert min(later - earlier for earlier, later in zip(times, times[1:], strict=False)) > 950


def test_a_message_tells_of_work_that_was_handed_in(olivia: Person, server: Server):
    code = olivia.new_task("Write a limerick")
    olivia.open()
    lease = server.claim("grace", code)
    server.call("grace", "POST", f"/api/v1/tasks/{code}/complete", {**lease, "review": True})
    expect(olivia.page.locator(".toast", has_text="grace handed in")).to_be_visible()
    olivia.page.locator(".toast a").click()
    expect(olivia.page.locator(f"#drawer-{code}")).to_be_visible()


def test_a_viewer_sees_all_and_can_change_nothing(sign_in: Callable[..., Person]):
    olivia, victor = sign_in("olivia"), sign_in("victor")
    code = olivia.new_task("Look, do not touch", status="inbox")
    page = victor.open("/?q=touch")
    expect(victor.card(code)).to_be_visible()
    expect(page.locator("[data-new-task], .switch, .card__menu")).to_have_count(0)
    victor.card(code).hover()
    page.keyboard.press("c")
    expect(page.locator("#new-task")).to_have_count(0)
    begin = victor.card(code).bounding_box()
    page.mouse.move(begin["x"] + 60, begin["y"] + 12)
    page.mouse.down()
    page.mouse.move(begin["x"] + 400, begin["y"] + 60, steps=8)
    expect(page.locator(".card--lifted")).to_have_count(0)
    page.mouse.up()
    with pytest.raises(AssertionError, match="403"):
        victor.post(f"/tasks/{code}/to-ready")


def test_freezing_says_so_everywhere_and_thawing_ends_it(sign_in: Callable[..., Person], server: Server):
    olivia, victor = sign_in("olivia"), sign_in("victor")
    victor.open("/agents")
    page = olivia.open()
    page.get_by_role("switch", name="Freeze").click()
    page.locator("#freeze-dialog").get_by_role("button", name="Freeze").click()
    for person in (olivia, victor):
        expect(person.page.locator(".frozen")).to_contain_text("The fleet is frozen")
    expect(page.get_by_role("switch", name="Freeze")).to_have_attribute("aria-checked", "true")
    assert server.one("SELECT frozen_by FROM mission_control_fleet") == "olivia"
    page.locator(".frozen").get_by_role("button", name="Thaw").click()
    page.locator("#thaw-dialog").get_by_role("button", name="Thaw").click()
    for person in (olivia, victor):
        expect(person.page.locator(".frozen")).to_have_count(0)


def test_the_rail_shows_who_works_on_what_and_the_number_of_the_log(olivia: Person, server: Server):
    page = olivia.open("/agents")
    code = olivia.new_task("Polish the brass")
    lease = server.claim("ada", code)
    expect(page.locator("#rail-agent-ada")).to_contain_text("Polish the brass")
    expect(page.locator("#agent-ada")).to_contain_text("Polish the brass")
    server.call("ada", "POST", f"/api/v1/tasks/{code}/release", lease)
    expect(page.locator("#rail-agent-ada")).not_to_contain_text("Polish the brass")
    head = server.one("SELECT seq FROM mission_control_fleet")
    expect(page.locator("[data-live-seq]")).to_have_text(str(head))


def test_the_head_of_a_column_says_what_it_is_estimated_to_cost_and_follows(olivia: Person):
    code = olivia.new_task("Dear", status="inbox", tags="dear")
    olivia.post(f"/tasks/{code}/edit", estimated_cost="12.50")
    page = olivia.open("/?tag=dear")
    cost = page.locator("#head-inbox .column__cost")
    expect(cost).to_contain_text("$12.50")
    expect(page.locator(".column__cost")).to_have_count(1)
    olivia.post(f"/tasks/{code}/edit", priority="urgent")
    expect(olivia.card(code).locator(".p-urgent")).to_be_visible()
    expect(cost).to_contain_text("$12.50")
    olivia.post(f"/tasks/{code}/edit", estimated_cost="20")
    expect(cost).to_contain_text("$20.00", timeout=15_000)
    assert violations(page) == []


def test_a_board_that_could_not_be_fetched_is_asked_for_again(olivia: Person):
    page = olivia.open()
    whole = re.compile(r"/\?.*loaded=")
    page.route(whole, lambda route: route.abort(), times=1)
    with page.expect_response(whole):
        page.evaluate("document.dispatchEvent(new CustomEvent('resync'))")


BROKEN_OFF = """
() => new Promise((resolve) => {
  const { fetch } = window;
  window.fetch = async () => {
    window.fetch = fetch;
    setTimeout(resolve, 50);
    return { ok: true, status: 200, text: async () => { throw new DOMException("broken off", "AbortError"); } };
  };
  document.dispatchEvent(new CustomEvent("resync"));
})
"""


def test_an_answer_that_breaks_off_is_asked_for_again(olivia: Person):
    code = olivia.new_task("Whole at last", tags="whole")
    page = olivia.open("/?tag=whole")
    expect(olivia.card(code)).to_be_visible()
    page.evaluate(f"document.getElementById('card-{code}').remove()")
    page.evaluate(BROKEN_OFF)  # a script that broke would complain by the end
    expect(olivia.card(code)).to_be_visible()


def test_a_late_answer_covers_nothing_newer(olivia: Person):
    code = olivia.new_task("First")
    page = olivia.open(f"/tasks/{code}")
    title = page.locator(f"#title-{code}")
    held: list[Route] = []
    page.route(f"**/tasks/{code}/drawer*", lambda route: held.append(route), times=1)
    olivia.post(f"/tasks/{code}/edit", title="Second")
    deadline = time.monotonic() + 15
    while not held and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    late, answer = held[0], held[0].fetch()
    olivia.post(f"/tasks/{code}/edit", title="Third")
    expect(title).to_have_value("Third")
    assert "Second" in answer.text() and "Third" not in answer.text()
    late.fulfill(response=answer)
    late.request.response().finished()  # type: ignore[union-attr]
    page.wait_for_timeout(300)
    expect(title).to_have_value("Third")
