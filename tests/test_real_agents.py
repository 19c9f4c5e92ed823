"""Real agent programs finish tasks: each is given one line of the page Connect, and a model that a script plays.

The programs come from the npm registry in fixed versions. The scripts know how to use tools and how to read; where the
work is, what it is and what has to be sent they learn from the conversation alone, as a model would.
"""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import httpx2
import pytest

from tests.receiving import Receiver, answering
from tests.scripted_model import TOKENS_IN, TOKENS_OUT, ScriptedModel, Use
from tests.serving import database_server, make_product, new_database

__all__ = ["database_server", "make_product", "new_database"]  # fixtures
pytestmark = pytest.mark.once

VERSIONS = ("@openai/codex@0.104.0", "@google/gemini-cli@0.61.0")
WANTED = re.compile(r"Write the file (\S+) with this one line: (.+?)(?:$|\n)", re.MULTILINE)


@pytest.fixture(scope="module")
def programs(pytestconfig) -> Path:
    """The folder of their commands. They are installed once and kept beside pytest's cache, about 190 MB."""
    npm = shutil.which("npm")
    assert npm, "Node.js 20 or newer with npm is needed: real agent programs are installed by it."
    kept = pytestconfig.rootpath / ".pytest_cache" / "agent-programs"
    kept.mkdir(parents=True, exist_ok=True)
    folder = kept / "-".join(re.sub(r"\W+", "-", version).strip("-") for version in VERSIONS)
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=kept) as made:
            (Path(made) / "package.json").write_text("{}")
            install = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts", *VERSIONS]
            ran = subprocess.run(install, cwd=made, capture_output=True, text=True, timeout=300, check=False)
            assert ran.returncode == 0, f"npm could not install {', '.join(VERSIONS)}:\n{ran.stderr[-2000:]}"
            with contextlib.suppress(OSError):  # another process was faster
                os.rename(made, folder)
    return folder / "node_modules" / ".bin"


@pytest.fixture(scope="module")
def product(make_product):
    return make_product().start()


@pytest.fixture
def play():
    """`play(script)`: the model. Whatever a script could not answer fails the test."""
    made = []

    def make(script):
        made.append(ScriptedModel(script))
        return made[-1]

    yield make
    for model in made:
        model.close()
        assert model.problems == []


@pytest.fixture
def outside():
    """What stands for the rest of the world; nothing of it may be asked for."""
    receiver = Receiver(answering(403))
    yield receiver
    receiver.close()
    assert [path for _, path, _, _ in receiver.seen] == []


@pytest.fixture
def place(tmp_path, programs, outside):
    """An empty home, an empty folder to work in, and the environment of whoever starts a program there."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    proxy = f"http://127.0.0.1:{outside.port}"
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb", "TMPDIR": str(tmp_path),
        "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    return home, folder, environment


def run(command, folder, environment):
    """Run it to its end, for a minute at most with all that it starts. It has to end well."""
    told = subprocess.run(
        ["timeout", "-k", "5", "60", *command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


def pasted_line(product, kind, name, folder):
    """The line for this kind of program as the page shows it to an operator: with the key of a new agent, or for
    "AGENTS.md" with an enrolment token, and beside it what the page says belongs into a repository.
    """
    with httpx2.Client(base_url=product.url, cookies={"sessionid": product.person()}) as browser:
        page = browser.get("/connect").text
        said = {"csrfmiddlewaretoken": re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]}
        if kind == "AGENTS.md":
            (folder / kind).write_text(_shown(page, "For a repository"))
            said |= {"scopes": "work", "most_uses": "1", "hours": "1"}
            return _shown(browser.post("/connect/enrolments", data=said).text, "Let agents enrol themselves")
        return _shown(browser.post("/connect", data={**said, "name": name}).text, kind)


def _shown(page, heading):
    """The first thing to copy under a heading."""
    return html.unescape(re.search(rf'>{heading}</h2>.*?class="copy[^>]*><code[^>]*>(.*?)</code>', page, re.DOTALL)[1])


# ── what a model does ───────────────────────────────────────────────────────────────────────────────────────────────


def at_the_shell(conversation, command):
    """The command by whatever the program calls its shell."""
    name = conversation.tool("exec_command", "run_shell_command")
    return Use(name, {"cmd" if name == "exec_command" else "command": command})


def works_by_tools(conversation):
    """Asked to take a task: uses the server's tools by their names and by what they answer."""
    assert "next task" in conversation.asked
    told = yield Use(conversation.tool("next_task"), {"session_key": "by tools"})
    claimed, _ = json.JSONDecoder().raw_decode(told, told.index("{"))  # some programs put words of their own around it
    lease = {"task": claimed["task"]["id"], "epoch": claimed["epoch"], "lease_token": claimed["lease_token"]}
    name, line = WANTED.search(claimed["briefing"]["quoted"]["description"]).groups()
    yield Use(conversation.tool("report_progress"), {**lease, "percent": 10, "message": "I know what is wanted."})
    yield at_the_shell(conversation, f"echo '{line}' > {name}")
    yield Use(conversation.tool("add_deliverable"), {**lease, "title": "The greeting", "type": "file", "path": name})
    done = {**lease, "summary": f"{name} is written.", "actual_cost": 0.0125, **conversation.spent}
    yield Use(conversation.tool("complete_task"), done)
    return "It is handed in."


def follows_the_page(conversation):
    """Told to read a page and follow it: does what its blocks say one by one, with its own words where they show some."""
    address = re.search(r"Read (\S+)/skill\.md", conversation.asked)[1]
    key = re.search(r"Your key is (mc_\w+)\.", conversation.asked)

    def saying(block, **said):
        return at_the_shell(conversation, re.sub(r"-d '\{.*\}'", lambda _: f"-d '{json.dumps(said)}'", block))

    page = yield at_the_shell(conversation, f"curl -fsS {address}/skill.md")
    enrol, claim, report, hand_in = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    if key:
        header, file = re.search(r"First write `(.+?)` into `(\S+?)`", page).groups()
        header = re.sub("mc_…", key[1], header)
        yield at_the_shell(conversation, f"umask 077; mkdir -p {os.path.dirname(file)}; echo '{header}' > {file}")
    yield at_the_shell(conversation, enrol)
    briefing = yield at_the_shell(conversation, claim)
    name, line = WANTED.search(briefing).groups()
    yield saying(report, percent=10, message="I know what is wanted.")
    yield at_the_shell(conversation, f"echo '{line}' > {name}")
    made = [{"type": "file", "title": "The greeting", "path": name}]
    yield saying(hand_in, summary=f"{name} is written.", actual_cost="0.0125", deliverables=made, **conversation.spent)
    return "It is handed in."


# ── the programs ────────────────────────────────────────────────────────────────────────────────────────────────────

CODEX = "codex exec --json --skip-git-repo-check --sandbox workspace-write"
GEMINI = "gemini --approval-mode yolo --output-format stream-json --prompt"
NETWORK = "sandbox_workspace_write.network_access=true"  # for curl
TAKE = "'Take the next task from mission-control.'"


def set_up(home, model):
    """The settings of both programs: the model on this machine, and nobody else is asked."""
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(
        'model = "scripted"\nmodel_provider = "scripted"\ncheck_for_update_on_startup = false\n'
        "[analytics]\nenabled = false\n"
        f'[model_providers.scripted]\nname = "scripted"\nbase_url = "{model.url}/v1"\nwire_api = "responses"\n'
    )
    (home / ".gemini").mkdir()
    (home / ".gemini" / "settings.json").write_text(
        json.dumps(
            {
                "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
                "privacy": {"usageStatisticsEnabled": False},
                "security": {"auth": {"selectedType": "gemini-api-key"}},
            }
        )
    )
    return {
        "GOOGLE_GEMINI_BASE_URL": model.url, "GEMINI_API_KEY": "none", "GEMINI_MODEL": "scripted",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "script", "start"),
    [
        ("Codex", "Cody", works_by_tools, f"{{line}}\n{CODEX} {TAKE}"),
        ("Gemini CLI", "Gemma", works_by_tools, f"{{line}}\n{GEMINI} {TAKE}"),
        ("OpenClaw", "Clara", follows_the_page, f"{GEMINI} '{{line}}'"),
        ("AGENTS.md", "Clive", follows_the_page, f"{{line}}\n{CODEX} -c {NETWORK} 'Take the next task.'"),
    ],
    ids=["Codex by MCP", "Gemini CLI by MCP", "Gemini CLI by skill.md", "Codex by AGENTS.md"],
)
def test_a_real_program_is_given_one_line_and_hands_in_a_task(product, place, play, kind, name, script, start):
    home, folder, environment = place
    line = f"Good morning, {secrets.token_hex(8)}."  # nobody can guess it
    asked = f"Write the file greeting.txt with this one line: {line}"
    [code] = product.tasks(1, title="Greet the house", description=asked, review_required=kind == "Codex")
    model = play(script)
    pasted = pasted_line(product, kind, name, folder)
    environment |= set_up(home, model) | {"AGENT_NAME": name}
    run(["sh", "-eu", "-c", start.format(line=pasted)], folder, environment)
    assert (folder / "greeting.txt").read_text() == f"{line}\n"

    headers = {"Authorization": f"Bearer {product.agent('auditor')}"}
    with httpx2.Client(base_url=f"{product.url}/api/v1/tasks", headers=headers) as api:
        task = api.get(code).json()["task"]
        lines = api.get(f"{code}/activities").json()["activities"]
        [made] = api.get(f"{code}/deliverables").json()["deliverables"]
    assert (task["status"], task["actual_cost"]) == ("review" if kind == "Codex" else "done", "0.0125")
    assert task["tokens_used"] == (model.turns - 1) * (TOKENS_IN + TOKENS_OUT)  # all but its last word
    assert (made["type"], made["title"], made["path"]) == ("file", "The greeting", "greeting.txt")
    kinds = ("deliverable.added", "task.claimed", "task.completed", "task.progressed")
    assert sorted((line["kind"], line["agent"]) for line in lines if line["agent"]) == [
        (kind_of_line, name.lower()) for kind_of_line in kinds
    ]
    assert re.search(r"mce?_\w+", pasted)[0] not in json.dumps([task, lines, made])
    assert product.inside("from tasks import invariants\nresult = sum(invariants.broken().values(), [])") == []


# ── started by the runner ───────────────────────────────────────────────────────────────────────────────────────────


def does_what_it_is_given(conversation):
    """Handed a briefing: does what it asks for, in whatever way the program offers."""
    name, line = WANTED.search(conversation.asked).groups()
    if "write_file" in conversation.tools:
        yield Use("write_file", {"file_path": name, "content": f"{line}\n"})
    else:
        yield at_the_shell(conversation, f"echo '{line}' > {name}")
    return f"{name} is written."


@pytest.mark.parametrize("preset", ["codex", "gemini"])
def test_the_runner_starts_a_real_program_by_its_pasted_line_and_hands_in_what_it_made(product, place, play, preset):
    home, folder, environment = place
    line = f"Good morning, {secrets.token_hex(8)}."
    [code] = product.tasks(1, title="Greet", description=f"Write the file greeting.txt with this one line: {line}")
    model = play(does_what_it_is_given)
    git = ["git", "-c", "user.name=Olivia", "-c", "user.email=olivia@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], cwd=folder, check=True)
    pasted = pasted_line(product, "Runner", f"Run {preset}", folder).replace("--preset claude", f"--preset {preset}")
    run(["sh", "-eu", "-c", f"{pasted} --tasks 1"], folder, environment | set_up(home, model))

    headers = {"Authorization": f"Bearer {product.agent('auditor')}"}
    with httpx2.Client(base_url=f"{product.url}/api/v1/tasks", headers=headers) as api:
        task = api.get(code).json()["task"]
        [made] = api.get(f"{code}/deliverables").json()["deliverables"]
        content = api.get(f"{code}/deliverables/{made['id']}/file").content
    assert (task["status"], task["tokens_used"]) == ("done", model.turns * (TOKENS_IN + TOKENS_OUT))
    assert (task["completion_summary"], content.decode()) == ("greeting.txt is written.", f"{line}\n")
    on_branch = subprocess.run([*git, "show", f"{task['branch']}:greeting.txt"], cwd=folder, capture_output=True)
    assert on_branch.stdout == content
    key = re.search(r"mc_\w+", pasted)[0].encode()
    assert not any(key in body for _, _, _, body in model.receiver.seen)  # the program was never given it


# ── what they report by themselves ──────────────────────────────────────────────────────────────────────────────────


def says_hello(conversation):
    """Two turns: one call of the shell, and the last word."""
    said = yield at_the_shell(conversation, "echo hello")
    return said


@pytest.mark.parametrize("start", [CODEX, GEMINI], ids=["Codex", "Gemini CLI"])
def test_what_a_real_program_reports_by_opentelemetry_is_booked_on_its_task_once(product, place, play, start):
    home, folder, environment = place
    [code] = product.tasks(1, title="Say hello")
    agent = start.split()[0]
    headers = {"Authorization": f"Bearer {product.agent(agent)}"}
    with httpx2.Client(base_url=f"{product.url}/api/v1/tasks", headers=headers) as api:
        api.post(f"{code}/claim", json={}).raise_for_status()
        model = play(says_hello)
        environment |= set_up(home, model) | {
            "OTEL_RESOURCE_ATTRIBUTES": f"task.id={code}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization={headers['Authorization']}",
            "GEMINI_TELEMETRY_ENABLED": "true", "GEMINI_TELEMETRY_LOG_PROMPTS": "false",
            "GEMINI_TELEMETRY_OTLP_PROTOCOL": "http", "GEMINI_TELEMETRY_OTLP_ENDPOINT": product.url,
        }  # fmt: skip
        with open(home / ".codex" / "config.toml", "a") as file:
            file.write(
                f'[otel]\ntrace_exporter = "none"\nexporter = {{ otlp-http = {{ endpoint = "{product.url}/v1/logs", '
                f'protocol = "binary", headers = {{ Authorization = "{headers["Authorization"]}" }} }} }}\n'
            )
        run([*start.split(), "Say hello"], folder, environment)
        task = api.get(code).json()["task"]
    assert (model.turns, task["tokens_used"]) == (2, 2 * (TOKENS_IN + TOKENS_OUT))
