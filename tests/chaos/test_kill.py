"""kill -9 of the server, of clients and of the databases under load, and clients that stop and wake: nothing that was
acknowledged is lost, nobody owns a task twice, no zombie writes. Real processes, real ports, judged from outside.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.demo.fleet_client import Client, History
from tests import servers
from tests.chaos import checker
from tests.chaos.readers import EventStream
from tests.chaos.runs import Run
from tests.chaos.test_race import plan

pytestmark = [pytest.mark.chaos]
SLEEPER = Path(__file__).parent / "sleeper.py"


@pytest.mark.smoke
@pytest.mark.parametrize(("kind", "claimers", "tasks"), [("postgresql", 64, 700), ("sqlite", 8, 250)])
def test_the_server_and_clients_are_killed_under_load(product_on, tmp_path, kind, claimers, tasks):
    product, zombies = product_on(kind), 80 / tasks  # each writes two or three times
    with Run(product, plan(url=product.url, agents=claimers, tasks=tasks, zombies=zombies), tmp_path / "run") as run:
        run.work(harms=[(at / 10, harm) for at in (1, 3, 5, 7, 9) for harm in (run.crowd.kill_one, run.crash)])
        report = run.judge(least_refused=100, least_claims=tasks)
    assert (product.kills, run.crowd.kills) == (5, 5)
    assert report.facts["answers lost or never read"] > 0
    assert report.facts["replayed answers"] > 0, "no client got the answer again that it had lost"


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_the_server_and_clients_are_killed_for_long(product_on, tmp_path, long_seconds, kind):
    product = product_on(kind)
    agents, keep_ready = (64, 600) if kind == "postgresql" else (8, 200)
    wanted = plan(
        url=product.url, agents=agents, tasks=keep_ready, keep_ready=keep_ready, forever=True, seed=23, zombies=0.08
    )
    with Run(product, wanted, tmp_path / "run", processes=8) as run:
        run.work_for(long_seconds, harms=[(7, run.crash), (5, run.crowd.kill_one)])
        run.judge(least_refused=100, least_claims=500)
    assert product.kills >= 3
    assert run.crowd.kills >= 3


def test_postgresql_is_killed_under_load(product_on, tmp_path):
    with servers.postgres(own=True, fsync=True) as database:
        product = product_on("postgresql", database_url=database.create_database("killed"))
        kills = 0

        def kill():
            nonlocal kills
            database.kill()
            time.sleep(1.0)  # an outage, not only a blink
            database.start()
            kills += 1

        with Run(product, plan(url=product.url, agents=32, tasks=1500, seed=31), tmp_path / "run") as run:
            run.work(harms=[(0.2, kill), (0.5, kill), (0.8, kill)])
            report = run.judge(least_refused=50, least_claims=1500, logs=False)
        assert kills == 3
        assert "database is locked" not in product.log.read_text(errors="replace")
        assert report.facts["answers by status"].get("503", 0) + report.facts["answers lost or never read"] > 0
        product.stop()


def test_two_servers_share_a_database_and_valkey_is_stopped(product_on, tmp_path):
    """Both sweep, both ring; one is killed again and again; the bell is gone for half of the time."""
    with servers.valkey(own=True) as bell:
        first = product_on("postgresql", redis_url=bell.url)
        second = product_on("postgresql", name="second", database_url=first.database_url, redis_url=bell.url)
        switches = 0

        def switch_bell():
            nonlocal switches
            switches += 1
            if bell.running:
                bell.stop()
            else:
                bell.start()

        with Run(first, plan(url=first.url, agents=24, tasks=1200, seed=41), tmp_path / "run") as run:
            other = EventStream(second.port, run.key, History(run.read), "event stream of the second")
            other.start()
            bells = [(at / 10, switch_bell) for at in (2, 4, 6, 8)]
            run.work(harms=[*bells, (0.3, run.crash), (0.5, run.crash), (0.7, run.crash)])
            status, body = second.ask("GET", "/api/v1/activities?limit=1", run.key)
            assert status == 200 and other.reaches(body["head"])
            other.stop()
            assert second.stop() == 0
            run.judge(least_refused=40, least_claims=1200)
        assert switches == 4


def test_an_event_is_visible_within_a_second_although_valkey_is_stopped(product_on, tmp_path):
    with servers.valkey(own=True) as bell:
        first = product_on("postgresql", redis_url=bell.url)
        second = product_on("postgresql", name="second", database_url=first.database_url, redis_url=bell.url)
        key = first.admin_key()
        reader = EventStream(second.port, key, History(tmp_path / "events.jsonl"))
        reader.start()
        delays = []
        for number in range(12):
            if number == 4:
                bell.stop()
            status, body = first.ask("POST", "/api/v1/tasks", key, {"title": f"Task {number}"})
            answered = time.monotonic()
            assert status == 201
            status, body = first.ask("GET", "/api/v1/activities?limit=1", key)
            assert reader.reaches(body["head"], 5.0)
            delays.append(reader.arrivals[body["head"]] - answered)
        reader.stop()
    assert not bell.running
    assert sorted(delays[4:])[4] < 1.0, delays  # no single hiccup of the machine decides


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_client_that_was_stopped_wakes_after_its_lease_was_claimed_again(product_on, tmp_path, kind):
    """SIGSTOP, as a closed lid or a long pause does it: the process knows nothing of the time that went by."""
    product = product_on(kind)
    key = product.admin_key()
    keys = {slug: product.manage("create_agent", slug, "--scopes", "work").stdout.strip() for slug in ("ada", "grace")}
    status, body = product.ask("POST", "/api/v1/tasks", key, {"title": "The task"})
    code = body["task"]["id"]
    history = tmp_path / "ada.jsonl"
    with subprocess.Popen(
        [sys.executable, str(SLEEPER), product.url, keys["ada"], code, str(history)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as ada:  # fmt: skip
        assert ada.stdout.readline().strip() == "claimed"
        assert ada.stdout.readline().strip() == "alive"  # its heartbeats arrive
        os.kill(ada.pid, signal.SIGSTOP)
        grace = Client(product.url, keys["grace"], "grace", History(tmp_path / "grace.jsonl"))
        deadline = time.monotonic() + 60
        while not (claim := grace.call("claim", "POST", "/api/v1/tasks/claim", {"session_key": "g", "wait": 10})).body[
            "task"
        ]:
            assert time.monotonic() < deadline, "the lease of a stopped client does not come back"
        assert (claim.body["task"]["id"], claim.body["epoch"]) == (code, 2)
        os.kill(ada.pid, signal.SIGCONT)
        woken, _ = ada.communicate("finish\n", timeout=30)
    answers = [json.loads(line) for line in woken.splitlines() if line.startswith("{")]
    assert [(answer["verb"], answer["status"], answer["code"]) for answer in answers] == [
        ("progress", 409, "lease_lost"), ("complete", 409, "lease_lost"), ("deliver", 409, "lease_lost"),
        ("heartbeat", 409, "lease_lost"),
    ]  # fmt: skip
    status, body = product.ask("GET", f"/api/v1/tasks/{code}", key)
    assert (body["task"]["status"], body["task"]["holder"], body["task"]["epoch"]) == ("in_progress", "grace", 2)
    assert (body["task"]["actual_cost"], body["task"]["tokens_used"]) == ("0.75", 900)
    status, body = product.ask("GET", f"/api/v1/tasks/{code}/deliverables", key)
    assert [(one["title"], one["orphaned"], one["attempt"]) for one in body["deliverables"]] == [
        ("Late too", True, 1), ("Late", True, 1),
    ]  # fmt: skip
    done = grace.call(
        "complete", "POST", f"/api/v1/tasks/{code}/complete", {"summary": "Mine."},
        epoch=2, token=claim.body["lease_token"], facts={"task": code, "under": 2},
    )  # fmt: skip
    assert done.status == 200
    assert product.manage("check_invariants").returncode == 0
    assert product.stop() == 0
    report = checker.check(
        product.database_url, [history, tmp_path / "grace.jsonl"], logs=[product.log], least_refused=4
    )
    assert report.wrong == []


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_claim_whose_answer_was_lost_is_repeated_after_a_crash_with_the_same_epoch(product_on, tmp_path, kind):
    """The answer is lost between commit and client, the server dies, and the same key gives the same claim."""
    product = product_on(kind)
    key = product.admin_key()
    ada = product.manage("create_agent", "ada", "--scopes", "work").stdout.strip()
    product.ask("POST", "/api/v1/tasks", key, [{"title": f"Task {number}"} for number in range(5)])
    first = product.ask("POST", "/api/v1/tasks/claim", ada, {}, Idempotency_Key="lost-1")
    product.kill()
    product.start()
    again = product.ask("POST", "/api/v1/tasks/claim", ada, {}, Idempotency_Key="lost-1")
    assert first[0] == again[0] == 200
    for name in ("epoch", "lease_token"):
        assert again[1][name] == first[1][name]
    assert again[1]["task"]["id"] == first[1]["task"]["id"]
    status, body = product.ask("GET", "/api/v1/tasks?status=in_progress", key)
    assert [task["id"] for task in body["tasks"]] == [first[1]["task"]["id"]]
