"""`serve` and `worker` as processes: how they start, what they refuse, how they leave, what they say of themselves."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
import websockets.exceptions

from mission_control import starting
from tests import servers
from tests.chaos.product import ROOT, free_port
from tests.serving import heard, subscribed, until

pytestmark = pytest.mark.slow

CLOSED = websockets.exceptions.ConnectionClosed


def get(product, path, **headers):
    request = urllib.request.Request(product.url + path, headers={n.replace("_", "-"): v for n, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ran(product, *arguments, seconds=60, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env={**product.environment, **environment},
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


# ── start ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_prints_the_address_the_first_link_and_how_to_connect(new_product):
    product = new_product()
    said = product.log.read_text()
    assert f"Mission Control   {product.url}\n" in said
    link = re.search(r"First admin +(\S+/first-run/\S+)", said).group(1)
    assert "/api/v1/agents/register" in said
    status, page = get(product, link.removeprefix(product.url))
    assert (status, "password" in page.lower()) == (200, True)
    stored = product.inside(
        "from mission_control.models import SetupLink\nresult = list(SetupLink.objects.values_list('digest', flat=True))"
    )
    assert all(digest not in link for digest in stored), "only the hash is kept"


def test_there_is_no_link_once_somebody_can_sign_in(new_product):
    product = new_product()
    product.person("olivia", "admin")
    product.stop()
    product.log.write_text("")
    product.start()
    assert "/first-run/" not in product.log.read_text()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"MISSION_CONTROL_OPEN": "1", "HOST": "0.0.0.0"}, "lets anyone who reaches 0.0.0.0 act without a key"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is shorter than 32 characters"),
        ({"DATABASE_URL": "postgres://nobody:x@127.0.0.1:1/none"}, "The database does not answer"),
    ],
)
def test_it_refuses_to_start_in_one_clear_line(make_product, monkeypatch, settings, sentence):
    product = make_product(DATABASE_WAIT_SECONDS="1")
    done = ran(product, "serve", **settings)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("Mind:")]) <= 2


def test_a_port_that_is_taken_is_named(product):
    done = ran(product, "serve", "--port", str(product.port))
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{product.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_migrates_an_empty_database_by_itself_also_when_two_start_at_once(make_product, tmp_path):
    one = make_product()
    if one.database_url.startswith("sqlite"):
        address = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    else:
        address = one.database_url  # a migrated one: take it back
        one.inside(EMPTY)
    both = [make_product(database_url=address, DATA_DIR=str(tmp_path / "data")) for _ in range(2)]
    starts = [threading.Thread(target=product.start) for product in both]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert [get(product, "/readyz")[0] for product in both] == [200, 200]
    assert sum("Migrating the database" in product.log.read_text() for product in both) == 1


EMPTY = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("DROP SCHEMA public CASCADE")
    cursor.execute("CREATE SCHEMA public")
"""


def test_a_database_of_a_newer_version_is_left_alone(make_product):
    product = make_product()
    record = "from django.db.migrations.recorder import MigrationRecorder\nfrom django.db import connection\n"
    product.inside(record + "MigrationRecorder(connection).record_applied('tasks', '9999_from_the_future')")
    done = ran(product, "serve")
    assert done.returncode == 1
    assert "migrated by a newer version (tasks.9999_from_the_future)" in done.stderr


def test_static_files_are_collected_once_and_again_when_they_change(tmp_path, settings, monkeypatch):
    settings.STATIC_ROOT = tmp_path
    said, collected = [], []
    monkeypatch.setattr(starting, "call_command", lambda *args, **kwargs: collected.append(args))
    for _ in range(2):
        starting.collect_static(said.append)
    assert collected == [("collectstatic",)]
    (tmp_path / ".stamp").write_text("of something else")
    starting.collect_static(said.append)
    assert len(collected) == 2


def test_static_files_come_compressed_and_for_ever(product):
    status, page = get(product, "/account/login")
    assert status == 200
    name = re.search(r"/static/css/[\w.-]+\.css", page).group()
    request = urllib.request.Request(product.url + name, headers={"Accept-Encoding": "br"})
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Content-Encoding"] == "br"
        assert "immutable" in answer.headers["Cache-Control"]


# ── health ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_says_that_it_is_alive_and_ready(product):
    assert get(product, "/healthz") == (200, '{"status":"ok"}')
    status, body = get(product, "/readyz")
    assert status == 200
    assert all(f'"{name}": "ok"' in body for name in ("database", "migrations", "chores"))


@pytest.mark.postgres
def test_it_is_alive_but_not_ready_without_its_database(make_product):
    """On a PostgreSQL of its own: it is stopped, and comes back."""
    with servers.postgres(own=True) as server:
        product = make_product(database_url=server.url).start()
        server.stop()
        until(lambda: get(product, "/readyz")[0] == 503, 20, "not being ready")
        assert get(product, "/healthz")[0] == 200
        key = "mc_abcdefghijklmnopqrstuvwxyzabcdefghijklmn"
        status, body = product.ask("POST", "/api/v1/tasks/claim", key, {})
        assert (status, body["code"]) == (503, "busy")
        server.start()
        until(lambda: get(product, "/readyz")[0] == 200, 30, "being ready again")
        assert product.ask("POST", "/api/v1/tasks/claim", product.agent("ada"), {})[0] == 200
        product.stop()


def test_metrics_are_for_admins_and_for_this_machine(product):
    status, body = get(product, "/metrics")
    assert status == 200
    for name in (
        "mission_control_requests_total{", "mission_control_streams{", "mission_control_tail_lag_seconds",
        "mission_control_chore_age_seconds{", "mission_control_resident_bytes", "mission_control_head",
    ):  # fmt: skip
        assert name in body
    assert get(product, "/metrics", X_Forwarded_For="10.0.0.1")[0] == 401
    worker, admin = product.agent("ada"), product.agent("margaret", scopes="admin")
    assert get(product, "/metrics", Authorization=f"Bearer {worker}")[0] == 403
    assert get(product, "/metrics", Authorization=f"Bearer {admin}", X_Forwarded_For="10.0.0.1")[0] == 200
    for role, expected in (("viewer", 403), ("operator", 403), ("admin", 200)):
        cookie = f"sessionid={product.person(f'the-{role}', role)}"
        assert get(product, "/metrics", Cookie=cookie, X_Forwarded_For="10.0.0.1")[0] == expected


def test_claims_are_counted_by_what_came_of_them(product):
    key = product.agent("cara")
    product.ask("POST", "/api/v1/tasks/claim", key, {})
    product.tasks(1)
    product.ask("POST", "/api/v1/tasks/claim", key, {})
    product.ask("POST", "/api/v1/tasks/claim", "mc_wrongwrongwrongwrongwrong", {})
    body = get(product, "/metrics")[1]
    for outcome in ("claimed", "nothing", "not_authenticated"):
        assert f'mission_control_claims_total{{outcome="{outcome}"}} 1.0' in body


# ── leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sigterm_lets_everybody_finish_and_ends_with_zero(new_product):
    product = new_product()
    key = product.agent("ada")
    admin = product.agent("margaret", scopes="admin")
    claim, closes, stream_ends = [], [], []

    def wait_for_work():
        claim.append(product.ask("POST", "/api/v1/tasks/claim", key, {"wait": 60}))

    def listen(path):
        with product.socket(path, admin) as socket:
            heard(socket)
            with contextlib.suppress(CLOSED, TimeoutError):
                while True:
                    socket.recv(timeout=30)
            closes.append((socket.close_code, socket.close_reason))

    def follow():
        with product.stream("/api/v1/events/stream", admin) as stream:
            stream_ends.append(list(stream.events())[-1])

    threads = [threading.Thread(target=wait_for_work), threading.Thread(target=follow)]
    threads += [threading.Thread(target=listen, args=(path,)) for path in ("/ws", "/api/v1/ws", "/api/ws")]
    for thread in threads:
        thread.start()
    until(lambda: product.waiting == 1 and 'door="/api/ws"} 1.0' in get(product, "/metrics")[1], 20, "everybody there")
    until(lambda: 'stream"} 1.0' in get(product, "/metrics")[1], 20, "the stream")
    began = time.monotonic()
    assert product.stop() == 0
    assert time.monotonic() - began < 30
    for thread in threads:
        thread.join(10)
    assert claim[0][0] == 200
    assert claim[0][1]["task"] is None
    assert [code for code, _ in closes] == [1012] * 3
    assert all("restarts" in reason for _, reason in closes)
    assert (stream_ends[0][1], stream_ends[0][2]["code"]) == ("close", 1012)
    assert "Traceback" not in product.log.read_text()


def test_a_request_that_runs_is_answered_before_it_leaves(new_product):
    """A claim is held up by a lock; the signal comes; the lock goes; the claim is answered and is in the database."""
    product = new_product()
    key = product.agent("ada")
    [code] = product.tasks(1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_COUNTER], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**product.environment, "DJANGO_SETTINGS_MODULE": "mission_control.settings"},
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    answers = []
    claim = threading.Thread(target=lambda: answers.append(product.ask("POST", "/api/v1/tasks/claim", key, {})))
    claim.start()
    until(lambda: 'route="/api/v1/tasks/claim"' not in get(product, "/metrics")[1] and claim.is_alive(), 5, "the claim")
    time.sleep(0.5)  # let it reach the lock; whether it did decides only how much this proves
    product.process.send_signal(signal.SIGTERM)
    until(lambda: "refused" in _connects(product), 10, "not listening any more")
    holder.communicate("\n", timeout=20)
    claim.join(20)
    assert product.process.wait(30) == 0
    assert (answers[0][0], answers[0][1]["task"]["id"]) == (200, code)
    assert product.inside("from tasks.models import Task\nresult = Task.objects.get(code=code).status", code=code) == (
        "in_progress"
    )


HOLD_THE_COUNTER = """
import django
django.setup()
from django.db import transaction
from mission_control.models import Fleet
with transaction.atomic():
    Fleet.objects.select_for_update().get(pk=1)
    print("held", flush=True)
    input()
"""


def _connects(product):
    try:
        urllib.request.urlopen(f"{product.url}/healthz", timeout=2).read()
    except OSError as error:
        return str(error)
    return ""


def test_a_second_start_over_the_same_data_carries_on(new_product):
    """An upgrade: streams come back with their number and miss nothing."""
    product = new_product()
    key = product.agent("margaret", scopes="admin")
    with product.socket(key=key) as socket:
        last = heard(socket)["head"]
        [before] = product.tasks(1)
    product.stop()
    product.start()
    with product.socket(key=key) as socket:
        heard(socket)
        subscribed(socket, "tasks", since=last)
        assert heard(socket)["task"] == before


# ── worker, verify_log, other servers ───────────────────────────────────────────────────────────────────────────────


def test_a_worker_does_the_chores_for_a_server_that_leaves_them(new_product):
    product = new_product()
    product.stop()
    with served(product, "serve", "--no-chores"), served(product, "worker") as worker:
        until(product.is_ready, 30)
        assert '"chores": "elsewhere"' in get(product, "/readyz")[1]
        key = product.agent("ada")
        product.tasks(1)
        assert product.ask("POST", "/api/v1/tasks/claim", key, {"lease_seconds": 15})[0] == 200
        ended = "from tasks.models import Task\nfrom datetime import timedelta\nfrom mission_control import log\n"
        product.inside(ended + "Task.objects.update(lease_expires_at=log.now() - timedelta(seconds=1))")
        status = "from tasks.models import Task\nresult = Task.objects.get().failures"
        until(lambda: product.inside(status) == 1, 20, "the sweep of the worker")
        sealed = "from mission_control import log\nresult = log.verify_log()[0] == log.head()"
        until(lambda: product.inside(sealed), 20, "the seals of the worker")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0


@contextlib.contextmanager
def served(product, *command):
    with open(product.folder / f"{command[0]}.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=product.environment, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    if command[0] == "serve":
        product.process = process
    try:
        yield process
    finally:
        process.terminate()
        process.wait(35)


def test_verify_log_names_the_first_line_that_was_changed(new_product):
    product = new_product()
    product.tasks(5)
    sealed = "from mission_control import log\nresult = log.verify_log()[0] == log.head()"
    until(lambda: product.inside(sealed), 20, "sealing")
    assert "activities are as they were sealed" in product.manage("verify_log").stdout
    product.inside(
        "from mission_control.models import Activity\nActivity.objects.filter(seq=3).update(title='Another')"
    )
    done = product.manage("verify_log", check=False)
    assert done.returncode == 1
    assert "activity 3 was changed after it was sealed" in done.stderr


def test_it_runs_under_plain_uvicorn_with_two_workers(new_product):
    product = new_product()
    product.stop()
    port = free_port()
    uvicorn = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "mission_control.asgi:application", "--port", str(port), "--workers", "2",
         "--timeout-graceful-shutdown", "3", "--no-access-log"],
        cwd=ROOT, env=product.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        product.port, product.url = port, f"http://127.0.0.1:{port}"
        until(product.is_ready, 40)
        key = product.agent("margaret", scopes="admin")
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(product.socket(key=key)) for _ in range(8)]
            for socket in sockets:
                head = heard(socket)["head"]
                subscribed(socket, "tasks", since=head)
            codes = product.tasks(3)
            for socket in sockets:
                assert [heard(socket)["task"] for _ in codes] == codes
        assert product.ask("POST", "/api/v1/tasks/claim", key, {})[1]["task"]["id"] in codes
    finally:
        os.killpg(uvicorn.pid, signal.SIGTERM)
        uvicorn.wait(20)
