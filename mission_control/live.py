"""The live path: the bell, the one reader of the log per process, and `follow` behind every live door.

A commit rings a bell without content; the reader then reads what is new from the log into a ring buffer, and looks by
itself twice a second when no bell rings (the layer may be down). Only reading again from an older number goes to the
database per client. Not here: the doors (doors.py), who may see what (the `wants` a door gives).

    commit ─ ring ─┬─ this process: the reader wakes ─ reads once ─ ring buffer ─ every follower, each at its own pace
                   └─ channel layer ─ the readers of the other processes
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from mission_control import log
from mission_control.models import Activity, Fleet

logger = logging.getLogger(__name__)
GROUP, PINGS = "activities", "pings"
LOOK_SECONDS = 0.5
BREATH_SECONDS = 0.015  # between two reads while events stream in: a batch costs little more than one
KEPT = 4_000  # events in the ring buffer
PAGE = 500
SLICE = 50  # followers told before the loop does something else
QUIET_SECONDS = 2  # how long nobody is called after the channel layer failed

COLUMNS = (
    "seq", "kind", "level", "actor_type", "actor", "venture", "venture_from", "task", "agent", "session",
    "status_from", "status_to", "title", "message", "data", "cause", "at",
)  # fmt: skip


class TooOld(Exception):
    """The cursor lies outside of what the log holds: before its first line, or after its last (another database).

    `first` and `head` are the oldest and the newest number there is.
    """

    def __init__(self, first: int, head: int):
        super().__init__(f"The log holds {first} to {head}.")
        self.first, self.head = first, head


class Event:
    """One activity as the doors pass it on: the columns of the log, read once and shared by all followers.

    `told` keeps what a door made of it, by shape: it is made once per process, not once per client.
    """

    __slots__ = (*COLUMNS, "told", "topics")

    seq: int
    kind: str
    level: str
    actor_type: str
    actor: str
    venture: str
    venture_from: str
    task: str
    agent: str
    session: str
    status_from: str
    status_to: str
    title: str
    message: str
    data: dict[str, Any]
    cause: int
    at: datetime
    told: dict[str, bytes]
    topics: frozenset[str]

    def __init__(self, cells: Iterable[Any]) -> None:
        for name, cell in zip(COLUMNS, cells, strict=True):
            setattr(self, name, cell)
        self.told = {}
        noun = self.kind.partition(".")[0]
        topics = {"all", f"{noun}s" if noun in ("agent", "venture") else noun}
        if self.task:
            topics |= {"tasks", f"task:{self.task}"}
        if self.agent:
            topics.add(f"agent:{self.agent}")
        if self.actor_type == "agent":
            topics.add(f"agent:{self.actor}")
        topics |= {f"venture:{slug}" for slug in (self.venture, self.venture_from) if slug}
        self.topics = frozenset(topics)


def as_json(line: Event | Activity) -> dict[str, Any]:
    """One line of the log as every door and `GET /activities` show it. What is not set is null."""
    return {
        "seq": line.seq,
        "kind": line.kind,
        "level": line.level,
        "actor": {"type": line.actor_type, "name": line.actor},
        "venture": line.venture or None,
        "task": line.task or None,
        "agent": line.agent or None,
        "session": line.session or None,
        "status_from": line.status_from or None,
        "status_to": line.status_to or None,
        "title": line.title,
        "message": line.message,
        "data": shown(line.data),
        "cause": line.cause or None,
        "at": iso(line.at),
    }


def shown(data: dict[str, Any]) -> dict[str, Any]:
    """`data` of a line for its readers: what the log keeps as a JSON text, since it holds no floats, is JSON again."""
    metadata = data.get("metadata")
    return {**data, "metadata": json.loads(metadata)} if isinstance(metadata, str) else data


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


# ── the bell ────────────────────────────────────────────────────────────────────────────────────────────────────────


@receiver(post_save, sender=Activity, dispatch_uid="mission_control.live")
def _ring_after_commit(instance: Activity, **_: Any) -> None:
    transaction.on_commit(lambda: ring(instance.seq), robust=True)


def ring(head: int) -> None:
    """Wake the reader of this process and, through the channel layer, those of the others. Never raises or waits long."""
    reader = _running()
    if reader:
        reader.wake()
        if settings.REDIS_URL:
            reader.tell_others(head)
    elif settings.REDIS_URL:
        _send_without_loop(GROUP, {"type": "bell", "head": head})


def ping(content: dict[str, Any]) -> None:
    """An unnumbered hint for open screens (a heartbeat): no activity, may be lost."""
    content = {name: iso(value) if isinstance(value, datetime) else value for name, value in content.items()}
    reader = _running()
    if reader:
        with contextlib.suppress(RuntimeError):
            reader.loop.call_soon_threadsafe(reader.take_ping, content)
            if settings.REDIS_URL:
                asyncio.run_coroutine_threadsafe(
                    _send(PINGS, {"type": "ping", "content": content, "from": reader.name}), reader.loop
                )
    elif settings.REDIS_URL:
        _send_without_loop(PINGS, {"type": "ping", "content": content, "from": ""})


def _running() -> Tail | None:
    return _tail if _tail is not None and _tail.loop.is_running() else None


_quiet_until = 0.0
_rang_at = 0.0


def _send_without_loop(group: str, message: dict[str, Any]) -> None:
    """From a process without a server (a command): at most twenty times a second, the readers look by themselves too."""
    global _rang_at
    if time.monotonic() - _rang_at > 0.05:
        _rang_at = time.monotonic()
        async_to_sync(_send)(group, message)


async def _send(group: str, message: dict[str, Any]) -> None:
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    try:
        async with asyncio.timeout(2):
            layer = get_channel_layer()
            assert layer is not None
            await layer.group_send(group, message)
    except Exception as error:  # the layer is only a doorbell: readers look by themselves
        _quiet_until = time.monotonic() + QUIET_SECONDS
        logger.debug("channel layer unreachable: %s", error)


# ── the reader ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Nudge:
    """Wakes one follower before there is news: it yields an empty batch. Used on the server's loop only."""

    def __init__(self) -> None:
        self.due = False
        self.place: Place | None = None

    def set(self) -> None:
        self.due = True
        if self.place is not None:
            self.place.wake()


class Place:
    """Where one follower is in the log, and how it is woken while it waits."""

    __slots__ = ("cursor", "future", "offer", "quiet_since")

    def __init__(self, cursor: int, quiet_since: float, offer: Callable[[list[Event]], bool] | None) -> None:
        self.cursor, self.quiet_since, self.offer = cursor, quiet_since, offer
        self.future: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


class Tail:
    """Reads the log once for all followers of this process, while there are any. Lives on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.name = f"{id(self):x}{time.time_ns():x}"  # to know our own pings when the layer brings them back
        self.recent: deque[Event] = deque(maxlen=KEPT)
        self.head = 0
        self.lag_seconds = 0.0  # how old the newest event was when it was read
        self.layer_is_up = True
        self.followers = 0
        self.wanted = asyncio.Event()  # there are followers
        self.started = asyncio.Event()  # `head` is known and what comes after it will be read
        self.bell = asyncio.Event()
        self.waiting: dict[Place, None] = {}
        self.telling = asyncio.Lock()  # one at a time makes what events look like
        self.on_ping: set[Callable[[dict[str, Any]], None]] = set()
        self.threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="tail")
        self.tasks: list[asyncio.Task[None]] = []
        self._untold = 0
        self._telling: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.tasks = [self.loop.create_task(self._read())]
        if settings.REDIS_URL:
            self.tasks.append(self.loop.create_task(self._listen()))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.threads.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """From any thread."""
        if not self.bell.is_set():  # set: the reader has yet to clear it and to read, our commit included
            with contextlib.suppress(RuntimeError):  # the loop has closed: the process is going away
                self.loop.call_soon_threadsafe(self.bell.set)

    def tell_others(self, head: int) -> None:
        """From any thread: ring at the other processes, once for many commits."""
        idle = self._untold == 0
        self._untold = max(self._untold, head)
        if idle:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._begin_telling)

    def _begin_telling(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = self.loop.create_task(self._tell_others())

    async def _tell_others(self) -> None:
        while self._untold:
            head, self._untold = self._untold, 0
            await _send(GROUP, {"type": "bell", "head": head})
            await asyncio.sleep(BREATH_SECONDS)

    async def query(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a database read in a thread; its connection goes back to the pool afterwards."""
        return await self.loop.run_in_executor(self.threads, with_connection, work, *args)

    async def _read(self) -> None:
        while True:
            try:
                if not self.followers:
                    self.started.clear()
                    self.recent.clear()
                    await self.wanted.wait()
                if not self.started.is_set():
                    self.head = await self.query(_head)
                    self.started.set()
                rows = await self.query(_after, self.head, PAGE)
                if rows:
                    await self._take(rows)
                    if len(rows) == PAGE:
                        continue
                    await asyncio.sleep(BREATH_SECONDS)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.warning("cannot read the log, trying again: %s", error)
                await asyncio.sleep(LOOK_SECONDS)
            if not self.bell.is_set():
                timer = self.loop.call_later(LOOK_SECONDS, self.bell.set)
                await self.bell.wait()
                timer.cancel()
            self.bell.clear()

    async def _take(self, rows: list[Event]) -> None:
        """Keep them and tell who waits, some at a time: what else the loop has to do is done in between."""
        self.recent.extend(rows)
        self.head = rows[-1].seq
        self.lag_seconds = max(0.0, time.time() - rows[0].at.timestamp())
        for number, place in enumerate(list(self.waiting), start=1):
            if place.offer is not None and place.cursor == rows[0].seq - 1 and place.offer(rows):
                place.cursor, place.quiet_since = self.head, self.loop.time()
            else:
                place.wake()
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def take_ping(self, content: dict[str, Any]) -> None:
        for hear in self.on_ping:
            hear(content)

    async def _listen(self) -> None:
        """Bells and pings of other processes, through the channel layer."""
        while True:
            layer = get_channel_layer()
            assert layer is not None
            try:
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
                await layer.group_add(PINGS, channel)
                self._note_layer("")
                while True:
                    message = await layer.receive(channel)
                    if message["type"] == "bell":
                        if message["head"] > self.head:
                            self.bell.set()
                    elif message["type"] == "ping" and message.get("from") != self.name:
                        self.take_ping(message["content"])
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._note_layer(str(error) or type(error).__name__)
                with contextlib.suppress(Exception):
                    await layer.flush()  # forget the half-made channel
                await asyncio.sleep(QUIET_SECONDS)

    def _note_layer(self, problem: str) -> None:
        if bool(problem) == self.layer_is_up:
            self.layer_is_up = not problem
            if problem:
                logger.warning("channel layer unreachable, readers look twice a second by themselves: %s", problem)
            else:
                logger.warning("channel layer reachable again")

    def since(self, seq: int) -> list[Event] | None:
        """What came after `seq`, from memory; None when memory does not reach back that far."""
        if seq >= self.head:
            return []
        if not self.recent or self.recent[0].seq > seq + 1:
            return None
        skip = seq + 1 - self.recent[0].seq  # numbers are dense
        return [self.recent[i] for i in range(skip, min(len(self.recent), skip + PAGE))]

    async def news(self, place: Place, seconds: float) -> None:
        """Return when there is news that the place was not offered or did not take, when woken, or after the time."""
        place.future = self.loop.create_future()
        self.waiting[place] = None
        timer = self.loop.call_later(seconds, place.wake)
        try:
            await place.future
        finally:
            timer.cancel()
            del self.waiting[place]
            place.future = None


_tail: Tail | None = None
_starting = threading.Lock()


def tail() -> Tail:
    """The reader of this process, started on the running loop when first asked for."""
    global _tail
    loop = asyncio.get_running_loop()
    with _starting:
        if _tail is None or _tail.loop is not loop:
            _tail = Tail(loop)
            _tail.start()
        return _tail


async def stop() -> None:
    """End the reader. Followers must have ended before: nothing wakes them any more."""
    global _tail
    if _tail is not None:
        ended, _tail = _tail, None
        await ended.stop()


async def follow(
    since: int | None,
    wants: Callable[[Event], bool] | None = None,
    *,
    upto: int | None = None,
    idle_seconds: float = 15,
    nudge: Nudge | None = None,
    offer: Callable[[list[Event]], bool] | None = None,
) -> AsyncGenerator[tuple[int, list[Event]], None]:
    """Yield `(cursor, events)`: each batch after `since`, in order, without a gap or a repeat, for ever or up to `upto`.

    `since` None: from now on, after a first empty batch whose cursor is the head. `wants` filters in memory. Batches
    are at most PAGE long. An empty batch comes after `idle_seconds` in which nothing was yielded, so that a door can
    show it is alive, and when nudged. The cursor is the last number looked at, wanted or not. While it is up to date, a
    batch is offered to `offer` first: what that takes at once (True) is not yielded.
    TooOld when the log does not hold what comes after `since`.
    """
    reader = tail()
    reader.followers += 1
    reader.wanted.set()
    try:
        await reader.started.wait()
        if since is None:
            place = Place(reader.head, 0.0, offer)
            yield place.cursor, []
        else:
            place = Place(since, 0.0, offer)
            oldest = reader.recent[0].seq - 1 if reader.recent else reader.head
            if not oldest <= since <= reader.head:
                first, head = await reader.query(_bounds)
                if not first - 1 <= since <= head:
                    raise TooOld(first, head)
        if nudge is not None:
            nudge.place = place
        place.quiet_since = reader.loop.time()
        while upto is None or place.cursor < upto:
            rows = reader.since(place.cursor)
            if rows is None:
                rows = await reader.query(_after, place.cursor, PAGE)
                if rows and rows[0].seq > place.cursor + 1:  # pruned while this follower was behind
                    raise TooOld(*await reader.query(_bounds))
            if rows:
                if upto is not None and rows[-1].seq > upto:
                    rows = [row for row in rows if row.seq <= upto]
                place.cursor = rows[-1].seq
                if wants is not None:
                    rows = [row for row in rows if wants(row)]
            if nudge is not None and nudge.due:
                nudge.due = False
            elif not rows:
                left = place.quiet_since + idle_seconds - reader.loop.time()
                if left > 0:
                    if place.cursor >= reader.head:
                        await reader.news(place, left)
                    continue
            yield place.cursor, rows
            place.quiet_since = reader.loop.time()
    finally:
        if nudge is not None:
            nudge.place = None
        reader.followers -= 1
        if not reader.followers:
            reader.wanted.clear()


def lag_seconds() -> float:
    """How old the newest event was when this process read it; 0 while nobody follows."""
    reader = _running()
    return reader.lag_seconds if reader and reader.followers else 0.0


async def head() -> int:
    """The number of the newest activity that this process knows of."""
    reader = tail()
    return reader.head if reader.started.is_set() else int(await reader.query(_head))


def with_connection(work: Callable[..., Any], *args: Any) -> Any:
    """Call it in a thread of ours; the connection it used goes back to the pool, a broken one is closed."""
    try:
        return work(*args)
    finally:
        close_old_connections()


def _head() -> int:
    return Fleet.objects.values_list("seq", flat=True).get(pk=1)


def _bounds() -> tuple[int, int]:
    """The number with which the log begins, and the newest; `(head + 1, head)` when it is empty."""
    first = log.first()
    return first, max(_head(), first - 1)


def _after(seq: int, most: int) -> list[Event]:
    rows = Activity.objects.filter(seq__gt=seq).order_by("seq").values_list(*COLUMNS)[:most]
    return [Event(row) for row in rows]
