"""A backup file and what comes of it: written beside a working fleet, restored whole or not at all. And the move.

    FILE.tar.gz   tables/<label>.jsonl   one JSON array a row, read in one snapshot (carrying.py)
                  files/<name>           what was uploaded
                  secrets/<VARIABLE>     the keys of this instance
                  manifest.json          version, columns, counts and checksums of all of it; the last member

`restore` and `move` end the same way: everything is read back and added up, the chain of seals is walked and the
invariants are checked before the one transaction commits. A move carries along what waits to be sent; after a restore it
is given up, because it may have been sent since the backup. Not here: how rows become lines.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.db.utils import load_backend

from mission_control import log, starting
from mission_control.actors import Actor, system
from mission_control.errors import NotAllowed
from mission_control.keeping import carrying
from mission_control.models import User
from mission_control.outbound import announcing, deliveries

FORMAT, VERSION = "mission-control-backup", 1
MANIFEST = "manifest.json"
READ = 1 << 20
Manifest = dict[str, Any]
Say = Callable[[str], object]


# ── backup ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def make(target: Path) -> Manifest:
    """Write a backup of this instance, mode 600; it is there whole or not at all. Locks nothing and holds nobody up.

    CommandError: there is a file of that name already, or its folder cannot be written.
    """
    if target.exists():
        raise CommandError(f"{target} exists already. Name a file that does not.")
    try:
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as beside:
            written = Path(beside) / "backup"
            with _private(written) as raw, tarfile.open(fileobj=raw, mode="w:gz", compresslevel=6) as archive:
                manifest = _write(archive, Path(beside))
            _flush(written)
            os.link(written, target)  # never over one that somebody made meanwhile
        _flush(target.parent)
    except FileExistsError:
        raise CommandError(f"{target} exists already. Name a file that does not.") from None
    except OSError as error:
        raise CommandError(f"Cannot write {target}: {error.strerror}.") from None
    return manifest


@contextlib.contextmanager
def made() -> Iterator[tuple[IO[bytes], Manifest]]:
    """A backup to read once, beside the uploads; its name is gone before anybody reads it, its place when it is closed."""
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=Path(settings.MEDIA_ROOT).parent) as folder:
        manifest = make(Path(folder) / "backup.tar.gz")
        file = (Path(folder) / "backup.tar.gz").open("rb")
    try:
        yield file, manifest
    except BaseException:
        file.close()
        raise


@log.verb
def note_download(actor: Actor, manifest: Manifest) -> None:
    """Who took one out of here. Records backup.downloaded."""
    if not actor.can("admin"):
        raise NotAllowed("Only an admin takes a backup.")
    log.record("backup.downloaded", actor, level="warning", message=told(manifest), data={"head": manifest["head"]})


def _write(archive: tarfile.TarFile, beside: Path) -> Manifest:
    moment = datetime.now(UTC)
    manifest: Manifest = {"format": FORMAT, "version": VERSION, "made_at": moment.isoformat(timespec="seconds")}
    with _uploads_held() as held:
        _hold_uploads(held)
        with carrying.snapshot():
            _hold_uploads(held)  # again: what came between the first look and the snapshot
            manifest |= {
                "database": connection.vendor, "head": log.head(), "log_key_id": log.key_id(),
                "migrations": _migrations(),
                "tables": {label: _write_table(archive, beside, label, table) for label, table in carrying.tables().items()},
            }  # fmt: skip
        manifest["files"] = {
            str(path.relative_to(held).as_posix()): _add(archive, f"files/{path.relative_to(held).as_posix()}", path)
            for path in sorted(held.rglob("*"))
            if path.is_file()
        }
    manifest["secrets"] = {
        name: _add_bytes(archive, f"secrets/{name}", str(getattr(settings, name)).encode())
        for name in sorted(settings.KEPT_SECRETS)
    }
    _add_bytes(archive, MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    return manifest


def _write_table(archive: tarfile.TarFile, beside: Path, label: str, table: carrying.Table) -> dict[str, Any]:
    summing = carrying.Summing()
    path = beside / "table"
    with _private(path) as file:
        for row in summing.through(carrying.rows(table)):
            file.write(carrying.line(row))
    checksum = _add(archive, f"tables/{label}.jsonl", path)
    path.unlink()
    return {"columns": carrying.columns(table), **asdict(summing.sum), **checksum}


@contextlib.contextmanager
def _uploads_held() -> Iterator[Path]:
    """A folder beside the uploads for second names of them: one that is deleted meanwhile stays readable."""
    root = Path(settings.MEDIA_ROOT)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=root.parent) as folder:
        yield Path(folder)


def _hold_uploads(held: Path) -> None:
    """Give every upload a second name under `held`; where the disk has no links, a copy."""
    root = Path(settings.MEDIA_ROOT)
    for path in root.rglob("*"):
        second = held / path.relative_to(root)
        if second.exists() or path.is_symlink() or not path.is_file():
            continue
        second.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # deleted in this moment
            _second_name(path, second)


def _add(archive: tarfile.TarFile, name: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        reading = _Reading(file)
        archive.addfile(_member(name, size), reading)
        return {"size": size, "sha256": reading.digest.hexdigest()}


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> dict[str, Any]:
    archive.addfile(_member(name, len(content)), BytesIO(content))
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    return member


class _Reading:
    """A file that is added up while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, most: int = -1) -> bytes:
        chunk = self.file.read(most)
        self.digest.update(chunk)
        return chunk


# ── restore ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def unpacked(source: Path) -> Iterator[tuple[Manifest, Path]]:
    """The manifest and a folder with the members of a backup, all of them as the manifest says.

    The folder is private and goes away again. CommandError: the file is damaged, or no backup.
    """
    data = Path(settings.MEDIA_ROOT).parent
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=data) as folder:
        try:
            manifest = _unpack(source, Path(folder))
        except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, KeyError, TypeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise CommandError(f"{source} cannot be read as a backup: {reason or type(error).__name__}.") from None
        yield manifest, Path(folder)


def _unpack(source: Path, folder: Path) -> Manifest:
    found: dict[str, str] = {}
    with tarfile.open(source, "r:gz") as archive:
        for member in archive:
            if not member.isreg() or not _is_plain(member.name) or member.name in found:
                raise ValueError(f"it holds {member.name}, which no backup has")
            content = archive.extractfile(member)
            assert content is not None
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            reading = _Reading(content)
            with _private(path) as file:
                shutil.copyfileobj(reading, file)
            found[member.name] = reading.digest.hexdigest()
    if found.pop(MANIFEST, None) is None:
        raise ValueError("it has no manifest, or was cut off")
    manifest: Manifest = json.loads((folder / MANIFEST).read_bytes())
    if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
        raise ValueError(f"it is {manifest['format']} {manifest['version']}, this version reads {FORMAT} {VERSION}")
    told = {f"tables/{label}.jsonl": table["sha256"] for label, table in manifest["tables"].items()}
    told |= {f"files/{name}": file["sha256"] for name, file in manifest["files"].items()}
    told |= {f"secrets/{name}": secret["sha256"] for name, secret in manifest["secrets"].items()}
    wrong = sorted(name for name in {*told, *found} if told.get(name) != found.get(name))
    if wrong:
        raise ValueError(f"{wrong[0]} is not what the manifest says")
    return manifest


def _is_plain(name: str) -> bool:
    """A path that stays inside the folder, in one of the places of a backup."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and str(path) == name and "\0" not in name
    return inside and (name == MANIFEST or (len(path.parts) > 1 and path.parts[0] in ("tables", "files", "secrets")))


def restore(source: Path, *, replace: bool, say: Say) -> Manifest:
    """Fill this instance from a backup, whole or not at all. Records fleet.restored. No server may be connected.

    `replace`: also when this instance holds something, which is then gone. CommandError says why not.
    """
    with unpacked(source) as (manifest, folder), contextlib.ExitStack() as undo:
        secrets = {name: (folder / "secrets" / name).read_text() for name in manifest["secrets"]}
        _check_secrets(secrets)
        starting.migrate(say)
        _check_migrations(set(manifest["migrations"]), str(source))
        with starting.alone(), _nobody_connected(), log.unit():
            _check_empty(replace)
            carrying.clear()
            for label, table in carrying.tables().items():
                told = manifest["tables"][label]
                with (folder / "tables" / f"{label}.jsonl").open("rb") as lines:
                    carrying.pour(table, told["columns"], map(json.loads, lines))
                _check_sum(label, table, carrying.Sum(told["rows"], told["fingerprint"]))
            undo.callback(setattr, settings, "LOG_KEY", settings.LOG_KEY)
            settings.LOG_KEY = secrets["LOG_KEY"]
            held = deliveries.give_up_after_restore() + announcing.give_up_after_restore()
            _settle("fleet.restored", f"From a backup of {manifest['made_at']}.", head=manifest["head"], held=held)
            _place_uploads(folder / "files", list(manifest["files"]), undo)
            _keep_secrets(secrets, undo)
        undo.pop_all()
    if replace:
        _remove_other_uploads(set(manifest["files"]))
    return manifest


def _check_secrets(secrets: dict[str, str]) -> None:
    """CommandError: the environment gives another key than that with which this data was signed and sealed."""
    for name, path in settings.KEPT_SECRETS.items():
        if name not in secrets:
            raise CommandError(f"The backup holds no {name}.")
        if path is None and secrets[name] != getattr(settings, name):
            raise CommandError(
                f"{name} in the environment is not the one in the backup. Unset it, or set it to that one:"
                f" it is the member secrets/{name} of the file."
            )


def _check_migrations(theirs: set[str], what: str) -> None:
    ours = _migrations()
    newer, older = sorted(theirs.difference(ours)), sorted(set(ours).difference(theirs))
    if newer:
        raise CommandError(f"{what} comes from a newer version ({newer[-1]}). Use that version.")
    if older:
        raise CommandError(
            f"{what} comes from an older version (without {older[0]}). Use that version, then start this one on the result."
        )


def _check_empty(replace: bool) -> None:
    if not replace and (log.head() or User.objects.exists()):
        raise CommandError("There is something in this database already. Name an empty one, or say --replace.")


def _check_sum(label: str, table: carrying.Table, told: carrying.Sum) -> None:
    found = carrying.sum_of(table)
    if found != told:
        raise CommandError(
            f"{label} did not arrive as it was: {told.rows} rows left, {found.rows} came. Nothing changed."
        )


def _settle(kind: str, message: str, **data: int) -> None:
    """The end of a restore or a move, in its transaction: counters, a line in the log, and the proof that all is well."""
    carrying.renumber()
    log.record(kind, system("command"), level="warning", message=message, data=data)
    log.flush()
    checked, complaint = log.verify_log()
    if complaint:
        raise CommandError(f"The log does not verify: {complaint} ({checked} were in order). Nothing changed.")
    call_command("check_invariants", stdout=StringIO())


def _place_uploads(held: Path, names: list[str], undo: contextlib.ExitStack) -> None:
    root = Path(settings.MEDIA_ROOT)
    for name in names:
        here = root / name
        if here.exists():
            if not filecmp.cmp(held / name, here, shallow=False):
                raise CommandError(f"{here} is there already and holds something else. Move it away. Nothing changed.")
            continue
        here.parent.mkdir(parents=True, exist_ok=True)
        undo.callback(here.unlink, missing_ok=True)
        _second_name(held / name, here)
        _flush(here)
        _flush(here.parent)


def _remove_other_uploads(names: set[str]) -> None:
    root = Path(settings.MEDIA_ROOT)
    for path in [path for path in root.rglob("*") if path.is_file()]:
        if path.relative_to(root).as_posix() not in names:
            path.unlink(missing_ok=True)


def _keep_secrets(secrets: dict[str, str], undo: contextlib.ExitStack) -> None:
    """Put the keys of the backup in the place of ours; the last step before the commit."""
    for name, path in settings.KEPT_SECRETS.items():
        if path is None:
            continue
        ours = path.read_text().strip()
        if ours != secrets[name]:
            undo.callback(_put, path, ours)
            _put(path, secrets[name])


def _put(path: Path, secret: str) -> None:
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.unlink(missing_ok=True)
    with _private(fresh) as file:
        file.write(secret.encode())
    _flush(fresh)
    os.replace(fresh, path)


# ── move ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def move(source: Path, *, say: Say) -> int:
    """Copy an SQLite file into the empty PostgreSQL database of DATABASE_URL; how many rows. Records fleet.moved.

    The file is locked against everybody meanwhile and has another name afterwards, so that no server goes on with it.
    CommandError: a server is connected to either, or the target holds something. Then nothing has changed.
    """
    if connection.vendor != "postgresql":
        raise CommandError("Set DATABASE_URL to the PostgreSQL database to move to.")
    if not source.is_file():
        raise CommandError(f"There is no file {source}.")
    starting.migrate(say)
    total = 0
    with starting.alone(), _nobody_connected(), _locked(source):
        _check_migrations(set(_migrations("source")), str(source))
        with log.unit():
            _check_empty(replace=False)
            carrying.clear()
            for label, table in carrying.tables().items():
                summing = carrying.Summing()
                carrying.pour(table, carrying.columns(table), summing.through(carrying.rows(table, "source")))
                _check_sum(label, table, summing.sum)
                total += summing.rows
            _settle("fleet.moved", "From SQLite to PostgreSQL.", head=log.head())
        former = source.with_name(f"{source.name}.moved")
        os.replace(source, former)
        say(f"The SQLite file is now called {former}.")
    return total


@contextlib.contextmanager
def _locked(source: Path) -> Iterator[None]:
    """The file as the database `source`, for this process alone, its journal written back."""
    options = {"timeout": 1, "transaction_mode": "EXCLUSIVE", "init_command": "PRAGMA locking_mode=EXCLUSIVE;"}
    backend = load_backend("django.db.backends.sqlite3")
    connections["source"] = backend.DatabaseWrapper(
        {**connection.settings_dict, "ENGINE": "django.db.backends.sqlite3", "NAME": str(source), "OPTIONS": options},
        "source",
    )
    try:
        with connections["source"].cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            cursor.execute("BEGIN EXCLUSIVE")
            yield
            cursor.execute("ROLLBACK")
    except OperationalError as error:
        if "locked" not in str(error):
            raise
        raise CommandError(f"Somebody has {source} open. Stop the server and the workers first.") from None
    finally:
        connections["source"].close()
        del connections["source"]


def told(manifest: Manifest) -> str:
    """What is in a backup, for a person."""
    rows = sum(table["rows"] for table in manifest["tables"].values())
    return (
        f"{rows} rows and {len(manifest['files'])} files of {manifest['made_at']}, up to activity {manifest['head']}."
    )


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _nobody_connected() -> Iterator[None]:
    """CommandError when a server, a worker or a command is connected to the database."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND usename = current_user AND pid <> pg_backend_pid()"
            )
            others = cursor.fetchone()[0]
            cursor.execute(
                "SET idle_in_transaction_session_timeout = 0"
            )  # while files are placed; ends with the command
    else:
        connection.close()
        others = _others_have_open(str(connection.settings_dict["NAME"]))
    if others:
        raise CommandError("Somebody is connected to this database. Stop the servers and the workers first.")
    yield


def _others_have_open(name: str) -> bool:
    """A connection to an SQLite file in WAL mode holds a shared lock as long as it is open, used or not."""
    with contextlib.closing(sqlite3.connect(name, timeout=1, isolation_level=None)) as probe:
        try:
            probe.execute("PRAGMA locking_mode=EXCLUSIVE")
            probe.execute("BEGIN EXCLUSIVE")
            probe.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            return True
    return False


def _migrations(using: str = "default") -> list[str]:
    applied = MigrationRecorder(connections[using]).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in applied)


def _private(path: Path) -> IO[bytes]:
    """A new file that only this account may read."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b")


def _second_name(path: Path, second: Path) -> None:
    """A link, or a copy where the disk has no links."""
    try:
        os.link(path, second)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, second)


def _flush(path: Path) -> None:
    """Onto the disk: a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
