"""The folder of a task, with real git: what commands do to it, and that nothing they made is lost."""

import os
import subprocess
from pathlib import Path

import pytest

from mission_control.mctl import worktree
from mission_control.mctl.worktree import CONTEXT, Trouble, Workshop

pytestmark = pytest.mark.once
BRANCH = "agent/ada-guide-k3v9d2qa"


def git(place, *arguments, environment=None, fails=False):
    named = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"]
    ran = subprocess.run(
        ["git", *named, *arguments], cwd=place, env={**os.environ, **(environment or {})}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert bool(ran.returncode) == fails, ran.stderr
    return ran.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    for n in range(2):
        (place / "shared").write_text(f"{n}\n")
        git(place, "add", "-A")
        git(place, "commit", "-q", "-m", f"number {n}")
    return place


@pytest.fixture
def workshop(tmp_path, repository):
    return Workshop(tmp_path / "trees", repository, "ada")


def attempt(workshop):
    return workshop.place("k3v9d2qa", BRANCH, "main")


def files(repository, branch=BRANCH):
    return git(repository, "ls-tree", "-r", "--name-only", branch).split()


GONE = {
    "to another branch": ["checkout -q -b feature/guide"],
    "to no branch": ["checkout -q --detach"],
    "to where the history was shorter": ["checkout -q --detach HEAD~1"],
    "to another name": ["branch -m guide"],
}


@pytest.mark.parametrize("how", GONE)
@pytest.mark.parametrize("killed", [False, True])
def test_what_a_command_made_elsewhere_is_on_the_branch_of_its_task(workshop, repository, how, killed):
    with attempt(workshop) as place:
        for line in GONE[how]:
            git(place.path, *line.split())
        (place.path / "guide.md").write_text("# Guide")
        if not killed:
            commits = place.commit("the guide")
            assert place.branch == BRANCH
            assert commits == [git(repository, "rev-parse", BRANCH)]
            place.leave()
    if killed:
        assert workshop.sweep() == []
    assert "guide.md" in files(repository)


def test_what_an_attempt_made_on_no_branch_is_named_before_the_next_one_can_leave_it(workshop, repository):
    with attempt(workshop) as place:
        git(place.path, "checkout", "-q", "--detach")
        (place.path / "guide.md").touch()  # and the runner is killed
    with attempt(workshop) as place:
        assert place.is_resumed and "guide.md" in files(repository)
        git(place.path, "checkout", "-q", "--detach", "main")
        place.commit("the rest")
        place.leave()
    assert "guide.md" in files(repository)


def test_what_is_no_continuation_of_the_branch_gets_one_beside_it(workshop, repository):
    with attempt(workshop) as place:
        (place.path / "one").touch()
        place.commit("one")
        git(place.path, "checkout", "-q", "--detach", "main")
        (place.path / "two").touch()
        place.commit("two")
        assert place.branch.startswith(f"{BRANCH}-")
        place.leave()
    assert ("one" in files(repository), "two" in files(repository)) == (True, False)
    assert "two" in files(repository, place.branch)


def test_a_command_that_only_looked_around_elsewhere_is_brought_back(workshop, repository):
    with attempt(workshop) as place:
        (place.path / "guide.md").write_text("# Guide")
        git(place.path, "add", "-A")
        git(place.path, "commit", "-q", "-m", "by the command")
        git(place.path, "checkout", "-q", "--detach", "main")
        assert place.commit("the rest") == [git(repository, "rev-parse", BRANCH)]
        assert (place.branch, place.new_files()) == (BRANCH, ["guide.md"])
        assert place.read("guide.md", 100) == b"# Guide"
    assert git(repository, "branch", "--format", "%(refname:short)").split() == [BRANCH, "main"]


def test_the_hand_over_is_never_committed_not_even_by_the_command(workshop, repository, tmp_path, monkeypatch):
    (tmp_path / "ignored").write_text("*.tmp\n")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Ada")
    git(repository, "config", "core.excludesFile", str(tmp_path / "ignored"))
    with attempt(workshop) as place:
        place.tell("First.")
        (place.path / "a.tmp").touch()
        (place.path / "guide.md").touch()
        git(place.path, "add", "-A", environment=place.environment())
        git(place.path, "commit", "-q", "-m", "by the command", environment=place.environment())
        assert files(repository) == ["guide.md", "shared"]
        git(place.path, "add", "-f", CONTEXT)
        git(place.path, "commit", "-q", "-m", "by force")
        place.commit("the rest")
        assert place.new_files() == ["guide.md"]
        place.leave()
    assert files(repository) == ["guide.md", "shared"]


def test_a_hand_over_that_an_attempt_committed_is_not_what_the_next_one_reads(workshop, repository):
    with attempt(workshop) as place:
        place.tell("First.")
        git(place.path, "add", "-f", CONTEXT)
        git(place.path, "commit", "-q", "-m", "by force")  # and the runner is killed
    with attempt(workshop) as place:
        place.tell("Second.")
        assert (place.path / CONTEXT).read_text() == "Second."


def test_a_context_of_the_repository_stays_its_own(workshop, repository):
    (repository / CONTEXT).write_text("Ours.")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "context")
    with attempt(workshop) as place:
        place.tell("Briefing.")
        assert place.environment() == {}
        assert (place.path / CONTEXT).read_text() == "Ours."
        (place.path / CONTEXT).write_text("Ours, better.")
        place.commit("better")
        place.leave()
    assert git(repository, "show", f"{BRANCH}:{CONTEXT}") == "Ours, better."


def test_what_cannot_be_committed_is_not_swept_away(workshop, repository):
    with attempt(workshop) as place:
        (place.path / "guide.md").write_text("# Guide")  # and the runner is killed
    blocked = repository / ".git" / "refs" / "heads" / f"{BRANCH}.lock"
    blocked.mkdir()  # lets no commit through, as a full disk would
    os.utime(blocked, (0, 0))
    [said] = workshop.sweep()
    assert str(place.path) in said
    assert (place.path / "guide.md").read_text() == "# Guide"
    blocked.rmdir()
    assert workshop.sweep() == []
    assert not place.path.exists() and "guide.md" in files(repository)


def test_a_folder_is_not_given_up_because_git_did_not_run_once(workshop, repository, monkeypatch):
    with attempt(workshop) as place:
        (place.path / "guide.md").touch()

    def run(folder, *arguments, **options):
        if "--git-dir" in arguments:
            raise Trouble("git did not run: no memory")
        return real(folder, *arguments, **options)

    real = worktree._git
    monkeypatch.setattr(worktree, "_git", run)
    assert len(workshop.sweep()) == 1
    with pytest.raises(Trouble, match="git did not run"), attempt(workshop):
        pass
    monkeypatch.undo()
    with attempt(workshop) as place:
        assert place.is_resumed and (place.path / "guide.md").exists()


def test_a_git_that_was_killed_in_the_middle_does_not_stop_the_commit(workshop, repository):
    with attempt(workshop) as place:
        (place.path / "guide.md").touch()
        for name in ("index.lock", "HEAD.lock"):
            (Path(git(place.path, "rev-parse", "--absolute-git-dir")) / name).touch()
        (repository / f".git/refs/heads/{BRANCH}.lock").touch()
        assert len(place.commit("guide")) == 1


@pytest.mark.parametrize("lines", [[], ["init -q", "commit -q --allow-empty -m mine"]])
def test_a_folder_that_is_no_working_tree_any_more_is_left_alone(workshop, repository, lines):
    """Git would look for the next repository above it, and commit there."""
    git(workshop.root, "init", "-q")
    with attempt(workshop) as place:
        (place.path / ".git").unlink()
        for line in lines:
            git(place.path, *line.split())
        (place.path / "guide.md").write_text("# Guide")
        with pytest.raises(Trouble, match="no working tree"):
            place.commit("guide")
    [said] = workshop.sweep()
    assert "no working tree" in said
    with attempt(workshop) as place:
        assert (place.aside / "guide.md").read_text() == "# Guide"
        assert files(repository, "main") == ["shared"] and not (place.path / "guide.md").exists()
        place.leave()
    assert workshop.sweep() == []
    git(workshop.root, "rev-parse", "HEAD", fails=True)


def test_what_cannot_be_taken_away_does_not_stand_in_the_way_of_the_next_attempt(workshop, repository, monkeypatch):
    """Files of another user, as a container leaves them."""
    with attempt(workshop) as place, monkeypatch.context() as without:
        without.setattr(worktree.shutil, "rmtree", lambda *_, **__: None)
        real = worktree._git
        without.setattr(
            worktree,
            "_git",
            lambda *given, **how: real(given[0], *(["version"] if "remove" in given else given[1:]), **how),
        )
        place.leave()
    assert git(repository, "worktree", "list").count("\n") == 0
    with attempt(workshop) as place:
        place.leave()


def test_a_repository_inside_the_folder_is_not_thrown_away(workshop, repository):
    with attempt(workshop) as place:
        git(repository, "clone", "-q", str(repository), str(place.path / "library"))
        (place.path / "guide.md").touch()
        with pytest.raises(Trouble, match="library is a git repository of its own"):
            place.commit("with a repository in it")
    assert "guide.md" in files(repository)
    assert len(workshop.sweep()) == 1
    assert (place.path / "library" / ".git").is_dir()


def test_what_is_not_committed_in_another_working_tree_inside_the_folder_is_not_thrown_away(workshop, repository):
    (repository / ".gitignore").write_text("/trees\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "ignore")
    with attempt(workshop) as place:
        git(place.path, "worktree", "add", "-q", "-b", "feature", "trees/feature")
        (place.path / "trees" / "feature" / "guide.md").touch()
        with pytest.raises(Trouble, match="feature is a working tree of its own"):
            place.commit("with a working tree in it")
        git(place.path / "trees" / "feature", "add", "-A")
        git(place.path / "trees" / "feature", "commit", "-q", "-m", "guide")
        place.commit("without")
        place.leave()
    assert "guide.md" in files(repository, "feature")
    assert git(repository, "worktree", "list").count("\n") == 0


def test_two_runners_with_folders_of_their_own_do_not_make_working_trees_of_one_repository_at_once(
    tmp_path, repository
):
    one, other = (Workshop(tmp_path / name, repository, "ada") for name in ("one", "other"))
    with one.alone():
        ran = subprocess.run(["flock", "--nonblock", str(other.repository), "true"], check=False)
    assert ran.returncode == 1
    with other.alone():
        pass


def test_a_sweep_of_plain_folders_ends_what_runs_there_and_leaves_what_was_made(tmp_path):
    workshop = Workshop(tmp_path / "trees", None, "ada")
    with workshop.place("k3v9d2qa", "", "") as place:
        (place.path / "deep").mkdir()
        (place.path / "deep" / "guide.md").touch()
        assert place.new_files() == ["deep/guide.md"], "a folder is no file"
    left = subprocess.Popen(["sleep", "60"], env={**os.environ, "MISSION_CONTROL_RUN": place.mark})
    assert workshop.sweep() == []
    assert left.wait(20) == -9
    assert Path(place.path / "deep" / "guide.md").exists()
