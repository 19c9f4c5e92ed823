"""The client sends until it is answered, always with the same key, and writes down what it did before it does it."""

import json
import socketserver
import threading

import pytest

from tasks.demo.fleet_client import Client, History, Lost, Stopped


class Server(socketserver.ThreadingTCPServer):
    """Answers each request with the next of `answers`: bytes, or None to hang up. Keeps the requests."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, answers):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests = list(answers), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            headers = {}
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.decode().partition(": ")
                headers[name.lower()] = value
            body = self.rfile.read(int(headers.get("content-length", "0")))
            self.server.requests.append((line.decode().split()[:2], headers, body, id(self)))
            answer = self.server.answers.pop(0)
            if answer is None:
                return
            self.wfile.write(answer)


def answer(status=200, body=b"{}", **headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def serve():
    servers = []

    def begin(*answers):
        server = Server(answers)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def client_of(server, tmp_path, **options):
    return Client(server.url, "mc_secret", "ada", History(tmp_path / "h.jsonl"), wait=lambda _: None, **options)


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]


def test_a_request_carries_key_lease_and_body_over_one_connection(serve, tmp_path):
    server = serve(answer(201, b'{"id": 1}'), answer())
    client = client_of(server, tmp_path)
    first = client.call("progress", "POST", "/api/v1/x", {"percent": 5}, epoch=3, token="t")
    client.call("look", "GET", "/api/v1/y")
    assert (first.status, first.body, first.ok) == (201, {"id": 1}, True)
    (_, headers, body, wire), (verb, others, empty, same) = server.requests
    assert headers["authorization"] == "Bearer mc_secret"
    assert (headers["x-lease-epoch"], headers["x-lease-token"]) == ("3", "t")
    assert json.loads(body) == {"percent": 5}
    assert headers["idempotency-key"]
    assert (verb, empty) == (["GET", "/api/v1/y"], b"")
    assert "idempotency-key" not in others
    assert wire == same


def test_a_lost_answer_is_asked_for_again_with_the_same_key(serve, tmp_path):
    server = serve(None, None, answer(200, b'{"epoch": 4}', Idempotent_Replayed="true"))
    got = client_of(server, tmp_path).call("claim", "POST", "/claim", {})
    assert (got.body, got.tries, got.replayed) == ({"epoch": 4}, 3, True)
    assert len({headers["idempotency-key"] for _, headers, _, _ in server.requests}) == 1
    told = [(line["line"], line.get("nth")) for line in lines(tmp_path)]
    assert told == [("client", None), ("call", 1), ("lost", 1), ("call", 2), ("lost", 2), ("call", 3), ("answer", 3)]


def test_a_busy_server_is_asked_again_when_it_says(serve, tmp_path):
    server = serve(answer(503, Retry_After="2"), answer(429, Retry_After="1"), answer())
    waited = []
    client = Client(server.url, "k", "ada", History(None), wait=waited.append)
    assert client.call("claim", "POST", "/claim").status == 200
    assert waited == [2.0, 1.0]


def test_a_call_that_is_cut_is_sent_and_lost(serve, tmp_path):
    server = serve(answer())
    with pytest.raises(Lost):
        client_of(server, tmp_path).call("complete", "POST", "/x", {"summary": "s"}, cut=True)
    for _ in range(200):
        if server.requests:
            break
        threading.Event().wait(0.01)
    assert json.loads(server.requests[0][2]) == {"summary": "s"}
    assert [line["line"] for line in lines(tmp_path)] == ["client", "call", "lost"]


def test_cut_and_retry_is_one_operation_with_one_key(serve, tmp_path):
    server = serve(*[answer(200, b'{"epoch": 1}')] * 3)
    client = client_of(server, tmp_path)
    assert client.cut_and_retry("claim", "POST", "/claim", {}).body == {"epoch": 1}
    client.call("next", "POST", "/x")
    operations = [line["op"] for line in lines(tmp_path) if line["line"] == "call"]
    assert operations[0] == operations[1] != operations[2]
    assert operations[2].endswith("-2")


def test_nothing_is_sent_when_the_run_is_over(serve, tmp_path):
    server = serve()
    with pytest.raises(Stopped):
        client_of(server, tmp_path, may_go_on=lambda: False).call("claim", "POST", "/claim")
    assert server.requests == []


def test_answers_in_pieces_and_empty_ones_are_read(serve, tmp_path):
    pieces = b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n'
    server = serve(pieces, b"HTTP/1.1 204 X\r\n\r\n", answer(200, b"plain text"))
    client = client_of(server, tmp_path)
    assert [client.call("look", "GET", "/x").body for _ in range(3)] == [{"a": 1}, "", "plain text"]


def test_an_answer_is_kept_as_it_came(serve, tmp_path):
    server = serve(answer(200, '{"titel": "Grüße", "n": 1.10}'.encode()), answer(500, b"<h1>\nno</h1>"))
    client = client_of(server, tmp_path)
    client.call("look", "GET", "/x")
    client.call("look", "GET", "/x")
    assert '"answer": {"titel": "Grüße", "n": 1.10}' in (tmp_path / "h.jsonl").read_text()
    assert lines(tmp_path)[-1]["answer"] == "<h1>\nno</h1>"


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ValueError, match="Not the address"):
        Client("localhost:8000", "k", "ada", History(None))
