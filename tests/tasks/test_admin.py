"""Tasks in the admin: the actions are the verbs, state is read-only, an edit is recorded once like any other."""

import pytest
from django.core.files.base import ContentFile
from django.test import Client

from agents import roster
from mission_control import log
from mission_control.actors import Actor, person
from mission_control.models import Activity, User
from tasks import claiming, transitions
from tasks.claiming import Wish
from tasks.models import Deliverable, Dependency, Session, Task
from tests.admin_pages import act, errors, form_of, send
from ventures import catalogue
from ventures.ledger import Spent

pytestmark = pytest.mark.django_db

LIST = "/admin/tasks/task/"


@pytest.fixture
def admiral():
    return person(User.objects.create(username="admiral", role="admin"))


@pytest.fixture
def desk(admiral):
    client = Client()
    client.force_login(admiral.user)
    return client


@pytest.fixture
def ada(admiral):
    return roster.create(admiral, name="Ada", slug="ada", capabilities=["python"])


@pytest.fixture
def task(admiral):
    return transitions.create(admiral, title="Take the photos", tags=["shop"])


def as_worker(agent) -> Actor:
    return Actor("agent", agent.slug, frozenset({"read", "work"}), agent=agent)


def newest() -> Activity:
    return Activity.objects.order_by("-seq")[0]


# ── edit ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edit_is_one_activity_and_raises_the_version_once(desk, task):
    head, version = log.head(), task.version
    answer = send(
        desk, f"{LIST}{task.pk}/change/", title="Take better photos", priority="3", tags="shop, photo",
        estimated_cost_micro_usd="0.80", deadline_0="2027-01-31", deadline_1="12:00:00",
    )  # fmt: skip
    assert errors(answer) == ""
    assert log.head() == head + 1
    assert (newest().kind, newest().task, newest().actor) == ("task.updated", task.code, "admiral")
    assert newest().data["after"] == {
        "title": "Take better photos", "priority": 3, "tags": ["shop", "photo"], "estimated_cost_micro_usd": 800_000,
        "deadline": "2027-01-31T12:00:00Z",
    }  # fmt: skip
    task.refresh_from_db()
    assert task.version == version + 1
    assert errors(send(desk, f"{LIST}{task.pk}/change/")) == ""
    assert log.head() == head + 1


def test_an_assignee_given_here_assigns_the_task(desk, task, ada):
    assert errors(send(desk, f"{LIST}{task.pk}/change/", assignee=str(ada.pk))) == ""
    task.refresh_from_db()
    assert (task.status, task.assignee) == ("assigned", ada)
    assert (newest().status_from, newest().status_to) == ("ready", "assigned")


STATE = {
    "status": "done", "epoch": "99", "offered": "", "sort_key": "1", "failures": "7", "blockers_open": "3",
    "actual_cost_micro_usd": "5", "tokens_used": "5", "version": "77", "code": "zzzzzzzz", "holder": "1",
    "held_by": "1", "lease_expires_at_0": "2030-01-01", "lease_expires_at_1": "00:00", "completion_summary": "x",
    "progress_percent": "50", "generation": "9", "created_by": "eve", "session_key": "mine", "remembered": "review",
}  # fmt: skip


def test_no_state_field_can_be_written(desk, task):
    before = Task.objects.values().get(pk=task.pk)
    shown = form_of(desk, f"{LIST}{task.pk}/change/")
    assert not set(STATE) & set(shown)
    head = log.head()
    send(desk, f"{LIST}{task.pk}/change/", **STATE)
    assert Task.objects.values().get(pk=task.pk) == before
    assert log.head() == head


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "x" * 501),
        ("description", "x" * 50_001),
        ("priority", "7"),
        ("venture", "999999"),
        ("assignee", "999999"),
        ("estimated_tokens", "many"),
        ("estimated_cost_micro_usd", "-1"),
        ("tags", ",".join("x" * 3 + str(n) for n in range(60))),
        ("deadline_0", "tomorrow"),
    ],
)
def test_bad_input_is_refused_by_field(desk, task, field, value):
    before = Task.objects.values().get(pk=task.pk)
    assert field.removesuffix("_0") in errors(send(desk, f"{LIST}{task.pk}/change/", **{field: value}))
    assert Task.objects.values().get(pk=task.pk) == before


def test_what_the_verb_refuses_comes_back_in_the_form(desk, task, admiral, ada):
    claiming.claim_task(as_worker(ada), task.code, Wish())
    other = catalogue.create(admiral, name="Other", slug="other")
    head = log.head()
    answer = send(desk, f"{LIST}{task.pk}/change/", venture=str(other.pk), title="New title")
    assert "release it before it changes venture" in errors(answer)
    task.refresh_from_db()
    assert task.title == "Take the photos"
    assert log.head() == head
    child = transitions.create(admiral, title="Child", parent=task)
    assert "its own ancestor" in errors(send(desk, f"{LIST}{task.pk}/change/", parent=str(child.pk)))


def test_progress_meanwhile_does_not_get_in_the_way_but_an_edit_of_the_same_field_does(desk, task, admiral, ada):
    address = f"{LIST}{task.pk}/change/"
    claiming.claim_task(as_worker(ada), task.code, Wish())
    shown = form_of(desk, address)
    transitions.progress(as_worker(ada), task.code, percent=50)
    assert errors(desk.post(address, {**shown, "description": "In the studio"})) == ""
    transitions.edit(admiral, task.code, {"title": "Take all the photos"})
    assert "title: Somebody changed this" in errors(desk.post(address, {**shown, "title": "No photos"}))
    task.refresh_from_db()
    assert (task.description, task.title, task.progress_percent) == ("In the studio", "Take all the photos", 50)


# ── make and delete ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_made_by_its_verb(desk, ada):
    assert errors(send(desk, f"{LIST}add/", title="Write", venture=default_venture(), tags="copy")) == ""
    made = Task.objects.get(title="Write")
    assert (made.status, made.created_by, made.tags, made.offered) == ("ready", "admiral", ["copy"], True)
    assert (newest().kind, newest().task) == ("task.created", made.code)
    send(desk, f"{LIST}add/", title="Meant", venture=default_venture(), assignee=str(ada.pk))
    assert Task.objects.get(title="Meant").status == "assigned"
    send(desk, f"{LIST}add/", title="Idea", venture=default_venture(), start_as="inbox")
    assert Task.objects.get(title="Idea").status == "inbox"
    clash = send(desk, f"{LIST}add/", title="Clash", venture=default_venture(), assignee=str(ada.pk), start_as="ready")
    assert "A ready task is nobody's" in errors(clash)


def default_venture() -> str:
    return str(catalogue.default().pk)


def test_deleting_goes_through_the_verb_and_shows_what_it_refuses(desk, admiral, task):
    later = transitions.create(admiral, title="Upload", depends_on=[task])
    page = desk.post(f"{LIST}{task.pk}/delete/", {"post": "yes"}, follow=True)
    assert "Others wait for it" in [str(message) for message in page.context["messages"]][0]
    assert Task.objects.count() == 2
    messages = act(desk, LIST, "delete_selected", later, post="yes")
    assert messages == ["1 deleted."]
    assert newest().kind == "task.deleted"
    assert desk.post(f"{LIST}{task.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Task.objects.exists()


# ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_action_calls_its_verb(desk, admiral, ada):
    """One task through all of them; each step is one status and one kind."""
    task = transitions.create(admiral, title="Photos")
    steps = [
        ("to_inbox", "", "inbox", "task.moved"),
        ("to_ready", "", "ready", "task.moved"),
        ("pause", "too early", "paused", "task.paused"),
        ("resume", "", "ready", "task.resumed"),
        ("block", "Which colours?", "blocked", "task.blocked"),
        ("unblock", "All of them", "ready", "task.unblocked"),
        ("cancel", "not needed", "cancelled", "task.cancelled"),
        ("reopen", "needed after all", "ready", "task.reopened"),
    ]
    for action, reason, status, kind in steps:
        messages = act(desk, LIST, action, task, reason=reason)
        task.refresh_from_db()
        assert (action, task.status, newest().kind, newest().message) == (action, status, kind, reason), messages
        assert newest().actor == "admiral"
    claiming.claim_task(as_worker(ada), task.code, Wish())
    act(desk, LIST, "release", task, reason="too slow")
    task.refresh_from_db()
    assert (task.status, task.epoch, newest().kind) == ("ready", 1, "task.released")
    claiming.claim_task(as_worker(ada), task.code, Wish())
    transitions.complete(as_worker(ada), task.code, review=True)
    act(desk, LIST, "return", task, reason="blurred")
    task.refresh_from_db()
    assert (task.status, newest().message) == ("ready", "blurred")
    claiming.claim_task(as_worker(ada), task.code, Wish())
    act(desk, LIST, "complete", task, reason="fine")
    task.refresh_from_db()
    assert (task.status, task.completion_summary) == ("done", "fine")
    act(desk, LIST, "reopen", task)
    claiming.claim_task(as_worker(ada), task.code, Wish())
    transitions.complete(as_worker(ada), task.code, review=True)
    act(desk, LIST, "accept", task)
    task.refresh_from_db()
    assert (task.status, newest().kind) == ("done", "task.accepted")
    catalogue.change(admiral, catalogue.default(), {"max_failures": 1})
    act(desk, LIST, "reopen", task)
    claiming.claim_task(as_worker(ada), task.code, Wish())
    transitions.fail(as_worker(ada), task.code, error="no light")
    act(desk, LIST, "retry", task)
    task.refresh_from_db()
    assert (task.status, task.failures, newest().kind) == ("ready", 0, "task.retried")


def test_a_refusal_is_shown_for_each_task_and_the_rest_goes_on(desk, admiral, task):
    done = transitions.create(admiral, title="Old")
    transitions.cancel(admiral, done.code)
    messages = act(desk, LIST, "pause", done, task)
    assert f"{done}: Cannot pause. It is cancelled: reopen it first." in messages
    assert "1 paused." in messages
    task.refresh_from_db()
    assert task.status == "paused"
    assert "Say what it waits for." in act(desk, LIST, "block", done, reason=" ")[0]


def test_an_action_over_too_many_rows_does_nothing(desk, admiral, task, monkeypatch):
    monkeypatch.setattr("mission_control.admin.MOST_AT_ONCE", 2)
    transitions.create_many(admiral, [{"title": f"{n}"} for n in range(3)])
    messages = act(desk, LIST, "cancel", task, select_across="1")
    assert messages == ["Choose up to 2 at once. Nothing was changed."]
    assert not Task.objects.filter(status="cancelled").exists()


# ── the rest ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_dependencies_are_made_and_removed_by_their_verbs(desk, admiral, task):
    later = transitions.create(admiral, title="Upload")
    rows = "/admin/tasks/dependency/"
    assert errors(send(desk, f"{rows}add/", task=str(later.pk), depends_on=str(task.pk))) == ""
    later.refresh_from_db()
    assert (later.status, later.blockers_open) == ("blocked", 1)
    assert "that would be a cycle" in errors(send(desk, f"{rows}add/", task=str(task.pk), depends_on=str(later.pk)))
    assert errors(send(desk, f"{rows}add/", task=str(task.pk), depends_on=str(task.pk)))
    edge = Dependency.objects.get()
    assert desk.post(f"{rows}{edge.pk}/change/", {"task": task.pk}).status_code == 403
    act(desk, rows, "delete_selected", edge, post="yes")
    later.refresh_from_db()
    assert (later.status, later.blockers_open) == ("ready", 0)


def test_sessions_are_read_only(desk, task, ada):
    claiming.claim_task(as_worker(ada), task.code, Wish())
    session = Session.objects.get()
    page = f"/admin/tasks/session/{session.pk}/"
    assert desk.get(f"{page}change/").status_code == 200
    assert desk.post(f"{page}change/", {"state": "completed"}).status_code == 403
    assert desk.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert desk.get("/admin/tasks/session/add/").status_code == 403
    assert Session.objects.get().state == "running"


def test_an_orphaned_result_is_adopted_and_its_file_is_a_link(desk, admiral, task, ada, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    claim = claiming.claim_task(as_worker(ada), task.code, Wish())
    transitions.release(admiral, task.code)
    late = {"type": "file", "title": "photo.txt", "file": ContentFile(b"light", "photo.txt"), "filename": "photo.txt"}
    with pytest.raises(Exception, match="Your lease on this task is over"):
        transitions.complete(
            as_worker(ada), task.code, claiming.Fence(claim.epoch, claim.lease_token), deliverables=[late],
            total=Spent(amount_micro_usd=10),
        )  # fmt: skip
    row = Deliverable.objects.get()
    page = desk.get(f"/admin/tasks/deliverable/{row.pk}/change/").content.decode()
    assert f'href="/api/v1/tasks/{task.code}/deliverables/1/file"' in page
    assert act(desk, "/admin/tasks/deliverable/", "adopt", row) == ["1 adopted."]
    assert newest().kind == "deliverable.adopted"
    assert not Deliverable.objects.get().orphaned


def test_the_page_of_a_task_says_what_it_waits_for_and_escapes_what_people_wrote(desk, admiral):
    task = transitions.create(admiral, title="<script>alert(1)</script>")
    transitions.block(admiral, task.code, kind="needs_input", reason="<img src=x onerror=alert(1)>")
    page = desk.get(f"{LIST}{task.pk}/change/").content.decode()
    assert "It is blocked and needs an answer" in page
    assert "<img src=x" not in page
    assert "<script>alert" not in page


def test_a_list_takes_as_many_queries_for_many_tasks_as_for_one(desk, admiral, task, ada, django_assert_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as one:
        assert desk.get(LIST).status_code == 200
    transitions.create_many(admiral, [{"title": f"{n}", "assignee": ada} for n in range(30)])
    with CaptureQueriesContext(connection) as many:
        assert desk.get(LIST).status_code == 200
    assert len(many) <= len(one)
    assert not [q["sql"] for q in many if "COUNT(" in q["sql"] and "LIMIT" not in q["sql"] and "tasks_task" in q["sql"]]


def test_search_finds_by_code_and_by_title(desk, admiral, task):
    transitions.create(admiral, title="Other")
    for words in (task.code, "photos"):
        assert [row.code for row in desk.get(LIST, {"q": words}).context["cl"].result_list] == [task.code]
