"""A language model on this machine that a script plays, behind the streaming APIs of two providers. Not: what it says.

Real agent programs are pointed at it. As with a real model every request holds the whole conversation and nothing is
remembered between two: the script is played from its beginning with what the tools have answered so far.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.receiving import Receiver

TOKENS_IN, TOKENS_OUT = 700, 30  # what each answer is said to have cost


@dataclass(frozen=True)
class Use:
    """One call of a tool that the program offers."""

    tool: str
    arguments: dict[str, Any]


@dataclass
class Conversation:
    """What the program sent: what it was asked, the tools that it offers, and what they answered, in order."""

    asked: str = ""
    tools: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    @property
    def spent(self) -> dict[str, int]:
        """What the conversation has cost with the answer that is being given."""
        turns = len(self.results) + 1
        return {"tokens_in": turns * TOKENS_IN, "tokens_out": turns * TOKENS_OUT}

    def tool(self, *endings: str) -> str:
        """The full name of the offered tool that ends so: programs put a server's name before those of its tools."""
        [name] = [name for name in self.tools if name.endswith(endings)]
        return name


Script = Callable[
    [Conversation], Generator[Use, str, str]
]  # yields calls, is sent their results, returns its last word


class ScriptedModel:
    """The server. `turns` counts what it said, `problems` holds what it could not answer."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.turns = 0
        self.problems: list[str] = []
        self.receiver = Receiver(self._answer)
        self.url = f"http://127.0.0.1:{self.receiver.port}"

    def close(self) -> None:
        self.receiver.close()

    def next(self, conversation: Conversation) -> Use | str:
        """What the model does in this conversation: a call, or its last word."""
        playing = self.script(conversation)
        try:
            step = next(playing)
            for result in conversation.results:
                step = playing.send(result)
        except StopIteration as end:
            return end.value
        return step

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        method, path, _, body = self.receiver.seen[-1]
        try:
            if path.endswith("/responses"):
                events = _as_responses(self.next(_of_responses(json.loads(body))), self.turns)
            elif ":streamGenerateContent" in path:
                events = _as_contents(self.next(_of_contents(json.loads(body))))
            else:
                raise LookupError(f"{method} {path} is no call of a model's API.")
            self.turns += 1
            status, kind, said = 200, "text/event-stream", events
        except Exception:
            self.problems.append(traceback.format_exc())
            status, kind, said = 400, "application/json", json.dumps({"error": {"message": self.problems[-1]}})
        content = said.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


# ── OpenAI: https://platform.openai.com/docs/api-reference/responses-streaming ──────────────────────────────────────


def _of_responses(body: dict[str, Any]) -> Conversation:
    items = body["input"]
    asked = [
        part["text"]
        for item in items
        if item["type"] == "message" and item["role"] == "user"
        for part in item["content"]
        if part["type"] == "input_text"
    ]
    results = [_plain(item["output"]) for item in items if item["type"] == "function_call_output"]
    return Conversation("\n".join(asked), [tool["name"] for tool in body["tools"] if "name" in tool], results)


def _as_responses(step: Use | str, turn: int) -> str:
    if isinstance(step, Use):
        item = {
            "type": "function_call", "call_id": f"call_{turn}", "name": step.tool,
            "arguments": json.dumps(step.arguments),
        }  # fmt: skip
    else:
        item = {
            "type": "message", "role": "assistant", "id": f"msg_{turn}",
            "content": [{"type": "output_text", "text": step}],
        }  # fmt: skip
    usage = {
        "input_tokens": TOKENS_IN, "input_tokens_details": None, "output_tokens": TOKENS_OUT,
        "output_tokens_details": None, "total_tokens": TOKENS_IN + TOKENS_OUT,
    }  # fmt: skip
    events = (
        {"type": "response.created", "response": {"id": f"resp_{turn}"}},
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"id": f"resp_{turn}", "usage": usage}},
    )
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


# ── Google: https://ai.google.dev/api/generate-content ──────────────────────────────────────────────────────────────


def _of_contents(body: dict[str, Any]) -> Conversation:
    parts = [part for content in body["contents"] if content["role"] == "user" for part in content["parts"]]
    declared = [one["name"] for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())]
    return Conversation(
        "\n".join(part["text"] for part in parts if "text" in part), declared,
        [_plain(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part],
    )  # fmt: skip


def _as_contents(step: Use | str) -> str:
    if isinstance(step, Use):
        part: dict[str, Any] = {"functionCall": {"name": step.tool, "args": step.arguments}}
    else:
        part = {"text": step}
    answer = {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": TOKENS_IN, "candidatesTokenCount": TOKENS_OUT, "totalTokenCount": TOKENS_IN + TOKENS_OUT,
        },
    }  # fmt: skip
    return f"data: {json.dumps(answer)}\n\n"


def _plain(output: Any) -> str:
    """What a tool answered, as text: programs wrap it, each in its own way."""
    if isinstance(output, dict) and list(map(type, output.values())) == [str]:
        [output] = output.values()
    return output if isinstance(output, str) else json.dumps(output)
