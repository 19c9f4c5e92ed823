"""One attempt of the runner with a server that says what the test wants: results that are refused, answers that are
none, and commands that leave more behind than they should. Its life with a real server: test_runner.py."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from mission_control import command_line
from mission_control.mctl import supervisor, work
from mission_control.mctl.runner import Attempt, Runner
from mission_control.mctl.supervisor import MARK, Supervised
from mission_control.mctl.verbs import warn
from mission_control.mctl.wire import Refused
from mission_control.mctl.worktree import Place
from tests.serving import until

pytestmark = pytest.mark.once
CODE = "k3v9d2qa"


class Told:
    """A server: `said` are the calls that came, `(verb, body)` each; `answers` has for a verb what it answers or raises."""

    def __init__(self, answers):
        self.answers = {
            "briefing": "# Task",
            "freeze": {"frozen": False},
            "heartbeat": {"lease_expires_in": 60},
            **answers,
        }
        self.said = []

    def call(self, method, path, body=None, **_):
        verb = path.rsplit("/", 1)[-1]
        self.said.append((verb, body))
        answer = self.answers.get(verb, {})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reports(self):
        return [(verb, body) for verb, body in self.said if verb in ("complete", "fail", "release", "block")]


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """`attempt(script, answers)`: it was run; the server that it talked to."""

    def run(script, answers=None, *, repository=None, lease=60.0, **quoted):
        command = tmp_path / "command.py"
        command.write_text(script)
        options = work.Options(
            agent="ada", command=[sys.executable, str(command)], folder=tmp_path / "trees", grace=0.2,
            repositories={"": repository} if repository else {},
        )  # fmt: skip
        told = Told(answers or {})
        runner = Runner("http://127.0.0.1:9", "mc_secret", options)
        monkeypatch.setattr(runner, "wire", lambda *_, **__: told)
        claim = {
            "task": {"id": CODE}, "epoch": 1, "lease_token": "tk_9f8e7d6c", "lease_expires_in": lease,
            "briefing": {"venture": "shop", "quoted": {"title": "Guide", "branch": "", **quoted}},
        }  # fmt: skip
        with contextlib.suppress(RuntimeError):
            told.went_well = Attempt(runner, claim).run()
        return told

    return run


@pytest.fixture
def repository(tmp_path):
    place = tmp_path / "repository"
    place.mkdir()
    for line in ("init -q -b main", "commit -q --allow-empty -m first", "checkout -q --detach"):
        subprocess.run(
            ["git", "-c", "user.name=Ada", "-c", "user.email=a@example.org", *line.split()], cwd=place, check=True
        )
    return place


def test_a_result_that_the_server_does_not_take_ends_the_attempt_all_the_same(attempt):
    refused = Refused("The summary is not one.", code="invalid", status=400)
    told = attempt("print('Done.')", {"complete": refused})
    assert [verb for verb, _ in told.reports()] == ["complete", "fail"]
    assert told.reports()[1][1] == {"error": "The result was not taken: The summary is not one."}
    told = attempt("raise SystemExit(3)", {"fail": refused})
    assert told.reports()[1:] == [("release", {})]
    told = attempt("print('Done.')", {"complete": Refused("Gone.", code="lease_lost", status=409)})
    assert [verb for verb, _ in told.reports()] == ["complete"]


def test_a_defect_of_the_runner_leaves_no_lease_behind(attempt, monkeypatch):
    monkeypatch.setattr(Attempt, "_command", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        attempt("")
    monkeypatch.setattr(Attempt, "_command", lambda *_: (_ for _ in ()).throw(RuntimeError("can't start new thread")))
    assert [verb for verb, _ in attempt("").reports()] == ["release"]


def test_a_defect_of_the_runner_leaves_no_command_behind(attempt, monkeypatch, tmp_path):
    started = []

    def broken(_, supervised):
        started.append(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 20, "it"))
        raise RuntimeError("A defect.")

    monkeypatch.setattr(Attempt, "_watch", broken)
    told = attempt(f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    assert [verb for verb, _ in told.reports()] == ["release"]
    assert not os.path.exists(f"/proc/{started[0]}")


def test_what_was_done_before_the_fleet_was_frozen_is_handed_in(attempt, repository, monkeypatch):
    frozen, commit = {"frozen": False}, Place.commit

    def slowly(self, message):
        frozen["frozen"] = bool(self.branch)  # not yet while the folder is made
        time.sleep(0.3)
        return commit(self, message)

    monkeypatch.setattr("mission_control.mctl.runner.BEAT_SECONDS", 0.05)
    monkeypatch.setattr(Place, "commit", slowly)
    told = attempt("print('Done.')", {"freeze": frozen}, repository=repository)
    assert [verb for verb, _ in told.reports()] == ["complete"]


def test_what_was_made_without_a_repository_stays_until_it_is_handed_in(attempt, tmp_path):
    script = "import os; open(os.environ['MISSION_CONTROL_RESUMED'] or '0', 'w')"
    attempt(script, {"complete": Refused("Away.", code="unreachable")})
    [made] = (tmp_path / "trees").glob(f"*/{CODE}/0")
    told = attempt(script)
    assert [verb for verb, _ in told.said].count("deliverables") == 2 and not made.parent.exists()


@pytest.mark.parametrize("answer", [[], None, {"lease_expires_in": "soon"}])
def test_a_command_ends_with_its_lease_although_something_answers_in_the_name_of_the_server(
    attempt, monkeypatch, answer
):
    monkeypatch.setattr("mission_control.mctl.runner.BEAT_SECONDS", 0.05)
    started = time.monotonic()
    told = attempt("import time; time.sleep(60)", {"heartbeat": answer}, lease=0.6)
    assert time.monotonic() - started < 20
    assert [verb for verb, _ in told.said].count("heartbeat") > 2 and told.reports() == []


def test_what_cannot_be_committed_is_a_failure_with_its_cost_and_stays(attempt, repository, tmp_path):
    script = """
import json, subprocess
subprocess.run(["git", "clone", "-q", "file://%s", "library"], check=True)
print(json.dumps({"type": "result", "result": "Done.", "usage": {"input_tokens": 5, "output_tokens": 2}}))
"""
    told = attempt(script % repository, repository=repository)
    [(verb, body)] = told.reports()
    assert (verb, body["tokens_used"]) == ("fail", 7) and "library is a git repository" in body["error"]
    assert list((tmp_path / "trees").glob(f"*/{CODE}/library/.git")), "it is not thrown away"


def test_a_task_that_names_the_default_branch_gets_one_of_its_own(attempt, repository):
    told = attempt("open('guide', 'w')", repository=repository, branch="main")
    [(verb, body)] = told.reports()
    assert (verb, body["branch"]) == ("complete", f"agent/ada-guide-{CODE}")


def test_a_runner_whose_words_nobody_takes_works_on(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        warn("It is said.")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_a_slot_says_why_it_gets_no_work_and_ends_where_that_is_for_good(tmp_path, monkeypatch, capsys):
    runner = Runner("http://127.0.0.1:9", "", work.Options(agent="ada", command=["true"], folder=tmp_path))
    answers = iter([
        *[Refused("Away.", code="unreachable")] * 2, ValueError("odd"),
        Refused("lease_seconds: at least 10.", code="invalid", status=400),
    ])  # fmt: skip

    def look():
        raise next(answers)

    monkeypatch.setattr(runner, "_is_work_there", look)
    monkeypatch.setattr(runner.stopping, "wait", lambda _: None)
    runner._slot()
    assert runner.problem == "lease_seconds: at least 10." and runner.stopping.is_set()
    said = capsys.readouterr().err
    assert said.count("Away.") == 1 and "odd" in said


def test_a_runner_that_still_waits_for_its_server_ends_at_once_when_it_is_told_to(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        environment = {**os.environ, "MISSION_CONTROL_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        words = ["work", "--agent", "ada", "--folder", str(tmp_path), "--", "true"]
        runner = subprocess.Popen(
            [sys.executable, "-m", "mission_control.mctl", *words], env={**environment, "MISSION_CONTROL_KEY": "mc_key"}
        )
        try:
            silent.accept()[0].close()
            runner.terminate()
            assert runner.wait(20) == -signal.SIGTERM
        finally:
            runner.kill()


# ── the command and the one between ─────────────────────────────────────────────────────────────────────────────────


def supervised(script, environment=None):
    with open(os.devnull) as nothing:
        return Supervised(
            [sys.executable, "-c", script], folder="/", environment={**os.environ, **(environment or {})}, stdin=nothing,
            grace=1.0,
        )  # fmt: skip


def read(one, most=1000):
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(one.lines(one.process.stdout, most)), daemon=True)
    reader.start()
    return lines, reader


def test_output_is_read_by_lines_whatever_ends_them_and_in_pieces_where_nothing_does():
    script = "import sys; sys.stdout.buffer.write(b'10%\\r20%\\r\\n\\xff\\x00\\n' + b'x' * 2500)"
    one = supervised(script)
    lines, reader = read(one)
    assert one.close([reader]) == 0
    assert lines[:3] == [b"10%", b"20%", b"\xff\x00"]
    assert b"".join(lines[3:]) == b"x" * 2500 and max(map(len, lines)) <= 1000


def test_a_pipe_that_somebody_else_holds_open_does_not_keep_the_attempt():
    one = supervised("import time; print('Done.', flush=True); time.sleep(0.3)")
    lines, reader = read(one)
    with open(f"/proc/{one.process.pid}/fd/1", "wb"):
        ended = threading.Thread(target=one.close, args=([reader],), daemon=True)
        ended.start()
        ended.join(10)
        assert not ended.is_alive()
    assert lines == [b"Done."]


def test_the_file_of_the_command_line_may_be_replaced_while_it_works(tmp_path):
    program = tmp_path / "mctl"
    program.write_bytes(command_line.packed()[0])
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom mctl.supervisor import Supervised\n"
        "import os; open(sys.argv[1], 'wb').write(b'newer'); nothing = open(os.devnull)\n"
        "one = Supervised(['true'], folder='/', environment={}, stdin=nothing, grace=1)\nsys.exit(one.close())"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(program)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_what_runs_under_a_mark_is_ended_also_by_a_python_without_pidfd(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    left = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "a" * 32})
    until(lambda: list(supervisor._marked("a" * 32)), 20, "its mark")
    supervisor.end_marked("a" * 32)
    assert left.wait(20) == -9


@pytest.mark.parametrize("option", ["--grace", "--minutes", "--finish"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_number_that_is_none_is_refused_at_the_start(terminal, option, value):
    """With a grace of `nan` a command that ignores SIGTERM would never be killed."""
    terminal.to("http://127.0.0.1:9", "mc_key")
    terminal("work", "--agent", "ada", f"{option}={value}", "--", "true", code=2)
    assert "positive" in terminal.err
