"""What a browser has to fetch for the board: the page and every file it names, in bytes as they are sent."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from tests.bench.board import FEW, Visitor
from tests.bench.report import Fact, Row
from tests.bench.stand import Failed, Stand

NAMED_BY_PAGE = re.compile(r'(?:src|href|data-sortable)="(/static/[^"#?]+)')
NAMED_BY_STYLE = re.compile(r"url\(\s*[\"']?([^\"')#]+)|@import\s+[\"']([^\"']+)")
NAMED_BY_SCRIPT = re.compile(r"(?:from|import)\s*\(?\s*[\"']([^\"']+\.js)[\"']")
WANTED_KB = 120


def measure(stand: Stand) -> Iterator[Row | Fact]:
    """The board of ten thousand tasks: every column has its first fifty cards."""
    database = stand.loaded("sqlite", FEW)
    with database.inside() as inside, database.served() as server:
        visitor = Visitor(server, inside("session"))
        sizes = {"/": len(visitor.ask("/")[2])}
        same: dict[bytes, list[str]] = {}
        page = visitor.ask("/", **{"Accept-Encoding": "identity"})[2].decode()
        todo = list(dict.fromkeys(NAMED_BY_PAGE.findall(page)))
        while todo:
            path = todo.pop()
            if path in sizes:
                continue
            _, headers, sent = visitor.ask(path)
            sizes[path] = len(sent)
            content = visitor.ask(path, **{"Accept-Encoding": "identity"})[2]
            same.setdefault(content, []).append(path)
            todo += _named(path, headers.get("content-type", ""), content)
    files = sorted(sizes.items(), key=lambda item: -item[1])
    total = sum(sizes.values()) / 1024
    yield Row(
        "page with all that it names, compressed",
        total,
        "KB",
        WANTED_KB,
        detail=f"{len(files)} files, {len(page) // 1024} KB of HTML before compression",
    )
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


def _named(path: str, kind: str, content: bytes) -> list[str]:
    """The files that a style sheet or a script names, as absolute paths."""
    if "css" in kind:
        found = [first or second for first, second in NAMED_BY_STYLE.findall(content.decode())]
    elif "javascript" in kind:
        found = NAMED_BY_SCRIPT.findall(content.decode())
    else:
        return []
    folder = posixpath.dirname(path)
    paths = [posixpath.normpath(posixpath.join(folder, name)) for name in found if not name.startswith("data:")]
    return [each for each in paths if each.startswith("/static/")]


def _plain(path: str) -> str:
    """Without the checksum in its name."""
    return re.sub(r"\.[0-9a-f]{12}(?=\.)", "", path)
