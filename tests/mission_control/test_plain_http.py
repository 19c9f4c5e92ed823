"""Plain HTTP through threads: limits before reading, bodies that break off, large answers, connections given back."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mission_control import plain_http
from mission_control.plain_http import Gone, PlainHTTP, Slow
from mission_control.strict_json import TooLarge

pytestmark = pytest.mark.slow


def scope(method="POST", path="/x", headers=(), **more):
    return {
        "type": "http", "method": method, "path": path, "query_string": b"a=%20b", "http_version": "1.1",
        "scheme": "http", "client": ("10.1.2.3", 4567), "server": ("127.0.0.1", 8000),
        "headers": [(name.encode(), value.encode()) for name, value in headers], **more,
    }  # fmt: skip


def receiving(*parts, disconnect=False):
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if messages and not disconnect:
        messages[-1]["more_body"] = False
    messages += [{"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    return receive


def asked(application, request, receive, threads=2):
    """`(status, headers, body)` of a WSGI application behind the bridge."""
    said = []

    async def send(message):
        said.append(message)

    with ThreadPoolExecutor(threads) as pool:
        asyncio.run(PlainHTTP(application, pool)(request, receive, send))
    start, *body = said
    assert start["type"] == "http.response.start"
    assert not body[-1].get("more_body")
    return start["status"], start["headers"], b"".join(part["body"] for part in body)


class Parts:
    """An answer as Django gives one: parts, and a close that has to be called once, after the last."""

    def __init__(self, *parts):
        self.parts, self.closed_in = parts, []

    def __iter__(self):
        assert not self.closed_in
        yield from self.parts

    def close(self):
        self.closed_in.append(threading.current_thread())


def echo(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [body]


def test_a_request_goes_through_and_comes_back():
    length = ("content-length", "11")
    status, headers, body = asked(echo, scope(headers=[length]), receiving(b"hello ", b"world"))
    assert (status, body) == (200, b"hello world")
    assert headers == [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


def test_a_chunked_body_has_the_length_it_had():
    chunked = ("transfer-encoding", "chunked")
    assert asked(echo, scope(headers=[chunked]), receiving(b"one ", b"two"))[2] == b"one two"


def test_the_environment_is_what_django_expects():
    seen = {}

    def application(environ, start_response):
        seen.update(environ)
        start_response("204 No Content", [])
        return []

    headers = [
        ("content-type", "application/json"), ("host", "a.example"), ("cookie", "a=1"), ("cookie", "b=2"),
        ("x-one", "1"), ("x-one", "2"), ("x_forwarded_for", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7"),
    ]  # fmt: skip
    asked(application, scope("GET", "/tärk/", headers=headers), receiving())
    assert seen["CONTENT_TYPE"] == "application/json"
    assert seen["CONTENT_LENGTH"] == "0"
    assert seen["HTTP_COOKIE"] == "a=1; b=2"
    assert seen["HTTP_X_ONE"] == "1,2"
    assert seen["HTTP_X_FORWARDED_FOR"] == "7.7.7.7", "a name with an underscore passes for no other"
    assert seen["REMOTE_ADDR"] == "10.1.2.3"
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/tärk/"
    assert seen["QUERY_STRING"] == "a=%20b"


def test_a_body_that_breaks_off_never_reaches_the_application():
    def application(environ, start_response):
        raise AssertionError("it was called")

    with pytest.raises(Gone):
        asked(application, scope(headers=[("content-length", "100")]), receiving(b"only this", disconnect=True))
    with pytest.raises(Gone):
        asked(application, scope(headers=[("content-length", "100")]), receiving(b"only this"))
    with pytest.raises(Gone):
        asked(application, scope(headers=[("transfer-encoding", "chunked")]), receiving(b"so", disconnect=True))


def test_a_body_that_is_too_large_is_refused_before_it_is_read():
    async def receive():
        raise AssertionError("it was read")

    with pytest.raises(TooLarge):
        asked(echo, scope(headers=[("content-length", "1000001")]), receive)


def test_a_body_that_grows_too_large_is_refused_on_the_way():
    parts = [b"x" * 400_000] * 3
    with pytest.raises(TooLarge):
        asked(echo, scope(headers=[("transfer-encoding", "chunked")]), receiving(*parts))


def test_uploads_may_be_larger(settings):
    settings.MAX_UPLOAD_BYTES = 3_000_000
    parts = [b"x" * 700_000] * 4
    upload = scope(path="/api/v1/tasks/abcdefgh/deliverables", headers=[("content-length", "2800000")])
    assert len(asked(echo, upload, receiving(*parts))[2]) == 2_800_000
    too_large = scope(path="/api/v1/tasks/abcdefgh/deliverables", headers=[("content-length", "3200000")])
    with pytest.raises(TooLarge):
        asked(echo, too_large, receiving(*parts))


def test_a_file_of_tasks_may_be_larger():
    parts = [b"x" * 700_000] * 4
    headers = [("content-length", "2800000")]
    assert len(asked(echo, scope(path="/settings/data/import", headers=headers), receiving(*parts))[2]) == 2_800_000
    with pytest.raises(TooLarge):
        asked(echo, scope(path="/settings/data/import", headers=[("content-length", "10200000")]), receiving(*parts))


def test_a_body_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr(plain_http, "BODY_SECONDS", 0.05)

    async def receive():
        await asyncio.sleep(60)

    with pytest.raises(Slow) as slow:
        asked(echo, scope(headers=[("content-length", "10")]), receive)
    assert slow.value.status == 408


def test_a_small_answer_is_closed_in_the_thread_that_made_it():
    answer, made_in = Parts(b"one", b"two"), []

    def application(environ, start_response):
        made_in.append(threading.current_thread())
        start_response("200 OK", [])
        return answer

    assert asked(application, scope("GET"), receiving())[2] == b"onetwo"
    assert answer.closed_in == made_in


def test_a_large_answer_is_sent_in_parts_and_closed_after_the_last():
    answer = Parts(*[bytes([n]) * 200_000 for n in range(12)])

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "2400000")])
        return answer

    body = asked(application, scope("GET"), receiving())[2]
    assert body == b"".join(bytes([n]) * 200_000 for n in range(12))
    assert len(answer.closed_in) == 1


def test_an_answer_that_breaks_is_closed_and_raised():
    answer = Parts()

    class Broken(Parts):
        def __iter__(self):
            yield b"x"
            raise ValueError("broken")

    answer = Broken()

    def application(environ, start_response):
        start_response("200 OK", [])
        return answer

    with pytest.raises(ValueError, match="broken"):
        asked(application, scope("GET"), receiving())
    assert len(answer.closed_in) == 1


def test_a_slow_reader_of_a_large_answer_holds_no_thread():
    """One thread, and a client that takes its time: others are served in between."""
    took = []

    def application(environ, start_response):
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/large":
            return Parts(*[b"x" * 600_000] * 4)
        took.append(environ["PATH_INFO"])
        return [b"ok"]

    async def work(pool):
        bridge = PlainHTTP(application, pool)
        going, gate = asyncio.Event(), asyncio.Event()

        async def slow(message):
            if message["type"] == "http.response.body":
                going.set()
                await gate.wait()

        async def quick(message):
            pass

        large = asyncio.ensure_future(bridge(scope("GET", "/large"), receiving(), slow))
        await going.wait()
        async with asyncio.timeout(5):
            await bridge(scope("GET", "/small"), receiving(), quick)
        gate.set()
        await large

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(work(pool))
    assert took == ["/small"]


# ── at a real server ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/api/v1/tasks/claim", "/api/v1/tasks"])
def test_two_megabytes_are_413_with_our_error_body(product, path):
    key = product.agent("ada", scopes="orchestrate")
    status, body = product.ask("POST", path, key, {"title": "x" * 2_000_000})
    assert (status, body["code"]) == (413, "too_large")


def test_two_megabytes_in_chunks_are_413(product):
    key = product.agent("ada")
    with socket.create_connection(("127.0.0.1", product.port)) as client:
        client.sendall(
            b"POST /api/v1/tasks/claim HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n" % key.encode()
        )
        for _ in range(20):
            client.sendall(b"%x\r\n%s\r\n" % (100_000, b" " * 100_000))
        client.sendall(b"0\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413")


def test_the_server_answers_others_while_bodies_come_slowly(product):
    """More half-sent requests than there are threads."""
    slow = [socket.create_connection(("127.0.0.1", product.port)) for _ in range(40)]
    try:
        for client in slow:
            client.sendall(b"POST /account/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhalf of it")
        assert product.ask("GET", "/readyz", "")[0] == 200
    finally:
        for client in slow:
            client.close()


def test_connections_go_back_after_every_request(product):
    key = product.agent("ada")
    for _ in range(5):
        product.ask("GET", "/readyz", key)
    before = product.connections
    for _ in range(60):
        product.ask("GET", "/readyz", key)
        product.ask("POST", "/api/v1/tasks/claim", key, {})
    assert product.connections <= before + 2
