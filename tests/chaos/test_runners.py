"""Several runners on one machine and one repository, while they, what watches over their commands and the server are
killed at random: every task is done once, nothing keeps running, no working tree and no lock stays behind.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import checker

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
TOLD = Path(__file__).parent / "told_runner.py"

COMMAND = """
import fcntl, os, pathlib, random, subprocess, sys, time
code, attempt = os.environ["MISSION_CONTROL_TASK"], os.environ["MISSION_CONTROL_ATTEMPT"]
seen = pathlib.Path(sys.argv[1])
alone = open(seen / f"{code}.lock", "w")
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    (seen / "twice").open("a").write(f"{code} in attempt {attempt}\\n")
subprocess.Popen(["sleep", "300"], start_new_session=random.random() < 0.5)
pathlib.Path(f"{code}.txt").write_text(code)
print("PROGRESS: 50 half of it", flush=True)
time.sleep(random.uniform(0.1, 1.0))
print(f"\\u27e8{code}.{attempt}\\u27e9")
"""


def git(place, *arguments):
    named = ["-c", "user.name=Olivia", "-c", "user.email=olivia@example.org"]
    return subprocess.run(["git", *named, *arguments], cwd=place, check=True, capture_output=True, text=True).stdout


class Runners:
    """So many runners, each of an agent of its own; who is killed starts again at once."""

    def __init__(self, product, folder, count, key):
        self.product, self.folder, self.kills = product, folder, Counter()
        self.repository, self.trees, self.seen = folder / "repository", folder / "trees", folder / "seen"
        for place in (self.repository, self.seen):
            place.mkdir()
        git(self.repository, "init", "-q", "-b", "main")
        git(self.repository, "commit", "-q", "--allow-empty", "-m", "first")
        self.command = folder / "command.py"
        self.command.write_text(COMMAND)
        self.keys = {}
        for slug in (f"runner-{n}" for n in range(count)):
            product.ask("POST", "/api/v1/agents", key, {"id": slug, "name": slug})
            status, body = product.ask("POST", f"/api/v1/agents/{slug}/keys", key, {"scopes": ["work"]})
            assert status == 201, body
            self.keys[slug] = body["api_key"]
        self.processes = {slug: self.start(slug) for slug in self.keys}

    def start(self, slug):
        environment = {
            **os.environ, "MISSION_CONTROL_URL": self.product.url, "MISSION_CONTROL_KEY": self.keys[slug],
            "PYTHONIOENCODING": "utf-8",
        }  # fmt: skip
        with open(self.folder / f"{slug}.log", "ab") as log:
            return subprocess.Popen(
                [
                    sys.executable, str(TOLD), str(self.folder / f"{slug}.jsonl"), "work", "--agent", slug,
                    "--parallel", "2", "--lease", "6", "--grace", "0.5", "--folder", str(self.trees),
                    "--", sys.executable, str(self.command), str(self.seen),
                ],
                cwd=self.repository, env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def kill_runner(self, chance, *, with_supervisors=False):
        slug = chance.choice(sorted(self.processes))
        between = self.supervisors(slug)
        self.processes[slug].kill()
        for pid in between if with_supervisors else ():
            self._kill(pid)
        self.processes[slug].wait()
        self.processes[slug] = self.start(slug)
        self.kills["runner"] += 1

    def kill_supervisor(self, chance):
        end = time.monotonic() + 20
        while not (running := [pid for slug in self.processes for pid in self.supervisors(slug)]):
            assert time.monotonic() < end, "nobody works"
            time.sleep(0.05)
        self._kill(chance.choice(running))

    def crash_server(self, chance):
        self.product.kill()
        time.sleep(chance.random())
        self.product.start()
        self.kills["server"] += 1

    def supervisors(self, slug):
        with contextlib.suppress(OSError):
            tasks = Path(f"/proc/{self.processes[slug].pid}/task").iterdir()
            pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
            return [pid for pid in pids if b"supervise()" in _read(pid, "cmdline")]
        return []

    def left_running(self):
        """Processes that one of our commands is, or started."""
        ours = f"MISSION_CONTROL_FOLDER={self.trees}".encode()
        return [
            int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit() and ours in _read(place.name, "environ")
        ]  # fmt: skip

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        return [process.wait(40) for process in self.processes.values()]

    def _kill(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills["supervisor"] += 1


def _read(pid, name):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def everything(product, key):
    cursor = ""
    while True:
        body = product.ask("GET", f"/api/v1/tasks?limit=200&cursor={cursor}", key)[1]
        yield from body["tasks"]
        cursor = body.get("next")
        if not cursor:
            return


def nothing_is_done_twice_or_lost(product, folder, *, runners, tasks, harms, pause, patience):
    """Before each harm so many tasks are added, that there is work to harm."""
    admin, chance = product.admin_key(), random.Random(7)
    codes = set()
    crew = Runners(product, folder, runners, admin)
    try:
        waiting = list(harms)
        deadline = time.monotonic() + patience
        while True:
            time.sleep(pause)
            if waiting:
                status, body = product.ask(
                    "POST", "/api/v1/tasks", admin, [{"title": f"Task {n}"} for n in range(tasks)]
                )
                assert status == 201, body
                codes |= {task["id"] for task in body["tasks"]}
                harm = waiting.pop(0)
                getattr(crew, harm.removesuffix("s"))(chance, **({"with_supervisors": True} if harm[-1] == "s" else {}))
                continue
            now = {task["id"]: task for task in everything(product, admin)}
            if all(task["status"] == "done" for task in now.values()):
                break
            for code, task in now.items():  # what is held back after a failure would only make this longer
                if task["not_before"]:
                    product.ask("POST", f"/api/v1/tasks/{code}/pause", admin, {})
                    product.ask("POST", f"/api/v1/tasks/{code}/resume", admin, {})
                if task["status"] == "failed":
                    product.ask("POST", f"/api/v1/tasks/{code}/retry", admin, {})
            assert time.monotonic() < deadline, Counter(task["status"] for task in now.values())
        assert crew.stop() == [0] * runners
    finally:
        for process in crew.processes.values():
            process.kill()
            process.wait()
    assert crew.left_running() == []
    assert not (crew.seen / "twice").exists(), (crew.seen / "twice").read_text()

    assert git(crew.repository, "worktree", "list").count("\n") == 1
    assert git(crew.repository, "status", "--porcelain") == ""
    assert list((crew.repository / ".git").rglob("*.lock")) == []
    assert list(crew.trees.rglob("*.run")) == []
    for code, task in now.items():
        assert git(crew.repository, "show", f"{task['branch']}:{code}.txt") == code

    assert product.manage("check_invariants").returncode == 0
    assert product.stop() == 0
    histories = list(folder.glob("*.jsonl"))
    report = checker.check(product.database_url, histories, logs=[product.log], least_claims=len(codes))
    assert report.wrong == []
    completed = Counter(
        line["task"] for line in checker.Tables(product.database_url).log if line["kind"] == "task.completed"
    )
    assert completed == dict.fromkeys(codes, 1)
    return crew.kills


@pytest.mark.smoke
def test_runners_their_supervisors_and_the_server_are_killed(product_on, tmp_path):
    harms = ["kill_supervisor", "kill_runner", "kill_runners", "crash_server", "kill_supervisor", "kill_runner"]
    kills = nothing_is_done_twice_or_lost(
        product_on("sqlite"), tmp_path, runners=3, tasks=3, harms=harms, pause=0.6, patience=120
    )
    assert kills["runner"] == 3
    assert kills["server"] == 1
    assert kills["supervisor"] >= 2


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_runners_their_supervisors_and_the_server_are_killed_for_long(product_on, tmp_path, long_seconds, kind):
    chance, rounds = random.Random(11), int(long_seconds / 2)
    kinds = ["kill_supervisor", "kill_runner", "kill_runners", "crash_server"]
    harms = [chance.choices(kinds, weights=[4, 3, 2, 1])[0] for _ in range(rounds)]
    kills = nothing_is_done_twice_or_lost(
        product_on(kind),
        tmp_path,
        runners=20,
        tasks=-(-200 // rounds),
        harms=harms,
        pause=1.5,
        patience=max(300, 10 * long_seconds),
    )
    assert min(kills["runner"], kills["supervisor"], kills["server"]) >= 1
