"""Tasks of other tools come in once, in order and by the verbs, and what could not be taken is said."""

import json
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from agents.models import Agent
from mission_control import log
from mission_control.errors import Invalid, Refused
from mission_control.models import Activity
from tasks import invariants, transitions
from tasks.exchange import import_formats, importing
from tasks.exchange.importing import Draft
from tasks.models import Task
from tasks.origin_models import Origin
from tests.conftest import DIRECTOR
from ventures import catalogue

pytestmark = pytest.mark.django_db


def take(*drafts, **options):
    return importing.take(DIRECTOR, drafts, source="test", venture=catalogue.default(), **options)


def here(id, source="test"):
    return Task.objects.get(code=Origin.objects.get(source=source, external_id=id).task)


def waits_for(id):
    codes = here(id).dependencies.values_list("depends_on__code", flat=True)
    return set(Origin.objects.filter(task__in=codes).values_list("external_id", flat=True))


def run(*arguments, **options):
    out = StringIO()
    call_command("import_tasks", *map(str, arguments), stdout=out, **options)
    return out.getvalue()


# ── what becomes of drafts ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["inbox", "ready", "assigned", "review", "done", "paused", "blocked", "cancelled"])
def test_a_draft_comes_to_the_status_it_had(status):
    report = take(Draft("1", "Sew", status=status, summary="Sewn.", reason="No thread."))
    assert here("1").status == status
    assert report.losses == {}
    assert all(not wrong for wrong in invariants.broken([]).values())


def test_nobody_holds_what_was_in_progress_there(ada):
    report = take(Draft("1", "Sew", status="in_progress", assignee="Ada"), Draft("2", "Cut", status="in_progress"))
    assert (here("1").status, here("1").assignee.slug, here("2").status) == ("assigned", "ada", "ready")
    assert list(report.losses.values()) == [["1", "2"]]


def test_prerequisites_come_first_whatever_the_order_of_the_file():
    take(
        Draft("3", "Sell", status="ready", depends_on=["2"]),
        Draft("2", "Sew", status="ready", depends_on=["1"]),
        Draft("1", "Cut", status="done"),
    )
    assert (here("1").status, here("2").status, here("3").status) == ("done", "ready", "blocked")
    assert (waits_for("3"), waits_for("2")) == ({"2"}, {"1"})


def test_what_was_done_after_what_was_done_stays_done():
    report = take(Draft("2", "Sew", status="done", depends_on=["1"]), Draft("1", "Cut", status="done"))
    assert (here("2").status, waits_for("2"), report.losses) == ("done", {"1"}, {})


def test_a_dependency_that_contradicts_or_names_nobody_is_left_out_and_told():
    report = take(
        Draft("1", "Cut", status="ready", depends_on=["9", "1"]), Draft("2", "Sew", status="done", depends_on=["1"])
    )
    assert (here("1").status, here("2").status) == ("ready", "done")
    assert sorted(about for told in report.losses.values() for about in told) == ["1", "1 → 9", "2 → 1"]


def test_a_long_chain_is_put_in_order_in_a_moment():
    n = 20_000
    chain = [Draft(id=f"t{i}", title="Next", depends_on=[f"t{i + 1}"], assignee=f"who-{i % 7}") for i in range(n)]
    began = time.monotonic()
    report = take(*chain, dry_run=True)
    assert time.monotonic() - began < 10
    assert list(report.created) == [f"t{i}" for i in reversed(range(n))]


def test_a_circle_is_cut_once_and_told():
    report = take(
        *(Draft(a, a, status="ready", depends_on=[b]) for a, b in ("ab", "bc", "ca")), Draft("d", "d", depends_on=["a"])
    )
    assert sum(len(told) for told in report.losses.values()) == 1
    assert sorted(len(waits_for(id)) for id in "abc") == [0, 1, 1]
    assert waits_for("d") == {"a"}


def test_parents_are_kept_also_where_the_parent_waits_for_its_parts():
    take(Draft("whole", "Whole", depends_on=["part"]), Draft("part", "Part", parent="whole"))
    assert here("part").parent == here("whole")
    assert waits_for("whole") == {"part"}


def test_two_that_are_each_others_parent_do_not_stop_the_others():
    report = take(Draft("a", "A", parent="b"), Draft("b", "B", parent="a"), Draft("c", "C", parent="a"))
    assert sum(len(told) for told in report.losses.values()) == 1
    assert here("c").parent == here("a")


def test_importing_again_changes_nothing(monkeypatch):
    drafts = [Draft("1", "Cut"), Draft("2", "Sew", depends_on=["1"], parent="1", comments=["Mind the hem."])]
    take(*drafts)
    transitions.edit(DIRECTOR, here("1").code, {"title": "Cut the cloth", "priority": 3})
    head = log.head()
    report = take(*drafts)
    assert (report.created, report.known) == ({}, 2)
    assert log.head() == head
    assert here("1").title == "Cut the cloth"
    assert list(report.losses.values()) == [["1"]]  # known under another title


def test_what_was_deleted_here_does_not_come_back():
    take(Draft("1", "Cut"))
    transitions.delete(DIRECTOR, here("1").code)
    report = take(Draft("1", "Cut"), Draft("2", "Sew", depends_on=["1"]))
    assert list(report.created) == ["2"]
    assert Task.objects.count() == 1
    assert list(report.losses.values()) == [["2 → 1"]]


def test_an_import_that_was_cut_off_is_finished_by_the_next(monkeypatch):
    monkeypatch.setattr(importing, "CHUNK", 2)
    drafts = [Draft(str(n), f"Task {n}", depends_on=[str(n - 1)] if n else []) for n in range(5)]
    real, calls = importing._write, []

    def fails_the_second_time(coming, chunk):
        calls.append(chunk)
        if len(calls) == 2:
            raise Refused("cut off")
        return real(coming, chunk)

    monkeypatch.setattr(importing, "_write", fails_the_second_time)
    with pytest.raises(Refused):
        take(*drafts)
    assert Task.objects.count() == Origin.objects.count() == 2
    monkeypatch.setattr(importing, "_write", real)
    report = take(*drafts)
    assert (len(report.created), report.known) == (3, 2)
    assert [waits_for(str(n)) for n in range(1, 5)] == [{"0"}, {"1"}, {"2"}, {"3"}]


def test_a_dry_run_writes_nothing_and_reports_the_same():
    drafts = [Draft("1", "Cut", assignee="Zoe"), Draft("2", "Sew", depends_on=["1", "9"])]
    head = log.head()
    dry = take(*drafts, dry_run=True, make_agents=True)
    assert (log.head(), Task.objects.count(), Origin.objects.count(), Agent.objects.count()) == (head, 0, 0, 0)
    real = take(*drafts, make_agents=True)
    assert (list(dry.created), dry.losses, dry.agents) == (list(real.created), real.losses, real.agents)
    assert here("1").assignee.slug == "zoe"


def test_an_unknown_assignee_is_told_and_nobody_is_made():
    report = take(Draft("1", "Cut", status="assigned", assignee="Zoe"))
    assert (here("1").assignee, Agent.objects.count()) == (None, 0)
    assert list(report.losses.values()) == [["1 → Zoe"]]


def test_what_is_too_long_is_cut_and_told():
    report = take(Draft("1", "x" * 600, description="y" * 60_000, tags=[f"tag {n}" for n in range(30)]))
    task = here("1")
    assert (len(task.title), len(task.description), len(task.tags)) == (500, 50_000, 20)
    assert len(report.losses) == 3


def test_each_task_that_comes_in_is_one_line_of_the_log_and_its_changes_are_others():
    before = log.head()
    take(Draft("1", "Cut", status="done", comments=["Well cut."]))
    kinds = list(Activity.objects.filter(seq__gt=before).order_by("seq").values_list("kind", flat=True))
    assert kinds == ["task.created", "task.completed", "comment.added"]


def test_a_venture_that_reviews_everything_does_not_review_the_past():
    venture = catalogue.create(DIRECTOR, name="Careful", review_required=True, approval_required=True, four_eyes=True)
    drafts = [Draft("1", "Cut", status="done"), Draft("2", "Sew", status="review"), Draft("3", "Sell", status="ready")]
    importing.take(DIRECTOR, drafts, source="test", venture=venture)
    assert [here(draft.id).status for draft in drafts] == ["done", "review", "ready"]
    assert here("3").awaits_approval


def test_criteria_come_as_far_as_they_fit():
    given = [
        {"criterion": "Fits"},
        {"criterion": "fits "},
        {"criterion": "Seams", "measurable": 3},
        {"criterion": "x" * 501},
    ]
    report = take(Draft("1", "Cut", criteria=given))
    assert here("1").success_criteria == [{"criterion": "Fits"}, {"criterion": "Seams", "measurable": "3"}]
    assert list(report.losses.values()) == [["1"]]


# ── the files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_csv_comes_in_by_the_names_of_its_columns(tmp_path, ada):
    file = tmp_path / "tasks.csv"
    file.write_text(
        "\ufeffKey;Name;State;Priority;Owner;Labels;Blocked by;Due Date;Estimate;Colour\n"
        "A-1;Cut;Done;High;ada;cloth,red;;;;blue\n"
        'A-2;"Sew\nthe hem";To Do;urgent;;;A-1;2027-01-31;1.5h;\n',
        encoding="utf-8",
    )
    told = run(file)
    assert "2 created" in told and "Colour" in told
    second = here("A-2", "csv:default")
    assert (second.title, second.status, second.priority) == ("Sew the hem", "ready", 3)
    assert (str(second.estimated_hours), second.deadline.isoformat()) == ("1.50", "2027-01-31T23:59:59+00:00")
    first = here("A-1", "csv:default")
    assert (first.tags, first.status, first.assignee.slug) == (["cloth", "red"], "done", "ada")
    assert second.dependencies.get().depends_on == first
    assert "0 created, 2 known already" in run(file)


def test_rows_without_an_id_are_known_by_their_title(tmp_path):
    file = tmp_path / "tasks.csv"
    file.write_text("title\nCut\nSew\nCut\n")
    assert "2 created" in run(file)
    assert "0 created, 2 known" in run(file)


def test_json_lines_come_in_by_the_names_of_the_api(tmp_path):
    file = tmp_path / "tasks.jsonl"
    rows = [
        {"id": 2, "title": "Sew", "dependsOn": [1], "tags": ["a", "b"], "status": "todo", "estimatedHours": 2},
        {"id": 1, "title": "Cut", "status": "completed", "completion_summary": "Cut.", "actual_hours": 0.25},
    ]
    file.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    run(file)
    assert waits_for_in("jsonl:default", "2") == {"1"}
    done = here("1", "jsonl:default")
    assert (done.status, done.completion_summary, str(done.actual_hours)) == ("done", "Cut.", "0.25")


def waits_for_in(source, id):
    codes = here(id, source).dependencies.values_list("depends_on__code", flat=True)
    return set(Origin.objects.filter(source=source, task__in=codes).values_list("external_id", flat=True))


BEADS = [
    {
        "id": "bd-a3f8", "title": "Auth", "description": "OAuth2", "status": "open", "priority": 1, "issue_type": "epic",
        "acceptance_criteria": "It logs in.", "created_at": "2025-01-09T12:00:00Z", "updated_at": "2025-01-09T12:00:00Z",
    },
    {
        "id": "bd-a3f8.1", "title": "Token store", "status": "closed", "priority": 0, "issue_type": "task",
        "close_reason": "Stored.", "closed_at": "2025-01-10T12:00:00Z", "labels": ["backend"],
        "dependencies": [{"issue_id": "bd-a3f8.1", "depends_on_id": "bd-a3f8", "type": "parent-child"}],
        "created_at": "2025-01-09T12:00:00Z", "updated_at": "2025-01-09T12:00:00Z",
    },
    {
        "id": "bd-k2", "title": "Login page", "status": "in_progress", "priority": 4, "issue_type": "feature",
        "estimated_minutes": 90, "comments": [{"id": 1, "issue_id": "bd-k2", "author": "ada", "text": "Started.", "created_at": "2025-01-11T09:00:00Z"}],
        "dependencies": [
            {"issue_id": "bd-k2", "depends_on_id": "bd-a3f8.1", "type": "blocks"},
            {"issue_id": "bd-k2", "depends_on_id": "bd-a3f8", "type": "discovered-from"},
        ],
        "created_at": "2025-01-09T12:00:00Z", "updated_at": "2025-01-09T12:00:00Z",
    },
    {"id": "bd-x", "title": "Later", "status": "deferred", "priority": 2, "issue_type": "task", "created_at": "2025-01-09T12:00:00Z"},
    {"id": "bd-gone", "title": "Gone", "status": "tombstone", "priority": 2, "issue_type": "task", "created_at": "2025-01-09T12:00:00Z"},
]  # fmt: skip


def test_beads_come_in_from_the_folder_of_a_project(tmp_path):
    (tmp_path / ".beads").mkdir()
    (tmp_path / ".beads/issues.jsonl").write_text("".join(json.dumps(issue) + "\n" for issue in BEADS))
    told = run(tmp_path)
    assert "4 created, 0 known already, 1 left out (beads:default)" in told
    assert "discovered-from" in told
    epic, part, page, later = (here(id, "beads:default") for id in ("bd-a3f8", "bd-a3f8.1", "bd-k2", "bd-x"))
    assert (epic.priority, epic.tags, epic.description) == (
        2,
        ["epic"],
        "OAuth2\n\n## Acceptance criteria\n\nIt logs in.",
    )
    assert (part.status, part.parent, part.priority, part.tags) == ("done", epic, 3, ["backend"])
    assert part.completion_summary == "Stored."
    assert (page.status, page.priority, str(page.estimated_hours), page.comment_count) == ("ready", 0, "1.50", 1)
    assert (later.status, waits_for_in("beads:default", "bd-k2")) == ("paused", {"bd-a3f8.1"})


BACKLOG = """---
id: {id}
title: 'Web UI: {title}'
status: {status}
assignee:
  - '@ada'
created_date: '2026-01-01 23:38'
labels:
  - web
dependencies: {dependencies}
priority: high
{more}---

## Description

<!-- SECTION:DESCRIPTION:BEGIN -->
Show the type.
<!-- SECTION:DESCRIPTION:END -->

## Acceptance Criteria
<!-- AC:BEGIN -->
- [ ] #1 Cards display it
<!-- AC:END -->
"""


def backlog(folder: Path, name, id, title, status, dependencies="[]", more="") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = BACKLOG.format(id=id, title=title, status=status, dependencies=dependencies, more=more)
    (folder / name).write_text(text)


def test_a_backlog_folder_comes_in_with_its_drafts_and_what_is_finished(tmp_path, ada):
    root = tmp_path / "backlog"
    backlog(root / "tasks", "back-355 - Type.md", "BACK-355", "type", "In Progress")
    backlog(
        root / "tasks", "back-355.06 - Edit.md", "BACK-355.06", "edit", "To Do", "\n  - task-355.10",
        more="parent_task_id: BACK-355\nmilestone: m-1\n",
    )  # fmt: skip
    backlog(root / "completed", "back-355.10 - Core.md", "BACK-355.10", "core", "Done")
    backlog(root / "drafts", "draft-355 - Idea.md", "draft-355", "idea", "Draft")
    (root / "tasks" / "notes.md").write_text("no front matter")
    (root / "tasks" / "link.md").symlink_to("/etc/passwd")
    told = run(tmp_path)
    assert "4 created" in told and "notes.md" in told and "link.md" in told
    edit = here("355.6", "backlog:default")
    assert (edit.title, edit.status, edit.priority, edit.assignee.slug) == ("Web UI: edit", "assigned", 2, "ada")
    assert edit.tags == ["web", "milestone m-1"]
    assert edit.parent == here("355", "backlog:default")
    assert edit.description == "## Description\n\nShow the type.\n\n## Acceptance Criteria\n- [ ] #1 Cards display it"
    assert waits_for_in("backlog:default", "355.6") == {"355.10"}
    assert here("draft-355", "backlog:default").status == "inbox"


TASK_MASTER = {
    "master": {
        "metadata": {"created": "2025-06-01T00:00:00Z", "updated": "2025-06-01T00:00:00Z", "description": ""},
        "tasks": [
            {"id": 1, "title": "Data", "description": "Design.", "details": "Do it.", "testStrategy": "Verify it.", "priority": "high", "status": "done", "dependencies": [], "subtasks": []},
            {"id": 2, "title": "Files", "description": "", "status": "pending", "priority": "medium", "dependencies": [1], "subtasks": [
                {"id": 1, "title": "Template", "description": "", "status": "done", "dependencies": []},
                {"id": 2, "title": "Logic", "description": "", "status": "pending", "dependencies": [1, "1"]},
                {"id": 3, "title": "Sync", "description": "", "status": "in-progress", "dependencies": ["2.2", 2]},
            ]},
        ],
    },
    "feature-x": {"tasks": [{"id": 1, "title": "X", "description": "", "status": "deferred", "dependencies": [], "subtasks": []}], "metadata": {}},
}  # fmt: skip


def test_task_master_comes_in_with_subtasks_and_tags(tmp_path):
    file = tmp_path / ".taskmaster" / "tasks" / "tasks.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(TASK_MASTER))
    assert "6 created" in run(tmp_path)
    source = "task-master:default"
    assert here("1", source).description == "Design.\n\n## Details\n\nDo it.\n\n## Test strategy\n\nVerify it."
    assert waits_for_in(source, "2") == {"1"}
    assert waits_for_in(source, "2.2") == {"2.1"}
    assert waits_for_in(source, "2.3") == {"2.2"}
    assert here("2.3", source).parent == here("2", source)
    assert (here("feature-x/1", source).status, here("feature-x/1", source).tags) == ("paused", ["feature-x"])


def test_task_master_of_before_tags_comes_in(tmp_path):
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps(TASK_MASTER["master"]))
    assert "5 created" in run(file)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tasks.txt", b"x"),
        ("tasks.jsonl", b"{"),
        ("tasks.jsonl", b"[1]"),
        ("tasks.jsonl", b"\xff\xfe"),
        ("tasks.json", b"{}"),
        ("tasks.json", b"[" * 100_000),
        ("tasks.csv", b'a,b\n"x'),
        ("tasks.jsonl", b'{"title": "x", "description": ' + b"[" * 900 + b"]" * 900 + b"}"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CommandError, match=r"This is|Not|No|is not|What is|cannot|too deeply"):
        run(tmp_path / name)
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": 1, "issue_type": "bug", "dependencies": 5, "comments": 7, "labels": 3, "priority": []},
        {"tasks": [{"id": 1, "title": "x", "dependencies": 5, "subtasks": 7}]},
    ],
)
def test_a_value_where_a_list_should_be_breaks_nothing(tmp_path, wrong):
    file = tmp_path / ("tasks.json" if "tasks" in wrong else "tasks.jsonl")
    file.write_text(json.dumps({"title": "x", **wrong} if "id" in wrong else wrong))
    _, [draft], _ = import_formats.read(file)
    assert (draft.id, draft.depends_on) == ("1", ["5"])


def test_a_folder_without_tasks_and_an_unknown_venture_are_refused(tmp_path):
    with pytest.raises(CommandError, match="holds no tasks"):
        run(tmp_path)
    (tmp_path / "tasks.csv").write_text("title\nCut\n")
    with pytest.raises(CommandError, match="no such venture"):
        run(tmp_path / "tasks.csv", venture="nowhere")


def test_poison_in_a_file_is_left_out_and_told(tmp_path):
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        '{"id": "1", "title": "a\\u0000b"}\n{"id": "2", "title": "\\ud800"}\n{"id": "3", "title": "ok"}\n{"id": "4"}\n'
    )
    _, drafts, report = import_formats.read(file)
    assert [draft.id for draft in drafts] == ["3"]
    assert sorted(about for told in report.losses.values() for about in told) == ["1", "2", "4"]


def test_front_matter_with_aliases_is_left_out(tmp_path):
    (tmp_path / "tasks").mkdir()
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nid: task-1\ntitle: Bomb\n"
    (tmp_path / "tasks" / "task-1 - Bomb.md").write_text(f"---\n{bomb}---\n")
    _, drafts, report = import_formats.read(tmp_path)
    assert drafts == []
    assert any("alias" in sentence for sentence in report.losses)


def test_two_imports_of_one_source_at_once_do_not_mix(monkeypatch):
    real = importing.codes_of
    monkeypatch.setattr(importing, "codes_of", lambda source: {})
    take(Draft("1", "Cut"))
    with pytest.raises(Refused, match="Another import"):
        take(Draft("1", "Cut"))
    monkeypatch.setattr(importing, "codes_of", real)
    assert Task.objects.count() == 1


def test_a_source_without_a_name_is_refused():
    with pytest.raises(Invalid):
        importing.take(DIRECTOR, [], source="", venture=catalogue.default())
