"""Reads what a command prints: plain lines, `PROGRESS: 40 text`, and the JSON events of coding agents. Not: what becomes
of it (runner.py).

Every line is taken as something a stranger wrote: what is not understood is a plain line, what is out of bounds is not
there, and nothing raises. What is kept of it is printable text without secrets, also where JSON spelled it otherwise.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

MOST_LINE = 1_000_000  # characters; of a longer one only the beginning is read
MOST_MESSAGE = 500
MOST_SUMMARY = 20_000
MOST_TOKENS = 10**12
MOST_COST = Decimal(1_000_000)  # USD
MOST_TURNS = 10_000  # whose tokens are counted one by one
TAIL_LINES = 20
LEAST_OF_SECRET = 4  # letters of one at the end of an unfinished text that are taken for its beginning
INPUTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
PARTS = ("input", "cacheRead", "cacheWrite")  # where none of those is: beside them, Gemini counts `input` once more

_PROGRESS = re.compile(r"PROGRESS:\s*(\d{1,3})\s*%?(?:\s+(.*))?", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_PLACES = Decimal("0.000001")


@dataclass(frozen=True)
class Progress:
    """One thing to tell: how far it is in percent, if it said so, and a line of text."""

    percent: int | None
    message: str


@dataclass
class _Document:
    """The lines of one that is not at its end, and how many characters it may still have."""

    lines: list[str]
    room: int


class Output:
    """What one attempt has said so far. `tokens_in`, `tokens_out` and `cost` (USD) are totals, `cost` None while unknown.

    `summary` is what an agent said at its end, `error` why it gave up although its exit code may say otherwise.
    """

    def __init__(self, *secrets: str) -> None:
        self.secrets = [secret for secret in secrets if secret]
        self.tokens_in = self.tokens_out = 0
        self.cost: Decimal | None = None
        self.model = ""
        self.summary = ""
        self.error = ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._counted: dict[str, tuple[int, int]] = {}
        self._documents: dict[str, _Document] = {}
        self._pieces = ""

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def feed(self, raw: bytes, stream: str = "") -> Progress | None:
        """Read one line of this stream; what it says about how far the work is."""
        line = self._cleaned(raw.decode("utf-8", "replace"))
        if stream in self._documents or line == "{":
            return self._gather(line, stream)
        if not line.strip():
            return None
        event = _parsed(line) if line.lstrip().startswith("{") else None
        if event is not None:
            return self._event(event)
        self.tail.append(line[:MOST_MESSAGE])
        said = _PROGRESS.fullmatch(line.strip())
        if said:
            return Progress(min(100, int(said[1])), (said[2] or "").strip()[:MOST_MESSAGE])
        return Progress(None, line.strip()[:MOST_MESSAGE])

    def _cleaned(self, line: str) -> str:
        line = _ESCAPES.sub("", line[:MOST_LINE].rstrip("\r\n"))
        line = "".join(char for char in line if char == "\t" or char.isprintable())
        for secret in self.secrets:  # at the end: what was taken out may have stood in the middle of one
            line = line.replace(secret, "[key]")
        return line

    def end(self) -> None:
        """Nothing more comes: what began like a document and has no end was plain lines."""
        for document in self._documents.values():
            self.tail.extend(line[:MOST_MESSAGE] for line in document.lines if line.strip())
        self._documents.clear()

    def _gather(self, line: str, stream: str) -> Progress | None:
        """A document printed over many lines: from a line `{` to a line `}`."""
        document = self._documents.setdefault(stream, _Document([], MOST_LINE))
        document.lines.append(line)
        document.room -= len(line) + 1
        if line != "}" and document.room > 0:
            return None
        event = _parsed("\n".join(document.lines))
        if event is None:
            self.end()
            return None
        del self._documents[stream]
        return self._event(event)

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _event(self, event: dict[str, Any]) -> Progress | None:
        kind = event.get("type")
        self.model = self._line(event.get("model"))[:120] or self.model
        if kind != "message":
            self._pieces = ""
        if kind == "assistant":
            return self._of_claude(_table(event.get("message")))
        if kind == "result":
            self._result(event)
        elif kind in ("item.started", "item.completed"):
            return self._of_codex(_table(event.get("item")))
        if kind == "turn.completed":
            self._count(_table(event.get("usage")))
        elif kind == "turn.failed":
            self.error = self._text(_table(event.get("error")).get("message"))[:MOST_MESSAGE] or "It reported an error."
        elif kind == "error":  # Codex that connects again, Gemini that warns: the end says whether it was the end
            self.tail.append(self._text(event.get("message"))[:MOST_MESSAGE] or "It reported an error.")
            return Progress(None, self.tail[-1])
        elif kind == "message" and event.get("role") == "assistant":
            return (
                self._in_pieces(event.get("content"))
                if event.get("delta") is True
                else self._said(event.get("content"))
            )
        elif kind == "tool_use":
            return self._tool(event.get("tool_name") or event.get("name"))
        elif kind is None:
            self._whole(event)
        return None

    def _of_claude(self, message: dict[str, Any]) -> Progress | None:
        """A turn of Claude Code. One turn may come in several events, each with the usage of the whole turn."""
        usage = _usage(_table(message.get("usage")))
        name = self._line(message.get("id"))[:120] or str(len(self._counted))
        if usage and (name in self._counted or len(self._counted) < MOST_TURNS):
            before = self._counted.get(name, (0, 0))
            self._counted[name] = usage
            self.tokens_in = max(0, self.tokens_in + usage[0] - before[0])
            self.tokens_out = max(0, self.tokens_out + usage[1] - before[1])
        self.model = self._line(message.get("model"))[:120] or self.model
        told = None
        content = message.get("content")
        for piece in content if isinstance(content, list) else []:
            part = _table(piece)
            if part.get("type") == "text":
                told = self._said(part.get("text")) or told
            elif part.get("type") == "tool_use":
                told = self._tool(part.get("name")) or told
        return told

    def _of_codex(self, item: dict[str, Any]) -> Progress | None:
        kind = item.get("type") or item.get("item_type")
        if kind in ("agent_message", "assistant_message"):
            return self._said(item.get("text"))
        if kind == "command_execution":
            return self._tool(item.get("command"))
        return self._tool(kind) if kind in ("file_change", "mcp_tool_call", "web_search") else None

    def _result(self, event: dict[str, Any]) -> None:
        """The last word of Claude Code and of Gemini."""
        self._count(_table(event.get("usage")) or _table(event.get("stats")))
        cost = _cost(event.get("total_cost_usd"))
        self.cost = cost if cost is not None else self.cost
        said = self._text(event.get("result"))
        if (
            event.get("is_error") is True
            or event.get("status") == "error"
            or self._text(event.get("subtype"))[:6] == "error_"
        ):
            told = self._text(_table(event.get("error")).get("message")) or said or self._text(event.get("subtype"))
            self.error = told[:MOST_MESSAGE] or "It reported an error."
        elif said:
            self.summary = said[:MOST_SUMMARY]

    def _whole(self, document: dict[str, Any]) -> None:
        """One document for the whole run: OpenClaw's `--json`, Gemini's `--output-format json`."""
        inner = _table(document.get("result")) or document
        payloads = inner.get("payloads")
        if isinstance(payloads, list):
            said = "\n\n".join(filter(None, (self._text(_table(payload).get("text")) for payload in payloads)))
            self.summary = said[:MOST_SUMMARY] or self.summary
            if any(_table(payload).get("isError") is True for payload in payloads):
                self.error = said[:MOST_MESSAGE] or "It reported an error."
            about = _table(_table(inner.get("meta")).get("agentMeta"))
            self._count(_table(about.get("usage")))
            self.model = self._line(about.get("model"))[:120] or self.model
        elif "response" in document:
            self.summary = self._text(document["response"])[:MOST_SUMMARY] or self.summary
            models = _table(_table(document.get("stats")).get("models"))
            used = [_table(_table(model).get("tokens")) for model in models.values()]
            self.tokens_in = sum(_whole(tokens.get("prompt")) for tokens in used) or self.tokens_in
            self.tokens_out = sum(_whole(tokens.get("candidates")) for tokens in used) or self.tokens_out
        failed = document.get("error")
        if failed:
            told = self._text(_table(failed).get("message")) or self._text(failed)
            self.error = told[:MOST_MESSAGE] or "It reported an error."

    def _count(self, usage: dict[str, Any]) -> None:
        counted = _usage(usage)
        if counted:
            self.tokens_in, self.tokens_out = counted

    def _in_pieces(self, text: Any) -> Progress | None:
        """A message that comes bit by bit: told line by line, kept as a whole."""
        before = self._pieces.count("\n")
        self._pieces = (self._pieces + (text if isinstance(text, str) else ""))[:MOST_SUMMARY]
        whole = self._said(self._without_beginnings(self._pieces))
        return whole if self._pieces.count("\n") > before or not before else None

    def _said(self, text: Any) -> Progress | None:
        text = self._text(text).strip()
        if not text:
            return None
        self.summary = text[:MOST_SUMMARY]
        for line in reversed(text.splitlines()):
            said = _PROGRESS.fullmatch(line.strip())
            if said:
                return Progress(min(100, int(said[1])), (said[2] or "").strip()[:MOST_MESSAGE])
        return Progress(None, text.splitlines()[0][:MOST_MESSAGE])

    def _tool(self, name: Any) -> Progress | None:
        name = self._line(name)
        return Progress(None, f"Runs {name}"[:MOST_MESSAGE]) if name else None

    def _text(self, value: Any) -> str:
        """A string of an event without what a line may not hold, its lines kept; empty for what is none."""
        return "\n".join(map(self._cleaned, value.split("\n"))) if isinstance(value, str) else ""

    def _line(self, value: Any) -> str:
        return " ".join(self._text(value).split())

    def _without_beginnings(self, text: str) -> str:
        """Text that goes on: a secret may have begun at its end."""
        for secret in self.secrets:
            for length in range(len(secret) - 1, LEAST_OF_SECRET - 1, -1):
                if text.endswith(secret[:length]):
                    text = f"{text[:-length]}[key]"
                    break
        return text


def _parsed(text: str) -> dict[str, Any] | None:
    """A JSON object, with exact decimals; None for anything else."""
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=lambda name: None)
    except (ValueError, RecursionError, ArithmeticError):
        return None
    return value if isinstance(value, dict) else None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _cost(value: Any) -> Decimal | None:
    """USD to the micro-dollar; None for what is none."""
    if type(value) not in (int, Decimal) or not 0 <= value <= MOST_COST:
        return None
    return Decimal(value).quantize(_PLACES)


def _usage(usage: dict[str, Any]) -> tuple[int, int] | None:
    """Tokens in and out under the names that the agents use; what was read from a cache counts as in."""
    given, parts = (sum(_whole(usage.get(name)) for name in names) for names in (INPUTS, PARTS))
    given = given or parts
    made = _whole(usage.get("output_tokens")) or _whole(usage.get("output"))
    return (given, made) if given or made else None
