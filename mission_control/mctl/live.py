"""`mctl watch` and `mctl board`: the log and the board in a terminal, as they change. Not: the stream (wire.py)."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time

from . import show
from .client import MissionControl
from .verbs import Call, Verb
from .wire import NOTHING_DONE, PERHAPS_DONE, Refused

GATHERED = 0.3  # seconds of changes that one drawing shows
AWAY = (0, *NOTHING_DONE, *PERHAPS_DONE)  # how a server answers that will come back
UNASKED = 15.0  # seconds until the board is drawn again without news
HOME, BELOW, HIDE, SHOW = "\x1b[H", "\x1b[J", "\x1b[?25l", "\x1b[?25h"
OTHER, BACK = "\x1b[?1049h", "\x1b[?1049l"


def watch(call: Call) -> int:
    """Until it is interrupted, or so many lines have come."""
    left = call.given.count
    since = call.given.since
    call.control.wire.call(
        "GET", "/activities", query={"limit": 1}
    )  # who is refused, or at a wrong address, hears it now
    while True:
        try:
            for event in call.control.watch(since):
                if call.given.about and event.get("task") != call.given.about:
                    continue
                text = show.as_json_line(event) if call.given.json else show.event(event)
                print(text, flush=True)
                left -= 1
                if left == 0:
                    return 0
        except Refused as refused:
            if refused.code != "cursor_too_old" or since is None:
                raise
            print(f"What came after {since} has been pruned: here is what comes now.", file=sys.stderr)
            since = refused.body.get("head")


def board(call: Call) -> int:
    """Drawn again with each change on a terminal; once where the output goes elsewhere."""
    control, venture = call.control, call.given.venture
    if call.given.json:
        print(show.as_json(_read(control, venture)))
        return 0
    if not sys.stdout.isatty() or call.given.once:
        print(drawn(_read(control, venture), shutil.get_terminal_size((120, 40)).columns, 10))
        return 0
    changed, ended = threading.Event(), []

    def listen() -> None:
        try:
            for _ in control.wire.events():
                changed.set()
        except Refused as refused:
            ended.append(refused)
            changed.set()

    told = _read(control, venture)  # what is refused is said before the screen is taken
    notice: list[str] = []
    threading.Thread(target=listen, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the screen is given back
    sys.stdout.write(OTHER + HIDE)
    try:
        while not ended:
            size = shutil.get_terminal_size((120, 40))
            lines = [*notice, *drawn(told, size.columns, max(3, size.lines // 2 - 4)).splitlines()]
            sys.stdout.write(HOME + "".join(f"{each}\x1b[K\n" for each in lines[: size.lines - 1]) + BELOW)
            sys.stdout.flush()
            _wait(changed, size)
            changed.clear()
            try:
                told, notice = _read(control, venture), []
            except Refused as refused:
                if refused.status not in AWAY:
                    raise
                notice = [show.cut(f"{refused.sentence} Trying again; this is how it was:", size.columns), ""]
    finally:
        sys.stdout.write(SHOW + BACK)
        sys.stdout.flush()
    raise ended[0]


def _wait(changed: threading.Event, size: os.terminal_size) -> None:
    """Until there is news, the terminal has another size, or it is time to look anyway."""
    until = time.monotonic() + UNASKED
    while time.monotonic() < until and shutil.get_terminal_size((120, 40)) == size:
        if changed.wait(GATHERED):
            time.sleep(GATHERED)
            return


def _read(control: MissionControl, venture: str) -> dict[str, object]:
    columns = []
    for column in control.columns(venture):
        cards = control.list(
            status=",".join(column["statuses"]), venture=venture, limit=30, ordering="-status_changed_at"
        )
        columns.append({**column, "tasks": cards})
    return {"columns": columns, "frozen": control.wire.call("GET", "/fleet/freeze")}


def drawn(told: dict, places: int, rows: int) -> str:
    """The board in so many places a line, at most so many cards a column. Columns stand beside each other where each
    gets 24 places, else in several rows."""
    columns = told["columns"]
    beside = max(1, min(len(columns), (places + 2) // 26))
    wide = (places - 2 * (beside - 1)) // beside
    lines = []
    if told["frozen"]["frozen"]:
        lines += [
            show.cut(
                f"FROZEN by {show.line(told['frozen']['frozen_by'])}: {show.line(told['frozen']['reason'])}", places
            ),
            "",
        ]
    for first in range(0, len(columns), beside):
        blocks = [_column(column, wide, rows) for column in columns[first : first + beside]]
        high = max(map(len, blocks))
        for n in range(high):
            pieces = [show.padded(block[n] if n < len(block) else "", wide) for block in blocks]
            lines.append("  ".join(pieces).rstrip())
        lines.append("")
    return "\n".join(lines).rstrip()


def _column(column: dict, wide: int, rows: int) -> list[str]:
    limit = f"/{column['limit']}" if column["limit"] else ""
    lines = [show.cut(f"{show.line(column['label'])} {column['count']}{limit}", wide), "─" * wide]
    for task in column["tasks"][:rows]:
        who = show.line(task["holder"] or task["assignee"] or "")
        how = f" {task['progress_percent']} %" if task["progress_percent"] is not None and task["holder"] else ""
        tail = f" {who}{how}".rstrip()
        title = show.cut(
            f"{show.SIGNS.get(task['status'], '?')} {show.line(task['title'])}", max(8, wide - show.width(tail))
        )
        lines.append(show.cut(show.padded(title, wide - show.width(tail)) + tail, wide))
    if column["count"] > rows:
        lines.append(f"and {column['count'] - min(rows, len(column['tasks']))} more")
    return lines


def _watched(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("about", nargs="?", default="", metavar="TASK", help="of this task alone")
    parser.add_argument("--since", type=int, help="begin behind this number of the log")
    parser.add_argument("--count", type=int, default=0, help="end after so many")


def _boarded(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--venture", default="", help="of this venture alone")
    parser.add_argument("--once", action="store_true", help="draw it once")


VERBS = (
    Verb("watch", "every change as it happens", _watched, watch),
    Verb("board", "the board, live in the terminal", _boarded, board),
)
