"""What the drawer shows beside the fields: what opens a gate, the tasks around, what was changed, how a file looks."""

from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.test import Client

from mission_control.actors import Actor
from mission_control.models import Fleet
from tasks import audit, transitions
from tasks.models import Deliverable, Session
from tasks.pages import details, graph, preview
from tasks.teamwork import collaboration
from tests.conftest import DIRECTOR, a_task, claimed, fence, fresh

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def own_files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def browser(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


def drawer(actor: Actor, task, tab="overview", **query) -> str:
    return browser(actor).get(f"/tasks/{task.code}/drawer", {"tab": tab, **query}, headers=PART).content.decode()


def steps(actor: Actor, task) -> dict[str, str]:
    """What the control beside each shut gate does."""
    found = {}
    for gate, way, button in details.Details(actor, task.code).gates_shut:
        found[gate.name] = "" if way is None else button.name if button else way.task or way.place or way.call
    return found


def test_each_shut_gate_has_the_one_control_that_opens_it(operator, viewer, ada):
    first, task = a_task("First"), a_task("Then")
    transitions.add_dependency(operator, task.code, first.code)
    assert steps(operator, task)["dependency"] == first.code
    assert steps(viewer, task)["dependency"] == first.code, "a viewer may look at the other task"
    waiting = a_task("Wait", status="inbox")
    assert steps(operator, waiting)["status"] == "to-ready"
    assert steps(viewer, waiting)["status"] == ""
    asked = transitions.block(operator, a_task("Ask").code, kind="needs_input", reason="Which colour?")
    assert steps(operator, asked)["status"] == "unblock"
    assert steps(operator, a_task("Mine", status="assigned"))["status"].startswith("#assignee-")
    assert steps(operator, a_task("Read", needs_approval=True))["approval"].startswith("#approval-")
    assert steps(operator, a_task("Skill", required_capabilities=["welding"]))["capabilities"].startswith("#skills-")


def test_a_gate_of_the_fleet_is_opened_by_the_call_that_the_page_shows(operator):
    task = a_task()
    Fleet.objects.update(frozen_at="2026-01-01T00:00:00Z", frozen_by="olivia")
    method, url = steps(operator, task)["freeze"].split(" ")
    assert f'data-call="{method} {url}"' in drawer(operator, task)
    answer = browser(operator).generic(method, url, b"{}", "application/json")
    assert answer.status_code == 200
    assert "freeze" not in steps(operator, task)


def test_the_graph_shows_two_levels_on_either_side_and_counts_what_finds_no_place(operator):
    chain = [a_task(f"Step {n}") for n in range(7)]
    for before, after in zip(chain, chain[1:], strict=False):
        transitions.add_dependency(operator, after.code, before.code)
    shown = graph.around(fresh(chain[3]))
    assert {node.title for node in shown.nodes} == {f"Step {n}" for n in range(1, 6)}
    assert [node.title for node in shown.nodes if node.here] == ["Step 3"]
    assert len(shown.edges) == 4
    assert len({node.x for node in shown.nodes}) == 5
    for n in range(9):
        transitions.add_dependency(operator, a_task(f"Leaf {n}").code, chain[6].code)
    shown = graph.around(fresh(chain[6]))
    assert shown.more == 3
    assert len({(node.x, node.y) for node in shown.nodes}) == len(shown.nodes)
    assert graph.around(fresh(a_task("Alone"))) is None
    page = drawer(operator, chain[3])
    assert 'class="graph"' in page and page.count("<foreignObject") == 5


def test_what_was_changed_stands_with_before_and_after(operator, viewer):
    task = a_task("Old <i>")
    transitions.edit(operator, task.code, {"title": "New", "tags": ["a", "b"], "needs_approval": True})
    [edited, *_], more = details.Details(viewer, task.code).audit()
    told = {change.field: (change.before, change.after) for change in edited.changes}
    assert told["title"] == ("Old <i>", "New")
    assert told["tags"] == ("", "a, b")
    assert told["approval"] == ("no", "yes")
    assert more is False
    page = drawer(viewer, task, "audit")
    assert "Old &lt;i&gt;" in page and "<ins" in page
    assert audit.audit_line(collaboration.comment(operator, task.code, "Nothing changed")).changes == []


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("a.png", b"\x89PNG", "picture"),
        ("a.md", b"# Read <script>", "prose"),
        ("a.patch", b"--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new <b>\n", "diff"),
        ("a.html", b"<script>alert(1)</script>", "text"),
        ("a.csv", b"\xff\x00broken", "text"),
    ],
)
def test_a_file_is_shown_by_its_ending_and_none_of_it_is_markup(operator, name, content, field):
    task = a_task()
    row = Deliverable(task=task, number=1, type="file", title="T", filename=name, size=len(content))
    row.file.save(name, ContentFile(content))
    shown = details.Details(operator, task.code).deliverables(1)[0].preview
    assert [one for one in ("picture", "prose", "diff", "text") if getattr(shown, one)] == [field]
    page = drawer(operator, task, "deliverables", show="1")
    assert "<script>" not in page.split('class="preview"')[1] and "new <b>" not in page
    assert 'class="preview"' not in drawer(operator, task, "deliverables")


def test_a_preview_is_bounded_and_says_when_the_file_is_gone(operator, monkeypatch):
    monkeypatch.setattr(preview, "MOST", 10)
    task = a_task()
    row = Deliverable(task=task, number=1, type="file", title="T", filename="a.txt", size=30)
    row.file.save("a.txt", ContentFile(b"0123456789abcdef"))
    shown = preview.preview(row, "/x")
    assert (shown.text, shown.cut) == ("0123456789", True)
    row.file.storage.delete(row.file.name)
    assert preview.preview(row, "/x").gone
    assert "no longer on the disk" in drawer(operator, task, "deliverables", show="1")


def test_a_live_session_says_what_it_last_did(operator, ada):
    task = a_task()
    lease = claimed(ada, task)
    transitions.progress(ada, task.code, fence(lease), percent=40, message="Found the ladder")
    [line] = details.Details(operator, task.code).sessions
    assert [one.message for one in line.tail][0] == "Found the ladder"
    assert "Found the ladder" in drawer(operator, task, "sessions")
    transitions.complete(ada, task.code, fence(lease))
    assert Session.objects.get(task=task).ended_at is not None
    assert details.Details(operator, task.code).sessions[0].tail == []


def test_skills_and_estimates_are_edited_in_place(operator):
    task = a_task(required_capabilities=["python"])
    client = browser(operator)

    def edit(**fields):
        return client.post(f"/tasks/{task.code}/edit", fields, headers=PART).status_code

    assert edit(add_skill="SQL, welding") == 200
    assert edit(remove_skill="python") == 200
    assert edit(estimated_hours="1,5") == 200
    assert edit(estimated_cost="$2.5") == 200
    task = fresh(task)
    assert task.required_capabilities == ["sql", "welding"]
    assert (task.estimated_hours, task.estimated_cost_micro_usd) == (Decimal("1.50"), 2_500_000)
    assert edit(estimated_hours="1,000", estimated_cost="$1,250.50") == 200
    task = fresh(task)
    assert (task.estimated_hours, task.estimated_cost_micro_usd) == (Decimal("1000.00"), 1_250_500_000)
    too_long = {"estimated_hours": "999999.999"}
    for wrong in ({"estimated_hours": "soon"}, {"estimated_hours": "NaN"}, too_long, {"estimated_cost": "-1"}):
        assert edit(**wrong) == 400
    assert edit(estimated_hours="", estimated_cost="") == 200
    assert fresh(task).estimated_hours is None


def test_a_title_that_somebody_changed_meanwhile_is_not_written_over(operator):
    task = a_task("One")
    client = browser(operator)
    seen = details.digest("One")
    transitions.edit(DIRECTOR, task.code, {"title": "Theirs"})
    answer = client.post(f"/tasks/{task.code}/edit", {"title": "Mine", "seen_title": seen}, headers=PART)
    assert (answer.status_code, "Theirs" in answer.content.decode()) == (412, True)
    assert fresh(task).title == "Theirs"
    seen = details.digest("Theirs")
    assert (
        client.post(f"/tasks/{task.code}/edit", {"title": "Mine", "seen_title": seen}, headers=PART).status_code == 200
    )


def test_names_are_offered_by_their_beginning(operator, viewer, ada, bob):
    task = a_task()
    names = [name for name, _ in collaboration.mentionable(task, "")]
    assert {"ada", "bob"} < set(names)
    assert [name for name, _ in collaboration.mentionable(task, "AD")] == ["ada"]
    answer = browser(viewer).get(f"/tasks/{task.code}/names", {"q": "ad"}, headers=PART).content.decode()
    assert 'data-name="ada"' in answer and "bob" not in answer
