"""Finished tasks move out whole or not at all, and the log, the counts and the money stay as true as before."""

import io
import json
import stat
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from mission_control import log
from mission_control.errors import NotAllowed, Refused
from mission_control.keeping import archives
from mission_control.models import Activity
from tasks import invariants, transitions
from tasks.exchange import archiving
from tasks.models import Task
from tasks.teamwork import collaboration
from tests.conftest import DIRECTOR, a_task, claimed, fence
from ventures.ledger import Spent

pytestmark = pytest.mark.django_db
NOW = timedelta(0)


def done(ada, title="Sew", **fields):
    task = a_task(title, **fields)
    claim = claimed(ada, task)
    collaboration.take_note(ada, task.code, "Mind the hem.")
    transitions.complete(ada, task.code, fence(claim), summary="Sewn.", total=Spent(amount_micro_usd=250_000))
    return task


def aged(*tasks, days=100):
    for task in tasks:
        Task.objects.filter(pk=task.pk).update(status_changed_at=log.now() - timedelta(days=days))


def run(tmp_path, *arguments):
    out, err = StringIO(), StringIO()
    call_command("archive_tasks", "--to", str(tmp_path), *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_old_finished_tasks_move_out_and_the_others_stay(ada, tmp_path):
    old, young, cancelled, open_ = done(ada, "Old"), done(ada, "Young"), a_task("No"), a_task("Open")
    transitions.cancel(DIRECTOR, cancelled.code)
    aged(old, cancelled, open_)
    told, count = run(tmp_path, "--older-than", "90d")
    assert set(Task.objects.values_list("title", flat=True)) == {"Young", "Open"}
    assert old.code in told and cancelled.code in told and young.code not in told
    assert "Archived 2" in count
    [file] = tmp_path.glob(f"task_{old.code}_*.tar.gz")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    members = {name.partition("/")[2]: content for name, content in archives.read(io.BytesIO(file.read_bytes()))}
    assert json.loads(members["task.json"])["completion_summary"] == "Sewn."
    assert b"Mind the hem." in members[f"notes/{old.code}_ada.md"]


def test_the_log_verifies_and_everything_adds_up_afterwards(ada, tmp_path):
    old = done(ada)
    log.seal_log()
    aged(old)
    run(tmp_path, "--older-than", "90d")
    log.seal_log()
    assert log.verify_log()[1] == ""
    assert all(not wrong for wrong in invariants.broken([]).values())
    last = Activity.objects.filter(task=old.code).order_by("-seq").first()
    assert last.kind == "task.deleted" and last.message.startswith(f"Archived as task_{old.code}_")
    assert Activity.objects.filter(task=old.code, kind="task.completed").exists()


def test_those_that_waited_go_before_what_they_waited_for(ada, tmp_path):
    first = a_task("First")
    second = a_task("Second", depends_on=[first])
    claimed(ada, first)
    transitions.complete(DIRECTOR, first.code)
    claimed(ada, second)
    transitions.complete(DIRECTOR, second.code)
    aged(first, second)
    run(tmp_path, "--older-than", "90d")
    assert not Task.objects.exists()


def test_what_an_unfinished_task_waited_for_stays_and_is_told(ada, tmp_path):
    first = done(ada, "First")
    a_task("Second", depends_on=[first])
    aged(first)
    told, count = run(tmp_path, "--older-than", "90d")
    assert "stays" in told and "Archived 0" in count
    assert list(tmp_path.iterdir()) == []
    assert Task.objects.count() == 2


def test_a_dry_run_only_says_which(ada, tmp_path):
    old = done(ada)
    aged(old)
    assert run(tmp_path, "--older-than", "90d", "--dry-run") == (f"{old.code}\n", "")
    assert Task.objects.count() == 1


def test_a_task_that_was_reopened_meanwhile_stays(ada, tmp_path):
    old = done(ada)
    aged(old)
    transitions.reopen(DIRECTOR, old.code)
    with pytest.raises(Refused, match="not finished"):
        archiving.archive(DIRECTOR, old.code, tmp_path, timedelta(days=90))
    assert list(tmp_path.iterdir()) == []


def test_a_task_whose_file_cannot_be_written_stays_and_so_does_no_file_of_one_that_stays(ada, tmp_path, monkeypatch):
    old = done(ada)
    aged(old)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        archiving.archive(DIRECTOR, old.code, tmp_path / "file", NOW)

    def broken(*_, **__):
        raise Refused("No.")

    monkeypatch.setattr(transitions, "delete", broken)
    with pytest.raises(Refused):
        archiving.archive(DIRECTOR, old.code, tmp_path / "folder", NOW)
    assert list((tmp_path / "folder").iterdir()) == []
    assert Task.objects.count() == 1


def test_an_agent_archives_nothing(ada, tmp_path):
    with pytest.raises(NotAllowed):
        archiving.archive(ada, done(ada).code, tmp_path, NOW)
