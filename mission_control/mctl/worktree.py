"""A folder for each task, in a git repository its own branch and working tree. Not: what is done in it (runner.py).

Branches and paths are made of what was checked here, never of text that somebody wrote. A folder is used under a lock
that the kernel lifts when its process ends; what an attempt that was killed left running is ended first, and what it left
behind is taken up by the next one, or swept onto its branch.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .supervisor import end_marked

CONTEXT = "CONTEXT.md"
BEGAN = "began"  # stands beside a folder and holds its branch, and the commit at which that left the default one
OURS = "context-is-ours"  # stands beside a folder whose CONTEXT.md the repository does not know
GIT_SECONDS = 120
HELD_SECONDS = 2  # git locks a branch for milliseconds: longer than this, whoever locked it was killed
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_MARK = re.compile(r"[0-9a-f]{32}")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")


class Trouble(Exception):
    """The folder or its branch cannot be used; the message says why."""


def slug(text: str, most: int = 40) -> str:
    """Small letters, digits and single dashes of it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:most].strip("-")


class InUse(Trouble):
    """Another process works in the folder."""


class Broken(Trouble):
    """A command may have worked in the folder, and it is no whole working tree of the repository now."""


class Workshop:
    """Where the folders of one repository stand; without a repository they are plain folders. `author` is a slug."""

    def __init__(self, root: Path, repository: Path | None, author: str) -> None:
        self.author = author
        self.repository: Path | None = None
        if repository is not None:
            found = _git(repository, "rev-parse", "--path-format=absolute", "--git-common-dir", may_fail=True)
            if found.returncode:
                raise Trouble(f"{repository} is no git repository.")
            self.repository = Path(found.stdout.strip())
            if not self.repository.is_dir():  # before 2.31 git gives the option back
                raise Trouble("The runner needs git 2.31 or newer.")
        name = str(self.repository or "plain")
        self.root = (
            root / f"{slug(Path(name).parent.name) or 'folder'}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
        )
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def place(self, code: str, branch: str, default: str) -> Iterator[Place]:
        """The folder of a task, locked for the time of the block. Trouble when another attempt on this machine has it.

        A new branch begins at `default` if there is such a branch, else where the repository stands.
        """
        if not _CODE.fullmatch(code):
            raise Trouble("This is no name of a task.")
        beside = self.root / f"{code}.run"
        with _locked(beside):
            place = Place(self, code, self.root / code, beside)
            place.take_over()
            place.prepare(branch, default)
            yield place

    def sweep(self) -> list[str]:
        """Commit to its branch what attempts left behind that were killed, and take their folders away; what runs in them
        is ended. A folder that cannot be committed stays, as do plain ones: a sentence for each that is in trouble."""
        troubles = []
        for beside in sorted(self.root.glob("*.run")):
            code = beside.name[: -len(".run")]
            if not _CODE.fullmatch(code):
                continue
            try:
                with _locked(beside):
                    place = Place(self, code, self.root / code, beside)
                    place.take_over()
                    if place.is_git:
                        place.reopen()
                        place.keep()
                        place.leave()
            except InUse:
                continue
            except (Trouble, OSError) as trouble:
                troubles.append(f"{self.root / code} stays as it is: {trouble}")
        return troubles

    def git(
        self, *arguments: str, folder: Path | None = None, may_fail: bool = False
    ) -> subprocess.CompletedProcess[str]:
        assert self.repository is not None
        named = ("-c", f"user.name={self.author}", "-c", f"user.email={self.author}@localhost")
        return _git(folder or self.repository, *named, *arguments, may_fail=may_fail)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Working trees of a repository come and go one at a time, whoever makes them: git itself locks less than that."""
        assert self.repository is not None
        number = os.open(self.repository, os.O_RDONLY)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)


class Place:
    """The folder of one task. `path` is where the command works, `beside` what is told to it. `branch` may be empty.
    `aside` is where one went that stood in its way and could neither be used nor taken away."""

    def __init__(self, workshop: Workshop, code: str, path: Path, beside: Path) -> None:
        self.workshop, self.code, self.path, self.beside = workshop, code, path, beside
        self.branch = self.start = ""
        self.is_resumed = False
        self.aside: Path | None = None
        self.mark = uuid.uuid4().hex

    @property
    def is_git(self) -> bool:
        return self.workshop.repository is not None

    def take_over(self) -> None:
        """End what an attempt that was killed left running in here, and put our mark in the place of its own."""
        kept = self.beside / "mark"
        with suppress(FileNotFoundError):
            old = kept.read_text(encoding="ascii", errors="replace")
            if _MARK.fullmatch(old):
                end_marked(old)
        kept.write_text(self.mark, encoding="ascii")

    def prepare(self, branch: str, default: str) -> None:
        if not self.is_git:
            self.is_resumed = self.path.exists()
            self.path.mkdir(exist_ok=True, mode=0o700)
            return
        for name in (branch, default):
            if (
                not _BRANCH.fullmatch(name)
                or self.workshop.git("check-ref-format", "--branch", name, may_fail=True).returncode
            ):
                raise Trouble("This is no name of a branch.")
        base = self._commit(f"refs/heads/{default}") or self._commit("HEAD")
        if not base:
            raise Trouble("The repository has no commit yet.")
        try:
            self.reopen()
        except Broken:
            self._put_aside()
        with self.workshop.alone():
            if self.branch == branch:
                with suppress(Trouble):  # the next attempt may be able to set it right
                    self.keep()
                self.is_resumed = True
            else:
                self.keep()
                self._discard()
                known = self._commit(f"refs/heads/{branch}")
                self.is_resumed = bool(known)
                new = (str(self.path), branch) if known else ("-b", branch, "--", str(self.path), base)
                self.workshop.git("worktree", "add", "--quiet", *new)
                self.branch = branch
        fork = self.workshop.git("merge-base", base, f"refs/heads/{self.branch}", may_fail=True)
        self.start = fork.stdout.strip() or base
        written = self.beside / f"{BEGAN}.new"
        written.write_text(f"{self.branch} {self.start}", encoding="ascii")
        written.replace(self.beside / BEGAN)  # all of it or nothing: what stands here decides over what was made

    def reopen(self) -> None:
        """Take up what stands there, if a command may have worked in it."""
        branch, start = self._began()
        if not branch or not self.path.exists():
            return
        self._check(branch)
        if self._run("status", "--porcelain").returncode:
            raise Broken("The working tree is broken.")
        self.branch, self.start = branch, start

    def _check(self, branch: str) -> None:
        """Broken when git would write elsewhere than to this task's working tree. Lifts what a killed git had locked."""
        own = self._run("rev-parse", "--path-format=absolute", "--git-dir")
        folder = Path(own.stdout.strip() or "/")
        if own.returncode or not (self.path / ".git").is_file() or folder.parent.parent != self.workshop.repository:
            raise Broken("It is no working tree of the repository any more.")
        for name in ("index.lock", "HEAD.lock"):  # nobody else is in here
            (folder / name).unlink(missing_ok=True)
        lock = self.workshop.repository / "refs" / "heads" / f"{branch}.lock"  # here anybody's git may be, for a moment
        with suppress(OSError):
            while (age := time.time() - lock.stat().st_mtime) < HELD_SECONDS:
                time.sleep(min(0.1, HELD_SECONDS - max(age, 0.0)))
            lock.unlink()

    def tell(self, text: str) -> None:
        """Put CONTEXT.md beside the folder, and into it unless the repository has one of its own there."""
        (self.beside / CONTEXT).write_text(text, encoding="utf-8")
        inside = self.path / CONTEXT
        (self.beside / OURS).unlink(missing_ok=True)
        if not self.is_git or not self._must("ls-tree", self.start, "--", CONTEXT).stdout:
            (self.beside / OURS).touch()
            inside.unlink(missing_ok=True)
            inside.write_text(text, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        """For the command, whose own git does not see a CONTEXT.md of ours. What it was told to ignore stays ignored."""
        if not self.is_git or not (self.beside / OURS).exists():
            return {}
        usual = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "git" / "ignore"
        told = Path(self._run("config", "--path", "--get", "core.excludesFile").stdout.strip() or usual)
        ignored = b""
        with suppress(OSError):
            ignored = told.read_bytes()
        (self.beside / "ignored").write_bytes(ignored + f"\n/{CONTEXT}\n".encode())
        count = os.environ.get("GIT_CONFIG_COUNT", "")
        number = int(count) if count.isdecimal() else 0
        return {
            "GIT_CONFIG_COUNT": str(number + 1), f"GIT_CONFIG_KEY_{number}": "core.excludesFile",
            f"GIT_CONFIG_VALUE_{number}": str(self.beside / "ignored"),
        }  # fmt: skip

    def commit(self, message: str) -> list[str]:
        """Commit all that is there to the branch, CONTEXT.md of ours left out; its commits since the start, oldest first.

        Trouble, with what could be committed in place, when there is more that would go with the folder.
        """
        if not self.is_git or not self.branch:
            return []
        self._check(self.branch)
        self._must("add", "--all", "--", ".")
        if (self.beside / OURS).exists():
            self._must("rm", "--cached", "--quiet", "--ignore-unmatch", "--", CONTEXT)
        if self._run("diff", "--cached", "--quiet").returncode:
            self._must("commit", "--quiet", "--no-verify", "-m", message)
        self._bring_home()
        self._look_for_repositories()
        return self._must("rev-list", "--reverse", f"{self.start}..HEAD").stdout.split()[-100:]

    def _bring_home(self) -> None:
        """A command may have gone to another branch, or to none: our branch takes up what it made there. Where that is no
        continuation of it, a new branch beside ours does, and is ours from now on. All is committed by now."""
        ours, head = f"refs/heads/{self.branch}", self._commit("HEAD", self.path)
        if not head or self._run("symbolic-ref", "--quiet", "HEAD").stdout.strip() == ours:
            return
        tip = self._commit(ours)
        if tip and not self._run("merge-base", "--is-ancestor", head, tip).returncode:  # it only looked around there
            self._must("symbolic-ref", "HEAD", ours)
            self._must("reset", "--quiet", "--hard")
            return
        if tip not in ("", self.start) and self._run("merge-base", "--is-ancestor", tip, head).returncode:
            self.branch = f"{self.branch[:150]}-{head[:12]}"
            ours, tip = f"refs/heads/{self.branch}", ""
        self._must("update-ref", ours, head, *([tip] if tip else []))
        self._must("symbolic-ref", "HEAD", ours)

    def _look_for_repositories(self) -> None:
        """A repository inside of ours is committed as a mere number: what is in it would go with the folder. Of another
        working tree in here all goes that is not committed."""
        added = self._must("diff", "--raw", "-z", "--no-renames", "--diff-filter=AT", self.start, "HEAD").stdout
        words = added.split("\0")
        for about, name in zip(words[::2], words[1::2]):
            if about.split(" ")[1:2] == ["160000"] and (self.path / name / ".git").is_dir():
                raise Trouble(f"{name} is a git repository of its own, whose commits no branch of ours can hold.")
        for line in self._run("worktree", "list", "--porcelain").stdout.splitlines():
            tree = Path(line.partition("worktree ")[2])
            if self.path.resolve() in tree.parents and self._run("-C", str(tree), "status", "--porcelain").stdout:
                raise Trouble(f"{tree.name} is a working tree of its own, with changes that are not committed there.")

    def new_files(self) -> list[str]:
        """Paths of files that the work added, in order."""
        if self.is_git:
            told = self._must("diff", "--name-only", "-z", "--no-renames", "--diff-filter=A", self.start, "HEAD").stdout
            return sorted(filter(None, told.split("\0")))
        found = (str(path.relative_to(self.path)) for path in self.path.rglob("*") if not path.is_dir())
        return sorted(name for name in found if name != CONTEXT)

    def read(self, name: str, most: int) -> bytes | None:
        """A file of at most so many bytes; None for what is none, is larger, or leads out of the folder."""
        path = self.path / name
        if Path(os.path.realpath(path)) != Path(os.path.realpath(self.path)) / name:
            return None
        try:
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with open(number, "rb") as file:
            about = os.fstat(number)
            if not stat.S_ISREG(about.st_mode) or about.st_size > most:
                return None
            content = file.read(most + 1)
        return content if len(content) <= most else None

    def leave(self) -> None:
        """Take the folder away; the branch stays."""
        if self.is_git:
            with self.workshop.alone():
                self._discard()
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.beside, ignore_errors=True)

    def keep(self) -> None:
        """Commit what an attempt that was killed made, where there is something whole."""
        self.commit(f"{self.beside.stem}: left behind by an attempt that was killed")

    def _discard(self) -> None:
        """Whatever stands there, half made or whole."""
        for name in (BEGAN, OURS):
            (self.beside / name).unlink(missing_ok=True)
        self.workshop.git("worktree", "remove", "--force", "--force", "--", str(self.path), may_fail=True)
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():  # a file of another user, as a container leaves them
            self._put_aside()
        self.workshop.git("worktree", "unlock", "--", str(self.path), may_fail=True)
        self.workshop.git("worktree", "prune", may_fail=True)

    def _put_aside(self) -> None:
        self.aside = self.path.rename(self.path.with_name(f"{self.code}.{self.mark[:8]}"))

    def _commit(self, name: str, folder: Path | None = None) -> str:
        asked = ("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return self.workshop.git(*asked, folder=folder, may_fail=True).stdout.strip()

    def _began(self) -> tuple[str, str]:
        """What `prepare` wrote down, wherever a command went from there; empty where it did not come so far."""
        with suppress(OSError):
            branch, _, start = (self.beside / BEGAN).read_text(encoding="ascii", errors="replace").partition(" ")
            if _BRANCH.fullmatch(branch) and _COMMIT.fullmatch(start):
                return branch, start
        return "", ""

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.workshop.git(*arguments, folder=self.path, may_fail=True)

    def _must(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.workshop.git(*arguments, folder=self.path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder exists and is ours alone for the time of the block."""
    while True:
        folder.mkdir(exist_ok=True, mode=0o700)
        try:
            number = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process was just taking it away
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse("Another attempt at this task still runs on this machine.") from None
            if _is_still(number, folder):
                yield
                return
        finally:
            os.close(number)


def _is_still(number: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), os.stat(folder))
    except FileNotFoundError:
        return False


def _git(folder: Path, *arguments: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    """Git without hooks, questions and signatures. Trouble when it fails, unless it may."""
    environment: dict[str, Any] = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.pop("MISSION_CONTROL_KEY", None)
    quiet = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "commit.gpgSign=false")
    try:
        ran = subprocess.run(
            ["git", *quiet, *arguments], cwd=folder, env={**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="surrogateescape", timeout=GIT_SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Trouble(f"git did not run: {error}") from error
    if ran.returncode and not may_fail:
        said = " ".join(word for word in arguments if not word.startswith("user.") and word != "-c")
        raise Trouble(f"git {said[:100]}: {ran.stderr.strip()[-300:]}")
    return ran
