"""The live path: the bell, the one reader of the log per process, and `follow` behind every live door.

A commit rings a bell without content; the reader then reads what is new from the log into a ring buffer, and looks by
itself twice a second when no bell rings (the layer may be down). Only reading again from an older number goes to the
database per client. Not here: the doors (doors.py), who may see what (the `wants` a door gives).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from mission_control.models import Activity, Fleet

logger = logging.getLogger(__name__)
GROUP, PINGS = "activities", "pings"
LOOK_SECONDS = 0.5
KEPT = 20_000  # activities in the ring buffer
PAGE = 500


class TooOld(Exception):
    """The cursor lies before what the log still holds. `first` is the oldest number there is."""

    def __init__(self, first: int):
        super().__init__(f"The log begins at {first}.")
        self.first = first


# ── the bell ────────────────────────────────────────────────────────────────────────────────────────────────────────


@receiver(post_save, sender=Activity, dispatch_uid="mission_control.live")
def _ring_after_commit(instance: Activity, **_: Any) -> None:
    transaction.on_commit(lambda: ring(instance.seq), robust=True)


def ring(head: int) -> None:
    """Wake the reader of this process and, through the channel layer, those of the others. Never raises or waits long."""
    if _tail is not None:
        _tail.wake()
    _send(GROUP, {"type": "bell", "head": head})


def ping(content: dict[str, Any]) -> None:
    """An unnumbered hint for open screens (a heartbeat): no activity, may be lost."""
    _send(
        PINGS,
        {"type": "ping", "content": {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in content.items()}},
    )


_quiet_until = 0.0


def _send(group: str, message: dict[str, Any]) -> None:
    """Through the channel layer, on the server's loop when there is one: the in-memory layer is not thread-safe."""
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    if _tail is not None and _tail.loop.is_running():
        asyncio.run_coroutine_threadsafe(_group_send(group, message), _tail.loop)
    elif settings.REDIS_URL:
        async_to_sync(_group_send)(group, message)


async def _group_send(group: str, message: dict[str, Any]) -> None:
    global _quiet_until
    try:
        async with asyncio.timeout(2):
            layer = get_channel_layer()
            assert layer is not None
            await layer.group_send(group, message)
    except Exception as error:  # the layer is only a doorbell: readers look by themselves
        _quiet_until = time.monotonic() + 1
        logger.warning("channel layer unreachable, readers look by themselves: %s", error)


# ── the reader ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Tail:
    """Reads the log once for all open doors of this process. Lives on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.recent: deque[Activity] = deque(maxlen=KEPT)
        self.head = 0
        self.bell = asyncio.Event()
        self.news = asyncio.Event()  # replaced at each batch: every waiter of the old one wakes
        self.pings: set[asyncio.Queue[dict[str, Any]]] = set()
        self.started = asyncio.Event()
        self.threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="tail")
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.tasks = [self.loop.create_task(self._read()), self.loop.create_task(self._listen())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.threads.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: the process is going away
            self.loop.call_soon_threadsafe(self.bell.set)

    async def query(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a database read in a thread; its connection goes back to the pool afterwards."""
        return await self.loop.run_in_executor(self.threads, _with_connection, work, *args)

    async def _read(self) -> None:
        while True:
            try:
                if not self.started.is_set():
                    self.head = await self.query(_head)
                    self.started.set()
                rows = await self.query(_after, self.head, PAGE)
                if rows:
                    self.recent.extend(rows)
                    self.head = rows[-1].seq
                    old, self.news = self.news, asyncio.Event()
                    old.set()
                    if len(rows) == PAGE:
                        continue
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.warning("cannot read the log, trying again: %s", error)
                await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.bell.wait(), LOOK_SECONDS)
            self.bell.clear()

    async def _listen(self) -> None:
        """Bells and pings of other processes, through the channel layer."""
        while True:
            try:
                layer = get_channel_layer()
                assert layer is not None
                channel = await layer.new_channel()
                await layer.group_add(GROUP, channel)
                await layer.group_add(PINGS, channel)
                while True:
                    message = await layer.receive(channel)
                    if message["type"] == "bell":
                        self.bell.set()
                    elif message["type"] == "ping":
                        for queue in self.pings:
                            if queue.qsize() < 100:
                                queue.put_nowait(message["content"])
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.warning("channel layer unreachable, listening again in 2 s: %s", error)
                await asyncio.sleep(2)

    def since(self, seq: int) -> list[Activity] | None:
        """What came after `seq`, from memory; None when memory does not reach back that far."""
        if seq >= self.head:
            return []
        if not self.recent or self.recent[0].seq > seq + 1:
            return None
        skip = seq + 1 - self.recent[0].seq  # numbers are dense
        return [self.recent[i] for i in range(skip, min(len(self.recent), skip + PAGE))]


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
    """End the reader; open followers end with it."""
    global _tail
    if _tail is not None:
        ended, _tail = _tail, None
        await ended.stop()


async def follow(
    since: int | None, wants: Callable[[Activity], bool] | None = None, *, idle_seconds: float = 15
) -> AsyncIterator[tuple[int, list[Activity]]]:
    """Yield `(head, activities)` for ever: each batch after `since`, in order, without a gap or a repeat.

    `since` None: from now on. `wants` filters in memory. An empty batch comes after `idle_seconds` without news, so
    that a door can show it is alive. TooOld when the log no longer holds what comes after `since`.
    """
    reader = tail()
    await reader.started.wait()
    cursor = reader.head if since is None else since
    if since is not None:
        first = await reader.query(_first)
        if since < first - 1:
            raise TooOld(first)
    while True:
        news = reader.news
        rows = reader.since(cursor)
        if rows is None:
            rows = await reader.query(_after, cursor, PAGE)
        if rows:
            cursor = rows[-1].seq
            wanted = [row for row in rows if wants(row)] if wants else rows
            if wanted:
                yield cursor, wanted
            continue
        try:
            await asyncio.wait_for(news.wait(), idle_seconds)
        except TimeoutError:
            yield cursor, []


def _with_connection(work: Callable[..., Any], *args: Any) -> Any:
    close_old_connections()
    try:
        return work(*args)
    finally:
        close_old_connections()


def _head() -> int:
    return Fleet.objects.values_list("seq", flat=True).get(pk=1)


def _first() -> int:
    return Activity.objects.order_by("seq").values_list("seq", flat=True).first() or 1


def _after(seq: int, most: int) -> list[Activity]:
    return list(Activity.objects.filter(seq__gt=seq).order_by("seq")[:most])
