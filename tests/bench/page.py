"""What a browser has to fetch for the board: the page and the files it names, in bytes as they are sent.

Two figures: what is fetched at once, and what a script loads when somebody first wants it (a drag, the palette, …).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from tests.bench.board import FEW, Visitor
from tests.bench.report import Fact, Row
from tests.bench.stand import Failed, Stand

NAMED_BY_PAGE = re.compile(r'(?:src|href)="(/static/[^"#?]+)')
WANTED_LATER = re.compile(r'data-sortable="(/static/[^"#?]+)')
NAMED_BY_STYLE = re.compile(r"url\(\s*[\"']?([^\"')#]+)|@import\s+[\"']([^\"']+)")
NAMED_BY_SCRIPT = re.compile(r"(?:from|import)\s*[\"']([^\"']+\.js)[\"']")
LOADED_BY_SCRIPT = re.compile(r"import\(\s*[\"']([^\"']+\.js)[\"']")
WANTED_KB = 120


def measure(stand: Stand) -> Iterator[Row | Fact]:
    """The board of ten thousand tasks: every column has its first fifty cards."""
    database = stand.loaded("sqlite", FEW)
    with database.inside() as inside, database.served() as server:
        visitor = Visitor(server, inside("session"))
        page = visitor.ask("/", **{"Accept-Encoding": "identity"})[2].decode()
        same: dict[bytes, list[str]] = {}
        later = WANTED_LATER.findall(page)
        at_once = _fetched(visitor, NAMED_BY_PAGE.findall(page), same, later)
        at_once["/"] = len(visitor.ask("/")[2])
        loaded = _fetched(visitor, later, same, later, but=at_once)
    yield Row(
        "page with all that is fetched at once, compressed",
        sum(at_once.values()) / 1024,
        "KB",
        WANTED_KB,
        detail=f"{len(at_once)} files, {len(page) // 1024} KB of HTML before compression",
    )
    yield Row("loaded when first wanted", sum(loaded.values()) / 1024, "KB", detail=f"{len(loaded)} files")
    files = sorted(at_once.items(), key=lambda item: -item[1])
    for path, size in files:
        if size > 1024:
            yield Row(f"  {_plain(path)}", size / 1024, "KB")
    small = [size for _, size in files if size <= 1024]
    if small:
        yield Row(f"  {len(small)} files up to 1 KB", sum(small) / 1024, "KB")
    twice = [paths for paths in same.values() if len(paths) > 1]
    yield Fact("no file is fetched under two names", not twice, "; ".join(" = ".join(paths) for paths in twice))
    if not page.count('data-code="'):
        raise Failed("the board shows no card")


def _fetched(
    visitor: Visitor, paths: list[str], same: dict[bytes, list[str]], later: list[str], but: Iterable[str] = ()
) -> dict[str, int]:
    """Path → bytes as sent of these files and of all that they name. Adds to `later` what they load when it is wanted."""
    sizes: dict[str, int] = {}
    todo = list(paths)
    while todo:
        path = todo.pop()
        if path in sizes or path in but:
            continue
        _, headers, sent = visitor.ask(path)
        sizes[path] = len(sent)
        content = visitor.ask(path, **{"Accept-Encoding": "identity"})[2]
        same.setdefault(content, []).append(path)
        kind = headers.get("content-type", "")
        if "css" in kind:
            todo += _absolute(path, [first or second for first, second in NAMED_BY_STYLE.findall(content.decode())])
        elif "javascript" in kind:
            todo += _absolute(path, NAMED_BY_SCRIPT.findall(content.decode()))
            wanted = _absolute(path, LOADED_BY_SCRIPT.findall(content.decode()))
            (todo if later is paths else later).extend(wanted)
    return sizes


def _absolute(path: str, found: list[str]) -> list[str]:
    """The files that a style sheet or a script names, as absolute paths."""
    folder = posixpath.dirname(path)
    paths = [posixpath.normpath(posixpath.join(folder, name)) for name in found if not name.startswith("data:")]
    return [each for each in paths if each.startswith("/static/")]


def _plain(path: str) -> str:
    """Without the checksum in its name."""
    return re.sub(r"\.[0-9a-f]{12}(?=\.)", "", path)
