"""Runs one command in a process group of its own and never leaves it behind. Not: when it has to end (runner.py).

The runner starts `supervise` as a small process between itself and the command. A pipe joins the two: a byte in it says
"stop", and its end says that the runner is gone, however it went. In both cases the group is asked to end (SIGTERM) and
then made to (SIGKILL). On Linux what left the group comes back here as a child and ends with it.

That process may be killed itself. The kernel then kills the command, and the rest is found by a mark: a random word that
stands in the environment of all that one attempt started, and of nothing else (`end_marked`, on Linux).
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any

MARK = "MISSION_CONTROL_RUN"  # the variable that holds it
LOOKS = 3  # in a row that find nothing: a process that is just becoming another program has no environment


def supervise() -> None:
    """The process between. Arguments: number of the pipe, seconds of grace, command. Exits as the command did, 127 when
    it cannot be started, 128 + n after signal n. It is run from its own source, so it imports all it needs.
    """
    import contextlib
    import ctypes
    import os
    import select
    import signal
    import sys
    import time

    lifeline, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    os.set_inheritable(lifeline, False)
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None) if linux else None
    if libc:
        libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    me = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            signal.set_wakeup_fd(-1)
            for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(name, signal.SIG_DFL)
            os.setsid()
            if libc:
                libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
                if os.getppid() != me:
                    os._exit(127)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def end(number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(child, number)

    deadline: float | None = None
    killed, code = False, None
    watched = [lifeline, woken]
    while code is None:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select(watched, [], [], left)[0]
        if woken in ready:
            os.read(woken, 4096)
        if lifeline in ready:
            if not os.read(lifeline, 1):
                watched = [woken]
                grace = min(grace, 2.0)
            end(signal.SIGTERM)
            if not killed:
                deadline = min(deadline or float("inf"), time.monotonic() + grace)
        if deadline is not None and time.monotonic() >= deadline:
            end(signal.SIGKILL)
            killed, deadline = True, None
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    end(signal.SIGKILL)
    give_up = time.monotonic() + 5
    while linux and time.monotonic() < give_up:
        try:
            with open(f"/proc/self/task/{me}/children") as listed:
                children = listed.read().split()
        except OSError:
            children = []
        for pid in children:
            with contextlib.suppress(OSError):  # one of another user does not protect the others
                os.kill(int(pid), signal.SIGKILL)
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
        except ChildProcessError:
            break
    os._exit(code)


# Read now: the file may be replaced by a newer one while the runner works.
SOURCE = f"{inspect.getsource(supervise)}\nsupervise()"


class Supervised:
    """One command that runs. `process` is the one between, its `stdout` and `stderr` are those of the command."""

    def __init__(
        self, command: list[str], *, folder: str, environment: dict[str, str], stdin: IO[Any], grace: float
    ) -> None:
        self._is_closing = threading.Event()
        kept, self._lifeline = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", SOURCE, str(kept), str(grace), *command],
                cwd=folder, env=environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                pass_fds=(kept,), start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(kept)

    def stop(self) -> None:
        """Ask it to end; after its grace it is made to."""
        with contextlib.suppress(OSError):  # it has ended by itself
            os.write(self._lifeline, b"t")

    def lines(self, pipe: IO[bytes], most: int) -> Iterator[bytes]:
        """What comes out of it line by line, in pieces of so many bytes where there are no lines. A carriage return ends
        a line too. It ends with the command: a process elsewhere may hold the pipe open for ever.
        """
        number, kept = pipe.fileno(), b""
        looking = select.poll()
        looking.register(number, select.POLLIN)
        while not self._is_closing.is_set():
            if not looking.poll(100):
                if self.process.returncode is not None:
                    break
                continue
            piece = os.read(number, 65_536)
            if not piece:
                break
            *whole, kept = re.split(rb"[\r\n]+", kept + piece)
            yield from whole
            while len(kept) >= most:
                yield kept[:most]
                kept = kept[most:]
        if kept:
            yield kept

    def close(self, readers: Iterable[threading.Thread] = ()) -> int:
        """Wait for the end, let those who read `lines` come to theirs, and let go; the exit code."""
        code = self.process.wait()
        for reader in readers:
            reader.join(5)
        self._is_closing.set()
        for reader in readers:
            reader.join()
        os.close(self._lifeline)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return code


def end_marked(mark: str, seconds: float = 5.0) -> None:
    """Kill all that runs under this mark, until nothing does or the time is up. A process that took over the number of
    one that has ended is safe: what is looked at is what is killed."""
    give_up, looks = time.monotonic() + seconds, 0
    while looks < LOOKS and time.monotonic() < give_up:
        looks += 1
        for number in _marked(mark):
            looks = 0
            with contextlib.suppress(OSError):
                _kill_marked(number, mark)
        time.sleep(0.01)


def _kill_marked(number: int, mark: str) -> None:
    if not hasattr(os, "pidfd_open"):  # some builds of Python lack it
        os.kill(number, signal.SIGKILL)
        return
    held = os.pidfd_open(number)
    try:
        if _has(number, mark):
            signal.pidfd_send_signal(held, signal.SIGKILL)
    finally:
        os.close(held)


def _marked(mark: str) -> Iterator[int]:
    if sys.platform != "linux":
        return
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _has(int(name), mark):
            yield int(name)


def _has(number: int, mark: str) -> bool:
    """Whether it was started with this mark; one that has ended has none."""
    try:
        with open(f"/proc/{number}/environ", "rb") as told:
            return f"{MARK}={mark}".encode() in told.read().split(b"\0")
    except OSError:
        return False
