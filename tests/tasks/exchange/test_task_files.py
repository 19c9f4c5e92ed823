"""A task as files over HTTP: what stands in them, who may read them, and that each can be read back."""

import io
import json

import pytest
import yaml

from mission_control import strict_yaml
from mission_control.errors import Invalid
from mission_control.keeping import archives
from tasks import transitions
from tasks.exchange import task_files
from tasks.teamwork import collaboration, plan
from tests.conftest import DIRECTOR, a_task, claimed, fence

pytestmark = pytest.mark.django_db


@pytest.fixture
def task(ada, bob):
    task = a_task("Sew", description="By hand.", tags=["cloth"])
    claim = claimed(ada, task)
    collaboration.join(ada, task.code, "tailor")
    collaboration.share(ada, task.code, "thread", {"colour": "red", "metres": 2.5}, kind="decision")
    collaboration.sync(ada, task.code, "Half of it is sewn.")
    collaboration.discover(bob, task.code, "The cloth shrinks.")
    collaboration.take_note(ada, task.code, "Mind the hem.\n\n---\nnot a date\nStill the same note.")
    collaboration.take_note(ada, task.code, "# Second\nUse silk.")
    collaboration.take_note(bob, task.code, "Bob's own.")
    transitions.progress(ada, task.code, fence(claim), percent=40, message="Sleeves", step="Sleeves")
    return task


def test_the_context_says_who_shared_what(task, api_of, bob):
    answer = api_of(bob).get(f"/tasks/{task.code}/context.yaml")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/yaml; charset=utf-8")
    assert answer["Content-Disposition"] == f'attachment; filename="{task.code}.yaml"'
    told = yaml.safe_load(answer.content)
    assert (told["task_id"], told["title"], told["updated_by"]) == (task.code, "Sew", "bob")
    assert told["context"] == {"thread": {"colour": "red", "metres": 2.5}}
    assert [(one["type"], one["agent"], one["content"]) for one in told["contributions"]] == [
        ("decision", "ada", {"colour": "red", "metres": 2.5}),
        ("sync", "ada", "Half of it is sewn."),
        ("discovery", "bob", "The cloth shrinks."),
    ]
    assert [(who["agent"], who["role"]) for who in told["participants"]] == [("ada", "tailor")]


def test_the_context_of_a_task_of_which_nothing_was_said(api_of, viewer):
    told = yaml.safe_load(api_of(viewer).get(f"/tasks/{a_task().code}/context.yaml").content)
    assert (told["context"], told["contributions"], told["participants"], told["plan"]) == ({}, [], [], [])


def test_the_plan_stands_in_the_context(api_of, operator):
    task = a_task()
    api_of(operator).post(f"/tasks/{task.code}/plan", {"steps": ["Cut", "Sew"]})
    told = strict_yaml.read(task_files.context_yaml(task))
    assert [step["title"] for step in told["plan"]] == list(plan.PlanStep.objects.values_list("title", flat=True))


def test_progress_is_a_line_each(task, api_of, bob):
    answer = api_of(bob).get(f"/tasks/{task.code}/progress.jsonl")
    assert answer["Content-Type"] == "application/x-ndjson; charset=utf-8"
    [line] = [json.loads(line) for line in answer.content.splitlines()]
    assert (line["agent"], line["progress"], line["message"], line["step"]) == ("ada", 40, "Sleeves", "Sleeves")
    assert line["timestamp"].endswith("Z")


def test_notes_are_those_of_the_caller_and_of_nobody_else(task, api_of, ada, operator):
    own = api_of(ada).get(f"/tasks/{task.code}/notes.md")
    assert own["Content-Type"] == "text/markdown; charset=utf-8"
    assert own["Content-Disposition"] == f'attachment; filename="{task.code}_ada.md"'
    assert task_files.notes_in(own.content.decode()) == [
        "Mind the hem.\n\n---\nnot a date\nStill the same note.", "# Second\nUse silk.",
    ]  # fmt: skip
    assert b"Bob" not in own.content
    assert task_files.notes_in(api_of(operator).get(f"/tasks/{task.code}/notes.md").content.decode()) == []


def test_notes_as_they_were_appended_elsewhere_are_told_apart():
    text = (
        "Rate limits?\n\n---\n2026-01-15T10:30:00.123456\nUse a bucket.\n- [ ] retry\n\n---\n2026-01-16T10:30:00\nDone."
    )
    assert task_files.notes_in(text) == ["Rate limits?", "Use a bucket.\n- [ ] retry", "Done."]
    assert task_files.notes_in(
        "# Task Notes: abc12345\n## Agent: ada\n## Updated: 2026-01-15T10:30:00Z\n\n### How\nLike so.\n"
    ) == ["### How\nLike so."]


def test_the_archive_holds_all_of_the_task_and_the_callers_own_notes(task, api_of, ada, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    agent = api_of(ada)
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part
        for part in ((b"title", b"", b"Pattern"), (b"file", b'; filename="../../a b.SVG"', b"<svg/>"))
    )
    upload = agent.call(
        "POST", f"/tasks/{task.code}/deliverables", form + b"--x--\r\n", content_type="multipart/form-data; boundary=x"
    )
    assert upload.status_code == 201, upload.content
    answer = agent.get(f"/tasks/{task.code}/archive.tar.gz")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/gzip")
    packed = b"".join(answer.streaming_content)
    assert int(answer["Content-Length"]) == len(packed)
    members = dict(archives.read(io.BytesIO(packed)))
    root = next(iter(members)).split("/")[0]
    assert answer["Content-Disposition"] == f'attachment; filename="{root}.tar.gz"'
    assert root.startswith(f"task_{task.code}_2")
    assert {name.removeprefix(f"{root}/") for name in members} == {
        "task.json", "context.yaml", "progress.jsonl", f"notes/{task.code}_ada.md", "deliverables/1.svg", "activities.jsonl",
    }  # fmt: skip
    assert members[f"{root}/deliverables/1.svg"] == b"<svg/>"
    told = json.loads(members[f"{root}/task.json"])
    assert (told["id"], told["title"], told["tags"], told["status"]) == (task.code, "Sew", ["cloth"], "in_progress")
    kinds = [json.loads(line)["kind"] for line in members[f"{root}/activities.jsonl"].splitlines()]
    assert kinds[:2] == ["task.created", "task.claimed"]


def test_an_archive_beyond_the_limit_is_refused(task, api_of, ada, monkeypatch):
    transitions.deliver(DIRECTOR, task.code, [{"type": "file", "title": "Film", "file": "deliverables/x", "size": 11}])
    monkeypatch.setattr(task_files, "ARCHIVE_MOST_BYTES", 10)
    answer = api_of(ada).get(f"/tasks/{task.code}/archive.tar.gz")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_an_unchanged_file_is_not_sent_again(task, api_of, bob):
    path = f"/tasks/{task.code}/context.yaml"
    tag = api_of(bob).get(path)["ETag"]
    assert api_of(bob).get(path, if_none_match=tag).status_code == 304
    collaboration.share(DIRECTOR, task.code, "needle", 3)
    assert api_of(bob).get(path, if_none_match=tag).status_code == 200


@pytest.mark.parametrize("name", ["context.yaml", "progress.jsonl", "notes.md", "archive.tar.gz"])
def test_files_of_a_closed_venture_are_not_there_for_strangers(name, api_of, stranger, ada, closed):
    task = a_task(venture=closed)
    assert api_of(stranger).get(f"/tasks/{task.code}/{name}").status_code == 404
    answer = api_of(ada).get(f"/tasks/{task.code}/{name}")
    assert answer.status_code == 200
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


@pytest.mark.parametrize(
    "text",
    ["a: &x 1\nb: *x", "a: !!python/object/apply:os.system ['true']", "a: [", "a: .nan", "? [1, 2]\n: 3", "[" * 5000, "a: !!binary aGk=", "a: {b: 1, <<: {c: 2}}\nd: *e"],
)  # fmt: skip
def test_yaml_that_is_more_than_plain_data_is_refused(text):
    with pytest.raises(Invalid):
        strict_yaml.read(text)


def test_yaml_keeps_texts_that_look_like_something_else():
    value = {"a": "yes", "b": "2026-01-01", "c": "1e3", "d": ["null", None, 1.5, True], "e": "zwei\nZeilen: ja\n"}
    assert strict_yaml.read(strict_yaml.write(value)) == value
    twice = {"x": [1]}
    assert strict_yaml.read(strict_yaml.write({"a": twice, "b": twice})) == {"a": twice, "b": twice}
    assert strict_yaml.read("when: 2026-01-01T10:00:00Z") == {"when": "2026-01-01T10:00:00Z"}
    assert strict_yaml.words("id: 7.10") == {"id": "7.10"}
