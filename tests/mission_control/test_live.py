"""The reader of the log and `follow`, in this process, on the database of the run."""

import asyncio
import threading
import time
from contextlib import aclosing

import pytest
from django.db import connections

from mission_control import live, log
from mission_control.actors import system
from mission_control.models import Activity

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
SYSTEM = system("test")


@log.verb
def write(kind="activity.logged", **fields):
    log.record(kind, SYSTEM, **fields)


def write_many(count, **fields):
    """In another thread, the way commits really come."""

    def work():
        try:
            for _ in range(count):
                write(**fields)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def following(work):
    """Run a coroutine on a loop of its own and end the reader after it."""

    async def run():
        try:
            async with asyncio.timeout(30):
                return await work()
        finally:
            await live.stop()

    return asyncio.run(run())


async def numbers(since, upto, **options):
    """The numbers that `follow` yields until it has come to `upto`."""
    seen = []
    async with aclosing(live.follow(since, **options)) as batches:
        async for cursor, events in batches:
            seen += [event.seq for event in events]
            if cursor >= upto:
                return seen
    return seen


def test_a_follower_misses_nothing_while_many_threads_commit():
    begin = log.head()

    async def work():
        threads = [write_many(25) for _ in range(8)]
        first = asyncio.ensure_future(numbers(begin, begin + 200))
        while await live.head() < begin + 50:
            await asyncio.sleep(0.01)
        both = await asyncio.gather(first, numbers(begin + 50, begin + 200))
        for thread in threads:
            thread.join()
        return both

    first, late = following(work)
    assert first == list(range(begin + 1, begin + 201))
    assert late == list(range(begin + 51, begin + 201))


def test_a_follower_that_stops_in_between_goes_on_where_it_was(monkeypatch):
    monkeypatch.setattr(live, "KEPT", 30)  # most of it has to come from the table again
    monkeypatch.setattr(live, "PAGE", 7)
    begin = log.head()

    async def work():
        thread = write_many(150)
        seen, cursor = [], begin
        while cursor < begin + 150:
            part = await numbers(cursor, cursor + 1)
            seen += part
            cursor = part[-1]
        thread.join()
        return seen

    assert following(work) == list(range(begin + 1, begin + 151))


def test_the_bell_wakes_the_reader_long_before_it_looks_by_itself(monkeypatch):
    monkeypatch.setattr(live, "LOOK_SECONDS", 60)

    async def work():
        begin = await live.head()
        waiting = asyncio.ensure_future(numbers(None, begin + 1))
        while not live.tail().waiting:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        write_many(1)
        assert await waiting == [begin + 1]
        return time.monotonic() - began

    assert following(work) < 5


def test_the_reader_looks_by_itself_when_no_bell_rings(monkeypatch):
    monkeypatch.setattr(live, "ring", lambda head: None)

    async def work():
        begin = await live.head()
        waiting = asyncio.ensure_future(numbers(None, begin + 1))
        while not live.tail().waiting:
            await asyncio.sleep(0.01)
        write_many(1)
        return await waiting, begin

    seen, begin = following(work)
    assert seen == [begin + 1]


def test_a_reader_without_followers_asks_the_database_nothing():
    async def work():
        reader = live.tail()
        asked = []
        query = reader.query

        async def counted(*args):
            asked.append(args)
            return await query(*args)

        reader.query = counted
        await asyncio.sleep(live.LOOK_SECONDS * 2.5)
        idle = len(asked)
        begin = await live.head()
        write_many(1)
        seen = await numbers(begin, begin + 1)
        return idle, seen, begin

    idle, seen, begin = following(work)
    assert idle == 0
    assert seen == [begin + 1]


def test_a_filtered_follower_hears_that_it_is_alive_although_others_have_news():
    async def work():
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                write()
            connections.close_all()

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            async with aclosing(live.follow(None, lambda event: False, idle_seconds=0.3)) as batches:
                beats = []
                async for cursor, events in batches:
                    assert events == []
                    beats.append(cursor)
                    if len(beats) == 4:
                        return beats
        finally:
            stop.set()
            thread.join()

    beats = following(work)
    assert beats == sorted(beats)
    assert beats[-1] > beats[0], "the cursor moves on past what is filtered out"


def test_a_cursor_before_the_log_or_after_it_is_refused():
    write()
    write()
    write()
    Activity.objects.filter(seq__lte=log.head() - 1).delete()
    head = log.head()

    async def work():
        refused = []
        for since in (0, head - 2, head + 1, head + 1000):
            try:
                await numbers(since, since)
            except live.TooOld as old:
                refused.append((since, old.first, old.head))
        return refused, await numbers(head - 1, head)

    refused, kept = following(work)
    assert refused == [(since, head, head) for since in (0, head - 2, head + 1, head + 1000)]
    assert kept == [head]


def test_a_follower_that_is_overtaken_by_the_pruning_is_told_and_misses_nothing_in_silence(monkeypatch):
    monkeypatch.setattr(live, "PAGE", 3)
    begin = log.head()
    write_many(9).join()

    async def work():
        async with aclosing(live.follow(begin)) as batches:
            async for cursor, _ in batches:
                assert cursor == begin + 3
                await live.tail().query(Activity.objects.filter(seq__lte=begin + 6).delete)

    with pytest.raises(live.TooOld) as old:
        following(work)
    assert (old.value.first, old.value.head) == (begin + 7, begin + 9)


def test_upto_ends_the_following_at_that_number():
    begin = log.head()
    write_many(9).join()

    async def work():
        seen = []
        async with aclosing(live.follow(begin, upto=begin + 5)) as batches:
            async for _, events in batches:
                seen += [event.seq for event in events]
        return seen

    assert following(work) == list(range(begin + 1, begin + 6))


def test_a_nudge_wakes_one_follower_with_an_empty_batch():
    async def work():
        nudge = live.Nudge()
        async with aclosing(live.follow(None, nudge=nudge, idle_seconds=60)) as batches:
            await anext(batches)
            asyncio.get_running_loop().call_later(0.05, nudge.set)
            return await anext(batches)

    _, events = following(work)
    assert events == []


def test_what_is_taken_at_once_is_not_yielded_again():
    begin = log.head()
    taken = []

    def offer(events):
        if len(taken) < 2:
            taken.append([event.seq for event in events])
            return True
        return False

    async def work():
        yielded = []
        async with aclosing(live.follow(begin, offer=offer)) as batches:
            getting = asyncio.ensure_future(anext(batches))
            for place in range(4):
                while not live.tail().waiting and not getting.done():
                    await asyncio.sleep(0.01)
                write_many(1).join()
                while sum(map(len, taken)) + len(yielded) <= place:
                    await asyncio.sleep(0.01)
                    if getting.done():
                        yielded += [event.seq for event in getting.result()[1]]
                        getting = asyncio.ensure_future(anext(batches))
            getting.cancel()
        return yielded

    yielded = following(work)
    assert sum(taken, []) + yielded == list(range(begin + 1, begin + 5))
    assert len(taken) == 2


def test_a_ping_reaches_the_screens_of_this_process_and_records_nothing():
    head = log.head()

    async def work():
        heard = asyncio.get_running_loop().create_future()
        live.tail().on_ping.add(heard.set_result)
        threading.Thread(target=live.ping, args=({"task": "abcdefgh"},)).start()
        return await heard

    assert following(work) == {"task": "abcdefgh"}
    assert log.head() == head


def test_a_line_is_shown_with_null_for_what_is_not_set():
    write(title="A line", task="abcdefgh")
    shown = live.as_json(Activity.objects.order_by("-seq").first())
    assert shown["task"] == "abcdefgh"
    assert shown["actor"] == {"type": "system", "name": "test"}
    assert shown["venture"] is None
    assert shown["at"].endswith("Z")
