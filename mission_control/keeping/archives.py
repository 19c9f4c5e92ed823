"""tar.gz archives: written with plain members only, and read without trusting them. Not: what is in which.

A member is a regular file with a relative name. On reading, a link, a device, a name that leads elsewhere, two of one name, or
more than a limit of files or of unpacked bytes is refused before any of it is kept, so nothing is ever unpacked to disk here.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mission_control.errors import Refused

MOST_FILES = 10_000
MOST_BYTES = 200_000_000  # unpacked, headers too
MOST_IN_ONE = 10_000_000
NAME_MOST = 240


class Unfit(Refused):
    """This archive is none that anybody should unpack."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The archive cannot be used: {why}.", code="bad_archive", status=400)


def write(target: IO[bytes], members: Iterable[tuple[str, bytes | Path]], moment: datetime) -> int:
    """Write the members as regular files of mode 600; how many bytes they have unpacked. ValueError: an unfit name.

    A path is read without following a link at its end.
    """
    total, seen = 0, set()
    with (
        gzip.GzipFile(fileobj=target, mode="wb", mtime=int(moment.timestamp())) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in members:
            if not is_plain(name) or name in seen:
                raise ValueError(f"{name!r} is no name in an archive")
            seen.add(name)
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = 0o600, int(moment.timestamp())
            with _opened(content) as file:
                member.size = file.seek(0, os.SEEK_END)
                file.seek(0)
                archive.addfile(member, file)
            total += member.size
    return total


def read(source: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """`(name, content)` of each member, in order. Unfit: the archive is damaged, or holds what `write` never would."""
    seen: set[str] = set()
    try:
        with gzip.GzipFile(fileobj=source) as unpacked, _tar(unpacked) as archive:
            for member in archive:
                if member.isdir() and is_plain(member.name.rstrip("/")):
                    continue
                if not member.isreg() or member.issparse():
                    raise Unfit(f"{member.name[:80]!r} is no plain file")
                if not is_plain(member.name) or member.name in seen:
                    raise Unfit(f"{member.name[:80]!r} is no name in an archive, or stands twice")
                if member.size > MOST_IN_ONE:
                    raise Unfit(f"{member.name!r} has more than {MOST_IN_ONE:,} bytes")
                seen.add(member.name)
                if len(seen) > MOST_FILES:
                    raise Unfit(f"it holds more than {MOST_FILES:,} files")
                file = archive.extractfile(member)
                assert file is not None
                yield member.name, file.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError) as error:
        raise Unfit(f"it is damaged ({type(error).__name__})") from None


def is_plain(name: str) -> bool:
    """Whether a name stays inside the folder that it is unpacked to, on every system."""
    parts = PurePosixPath(name).parts
    return (
        0 < len(name) <= NAME_MOST
        and "/".join(parts) == name
        and not name.startswith("/")
        and all(part not in ("..", ".") and part.isprintable() and not set(part) & set('\\:*?"<>|') for part in parts)
    )


def _tar(unpacked: gzip.GzipFile) -> tarfile.TarFile:
    limited: Any = _Limited(unpacked)
    return tarfile.open(fileobj=limited, mode="r|")


class _Limited:
    """What is unpacked, up to the limit: a few kilobytes can stand for gigabytes."""

    def __init__(self, file: Any) -> None:
        self.file, self.left = file, MOST_BYTES

    def read(self, size: int = -1) -> bytes:
        chunk: bytes = self.file.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(chunk)
        if self.left < 0:
            raise Unfit(f"it has more than {MOST_BYTES:,} bytes unpacked")
        return chunk


def _opened(content: bytes | Path) -> IO[bytes]:
    if isinstance(content, bytes):
        return BytesIO(content)
    return os.fdopen(os.open(content, os.O_RDONLY | os.O_NOFOLLOW), "rb")
