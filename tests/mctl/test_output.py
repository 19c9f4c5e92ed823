"""What the runner understands of a command's output: plain lines, progress, and the events of coding agents."""

import json
from decimal import Decimal

import pytest

from mission_control.mctl.output import MOST_MESSAGE, Output, Progress

pytestmark = pytest.mark.once


def read(*lines, secrets=()):
    output = Output(*secrets)
    return output, [said for said in (output.feed(line.encode() + b"\n") for line in lines) if said]


@pytest.mark.parametrize(
    ("line", "percent", "message"),
    [
        ("Counts the feet", None, "Counts the feet"),
        ("PROGRESS: 40 first draft", 40, "first draft"),
        ("progress: 40% first draft", 40, "first draft"),
        ("PROGRESS: 7", 7, ""),
        ("PROGRESS: 999 more than all", 100, "more than all"),
        ("PROGRESS: -3 less than nothing", None, "PROGRESS: -3 less than nothing"),
        ("\x1b[31mred\x1b[0m and \x1b]0;title\x07plain", None, "red and plain"),
        ("x" * 5000, None, "x" * MOST_MESSAGE),
        ("{not json", None, "{not json"),
    ],
)
def test_a_plain_line_is_told_as_it_is_and_a_line_of_progress_as_a_number(line, percent, message):
    assert read(line)[1] == [Progress(percent, message)]


def test_a_secret_is_told_nowhere():
    output, said = read(
        "the key is mc_abc123",
        '{"type": "result", "subtype": "success", "is_error": false, "result": "mc_abc123"}',
        secrets=["mc_abc123"],
    )
    assert said == [Progress(None, "the key is [key]")]
    assert list(output.tail) == ["the key is [key]"]
    assert output.summary == "[key]"


def a_turn_of_claude(name, part):
    usage = {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5}
    return json.dumps({"type": "assistant", "message": {"id": name, "content": [part], "usage": usage}})


def test_the_stream_of_claude_code_gives_steps_tokens_cost_and_summary():
    output, said = read(
        '{"type": "system", "subtype": "init", "session_id": "s1", "model": "claude-sonnet-4-5", "tools": ["Bash"]}',
        a_turn_of_claude("m1", {"type": "text", "text": "I look around."}),
        a_turn_of_claude("m1", {"type": "tool_use", "name": "Bash", "input": {}}),
        '{"type": "user", "message": {"content": [{"type": "tool_result", "content": "ok"}]}}',
        a_turn_of_claude("m2", {"type": "text", "text": "Half.\nPROGRESS: 50 half"}),
    )
    assert said == [Progress(None, "I look around."), Progress(None, "Runs Bash"), Progress(50, "half")]
    assert (output.tokens_in, output.tokens_out, output.cost) == (200, 10, None), "a turn in two events counts once"
    output.feed(
        b'{"type": "result", "subtype": "success", "is_error": false, "result": "Written.", "total_cost_usd": 0.0123456789,'
        b' "usage": {"input_tokens": 20, "cache_creation_input_tokens": 300, "output_tokens": 12}}\n'
    )
    assert (output.tokens_in, output.tokens_out, output.cost) == (320, 12, Decimal("0.012346"))
    assert (output.summary, output.model, output.error) == ("Written.", "claude-sonnet-4-5", "")
    output.feed(b'{"type": "result", "subtype": "error_max_turns", "is_error": false, "num_turns": 30}\n')
    assert output.error == "error_max_turns"


def test_the_stream_of_codex_gives_steps_tokens_and_summary():
    output, said = read(
        '{"type": "thread.started", "thread_id": "t"}',
        '{"type": "turn.started"}',
        '{"type": "item.started", "item": {"id": "i1", "type": "command_execution", "command": "ls -la"}}',
        '{"type": "item.completed", "item": {"id": "i2", "type": "agent_message", "text": "Two files."}}',
        '{"type": "turn.completed", "usage": {"input_tokens": 700, "cached_input_tokens": 600, "output_tokens": 30}}',
    )
    assert said == [Progress(None, "Runs ls -la"), Progress(None, "Two files.")]
    assert (output.tokens, output.summary) == (730, "Two files.")
    assert output.feed(b'{"type": "error", "message": "Reconnecting 1/5"}') == Progress(None, "Reconnecting 1/5")
    assert (output.error, output.tail[-1]) == ("", "Reconnecting 1/5"), "what it recovers from is no failure"
    output.feed(b'{"type": "turn.failed", "error": {"message": "stream disconnected"}}')
    assert output.error == "stream disconnected"


def test_the_stream_of_gemini_gives_steps_tokens_and_summary():
    output, said = read(
        '{"type": "init", "session_id": "g", "model": "gemini-2.5-pro"}',
        '{"type": "message", "role": "user", "content": "not mine"}',
        '{"type": "tool_use", "tool_name": "write_file", "tool_id": "1", "parameters": {}}',
        '{"type": "message", "role": "assistant", "content": "All ", "delta": true}',
        '{"type": "message", "role": "assistant", "content": "written.\\nPROGRESS: 90 nearly", "delta": true}',
        '{"type": "error", "severity": "warning", "message": "Slow answer"}',
        '{"type": "result", "status": "success", "stats": {"total_tokens": 50, "input_tokens": 40, "output_tokens": 10, '
        '"cached": 15, "input": 25}}',
    )
    assert said == [
        Progress(None, "Runs write_file"), Progress(None, "All"), Progress(90, "nearly"), Progress(None, "Slow answer"),
    ]  # fmt: skip
    assert (output.tokens_in, output.tokens_out, output.model) == (40, 10, "gemini-2.5-pro")
    assert (output.summary, output.error) == ("All written.\nPROGRESS: 90 nearly", "")


def test_a_document_over_many_lines_is_read_as_one():
    output, said = read(
        "{",
        '  "payloads": [{"text": "Answered."}],',
        '  "meta": {"agentMeta": {"model": "small", "usage": {"input": 1, "cacheRead": 10, "output": 4}}}',
        "}",
        "after it",
    )
    assert said == [Progress(None, "after it")]
    assert (output.summary, output.tokens_in, output.tokens_out, output.model) == ("Answered.", 11, 4, "small")
    output.feed(b'{"payloads": [{"text": "No key for the model.", "isError": true}], "meta": {}}')
    assert output.error == "No key for the model."


@pytest.mark.parametrize(
    "line",
    [
        '{"type": "assistant", "message": "text"}',
        '{"type": "assistant", "message": {"content": [1, null, {"type": "text", "text": 3}], "usage": []}}',
        '{"type": "result", "total_cost_usd": NaN, "usage": {"input_tokens": true, "output_tokens": -4}}',
        '{"type": "result", "total_cost_usd": 1e999999, "usage": {"input_tokens": 1e30}}',
        '{"type": "result", "total_cost_usd": -1}',
        '{"type": "item.completed", "item": null}',
        '{"type": ["list"], "model": 3}',
        '{"error": 0, "stats": {"models": 4}, "response": 5}',
        '{"a":' * 100_000,
        "\x00\ufffe\u202e",
    ],
)
def test_what_makes_no_sense_counts_nothing_and_raises_nothing(line):
    output, _ = read(line)
    assert (output.tokens, output.cost) == (0, None)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "result", "result": "Do\x00ne \ud800 \x1b[2J\x9bm mc_\u0061bc123.\nTwo.", "model": "a\nb\x00"},
        {"type": "item.completed", "item": {"type": "agent_message", "text": "\x00Done mc_abc123."}, "model": "a\nb"},
        {"type": "turn.failed", "error": {"message": "Done\x00 mc_abc123."}, "model": " a b"},
        {"payloads": [{"text": "Done\ud9ab mc_abc123."}], "meta": {"agentMeta": {"model": "a\nb"}}},
        {
            "type": "assistant",
            "message": {"model": "a\nb", "content": [{"type": "text", "text": "Done mc_abc123.\x00"}]},
        },
    ],
)
def test_what_json_spells_out_is_as_harmless_as_a_plain_line(event):
    """The server takes neither NUL nor half a character, and a result that it does not take is lost."""
    spelled = json.dumps(event).replace("mc_a", "mc_\\u0061")
    output, said = read(spelled, secrets=["mc_abc123"])
    kept = output.summary + output.error
    assert kept.startswith("Done") and "[key]." in kept
    assert all(character == "\n" or character.isprintable() for character in kept)
    assert output.model == "a b"
    assert all(one.message.isprintable() and "mc_" not in one.message for one in said)


def test_a_secret_with_signs_in_it_that_are_taken_out_is_told_nowhere():
    output, _ = read("mc_a\x00bc\x1b[1m123", secrets=["mc_abc123"])
    assert list(output.tail) == ["[key]"]


def test_a_secret_that_comes_in_pieces_is_told_nowhere():
    pieces = ["the key is mc_ab", "c12", "3, and that is all"]
    output, said = read(
        *(json.dumps({"type": "message", "role": "assistant", "delta": True, "content": piece}) for piece in pieces),
        secrets=["mc_abc123"],
    )
    assert {one.message for one in said} == {"the key is [key]", "the key is [key], and that is all"}
    assert output.summary == "the key is [key], and that is all"


def test_a_document_is_read_although_the_other_stream_talks_at_the_same_time():
    output = Output()
    for line, stream in [("{", "out"), ("warning: slow", "err"), ('"response": "Answered."', "out"), ("}", "out")]:
        output.feed(line.encode(), stream)
    assert (output.summary, list(output.tail)) == ("Answered.", ["warning: slow"])


def test_what_only_began_like_a_document_is_not_lost():
    output, _ = read("int main()", "{", "  return 3;", "", "error: no end")
    output.end()
    assert list(output.tail) == ["int main()", "{", "  return 3;", "error: no end"]


def test_a_document_of_empty_lines_has_an_end_too(monkeypatch):
    monkeypatch.setattr("mission_control.mctl.output.MOST_LINE", 100)
    output, said = read("{", *[""] * 200, "Still there")
    assert said == [Progress(None, "Still there")]
    assert list(output.tail) == ["{", "Still there"]
