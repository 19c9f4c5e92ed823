"""The contract of the layout: who may import whom, where a status is written, what rings the bell, what markup may hold.

Nothing is run here: the files are read. A rule that a reader could break without noticing stands here as a test.
"""

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mission_control", "ventures", "agents", "tasks")  # imports go left only
CLIENT = "mission_control/mctl"  # also runs on its own, called mctl, where nothing of ours is installed
ROOF = ("mission_control/urls.py", "mission_control/asgi.py")  # the two files that see every app
HTTP_FILES = ("api.py", "serializers.py", "views.py", "forms.py", "urls.py", "admin.py", "waiting.py")
HTTP_ENDINGS = (
    "_api.py",
    "_serializers.py",
    "_views.py",
)  # of one noun: collaboration_api.py beside its verbs in collaboration.py
MODEL_SIGNALS = "django.db.models.signals"


@functools.cache
def parsed() -> dict[str, ast.Module]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                found[str(path.relative_to(ROOT))] = ast.parse(path.read_text())
    return found


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Path and syntax tree of every module, migrations left out."""
    return ((path, tree) for path, tree in parsed().items() if path.split("/")[0] in (packages or PACKAGES))


@functools.cache
def nodes(tree: ast.AST) -> list[ast.AST]:
    return list(ast.walk(tree))


def imported(tree: ast.AST, path: str) -> Iterator[str]:
    """Every module named by an import, wherever it stands, and by the functions that import by name."""
    package = path.replace("/", ".").removesuffix(".py").split(".")
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level]) + "." if node.level else ""
            yield start + (node.module or "")
        elif isinstance(node, ast.Call) and name_of(node.func) in ("import_module", "import_string", "get_model"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    return (node for node in nodes(tree) if isinstance(node, ast.Call) and name_of(node.func) in names)


@functools.cache
def enclosing_functions(tree: ast.Module) -> dict[ast.AST, str]:
    """Node → name of the outermost function around it."""
    found: dict[ast.AST, str] = {}
    for function in nodes(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                found.setdefault(node, function.name)
    return found


# ── layout and imports ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_code_is_four_packages_and_their_tests():
    ignored = {"tests", "data", "staticfiles", "docs", "build"}
    holding_code = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in ignored and any(path.rglob("*.py"))
    }
    assert holding_code == set(PACKAGES)


def test_the_client_needs_the_standard_library_and_itself_alone_and_nothing_of_ours_needs_the_client():
    name_of_client = CLIENT.replace("/", ".")
    files, wrong = 0, []
    for path, tree in modules():
        inside = path.startswith(f"{CLIENT}/")
        files += inside
        for name in imported(tree, path):
            own = f"{name}.".startswith(f"{name_of_client}.")
            if own != inside and not (inside and name.split(".")[0] in sys.stdlib_module_names):
                wrong.append(f"{path} imports {name}")
        by_name = [node for node in nodes(tree) if inside and isinstance(node, ast.ImportFrom) and not node.level]
        wrong += [f"{path} names {node.module} whole" for node in by_name if "mctl" in str(node.module).split(".")]
    assert wrong == []
    assert files > 5


def test_the_client_is_written_for_python_3_9():
    """By its syntax; what its annotations say is never evaluated."""
    for path in (ROOT / CLIENT).rglob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 9))
        future = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
        annotated = any(isinstance(node, ast.FunctionDef | ast.AnnAssign) for node in ast.walk(tree))
        assert future or not annotated, path.name


def test_imports_go_left_only():
    seen, wrong = 0, []
    for path, tree in modules():
        if path in ROOF:
            continue
        allowed = PACKAGES[: PACKAGES.index(path.split("/")[0]) + 1]
        for name in imported(tree, path):
            target = name.split(".")[0]
            if target in PACKAGES:
                seen += 1
                if target not in allowed:
                    wrong.append(f"{path} imports {name}")
    assert wrong == []
    assert seen > 50


def test_migrations_depend_to_the_left_only():
    seen, wrong = 0, []
    for package in PACKAGES:
        for path in (ROOT / package / "migrations").glob("0*.py"):
            seen += 1
            allowed = PACKAGES[: PACKAGES.index(package) + 1]
            for target in re.findall(r'\(\s*"(\w+)",\s*"\d{4}_\w+"', path.read_text()):
                if target in PACKAGES and target not in allowed:
                    wrong.append(f"{package}/{path.name} depends on {target}")
    assert wrong == []
    assert seen >= len(PACKAGES)


def test_every_module_says_what_is_in_it():
    silent = [path for path, tree in modules() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_no_module_is_called_by_a_name_that_says_nothing():
    vague = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc"}
    files = [
        *(path for path, _ in modules()),
        *(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")),
    ]
    assert [path for path in files if Path(path).stem in vague] == []


def test_nothing_is_left_for_later():
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(path.open(), 1) if later.search(line)]
    for path in [*(ROOT / "templates").rglob("*.html"), *(ROOT / "static/js").rglob("*.js")]:
        found += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(path.open(), 1) if later.search(line)]
    assert found == []


# ── roles ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def answers_requests(path: str) -> bool:
    return Path(path).name in HTTP_FILES or path.endswith(HTTP_ENDINGS)


def test_http_stays_in_the_files_for_it():
    """Verbs and models know nothing of requests: what they say to a person, they say by Refused."""
    wrong = []
    for path, tree in modules("ventures", "agents", "tasks"):
        if answers_requests(path) or "/management/" in path:
            continue
        for name in imported(tree, path):
            if name.startswith(
                ("django.http", "django.shortcuts", "rest_framework", "django.views", "django.template")
            ):
                wrong.append(f"{path} imports {name}")
    assert wrong == []


def test_what_answers_requests_never_writes_by_itself():
    writes = ("create", "bulk_create", "update", "bulk_update", "delete", "get_or_create", "update_or_create", "save")
    wrong = []
    for path, tree in modules("ventures", "agents", "tasks"):
        if not answers_requests(path):
            continue
        for call in calls(tree, *writes):
            receiver = ast.unparse(call.func)
            if ".objects" in receiver or name_of(call.func) == "save":
                wrong.append(f"{path}:{call.lineno} {receiver}()")
    assert wrong == []


# ── one line writes a status ────────────────────────────────────────────────────────────────────────────────────────


def texts(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Every string of a module with its node; what an f-string computes stands as {}."""
    inside = set()
    for node in nodes(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(node.values)
            yield node, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node, node.value


def status_writes(tree: ast.AST) -> Iterator[ast.expr]:
    """What writes a task's status to the database: by the ORM, by SQL, or by the file's own writer."""
    for call in calls(
        tree, "update", "aupdate", "bulk_update", "abulk_update", "update_or_create", "_write", "_assigned"
    ):
        by_name = any(keyword.arg == "status" for keyword in call.keywords)
        in_list = "bulk" in name_of(call.func) and any(text == "status" for _, text in texts(call))
        if by_name or in_list:
            yield call
    for node, text in texts(tree):
        for setting in re.findall(r"\bupdate\s+\W?tasks_task\b.*?\bset\b(.*?)(?:\bwhere\b|$)", text, re.I | re.S):
            if re.search(r"(^|[\s,\"])status\"?\s*=", setting):
                yield node


def test_exactly_one_line_writes_the_status_of_a_task():
    found = []
    for path, tree in modules():
        around = enclosing_functions(tree)
        found += [(path, around.get(node, "")) for node in status_writes(tree)]
    assert found == [("tasks/transitions.py", "_move")]


@pytest.mark.parametrize(
    "code",
    [
        'Task.objects.filter(pk=1).update(status="done")',
        'Task.objects.bulk_update(tasks, ["status"])',
        'sql.change("UPDATE tasks_task SET title = %s, status = %s WHERE id = 1")',
        'sql.change(f"UPDATE tasks_task SET {keys}, \\"status\\" = %s")',
        '_write(task, status="done")',
    ],
)
def test_the_search_for_writes_sees_each_way_to_write(code):
    assert len(list(status_writes(ast.parse(code)))) == 1
    assert not list(status_writes(ast.parse('sql.change(f"UPDATE tasks_task SET {keys} WHERE status = %s")')))


def test_a_status_is_set_in_memory_only_where_it_is_written_or_new():
    found = set()
    for path, tree in modules("tasks"):
        around = enclosing_functions(tree)
        for node in nodes(tree):
            if isinstance(node, ast.Attribute) and node.attr == "status" and isinstance(node.ctx, ast.Store):
                found.add((path, around[node]))
    assert found == {("tasks/transitions.py", "_move"), ("tasks/transitions.py", "_built")}


def test_no_task_is_saved_whole():
    """A save would write every column, the status among them."""
    wrong = []
    for path, tree in modules("tasks"):
        saved = [(call.lineno, ast.unparse(call.func)) for call in calls(tree, "save", "asave")]
        wrong += [f"{path}:{line} {how}()" for line, how in saved if re.match(r"(super|self|\w*task\w*)\b", how)]
    assert wrong == []


# ── one change, one activity, one event ─────────────────────────────────────────────────────────────────────────────


def test_group_messages_are_sent_by_the_live_module_alone():
    senders = {path for path, tree in modules() if any(calls(tree, "group_send"))}
    assert senders == {"mission_control/live.py"}


def test_one_receiver_of_model_signals_exists_and_it_hears_the_log():
    receivers, listeners = [], set()
    for path, tree in modules():
        for node in nodes(tree):
            if isinstance(node, ast.ImportFrom) and node.module == MODEL_SIGNALS:
                listeners.add(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                receivers += [
                    (path, ast.unparse(decorator.args[0]), ast.unparse(keyword.value))
                    for decorator in node.decorator_list
                    if isinstance(decorator, ast.Call) and name_of(decorator.func) == "receiver"
                    for keyword in decorator.keywords
                    if keyword.arg == "sender"
                ]
        for call in calls(tree, "connect"):
            receiver = ast.unparse(call.func)
            assert not re.search(r"(pre|post)_(save|delete|init)|m2m_changed", receiver), f"{path}:{call.lineno}"
    assert receivers == [("mission_control/live.py", "post_save", "Activity")]
    assert listeners == {"mission_control/live.py", "mission_control/log.py"}


def test_every_kind_that_is_recorded_is_listed_and_every_listed_one_is_recorded():
    vocabulary = parsed()["tasks/vocabulary.py"]
    listing = next(
        node for node in nodes(vocabulary) if isinstance(node, ast.Assign) and name_of(node.targets[0]) == "KINDS"
    )
    listed = set(ast.literal_eval(listing.value))
    shape = re.compile(rf"({'|'.join({kind.split('.')[0] for kind in listed})})\.[a-z]+(_[a-z]+)*")
    written, recorded = set(), set()
    for path, tree in modules():
        if path == "tasks/vocabulary.py":
            continue
        written |= {text for _, text in texts(tree) if text in listed}
        for call in calls(tree, "record", "_record"):
            recorded |= {text for argument in call.args for _, text in texts(argument) if shape.fullmatch(text)}
    assert len(recorded) > 20
    assert recorded - listed == set()
    assert listed - written == set()


# ── markup under a strict content security policy ───────────────────────────────────────────────────────────────────

FORBIDDEN_MARKUP = {
    "a style attribute": re.compile(r"<[a-zA-Z][^>]*\sstyle\s*="),
    "an inline style sheet": re.compile(r"<style\b"),
    "an event handler attribute": re.compile(r"<[a-zA-Z][^>]*\son[a-z]+\s*="),
    "htmx code in an attribute": re.compile(r"\bhx-on\b|\bhx-vals\s*=\s*['\"]\s*js(cript)?:|\bhx-live\b"),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
    "an inline script": re.compile(r"<script\b(?![^>]*\bsrc=)(?![^>]*application/json)"),
    "a script, style or picture from elsewhere": re.compile(
        r"<(script|img|link|iframe)\b[^>]*\b(src|href)=\"(https?:)?//"
    ),
}


def templates() -> list[Path]:
    return sorted((ROOT / "templates").rglob("*.html"))


@pytest.mark.parametrize("what", FORBIDDEN_MARKUP)
def test_no_template_holds(what):
    assert len(templates()) > 10
    wrong = []
    for path in templates():
        # Template tags may hold > and quotes: they are not markup and are taken out first.
        source = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", "", path.read_text(), flags=re.DOTALL)
        for match in FORBIDDEN_MARKUP[what].finditer(source):
            wrong.append(f"{path.relative_to(ROOT)}: {match.group()[:80]}")
    assert wrong == []


@pytest.mark.parametrize(
    ("markup", "what"),
    [
        ('<p class="a" style="color:red">', "a style attribute"),
        ("<style>p{}</style>", "an inline style sheet"),
        ('<button type="submit" onclick="go()">', "an event handler attribute"),
        ('<div hx-on:click="go()">', "htmx code in an attribute"),
        ('<a href="JavaScript:go()">', "a javascript: address"),
        ("<script>go()</script>", "an inline script"),
        ('<img alt="" src="//elsewhere.example/a.png">', "a script, style or picture from elsewhere"),
    ],
)
def test_the_patterns_above_see_what_they_are_for(markup, what):
    assert FORBIDDEN_MARKUP[what].search(markup)
    assert not FORBIDDEN_MARKUP[what].search('<script type="module" src="/static/js/a.js"></script><p data-style="x">')


def test_no_script_of_ours_evaluates_text():
    ours = sorted((ROOT / "static/js").rglob("*.js"))
    assert ours
    pattern = re.compile(r"\beval\(|new Function\(|document\.write\(|setAttribute\(\s*[\"']style[\"']")
    assert [str(path.relative_to(ROOT)) for path in ours if pattern.search(path.read_text())] == []


def test_third_party_files_are_the_ones_that_were_checked():
    vendor = ROOT / "static/vendor"
    sums = dict(reversed(line.split()) for line in (vendor / "SHA256SUMS").read_text().splitlines())
    files = {path.name: path for path in vendor.iterdir() if path.name not in ("README.md", "SHA256SUMS")}
    assert sums.keys() == files.keys()
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == sums
    readme = (vendor / "README.md").read_text()
    assert [name for name in files if f"`{name}`" not in readme] == []
