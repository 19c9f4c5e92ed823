"""Deliverables: what is handed in, as JSON or as a file; and that a file is on disk exactly when a row names it."""

import os
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError

from tasks import transitions, uploads
from tasks.models import Deliverable
from tests.conftest import DIRECTOR, a_task, claimed
from ventures import catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings, tmp_path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def agent(api_of, ada):
    return api_of(ada)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def upload(api, task, content=b"hello", name="plan.txt", **form):
    headers = {"authorization": f"Bearer {api.secret}", **form.pop("headers", {})}
    body = {"file": SimpleUploadedFile(name, content), **form}
    return api.client.post(f"{api.root}/tasks/{task.code}/deliverables", body, headers=headers)


# ── without a file ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_something_is_handed_in_and_listed_newest_first(agent):
    task = a_task()
    for n, body in enumerate(
        ({"deliverable_type": "url", "title": "Page", "url": "https://example.org"},
         {"type": "file", "title": "Patch", "path": "out/a.patch", "description": "Small"},
         {"title": "Idea"}), 1,
    ):  # fmt: skip
        answer = agent.post(f"/tasks/{task.code}/deliverables", body)
        assert (answer.status_code, answer.json()["deliverable"]["id"]) == (201, n)
    listed = agent.get(f"/tasks/{task.code}/deliverables").json()["deliverables"]
    assert [(d["id"], d["type"], d["path"]) for d in listed] == [
        (3, "artifact", ""), (2, "file", "out/a.patch"), (1, "url", "https://example.org"),
    ]  # fmt: skip
    bare = agent.bare.get(f"/tasks/{task.code}/deliverables").json()
    assert (bare[0]["deliverable_type"], bare[0]["task_id"]) == ("artifact", task.code)
    page = agent.get(f"/tasks/{task.code}/deliverables?limit=2").json()
    assert (
        agent.get(f"/tasks/{task.code}/deliverables?limit=2&cursor={page['next']}").json()["deliverables"][0]["id"] == 1
    )


@pytest.mark.parametrize(
    "wrong",
    [{}, {"title": ""}, {"title": "x", "type": "folder"}, {"title": "x", "path": "a\nb"}, {"title": "x" * 501}, {"title": 5},
     {"title": "x", "size": 5}, {"title": "x", "orphaned": False}, {"title": "x", "path": "x" * 2001}],
    ids=str,
)  # fmt: skip
def test_a_wrong_deliverable_is_refused(wrong, agent):
    task = a_task()
    assert agent.post(f"/tasks/{task.code}/deliverables", wrong).status_code == 400
    assert not Deliverable.objects.exists()


def test_a_missing_file_is_warned_of_only_inside_the_workspace(agent, venture, tmp_path):
    workspace = tmp_path / "workspace"
    (workspace / "out").mkdir(parents=True)
    (workspace / "out" / "there.txt").write_text("x")
    catalogue.change(DIRECTOR, venture, {"workspace": str(workspace)})
    task = a_task(venture=venture)
    for path, warned in (
        ("out/there.txt", False), (str(workspace / "out/there.txt"), False), ("out/missing.txt", True),
        ("/etc/nothing-here", False), ("../../../etc/nothing-here", False), ("/etc/passwd", False),
    ):  # fmt: skip
        body = agent.post(f"/tasks/{task.code}/deliverables", {"type": "file", "title": "x", "path": path}).json()
        assert ("warning" in body["deliverable"]) is warned, path


def test_a_file_that_is_handed_in_with_the_work_and_is_missing_is_warned_of(agent, venture, tmp_path):
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "there.md").write_text("x")
    catalogue.change(DIRECTOR, venture, {"workspace": str(tmp_path / "workspace")})
    task = a_task(venture=venture)
    agent.post(f"/tasks/{task.code}/claim", {"session_key": "k"})
    handed = [{"type": "file", "title": name, "path": name} for name in ("there.md", "gone.md", "/etc/nowhere")]
    done = agent.post(f"/tasks/{task.code}/complete", {"session_key": "k", "deliverables": handed}).json()["task"]
    assert done["warnings"] == ["There is no gone.md in the workspace."]
    assert (done["status"], done["deliverable_count"]) == ("done", 3), "it is a warning, not a refusal"
    assert "warnings" not in agent.get(f"/tasks/{task.code}").json()["task"]


def test_an_old_lease_is_refused_and_the_result_kept_aside(agent, api_of, bob, operator):
    task = a_task()
    old = agent.post(f"/tasks/{task.code}/claim", {}).json()
    transitions.release(operator, task.code)
    claimed(bob, task)
    headers = {"x_lease_epoch": str(old["epoch"]), "x_lease_token": old["lease_token"]}
    assert agent.post(f"/tasks/{task.code}/deliverables", {"title": "Late"}, **headers).json()["code"] == "lease_lost"
    assert Deliverable.objects.get().orphaned
    assert (
        agent.post(f"/tasks/{task.code}/deliverables", {"title": "By the way"}).json()["deliverable"]["orphaned"]
        is False
    )


# ── with a file ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_kept_with_its_digest_and_comes_back(agent, folder, operator, api_of):
    task = a_task()
    content = bytes(range(256)) * 5000
    answer = upload(agent, task, content, "plan.bin", title="The plan")
    made = answer.json()["deliverable"]
    assert (answer.status_code, made["size"], made["filename"], made["type"]) == (201, len(content), "plan.bin", "file")
    import hashlib

    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    for api in (agent, api_of(operator)):
        got = api.get(made["file"])
        assert b"".join(got.streaming_content) == content
        assert got["Content-Length"] == str(len(content))
    assert len(files(folder)) == 1
    assert agent.get(made["file"], if_none_match=got["ETag"]).status_code == 304


@pytest.mark.parametrize(
    ("name", "kept", "kind"),
    [
        ("a.html", "a.html", "application/octet-stream"),
        ("a.svg", "a.svg", "application/octet-stream"),
        ("a.txt", "a.txt", "text/plain"),
        ("a.png", "a.png", "image/png"),
        ("../../etc/passwd", "passwd", "application/octet-stream"),
        ("C:\\temp\\a.txt", "a.txt", "text/plain"),
        ("a\u202etxt.exe", "atxt.exe", "application/octet-stream"),
        ("a\"b'c;d.txt", "ab'c;d.txt", "text/plain"),
        ("größe 日本.txt", "größe 日本.txt", "text/plain"),
        ("...", "file", "application/octet-stream"),
    ],
)
def test_a_download_is_an_attachment_that_does_nothing(name, kept, kind, agent):
    task = a_task()
    row = transitions.deliver(
        DIRECTOR, task.code, [{"type": "file", "title": "x", **uploads.store(task.code, _named(name))}]
    )[0]
    assert row.filename == kept
    got = agent.get(f"/tasks/{task.code}/deliverables/1/file")
    assert got["Content-Type"] == kind
    assert got["Content-Disposition"].startswith("attachment")
    assert got["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in got["Content-Security-Policy"] and "default-src 'none'" in got["Content-Security-Policy"]
    assert "\n" not in got["Content-Disposition"]


def _named(name: str) -> SimpleUploadedFile:
    file = SimpleUploadedFile("x", b"content")
    file._name = name  # what a client may say; the framework's own cleaning aside
    return file


def test_a_file_that_is_too_large_is_refused_and_nothing_stays(agent, folder, settings):
    settings.MAX_UPLOAD_BYTES = 1000
    answer = upload(agent, a_task(), b"x" * 1001)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert files(folder) == []
    assert upload(agent, a_task(), b"x" * 1000).status_code == 201
    assert upload(agent, a_task(), b"").status_code == 201


def test_a_wrong_form_is_refused(agent, folder):
    task = a_task()
    for form in ({"type": "folder"}, {"nonsense": "1"}, {"title": "x" * 501}, {"title": "a\x00b"}):
        assert upload(agent, task, **form).status_code == 400
    headers = {"authorization": f"Bearer {agent.secret}"}
    assert (
        agent.client.post(f"/api/v1/tasks/{task.code}/deliverables", {"title": "x"}, headers=headers).status_code == 400
    )
    broken = agent.post(
        f"/tasks/{task.code}/deliverables", b"--x\r\nnonsense", content_type="multipart/form-data; boundary=x"
    )
    assert broken.status_code == 400
    assert agent.post(
        f"/tasks/{task.code}/progress", b"", content_type="multipart/form-data; boundary=x"
    ).status_code in (400, 409, 415)
    assert files(folder) == []


def test_a_file_whose_transaction_failed_is_removed(agent, folder, monkeypatch):
    task = a_task()

    def locked(*_, **__):
        assert len(files(folder)) == 1  # it was there before the commit
        raise OperationalError("disk is gone")

    monkeypatch.setattr(transitions, "add_deliverables", locked)
    for headers in ({}, {"idempotency-key": "k"}):
        assert upload(agent, task, headers=headers).status_code == 503
        assert files(folder) == []
    assert upload(agent, a_task(), headers={"authorization": "Bearer mc_wrong"}).status_code == 401


def test_a_zombies_file_is_kept_aside(agent, folder, operator, bob):
    task = a_task()
    old = agent.post(f"/tasks/{task.code}/claim", {}).json()
    transitions.release(operator, task.code)
    claimed(bob, task)
    for key in ("", "k"):
        headers = {"x-lease-epoch": str(old["epoch"]), "x-lease-token": old["lease_token"]}
        answer = upload(agent, task, headers={**headers, **({"idempotency-key": key} if key else {})})
        assert answer.status_code == 409
    assert Deliverable.objects.filter(orphaned=True).count() == 2 == len(files(folder))


def test_a_file_is_flushed_to_disk_before_it_is_named(folder, monkeypatch):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (flushed.append(os.fstat(descriptor).st_size), real(descriptor))
    )
    stored = uploads.store("k3v9d2qa", SimpleUploadedFile("a.txt", b"x" * 12345))
    assert 12345 in flushed and len(flushed) == 2  # the file, and the folder that names it
    assert (folder / stored["file"]).read_bytes() == b"x" * 12345


def test_a_download_of_what_is_not_there_is_a_404(agent, folder, api_of, stranger, closed, ada):
    task = a_task()
    agent.post(f"/tasks/{task.code}/deliverables", {"title": "no file"})
    assert agent.get(f"/tasks/{task.code}/deliverables/1/file").status_code == 404
    assert agent.get(f"/tasks/{task.code}/deliverables/2/file").status_code == 404
    upload(agent, task)
    for file in files(folder):
        file.unlink()
    assert agent.get(f"/tasks/{task.code}/deliverables/2/file").status_code == 404
    hidden = a_task(venture=closed)
    assert upload(agent, hidden).status_code == 201
    assert api_of(stranger).get(f"/tasks/{hidden.code}/deliverables/1/file").status_code == 404
    assert api_of(stranger).get(f"/tasks/{hidden.code}/deliverables").status_code == 404


def test_deleting_a_task_removes_its_files(agent, folder, operator, django_capture_on_commit_callbacks):
    task = a_task()
    upload(agent, task)
    with django_capture_on_commit_callbacks(execute=True):
        transitions.delete(operator, task.code)
    assert files(folder) == []
