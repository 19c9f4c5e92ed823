"""The one way out: every request of ours to an address that somebody gave us. Not: what is sent, and when again.

Where a request goes is decided by the address it is about to connect to and not by how that was written: the name is
resolved here, each address is judged, and the connection is made to one that was, so a name cannot point elsewhere in
between. TLS still checks the name. Redirects are answers like any other; proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

import httpx2
from django.conf import settings

SECONDS = 15  # for the whole of it: looking the name up, connecting, sending, reading
CONNECT_SECONDS = 5
MOST_BYTES = 64 * 1024  # of an answer; the rest is not read
MOST_ADDRESSES = 4  # of one name that are tried
LONGEST = 2000

# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-, as of 2026. Not `is_global` of the standard
# library: what it says differs between releases, and it takes NAT64 and 6to4 forms of a private address for public.
CLOSED_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
            "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
            "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
OPEN_V6 = ip_network("2000::/3")  # all that was ever given out for the internet; the rest is closed
CLOSED_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
NAT64 = ip_network("64:ff9b::/96")  # how a host without IPv4 sees one: judged by the address inside

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]+")
_resolving = ThreadPoolExecutor(8, thread_name_prefix="resolve")  # a name server may take longer than we wait


class Answer(NamedTuple):
    """What came back. `headers` by lower-case name; `body` is at most as long as was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


class NotSent(Exception):
    """There was no answer. `code` is one of address_refused, name_unknown, not_connected, tls_failed, too_slow,
    connection_lost. The sentence names the host and never the path or the headers, which may hold secrets.
    """

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.sentence, self.code = sentence, code


class Target(NamedTuple):
    """An address taken apart. `host` is in ASCII lower case without a dot at its end."""

    url: httpx2.URL
    host: str
    port: int


def target_of(address: str) -> Target:
    """What may be stored as an address to call. ValueError is the complaint.

    Names are not looked up here: where they point can change, so it counts when the request is made.
    """
    if len(address) > LONGEST:
        raise ValueError(f"At most {LONGEST} characters.")
    try:
        url = httpx2.URL(address)
        host = url.raw_host.decode("ascii").lower()
    except (httpx2.InvalidURL, UnicodeError, ValueError, TypeError):
        raise ValueError("This is not an address.") from None
    if url.scheme not in ("https", "http") or not host:
        raise ValueError("Give an address that begins with https:// or http://.")
    if url.userinfo or "@" in url.netloc.decode("ascii", "replace"):
        raise ValueError("Leave user and password out of the address.")
    if url.fragment:
        raise ValueError("Leave the part from # out of the address.")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError("The port is a number from 1 to 65535.")
    host = host.removesuffix(".")
    if not _HOST.fullmatch(host):
        raise ValueError("Write the host as a name, or as an IP address in its usual form.")
    target = Target(url, host, url.port or (443 if url.scheme == "https" else 80))
    written = _written_address(host)
    if not (_is_listed(host, target.port) or (written is not None and _is_listed(str(written), target.port))):
        _refuse_plainly_private(host, written)
    return target


async def send(
    method: str,
    address: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    seconds: float = SECONDS,
    most_bytes: int = MOST_BYTES,
) -> Answer:
    """Make one request. NotSent when there was no answer; any status is one, redirects and errors too."""
    began = time.monotonic()
    try:
        target = target_of(address)
    except ValueError as error:
        raise NotSent(str(error), "address_refused") from None
    try:
        async with asyncio.timeout(seconds):
            status, named, body = await _sent(target, method, dict(headers or {}), content, most_bytes)
    except TimeoutError:
        raise NotSent(f"{target.host} took longer than {seconds:g} s.", "too_slow") from None
    return Answer(status, named, body, time.monotonic() - began)


def request(
    method: str,
    address: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    seconds: float = SECONDS,
    most_bytes: int = MOST_BYTES,
) -> Answer:
    """`send` for a thread that has no event loop. Blocks up to `seconds`."""
    return asyncio.run(send(method, address, headers=headers, content=content, seconds=seconds, most_bytes=most_bytes))


async def _sent(
    target: Target, method: str, headers: dict[str, str], content: bytes, most_bytes: int
) -> tuple[int, dict[str, str], bytes]:
    """On the first of its addresses that takes a connection."""
    addresses = await _addresses(target)
    # Nothing is kept open: a connection that was checked for one name is never used for another on the same host.
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=0)
    for place, numeric in enumerate(addresses, start=1):
        transport = httpx2.AsyncHTTPTransport(verify=_trust(), trust_env=False, limits=limits)
        made = httpx2.Request(
            method,
            target.url.copy_with(host=numeric),
            headers={"User-Agent": "Mission-Control", "Accept": "*/*", **headers, "Host": _host_header(target)},
            content=content,
            extensions={
                "sni_hostname": target.host,
                "timeout": httpx2.Timeout(None, connect=CONNECT_SECONDS).as_dict(),
            },
        )
        async with transport:
            try:
                answer = await transport.handle_async_request(made)
                try:
                    return answer.status_code, _plain(answer.headers), await _beginning(answer, most_bytes)
                finally:
                    await answer.aclose()
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if place == len(addresses):
                    raise _not_connected(target, error) from None
            except httpx2.HTTPError:
                raise NotSent(f"{target.host} ended the connection in the middle.", "connection_lost") from None
    raise AssertionError("unreachable")


async def _beginning(answer: httpx2.Response, most_bytes: int) -> bytes:
    """Raw, so that a small answer does not unpack into a large one."""
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) >= most_bytes:
            break
    return bytes(body[:most_bytes])


def _plain(headers: httpx2.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _host_header(target: Target) -> str:
    return target.url.netloc.decode("ascii")


def _not_connected(target: Target, error: Exception) -> NotSent:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or "the handshake failed"
            return NotSent(f"No safe connection to {target.host}: {reason}.", "tls_failed")
        cause = cause.__cause__ or cause.__context__
    return NotSent(f"{target.host} takes no connection on port {target.port}.", "not_connected")


@cache
def _trust() -> ssl.SSLContext:
    """Whom this machine trusts."""
    return httpx2.create_ssl_context(trust_env=False)


# ── where it may go ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _addresses(target: Target) -> list[str]:
    """The addresses of the host, all of them judged. One that is closed closes the name: it may be the one used next."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_resolving, _look_up, target.host, target.port)
    except (OSError, UnicodeError):
        raise NotSent(f"{target.host} has no address.", "name_unknown") from None
    addresses = list(dict.fromkeys(entry[4][0] for entry in found))
    if not addresses:
        raise NotSent(f"{target.host} has no address.", "name_unknown")
    if not _is_listed(target.host, target.port):
        for numeric in addresses:
            if not is_open(numeric) and not _is_listed(numeric, target.port):
                raise NotSent(
                    f"{target.host} is {numeric}, which is not a public address. An administrator can allow it:"
                    f" OUTGOING_ALLOWED={_authority(target.host, target.port)}.",
                    "address_refused",
                )
    return addresses[:MOST_ADDRESSES]


def _look_up(host: str, port: int) -> list[tuple[object, object, object, object, tuple[str, int]]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[return-value]


def is_open(numeric: str) -> bool:
    """Whether an IP address belongs to the internet: not to this machine, its networks, or a tunnel into them."""
    try:
        address = ip_address(numeric)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None)
        if inner is None:
            return address in OPEN_V6 and not any(address in network for network in CLOSED_V6)
        address = inner
    return not any(address in network for network in CLOSED_V4)


def _written_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _refuse_plainly_private(host: str, written: IPv4Address | IPv6Address | None) -> None:
    """ValueError for what is known to be closed without asking a name server."""
    last = host.rpartition(".")[2]
    if written is None and (last.isdigit() or last.startswith("0x") or ":" in host):
        raise ValueError("Write the host as a name, or as an IP address in its usual form.")
    if (written is not None and not is_open(str(written))) or last == "localhost":
        raise ValueError(
            f"{host} is not a public address. An administrator can allow it by its host and port in OUTGOING_ALLOWED."
        )


def _is_listed(host: str, port: int) -> bool:
    """Whether the operator listed this host and port in the settings."""
    return _authority(host, port) in allowed()


def allowed() -> frozenset[str]:
    """OUTGOING_ALLOWED as `host:port`; ValueError names the entry that is none."""
    return _allowed(tuple(settings.OUTGOING_ALLOWED))


@cache
def _allowed(entries: tuple[str, ...]) -> frozenset[str]:
    listed = set()
    for entry in entries:
        host, _, port = entry.strip().lower().rpartition(":")
        host = host.removeprefix("[").removesuffix("]").removesuffix(".")
        if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{entry} is not host:port.")
        listed.add(_authority(str(_written_address(host) or host), int(port)))
    return frozenset(listed)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(address: str) -> str:
    """What of an address may be shown to anyone: user, path and query may be secrets."""
    try:
        url = httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError, TypeError):
        return ""
    return url.netloc.decode("ascii", "replace").rpartition("@")[2][:300]
