"""`mctl work`: takes tasks and gives each to a command, in a folder and on a branch of its own. Not: what the command
prints (output.py), its folder (worktree.py), how it is ended for sure (supervisor.py).

A slot waits, claims, runs and hands in, one task after the other; `--parallel` has several. While an attempt lives, a
second thread of its own keeps the lease alive and hears when to stop. No text of a task becomes an argument, a path, a
branch or the value of a variable: the command reads it from its input and from CONTEXT.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
import uuid
from pathlib import Path
from typing import IO, Any

from .client import Lease, form_of
from .options import PRESETS, SLUG, Options
from .output import MOST_LINE, Output, Progress
from .supervisor import MARK, Supervised, end_marked
from .verbs import warn
from .wire import Refused, Wire
from .worktree import CONTEXT, Place, Trouble, Workshop, slug

LISTEN_SECONDS = 50
BEAT_SECONDS = 2.0  # between two signs of life, so that a stop is heard of within 5 seconds
REPORT_SECONDS = 3.0  # between two lines of progress
PATIENCE = 300.0  # seconds in which a result is sent again to a server that does not answer
MOST_FILES = 20
MOST_FILE = 10_000_000  # bytes
MOST_BYTES = 50_000_000
MOST_REASON = 4_000
LONGEST_REST = 300.0  # seconds after failures in a row: what fails at once must not fail the whole queue
LONGEST_MISS = 3.0
ELSEWHERE_SECONDS = 10.0  # between two looks when all that the agent may hold is held by another runner

OVER = frozenset({"lease_lost", "cancelled", "paused", "not_found"})  # refusals after which there is nothing to hand in
EXIT_BLOCK = {69: "dependency", 77: "needs_input", 78: "capability"}  # EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG
EXIT_RELEASE = 75  # EX_TEMPFAIL
# What may be said when a report is refused.
LESS = {"complete": "fail", "block": "fail", "fail": "release", "release": "release"}
# What would lead the command's git out of its folder.
STRAY = frozenset({
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_PREFIX",
})  # fmt: skip

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")


class Runner:
    """All slots of one `mctl work`. `run` ends when it was told to stop, or when there is no point in going on."""

    def __init__(self, url: str, key: str, options: Options) -> None:
        self.options, self.key = options, key
        self.url = Wire(url, key).url
        self.stopping = threading.Event()  # take nothing more
        self.told = threading.Event()  # from outside, so what runs has to come to its end
        self.leaving = threading.Event()  # and give back what runs
        self.problem = ""
        self.taken = 0
        self._turn = threading.Lock()
        self._claiming = threading.Lock()  # one slot after the other, so that no more are taken than were asked for
        self._idle = threading.Condition(self._turn)
        self._busy = 0
        self._workshops: dict[str, Workshop] = {}

    def wire(self, timeout: float = 20.0, patience: float = PATIENCE) -> Wire:
        return Wire(self.url, self.key, timeout=timeout, patience=patience)

    def run(self) -> int:
        """Work until it is stopped. 0: in order; 1: the server refused for good."""
        folders: dict[str, Path | None] = {"": None, **self.options.repositories}
        for folder in folders.values():
            for trouble in self.workshop(folder).sweep():
                warn(trouble)
        slots = [
            threading.Thread(target=self._slot, name=f"slot-{n}", daemon=True) for n in range(self.options.parallel)
        ]
        for slot in slots:
            slot.start()
        warn(f"{self.options.agent} waits for work at {self.url}, {len(slots)} at once.")
        while not self.stopping.is_set():  # not `wait`: it holds a lock that the signal handler needs to set it
            time.sleep(0.2)
            if not any(slot.is_alive() for slot in slots):
                break
        self._finish()
        if self.problem:
            warn(self.problem)
        return 1 if self.problem else 0

    def stop(self) -> None:
        self.told.set()
        self.stopping.set()

    def workshop(self, repository: Path | None) -> Workshop:
        with self._turn:
            name = str(repository)
            if name not in self._workshops:
                self._workshops[name] = Workshop(self.options.folder, repository, self.options.agent)
            return self._workshops[name]

    def check_agent(self) -> None:
        """Refused where the key is that of another, or nobody answers."""
        own = self.wire().call("GET", "/agents/me")["agent"]["id"]
        if own != self.options.agent:
            raise Refused(f"This key is that of {own}, not of {self.options.agent}.", code="not_allowed", status=403)

    def _finish(self) -> None:
        """What runs may go on to its end, or once it was told to stop for a while; then it is stopped and given back."""
        with self._idle:
            while self._busy and not self.told.is_set():
                self._idle.wait(0.2)
            if self._busy:
                warn(f"Stopping: {self._busy} may go on for {self.options.finish:.0f} seconds.")
            self._idle.wait_for(lambda: not self._busy, self.options.finish)
            self.leaving.set()
            self._idle.wait_for(lambda: not self._busy)

    # ── one slot ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _slot(self) -> None:
        failures = misses = 0
        told = ""
        while not self.stopping.is_set():
            try:
                if not self._is_work_there():
                    misses, told = 0, ""
                    continue
                went_well, told = self._take(), ""
            except Refused as refused:
                went_well = None
                if refused.status in (400, 401, 403):
                    self.problem = refused.sentence
                    self.stop()
                elif refused.code == "at_capacity":
                    self._wait_for_room()
                elif refused.sentence != told:
                    told = refused.sentence
                    warn(f"Trying again: {told}")
            except Exception as wrong:  # a defect of ours costs one attempt, and no slot
                went_well = False
                warn(f"Something went wrong in the runner: {wrong!r}")
            failures = failures + 1 if went_well is False else 0
            misses = misses + 1 if went_well is None else 0
            if failures:
                self.stopping.wait(min(LONGEST_REST, 0.5 * 2 ** min(failures, 10)))
            elif misses:
                self.stopping.wait(min(LONGEST_MISS, 0.1 * 2 ** min(misses, 10)))

    def _is_work_there(self) -> bool:
        told = self.wire(patience=0.0).call(
            "GET", "/tasks/listen", query={"timeout": LISTEN_SECONDS}, wait=LISTEN_SECONDS
        )
        return bool(told)

    def _take(self) -> bool | None:
        """Claim one and see it to its end; whether it went well, None when another was faster."""
        with self._turn:
            if self.stopping.is_set():
                return None
            self._busy += 1
        try:
            claim = self._claim()
            return Attempt(self, claim).run() if claim else None
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def _claim(self) -> dict[str, Any] | None:
        with self._claiming:
            if self.stopping.is_set():
                return None
            asked = {"session_key": f"mctl:{uuid.uuid4().hex}", "lease_seconds": self.options.lease_seconds}
            claim = self.wire(patience=60.0).call("POST", "/tasks/claim", asked)
            if not claim.get("task"):
                return None
            self.taken += 1
            if self.options.tasks and self.taken >= self.options.tasks:
                self.stopping.set()
            return claim

    def _wait_for_room(self) -> None:
        """The agent holds as many as it may: until another slot is done, or for a while where others hold them."""
        with self._idle:
            busy = self._busy
            end = time.monotonic() + (LISTEN_SECONDS if busy else ELSEWHERE_SECONDS)
            while self._busy >= busy and time.monotonic() < end and not self.stopping.is_set():
                self._idle.wait(0.5)


class Attempt:
    """One task under one lease."""

    def __init__(self, runner: Runner, claim: dict[str, Any]) -> None:
        self.runner, self.options = runner, runner.options
        self.briefing: dict[str, Any] = claim["briefing"]
        self.code = str(claim["task"]["id"])
        if not _CODE.fullmatch(self.code):
            raise Refused("The server named a task in a way that it never does.", code="not_mission_control")
        self.lease = Lease(self.code, int(claim["epoch"]), str(claim["lease_token"]))
        self.epoch = self.lease.epoch
        self.output = Output(runner.key, self.lease.token)
        self.started = time.monotonic()
        self.lease_until = self.started + float(claim["lease_expires_in"])
        self.stopped = ""  # why the command has to end; the first reason counts
        self.is_handed_in = False
        self._supervised: Supervised | None = None
        self._has_ended = False
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._words = threading.Lock()  # of its own, so that a flood of them delays no stop
        self._news: Progress | None = None
        self._sent: tuple[Any, ...] = ()

    def run(self) -> bool:
        """From the claim to the end; False when this machine had trouble, so that it may rest before the next one."""
        warn(f"{self.code} taken, attempt {self.epoch}.")
        pulse = threading.Thread(target=self._pulse, name=f"pulse-{self.code}", daemon=True)
        try:
            pulse.start()
            with self._place() as place:
                return self._run_in(place)
        except (Trouble, OSError) as trouble:
            self._report("release", {"reason": f"The runner has no folder for it: {trouble}"[:MOST_REASON]})
            return False
        except Refused as refused:
            self._report("release", {"reason": f"The briefing did not come: {refused.sentence}"[:MOST_REASON]})
            return False
        except Exception:
            self._report("release", {"reason": "Something went wrong in the runner.", **self._spent()})
            raise
        finally:
            self._over.set()

    def _place(self) -> contextlib.AbstractContextManager[Place]:
        venture = str(self.briefing.get("venture"))
        folders = self.options.repositories
        repository = folders.get(venture, folders.get("")) if SLUG.fullmatch(venture) else folders.get("")
        quoted = self.briefing["quoted"]
        branch = str(quoted.get("branch") or "")
        default = str(quoted.get("default_branch") or "main")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", branch) or branch == default:
            named = "-".join(filter(None, (slug(self.options.agent), slug(str(quoted["title"])), self.code)))
            branch = f"agent/{named}"
        return self.runner.workshop(repository).place(self.code, branch, default)

    def _run_in(self, place: Place) -> bool:
        if place.aside:
            warn(f"{self.code} had a folder that cannot be used. It is {place.aside} now.")
        path = f"/tasks/{self.code}/briefing"
        told = self.runner.wire().call("GET", path, query={"format": "text"}, headers={"Accept": "text/markdown"})
        place.tell(str(told))
        (place.beside / "briefing.json").write_text(json.dumps(self.briefing), encoding="utf-8")
        with open(place.beside / CONTEXT, "rb") as text:
            code = self._command(place, text)
        try:
            commits = place.commit(f"{self.code}: attempt {self.epoch} by {self.options.agent}")
        except (Trouble, OSError) as trouble:  # what could not be committed stays for the next attempt
            warn(f"{self.code} stays in {place.path}: {trouble}")
            if self.stopped not in OVER:
                reason = f"What was made is not whole on its branch: {trouble}"[:MOST_REASON]
                self._report("fail", {"error": reason, **self._spent()})
            return False
        went_well = self._end(place, code, commits)
        if place.is_git or self.is_handed_in or not place.new_files():
            place.leave()
        else:  # no branch holds it
            warn(f"{self.code} leaves what it made in {place.path}.")
        return went_well

    # ── while it runs ───────────────────────────────────────────────────────────────────────────────────────────────

    def _command(self, place: Place, text: IO[bytes]) -> int:
        """Run it until it ends or has to; its exit code."""
        supervised = Supervised(
            self._argv(place), folder=str(place.path), environment=self._environment(place), stdin=text,
            grace=self.options.grace,
        )  # fmt: skip
        with self._lock:
            self._supervised = supervised
            if self.stopped:
                supervised.stop()
        readers: list[threading.Thread] = []
        try:
            for pipe in (supervised.process.stdout, supervised.process.stderr):
                reader = threading.Thread(target=self._read, args=(supervised, pipe), daemon=True)
                reader.start()
                readers.append(reader)
            self._watch(supervised)
            if supervised.process.returncode < 0:
                end_marked(place.mark)
        finally:
            supervised.stop()  # it has ended, but for a defect of ours
            with self._lock:
                self._supervised, self._has_ended = None, True
            code = supervised.close(readers)
        self.output.end()
        return code

    def _watch(self, supervised: Supervised) -> None:
        """Until it has ended."""
        next_report = time.monotonic() + 0.5
        while supervised.process.poll() is None:
            self._look_at_limits()
            if time.monotonic() >= next_report and self._tell_progress():
                next_report = time.monotonic() + REPORT_SECONDS
            with contextlib.suppress(subprocess.TimeoutExpired):
                supervised.process.wait(0.1)

    def _argv(self, place: Place) -> list[str]:
        if self.options.preset not in PRESETS:
            return self.options.command
        known = {
            "{task}": self.code, "{attempt}": str(self.epoch), "{context}": str(place.beside / CONTEXT),
            "{folder}": str(place.path),
        }  # fmt: skip
        command = []
        for word in PRESETS[self.options.preset]:
            for name, value in known.items():
                word = word.replace(name, value)
            command.append(word)
        return command + self.options.command

    def _environment(self, place: Place) -> dict[str, str]:
        """That of the runner without what is secret, and where things are."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MISSION_CONTROL_") and name not in STRAY
        }
        told = {
            "MISSION_CONTROL_URL": self.runner.url,
            "MISSION_CONTROL_AGENT": self.options.agent,
            "MISSION_CONTROL_TASK": self.code,
            "MISSION_CONTROL_ATTEMPT": str(self.epoch),
            "MISSION_CONTROL_BRANCH": place.branch,
            "MISSION_CONTROL_FOLDER": str(place.path),
            "MISSION_CONTROL_CONTEXT": str(place.beside / CONTEXT),
            "MISSION_CONTROL_BRIEFING": str(place.beside / "briefing.json"),
            "MISSION_CONTROL_RESUMED": "1" if place.is_resumed else "",
            MARK: place.mark,
        }
        if self.options.call_back:
            told.update(
                MISSION_CONTROL_KEY=self.runner.key, MISSION_CONTROL_LEASE_EPOCH=str(self.epoch),
                MISSION_CONTROL_LEASE_TOKEN=self.lease.token,
            )  # fmt: skip
        return {**kept, **told, **place.environment()}

    def _read(self, supervised: Supervised, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in supervised.lines(pipe, MOST_LINE):
                with self._words:
                    said = self.output.feed(line, str(pipe.fileno()))
                    if said:
                        before = self._news or Progress(None, "")
                        percent = before.percent if said.percent is None else said.percent
                        self._news = Progress(percent, said.message or before.message)

    def _look_at_limits(self) -> None:
        if self.options.minutes and time.monotonic() - self.started > self.options.minutes * 60:
            self._stop("minutes")
        if self.options.tokens and self.output.tokens > self.options.tokens:
            self._stop("tokens")
        if self.runner.leaving.is_set():
            self._stop("leaving")
        if time.monotonic() > self.lease_until:  # whatever keeps the pulse from saying so
            self._stop("lease_lost")

    def _tell_progress(self) -> bool:
        """Whether there was something to tell."""
        with self._words:
            news, spent = self._news, self._spent()
            self._news = None
        told: dict[str, Any] = dict(spent)
        if news and news.percent is not None:
            told["percent"] = news.percent
        if news and news.message:
            told["message"] = news.message
        now = tuple(sorted(told.items()))
        if not told or now == self._sent or self.stopped:
            return False
        self._sent = now
        try:
            self._call(self.runner.wire(timeout=5.0, patience=0.0), "progress", told)
        except Refused as refused:
            if refused.code in OVER:
                self._stop(refused.code)
        return True

    def _spent(self) -> dict[str, Any]:
        out = self.output
        spent: dict[str, Any] = {}
        if out.tokens:
            spent = {"tokens_used": out.tokens, "tokens_in": out.tokens_in, "tokens_out": out.tokens_out}
        if out.cost is not None:
            spent["actual_cost"] = str(out.cost)
        if spent and out.model:
            spent["model"] = out.model
        return spent

    def _pulse(self) -> None:
        """Keep the lease alive, and hear of what has to stop: the lease's end, and a freeze of the fleet."""
        wire = self.runner.wire(timeout=4.0, patience=0.0)
        while not self._over.wait(BEAT_SECONDS):
            try:
                asked = time.monotonic()
                told = self._call(wire, "heartbeat", {})
                self.lease_until = asked + float(told["lease_expires_in"])
                if wire.call("GET", "/fleet/freeze").get("frozen"):
                    self._stop("frozen")
            except Refused as refused:
                if refused.code in OVER or refused.status == 401:
                    self._stop(refused.code if refused.code in OVER else "lease_lost")
            except (AttributeError, KeyError, TypeError, ValueError):
                continue  # no answer of ours: something between here and the server

    def _stop(self, why: str) -> None:
        """End the command for this reason. Once it has ended by itself, only the loss of the task still counts."""
        with self._lock:
            if not self.stopped and (why in OVER or not self._has_ended):
                self.stopped = why
                if self._supervised:
                    self._supervised.stop()

    def _call(self, wire: Wire, verb: str, body: Any) -> Any:
        return wire.call("POST", f"/tasks/{self.code}/{verb}", body, headers=self.lease.headers())

    # ── at the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, place: Place, code: int, commits: list[str]) -> bool:
        """Say how it came out."""
        why, out = self.stopped, self.output
        said = "\n".join(out.tail)[-MOST_REASON:]
        if why in OVER:
            warn(f"{self.code} {why}: the command was stopped.")
            return True
        if why in ("frozen", "leaving"):
            reason = "The fleet is frozen." if why == "frozen" else "The runner was stopped."
            self._report("release", {"reason": reason, **self._spent()})
            return True
        if why:
            limit = f"{self.options.minutes:g} minutes" if why == "minutes" else f"{self.options.tokens} tokens"
            self._report("fail", {"error": f"It was stopped at its limit of {limit}.", **self._spent()})
            return True
        if code == 0 and not out.error:
            self._hand_in(place, commits)
            return True
        if code < 0:
            self._report("release", {"reason": "What watched over the command was killed.", **self._spent()})
            return False
        reason = (out.error or said or f"The command ended with exit code {code}.")[-MOST_REASON:]
        if code == EXIT_RELEASE:
            self._report("release", {"reason": reason, **self._spent()})
            return False
        if code in EXIT_BLOCK:
            self._report("block", {"kind": EXIT_BLOCK[code], "reason": reason, **self._spent()})
            return True
        self._report("fail", {"error": f"Exit code {code}. {reason}"[:MOST_REASON], **self._spent()})
        return False

    def _hand_in(self, place: Place, commits: list[str]) -> None:
        names = place.new_files()
        left, sent = MOST_BYTES, 0
        for name in names:
            content = place.read(name, min(MOST_FILE, left)) if sent < MOST_FILES else None
            if content is not None and self._upload(name, content):
                left -= len(content)
                sent += 1
        summary = self.output.summary or "\n".join(self.output.tail)
        if len(names) > sent and not place.is_git:
            summary += f"\n\n{len(names) - sent} more files were too many or too large to hand in."
        done: dict[str, Any] = {"summary": summary.strip(), **self._spent()}
        if commits:
            done.update(branch=place.branch, commits=commits)
        self.is_handed_in = self._report("complete", done)

    def _upload(self, name: str, content: bytes) -> bool:
        """One file as a deliverable; whether it was taken. A refused one does not stop the work."""
        if not name.isprintable() or len(name) > 400:
            return False
        form = form_of({"type": "file", "title": name, "path": name}, Path(name).name, content)
        try:
            self._call(self.runner.wire(timeout=60.0), "deliverables", form)
        except Refused as refused:
            warn(f"{self.code} {name} was not taken: {refused.sentence}")
            return False
        return True

    def _report(self, verb: str, body: dict[str, Any]) -> bool:
        """Say how it ended; whether that was taken."""
        try:
            self._call(self.runner.wire(), verb, body)
        except Refused as refused:
            warn(f"{self.code} {verb} was refused: {refused.sentence}")
            if refused.status in (400, 409, 413, 422) and refused.code not in OVER and body:
                self._say_less(LESS[verb], refused)
            return False
        warn(f"{self.code} {verb}.")
        return True

    def _say_less(self, verb: str, refused: Refused) -> None:
        """A result that the server does not take ends the attempt all the same, and leaves no lease behind."""
        sentence = f"The result was not taken: {refused.sentence} {' '.join(refused.works)}".strip()[:MOST_REASON]
        self._report(verb, {"error": sentence} if verb == "fail" else {})
