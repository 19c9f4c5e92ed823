"""Backups of a product that works, what comes of them, and the move to PostgreSQL."""

import contextlib
import http.client
import json
import os
import stat
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from django.core.management.base import CommandError
from psycopg import sql

from mission_control.keeping import backups, carrying
from tests import servers
from tests.receiving import Receiver, answering
from tests.serving import until

pytestmark = pytest.mark.slow
OWN_KEYS = {"SECRET_KEY": "", "LOG_KEY": ""}  # made by the instance itself, in files


@pytest.fixture(scope="module")
def postgres():
    with servers.postgres() as server:
        yield server


@pytest.fixture
def empty_postgres(postgres):
    """The address of a database without a table, on PostgreSQL whatever this run is about."""
    name = f"moved_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield f"{postgres.url.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def refused(product, *arguments):
    ran = product.manage(*arguments, check=False)
    assert ran.returncode != 0, ran.stdout
    return ran.stderr


def work(product, key, enough=None):
    """One agent that makes tasks, takes them, hands in a file and finishes, once or until told; how many it finished."""
    finished = 0
    while not finished or not (enough is None or enough.is_set()):
        status, made = product.ask("POST", "/api/v1/tasks", key, {"title": f"Task {finished}"})
        assert status == 201, made
        status, claim = product.ask("POST", "/api/v1/tasks/claim", key, {"wait": 10})
        assert status == 200, claim
        code = claim["task"]["id"]
        assert upload(product, key, code, f"Report of {code}".encode()) == 201
        done = {
            "summary": "As asked.",
            "output": {"share": 0.5, "far": 1e22, "words": "ünï\u2028"},
            "actual_cost": "0.25",
        }
        status, answer = product.ask("POST", f"/api/v1/tasks/{code}/complete", key, done)
        assert status == 200, answer
        finished += 1
    return finished


class Inbox:
    """An endpoint that is down until it is told to be up; what it took since, as (webhook-id, kind)."""

    def __init__(self):
        self.up, self.taken = False, []
        self.receiver = Receiver(self._act)
        self.allowed = {"OUTGOING_ALLOWED": f"127.0.0.1:{self.receiver.port}"}

    def _act(self, handler):
        if self.up:
            _, _, headers, body = self.receiver.seen[-1]
            self.taken.append((headers["webhook-id"], json.loads(body)["type"]))
        answering(200 if self.up else 500)(handler)

    @property
    def kinds(self):
        return sorted(kind for _, kind in self.taken)

    def subscribe(self, product, *kinds):
        body = {"url": f"http://127.0.0.1:{self.receiver.port}/", "kinds": list(kinds), "concurrency": 1}
        assert product.ask("POST", "/api/v1/webhooks", product.admin_key(), body)[0] == 201


@pytest.fixture
def inbox():
    made = Inbox()
    yield made
    made.receiver.close()


def upload(product, key, code, content):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nThe report\r\n'
        b'--x\r\nContent-Disposition: form-data; name="type"\r\n\r\nfile\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="report.txt"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(
            "POST", f"/api/v1/tasks/{code}/deliverables", body,
            {"Authorization": f"Bearer {key}", "Content-Type": "multipart/form-data; boundary=x"},
        )  # fmt: skip
        return connection.getresponse().status


CHECKED = """
from mission_control import log
from tasks import invariants
result = [log.verify_log()[1], sum(invariants.broken().values(), [])]
"""
DUE = """
from django.db.models.functions import Now
from mission_control.models import Delivery, Webhook
Webhook.objects.update(hold_until=None)
Delivery.objects.filter(state="pending").update(next_at=Now())
"""
STATE = """
from django.conf import settings
from mission_control import log
from mission_control.models import Activity
from tasks.models import Deliverable, Task
result = {
    "done": sorted(Task.objects.filter(status="done").values_list("code", flat=True)),
    "outputs": [task.output for task in Task.objects.filter(status="done")[:1]],
    "lost": [d.file.name for d in Deliverable.objects.all() if not d.file.storage.exists(d.file.name)],
    "files": Deliverable.objects.count(),
    "head": log.head(),
    "last": Activity.objects.latest("seq").kind,
}
"""


def test_a_backup_taken_under_load_comes_back_as_an_instance_that_goes_on(new_product, make_product, tmp_path):
    product = new_product(**OWN_KEYS)
    keys = [product.agent(f"agent{n}", scopes="work,orchestrate") for n in range(3)]
    enough = threading.Event()
    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(work, product, key, enough) for key in keys]
        try:
            until(lambda: product.inside(STATE)["files"] > 10, 30, "some work")
            product.manage("backup", str(tmp_path / "one.tar.gz"))
            live = product.inside(STATE)
        finally:
            enough.set()
        assert all(result.result() > 1 for result in working), "they worked on while the backup was taken"
    assert stat.S_IMODE((tmp_path / "one.tar.gz").stat().st_mode) == 0o600

    other = make_product(**OWN_KEYS)
    told = other.manage("restore", str(tmp_path / "one.tar.gz")).stdout
    assert "Restored" in told
    other.start()
    assert other.inside(CHECKED) == ["", []]
    here = other.inside(STATE)
    assert 0 < len(here["done"]) < len(live["done"])
    assert set(here["done"]) < set(live["done"])
    assert here["outputs"] == [{"share": 0.5, "far": 1e22, "words": "ünï\u2028"}]
    assert here["files"]
    assert here["lost"] == []
    assert work(other, keys[0]) == 1, "keys are known and numbers go on where they were"
    for name in ("secret_key", "log_key"):
        kept = other.folder / "data" / name
        assert kept.read_text() == (product.folder / "data" / name).read_text()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [path.name for path in (other.folder / "data").glob(".*") if path.name != ".migrating"] == []


def test_a_backup_never_takes_the_place_of_another_file(make_product, tmp_path):
    product = make_product()
    product.manage("backup", str(tmp_path / "one"))
    before = (tmp_path / "one").read_bytes()
    assert "exists already" in refused(product, "backup", str(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert "Cannot write" in refused(product, "backup", str(tmp_path / "nowhere" / "two"))


def test_a_restore_wants_an_empty_instance_or_to_be_told(make_product, tmp_path):
    product, other = make_product(), make_product()
    product.agent("ada")
    product.stop()
    product.manage("backup", str(tmp_path / "one"))
    other.agent("bob")
    other.stop()
    agents = "from agents.models import Agent\nresult = sorted(Agent.objects.values_list('slug', flat=True))"
    assert "--replace" in refused(other, "restore", str(tmp_path / "one"))
    assert other.inside(agents) == ["bob"]
    other.stop()
    other.manage("restore", str(tmp_path / "one"), "--replace")
    assert other.inside(agents) == ["ada"]
    assert other.inside(CHECKED) == ["", []]
    assert other.inside(STATE)["last"] == "fleet.restored"


def test_a_restore_is_refused_while_a_server_runs(new_product, tmp_path):
    product = new_product()
    product.manage("backup", str(tmp_path / "one"))
    assert "Stop the servers" in refused(product, "restore", "--replace", str(tmp_path / "one"))
    product.stop()
    product.manage("restore", "--replace", str(tmp_path / "one"))


def damaged(source, target, change):
    """A copy of the archive in which `change(name, content)` gives the members' new content; None leaves one out."""
    with tarfile.open(source) as old, tarfile.open(target, "w:gz") as new:
        for member in old:
            content = change(member.name, old.extractfile(member).read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, BytesIO(content))
    return str(target)


def test_a_damaged_backup_changes_nothing(make_product, tmp_path):
    product, other = make_product(), make_product()
    product.agent("ada")
    product.manage("backup", str(tmp_path / "one"))
    whole = tmp_path / "one"

    def swapped(name, content):
        return content.replace(b'"ada"', b'"eve"') if name == "tables/agents.agent.jsonl" else content

    cases = {
        "is not what the manifest says": damaged(whole, tmp_path / "changed", swapped),
        "it has no manifest": damaged(whole, tmp_path / "cut", lambda name, c: None if name == backups.MANIFEST else c),
        "cannot be read": str(tmp_path / "half"),
        "which no backup has": str(tmp_path / "outside"),
    }
    (tmp_path / "half").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with tarfile.open(tmp_path / "outside", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("files/../../outside"), BytesIO())
    for reason, file in cases.items():
        with pytest.raises(CommandError, match=reason), backups.unpacked(Path(file)):
            pass
    assert "cannot be read" in refused(other, "restore", cases["it has no manifest"])
    assert "is whole" in other.manage("restore", "--check", str(whole)).stdout
    assert other.inside("from mission_control import log\nresult = log.head()") == 0


def test_what_does_not_verify_is_undone_with_its_files_and_keys(new_product, make_product, tmp_path):
    product = new_product(**OWN_KEYS)
    work(product, product.agent("ada", scopes="work,orchestrate"))
    until(
        lambda: product.inside("from mission_control.models import Seal\nresult = Seal.objects.count()"), 20, "a seal"
    )
    product.inside(
        "from mission_control.models import Activity\nActivity.objects.filter(seq=1).update(title='Nothing')"
    )
    product.manage("backup", str(tmp_path / "one"))
    other = make_product(**OWN_KEYS)
    other.manage("check")
    before = (other.folder / "data" / "log_key").read_text()
    assert "activity 1 was changed" in refused(other, "restore", str(tmp_path / "one"))
    assert other.inside("from mission_control import log\nresult = log.head()") == 0
    assert (other.folder / "data" / "log_key").read_text() == before
    assert not [path for path in (other.folder / "data" / "files").rglob("*") if path.is_file()]


def test_another_key_in_the_environment_is_refused(make_product, tmp_path):
    product = make_product()
    product.manage("backup", str(tmp_path / "one"))
    other = make_product(LOG_KEY="a third secret that is long enough to be accepted as one")
    assert "LOG_KEY in the environment is not the one" in refused(other, "restore", str(tmp_path / "one"))


def test_every_table_of_every_app_is_in_a_backup(make_product, tmp_path):
    product = make_product()
    product.manage("backup", str(tmp_path / "one"))
    with tarfile.open(tmp_path / "one") as archive:
        manifest = json.loads(archive.extractfile(backups.MANIFEST).read())
    there = product.inside(
        "from django.db import connection\n"
        "result = [name for name in connection.introspection.table_names()"
        " if not name.startswith(('tasks_words', 'django_migrations', 'sqlite_'))]"
    )
    carried = {table._meta.db_table for table in carrying.tables().values()}
    assert carried == set(there)
    assert set(manifest["tables"]) == set(carrying.tables())


def test_what_waited_to_be_sent_is_not_sent_again_after_a_restore(new_product, make_product, inbox, tmp_path):
    product = new_product(**inbox.allowed)
    key = product.agent("ada", scopes="work,orchestrate")
    inbox.subscribe(product, "task.created", "fleet.restored")
    for title in ("One", "Two"):
        product.ask("POST", "/api/v1/tasks", key, {"title": title})
    until(lambda: inbox.receiver.seen, 20, "a first attempt")
    product.manage("backup", str(tmp_path / "one"))
    inbox.up = True
    product.inside(DUE)
    until(lambda: len(inbox.taken) == 2, 30, "the next attempt")
    product.stop()

    other = make_product(**inbox.allowed)
    other.manage("restore", str(tmp_path / "one"))
    states = (
        "from mission_control.models import Delivery\nresult = list(Delivery.objects.values_list('state', flat=True))"
    )
    assert set(other.inside(states)) == {"dead"}
    other.start()
    other.ask("POST", "/api/v1/tasks", key, {"title": "Three"})
    until(lambda: len(inbox.taken) == 4, 20, "the new messages")
    assert inbox.kinds == ["fleet.restored", "task.created", "task.created", "task.created"]
    assert len({message for message, _ in inbox.taken}) == 4


# ── the move ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instance_moves_to_postgresql_and_goes_on(make_product, empty_postgres, inbox, tmp_path):
    file = tmp_path / "small.sqlite3"
    small = make_product(database_url=f"sqlite:///{file}", **inbox.allowed)
    small.start()
    key = small.agent("ada", scopes="work,orchestrate")
    work(small, key)
    inbox.subscribe(small, "task.created")
    small.ask("POST", "/api/v1/tasks", key, {"title": "Held"})
    until(lambda: inbox.receiver.seen, 20, "a first attempt")
    status, claim = small.ask("POST", "/api/v1/tasks/claim", key, {"lease_seconds": 3600})
    before = small.inside(STATE)
    large = make_product(database_url=empty_postgres, DATA_DIR=str(small.folder / "data"), **inbox.allowed)
    assert "has" in refused(large, "move_database", str(file))
    assert file.exists()
    small.stop()

    assert "is now called" in large.manage("move_database", str(file)).stdout
    assert not file.exists()
    assert (tmp_path / "small.sqlite3.moved").exists()
    inbox.up = True
    large.inside(DUE)
    large.start()
    assert large.inside(CHECKED) == ["", []]
    after = large.inside(STATE)
    assert after | {"head": 0, "last": ""} == before | {"head": 0, "last": ""}
    assert (after["head"], after["last"]) == (before["head"] + 1, "fleet.moved")
    code = claim["task"]["id"]
    fence = {"epoch": claim["epoch"], "lease_token": claim["lease_token"], "summary": "Held over the move."}
    status, answer = large.ask("POST", f"/api/v1/tasks/{code}/complete", key, fence)
    assert (status, answer.get("error")) == (200, None)
    work(large, key)
    until(lambda: len(inbox.taken) >= 2, 30, "what waited, and what is new")
    large.stop()
    assert len(inbox.taken) == len({message for message, _ in inbox.taken}) == 2
    assert "something in this database" in refused(large, "move_database", str(tmp_path / "small.sqlite3.moved"))


def test_a_move_is_refused_unless_it_goes_to_postgresql(make_product, tmp_path):
    product = make_product(database_url=f"sqlite:///{tmp_path / 'one.sqlite3'}")
    assert "DATABASE_URL" in refused(product, "move_database", str(tmp_path / "one.sqlite3"))
