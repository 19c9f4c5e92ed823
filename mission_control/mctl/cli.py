"""The command line: `mctl VERB …`. Exit codes: 0 done, 1 refused or not reached, 2 called in a wrong way, or
this machine does not let it.

Each verb is one function that calls the library (client.py) and says what came of it. Not: what is live (live.py).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
from typing import Any, NoReturn

from . import completion, graph, keeping, live, show, work
from .verbs import Call, Usage, Verb, nothing, on_task, seconds, warn
from .wire import Refused

DESCRIPTION = "Mission Control from the command line: put work on the board, take it, report it, steer the fleet."
ALL_TASKS = 100_000


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign shows another one
    try:
        try:
            return _run(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()
    except OSError as wrong:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the exit must not complain once more
        if isinstance(wrong, BrokenPipeError):  # nobody reads on
            return 0
        warn(f"mctl: {': '.join(str(part) for part in (wrong.filename, wrong.strerror or wrong) if part)}.")
        return 2


def _run(given: argparse.Namespace) -> int:
    try:
        call = Call(given)
        try:
            return given.run(call) or 0
        finally:
            call.forget_what_was_lost()
    except (Usage, keeping.Unusable) as wrong:
        warn(f"mctl {given.verb}: {wrong}")
        return 2
    except UnicodeError:  # bytes of an argument, of a file's name or of what was read that are no characters
        warn(f"mctl {given.verb}: What was given is no text in UTF-8.")
        return 2
    except Refused as refused:
        if given.json:
            body = {"error": refused.sentence, "code": refused.code, "details": [], **refused.body}
            print(show.as_json_line(body), file=sys.stderr)
        else:
            warn(f"mctl {given.verb}: {refused.sentence} {' '.join([*refused.works, f'({refused.code})'])}")
        return 1
    except KeyboardInterrupt:
        return 0 if given.verb in ("watch", "board") else 130


class _Parser(argparse.ArgumentParser):
    """Says in one line what was wrong."""

    def error(self, message: str) -> NoReturn:
        warn(f"{self.prog}: {message}. See: {self.prog} --help")
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    shared = _Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="the answer as JSON")
    shared.add_argument("--url", default="", help="the server; else MISSION_CONTROL_URL, else the one of `mctl login`")
    shared.add_argument("--agent-id", default="", metavar="AGENT", help="act for this agent, where the key may")
    shared.add_argument(
        "--patience", type=seconds, default=10.0, metavar="SECONDS", help="how long to try again (default: 10)"
    )
    whole = _Parser(prog="mctl", description=DESCRIPTION)
    verbs = whole.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        one = verbs.add_parser(
            verb.name, help=verb.help, description=f"mctl {verb.name}: {verb.help}", parents=[shared]
        )
        verb.arguments(one)
        one.set_defaults(run=verb.run)
    return whole


# ── who and where ───────────────────────────────────────────────────────────────────────────────────────────────────


def _login_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", nargs="?", default="", metavar="URL", help="the address of the server")


def login(call: Call) -> None:
    call.url = call.given.server or call.url
    call.key = _secret("Key: ")
    me = call.control.me()
    path = keeping.keep_login(call.control.wire.url, call.key)
    call.say(f"You are {me['agent']['id']} at {call.control.wire.url}. The key is kept in {path}.", me)


def _register_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("--capabilities", type=_words, default=[], metavar="A,B")
    parser.add_argument("--provider", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--enrolment", action="store_true", help="read an enrolment token from standard input")


def register(call: Call) -> None:
    given = call.given
    fields = _said(capabilities=given.capabilities, provider=given.provider, model=given.model)
    if given.enrolment:
        fields["enrolment_token"] = _secret("Enrolment token: ")
    call.key = ""
    keeping.check_login()
    answer = call.control.register(given.name, **fields)
    path = keeping.keep_login(call.control.wire.url, answer.pop("api_key"))
    said = f"You are {answer['agent']['id']}. The key is kept in {path}."
    if answer.get("claim_url") and not answer["agent"]["claimed"]:
        said += f"\nA person has to open this link before you may work:\n{answer['claim_url']}"
    call.say(said, answer)


def _secret(prompt: str) -> str:
    """From the terminal without showing it, else the first line of standard input. Never from the arguments, which
    everyone on the machine can read."""
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(prompt).strip()
    return sys.stdin.readline().strip()


# ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _task_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--description", help="- reads it from standard input")
    parser.add_argument("-p", "--priority", help="low, normal, high or urgent")
    parser.add_argument("--venture")
    parser.add_argument("--assignee", metavar="AGENT")
    parser.add_argument("--status")
    parser.add_argument("--tags", type=_words, metavar="A,B")
    parser.add_argument("--needs", type=_words, dest="required_capabilities", metavar="A,B", help="capabilities")
    parser.add_argument("--deadline")
    parser.add_argument("--estimated-cost", metavar="USD")
    parser.add_argument("--estimated-hours", type=float, metavar="HOURS")


FIELDS = (
    "description", "priority", "venture", "assignee", "status", "tags", "required_capabilities", "deadline",
    "estimated_cost", "estimated_hours",
)  # fmt: skip


def _fields(given: argparse.Namespace) -> dict[str, Any]:
    fields = {name: getattr(given, name) for name in FIELDS if getattr(given, name) is not None}
    if fields.get("description") == "-":
        fields["description"] = sys.stdin.read()
    return fields


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("title")
    _task_fields(parser)
    parser.add_argument(
        "--after", type=_words, dest="depends_on", metavar="TASK,TASK", help="what has to be done before"
    )
    parser.add_argument("--parent", default="", metavar="TASK")


def add(call: Call) -> None:
    fields = {**_fields(call.given), **_said(depends_on=call.given.depends_on, parent=call.given.parent)}
    task = call.control.add(call.given.title, **fields)
    call.say(f"{task['id']}  {task['status']}  {show.line(task['title'])}", task)


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help="words that they hold")
    parser.add_argument("--status", default="", help="with commas")
    for name in ("venture", "assignee", "priority", "tags", "parent", "ordering"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--mine", action="store_true", help="assigned to the caller, held or created by it")
    parser.add_argument("--limit", type=int, default=50, help="how many at most (default: 50)")


def list_(call: Call) -> None:
    given = call.given
    names = ("status", "venture", "assignee", "priority", "tags", "parent", "ordering")
    filters = _said(q=" ".join(given.words), mine="true" if given.mine else "", **{n: getattr(given, n) for n in names})
    tasks = call.control.list(limit=given.limit, **filters)
    call.say(show.tasks(tasks), tasks)


def _code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help="its code")


def _code_or_own(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", nargs="?", default="", metavar="TASK", help="its code; else the one of this folder")


def show_(call: Call) -> None:
    task = call.control.show(call.task())
    call.say(show.task(task), task)


def _update_arguments(parser: argparse.ArgumentParser) -> None:
    _code(parser)
    parser.add_argument("--title")
    parser.add_argument("--reason", help="why, for a change of status")
    _task_fields(parser)


def update(call: Call) -> None:
    fields = {**_fields(call.given), **_said(title=call.given.title, reason=call.given.reason)}
    if not fields:
        raise Usage("Say what changes, for example --priority high.")
    _say_task(call, call.control.update(call.task(), **fields))


def delete(call: Call) -> None:
    call.control.delete(call.given.task)
    call.say(f"{call.given.task} is deleted.", {"deleted": call.given.task})


def _assign_arguments(parser: argparse.ArgumentParser) -> None:
    _code(parser)
    parser.add_argument("agent", nargs="?", default="", help="its slug; without one it is for anybody again")


def assign(call: Call) -> None:
    _say_task(call, call.control.assign(call.given.task, call.given.agent))


def _process_arguments(parser: argparse.ArgumentParser) -> None:
    _code(parser)
    parser.add_argument("agent", nargs="?", default="", help="its slug; else the server chooses")


def process(call: Call) -> None:
    answer = call.control.process(call.given.task, call.given.agent)
    task = answer["task"]
    said = f"{task['id']} is with {task['holder'] or task['assignee'] or 'nobody'}, by {answer['dispatched_via']}."
    call.say(said, answer)


def why(call: Call) -> None:
    gates = call.control.why(call.task())
    call.say(show.gates(gates), gates)


def _say_task(call: Call, task: dict[str, Any]) -> None:
    call.say(f"{task['id']} is {task['status'].replace('_', ' ')}.", task)


# ── work under a lease ──────────────────────────────────────────────────────────────────────────────────────────────


def _next_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wanted", nargs="?", default="", metavar="TASK", help="this one; else the best there is")
    parser.add_argument("--wait", type=seconds, default=0, metavar="SECONDS", help="stand in line for so long")
    parser.add_argument("--venture", default="")
    parser.add_argument("--capabilities", type=_words, metavar="A,B")
    parser.add_argument("--lease", type=int, dest="lease_seconds", metavar="SECONDS")
    parser.add_argument("--session", dest="session_key", metavar="KEY")


def next_(call: Call) -> int:
    given = call.given
    wish = _said(lease_seconds=given.lease_seconds, session_key=given.session_key)
    if not given.wanted:
        wish.update(_said(venture=given.venture, capabilities=given.capabilities))
    answer = call.control.claim(given.wanted, wait=given.wait, **wish)
    task = answer["task"]
    if not task:
        call.say("There is nothing for you now.", answer)
        return 1
    lease = call.control.leases[task["id"]]
    try:
        keeping.keep_lease(call.control.wire.url, lease)
    except keeping.Unusable:
        call.control.release(task["id"], "Its lease could not be kept.")
        raise
    call.say("" if given.json else call.control.briefing(task["id"]), answer)
    return 0


def _progress_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="[PERCENT] TEXT", help="how far it is, and what is being done")
    parser.add_argument("--step", default="", help="what it is at")
    _spent(parser)
    on_task(parser)


def _spent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, metavar="N", help="used for this attempt so far")
    parser.add_argument("--cost", metavar="USD", help="of this attempt so far")


def _costs(given: argparse.Namespace) -> dict[str, Any]:
    return _said(tokens_used=given.tokens, actual_cost=given.cost)


def progress(call: Call) -> None:
    words, percent = list(call.given.words), None
    if words and re.fullmatch(r"\d{1,4}%?", words[0]):
        percent = int(words.pop(0).rstrip("%"))
    if percent is None and not words and not call.given.step:
        raise Usage("Say how far it is, for example: mctl progress 40 'First draft'.")
    task = call.control.progress(call.task(), percent, " ".join(words), step=call.given.step, **_costs(call.given))
    call.say(f"{task['id']}: {show.line(task['progress_step'])} {task['progress_percent'] or 0} %", task)


def _deliver_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="FILE|URL", help="a file is uploaded, a URL is named")
    parser.add_argument("--title", default="")
    parser.add_argument("--type", default="", choices=("", "file", "url", "artifact"), metavar="TYPE")
    parser.add_argument("--description", default="")
    on_task(parser)


def deliver(call: Call) -> None:
    given = call.given
    try:
        thing = call.control.deliver(
            call.task(), given.path, title=given.title, type=given.type, description=given.description
        )
    except OSError as wrong:
        raise Usage(f"{given.path}: {wrong.strerror}.") from None
    call.say(f"Deliverable {thing['id']}: {show.line(thing['title'])}", thing)


def _complete_arguments(parser: argparse.ArgumentParser) -> None:
    _text_arguments(parser, "what was done")
    parser.add_argument("--output", default="", help="what came out, as JSON or text")
    parser.add_argument("--review", action="store_true", help="hand it in for review")
    parser.add_argument("--branch", default="")
    parser.add_argument("--hours", type=float, metavar="HOURS", help="how long it took")
    _spent(parser)


def complete(call: Call) -> None:
    given = call.given
    fields = _said(
        output=_json_or_text(given.output), branch=given.branch, actual_hours=given.hours, review=given.review or None
    )
    _ended(call, call.control.complete(call.task(), " ".join(given.text), **fields, **_costs(given)))


def _text_arguments(parser: argparse.ArgumentParser, what: str, needed: bool = False) -> None:
    parser.add_argument("text", nargs="+" if needed else "*", metavar="TEXT", help=what)
    on_task(parser)


def _fail_arguments(parser: argparse.ArgumentParser) -> None:
    _text_arguments(parser, "what went wrong")
    _spent(parser)


def fail(call: Call) -> None:
    _ended(call, call.control.fail(call.task(), " ".join(call.given.text), **_costs(call.given)))


def release(call: Call) -> None:
    _ended(call, call.control.release(call.task(), " ".join(call.given.text)))


def _block_arguments(parser: argparse.ArgumentParser) -> None:
    _text_arguments(parser, "what it waits for: a question, an obstacle", needed=True)
    parser.add_argument("--kind", default="", help="needs_input unless said otherwise")


def block(call: Call) -> None:
    _ended(call, call.control.block(call.task(), " ".join(call.given.text), kind=call.given.kind))


def _ended(call: Call, task: dict[str, Any]) -> None:
    keeping.forget_lease(call.control.wire.url, task["id"])
    _say_task(call, task)


# ── together ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _join_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", nargs="?", default="", help="in your own words")
    on_task(parser)


def join(call: Call) -> None:
    taking_part = call.control.join(call.task(), call.given.role)
    call.say(f"{taking_part['agent']} takes part as {show.line(taking_part['role'])}.", taking_part)


def _share_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="KEY")
    parser.add_argument("value", help="JSON, or text")
    parser.add_argument("--kind", default="", help="share, decision …")
    on_task(parser)


def share(call: Call) -> None:
    entry = call.control.share(call.task(), call.given.name, _json_or_text(call.given.value), kind=call.given.kind)
    call.say(f"{show.line(entry['key'])} is shared.", entry)


def context(call: Call) -> None:
    entries = call.control.context(call.task())
    rows = [
        {"key": one["key"], "by": one["by"]["name"], "value": json.dumps(one["value"], ensure_ascii=False)}
        for one in entries
    ]
    call.say(show.table(rows, ("key", "by", "value")) if rows else "Nothing is shared yet.", entries)


def note(call: Call) -> None:
    call.say("Noted, for you alone.", call.control.note(call.task(), " ".join(call.given.text)))


def sync(call: Call) -> None:
    call.say("All who take part are told.", call.control.sync(call.task(), " ".join(call.given.text)))


def _discover_arguments(parser: argparse.ArgumentParser) -> None:
    _text_arguments(parser, "what was found", needed=True)
    parser.add_argument("--impact", default="", help="what it means for the others")
    parser.add_argument("--tags", type=_words, default=[], metavar="A,B")


def discover(call: Call) -> None:
    given = call.given
    found = call.control.discover(call.task(), " ".join(given.text), impact=given.impact, tags=tuple(given.tags))
    call.say("All who take part are told.", found)


def _feedback_arguments(parser: argparse.ArgumentParser) -> None:
    _code(parser)
    parser.add_argument("quality", type=int, choices=range(1, 6), metavar="QUALITY", help="1 to 5")
    parser.add_argument("timeliness", type=int, choices=range(1, 6), metavar="TIMELINESS", help="1 to 5")
    parser.add_argument("--notes", default="")


def feedback(call: Call) -> None:
    given = call.given
    told = call.control.feedback(given.task, given.quality, given.timeliness, given.notes)
    call.say(f"Quality {told['quality']}, timeliness {told['timeliness']}.", told)


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────────────


def metrics(call: Call) -> None:
    told = call.control.metrics()
    counts = told["board"]["counts"]
    rows = [{"status": status, "tasks": number} for status, number in counts.items() if number]
    lines = [
        f"{told['board']['total']} tasks, {told['board']['open']} open",
        *([show.table(rows, ("tasks", "status"))] if rows else []),
    ]
    agents = told["feedback"].get("agents") or []
    if agents:
        lines += ["", show.table(agents, ("count", "quality", "timeliness", "agent"))]
    call.say("\n".join(lines), told)


def _path_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--venture", default="", help="of this venture alone")
    parser.add_argument("--dot", action="store_true", help="what waits for what, for Graphviz")


def critical_path(call: Call) -> None:
    tasks = call.control.list(limit=ALL_TASKS, status=UNFINISHED, **_said(venture=call.given.venture))
    if call.given.dot:
        print(graph.dot(tasks))
        return
    chain = graph.critical_path(tasks)
    said = f"{len(chain)} tasks, {graph.hours(chain):g} hours\n{show.tasks(chain)}" if chain else "Nothing is open."
    call.say(said, {"hours": graph.hours(chain), "tasks": chain})


UNFINISHED = "inbox,ready,assigned,in_progress,review,blocked,paused,failed"


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", default="json", choices=("json", "markdown", "csv"))
    parser.add_argument("--venture", default="")
    parser.add_argument("--status", default="", help="with commas")
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="else standard output")


def export(call: Call) -> None:
    given = call.given
    content = call.control.export(given.format, venture=given.venture, status=given.status)
    if given.output:
        try:
            with open(given.output, "wb") as file:
                file.write(content)
        except OSError as wrong:
            raise Usage(f"{given.output}: {wrong.strerror}.") from None
    elif sys.stdout.isatty():
        print(show.clean(content.decode()))
    else:
        sys.stdout.buffer.write(content)


def freeze(call: Call) -> None:
    told = call.control.freeze(" ".join(call.given.reason))
    call.say("The fleet is frozen: nobody gets new work until `mctl thaw`.", told)


def _freeze_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reason", nargs="*", help="why")


def thaw(call: Call) -> None:
    call.say("The fleet is thawed.", call.control.thaw())


def _completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def complete_shell(call: Call) -> None:
    print(completion.script(parser(), call.given.shell))


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _said(**fields: Any) -> dict[str, Any]:
    """Those that were said."""
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _note_arguments(parser: argparse.ArgumentParser) -> None:
    _text_arguments(parser, "what to remember", needed=True)


def _sync_arguments(parser: argparse.ArgumentParser) -> None:
    _text_arguments(parser, "where the work stands", needed=True)


def _release_arguments(parser: argparse.ArgumentParser) -> None:
    _text_arguments(parser, "why")


VERBS: tuple[Verb, ...] = (
    Verb("login", "keep the address of the server and a key, read from standard input", _login_arguments, login),
    Verb("register", "register as a new agent and keep its key", _register_arguments, register),
    Verb("add", "put a task on the board", _add_arguments, add),
    Verb("list", "the tasks that fit", _list_arguments, list_),
    Verb("show", "one task", _code_or_own, show_),
    Verb("update", "change a task", _update_arguments, update),
    Verb("next", "take the next task, and remember its lease for this folder", _next_arguments, next_),
    Verb("progress", "say how far it is", _progress_arguments, progress),
    Verb("deliver", "hand over a file or a URL", _deliver_arguments, deliver),
    Verb("complete", "hand it in", _complete_arguments, complete),
    Verb("fail", "the attempt failed", _fail_arguments, fail),
    Verb("release", "give it back", _release_arguments, release),
    Verb("block", "stop it with a question", _block_arguments, block),
    Verb("delete", "delete a task", _code, delete),
    Verb("assign", "mean a task for an agent", _assign_arguments, assign),
    Verb("process", "hand a task to an agent now", _process_arguments, process),
    Verb("why", "why it is not moving", _code_or_own, why),
    *live.VERBS,
    *work.VERBS,
    Verb("join", "take part in a task", _join_arguments, join),
    Verb("share", "share a value with all who work on it", _share_arguments, share),
    Verb("note", "a note for yourself", _note_arguments, note),
    Verb("sync", "a checkpoint for all who take part", _sync_arguments, sync),
    Verb("discover", "a finding, and what it means", _discover_arguments, discover),
    Verb("context", "what is shared", on_task, context),
    Verb("feedback", "rate what is done", _feedback_arguments, feedback),
    Verb("metrics", "counts and averages", nothing, metrics),
    Verb("critical-path", "the longest chain of work that waits for each other", _path_arguments, critical_path),
    Verb("export", "all tasks as a file", _export_arguments, export),
    Verb("freeze", "no new claims anywhere", _freeze_arguments, freeze),
    Verb("thaw", "claims go through again", nothing, thaw),
    Verb("completion", "completion for your shell", _completion_arguments, complete_shell),
)
