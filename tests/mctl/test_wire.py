"""One call and its retries, against a server that says what it is told to say."""

import http.server
import threading

import pytest

from mission_control.mctl import wire
from mission_control.mctl.client import MissionControl
from mission_control.mctl.wire import Refused, Wire

BROKEN = (200, "application/json", b'{"tasks": [')
PAGE = (200, "text/html", b"<p>Welcome</p>")
EMPTY = (200, "application/json", b'{"tasks": [], "next": null}')
AWAY = (502, "text/html", b"<h1>Bad Gateway</h1>")


class Scripted(http.server.ThreadingHTTPServer):
    """Answers one request after the other as `answers` says, the last one for ever; None hangs up. `asked`: what came,
    `(method, path, Idempotency-Key)` each."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answers, self.asked = [EMPTY], []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answering(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.asked.append((self.command, self.path, self.headers["Idempotency-Key"]))
        answers = self.server.answers
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if said is None:
            return
        status, kind, content = said
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def scripted():
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_number_of_zero_is_sent_and_what_was_not_said_is_not(scripted):
    Wire(scripted.url).call("GET", "/activities", query={"since": 0, "q": "", "task": None, "mine": False})
    assert scripted.asked == [("GET", "/api/v1/activities?since=0", None)]


@pytest.mark.parametrize("said", [BROKEN, PAGE, (200, "application/json", b"\xff"), (302, "text/html", b"")])
def test_what_does_not_answer_as_mission_control_does_is_a_refusal_that_says_so(scripted, said):
    scripted.answers = [said]
    with pytest.raises(Refused, match="Is the address right") as refused:
        MissionControl(scripted.url, patience=5).list()
    assert (refused.value.code, refused.value.status) == ("not_mission_control", said[0])
    assert len(scripted.asked) == 1


@pytest.mark.parametrize("said", [PAGE, (200, "text/event-stream", b"id: x\ndata: {}\n\n"), BROKEN])
def test_a_stream_that_is_none_of_ours_is_a_refusal_too(scripted, said):
    scripted.answers = [said]
    with pytest.raises(Refused, match="Is the address right"):
        next(MissionControl(scripted.url).watch())


@pytest.mark.parametrize("lost", [AWAY, (503, "text/plain", b""), (504, "text/html", b""), None])
def test_what_may_be_repeated_is_sent_again_under_the_same_key_while_the_server_restarts(scripted, lost):
    scripted.answers = [lost, lost, (201, "application/json", b'{"task": {"id": "k3v9d2qa"}}')]
    assert MissionControl(scripted.url, patience=5).add("Once")["id"] == "k3v9d2qa"
    assert len(scripted.asked) == 3 and len(set(scripted.asked)) == 1 and scripted.asked[0][2]
    scripted.answers = [lost, EMPTY]
    assert MissionControl(scripted.url, patience=5).list() == []


@pytest.mark.parametrize("lost", [AWAY, None])
def test_what_may_not_be_repeated_is_sent_once(scripted, lost):
    scripted.answers = [lost, EMPTY]
    with pytest.raises(Refused) as refused:
        MissionControl(scripted.url, patience=5).update("k3v9d2qa", title="Twice?")
    assert refused.value.code == ("unreachable" if lost is None else "not_mission_control")
    assert len(scripted.asked) == 1


def test_a_change_that_was_turned_away_untouched_is_sent_again(scripted):
    busy = (503, "application/json", b'{"error": "Busy.", "code": "busy", "details": []}')
    scripted.answers = [busy, (200, "application/json", b'{"task": {}}')]
    MissionControl(scripted.url, patience=5).update("k3v9d2qa", title="Later")
    assert [asked[0] for asked in scripted.asked] == ["PATCH", "PATCH"]


def test_patience_has_an_end(scripted):
    scripted.answers = [AWAY]
    with pytest.raises(Refused):
        MissionControl(scripted.url, patience=0.5).list()
    assert len(scripted.asked) > 1


@pytest.mark.parametrize("url", ["", "gopher://a", "http://", "http://a:x", "http://a:0", "http://a b", "http://ä/"])
def test_what_is_no_address_is_refused_before_anything_is_sent(url):
    with pytest.raises(ValueError, match="."):
        Wire(url)


def test_an_event_without_an_end_is_none_of_ours(scripted, monkeypatch):
    monkeypatch.setattr(wire, "MOST_EVENT", 100)
    scripted.answers = [(200, "text/event-stream", b"id: 1\ndata: " + b"0" * 200 + b"\n\n")]
    with pytest.raises(Refused, match="Is the address right"):
        next(MissionControl(scripted.url).watch())


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"error": "No.", "code": "invalid", "details": ["odd", 3]}'])
def test_a_refusal_of_a_strange_form_is_still_a_refusal(scripted, content):
    scripted.answers = [(400, "application/json", content)]
    with pytest.raises(Refused) as refused:
        Wire(scripted.url).call("GET", "/fleet/freeze")
    assert refused.value.works == []
    scripted.answers = [(200, "application/json", b"[" * 100_000)]
    with pytest.raises(Refused, match="Is the address right"):
        Wire(scripted.url).call("GET", "/fleet/freeze")
