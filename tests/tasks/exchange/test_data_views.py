"""Tasks that go out as one file and come in by one: the formats, who sees what, the preview that writes nothing."""

from __future__ import annotations

import csv
import io
import json
import tarfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from mission_control import log
from mission_control.keeping import backup_views
from mission_control.models import Activity
from tasks import transitions
from tasks.exchange import importing
from tasks.exchange.import_formats import read
from tasks.models import Task
from tests.conftest import DIRECTOR, a_task

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
ROWS = "id,title,status,assignee\nA-1,Buy laces,ready,zoe\nA-2,Sell shoes,done,\n"


@pytest.fixture
def desk(operator) -> Client:
    client = Client()
    client.force_login(operator.user)
    return client


def sent(client: Client, do: str, text: str = ROWS, name: str = "tasks.csv", **fields: str):
    file = SimpleUploadedFile(name, text.encode())
    asked = {"file": file, "venture": "default", "do": do, **fields}
    return client.post("/settings/data/import", asked, headers=PART)


def exported(client, query: str = ""):
    return b"".join(client.get(f"/tasks/export{query}").streaming_content).decode()


def test_what_goes_out_comes_in_again_as_it_was(api_of, operator, venture, tmp_path):
    first = a_task("Plan", venture=venture, tags=["a", "b"], priority=2, description='One\ntwo, "three"')
    a_task("Build", venture=venture, depends_on=[first], parent=first)
    file = tmp_path / "tasks.csv"
    file.write_text(exported(api_of(operator), "?format=csv"), encoding="utf-8")
    kind, [plan, build], _ = read(file)
    assert (kind, plan.title, plan.description, plan.tags) == ("csv", "Plan", first.description, ["a", "b"])
    assert (plan.priority, build.depends_on, build.parent) == (2, [first.code], first.code)
    (tmp_path / "tasks.json").write_text(exported(api_of(operator)), encoding="utf-8")
    assert [draft.id for draft in read(tmp_path / "tasks.json")[1]] == [plan.id, build.id]


def test_each_format_holds_every_task_that_was_asked_for(api_of, operator, venture):
    inside, outside = a_task("In *here*", venture=venture), a_task("Out")
    transitions.cancel(DIRECTOR, outside.code)
    client = api_of(operator)
    assert [row["id"] for row in json.loads(exported(client))] == [inside.code, outside.code]
    assert [row["id"] for row in json.loads(exported(client, "?venture=apollo"))] == [inside.code]
    rows = list(csv.DictReader(io.StringIO(exported(client, "?format=csv&status=cancelled").lstrip("\ufeff"))))
    assert [(row["id"], row["status"]) for row in rows] == [(outside.code, "cancelled")]
    assert f"- [ ] `{inside.code}` In \\*here\\* (Ready" in exported(client, "?format=markdown")
    assert json.loads(exported(client, "?venture=nowhere")) == []
    assert client.get("/tasks/export?format=xml").status_code == 400


def test_no_cell_is_a_formula(api_of, operator):
    a_task('=HYPERLINK("https://evil.example")')
    [row] = csv.DictReader(io.StringIO(exported(api_of(operator), "?format=csv").lstrip("\ufeff")))
    assert row["title"].startswith("'=")


def test_an_agent_exports_what_it_sees(api_of, ada, bob, closed):
    hidden = a_task("Secret", venture=closed)
    assert hidden.code in exported(api_of(ada)) and hidden.code not in exported(api_of(bob))


def test_a_preview_says_what_would_come_and_writes_nothing(desk):
    before = log.head()
    page = sent(desk, "preview").content.decode()
    assert "2 would be created" in page and "Buy laces" in page and "A-1" in page
    assert (log.head(), Task.objects.count()) == (before, 0)


def test_an_import_creates_them_once(desk):
    page = sent(desk, "import", make_agents="on").content.decode()
    task = Task.objects.get(title="Buy laces")
    assert "2 created" in page and f"/tasks/{task.code}" in page
    assert task.assignee.slug == "zoe"
    assert "0 created, 2 known already" in sent(desk, "import").content.decode()
    assert importing.codes_of("csv:default")["A-1"] == task.code


@pytest.mark.parametrize(
    ("name", "text", "fields"),
    [
        ("tasks.exe", ROWS, {}),
        ("tasks.json", "{", {}),
        ("tasks.csv", 'id,title\n1,"open', {}),
        ("tasks.csv", ROWS, {"file": ""}),
    ],
)
def test_what_is_no_such_file_is_refused(desk, name, text, fields):
    answer = sent(desk, "import", text, name, **fields)
    assert answer.status_code == 400, answer.content
    assert not Task.objects.exists()


def test_an_admin_who_just_said_who_they_are_takes_a_backup_and_the_log_tells(
    admin, desk, settings, tmp_path, monkeypatch
):
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.MEDIA_ROOT.mkdir()
    client = Client()
    client.force_login(admin.user)
    assert desk.post("/settings/data/backup").status_code == 403
    assert "/settings/data/backup" not in desk.get("/settings/data").content.decode()
    assert "/settings/data/backup" in client.get("/settings/data").content.decode()
    before = log.head()
    again = client.post("/settings/data/backup")
    assert (again.status_code, again.headers["Location"]) == (302, "/account/reauthenticate?next=/settings/data")
    assert log.head() == before
    monkeypatch.setattr(backup_views, "did_recently_reauthenticate", lambda request: True)
    answer = client.post("/settings/data/backup")
    assert answer.headers["Cache-Control"] == "no-store" and "attachment" in answer.headers["Content-Disposition"]
    with tarfile.open(fileobj=io.BytesIO(b"".join(answer.streaming_content))) as archive:
        assert {"manifest.json", "tables/tasks.task.jsonl"} <= set(archive.getnames())
    assert list(tmp_path.iterdir()) == [settings.MEDIA_ROOT], "nothing is left beside the uploads"
    assert [(line.kind, line.actor) for line in Activity.objects.filter(seq__gt=before)] == [
        ("backup.downloaded", "amy")
    ]


def test_an_unknown_venture_or_role_brings_nothing_in(desk, viewer):
    assert sent(desk, "import", venture="nowhere").status_code == 404
    assert "tasks/export?format=csv" in desk.get("/settings/data").content.decode()
    reader = Client()
    reader.force_login(viewer.user)
    assert sent(reader, "import").status_code == 403
    assert reader.get("/settings/data").status_code == 403
    assert not Task.objects.exists()
