"""What the documents say is what the product does: their commands are run, their tables are held against the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
from drf_spectacular.generators import SchemaGenerator

from agents.serializers import AgentFields
from mission_control import checks
from mission_control.mctl import MissionControl, cli
from tasks.serializers import FenceIn, TaskFields
from tasks.transitions import MOVES, RESTING
from tasks.vocabulary import OPEN, PRIORITIES, PRIORITY_WORDS, STATUS_WORDS, STATUSES, STEP_WORDS
from tests.serving import database_server, make_product, new_database, new_product
from ventures.serializers import VentureFields

pytestmark = pytest.mark.once

__all__ = ["database_server", "make_product", "new_database", "new_product"]  # fixtures
ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ADDRESS = "http://127.0.0.1:8000"


def text(path: str) -> str:
    return (ROOT / path).read_text()


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(path), flags=re.MULTILINE | re.DOTALL)


def rows(path: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    lines = text(path).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def pasted(product: Any, scripts: list[str], folder: Path, **variables: str) -> list[str]:
    """Run the blocks one after the other in one shell; what each of them printed. Fails where the shell would stop."""
    program = "".join(f"{script.replace(ADDRESS, product.url)}\nprintf '\\n@@@@\\n'\n" for script in scripts)
    program = program.replace(".venv/bin/python manage.py", f"{sys.executable} {ROOT / 'manage.py'}")
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", program],
        cwd=folder, env={**os.environ, **product.environment, **variables}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    return [part.strip() for part in ran.stdout.split("@@@@\n")][: len(scripts)]


def no_refusals(scripts: list[str], printed: list[str]) -> None:
    """A block that announces a refusal shows one, and no other does."""
    for script, output in zip(scripts, printed, strict=True):
        refused = re.search(r'(^|\})\{"error":', output, flags=re.MULTILINE)
        assert bool(refused) == ("# refused" in script), f"{script}\n{output}"


# ── what can be pasted ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_line_of_the_agent_guide_works_as_pasted(new_product, tmp_path):
    product = new_product()
    key = product.agent("ada", scopes="work,orchestrate")
    scripts = blocks("docs/agent-guide.md", "sh")
    assert len(scripts) > 15
    printed = pasted(product, scripts, tmp_path, MISSION_CONTROL_URL=product.url, MISSION_CONTROL_KEY=key)
    no_refusals(scripts, printed)

    def said(part: str) -> str:
        [output] = [output for script, output in zip(scripts, printed, strict=True) if part in script]
        return output

    first, second = said("Idempotency-Key: order-4711").splitlines()
    assert first == second
    assert "event: task.completed" in said("events/stream")
    assert '"open":false' in said("/why")

    listed = product.inside(
        "from tasks.models import Task\n"
        "result = {t.title: [t.status, t.failures, t.blocked_reason, t.actual_cost_micro_usd, t.deliverable_count,"
        " t.tokens_used] for t in Task.objects.all()}"
    )
    assert listed["Write the size guide"] == ["done", 0, "", 140_000, 2, 9100]
    assert listed["Ask the bank"][:3] == ["blocked", 0, "Which of the two accounts?"]
    assert listed["Call the museum"][1] == 1
    assert listed["Upload the photos"][0] == "blocked" or listed["Take the photos"][0] == "done"
    assert listed["Answer the fair"][0] == "done"
    assert len(listed) == 9
    assert product.inside("from tasks import invariants\nresult = sum(invariants.broken().values(), [])") == []


def test_the_websocket_message_of_the_agent_guide_subscribes(new_product):
    product = new_product()
    key = product.agent("ada")
    [message] = blocks("docs/agent-guide.md", "json")
    with websockets.sync.client.connect(
        f"{product.url.replace('http', 'ws', 1)}/ws", additional_headers={"Authorization": f"Bearer {key}"}
    ) as socket:
        socket.send(json.dumps({**json.loads(message), "since": 0}))
        heard = [json.loads(socket.recv(timeout=10))["type"] for _ in range(3)]
    assert "subscribed" in heard
    assert "agent.registered" in heard


def test_every_line_of_the_page_on_protocols_works_as_pasted(new_product, tmp_path):
    product = new_product()
    key = product.agent("ada", scopes="work,orchestrate")
    product.tasks(1)
    scripts = blocks("docs/connect.md", "sh")
    assert len(scripts) > 1
    printed = pasted(product, scripts, tmp_path, MISSION_CONTROL_URL=product.url, MISSION_CONTROL_KEY=key)
    no_refusals(scripts, printed)
    assert any('"action":"claimed"' in output for output in printed)


def test_every_line_of_the_page_on_the_command_line_works_as_pasted(new_product, tmp_path):
    product = new_product()
    key = product.agent("ada", scopes="work,orchestrate")
    scripts = blocks("docs/mctl.md", "sh")
    environment = {"MISSION_CONTROL_URL": product.url, "MISSION_CONTROL_KEY": key, "HOME": str(tmp_path)}
    printed = pasted(product, scripts, tmp_path, **environment, XDG_CONFIG_HOME="", XDG_STATE_HOME="")
    assert "You are ada" in printed[1]
    assert printed[-2] == "refused with 1"
    assert printed[-1].splitlines()[:2] == ["Draw the logo", "done"]
    listed = product.inside(
        "from tasks.models import Task\nresult = sorted(Task.objects.values_list('title', 'status', 'actual_cost_micro_usd'))"
    )
    assert listed == [
        ["Ask the bank", "ready", 0],
        ["Draw the logo", "done", 0],
        ["Write the size guide", "done", 140_000],
    ]


def test_the_page_on_the_command_line_names_every_verb_and_method():
    verbs = {verb for row in rows("docs/mctl.md", "verb") for verb in re.findall(r"`([a-z-]+)`", row[0])}
    assert verbs == {verb.name for verb in cli.VERBS}
    methods = {name for row in rows("docs/mctl.md", "method") for name in re.findall(r"`?(\w+)\(", row[0])}
    assert methods == {name for name in vars(MissionControl) if name[0] != "_"} - {"briefing"}


def test_every_line_of_the_api_page_works_as_pasted(new_product, tmp_path):
    product = new_product()
    key = product.agent("margaret", scopes="admin")
    scripts = blocks("docs/api.md", "sh")
    assert len(scripts) > 15
    printed = pasted(product, scripts, tmp_path, MISSION_CONTROL_URL=product.url, MISSION_CONTROL_KEY=key)
    no_refusals(scripts, printed)
    told = product.inside(
        "from tasks.models import Task\nresult = {t.title: [t.status, t.epoch, t.comment_count] for t in Task.objects.all()}"
    )
    assert told["Write the size guide"] == ["done", 2, 1]
    assert told["Call the tannery"][0] == "cancelled"
    assert product.inside("from tasks import invariants\nresult = sum(invariants.broken().values(), [])") == []


def test_every_line_for_those_who_come_from_elsewhere_works_as_pasted(new_product, tmp_path):
    product = new_product()
    pages = sorted(page.relative_to(ROOT) for page in (ROOT / "docs").glob("coming-from-*.md"))
    assert len(pages) >= 5
    for number, page in enumerate(pages):
        key = product.agent(f"newcomer-{number}", scopes="admin")
        scripts = blocks(str(page), "sh")
        printed = pasted(product, scripts, tmp_path, MISSION_CONTROL_URL=product.url, MISSION_CONTROL_KEY=key)
        no_refusals(scripts, printed)
    unfinished = "from tasks.models import Task\nresult = sorted(Task.objects.exclude(status='done').values_list('title', 'status'))"
    assert product.inside(unfinished) == [["Draw the logo", "review"], ["Print the menu", "ready"]]


def test_every_line_of_the_readme_works_as_pasted(new_product, tmp_path):
    product = new_product()
    scripts = blocks("README.md", "sh")
    assert scripts
    no_refusals(scripts, pasted(product, scripts, tmp_path))
    done = product.inside("from tasks.models import Task\nresult = [t.status for t in Task.objects.all()]")
    assert done
    assert set(done) == {"done"}


# ── what the tables say ─────────────────────────────────────────────────────────────────────────────────────────────

READ = re.compile(r'(?:env\.(\w+)|_kept_secret)\(\s*"([A-Z_]+)"(?:,\s*default=([^\n]*?))?[,)]')


def test_the_table_of_settings_names_every_variable_and_no_other():
    read = {name for _, name, _ in READ.findall(text("mission_control/settings.py"))}
    documented = [row[0].strip("`") for row in rows("docs/self-hosting.md", "variable")]
    assert len(read) > 15
    assert sorted(documented) == sorted(read)


def test_the_table_of_settings_tells_the_defaults():
    told = {row[0].strip("`"): row[1].strip("`") for row in rows("docs/self-hosting.md", "variable")}
    checked = 0
    for kind, name, default in READ.findall(text("mission_control/settings.py")):
        if kind == "int" and re.fullmatch(r"[\d_ *]+", default):
            value = str(eval(default))  # digits and stars only
        elif kind == "bool":
            value = {"False": "0", "True": "1"}[default]
        else:
            continue
        assert told[name] == value, name
        checked += 1
    assert checked > 8


def test_the_table_of_checks_names_every_id_and_no_other():
    ids = set(re.findall(r'id="(mission_control\.[EW]\d+)"', Path(checks.__file__).read_text()))
    documented = [row[0].strip("`") for row in rows("docs/self-hosting.md", "id")]
    assert ids
    assert sorted(documented) == sorted(ids)


def test_every_code_of_a_refusal_in_the_guide_is_one():
    source = "".join(
        path.read_text()
        for app in ("mission_control", "ventures", "agents", "tasks")
        for path in (ROOT / app).rglob("*.py")
    )
    known = set(re.findall(r'code(?::\s*str)?\s*=\s*"([a-z_]+)"', source))
    named = [code for row in rows("docs/agent-guide.md", "status") for code in re.findall(r"`([a-z_]+)`", row[1])]
    assert len(named) > 15
    assert [code for code in named if code not in known] == []


CALL = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`]*)`")


def test_every_call_that_the_api_page_names_is_in_the_schema():
    schema = SchemaGenerator().get_schema(request=None, public=True)
    there = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path.removeprefix("/api/v1")))
        for path, methods in schema["paths"].items()
        for method in methods
    }
    aliases = {"/events": "/activities", "/openclaw/sessions": "/sessions"}
    named = [(method, re.sub(r"<\w+>", "{}", path.split("?")[0])) for method, path in CALL.findall(text("docs/api.md"))]
    named = [(method, aliases.get(path, path)) for method, path in named if "/events/stream" not in path]
    assert len(named) > 80
    assert [call for call in named if call not in there] == []
    assert sorted(there - set(named)) == [], "a call that the page does not name"


def test_the_table_of_words_is_what_is_accepted():
    told = {}
    for words, meaning in rows("docs/api.md", "word"):
        noun, canonical = re.fullmatch(r"(status|priority|state) `(\w+)`.*", meaning).groups()
        told |= {(noun, word): canonical for word in re.findall(r"`(\w+)`", words)}
    accepted = {("status", word): status for word, status in STATUS_WORDS.items()}
    accepted |= {
        ("priority", word): PRIORITIES[rank] for word, rank in PRIORITY_WORDS.items() if word != PRIORITIES[rank]
    }
    accepted |= {("state", word): state for word, state in STEP_WORDS.items()}
    assert told == accepted


def test_the_table_of_names_is_what_is_accepted():
    told = {}
    for names, meaning in rows("docs/api.md", "name"):
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), re.match(r"`(\w+)`", meaning)[1])
    known = [TaskFields, FenceIn, VentureFields, AgentFields]
    assert len(told) > 15
    for name, ours in told.items():
        assert any(shape.aliases.get(name) == ours for shape in known), name


def test_the_diagram_of_states_allows_nothing_that_the_table_of_moves_does_not():
    [diagram] = [block for block in blocks("docs/architecture.md", "mermaid") if block.startswith("stateDiagram")]
    edges = re.findall(r"^\s*(\w+) --> (\w+): (.+)$", diagram, flags=re.MULTILINE)
    drawn = set()
    for here, there, label in edges:
        if here == "rest":
            assert there in RESTING
            continue
        for verb in label.split(", "):
            froms, tos = MOVES[verb]
            assert here in froms, (here, verb)
            assert there == "rest" and set(tos) == set(RESTING) or there in tos, (verb, there)
            drawn.add(verb)
    assert drawn == set(MOVES)
    assert {there for here, there, _ in edges if here == "rest"} == set(RESTING)
    shown = {place for here, there, _ in edges for place in (here, there)} - {"rest"}
    assert shown == set(STATUSES)
    assert set(MOVES["cancel"][0]) == set(OPEN)


# ── what they point to ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document):
    source = re.sub(r"^```.*?^```$|`[^`\n]+`", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", source)
    for target in filter(None, (target for pair in targets for target in pair)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_every_file_and_command_that_is_named_exists(document):
    source = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )*make ([a-z-]+)", source, flags=re.MULTILINE)) <= targets
    commands = {
        path.stem
        for app in ("mission_control", "agents", "tasks")
        for path in (ROOT / app).glob("management/commands/*.py")
    }
    builtin = {
        "migrate",
        "makemigrations",
        "check",
        "shell",
        "changepassword",
        "createsuperuser",
        "spectacular",
        "collectstatic",
    }
    assert set(re.findall(r"manage\.py ([a-z_]+)", source)) <= commands | builtin
    folders = r"mission_control|ventures|agents|tasks|tests|docs|static|templates"
    for path in re.findall(rf"`((?:{folders})/[\w/.-]*\w(?:\.\w+)?/?)`", source):
        assert (ROOT / path).exists() or list(ROOT.glob(path)), path
