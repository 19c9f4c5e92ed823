"""The one way out: where it refuses to go, however the address is written, and what a bad server cannot do to it."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mission_control.outbound import outgoing
from mission_control.outbound.outgoing import NotSent, is_open, request, target_of
from tests.receiving import answering

PUBLIC = "93.184.215.14"


@pytest.fixture
def names(monkeypatch) -> dict[str, list[str]]:
    """What the name server says: `names["hook.example"] = ["127.0.0.1"]`. Each asking is noted under ""."""
    known: dict[str, list[str]] = {"": []}

    def look_up(host: str, port: int):
        known[""].append(host)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (numeric, port)) for numeric in known[host]]

    monkeypatch.setattr(outgoing, "_look_up", look_up)
    return known


def refusal_of(address: str, **options) -> NotSent:
    with pytest.raises(NotSent) as refused:
        request("POST", address, **options)
    return refused.value


# ── where it does not go ────────────────────────────────────────────────────────────────────────────────────────────

INTO_THE_HOUSE = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "017700000001", "0", "0.0.0.0",
    "127.255.255.254", "localhost", "localhost.", "LOCALHOST", "a.localhost", "127.0.0.1.", "[::1]", "[::]",
    "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[fe80::1]", "[fc00::1]", "[fd12:3456:789a::1]", "[fec0::1]", "[ff02::1]",
    "[2001:db8::1]", "[100::1]", "[3fff::1]", "169.254.169.254", "10.0.0.5", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "100.64.0.1", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "192.88.99.1",
]  # fmt: skip


@pytest.mark.parametrize("host", INTO_THE_HOUSE)
def test_no_way_of_writing_an_address_leads_into_the_house(host, receive):
    """By the real resolver, which understands all of these."""
    receiver = receive(answering(200), allowed=False)
    refused = refusal_of(f"http://{host}:{receiver.port}/")
    assert refused.code in ("address_refused", "name_unknown")
    assert receiver.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "[::1]", "10.1.1.1"])
def test_what_is_plainly_private_cannot_even_be_stored(host):
    with pytest.raises(ValueError, match="not a public address|usual form"):
        target_of(f"https://{host}/hook")


@pytest.mark.parametrize(
    "address",
    [
        "", "hook.example", "//hook.example/", "/hook", "file:///etc/passwd", "ftp://hook.example/", "gopher://hook.example/",
        "javascript:alert(1)", "unix:///run/docker.sock", "http://", "http:///path", "http://user@hook.example/",
        "http://user:secret@hook.example/", "http://hook.example@127.0.0.1/", "http://127.0.0.1\\@hook.example/",
        "http://hook.example:0/", "http://hook.example:65536/", "http://hook.example:http/", "http://hook.example/#part",
        "http://ho ok.example/", "http://hook.example/\nHost: other", "http://hook.example\r\n/", "http://１２７.0.0.1/",
        "http://①②⑦.0.0.1/", "http://ⓛocalhost/", "http://hook..example/", "http://%31%32%37.0.0.1/", "http://[::1",
        "http://[fe80::1%25eth0]/", "http://1.2.3.4.5/", "http://256.1.1.1/", "https://" + "a" * 2000 + ".example/",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_of_the_web_is_refused(address, names):
    with pytest.raises(ValueError, match=r".{10}"):
        target_of(address)
    assert refusal_of(address).code == "address_refused"
    assert names[""] == []


@pytest.mark.parametrize(
    ("numeric", "expected"),
    [
        (PUBLIC, True), ("8.8.8.8", True), ("100.63.255.255", True), ("100.128.0.1", True), ("172.32.0.1", True),
        ("2606:4700::6810:85e5", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True), ("2a00:1450::1", True),
        ("::8.8.8.8", False), ("2002:808:808::1", False), ("64:ff9b::a00:1", False), ("hook.example", False), ("", False),
    ],
)  # fmt: skip
def test_the_internet_is_open_and_nothing_else(numeric, expected):
    assert is_open(numeric) is expected


def test_a_name_that_points_into_the_house_is_refused(names, receive):
    receiver = receive(answering(200), allowed=False)
    names["hook.example"] = ["127.0.0.1"]
    refused = refusal_of(f"http://hook.example:{receiver.port}/")
    assert refused.code == "address_refused"
    assert f"OUTGOING_ALLOWED=hook.example:{receiver.port}" in refused.sentence
    assert receiver.seen == []


def test_one_private_address_among_public_ones_closes_the_name(names):
    names["hook.example"] = [PUBLIC, "10.0.0.1"]
    assert refusal_of("http://hook.example/").code == "address_refused"


def test_a_name_is_asked_for_once_and_the_connection_goes_to_what_was_judged(names, receive, monkeypatch):
    """Otherwise a name server could give a public address to the judge and a private one to the connection."""
    receiver = receive(answering(204))
    names["hook.example"] = ["127.0.0.1"]

    def asked_again(*_: object, **__: object):
        raise AssertionError("the name was looked up a second time")

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **named: asked_again() if host == "hook.example" else real(host, *rest, **named),
    )
    assert request("POST", f"http://hook.example:{receiver.port}/in?a=1", content=b"{}").status == 204
    assert names[""] == ["hook.example"]
    [(method, path, headers, body)] = receiver.seen
    assert (method, path, body) == ("POST", "/in?a=1", b"{}")
    assert headers["Host"] == f"hook.example:{receiver.port}"


def test_an_unknown_name_is_told_apart(names):
    refused = refusal_of("https://nowhere.example/secret-path?token=x")
    assert refused.code == "name_unknown"
    assert "secret-path" not in refused.sentence


# ── what an operator allows ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_listed_host_and_port_is_reached_and_no_other_port_of_it(receive, settings):
    receiver, other = receive(answering(200, b"hello")), receive(answering(200), allowed=False)
    assert request("GET", f"http://127.0.0.1:{receiver.port}/").body == b"hello"
    assert refusal_of(f"http://127.0.0.1:{other.port}/").code == "address_refused"
    assert refusal_of(f"http://127.1:{receiver.port}/").code == "address_refused"
    settings.OUTGOING_ALLOWED = [f"Hook.Example:{other.port}"]
    assert refusal_of(f"http://127.0.0.1:{other.port}/").code == "address_refused"


def test_a_name_is_listed_by_itself_or_by_where_it_points(names, receive, settings):
    receiver = receive(answering(200), allowed=False)
    names["nas.lan"] = ["127.0.0.1"]
    for listed in (f"nas.lan:{receiver.port}", f"NAS.lan.:{receiver.port}", f"127.0.0.1:{receiver.port}"):
        settings.OUTGOING_ALLOWED = [listed]
        assert request("POST", f"http://nas.lan.:{receiver.port}/").status == 200
    assert len(receiver.seen) == 3


# ── what a bad server cannot do ─────────────────────────────────────────────────────────────────────────────────────


def test_a_redirect_is_an_answer_and_is_not_followed(receive):
    inside = receive(answering(200))
    outside = receive(answering(302, Location=f"http://127.0.0.1:{inside.port}/"))
    answer = request("POST", f"http://127.0.0.1:{outside.port}/", content=b"{}")
    assert (answer.status, answer.is_good) == (302, False)
    assert inside.seen == []


def test_a_long_answer_is_read_as_far_as_was_asked_for(receive):
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            ended.set()

    ended = threading.Event()
    receiver = receive(endless)
    assert request("GET", f"http://127.0.0.1:{receiver.port}/", most_bytes=1000).body == b"x" * 1000
    assert ended.wait(10), "the connection was left open"


def test_a_small_answer_does_not_unpack_into_a_large_one(receive):
    packed = b"\x1f\x8b" + b"\x00" * 30
    receiver = receive(answering(200, packed, **{"Content-Encoding": "gzip"}))
    assert request("GET", f"http://127.0.0.1:{receiver.port}/").body == packed


def test_a_server_that_drips_is_left_after_the_time_for_the_whole(receive):
    def drip(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                handler.wfile.write(b"X-More: 1\r\n")
                time.sleep(0.05)
        except OSError:
            pass

    receiver = receive(drip)
    began = time.monotonic()
    assert refusal_of(f"http://127.0.0.1:{receiver.port}/", seconds=0.5).code == "too_slow"
    assert time.monotonic() - began < 5


def test_a_slow_name_server_counts_as_slow_too(monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(outgoing, "_look_up", lambda *_: asked.wait(5) and [])
    assert refusal_of("http://hook.example/", seconds=0.2).code == "too_slow"
    asked.set()


def test_no_connection_and_a_cut_one_are_told_apart(receive, settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings.OUTGOING_ALLOWED = [f"127.0.0.1:{port}"]
    assert refusal_of(f"http://127.0.0.1:{port}/").code == "not_connected"
    cut = receive(lambda handler: handler.connection.shutdown(socket.SHUT_RDWR))
    assert refusal_of(f"http://127.0.0.1:{cut.port}/").code == "connection_lost"


def test_the_next_address_is_tried_when_the_first_takes_no_connection(names, receive, settings):
    receiver = receive(answering(200), allowed=False)
    names["hook.example"] = ["127.0.0.9", "127.0.0.1"]  # nothing listens on the first
    settings.OUTGOING_ALLOWED = [f"hook.example:{receiver.port}"]
    assert request("GET", f"http://hook.example:{receiver.port}/").status == 200


def test_proxies_of_the_environment_are_not_asked(receive, monkeypatch):
    proxy, receiver = receive(answering(502)), receive(answering(200))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert request("GET", f"http://127.0.0.1:{receiver.port}/").status == 200
    assert proxy.seen == []


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side with a certificate for hook.example, and a client's side that trusts its maker."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_tls_is_checked_against_the_name_and_not_the_address(certificate, names, receive, monkeypatch):
    server, client = certificate
    receiver = receive(answering(200), context=server)
    names["hook.example"] = names["other.example"] = ["127.0.0.1"]
    assert refusal_of(f"https://hook.example:{receiver.port}/").code == "tls_failed"  # a maker nobody trusts
    monkeypatch.setattr(outgoing, "_trust", lambda: client)
    assert request("GET", f"https://hook.example:{receiver.port}/").status == 200
    refused = refusal_of(f"https://other.example:{receiver.port}/")
    assert refused.code == "tls_failed"
    assert "other.example" in refused.sentence
    assert len(receiver.seen) == 1
