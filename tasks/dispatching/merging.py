"""Merges the finished branches of a venture, prerequisites first. Not: how branches come about, who reviews them.

Git computes each merge on its objects alone, without a working tree (`git merge-tree`), so nothing is checked out, no hook
runs, and a stop in the middle leaves nothing behind. At the end the default branch moves forward once, over what stood
there before. Texts of tasks reach neither a shell nor git: a merge is named after the code of its task.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import NotAllowed, Refused
from tasks import transitions
from tasks.models import Dependency, Task
from tasks.vocabulary import DONE
from ventures.models import Venture

SECONDS = 120  # for one call of git
STATES = ("merged", "already", "conflict", "missing", "held")
MERGED = "Merge task "  # how our merges are named, before the code
PAGE = 500
NAMED = 20  # files in the reason of a conflict
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@#=-]{0,249}")
_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Mission Control"), ("EMAIL", "mission-control@localhost"))
}


@dataclass(frozen=True)
class Outcome:
    """What became of one branch: `merged`, `already`, `conflict` (with `files`), `missing`, or `held` behind another.

    A conflict without files has no history in common with the default branch.
    """

    code: str
    branch: str
    state: str
    files: tuple[str, ...] = ()
    behind: str = ""  # the code of the task that holds it up

    @property
    def named_files(self) -> str:
        """`a, b and 3 more`"""
        more = len(self.files) - NAMED
        return ", ".join(self.files[:NAMED]) + (f" and {more} more" if more > 0 else "")

    def __str__(self) -> str:
        more = f" behind {self.behind}" if self.behind else f": {', '.join(self.files)}" if self.files else ""
        return f"{self.code} {self.branch or '-'} {self.state}{more}"


@dataclass(frozen=True)
class Merge:
    """One run over a venture's branches. `dry_run`: nothing was changed, the outcomes say what would become of each."""

    venture: Venture
    repository: Path
    dry_run: bool
    outcomes: Sequence[Outcome]

    def count(self, state: str) -> int:
        return sum(outcome.state == state for outcome in self.outcomes)

    @property
    def news(self) -> list[Outcome]:
        """All but those that were merged before."""
        return [outcome for outcome in self.outcomes if outcome.state != "already"]

    @property
    def changes(self) -> bool:
        """Whether doing it would move the default branch or block a task."""
        return bool(self.count("merged") or self.count("conflict"))

    def __str__(self) -> str:
        """`Would merge 2 of 4 branches into main; 1 conflicts, 1 was merged before.`"""
        n = len(self.outcomes)
        verb = "Would merge" if self.dry_run else "Merged"
        branches = f"{self.count('merged')} of {n} branch{'' if n == 1 else 'es'}"
        besides = {"conflict": "in conflict", "held": "held up", "missing": "missing", "already": "merged before"}
        counted = [f"{self.count(state)} {words}" for state, words in besides.items() if self.count(state)]
        more = f": {', '.join(counted)}" if counted else ""
        return f"{verb} {branches} into {self.venture.default_branch}{more}."

    def as_dict(self) -> dict[str, Any]:
        return {
            "venture": self.venture.slug, "branch": self.venture.default_branch, "dry_run": self.dry_run,
            "merged": self.count("merged"),
            "outcomes": [
                {
                    "task": outcome.code, "branch": outcome.branch, "state": outcome.state,
                    "files": list(outcome.files), "behind": outcome.behind,
                }
                for outcome in self.outcomes
            ],
        }  # fmt: skip


def merge(actor: Actor, venture: Venture, *, dry_run: bool = False) -> Merge:
    """`merge_branches` in the workspace of the venture, for an operator. Takes as long as git takes.

    Refused besides: a venture without a workspace, or with one that is no directory on this machine.
    """
    if not actor.can("operate"):
        raise NotAllowed("Only an operator merges branches.")
    where = workspace_of(venture)
    return Merge(venture, where, dry_run, merge_branches(actor, venture, where, dry_run=dry_run))


def workspace_of(venture: Venture) -> Path:
    if not venture.workspace:
        raise Refused("This venture has no workspace: name the directory of its repository first.", code="no_workspace")
    where = Path(venture.workspace)
    if not (where.is_absolute() and where.is_dir()):
        raise Refused(f"The workspace {where} is no directory on this server.", code="no_workspace")
    return where


def merge_branches(actor: Actor, venture: Venture, repository: Path, *, dry_run: bool = False) -> list[Outcome]:
    """Merge the branches of its done tasks into its default branch, in the order of their dependencies.

    A conflict leaves the default branch as it was before that task, reopens the task and blocks it with the files as its
    reason; what does not depend on it goes on. Records task.reopened and task.blocked for each conflict. Refused: no
    repository or default branch there, or somebody's uncommitted work where the default branch is checked out.
    """
    git = Git(repository)
    target = f"refs/heads/{_safe(git, venture.default_branch)}"
    before = git.commit(target)
    if before is None:
        raise Refused(f"There is no branch {venture.default_branch} in {repository}.", code="no_branch")
    trees = git.checked_out(target)
    for tree in trees:
        if not dry_run and Git(tree).run("status", "--porcelain").stdout.strip():
            raise Refused(f"{tree} has uncommitted work: commit or remove it first.", code="dirty_tree")
    head, outcomes, branches = before, [], _Branches(git, before)
    stuck: dict[int, str] = {}  # task → the code of what holds it up
    for task, needs in _in_order(venture):
        behind = next((stuck[pk] for pk in needs if pk in stuck), "")
        if task.status != DONE:
            stuck[task.pk] = task.code
            continue
        if behind:
            outcome = Outcome(task.code, task.branch, "held", behind=behind)
        elif not task.branch:
            continue
        else:
            head, outcome = _merged(git, head, task, branches)
        if outcome.state in ("held", "conflict", "missing"):
            stuck[task.pk] = behind or task.code
        if task.branch:
            outcomes.append(outcome)
    if not dry_run:
        if head != before:
            _move_forward(git, target, trees, before, head)
        for outcome in outcomes:
            if outcome.state == "conflict":
                _block(actor, outcome, venture.default_branch)
    return outcomes


def _in_order(venture: Venture) -> Iterator[tuple[Task, list[int]]]:
    """Its done tasks and all they stand on, each after its prerequisites, else by when it was done: (task, needs)."""
    rows = Task.objects.only("code", "status", "branch", "venture_id")  # not what is written in them: there may be many
    todo = list(rows.filter(venture=venture, status=DONE).order_by("status_changed_at", "id"))
    tasks = {task.pk: task for task in todo}
    edges: dict[int, list[int]] = {}
    level = list(tasks)
    while level:
        fresh: set[int] = set()
        for page in _pages(level):
            links = Dependency.objects.filter(task__in=page).order_by("id")
            for pk, before in links.values_list("task", "depends_on"):
                edges.setdefault(pk, []).append(before)
                fresh.add(before)
        level = sorted(fresh - set(tasks))
        for page in _pages(level):
            tasks |= {task.pk: task for task in rows.filter(pk__in=page)}
    given: set[int] = set()
    stack = [task.pk for task in reversed(todo)]
    while stack:
        pk = stack[-1]
        waiting = [before for before in edges.get(pk, ()) if before not in given]
        if pk not in given and waiting:
            stack += reversed(waiting)
            continue
        stack.pop()
        if pk not in given:
            given.add(pk)
            if tasks[pk].venture_id != venture.pk:
                tasks[pk].branch = ""  # of another repository
            yield tasks[pk], edges.get(pk, [])


def _pages(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """As many as every database takes in one statement."""
    return (numbers[start : start + PAGE] for start in range(0, len(numbers), PAGE))


class _Branches:
    """Where the branches stand and which were merged before, read once: of thousands most were, and cost no call of git."""

    def __init__(self, git: Git, head: str) -> None:
        listed = git.run("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads").stdout.splitlines()
        self.heads = {ref: commit for commit, _, ref in (line.partition(" ") for line in listed)}
        merged = git.run("for-each-ref", f"--merged={head}", "--format=%(refname)", "refs/heads")
        self.merged = set(merged.stdout.splitlines())
        subjects = git.run("log", "--format=%s", f"--grep=^{MERGED}", head).stdout.splitlines()
        self.codes = {subject.removeprefix(MERGED) for subject in subjects}


def _merged(git: Git, head: str, task: Task, branches: _Branches) -> tuple[str, Outcome]:
    """The commit with this branch in it, and what became of it. One that was merged here may have been deleted since."""
    ref = f"refs/heads/{task.branch}"
    theirs = branches.heads.get(ref)
    if ref in branches.merged or (theirs is None and task.code in branches.codes):
        return head, Outcome(task.code, task.branch, "already")
    if theirs is None:
        return head, Outcome(task.code, task.branch, "missing")
    base = git.run("merge-base", head, theirs, may=(0, 1)).stdout.strip()
    if base == theirs:
        return head, Outcome(task.code, task.branch, "already")
    if not base:
        return head, Outcome(task.code, task.branch, "conflict")  # git refuses to merge what has no common history
    told = git.run("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", head, theirs, may=(0, 1))
    tree, *files = told.stdout.rstrip("\0").split("\0")
    if told.returncode:
        return head, Outcome(task.code, task.branch, "conflict", tuple(sorted(set(filter(None, files)))))
    made = git.run("commit-tree", tree, "-p", head, "-p", theirs, "-m", f"{MERGED}{task.code}")
    return made.stdout.strip(), Outcome(task.code, task.branch, "merged")


def _move_forward(git: Git, target: str, trees: Sequence[Path], before: str, head: str) -> None:
    """The default branch to `head`, with the working tree that has it checked out; refused when it moved meanwhile."""
    if trees:
        Git(trees[0]).run("merge", "--ff-only", "--quiet", head)
    else:
        git.run("update-ref", "-m", "merge finished branches", target, head, before)


@log.verb
def _block(actor: Actor, outcome: Outcome, target: str) -> None:
    """Nothing when somebody has reopened the task while git was at work: its branch is looked at again when it is done."""
    if transitions.lock(actor, outcome.code).status != DONE:
        return
    reason = f"Its branch has no common history with {target}: put its work on a branch of it."
    if outcome.files:
        reason = f"Its branch conflicts with what was merged before it, in: {outcome.named_files}."
    transitions.reopen(actor, outcome.code, reason=reason)
    transitions.block(actor, outcome.code, kind="needs_input", reason=reason)


def _safe(git: Git, name: str) -> str:
    """The name of a branch as git takes it; refused otherwise."""
    if not _BRANCH.fullmatch(name) or git.run("check-ref-format", "--branch", name, may=(0, 1, 128)).returncode:
        raise Refused("This is no name of a branch.", code="bad_branch")
    return name


class Git:
    """Git in one directory: arguments as a list and never a shell, no hooks, no prompts, no other repository."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *arguments: str, may: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """Refused with what git says unless it ends with one of `may`."""
        settings = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", "-c", "commit.gpgSign=false")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        try:
            told = subprocess.run(
                ["git", *settings, *arguments],
                cwd=self.directory, env={**clean, **_AUTHOR, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
                capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"Git does not work in {self.directory}: {error}.", code="git_failed") from None
        if told.returncode not in may:
            said = told.stderr.strip().splitlines()
            raise Refused(f"Git refuses in {self.directory}: {said[-1] if said else arguments[0]}", code="git_failed")
        return told

    def commit(self, ref: str) -> str | None:
        told = self.run("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", may=(0, 1))
        return told.stdout.strip() or None

    def checked_out(self, ref: str) -> list[Path]:
        """The working trees that have this branch."""
        found, tree = [], self.directory
        for line in self.run("worktree", "list", "--porcelain").stdout.splitlines():
            word, _, rest = line.partition(" ")
            if word == "worktree":
                tree = Path(rest)
            elif word == "branch" and rest == ref:
                found.append(tree)
        return found
