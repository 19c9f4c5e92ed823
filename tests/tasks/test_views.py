"""The pages of tasks by plain requests: who gets what, one markup for page and part, refusals as sentences."""

from __future__ import annotations

import io
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.core.files.base import File
from django.db.models.functions import Now
from django.test import Client

from agents import roster
from mission_control import log
from mission_control.actors import Actor
from mission_control.models import Activity, Fleet
from tasks import sweeping, transitions, views
from tasks.board import Board, Filters, Names, Place
from tasks.models import Deliverable, Task
from tasks.teamwork import collaboration
from tests.conftest import a_task, claimed, fence, fresh
from ventures import catalogue

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


@pytest.fixture
def browser_of():
    """`browser_of(operator)`: a client with this person's session."""

    def make(actor: Actor) -> Client:
        client = Client()
        client.force_login(actor.user)
        return client

    return make


def test_a_page_leads_to_the_login_and_a_part_says_where_it_is(client):
    assert client.get("/?q=x").headers["Location"] == "/account/login?next=%2F%3Fq%3Dx"
    answer = client.get("/rail", headers={**PART, "HX-Current-URL": "http://testserver/agents"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/account/login?next=%2Fagents")


def test_page_part_and_live_update_show_the_same_card(operator, browser_of):
    task = a_task("The same <everywhere>", tags=["t"])
    client = browser_of(operator)
    card = re.compile(rf'<li class="card[^>]*id="card-{task.code}".*?</li>', re.DOTALL)
    found = [
        card.search(client.get(path, headers=PART if part else {}).content.decode())[0]
        for path, part in (("/", False), ("/", True), (f"/board/cards?codes={task.code}", True), ("/board/column/ready", True))
    ]  # fmt: skip
    assert len(set(found)) == 1
    assert "The same &lt;everywhere&gt;" in found[0]


def test_a_card_is_drawn_once_for_everybody_until_it_changes(operator, viewer, browser_of, monkeypatch):
    drawn = []
    real = views.cards
    monkeypatch.setattr(views, "cards", lambda places, names: drawn.append(len(places)) or real(places, names))
    task = a_task()
    for actor in (operator, viewer, operator):
        browser_of(actor).get("/")
    assert drawn == [1]
    transitions.edit(operator, task.code, {"title": "New"})
    assert "New" in browser_of(viewer).get("/").content.decode()
    assert drawn == [1, 1]


def test_finished_work_wears_the_name_that_its_agent_has_now(operator, ada, browser_of):
    task, browser = a_task(), browser_of(operator)
    transitions.complete(ada, task.code, fence(claimed(ada)))
    for name in (ada.agent.name, "Countess"):
        roster.change(operator, ada.agent, {"name": name})
        card = browser.get(f"/board/cards?codes={task.code}").content.decode()
        assert f'<b class="clip">{name}</b>' in card


def test_a_card_is_held_back_no_longer_than_its_task(operator, ada, browser_of):
    task = a_task()
    transitions.fail(ada, task.code, fence(claimed(ada)), error="no")
    browser = browser_of(operator)
    assert "Held back after 1 failure" in browser.get("/").content.decode()
    Task.objects.filter(pk=task.pk).update(not_before=Now())
    assert sweeping.offer_again() == 1
    assert "Held back" not in browser.get("/").content.decode()


def test_a_venture_that_is_made_while_a_board_is_read_stands_on_it(operator):
    board = Board(Filters())
    assert board.names.ventures
    task = a_task(venture=catalogue.create(operator, name="Just made"))
    assert [place.code for place in board.column("ready").places] == [task.code]


def test_boards_that_ask_at_the_same_moment_have_a_card_drawn_once(monkeypatch):
    place = Place(pk=-1, code="k3v9d2qa", column="ready", order="0", key=(1,))
    drawn, together = [], threading.Barrier(10)

    def draw(places, names):
        time.sleep(0.05)  # long enough for all others to find it missing
        drawn.append([one.code for one in places])
        return [SimpleNamespace(code=one.code) for one in places]

    def ask(_):
        together.wait(10)
        return views._markup([place], Names())

    monkeypatch.setattr(views, "cards", draw)
    monkeypatch.setattr(views, "get_template", lambda name: SimpleNamespace(render=lambda context: "<li>a card</li>"))
    with ThreadPoolExecutor(10) as threads:
        shown = list(threads.map(ask, range(10)))
    views._drawn.pop(-1)
    assert (drawn, shown) == ([["k3v9d2qa"]], ["<li>a card</li>"] * 10)


def test_board_cards_tells_what_is_there_and_what_is_not(operator, browser_of):
    lamp, chair = a_task("Lamp"), a_task("Chair")
    html = browser_of(operator).get(f"/board/cards?q=lamp&codes={lamp.code},{chair.code},nothing1").content.decode()
    assert f'id="card-{lamp.code}"' in html
    assert f'id="card-{chair.code}"' not in html
    assert re.findall(r'data-gone="(\w+)"', html) == [chair.code, "nothing1"]
    assert html.count("column__head") == 7


def test_a_column_goes_on_after_a_card_and_refuses_a_place_that_is_none(operator, browser_of):
    tasks = [a_task(f"Task {n}", status="inbox") for n in range(3)]
    client = browser_of(operator)
    order = re.search(rf'card-{tasks[0].code}"[^>]*data-order="(\w+)"', client.get("/").content.decode())[1]
    html = client.get(f"/board/column/inbox?after={order}").content.decode()
    assert re.findall(r'id="card-(\w+)"', html) == [task.code for task in tasks[1:]]
    assert client.get("/board/column/inbox?after=nonsense", headers=PART).status_code == 400
    assert client.get("/board/column/nonsense", headers=PART).status_code == 404


def test_a_move_answers_with_the_card_and_the_heads_and_a_refusal_with_a_sentence(operator, browser_of):
    task = a_task(status="inbox")
    client = browser_of(operator)
    moved = client.put(
        f"/tasks/{task.code}/move", "status=ready", content_type="application/x-www-form-urlencoded", headers=PART
    )
    assert f'id="card-{task.code}"' in moved.content.decode()
    assert 'data-column="ready"' in moved.content.decode()
    refused = client.put(
        f"/tasks/{task.code}/move", "status=review", content_type="application/x-www-form-urlencoded", headers=PART
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    unknown = client.put(
        f"/tasks/{task.code}/move", "status=nowhere", content_type="application/x-www-form-urlencoded", headers=PART
    )
    assert unknown.status_code == 400


CHANGES = (
    ("/tasks/new", {"title": "x"}), ("/tasks/{}/edit", {"title": "x"}), ("/tasks/{}/move", {"status": "inbox"}),
    ("/tasks/{}/pause", {}), ("/tasks/{}/start", {}), ("/tasks/{}/cancel", {}), ("/tasks/{}/to-inbox", {}),
    ("/tasks/{}/dependencies/add", {"depends_on": "x"}), ("/tasks/{}/dependencies/remove", {"depends_on": "x"}),
    ("/fleet/freeze", {}), ("/fleet/thaw", {}), ("/agents/ada/keys", {"scopes": "work"}), ("/connect", {"name": "x"}),
    ("/agents/ada/keys/12345678/revoke", {}), ("/claim/token", {}),
    ("/board/bulk", {"codes": "{}", "act": "cancel"}), ("/ventures/default/limit", {"column": "review", "most": "3"}),
)  # fmt: skip


@pytest.mark.parametrize(("path", "fields"), CHANGES)
def test_a_viewer_changes_nothing(viewer, ada, browser_of, path, fields):
    task = a_task()
    answer = browser_of(viewer).post(path.format(task.code), fields, headers=PART)
    assert answer.status_code == 403, answer.content
    assert fresh(task).version == task.version


@pytest.mark.parametrize(("path", "fields"), CHANGES)
def test_a_change_needs_the_token_of_the_page(operator, ada, path, fields):
    task = a_task()
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator.user)
    assert client.post(path.format(task.code), fields, headers=PART).status_code == 403
    assert fresh(task).version == task.version


@pytest.mark.parametrize(("path", "_"), CHANGES)
def test_a_change_is_not_made_by_looking(operator, ada, browser_of, path, _):
    task = a_task()
    answer = browser_of(operator).get(path.format(task.code))
    assert answer.status_code in (404, 405, 200)
    assert fresh(task).version == task.version
    assert Task.objects.count() == 1


def test_the_limit_of_a_column_is_shown_and_set_beside_its_count(operator, viewer, venture, browser_of):
    catalogue.change(operator, venture, {"wip_limits": {"in_progress": 4}})
    for n in range(2):
        a_task(f"Task {n}", venture=venture, status="inbox")
    client, address = browser_of(operator), f"/ventures/{venture.slug}"
    assert client.post(f"{address}/limit", {"column": "inbox", "most": "2"}, headers=PART).status_code == 204
    assert catalogue.by_slug(venture.slug).wip_limits == {"in_progress": 4, "inbox": 2}
    shown = client.get(f"{address}/board").content.decode()
    assert re.search(r'<button class="count count--limit count--full" type="button" data-limit="2"[^>]*>2 / 2<', shown)
    assert re.search(r'<button class="count count--limit" type="button" data-limit="4"[^>]*>0 / 4<', shown)
    assert "data-limit" not in client.get("/").content.decode()
    seen = browser_of(viewer).get(f"{address}/board").content.decode()
    assert '<span class="count count--full" title="2 tasks of at most 2">2 / 2</span>' in seen
    assert client.post(f"{address}/limit", {"column": "inbox", "most": ""}, headers=PART).status_code == 204
    assert catalogue.by_slug(venture.slug).wip_limits == {"in_progress": 4}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [({"column": "inbox", "most": "0"}, "most"), ({"column": "inbox", "most": "-1"}, "most"),
     ({"column": "inbox", "most": "100001"}, "most"), ({"column": "cancelled", "most": "3"}, "column")],
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_refused(fields, wrong, operator, venture, browser_of):
    answer = browser_of(operator).post(f"/ventures/{venture.slug}/limit", fields, headers=PART)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, wrong)
    assert catalogue.by_slug(venture.slug).wip_limits == {}


def test_a_column_says_what_it_costs_and_a_card_what_it_waits_for(viewer, venture, browser_of):
    before = a_task("First <this>", estimated_cost_micro_usd=2_500_000, venture=venture)
    after = a_task("Then that", depends_on=[before], estimated_cost_micro_usd=1_000_000)
    client = browser_of(viewer)
    assert "<b>$2.50</b>" in client.get("/board/costs/ready", headers=PART).content.decode()
    assert "<b>$1.00</b>" in client.get("/board/costs/on_hold?q=then", headers=PART).content.decode()
    assert "<b>$0.00</b>" in client.get("/board/costs/on_hold?board=apollo", headers=PART).content.decode()
    assert client.get("/board/costs/nowhere", headers=PART).status_code == 404
    assert client.get("/board/costs?q=this", headers=PART).content.decode().count("$2.50") == 2
    assert "data-cost-of" not in client.get("/board/costs?board=backroom", headers=PART).content.decode()
    told = client.get(f"/tasks/{after.code}/blockers", headers=PART).content.decode()
    assert before.code in told and "First &lt;this&gt;" in told and "s-ready" in told
    assert "no task any more" in client.get(f"/tasks/{before.code}/blockers", headers=PART).content.decode()


def test_a_new_task_names_itself_and_a_bad_one_its_field(operator, browser_of):
    client = browser_of(operator)
    made = client.post("/tasks/new", {"title": "Made", "status": "inbox"}, headers=PART)
    assert made.status_code == 201
    assert Task.objects.get(code=made.headers["X-Task-Code"]).title == "Made"
    bad = client.post("/tasks/new", {"title": " "}, headers=PART)
    assert bad.status_code == 400
    assert bad.json()["details"] == [{"field": "title", "message": "A task needs a title."}]


def test_what_a_title_says_is_shown_before_it_happens(operator, ada, venture, browser_of):
    line = "Fix it !high #apollo #web<b> #web @ada ~10h ~$1204.5 due 2031-05-04"
    told = browser_of(operator).get("/tasks/new/line", {"title": line, "zone": "Asia/Tokyo"}, headers=PART)
    words = re.sub(r"<[^>]+>|\s+", " ", told.content.decode()).split()
    for word in ("High", "web", "10", "$1,204.50", venture.name, ada.agent.name):
        assert word in words, word
    assert "web<b" not in words
    assert 'datetime="2031-05-04T14:59:00Z"' in told.content.decode()
    assert not Task.objects.exists()


def test_a_description_is_not_saved_over_somebody_elses(operator, browser_of):
    task = a_task(description="first")
    client = browser_of(operator)
    seen = re.search(r'name="seen" value="(\w+)"', client.get(f"/tasks/{task.code}").content.decode())[1]
    transitions.edit(operator, task.code, {"description": "theirs"})
    mine = {"description": "mine", "seen": seen}
    assert client.post(f"/tasks/{task.code}/edit", mine, headers=PART).status_code == 412
    transitions.edit(operator, task.code, {"description": "first", "title": "Another title"})
    assert client.post(f"/tasks/{task.code}/edit", mine, headers=PART).status_code == 200
    assert fresh(task).description == "mine"


@pytest.mark.parametrize("tab", ["overview", "activity", "deliverables", "sessions", "nonsense"])
def test_each_tab_comes_with_a_bounded_number_of_statements(
    operator, ada, browser_of, django_assert_max_num_queries, tab
):
    task = a_task(depends_on=[a_task("Before")])
    transitions.remove_dependency(operator, task.code, task.dependencies.get().depends_on.code)
    lease = fence(claimed(ada, task))
    for n in range(8):
        transitions.progress(ada, task.code, lease, percent=n)
        transitions.deliver(ada, task.code, [{"type": "url", "title": f"D{n}", "path": "https://example.org"}])
    client = browser_of(operator)
    with django_assert_max_num_queries(24):
        answer = client.get(f"/tasks/{task.code}/drawer?tab={tab}", headers=PART)
    assert answer.status_code == 200
    assert f'id="drawer-{task.code}"' in answer.content.decode()


def test_verbs_shown_are_verbs_that_work(operator, ada, browser_of):
    """Every button of every state does what it says, or asks for the reason it needs."""
    client = browser_of(operator)
    roster.note_seen(ada.agent)
    reach = {
        "inbox": lambda: a_task(status="inbox"),
        "ready": a_task,
        "assigned": lambda: a_task(status="assigned"),
        "in_progress": lambda: transitions.start(operator, a_task().code),
        "paused": lambda: transitions.pause(operator, a_task().code),
        "blocked": lambda: transitions.block(operator, a_task().code, kind="needs_input", reason="?"),
        "review": lambda: transitions.complete(operator, a_task(status="assigned").code, review=True),
        "done": lambda: transitions.complete(operator, a_task(status="assigned").code),
        "cancelled": lambda: transitions.cancel(operator, a_task().code),
    }
    pressed = 0
    for status, make in reach.items():
        names = re.findall(r'hx-post="/tasks/\w+/([a-z-]+)" hx-target="[^"]+"(?: data-ask|><input type="hidden" name="tab")',
                           client.get(f"/tasks/{make().code}").content.decode())  # fmt: skip
        assert names, status
        for name in names:
            task = make()
            answer = client.post(f"/tasks/{task.code}/{name}", {"reason": "because"}, headers=PART)
            assert answer.status_code == 200, (status, name, answer.content)
            assert fresh(task).status != status or (status, name) == ("assigned", "process"), (status, name)
            pressed += 1
    assert pressed > 25


def test_an_unknown_verb_or_task_is_not_there(operator, browser_of):
    client = browser_of(operator)
    assert client.post(f"/tasks/{a_task().code}/explode", headers=PART).status_code == 404
    assert client.get("/tasks/zzzzzzzz").status_code == 404
    assert client.get("/ventures/nowhere/board").status_code == 404


def a_file(task: Task, name: str, content: bytes, content_type: str = "") -> int:
    row = Deliverable(task=task, number=1, type="file", title=name, filename=name, content_type=content_type)
    row.file = File(io.BytesIO(content), name=name)
    row.save()
    return row.number


@pytest.mark.parametrize(
    ("name", "claims", "shown_as"),
    [
        ("page.html", "text/html", "text/plain; charset=utf-8"),
        ("photo.png", "text/html", "image/png"),
        ("drawing.svg", "image/svg+xml", ""),
        ("notes", "text/html", ""),
        ("paper.pdf", "application/pdf", ""),
    ],
)
def test_a_file_is_shown_in_a_sandbox_by_its_ending_or_only_downloaded(
    operator, browser_of, settings, tmp_path, name, claims, shown_as
):
    settings.MEDIA_ROOT = tmp_path
    task = a_task()
    number = a_file(task, name, b"<script>alert(1)</script>", claims)
    client = browser_of(operator)
    shown = client.get(f"/tasks/{task.code}/deliverables/{number}/open")
    if shown_as:
        assert shown.headers["Content-Type"] == shown_as
        assert shown.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert shown.headers["Content-Disposition"].startswith("inline")
    else:
        assert shown.status_code == 404
    saved = client.get(f"/tasks/{task.code}/deliverables/{number}/file")
    assert saved.headers["Content-Type"] == "application/octet-stream"
    assert saved.headers["Content-Disposition"].startswith("attachment")
    assert b"".join(saved.streaming_content) == b"<script>alert(1)</script>"
    assert saved.headers["X-Content-Type-Options"] == "nosniff"


def test_suggestions_are_open_tasks_by_code_or_title(operator, browser_of):
    wash, done = a_task("Wash <b> up"), a_task("Wash out", status="assigned")
    transitions.complete(operator, done.code)
    client = browser_of(operator)
    html = client.get("/tasks/suggest?q=wash").content.decode()
    assert html.strip() == f'<option value="{wash.code}">Wash &lt;b&gt; up</option>'
    assert wash.code in client.get(f"/tasks/suggest?q={wash.code[:4]}").content.decode()
    assert client.get(f"/tasks/suggest?q=wash&for={wash.code}").content.decode().strip() == ""


def test_pages_are_compressed_and_secrets_are_not(operator, browser_of):
    client = browser_of(operator)
    page = client.get("/", headers={"Accept-Encoding": "gzip, br"})
    assert page.headers["Content-Encoding"] == "br"
    assert "Accept-Encoding" in page.headers["Vary"]
    made = client.post("/connect", {"name": "Zoe"}, headers={"Accept-Encoding": "gzip, br"})
    assert made.headers["Cache-Control"] == "no-store"
    assert "Content-Encoding" not in made.headers
    assert re.search(r"mc_\w{40}", made.content.decode())


# ── what the team says ──────────────────────────────────────────────────────────────────────────────────────────────

SAID = [
    ("comments/add", {"comment": "Hello @ada"}, "activity", "Hello <strong>@ada</strong>"),
    ("context/share", {"key": "tone of  voice", "value": "Calm", "kind": "decision"}, "context", "tone of voice"),
    ("notes/add", {"note": "Mine"}, "context", "Mine"),
    ("plan/add", {"step": "Read it"}, "overview", "Read it"),
]


@pytest.mark.parametrize(("path", "fields", "tab", "shown"), SAID)
def test_people_say_something_and_see_it_on_the_tab_they_are_on(path, fields, tab, shown, operator, ada, browser_of):
    task = a_task()
    answer = browser_of(operator).post(f"/tasks/{task.code}/{path}", {**fields, "tab": tab}, headers=PART)
    assert answer.status_code == 200 and shown in answer.content.decode()


@pytest.mark.parametrize(("path", "fields", "tab", "shown"), SAID)
def test_who_may_not_write_and_who_writes_nothing_is_refused(path, fields, tab, shown, viewer, operator, browser_of):
    task = a_task()
    assert browser_of(viewer).post(f"/tasks/{task.code}/{path}", fields, headers=PART).status_code == 403
    for blank in ("", " \n ", "x\0", "x" * 10_001):
        empty = {name: value if name == "kind" else blank for name, value in fields.items()}
        answer = browser_of(operator).post(f"/tasks/{task.code}/{path}", empty, headers=PART)
        assert answer.status_code == 400, blank[:9]
    assert fresh(task).version == 1


def test_a_step_is_ticked_off_and_set_back(operator, browser_of):
    task, client = a_task(), browser_of(operator)
    client.post(f"/tasks/{task.code}/plan/add", {"step": "Read it"}, headers=PART)
    for state, status, word in (("done", 200, "step--done"), ("pending", 200, "step--pending"), ("odd", 400, "")):
        answer = client.post(f"/tasks/{task.code}/plan/1", {"state": state}, headers=PART)
        assert answer.status_code == status and word in answer.content.decode()
    assert client.post(f"/tasks/{task.code}/plan/2", {"state": "done"}, headers=PART).status_code == 404


def test_notes_are_shown_to_their_author_alone(operator, admin, ada, browser_of):
    task = a_task()
    collaboration.take_note(operator, task.code, "the operator's own")
    collaboration.take_note(ada, task.code, "the agent's own")
    tab = f"/tasks/{task.code}/drawer?tab=context"
    mine, another = (browser_of(actor).get(tab, headers=PART).content.decode() for actor in (operator, admin))
    assert "operator&#x27;s own" in mine and "agent&#x27;s own" not in mine
    assert "own</p>" not in another


def test_what_was_said_is_shown_alone_and_stays_so_after_saying_more(operator, browser_of):
    task, client = a_task(), browser_of(operator)
    collaboration.comment(operator, task.code, "First")
    alone = client.get(f"/tasks/{task.code}/drawer?tab=activity&only=spoken", headers=PART).content.decode()
    assert "First" in alone and "created it" not in alone
    said = {"comment": "Second", "tab": "activity", "only": "spoken"}
    after = client.post(f"/tasks/{task.code}/comments/add", said, headers=PART).content.decode()
    assert "Second" in after and "created it" not in after and "only=spoken" in after


def test_ten_thousand_comments_slow_neither_the_board_nor_the_drawer_nor_a_completion(
    operator, ada, browser_of, api_of
):
    task, client = a_task("Much said"), browser_of(operator)
    claim = claimed(ada, task)
    many = 10_000
    head = log.head()
    Activity.objects.bulk_create(
        Activity(
            seq=head + 1 + n, kind="comment.added", actor_type="agent", actor="ada", venture="default", task=task.code,
            agent="ada", message=f"Comment {n}", data={"mentions": []},
        )
        for n in range(many)
    )  # fmt: skip
    Fleet.objects.update(seq=head + many)
    Task.objects.filter(pk=task.pk).update(comment_count=many)
    took = {}
    for name, act in {
        "board": lambda: client.get("/"),
        "drawer": lambda: client.get(f"/tasks/{task.code}/drawer?tab=activity&only=spoken", headers=PART),
        "list": lambda: api_of(ada).get(f"/tasks/{task.code}/comments"),
        "comment": lambda: api_of(ada).post(f"/tasks/{task.code}/comments", {"text": "One more"}),
        "complete": lambda: transitions.complete(ada, task.code, fence(claim)),
    }.items():
        began = time.perf_counter()
        act()
        took[name] = time.perf_counter() - began
    assert max(took.values()) < 3, took
    assert fresh(task).comment_count == many + 1


def test_the_sessions_are_shown_as_a_chain_that_says_what_each_was_tried_again_for(operator, ada, browser_of):
    task = a_task()
    transitions.fail(ada, task.code, fence(claimed(ada, task)), error="no network")
    Task.objects.filter(pk=task.pk).update(not_before=None, offered=True)
    transitions.complete(ada, task.code, fence(claimed(ada, task)), summary="Done", output={"pages": [1, 2]})
    tab = browser_of(operator).get(f"/tasks/{task.code}/drawer?tab=sessions", headers=PART).content.decode()
    assert tab.count("Again after attempt 1 failed: no network") == 1
    assert "&quot;pages&quot;: [" in tab
    transitions.reopen(operator, task.code)
    transitions.release(ada, task.code, fence(claimed(ada, task)))
    tab = browser_of(operator).get(f"/tasks/{task.code}/drawer?tab=sessions", headers=PART).content.decode()
    assert tab.count("Again after") == 1  # a release is no failure, and neither is a completion


def test_lines_of_one_sort_are_shown_alone(operator, ada, browser_of):
    task, client = a_task(), browser_of(operator)
    claim = claimed(ada, task)
    transitions.progress(ada, task.code, fence(claim), message="On my way")
    transitions.deliver(ada, task.code, [{"type": "artifact", "title": "A sketch"}])
    transitions.complete(ada, task.code, fence(claim), summary="All of it")
    shown = {}
    for only in ("spoken", "status", "results", "nonsense", ""):
        told = client.get(f"/tasks/{task.code}/drawer?tab=activity&only={only}", headers=PART).content.decode()
        shown[only] = told.count('class="feed__item')
    assert shown == {"spoken": 0, "status": 3, "results": 2, "nonsense": 5, "": 5}


def test_a_person_takes_an_agent_out_and_context_back(operator, viewer, ada, browser_of):
    task = a_task()
    collaboration.join(ada, task.code, "writer")
    collaboration.share(ada, task.code, "tone", "Calm")
    for path, fields in (("participants", {"agent": "ada"}), ("context", {"key": "tone"})):
        address = f"/tasks/{task.code}/{path}/remove"
        assert browser_of(viewer).post(address, fields, headers=PART).status_code == 403
        drawer = browser_of(operator).post(address, {**fields, "tab": "context"}, headers=PART)
        assert drawer.status_code == 200
        assert browser_of(operator).post(address, fields, headers=PART).status_code == 404
    shown = drawer.content.decode()
    assert "No agent has joined" in shown and "Nothing is shared yet" in shown


def test_a_person_lets_an_agent_take_part(operator, viewer, ada, bob, browser_of, closed):
    task, hidden = a_task(), a_task(venture=closed)
    for code, agent, status in ((task.code, "bob", 200), (hidden.code, "bob", 409), (task.code, "nobody", 404)):
        fields = {"agent": agent, "role": "second  reader", "tab": "context"}
        answer = browser_of(operator).post(f"/tasks/{code}/participants/add", fields, headers=PART)
        assert answer.status_code == status, agent
        if status == 200:
            assert "second reader" in answer.content.decode()
            assert '<option value="bob">' not in answer.content.decode()
    assert (
        browser_of(viewer).post(f"/tasks/{task.code}/participants/add", {"agent": "ada"}, headers=PART).status_code
        == 403
    )
    choices = browser_of(operator).get(f"/tasks/{hidden.code}/drawer?tab=context", headers=PART).content.decode()
    assert '<option value="ada">' in choices and '<option value="bob">' not in choices
