"""The test servers keep their promises: own port and data, stop and kill and start again, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis

from tests import servers

pytestmark = [pytest.mark.slow, pytest.mark.once]

PROGRAM = Path(servers.__file__)


@pytest.fixture(scope="module")
def database():
    with servers.postgres(own=True, fsync=True) as server:
        yield server


def test_postgresql_says_its_version(database):
    assert database.version.startswith("PostgreSQL ")
    assert int(database.ask_version().split(".")[0]) >= 15


def test_postgresql_is_killed_and_comes_back_with_what_was_committed(database):
    url = database.create_database("killed")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    connection = psycopg.connect(url)
    database.kill()
    assert not database.running
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with pytest.raises(servers.ServerUnavailable):
        database.ask_version()
    database.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_restart_keeps_the_port_and_the_settings(database):
    port = database.port
    database.restart()
    assert database.port == port
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_valkey_stops_and_starts_on_the_same_port():
    with servers.valkey(own=True) as server:
        client = redis.Redis.from_url(server.url)
        assert client.ping()
        server.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.ping()
        folder = server.folder
    assert not folder.exists()


def test_a_given_server_is_used_and_never_stopped(database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database.url)
    with servers.postgres() as given:
        assert given.url == database.url
        with pytest.raises(servers.ServerUnavailable, match="not ours"):
            given.kill()
    assert database.running


def test_a_given_server_that_does_not_answer_is_one_clear_line(monkeypatch):
    with servers.valkey(own=True) as server:
        url = server.url
    monkeypatch.setenv("REDIS_URL", url)
    ran = subprocess.run(
        [sys.executable, PROGRAM, "run", "--valkey", "--", "true"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "Valkey does not answer" in ran.stderr


def test_nothing_stays_behind_when_the_tests_are_killed():
    command = [sys.executable, PROGRAM, "run", "--valkey", "--", "sh", "-c", "echo $REDIS_URL; sleep 60"]
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as runner:
        assert runner.stdout is not None
        version, url = runner.stdout.readline(), runner.stdout.readline().strip()
        assert version.startswith("Valkey ")
        assert redis.Redis.from_url(url).ping()
        os.killpg(runner.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            redis.Redis.from_url(url).ping()
        except redis.ConnectionError:
            return
        time.sleep(0.05)
    raise AssertionError("the server still answers 10 s after its owner was killed")


def test_the_command_gets_the_address_and_its_exit_code_comes_back():
    command = [sys.executable, PROGRAM, "run", "--postgres", "--", sys.executable, "-c"]
    check = "import os, psycopg, sys; psycopg.connect(os.environ['DATABASE_URL']); sys.exit(3)"
    assert subprocess.run([*command, check], capture_output=True, check=False).returncode == 3
