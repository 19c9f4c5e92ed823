"""Archives hold plain files with plain names, when they are written and when somebody else's are read."""

import gzip
import io
import os
import tarfile
from datetime import UTC, datetime

import pytest

from mission_control.keeping import archives
from mission_control.keeping.archives import Unfit

MOMENT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def written(*members) -> io.BytesIO:
    target = io.BytesIO()
    archives.write(target, members, MOMENT)
    target.seek(0)
    return target


def of_others(*members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> io.BytesIO:
    """An archive as a stranger would build it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    target.seek(0)
    return target


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_what_was_written_is_read_again(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"from a file")
    archive = written(("a/b.txt", b"text"), ("a/c", path), ("ä/€", b""))
    assert list(archives.read(archive)) == [("a/b.txt", b"text"), ("a/c", b"from a file"), ("ä/€", b"")]


def test_the_same_content_makes_the_same_bytes():
    assert written(("a", b"x")).getvalue() == written(("a", b"x")).getvalue()


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "./a", "a/", "C:\\x", "a\nb", "x" * 300]
)
def test_a_name_that_leads_elsewhere_is_neither_written_nor_read(name):
    with pytest.raises(ValueError, match="no name"):
        written((name, b"x"))
    with pytest.raises(Unfit):
        list(archives.read(of_others((name, b"x"))))


def test_a_link_is_not_followed_on_writing(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError):
        written(("a", tmp_path / "link"))


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../../x"), (tarfile.CHRTYPE, ""), (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""), (tarfile.GNUTYPE_SPARSE, ""),
    ],
)  # fmt: skip
def test_links_devices_and_sparse_files_are_refused(kind, target):
    with pytest.raises(Unfit):
        list(archives.read(of_others(("a", b"x"), special("b", kind, target))))


def test_two_members_of_one_name_are_refused():
    with pytest.raises(Unfit, match="twice"):
        list(archives.read(of_others(("a", b"x"), ("a", b"y"))))


def test_a_bomb_is_refused_before_it_fills_the_memory(monkeypatch):
    with pytest.raises(Unfit, match="bytes"):
        list(archives.read(of_others(("a", b"\0" * 20_000_000))))
    monkeypatch.setattr(archives, "MOST_BYTES", 3_000_000)
    with pytest.raises(Unfit, match="3,000,000"):
        list(archives.read(of_others(*((str(n), b"\0" * 1_000_000) for n in range(5)))))


def test_a_header_that_promises_gigabytes_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 3_000_000)
    header = special("long", tarfile.XHDTYPE)
    header.size = 4_000_000_000
    with pytest.raises(Unfit):
        list(archives.read(io.BytesIO(gzip.compress(header.tobuf() + b"x" * 10_000_000))))


def test_more_files_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(Unfit, match="more than 3 files"):
        list(archives.read(of_others(*((str(n), b"") for n in range(5)))))


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", os.urandom(2000), gzip.compress(b"no tar" * 500), gzip.compress(b"x")[:-4]],
    ids=["empty", "text", "noise", "no tar within", "cut off"],  # noise and the moment within gzip differ by process
)
def test_what_is_no_archive_is_refused(content):
    with pytest.raises(Unfit):
        list(archives.read(io.BytesIO(content)))


def test_an_archive_that_was_cut_off_is_refused():
    whole = of_others(("a", os.urandom(100_000))).getvalue()
    with pytest.raises(Unfit):
        list(archives.read(io.BytesIO(whole[: len(whole) // 2])))
