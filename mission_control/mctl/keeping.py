"""What `mctl` keeps in files: where the server is and the key for it, and which lease belongs to which folder.

Both hold secrets: they are written for their owner alone, and a file of keys that others can read is not used. Not: what
the secrets are for (client.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from .client import Lease

CONFIG = Path("mctl") / "config.json"
LEASES = Path("mctl") / "leases"


class Unusable(Exception):
    """A file that must not be used as it is, with what to do about it."""


def login() -> tuple[str, str]:
    """`(url, key)`: from the environment, then from the file. The key of the file goes to the server of the file alone."""
    url, key = os.environ.get("MISSION_CONTROL_URL", ""), os.environ.get("MISSION_CONTROL_KEY", "")
    if url and key:
        return url, key
    kept = _read(config_file())
    kept_url, kept_key = str(kept.get("url", "")), str(kept.get("key", ""))
    url = url or kept_url
    return url, key or (kept_key if url.rstrip("/") == kept_url else "")


def keep_login(url: str, key: str) -> Path:
    path = config_file()
    _write(path, {"url": url.rstrip("/"), "key": key})
    return path


def check_login() -> None:
    """Unusable where no login can be kept: asked before a key is made that is told only once."""
    path = config_file().with_suffix(".new")
    _write(path, {})
    path.unlink(missing_ok=True)


def config_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / CONFIG


# ── leases ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def lease(url: str) -> Lease | None:
    """That of this folder or the nearest one above it, at this server."""
    folder = Path.cwd()
    for place in (folder, *folder.parents):
        kept = _read(_lease_file(place))
        if kept.get("url") == url:
            return Lease(str(kept["task"]), int(kept["epoch"]), str(kept["token"]))
    return None


def keep_lease(url: str, lease: Lease) -> None:
    _write(_lease_file(Path.cwd()), {"url": url, **lease._asdict()})


def forget_lease(url: str, task: str) -> None:
    """Of this folder and those above it, wherever it is this task's."""
    folder = Path.cwd()
    for place in (folder, *folder.parents):
        path = _lease_file(place)
        kept = _read(path)
        if (kept.get("url"), kept.get("task")) == (url, task):
            path.unlink(missing_ok=True)  # another call may have been faster


def _lease_file(folder: Path) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / LEASES / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077 and sys.platform != "win32":
                raise Unusable(f"{path} can be read by others. Say: chmod 600 {path}")
            kept = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as wrong:
        raise Unusable(f"{path} cannot be read: {wrong.strerror}.") from None
    except (ValueError, RecursionError):
        raise Unusable(f"{path} is not what mctl wrote. Remove it and log in again.") from None
    return kept if isinstance(kept, dict) else {}


def _write(path: Path, kept: dict[str, Any]) -> None:
    """All of it or nothing, for the owner alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _put(path, kept)
    except OSError as wrong:
        raise Unusable(f"{path} cannot be written: {wrong.strerror}.") from None


def _put(path: Path, kept: dict[str, Any]) -> None:
    number, name = tempfile.mkstemp(dir=path.parent)  # 0600 from the beginning
    try:
        with open(number, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
