"""What may be asked of the runner, and how known agents are started. Not: the running (runner.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

LEASE_SECONDS = 120
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")

PRESETS: dict[str, list[str]] = {
    "claude": ["claude", "--print", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits"],
    "codex": ["codex", "exec", "--json", "--sandbox", "workspace-write"],
    "gemini": ["gemini", "--output-format", "stream-json", "--approval-mode", "auto_edit"],
    "openclaw": [
        "openclaw", "agent", "--local", "--json", "--session-id", "mission-control-{task}-{attempt}",
        "--message", "Read {context} and do the task in it. Work in {folder} alone.",
    ],
    "shell": ["/bin/sh", "-eu", "-c"],
}  # fmt: skip


@dataclass
class Options:
    """What was asked on the command line. `repositories`: folder by the slug of a venture, "" for all others."""

    agent: str
    command: list[str]
    parallel: int = 1
    repositories: dict[str, Path] = field(default_factory=dict)
    minutes: float = 0.0  # 0: no limit
    tokens: int = 0
    lease_seconds: int = LEASE_SECONDS
    grace: float = 3.0
    finish: float = 30.0
    call_back: bool = False
    preset: str = ""
    folder: Path = Path()
    tasks: int = 0
