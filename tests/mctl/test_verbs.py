"""The verbs of the command line against a real server."""

import csv
import io
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from mission_control.mctl import cli, keeping
from mission_control.mctl.client import MissionControl


@pytest.fixture
def at_work(terminal, product):
    """A terminal of an agent that may work and put tasks on the board."""
    terminal.to(product.url, product.agent("ada", scopes="work,orchestrate", capabilities="copy"))
    return terminal


def test_a_task_goes_from_the_board_through_work_to_done_without_an_id_being_typed(at_work, product):
    code = at_work.json("add", "Write the size guide", "-p", "urgent", "--tags", "copy,shop", "--needs", "copy")["id"]
    assert "Write the size guide" in at_work("list", "size", "guide", "--status", "ready")
    told = at_work("next")
    assert "Write the size guide" in told

    task = at_work.json("progress", "40", "First", "draft", "--step", "Writing", "--tokens", "900", "--cost", "0.02")
    assert (task["progress_percent"], task["progress_step"], task["tokens_used"]) == (40, "Writing", 900)
    Path("guide.md").write_text("# Sizes\n")
    assert "Deliverable 1: guide.md" in at_work("deliver", "guide.md")
    assert at_work.json("deliver", "https://shop.example/guide", "--title", "Preview")["type"] == "url"
    assert "takes part as writer" in at_work("join", "writer")
    at_work("share", "unit", '{"length": "cm"}', "--kind", "decision")
    assert '{"length": "cm"}' in at_work("context")
    at_work("note", "Ask about half sizes.")
    at_work("sync", "The draft is ready.")
    at_work("discover", "Sandals run large.", "--impact", "One more column.")
    assert "● in_progress" in at_work("list", "--mine") and code in at_work("show")
    at_work("complete", "One page.", "--hours", "0.5", "--tokens", "1200", "--output", '{"pages": 1}')

    done = at_work.json("show", code)
    assert (done["status"], done["epoch"], done["deliverable_count"], done["output"]) == ("done", 1, 2, {"pages": 1})
    assert "Which task?" in _usage(at_work, "progress", "50", "More")
    terminal = at_work
    terminal.to(product.url, product.agent("olga", scopes="admin"))
    assert terminal.json("feedback", code, "5", "4", "--notes", "Thank you.")["quality"] == 5
    assert "done" in terminal("metrics")


def _usage(terminal, *arguments):
    terminal(*arguments, code=2)
    return terminal.err


def test_each_way_out_of_work_ends_the_lease_and_is_forgotten_here(at_work):
    for words, status in (
        (("fail", "No wind."), "ready"),
        (("release",), "ready"),
        (("block", "Which kite?"), "blocked"),
    ):
        code = at_work.json("add", f"Fly a kite: {words[0]}", "-p", "urgent")["id"]
        at_work("next", code)
        at_work(*words)
        assert at_work.json("show", code)["status"] == status
        assert keeping.lease(os.environ["MISSION_CONTROL_URL"]) is None
        at_work("delete", code)


def test_a_lease_that_cannot_be_kept_is_given_back_at_once(at_work, monkeypatch, tmp_path):
    """As in a sandbox whose home is read-only: the task would be held by nobody until the lease ends."""
    code = at_work.json("add", "Cut the stencil", "-p", "urgent")["id"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert "cannot be written" in _usage(at_work, "next", code)
    assert at_work.json("show", code)["status"] == "ready"
    at_work("delete", code)


def test_what_is_no_number_is_refused_and_what_is_no_json_is_text(terminal):
    terminal.to("http://127.0.0.1:9", "mc_key")
    for option in ("--wait=nan", "--wait=-100", "--patience=inf"):
        assert "invalid seconds value" in _usage(terminal, "next", option)
    for words in (("share", "depth", "[" * 60_000), ("progress", "9" * 5000), ("progress", "2026-11-21 is the day")):
        terminal(*words, "--task", "k3v9d2qa", "--patience", "0", code=1)
        assert "(unreachable)" in terminal.err


def test_a_lease_belongs_to_its_folder_and_those_below(at_work, tmp_path, monkeypatch):
    first = at_work.json("add", "In this folder")["id"]
    second = at_work.json("add", "In the other folder")["id"]
    at_work("next", first)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    at_work("next", second)
    (other / "deeper").mkdir()
    monkeypatch.chdir(other / "deeper")
    assert at_work.json("show")["id"] == second
    monkeypatch.chdir(tmp_path / "work")
    assert at_work.json("show")["id"] == first
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "state").rglob("*.json"))
    at_work("release")
    at_work("release", "-t", second)


def test_a_lost_lease_is_refused_said_and_forgotten(at_work, product):
    code = at_work.json("add", "Lose me")["id"]
    at_work("next", code)
    product.do("pause", code)
    at_work("progress", "10", "Still here", code=1)
    assert "lease_lost" in at_work.err or "paused" in at_work.err
    product.do("resume", code)
    control = MissionControl(product.url, product.agent("bert", scopes="work"))
    control.claim(code)
    at_work("complete", "Mine", code=1)
    assert keeping.lease(product.url) is None
    assert control.complete(code, "His.")["status"] == "done"


def test_what_is_refused_ends_with_1_and_what_cannot_be_meant_with_2(at_work, product, terminal):
    at_work("show", "zzzzzzzz", code=1)
    assert "not_found" in at_work.err and at_work.out == ""
    at_work("add", "", "--priority", "soon", "--json", code=1)
    refused = json.loads(at_work.err)
    assert refused["code"] == "invalid" and len(refused["details"]) == 2
    at_work("add", "", "--priority", "soon", code=1)
    assert "title: " in at_work.err and " priority: " in at_work.err and at_work.err.count("\n") == 1
    assert "invalid choice" in _usage(at_work, "sing") and at_work.err.count("\n") == 1
    assert "Which task?" in _usage(at_work, "complete")
    assert "Say what changes" in _usage(at_work, "update", "zzzzzzzz")
    terminal.to("", "")
    assert "mctl login" in _usage(terminal, "list")
    terminal.to("gopher://a", "")
    assert "not an address" in _usage(terminal, "list")
    terminal.to(product.url, "mc_wrong")
    terminal("list", code=1)
    terminal.to("http://127.0.0.1:9", "mc_x")
    terminal("list", "--patience", "0", code=1)
    assert "cannot be reached" in terminal.err


def test_steering_assigns_moves_explains_and_deletes(at_work, product):
    first = at_work.json("add", "Take the photos", "--estimated-hours", "3", "--venture", product.venture("photos"))[
        "id"
    ]
    second = at_work.json("add", 'Upload "the" photos', "--after", first, "--venture", "photos")["id"]
    at_work("add", "Unrelated", "--estimated-hours", "3.5", "--venture", "photos")
    assert at_work.json("assign", first, "ada")["assignee"] == "ada"
    assert at_work.json("assign", first)["assignee"] is None
    assert at_work.json("update", first, "--priority", "high", "--title", "Take all photos")["priority"] == "high"
    assert "✗" in at_work("why", second)
    path = at_work.json("critical-path", "--venture", "photos")
    assert ([task["id"] for task in path["tasks"]], path["hours"]) == ([first, second], 4)
    assert f'"{first}" -> "{second}" [style=bold];' in at_work("critical-path", "--dot", "--venture", "photos")
    at_work("delete", first, code=1)
    at_work("delete", second)
    assert at_work.json("list", "--venture", "photos", "--limit", "1")[0]["title"] == "Unrelated"


def test_the_board_is_drawn_once_where_nobody_watches(at_work, product):
    venture = product.venture("drawn", wip_limits={"in_progress": 2})
    at_work("add", "A card", "--venture", venture)
    drawn = at_work("board", "--venture", venture)
    assert "Ready 1" in drawn and "In progress 0/2" in drawn and "○ A card" in drawn
    assert max(len(line) for line in drawn.splitlines()) <= 120
    assert [column["count"] for column in at_work.json("board", "--venture", venture)["columns"]].count(1) == 1


def test_the_fleet_is_frozen_and_thawed_by_an_operator_alone(at_work, product, terminal):
    at_work("freeze", code=1)
    terminal.to(product.url, product.agent("olga", scopes="admin"))
    assert terminal.json("freeze", "Too", "hot.")["reason"] == "Too hot."
    assert "FROZEN by olga: Too hot." in terminal("board")
    assert terminal.json("thaw")["frozen"] is False


def test_everything_goes_out_as_a_file(at_work):
    at_work("add", "Leave as a file")
    assert any(row["title"] == "Leave as a file" for row in csv.DictReader(io.StringIO(_exported(at_work, "csv"))))
    assert "Leave as a file" in _exported(at_work, "markdown")
    assert any(task["title"] == "Leave as a file" for task in json.loads(_exported(at_work, "json")))


def _exported(terminal, kind):
    terminal("export", "--format", kind, "-o", f"all.{kind}")
    return Path(f"all.{kind}").read_text()


def test_nothing_to_do_is_said_and_work_that_comes_while_waiting_is_taken(terminal, product):
    terminal.to(product.url, product.agent("nina", scopes="work", capabilities="singing"))
    venture = product.venture("opera")
    assert "nothing" in terminal("next", "--venture", venture, code=1)
    timer = threading.Timer(0.3, product.tasks, (1,), {"venture": venture})
    timer.start()
    assert "Task 0" in terminal("next", "--venture", venture, "--wait", "20")
    timer.join()
    terminal("complete", "Sung.")


def test_login_and_register_keep_a_key_for_its_owner_and_its_server_alone(terminal, product, tmp_path):
    key = product.agent("ada", scopes="work,orchestrate")
    assert "You are ada" in terminal("login", product.url, typed=f"{key}\n")
    config = tmp_path / "config/mctl/config.json"
    assert config.stat().st_mode & 0o777 == 0o600
    assert key not in terminal.out and terminal.json("list", "--limit", "1") is not None
    assert keeping.login() == (product.url, key)
    terminal.monkeypatch.setenv("MISSION_CONTROL_URL", "http://elsewhere.example")
    assert keeping.login() == ("http://elsewhere.example", "")
    terminal.monkeypatch.delenv("MISSION_CONTROL_URL")
    config.chmod(0o644)
    assert "chmod 600" in _usage(terminal, "list")
    config.chmod(0o600)
    terminal("login", typed="mc_wrong\n", code=1)
    assert keeping.login() == (product.url, key)

    told = terminal.json("register", "Newcomer", "--url", product.url, "--capabilities", "python")
    assert "api_key" not in told and told["claim_url"]
    assert keeping.login()[1] not in ("", key)
    terminal("list", code=1)


def test_nine_steps_of_an_orchestration_by_the_library(product):
    """The same as tests/tasks/test_orchestration.py tells call by call, in the words of the client."""
    control = MissionControl(product.url, product.agent("otto", scopes="work,orchestrate"), patience=5)
    worker = MissionControl(product.url, product.agent("ada", scopes="work"))
    code = control.add("Orchestrate me", status="inbox")["id"]
    assert code in [task["id"] for task in control.list(status="inbox")]
    control.wire.call("POST", f"/tasks/{code}/activities", {"message": "Triaged"})
    control.update(code, status="assigned", assignee="ada")
    claim = worker.claim(code)
    worker.join(code, "lead")
    control.wire.call(
        "POST", f"/tasks/{code}/subagent", {"openclaw_session_id": "agent:ada:sub:1", "agent_name": "ada"}
    )
    control.wire.call("POST", f"/tasks/{code}/activities", {"activity_type": "spawned", "message": "At it"})
    worker.share(code, "logo", {"colour": "blue"})
    worker.deliver(code, "https://shop.example/logo.svg", title="The logo")
    worker.progress(code, 90, "Nearly")
    assert worker.heartbeat(code)["action"] == "continue"
    done = worker.complete(code, "Drawn.", review=True)
    assert (done["status"], done["epoch"], worker.leases) == ("review", claim["epoch"], {})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_verb_and_is_read_by_its_shell(terminal, shell):
    script = terminal("completion", shell)
    assert all(verb.name in script for verb in cli.VERBS) and "depends" not in script and "after" in script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["add", "--pri"], "--priority"),
        (["--json", "crit"], "critical-path"),
        (["next", "--wa"], "--wait"),
        (["deliver", "gui"], "guide.md"),
    ],
)
def test_bash_completes_verbs_options_and_files(terminal, typed, offered):
    Path("guide.md").touch()
    Path("script").write_text(terminal("completion", "bash"))
    words = " ".join(["mctl", *typed])
    asked = f'source ./script; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _mctl; echo "${{COMPREPLY[@]}}"; complete -p mctl'
    ran = subprocess.run(["bash", "-euc", asked], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [offered, "complete -F _mctl mctl"]


def test_every_verb_answers_in_json(at_work, product, terminal, tmp_path):
    """Those that the tests above do not ask for JSON, and with them all that there are."""
    told = at_work.json
    product.tasks(1)
    code = told("add", "Say it in JSON")["id"]
    assert told("next", code)["epoch"] == 1
    assert told("join", "writer")["role"] == "writer"
    assert told("share", "unit", "cm")["value"] == "cm" and told("context")[0]["key"] == "unit"
    assert told("note", "Mine alone.")["text"] == "Mine alone."
    assert told("sync", "Here.")["kind"] and told("discover", "A thing.")["kind"]
    assert told("block", "Which one?")["status"] == "blocked"
    assert [gate for gate in told("why", code) if not gate["open"]]
    told("update", code, "--status", "ready")
    told("next", code)
    assert told("release")["status"] == "ready"
    told("next", code)
    assert told("fail", "No.")["failures"] == 1
    assert told("delete", code) == {"deleted": code}
    assert told("metrics")["board"]["total"] and told("critical-path")["hours"]
    assert json.loads(_written(at_work, "export"))
    assert json.loads(at_work("watch", "--since", "0", "--count", "1", "--json"))["kind"]
    assert told("process", told("add", "Process me")["id"], "ada")["task"]["assignee"] == "ada"
    assert told("login", product.url, typed=f"{os.environ['MISSION_CONTROL_KEY']}\n")["agent"]["id"] == "ada"


def _written(terminal, *arguments):
    terminal(*arguments, "-o", "out")
    return Path("out").read_text()


def test_all_verbs_are_there():
    wanted = (
        "login register add list show update next progress deliver complete fail release block delete assign process why"
        " watch join share note sync discover context feedback metrics critical-path export board freeze thaw"
    )
    assert set(wanted.split()) <= {verb.name for verb in cli.VERBS}
