"""The live doors: websockets and event streams over `live.follow`. Not: what a task looks like (shapes are registered).

A door is one ASGI application and one task per client that pulls from the log at the client's own pace, so a slow one
holds a place in the log and no queue. What an event looks like is made once per shape and process. Each message is
checked against what the caller may see; what opened the stream is asked again every two seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from mission_control import live, sight, strict_json, visitors
from mission_control.errors import Invalid, Refused
from mission_control.live import Event, TooOld
from mission_control.sockets import EXTENSION, frame
from mission_control.visitors import Visitor

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Any], Awaitable[None]]
Shaper = Callable[[list[Event]], list[list[dict[str, Any]]]]

IDLE_SECONDS = 15  # at least every so often a stream says where it is
HERE_SECONDS = 30  # between two notes that the agents behind open streams are here
LOOK_SECONDS = 2  # between two looks at who may still be here and who is stuck
SLOW_SECONDS = 10  # one write that takes longer ends the stream
PATIENCE_SECONDS = 0.3  # for a client to say what it wants, before it is told everything
PINGS_SECONDS = 0.5  # heartbeats are shown at most this often
PIECE_BYTES = 64_000  # of one write
COME_BACK = "The server restarts. Connect again with the last number."
SNAPSHOT = "/api/v1/tasks"  # where to begin anew when the cursor is of no use
REVOKED, FORBIDDEN, BAD, TOO_OLD, RESTART, SLOW = 4401, 4403, 4400, 4410, 1012, 1013

TOPIC = re.compile(r"all|tasks|agents|ventures|fleet|(task|agent|venture):[A-Za-z0-9_-]{1,60}")


def _plain(events: list[Event]) -> list[list[dict[str, Any]]]:
    return [[{"type": event.kind, **live.as_json(event)}] for event in events]


# Shape → what each of these events is told as: no message, one, or more. The last one carries the number, so that a
# client that lost the connection between two of them gets both again. The apps to the right add theirs.
shapes: dict[str, Shaper] = {"plain": _plain}
shapes_that_read = {"v1", "simple"}  # they need the database, so they run in a thread
open_streams: set[Stream] = set()


@dataclass(frozen=True)
class Door:
    """How one address speaks. `at_once`: it delivers everything unless the client says at once what it wants."""

    path: str
    shape: str
    at_once: bool = False
    hello: str = "hello"


SOCKETS = {
    door.path: door
    for door in (
        Door("/ws", "plain"),
        Door("/api/v1/ws", "v1", hello="connected"),
        Door("/api/ws", "simple", at_once=True, hello="connected"),
    )
}
EVENT_STREAMS = {
    door.path: door
    for door in (Door("/api/v1/events/stream", "plain", True), Door("/api/events/stream", "simple", True))
}


class Stream:
    """One open client: who it is, what it wants, where it is in the log. Subclasses know how to write."""

    def __init__(self, door: Door, send: Send) -> None:
        self.door, self.send = door, send
        self.visitor: Visitor
        self.ventures: frozenset[str] | None = None
        self.topics: dict[str, int] = {}  # → delivered are only events above this number
        self.settled = 0  # above this number every topic is delivered
        self.cursor: int | None = None
        self.nudge = live.Nudge()
        self.pings: dict[str, bytes] = {}
        self.writing_since = 0.0  # on the loop's clock; 0: not writing
        self.over = False
        self.pump: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self.packed_as = f"{type(self).__name__} {door.shape}"
        self.audience: tuple[Any, ...] = ()

    # What each kind of stream says for itself.
    @property
    def is_pushed_to(self) -> bool:
        """Whether it is told more than its topics."""
        return False

    async def write(self, piece: bytes) -> None:
        raise NotImplementedError

    def packed(self, event: Event) -> bytes:
        raise NotImplementedError

    async def say_idle(self) -> None:
        raise NotImplementedError

    def write_now(self, piece: bytes) -> bool:
        """Write without waiting; False when that cannot be done."""
        return False

    def pushed(self, events: list[Event]) -> bytes:
        """What this client is told besides its topics."""
        return b""

    async def end(self, code: int, reason: str) -> None:
        """Say why and hang up."""
        raise NotImplementedError

    # ── following ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def see(self) -> None:
        """Read anew what this visitor may see."""
        if not sight.sees_all(self.visitor.actor):
            self.ventures = await live.tail().query(sight.ventures_of, self.visitor.actor)
        self._join_audience()

    def _join_audience(self) -> None:
        """Those of one audience are told the same bytes."""
        name = "" if self.ventures is None and not self.is_pushed_to else self.visitor.actor.name
        self.audience = (self.packed_as, tuple(sorted(self.topics)), self.ventures, name)

    async def deliver_from(self, since: int | None, topics: Iterable[str], *, instead: bool = False) -> None:
        """Add topics and deliver from `since` (None: from now on), what was delivered before left out.

        `instead`: the topics there were are dropped. Runs until the stream ends. TooOld.
        """
        before = dict(self.topics)
        if instead:
            self.topics = {}
        if self.cursor is None:
            self.cursor = await live.head() if since is None else since
        begin = self.cursor if since is None else since
        if begin > self.cursor:
            await _check_cursor(begin)
        for topic in topics:
            self.topics[topic] = min(begin, before.get(topic, begin))
        self.settled = max(self.topics.values(), default=0)
        self._join_audience()
        if begin < self.cursor and before != self.topics:
            async with aclosing(live.follow(begin, upto=self.cursor)) as batches:
                async for _, events in batches:
                    await self._deliver([e for e in events if self._wants(e) and not _matches(before, e)])
        following = live.follow(self.cursor, nudge=self.nudge, idle_seconds=IDLE_SECONDS, offer=self._take)
        async with aclosing(following) as batches:
            async for cursor, events in batches:
                if events:
                    if self.ventures is not None and any(
                        sight.changes_sight(self.visitor.actor, event) for event in events
                    ):
                        await self.see()
                    await self._deliver([event for event in events if self._wants(event)], moving=True)
                    await self._write(self.pushed(events))
                elif not self.pings:
                    await self.say_idle()
                self.cursor = cursor
                if self.pings:
                    pings, self.pings = self.pings, {}
                    await self._write(b"".join(pings.values()))

    def _take(self, events: list[Event]) -> bool:
        """What nearly every event is: news for a client that is up to date and reads. Told without a task of its own."""
        if self.writing_since or self.pings or events[0].seq <= self.settled:
            return False
        pieces = _pieces_of(events)
        if self.audience not in pieces:
            pieces[self.audience] = self._piece(events)
        piece = pieces[self.audience]
        if piece is None or (piece and not self.write_now(piece)):
            return False
        self.cursor = events[-1].seq
        return True

    def _piece(self, events: list[Event]) -> bytes | None:
        """The bytes of a batch for this audience; None when that takes a look into the database, or is long."""
        shape, actor = self.door.shape, self.visitor.actor
        if self.ventures is not None and any(sight.changes_sight(actor, event) for event in events):
            return None
        wanted = [event for event in events if self._wants(event)]
        if shape in shapes_that_read and not all(shape in event.told for event in wanted):
            return None
        if shape not in shapes_that_read:
            _tell_now(wanted, shape)
        piece = b"".join([*(self._packed(event) for event in wanted), self.pushed(events)])
        return piece if len(piece) <= PIECE_BYTES else None

    def _packed(self, event: Event) -> bytes:
        packed = event.told.get(self.packed_as)
        if packed is None:
            packed = event.told[self.packed_as] = self.packed(event)
        return packed

    def _wants(self, event: Event) -> bool:
        if event.seq > self.settled:
            wanted = not event.topics.isdisjoint(self.topics)
        else:
            wanted = _matches(self.topics, event)
        return wanted and sight.may_see(self.visitor.actor, self.ventures, event)

    async def _deliver(self, events: list[Event], *, moving: bool = False) -> None:
        """Write them in order. The cursor follows each write, so that a pump that is stopped can be taken up again."""
        if not events:
            return
        await _tell(events, self.door.shape)
        piece: list[bytes] = []
        size = 0
        for event in events:
            packed = self._packed(event)
            piece.append(packed)
            size += len(packed)
            if size > PIECE_BYTES:
                await self._write(b"".join(piece))
                piece, size = [], 0
                if moving:
                    self.cursor = event.seq
        await self._write(b"".join(piece) if len(piece) != 1 else piece[0])
        if moving:
            self.cursor = events[-1].seq

    async def _write(self, piece: bytes) -> None:
        if piece:
            self.writing_since = self.loop.time()
            try:
                await self.write(piece)
            finally:
                self.writing_since = 0.0


def _matches(topics: dict[str, int], event: Event) -> bool:
    return any(event.seq > topics[topic] for topic in event.topics if topic in topics)


async def _tell(events: list[Event], shape: str) -> None:
    """Fill `told[shape]` with JSON lines, once for all streams of this process."""
    if shape not in shapes_that_read:
        _tell_now(events, shape)
        return
    if all(shape in event.told for event in events):
        return
    async with live.tail().telling:
        missing = [event for event in events if shape not in event.told]
        if missing:
            _keep(missing, shape, await live.tail().query(shapes[shape], missing))


def _tell_now(events: list[Event], shape: str) -> None:
    missing = [event for event in events if shape not in event.told]
    if missing:
        _keep(missing, shape, shapes[shape](missing))


_pieces: tuple[list[Event], dict[Any, bytes | None]] = ([], {})


def _pieces_of(events: list[Event]) -> dict[Any, bytes | None]:
    """Audience → bytes, of the batch that is being told now."""
    global _pieces
    if _pieces[0] is not events:
        _pieces = (events, {})
    return _pieces[1]


def _keep(events: list[Event], shape: str, messages: list[list[dict[str, Any]]]) -> None:
    for event, parts in zip(events, messages, strict=True):
        event.told[shape] = b"\n".join(strict_json.write(part) for part in parts)


def _told(event: Event, shape: str) -> list[bytes]:
    lines = event.told[shape]
    return lines.split(b"\n") if lines else []  # JSON written by us holds no raw line break


# ── websockets ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Socket(Stream):
    """A websocket. Its own coroutine listens to the client, the pump beside it delivers."""

    def __init__(self, door: Door, send: Send, write_frames: Callable[[bytes], bool] | None = None) -> None:
        super().__init__(door, send)
        self.write_frames = write_frames
        self.by_default = False  # it is told everything because it has not said what it wants

    @property
    def is_pushed_to(self) -> bool:
        return self.door.shape == "plain" and self.visitor.actor.is_agent

    def write_now(self, piece: bytes) -> bool:
        return self.write_frames is not None and self.write_frames(piece)

    def pushed(self, events: list[Event]) -> bytes:
        """An agent that is connected hears at once what was assigned to it, whatever it subscribed to."""
        if not self.is_pushed_to:
            return b""
        me = self.visitor.actor.name
        mine = [
            e
            for e in events
            if e.status_to == "assigned" and e.agent == me and e.status_from != "assigned" and e.actor != me
        ]
        return b"".join(
            frame(strict_json.write({"type": "task.assigned", "task": e.task, "title": e.title, "venture": e.venture,
                                     "cause": e.seq, "at": live.iso(e.at)}))
            for e in mine
        )  # fmt: skip

    def packed(self, event: Event) -> bytes:
        return b"".join(frame(line) for line in _told(event, self.door.shape))

    async def write(self, piece: bytes) -> None:
        if self.write_frames is not None:
            await self.send({"type": EXTENSION, "bytes": piece})
            return
        for text in _texts(piece):
            await self.send({"type": "websocket.send", "text": text})

    async def say(self, message: dict[str, Any]) -> None:
        await self._write(frame(strict_json.write(message)))

    async def say_idle(self) -> None:
        if self.door.shape == "plain":
            await self.say({"type": "ping", **_now(), "head": self.cursor})

    async def end(self, code: int, reason: str) -> None:
        if self.over:
            return
        self.over = True
        if self.pump is not None:
            self.pump.cancel()
        try:
            async with asyncio.timeout(5):
                await self.send({"type": "websocket.close", "code": code, "reason": reason[:120]})
        except Exception:  # it is gone, or it takes nothing: the server hangs up when its coroutine ends
            if self.task is not None:
                self.task.cancel()

    # ── what the client says ────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if self.over:
                continue
            try:
                await self._hear(message.get("text") or (message.get("bytes") or b"").decode())
            except UnicodeDecodeError:
                await self._complain("Send JSON as text.")
            except Refused as refused:
                await self._complain(refused.sentence)

    async def _hear(self, text: str) -> None:
        message = strict_json.read(text.encode("utf-8", "surrogatepass"))
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "ping":
            await self.say({"type": "pong", **_now(), "head": await live.head()})
        elif kind == "subscribe":
            await self.subscribe(_topics(message), _since(message.get("since")))
        elif kind == "unsubscribe":
            for topic in _topics(message):
                self.topics.pop(topic, None)
            self._join_audience()
            await self.say({"type": "unsubscribed", "channels": sorted(self.topics), "seq": self.cursor or 0})
        elif kind != "pong":
            await self._complain("Send one of: subscribe, unsubscribe, ping, pong.")

    async def subscribe(self, topics: list[str], since: int | None) -> None:
        if self.pump is not None:
            self.pump.cancel()
            await asyncio.wait({self.pump})
        instead, self.by_default = self.by_default, False
        known = sorted(set(topics) if instead else {*self.topics, *topics})
        await self.say({"type": "subscribed", "channels": known, "seq": await live.head()})
        self.resume(since, topics, instead=instead)

    def resume(self, since: int | None, topics: list[str], *, instead: bool = False) -> None:
        self.pump = self.loop.create_task(self._pump(since, topics, instead))

    def begin_by_default(self, since: int) -> None:
        """Everything from `since` on, to a client that has not said what it wants."""
        if self.pump is None and not self.over:
            self.by_default = True
            self.resume(since, ["all"])

    async def _pump(self, since: int | None, topics: list[str], instead: bool) -> None:
        try:
            await self.deliver_from(since, topics, instead=instead)
        except TooOld as old:
            await self.say({**_too_old(old), "type": "gone"})
            self.pump = None  # it ends by itself
            await self.end(TOO_OLD, f"The cursor is of no use here. Begin at {SNAPSHOT}.")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not self.over and type(error).__name__ != "ClientDisconnected":
                logger.exception("a stream broke")
                self.pump = None
                await self.end(1011, "Internal error. Connect again.")

    async def _complain(self, sentence: str) -> None:
        await self.say({"type": "error", "code": "bad_message", "error": sentence})


async def serve_socket(door: Door, scope: Scope, receive: Receive, send: Send) -> None:
    """One websocket from its handshake to its end."""
    await receive()  # websocket.connect
    socket = Socket(door, send, scope.get("extensions", {}).get(EXTENSION, {}).get("write"))
    try:
        socket.visitor = await _admit(scope, browser_must_say_origin=True)
        await socket.see()
    except Refused as refused:
        await _turn_away(scope, send, refused)
        return
    await send({"type": "websocket.accept"})
    _enter(socket)
    try:
        await _greet(socket, parse_qs(scope["query_string"].decode("latin-1")))
        await socket.listen(receive)
    except asyncio.CancelledError:
        if not socket.over:
            raise
    finally:
        socket.over = True
        open_streams.discard(socket)
        if socket.pump is not None:
            socket.pump.cancel()


async def _greet(socket: Socket, query: dict[str, list[str]]) -> None:
    if _leaving:
        await socket.end(RESTART, COME_BACK)
        return
    door, actor = socket.door, socket.visitor.actor
    you = {"type": actor.type, "name": actor.name}
    head = await live.head()
    await socket.say({"type": door.hello, "head": head, **_now(), "you": you})
    try:
        if "since" in query or "channels" in query:
            await socket.subscribe(_topics_in(query), _since(query.get("since", [None])[-1]))
        elif door.at_once:
            socket.loop.call_later(PATIENCE_SECONDS, socket.begin_by_default, head)
        elif socket.is_pushed_to:
            socket.resume(None, [])
    except Invalid as invalid:
        await socket.end(BAD, invalid.sentence)


async def _turn_away(scope: Scope, send: Send, refused: Refused) -> None:
    """A foreign page or host gets plain HTTP; who can read it gets a close code with the reason."""
    if refused.status in (401, 403, 400) and refused.code not in ("foreign_origin", "unknown_host"):
        code = {401: REVOKED, 403: FORBIDDEN, 400: BAD}[refused.status]
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": code, "reason": refused.sentence[:120]})
    elif "websocket.http.response" in scope.get("extensions", {}):
        headers = [(b"content-type", b"application/json"), *_encoded(refused.headers())]
        await send({"type": "websocket.http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": strict_json.write(refused.body())})
    else:
        await send({"type": "websocket.close", "code": FORBIDDEN})


# ── event streams ───────────────────────────────────────────────────────────────────────────────────────────────────


class EventStream(Stream):
    """Server-sent events. The comment that shows it is alive also moves the client's cursor on."""

    last = b""

    def packed(self, event: Event) -> bytes:
        lines = _told(event, self.door.shape)
        name = f"event: {event.kind}\n".encode() if self.door.shape == "plain" else b""
        parts = [b"data: " + line + b"\n\n" for line in lines[:-1]]
        if lines:
            parts.append(b"id: %d\n" % event.seq + name + b"data: " + lines[-1] + b"\n\n")
        return b"".join(parts)

    async def write(self, piece: bytes) -> None:
        await self.send({"type": "http.response.body", "body": piece, "more_body": True})

    async def say_idle(self) -> None:
        await self._write(b": head %d\nid: %d\n\n" % (self.cursor or 0, self.cursor or 0))

    async def close(self) -> None:
        """The last words, after the pump has ended."""
        assert self.pump is not None
        if not self.over:
            error = self.pump.exception()
            if isinstance(error, TooOld):  # pruned in the last moment
                await self.end(TOO_OLD, f"Begin at {SNAPSHOT}.")
            else:
                logger.error("a stream broke", exc_info=error)
                await self.end(1011, "Internal error. Connect again.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self.send({"type": "http.response.body", "body": b"event: close\ndata: " + self.last + b"\n\n"})

    async def end(self, code: int, reason: str) -> None:
        if self.over:
            return
        self.over = True
        self.last = strict_json.write({"code": code, "reason": reason})
        if self.pump is not None:
            self.pump.cancel()  # the stream's own coroutine says the last words


async def serve_event_stream(door: Door, scope: Scope, receive: Receive, send: Send) -> None:
    """One event stream from its request to its end."""
    try:
        if scope["method"] != "GET":
            raise Refused("Use GET.", code="method_not_allowed", status=405)
        visitor = await _admit(scope, browser_must_say_origin=False)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        headers = _headers(scope)
        since = _since(headers.get("last-event-id") or query.get("since", [None])[-1])
        topics = _topics_in(query)
        if since is not None:
            await _check_cursor(since)
    except TooOld as old:
        await answer(send, 410, _too_old(old))
        return
    except Refused as refused:
        await answer(send, refused.status, refused.body(), refused.headers())
        return
    stream = EventStream(door, send)
    stream.visitor = visitor
    await stream.see()
    start = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": start})
    await stream.write(b"retry: 1000\n: head %d\n\n" % await live.head())
    stream.pump = asyncio.ensure_future(stream.deliver_from(since, topics))
    gone = asyncio.ensure_future(_until_disconnect(receive))
    _enter(stream)
    try:
        if _leaving:
            await stream.end(RESTART, COME_BACK)
        await asyncio.wait({stream.pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            await stream.close()
    finally:
        open_streams.discard(stream)
        gone.cancel()
        stream.pump.cancel()


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _check_cursor(since: int) -> None:
    """TooOld before the answer begins, so that it can be a 410."""
    async with aclosing(live.follow(since, idle_seconds=0)) as batches:
        async for _ in batches:
            return


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────

_leaving = False
_keeper: asyncio.Task[None] | None = None
_heard: dict[str, dict[str, Any]] = {}


def _enter(stream: Stream) -> None:
    """Count it in; the first one starts the keeper of this loop."""
    global _keeper
    open_streams.add(stream)
    live.tail().on_ping.add(_hear_ping)
    if _keeper is None or _keeper.done() or _keeper.get_loop() is not stream.loop:
        _keeper = stream.loop.create_task(_keep_watch())


async def _keep_watch() -> None:
    """Every two seconds: end who may no longer be here and who takes nothing. Ends when nobody is here."""
    noted = asyncio.get_running_loop().time()
    while open_streams:
        await asyncio.sleep(LOOK_SECONDS)
        now = asyncio.get_running_loop().time()
        ends: list[tuple[Stream, int, str]] = [
            (stream, SLOW, "Too slow: what came was not read. Connect again with the last number.")
            for stream in open_streams
            if stream.writing_since and now - stream.writing_since > SLOW_SECONDS
        ]
        try:
            here = {stream.visitor: stream for stream in open_streams}
            for visitor in await live.tail().query(visitors.gone, list(here)):
                ends.append((here.pop(visitor), REVOKED, "The key was revoked or the session has ended."))
            if now - noted >= HERE_SECONDS:
                noted = now
                await live.tail().query(visitors.note_here, list(here))
        except Exception as error:
            logger.warning("cannot check who may still listen, trying again: %s", error)
        await _end_all(ends)


async def _end_all(ends: list[tuple[Stream, int, str]]) -> None:
    await asyncio.gather(*(stream.end(code, reason) for stream, code, reason in ends), return_exceptions=True)


async def leave() -> None:
    """The server goes away: every client hears 1012 and may come back with its last number."""
    global _leaving
    _leaving = True
    await _end_all([(stream, RESTART, COME_BACK) for stream in list(open_streams)])
    if _keeper is not None:
        _keeper.cancel()


def _hear_ping(content: dict[str, Any]) -> None:
    """Heartbeats reach the screens of people, who see all; merged, the newest of each task."""
    if "task" not in content:
        return
    if not _heard:
        asyncio.get_running_loop().call_later(PINGS_SECONDS, _show_pings)
    _heard[content["task"]] = content


def _show_pings() -> None:
    framed = {
        code: frame(strict_json.write({"type": "ping.task", **content})) for code, content in _heard.items()
    }  # fmt: skip
    _heard.clear()
    for stream in open_streams:
        if isinstance(stream, Socket) and stream.door.shape == "plain" and stream.ventures is None:
            if "tasks" in stream.topics or "all" in stream.topics:
                stream.pings |= framed
            else:
                stream.pings |= {code: ping for code, ping in framed.items() if f"task:{code}" in stream.topics}
            if stream.pings:
                stream.nudge.set()


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


async def answer(send: Send, status: int, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> None:
    """One complete JSON answer."""
    content = body if isinstance(body, bytes) else strict_json.write(body)
    start = [(b"cache-control", b"no-store"), *_encoded(headers or {})]
    if status != 204:
        start += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": content if status != 204 else b""})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def _admit(scope: Scope, *, browser_must_say_origin: bool) -> Visitor:
    work = functools.partial(
        visitors.admit, _headers(scope), scope["query_string"].decode("latin-1"), (scope.get("client") or ("",))[0],
        scheme=scope["scheme"], browser_must_say_origin=browser_must_say_origin,
    )  # fmt: skip
    visitor: Visitor = await live.tail().query(work)
    return visitor


def _topics(message: dict[str, Any]) -> list[str]:
    given = message.get("channels", message.get("channel", []))
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list) or not given or len(given) > 100:
        raise Invalid({"channels": "Name 1 to 100 channels, for example tasks or task:k3v9d2qa."})
    for name in given:
        if not isinstance(name, str) or not TOPIC.fullmatch(name):
            raise Invalid(
                {"channels": f"{str(name)[:80]!r} is no channel. Use all, tasks, agents, ventures, fleet,"
                 " venture:<slug>, task:<code> or agent:<slug>."}
            )  # fmt: skip
    return given


def _topics_in(query: dict[str, list[str]]) -> list[str]:
    named = [name for value in query.get("channels", []) for name in value.split(",") if name]
    return _topics({"channels": named}) if named else ["all"]


def _since(value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    raise Invalid({"since": "Give the number of the last activity you have, 0 for all."})


def _too_old(old: TooOld) -> dict[str, Any]:
    return {
        "error": f"The log holds {old.first} to {old.head}: what came after this cursor cannot be told."
        f" Read {SNAPSHOT} and go on from {old.head}.",
        "code": "cursor_too_old", "details": [], "first": old.first, "head": old.head, "snapshot": SNAPSHOT,
    }  # fmt: skip


def _now() -> dict[str, str]:
    return {"now": live.iso(datetime.now(UTC))}


def _texts(frames: bytes) -> Iterable[str]:
    """The texts in a row of frames made by `frame`: for servers that take one message at a time."""
    place = 0
    while place < len(frames):
        length = frames[place + 1]
        place += 2
        if length == 126:
            length, place = int.from_bytes(frames[place : place + 2]), place + 2
        elif length == 127:
            length, place = int.from_bytes(frames[place : place + 8]), place + 8
        yield frames[place : place + length].decode()
        place += length
