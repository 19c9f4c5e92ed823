"""The folder of a task orchestrator: both sets of columns come in, ours goes out and comes home, bad files do no harm."""

import io
import json
import os
import sqlite3
import tarfile
from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command
from django.core.management.base import CommandError

from agents.models import Agent
from mission_control import log
from mission_control.models import Activity
from tasks import invariants, transitions
from tasks.exchange import orchestrator_folder
from tasks.models import Dependency, Task
from tasks.origin_models import Origin
from tasks.teamwork import collaboration
from tests.conftest import DIRECTOR, a_task, claimed, fence

pytestmark = pytest.mark.django_db

OLDER = """
CREATE TABLE tasks (id TEXT PRIMARY KEY, title TEXT NOT NULL, description TEXT, status TEXT DEFAULT 'pending',
  priority TEXT DEFAULT 'medium', assignee TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, completed_at TEXT);
CREATE TABLE dependencies (task_id TEXT NOT NULL, depends_on TEXT NOT NULL, PRIMARY KEY (task_id, depends_on));
CREATE TABLE notifications (id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT, task_id TEXT, type TEXT NOT NULL,
  message TEXT NOT NULL, created_at TEXT NOT NULL, read BOOLEAN DEFAULT 0);
CREATE TABLE participants (task_id TEXT NOT NULL, agent_id TEXT NOT NULL, joined_at TEXT NOT NULL);
INSERT INTO tasks VALUES
  ('a1b2c3d4', 'Design', 'The schema.', 'completed', 'high', 'ada', '2026-01-14T10:00:00', '2026-01-15T10:00:00', '2026-01-15T10:00:00'),
  ('b1b2c3d4', 'Build', NULL, 'blocked', 'critical', 'zoe', '2026-01-14T10:00:00', '2026-01-15T10:00:00', NULL),
  ('c1b2c3d4', 'Ship', NULL, 'blocked', 'medium', NULL, '2026-01-14T10:00:00', '2026-01-15T10:00:00', NULL);
INSERT INTO dependencies VALUES ('b1b2c3d4', 'a1b2c3d4'), ('c1b2c3d4', 'b1b2c3d4');
INSERT INTO participants VALUES ('b1b2c3d4', 'ada', '2026-01-14T10:00:00');
INSERT INTO notifications (task_id, type, message, created_at) VALUES ('b1b2c3d4', 'unblocked', 'go', '2026-01-15T10:00:00');
"""
NEWER = """
ALTER TABLE tasks ADD COLUMN success_criteria TEXT; ALTER TABLE tasks ADD COLUMN feedback_quality INTEGER;
ALTER TABLE tasks ADD COLUMN feedback_timeliness INTEGER; ALTER TABLE tasks ADD COLUMN feedback_notes TEXT;
ALTER TABLE tasks ADD COLUMN completion_summary TEXT; ALTER TABLE tasks ADD COLUMN deadline TEXT;
ALTER TABLE tasks ADD COLUMN estimated_hours REAL; ALTER TABLE tasks ADD COLUMN actual_hours REAL;
ALTER TABLE participants ADD COLUMN role TEXT;
UPDATE tasks SET success_criteria = '[{"criterion": "Tests pass", "measurable": "exit_code == 0"}]', feedback_quality = 5,
  feedback_timeliness = 4, feedback_notes = 'Ahead of time.', completion_summary = 'Designed.', deadline = '2026-02-01T00:00:00Z',
  estimated_hours = 8.0, actual_hours = 6.5 WHERE id = 'a1b2c3d4';
UPDATE participants SET role = 'reviewer';
"""
CONTEXT = """
task_id: b1b2c3d4
created: '2026-01-14T10:00:00'
updated_by: ada
context:
  requirements:
  - Must support 1000 users
contributions:
- agent: ada
  timestamp: '2026-01-14T11:00:00'
  type: update
  content: API design ready
- agent: zoe
  timestamp: '2026-01-14T12:00:00'
  type: sync
  content: Half done
- agent: ada
  timestamp: '2026-01-14T13:00:00'
  type: discovery
  content: The cache lies
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """What that tool leaves behind."""
    root = tmp_path / "project" / ".task-orchestrator"
    for part in ("contexts", "notes", "archives"):
        (root / part).mkdir(parents=True)
    database(root, OLDER)
    (root / "contexts" / "b1b2c3d4.yaml").write_text(CONTEXT)
    (root / "contexts" / "b1b2c3d4_progress.jsonl").write_text(
        '{"timestamp": "2026-01-15T10:00:00Z", "agent": "zoe", "progress": 25, "message": "Endpoints defined"}\nno json\n'
    )
    (root / "notes" / "b1b2c3d4_ada.md").write_text("Token bucket?\n\n---\n2026-01-15T10:30:00.1\nYes, one.")
    return root


def database(root: Path, *scripts: str) -> None:
    connection = sqlite3.connect(root / "tasks.db")
    for script in scripts:
        connection.executescript(script)
    connection.close()


def packed(file: Path, members: dict[str, bytes], link: str = "") -> None:
    with tarfile.open(file, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)


def bring(folder, **options):
    out = StringIO()
    call_command("import_orchestrator", str(folder), stdout=out, **options)
    return out.getvalue()


def here(id):
    return Task.objects.get(code=Origin.objects.get(external_id=id).task)


def test_the_older_columns_come_in_with_what_was_said(folder, ada):
    told = bring(folder.parent)
    assert "3 created" in told
    design, build, ship = (here(f"{letter}1b2c3d4") for letter in "abc")
    assert (design.status, design.description, design.assignee, design.priority) == (
        "done",
        "The schema.",
        ada.agent,
        2,
    )
    assert (build.status, build.priority, build.assignee) == ("ready", 3, None)  # zoe is nobody here
    assert (ship.status, ship.dependencies.get().depends_on) == ("blocked", build)
    assert {entry.key: (entry.value, entry.kind, entry.by) for entry in build.context.all()} == {
        "update-1": ("API design ready", "share", "ada"),
        "requirements": (["Must support 1000 users"], "requirement", "ada"),
    }
    said = Activity.objects.filter(task=build.code).order_by("seq").values_list("kind", "message")
    assert [line for line in said if line[0] in ("checkpoint.posted", "finding.shared", "activity.logged")] == [
        ("checkpoint.posted", "Half done"), ("finding.shared", "The cache lies"), ("activity.logged", "Endpoints defined"),
    ]  # fmt: skip
    assert list(build.notes.order_by("id").values_list("by", "text")) == [
        ("ada", "Token bucket?"),
        ("ada", "Yes, one."),
    ]
    assert [(who.agent.slug, who.role) for who in build.participants.all()] == [("ada", "contributor")]
    for expected in ("zoe", "line 2", "1 of them"):
        assert expected in told
    assert all(not wrong for wrong in invariants.broken([]).values())


def test_the_newer_columns_come_in(folder, ada):
    database(folder, NEWER)
    bring(folder)
    design, build = here("a1b2c3d4"), here("b1b2c3d4")
    assert design.success_criteria == [{"criterion": "Tests pass", "measurable": "exit_code == 0"}]
    assert (design.completion_summary, str(design.actual_hours), str(design.estimated_hours)) == (
        "Designed.",
        "6.50",
        "8.00",
    )
    assert design.deadline.isoformat() == "2026-02-01T00:00:00+00:00"
    comment = Activity.objects.get(kind="comment.added", task=design.code)
    assert comment.message == "Feedback there: quality 5 of 5, timeliness 4 of 5. Ahead of time."
    assert build.participants.get().role == "reviewer"


def test_bringing_it_in_again_changes_nothing(folder, ada):
    bring(folder, create_agents=True)
    assert Agent.objects.filter(slug="zoe").exists()
    head = log.head()
    assert "0 created, 3 known" in bring(folder, create_agents=True)
    assert log.head() == head


def test_a_dry_run_of_a_folder_writes_nothing(folder):
    head = log.head()
    assert "3 would be created" in bring(folder, dry_run=True, create_agents=True)
    assert (log.head(), Task.objects.count(), Agent.objects.count()) == (head, 0, 0)


def test_the_newest_archive_speaks_for_a_finished_task(folder, ada):
    root = "task_a1b2c3d4_20260115_100000"
    notes = {f"{root}/notes/a1b2c3d4_ada.md": b"Archived."}
    packed(folder / "archives" / "task_a1b2c3d4_20260114_100000.tar.gz", {f"{root}/context.yaml": b"context: {a: old}"})
    packed(folder / "archives" / f"{root}.tar.gz", {f"{root}/context.yaml": b"context: {a: new}", **notes})
    bring(folder)
    assert here("a1b2c3d4").context.get().value == "new"
    assert here("a1b2c3d4").notes.get().text == "Archived."


def test_bad_files_are_left_out_and_told(folder, tmp_path, ada):
    secret = tmp_path / "secret.yaml"
    secret.write_text("context: {stolen: yes}")
    (folder / "contexts" / "a1b2c3d4.yaml").symlink_to(secret)
    (folder / "contexts" / "c1b2c3d4.yaml").write_text("a: &a [1]\nb: *a\n")
    (folder / "contexts" / "ffffffff.yaml").write_text("context: {}")
    packed(folder / "archives" / "task_c1b2c3d4_20260115_100000.tar.gz", {"../../context.yaml": b"context: {b: 1}"})
    packed(
        folder / "archives" / "task_a1b2c3d4_20260115_100000.tar.gz",
        {"x/context.yaml": b"context: {c: 1}"},
        link="/etc/passwd",
    )
    told = bring(folder)
    assert "3 created" in told
    for name in ("a1b2c3d4.yaml", "c1b2c3d4", "ffffffff.yaml", "task_a1b2c3d4_20260115_100000.tar.gz"):
        assert name in told
    assert not here("a1b2c3d4").context.exists()
    assert not here("c1b2c3d4").context.exists()
    assert not (tmp_path / "context.yaml").exists()


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no database" * 100,
        "CREATE VIEW tasks AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS id, x AS title FROM n;",
    ],
)
def test_a_database_that_is_none_does_no_harm(tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "tasks.db").write_bytes(content)
    elif content:
        database(tmp_path, content)
    try:
        assert "0 created" in bring(tmp_path)
    except CommandError as error:
        assert "tasks.db" in str(error)
    assert not Task.objects.exists()


def test_a_database_that_would_compute_for_ever_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(orchestrator_folder, "STEPS_MOST", 1_000_000)
    endless = "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n)"
    database(tmp_path, OLDER, "ALTER TABLE tasks RENAME TO t; CREATE TABLE tasks (id TEXT, title TEXT);")
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.executemany("INSERT INTO tasks VALUES (?, ?)", ((f"{n}", "x") for n in range(400_000)))
        connection.execute(f"CREATE VIEW v AS SELECT {endless}")
    connection.close()
    with pytest.raises(CommandError, match="interrupted"):
        bring(tmp_path)


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def worked(ada, bob):
    """A board with something of everything on it."""
    first = a_task("Cut", description="Cloth.", priority=3, tags=["cloth"], success_criteria=[{"criterion": "It fits"}])
    second = a_task("Sew", depends_on=[first], parent=first)
    claim = claimed(ada, first)
    collaboration.join(ada, first.code, "tailor")
    collaboration.share(ada, first.code, "thread", {"colour": "red"}, kind="decision")
    collaboration.sync(ada, first.code, "Half")
    collaboration.take_note(ada, first.code, "Mind the hem.")
    collaboration.take_note(bob, first.code, "Bob's own.")
    transitions.progress(ada, first.code, fence(claim), percent=50, message="Half")
    transitions.complete(ada, first.code, fence(claim), summary="Cut.", actual_hours=2)
    transitions.pause(DIRECTOR, a_task("Later").code, reason="Winter.")
    return first, second


def out(folder):
    call_command("export_orchestrator", str(folder), stdout=StringIO())


def rows(folder, table):
    connection = sqlite3.connect(folder / "tasks.db")
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return found


def test_the_folder_that_is_written_is_that_of_the_tool(worked, tmp_path):
    first, second = worked
    out(tmp_path / "out")
    told = {row["id"]: row for row in rows(tmp_path / "out", "tasks")}
    assert len(told) == 3
    assert {name: told[first.code][name] for name in ("title", "status", "priority", "completion_summary", "actual_hours")} == {
        "title": "Cut", "status": "completed", "priority": "critical", "completion_summary": "Cut.", "actual_hours": 2.0,
    }  # fmt: skip
    assert (told[second.code]["status"], told[second.code]["mc_status"]) == ("pending", "ready")
    assert [(row["task_id"], row["depends_on"]) for row in rows(tmp_path / "out", "dependencies")] == [
        (second.code, first.code)
    ]
    assert [(row["agent_id"], row["role"]) for row in rows(tmp_path / "out", "participants")] == [("ada", "tailor")]
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {
        "tasks.db", f"contexts/{first.code}.yaml", f"contexts/{first.code}_progress.jsonl",
        f"notes/{first.code}_ada.md", f"notes/{first.code}_bob.md",
    }  # fmt: skip
    context = yaml.safe_load((tmp_path / "out" / "contexts" / f"{first.code}.yaml").read_text())
    assert context["context"] == {"thread": {"colour": "red"}}
    progress = (tmp_path / "out" / "contexts" / f"{first.code}_progress.jsonl").read_text()
    assert json.loads(progress)["progress"] == 50


def test_what_was_written_comes_in_elsewhere_as_it_was(worked, tmp_path):
    first, second = worked
    out(tmp_path)
    was = {task.title: (task.status, task.priority, task.tags, task.completion_summary) for task in Task.objects.all()}
    Dependency.objects.all().delete()
    for task in Task.objects.order_by("-id"):
        transitions.delete(DIRECTOR, task.code)
    assert "3 created" in bring(tmp_path)
    assert {t.title: (t.status, t.priority, t.tags, t.completion_summary) for t in Task.objects.all()} == was
    again = here(first.code)
    assert again.context.get(key="thread").value == {"colour": "red"}
    assert sorted(again.notes.values_list("by", "text")) == [("ada", "Mind the hem."), ("bob", "Bob's own.")]
    assert again.success_criteria == [{"criterion": "It fits"}]
    assert here(second.code).parent == again
    assert here(second.code).dependencies.get().depends_on == again
    assert Task.objects.get(title="Later").paused_reason == "Winter."


def test_an_export_that_comes_home_changes_nothing(worked, tmp_path):
    out(tmp_path)
    head = log.head()
    assert "0 created, 3 known" in bring(tmp_path)
    assert log.head() == head


def test_writing_again_touches_only_what_has_changed(worked, tmp_path):
    first, _ = worked
    out(tmp_path)
    files = {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.suffix in (".yaml", ".md", ".jsonl")}
    collaboration.take_note(DIRECTOR, first.code, "One more.")
    collaboration.share(DIRECTOR, first.code, "needle", 7)
    out(tmp_path)
    changed = {path.name for path, inode in files.items() if path.stat().st_ino != inode}
    assert changed == {f"{first.code}.yaml"}
    assert (tmp_path / "notes" / f"{first.code}_system-test.md").exists()


def test_the_folder_of_another_tool_is_never_written_over(folder, worked, tmp_path):
    before = (folder / "tasks.db").read_bytes()
    with pytest.raises(CommandError, match="another tool"):
        out(folder)
    assert (folder / "tasks.db").read_bytes() == before
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "linked").mkdir()
    os.symlink(elsewhere, tmp_path / "linked" / "contexts")
    with pytest.raises(CommandError, match="is a link"):
        out(tmp_path / "linked")
    assert list(elsewhere.iterdir()) == []


def test_a_mirror_follows_what_happens_until_it_is_stopped(worked, tmp_path):
    first, second = worked

    class Stopping:
        """Lets the mirror look three times, and changes something before the first."""

        looks = 0

        def wait(self, _seconds):
            self.looks += 1
            if self.looks == 1:
                collaboration.share(DIRECTOR, second.code, "needle", 7)
                transitions.edit(DIRECTOR, first.code, {"title": "Cut it"})
            elif self.looks == 2:
                self.written = (tmp_path / "tasks.db").stat().st_ino
            return self.looks > 2

    stopping = Stopping()
    orchestrator_folder.mirror(tmp_path, 0.1, stopping)
    assert yaml.safe_load((tmp_path / "contexts" / f"{second.code}.yaml").read_text())["context"] == {"needle": 7}
    assert {row["title"] for row in rows(tmp_path, "tasks")} >= {"Cut it"}
    assert (tmp_path / "tasks.db").stat().st_ino == stopping.written  # the third time nothing had changed
