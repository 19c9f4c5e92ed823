"""Merging of finished branches, in real repositories: order, conflicts, and what is never touched."""

import io
import subprocess

import pytest
from django.core.management import call_command

from mission_control.errors import Refused
from tasks import transitions
from tasks.dispatching import merging
from tests.conftest import DIRECTOR, a_task, fresh
from ventures import catalogue

pytestmark = pytest.mark.django_db


def git(place, *arguments):
    named = ["-c", "user.name=Olivia", "-c", "user.email=olivia@example.org"]
    return subprocess.run(
        ["git", *named, *arguments], cwd=place, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def place(tmp_path, venture):
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    (place / "shared").write_text("one\n")
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "first")
    catalogue.change(DIRECTOR, venture, {"workspace": str(place)})
    return place


def branch(place, name, start="main", **files):
    git(place, "checkout", "-q", "-b", name, start)
    for file, text in files.items():
        (place / file).write_text(text)
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", name)
    git(place, "checkout", "-q", "main")


def finished(operator, venture, name, *before):
    task = a_task(f"Work $(touch /x) `id` {name}", venture=venture, branch=name, depends_on=list(before))
    transitions.start(operator, task.code)
    transitions.complete(operator, task.code)
    return task


def states(outcomes):
    return {outcome.branch: outcome.state for outcome in outcomes}


@pytest.mark.parametrize("checked_out", ["main", "elsewhere"])
def test_branches_are_merged_prerequisites_first(place, operator, venture, checked_out):
    branch(place, "agent/base", base="b")
    branch(place, "agent/top", "agent/base", top="t")
    base = finished(operator, venture, "agent/base")
    top = finished(operator, venture, "agent/top", base)
    if checked_out == "elsewhere":
        git(place, "checkout", "-q", "-b", "elsewhere")
    outcomes = merging.merge_branches(DIRECTOR, venture, place)
    assert [(outcome.code, outcome.state) for outcome in outcomes] == [(base.code, "merged"), (top.code, "merged")]
    assert git(place, "log", "main", "--first-parent", "--format=%s").splitlines()[:2] == [
        f"Merge task {top.code}", f"Merge task {base.code}",
    ]  # fmt: skip
    assert git(place, "status", "--porcelain") == ""
    assert (place / "top").exists() == (checked_out == "main")
    assert set(states(merging.merge_branches(DIRECTOR, venture, place)).values()) == {"already"}


def test_a_conflict_blocks_its_task_with_the_files_and_the_rest_goes_on(place, operator, venture):
    for name, text in (("a", "A\n"), ("b", "B\n")):
        branch(place, name, shared=text)
    branch(place, "on-b", "b", more="x")
    branch(place, "free", other="y")
    finished(operator, venture, "a")
    stuck = finished(operator, venture, "b")
    behind = finished(operator, venture, "on-b", stuck)
    finished(operator, venture, "free")
    outcomes = merging.merge_branches(DIRECTOR, venture, place)
    assert states(outcomes) == {"a": "merged", "b": "conflict", "on-b": "held", "free": "merged"}
    assert next(outcome.behind for outcome in outcomes if outcome.code == behind.code) == stuck.code
    now = fresh(stuck)
    assert (now.status, now.blocked_kind) == ("blocked", "needs_input") and "in: shared." in now.blocked_reason
    assert fresh(behind).status == "done"
    assert (place / "shared").read_text() == "A\n" and (place / "other").exists()
    again = merging.merge_branches(DIRECTOR, venture, place)
    assert states(again) == {"a": "already", "free": "already", "on-b": "held"}


def test_a_conflict_that_somebody_reopened_meanwhile_holds_up_no_other(place, operator, venture, monkeypatch):
    for name, text in (("a", "A\n"), ("b", "B\n"), ("c", "C\n")):
        branch(place, name, shared=text)
    finished(operator, venture, "a")
    quick, slow = finished(operator, venture, "b"), finished(operator, venture, "c")
    forward = merging._move_forward
    monkeypatch.setattr(
        merging, "_move_forward", lambda *given: (forward(*given), transitions.reopen(operator, quick.code))
    )
    assert states(merging.merge_branches(DIRECTOR, venture, place)) == {"a": "merged", "b": "conflict", "c": "conflict"}
    assert (fresh(quick).status, fresh(slow).status) == ("ready", "blocked")


def test_a_branch_without_a_common_history_conflicts_and_the_rest_goes_on(place, operator, venture):
    git(place, "checkout", "-q", "--orphan", "alone")
    git(place, "commit", "-q", "-m", "alone")
    git(place, "checkout", "-q", "main")
    branch(place, "free", other="y")
    alone = finished(operator, venture, "alone")
    finished(operator, venture, "free")
    assert states(merging.merge_branches(DIRECTOR, venture, place)) == {"alone": "conflict", "free": "merged"}
    assert "has no common history with main" in fresh(alone).blocked_reason


def test_a_branch_that_was_deleted_after_its_merge_holds_up_nobody(place, operator, venture):
    branch(place, "base", base="b")
    base = finished(operator, venture, "base")
    assert states(merging.merge_branches(DIRECTOR, venture, place)) == {"base": "merged"}
    git(place, "branch", "-D", "base")
    branch(place, "top", top="t")
    finished(operator, venture, "top", base)
    assert states(merging.merge_branches(DIRECTOR, venture, place)) == {"base": "already", "top": "merged"}


def test_what_was_merged_before_costs_no_call_of_git(place, operator, venture, monkeypatch):
    for n in range(6):
        branch(place, f"b{n}", **{f"file{n}": "x"})
        finished(operator, venture, f"b{n}")
    merging.merge_branches(DIRECTOR, venture, place)
    calls, run = [], merging.Git.run
    monkeypatch.setattr(merging.Git, "run", lambda self, *said, **may: calls.append(said) or run(self, *said, **may))
    monkeypatch.setattr(merging, "PAGE", 4)
    assert set(states(merging.merge_branches(DIRECTOR, venture, place)).values()) == {"already"}
    assert len(calls) < 8


def test_an_agent_names_no_directory_of_the_server(orchestrator, operator, venture, api_of):
    answer = api_of(orchestrator).patch(f"/ventures/{venture.slug}", {"workspace": "/srv/other"})
    assert (answer.status_code, answer.json()["code"]) == (403, "operators_only")
    made = api_of(orchestrator).post("/ventures", {"name": "Mine", "workspace": "/srv/other"})
    assert (made.status_code, made.json()["code"]) == (403, "operators_only")
    assert api_of(operator).patch(f"/ventures/{venture.slug}", {"workspace": "/srv/apollo"}).status_code == 200


def test_a_dry_run_says_the_same_and_changes_nothing(place, operator, venture):
    branch(place, "a", shared="A\n")
    branch(place, "b", shared="B\n")
    finished(operator, venture, "a")
    stuck = finished(operator, venture, "b")
    head = git(place, "rev-parse", "main")
    assert states(merging.merge_branches(DIRECTOR, venture, place, dry_run=True)) == {"a": "merged", "b": "conflict"}
    assert (git(place, "rev-parse", "main"), fresh(stuck).status) == (head, "done")


def test_uncommitted_work_is_never_touched(place, operator, venture):
    branch(place, "a", shared="A\n")
    finished(operator, venture, "a")
    (place / "draft").write_text("mine")
    head = git(place, "rev-parse", "main")
    with pytest.raises(Refused) as refused:
        merging.merge_branches(DIRECTOR, venture, place)
    assert refused.value.code == "dirty_tree"
    assert ((place / "draft").read_text(), git(place, "rev-parse", "main")) == ("mine", head)


@pytest.mark.parametrize(
    "name", ["--upload-pack=touch x", "a..b", "-f", "a b", "$(touch x)", "refs/../x", "a;touch x", "gone"]
)
def test_a_name_that_is_no_branch_is_missing_and_runs_nothing(name, place, operator, venture):
    finished(operator, venture, name)
    assert states(merging.merge_branches(DIRECTOR, venture, place)) == {name: "missing"}
    assert sorted(path.name for path in place.iterdir()) == [".git", "shared"]


def test_no_hook_of_the_repository_runs(place, operator, venture):
    branch(place, "a", shared="A\n")
    finished(operator, venture, "a")
    for name in ("post-merge", "pre-commit", "reference-transaction"):
        hook = place / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\ntouch ran\n")
        hook.chmod(0o755)
    assert states(merging.merge_branches(DIRECTOR, venture, place)) == {"a": "merged"}
    assert not (place / "ran").exists()


def test_the_command_says_what_became_of_each_and_fails_on_a_conflict(place, operator, venture):
    branch(place, "a", shared="A\n")
    branch(place, "b", shared="B\n")
    finished(operator, venture, "a")
    stuck = finished(operator, venture, "b")
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit):
        call_command("merge_branches", venture.slug, stdout=out, stderr=err)
    assert f"{stuck.code} b conflict: shared" in out.getvalue() and err.getvalue() == "Merged 1 of 2.\n"


def test_the_call_merges_and_says_what_became_of_each(place, operator, venture, api_of, ada):
    for name, text in (("a", "A\n"), ("b", "B\n")):
        branch(place, name, shared=text)
    first, stuck = finished(operator, venture, "a"), finished(operator, venture, "b")
    path, api = f"/ventures/{venture.slug}/merge", api_of(operator)
    told = api.post(path, {"dry_run": True}).json()["merge"]
    assert (told["dry_run"], told["merged"], told["branch"], fresh(stuck).status) == (True, 1, "main", "done")
    assert told["outcomes"] == [
        {"task": first.code, "branch": "a", "state": "merged", "files": [], "behind": ""},
        {"task": stuck.code, "branch": "b", "state": "conflict", "files": ["shared"], "behind": ""},
    ]
    assert api.post(path).json()["merge"]["outcomes"] == told["outcomes"]
    assert fresh(stuck).status == "blocked"
    assert api_of(ada).post(path).status_code == 403


@pytest.mark.parametrize("workspace", ["", "relative/place", "/nowhere/at/all"])
def test_a_venture_without_a_repository_here_is_refused(workspace, venture, operator, api_of):
    catalogue.change(DIRECTOR, venture, {"workspace": workspace})
    answer = api_of(operator).post(f"/ventures/{venture.slug}/merge")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_workspace")


def test_the_page_shows_first_what_would_be_merged_and_then_merges_it(place, operator, venture, client, viewer):
    for name, text in (("a", "A\n"), ("b", "B\n")):
        branch(place, name, shared=text)
    finished(operator, venture, "a")
    stuck = finished(operator, venture, "b")
    client.force_login(operator.user)
    assert "See what would be merged" in client.get(f"/ventures/{venture.slug}").content.decode()
    part, head = f"/ventures/{venture.slug}/branches", git(place, "rev-parse", "main")
    seen = client.get(part).content.decode()
    assert "Would merge 1 of 2 branches into main: 1 in conflict." in seen and "would be merged" in seen
    assert (git(place, "rev-parse", "main"), fresh(stuck).status) == (head, "done")
    done = client.post(part).content.decode()
    assert "Merged 1 of 2 branches into main: 1 in conflict." in done and "its task is blocked" in done
    assert fresh(stuck).status == "blocked"
    client.force_login(viewer.user)
    assert client.get(part).status_code == client.post(part).status_code == 403
    assert "branches-" not in client.get(f"/ventures/{venture.slug}").content.decode()
