"""`mctl work` whose calls are kept as a history for the checker: `told_runner.py HISTORY work --agent SLUG … -- COMMAND`.

Not: the runner itself, which knows nothing of this.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import secrets
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mission_control.mctl import cli, wire
from tasks.demo.fleet_client import History

VERBS = ("claim", "heartbeat", "progress", "complete", "fail", "release", "block")


def told(history: History, agent: str) -> None:
    """From now on each sending of a call is two lines: that it went out, and what came of it."""
    once, name = wire.Wire._once, f"{agent}.{secrets.token_hex(4)}"
    sent: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def keep(
        self: wire.Wire, method: str, target: str, raw: bytes | None, headers: dict[str, str], seconds: float
    ) -> Any:
        operation = headers.get("Idempotency-Key") or secrets.token_hex(8)
        with lock:
            sent[operation] += 1
            about = {"op": operation, "nth": sent[operation]}
        pieces = target.split("?")[0].split("/")
        verb = pieces[-1] if method == "POST" and pieces[-1] in VERBS else "other"
        body = None
        with contextlib.suppress(ValueError):
            body = json.loads(raw or b"")
        epoch = headers.get("X-Lease-Epoch")
        history.add(
            "call", **about, client=name, agent=agent, verb=verb, method=method, path=target, body=body,
            key=headers.get("Idempotency-Key", ""), epoch=int(epoch) if epoch else None,
            task=pieces[4] if len(pieces) > 5 else "",
        )  # fmt: skip
        try:
            status, named, content = once(self, method, target, raw, headers, seconds)
        except wire.LOST as lost:
            history.add("lost", **about, why=str(lost))
            raise
        history.add_answer(
            content, **about, status=status, replayed=named.get("idempotent-replayed") == "true",
            retry_after=named.get("retry-after"),
        )  # fmt: skip
        return status, named, content

    wire.Wire._once = keep  # type: ignore[method-assign]
    history.add("client", client=name, agent=agent, pid=os.getpid(), url="")


if __name__ == "__main__":
    told(History(sys.argv[1]), sys.argv[sys.argv.index("--agent") + 1])
    sys.exit(cli.main(sys.argv[2:]))
