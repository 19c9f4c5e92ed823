"""How a file that was handed over is shown beside the task: by its ending, never by what its author says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.utils.safestring import SafeString

from mission_control.errors import NotThere
from mission_control.markdown import rendered
from tasks import uploads
from tasks.models import Deliverable

PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
TEXTS = {"txt", "md", "log", "csv", "json", "jsonl", "yaml", "yml", "toml", "py", "js", "ts", "css", "html", "sh", "sql", "diff", "patch"}  # fmt: skip
MOST = 64 * 1024  # bytes of a text that are shown beside the task; the whole opens in its own tab
SIGNS = {"+": "added", "-": "removed", "@": "place"}


def kind_shown(row: Deliverable) -> str:
    """The content type under which a file may be shown; "" for none."""
    ending = _ending(row)
    if ending in PICTURES:
        return PICTURES[ending]
    return "text/plain; charset=utf-8" if ending in TEXTS else ""


@dataclass(frozen=True)
class Preview:
    """One of the four is set: `picture` (an address), `prose` (safe HTML), `diff` (lines, each with what it is), `text`.

    `cut`: only the beginning is here. `gone`: the file is no longer on the disk.
    """

    picture: str = ""
    prose: SafeString | str = ""
    diff: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    cut: bool = False
    gone: bool = False


def preview(row: Deliverable, opens: str) -> Preview:
    """`opens`: the address that gives the file itself. Reads at most MOST bytes."""
    ending = _ending(row)
    if ending in PICTURES:
        return Preview(picture=opens)
    try:
        with uploads.opened(row.file.name or "") as file:
            raw = file.read(MOST + 1)
    except NotThere:
        return Preview(gone=True)
    text, cut = raw[:MOST].decode("utf-8", "replace").replace("\x00", "\ufffd"), len(raw) > MOST
    if ending == "md":
        return Preview(prose=rendered(text), cut=cut)
    if ending in ("diff", "patch"):
        return Preview(diff=[(_sign(one), one) for one in text.splitlines()], cut=cut)
    return Preview(text=text or "The file is empty.", cut=cut)


def _sign(text: str) -> str:
    return "" if text.startswith(("+++", "---")) else SIGNS.get(text[:1], "")


def _ending(row: Deliverable) -> str:
    return row.filename.rsplit(".", 1)[-1].lower() if "." in row.filename else ""
