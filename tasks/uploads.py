"""Files that agents hand in: written and flushed to disk before the transaction that names them commits. Not: the rows.

The name on disk is ours; what the client called it is kept as text. A file whose transaction failed is removed again.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import secrets
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from mission_control.errors import NotThere, Refused

CHUNK = 1 << 16
LONGEST_NAME = 200


def store(code: str, file: Any) -> dict[str, Any]:
    """Write an uploaded file under MEDIA_ROOT and flush it; the columns of the deliverable that names it.

    Refused 413 beyond MAX_UPLOAD_BYTES.
    """
    if file.size > settings.MAX_UPLOAD_BYTES:
        raise Refused(f"A file may have {settings.MAX_UPLOAD_BYTES:,} bytes at most.", code="too_large", status=413)
    name = f"deliverables/{code}/{secrets.token_hex(16)}"
    path = Path(settings.MEDIA_ROOT) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    with path.open("xb") as target:
        while chunk := file.read(CHUNK):
            target.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        target.flush()
        os.fsync(target.fileno())
    _flush_folder(path.parent)
    filename = plain_name(file.name or "")
    return {
        "file": name, "size": size, "sha256": digest.hexdigest(), "filename": filename,
        "content_type": mimetypes.guess_type(filename)[0] or "application/octet-stream",
    }  # fmt: skip


def remove(name: str) -> None:
    """The transaction that would have named it failed."""
    (Path(settings.MEDIA_ROOT) / name).unlink(missing_ok=True)


def opened(name: str) -> BinaryIO:
    """A stored file for reading. NotThere when the disk lost it."""
    try:
        return (Path(settings.MEDIA_ROOT) / name).open("rb")
    except OSError:
        raise NotThere("The file of this deliverable is gone.") from None


def plain_name(name: str) -> str:
    """The last part of what the client called it, without anything that moves, hides or breaks a line."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(character for character in last if character.isprintable() and character not in '<>:"|?*')
    return kept.strip(" .")[-LONGEST_NAME:] or "file"


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
