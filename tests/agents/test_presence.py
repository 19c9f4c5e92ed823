"""Presence cannot lie: who went offline and came back, once each, also when many say so at once; who waits is here."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from agents import roster
from agents.models import Agent
from mission_control import doors, live, visitors
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.models import Activity
from mission_control.visitors import Visitor
from tasks import waiting
from tasks.claim_answer import ClaimAnswer
from tasks.claiming import Wish
from tests.threads import together

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture
def ada():
    return roster.create(system("test"), name="Ada", slug="ada", capabilities=["python"])


def now_of(agent) -> Agent:
    return Agent.objects.get(pk=agent.pk)


def silent(agent, seconds=301, *, offline=False) -> Agent:
    moment = Now() - timedelta(seconds=seconds)
    Agent.objects.filter(pk=agent.pk).update(last_seen_at=moment, seen_offline=offline)
    return now_of(agent)


def told(agent) -> list[str]:
    lines = Activity.objects.filter(agent=agent.slug, kind__in=("agent.went_offline", "agent.seen_again"))
    return [kind.removeprefix("agent.") for kind in lines.order_by("seq").values_list("kind", flat=True)]


def test_many_calls_at_once_bring_an_agent_back_with_one_line(ada):
    away = silent(ada, offline=True)
    assert set(together(*[lambda: roster.note_seen(Agent.objects.get(pk=away.pk))] * 8)) == {None}
    assert (told(ada), now_of(ada).seen_offline) == (["seen_again"], False)


def test_looks_of_many_processes_at_once_record_one_absence(ada):
    silent(ada)
    assert sorted(together(*[roster.mark_offline] * 6)) == [0, 0, 0, 0, 0, 1]
    assert (told(ada), now_of(ada).seen_offline) == (["went_offline"], True)


def test_a_sign_of_life_counts_although_somebody_took_it_for_offline_after_it_was_read(ada):
    read_before = silent(ada)
    assert roster.mark_offline() == 1
    roster.note_seen(read_before)
    assert (told(ada), now_of(ada).seen_offline) == (["went_offline", "seen_again"], False)


def test_who_gives_a_sign_of_life_while_somebody_looks_is_here_afterwards(ada):
    for _ in range(6):
        silent(ada)
        together(lambda: roster.note_seen(Agent.objects.get(pk=ada.pk)), roster.mark_offline)
        assert not now_of(ada).seen_offline
    lines = told(ada)
    assert lines == ["went_offline", "seen_again"] * (len(lines) // 2)


def test_an_open_connection_is_a_sign_of_life_and_brings_back_once(ada):
    newcomer, _, _ = roster.register(name="Newcomer")
    for offline, lines in ((False, []), (True, ["seen_again"])):
        silent(ada, offline=offline)
        together(*[lambda: roster.note_connected(["ada", newcomer.slug])] * 4)
        assert roster.mark_offline() == 0
        assert told(ada) == lines
    assert now_of(newcomer).last_seen_at is None


async def until_seen(agent, before) -> None:
    async with asyncio.timeout(20):
        while await live.tail().query(lambda: now_of(agent).last_seen_at) == before:
            await asyncio.sleep(0.02)


def test_an_agent_at_a_silent_stream_stays_here(ada, monkeypatch):
    monkeypatch.setattr(doors, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(doors, "HERE_SECONDS", 0)
    actor = Actor("agent", "ada", SCOPE_ABILITIES["work"], agent=ada)
    monkeypatch.setattr(visitors, "admit", lambda *args, **kwargs: Visitor(actor))
    before = silent(ada, 290).last_seen_at
    door = doors.EVENT_STREAMS["/api/v1/events/stream"]
    scope = {
        "type": "http", "method": "GET", "path": door.path, "query_string": b"", "headers": [], "scheme": "http",
        "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def work():
        hung_up = asyncio.Event()

        async def send(message):
            pass

        async def receive():
            await hung_up.wait()
            return {"type": "http.disconnect"}

        serving = asyncio.ensure_future(doors.serve_event_stream(door, scope, receive, send))
        await until_seen(ada, before)
        hung_up.set()
        await serving
        await live.stop()

    asyncio.run(work())
    assert (roster.mark_offline(), told(ada)) == (0, [])


def test_an_agent_that_listens_for_minutes_stays_here(ada, monkeypatch):
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "HERE_SECONDS", 0)
    before = silent(ada, 290).last_seen_at
    fit = waiting.fit(ada, Wish())
    nothing = ClaimAnswer(204, b"", {}, 30.0)

    async def work():
        hung_up = asyncio.Event()

        async def receive():
            await hung_up.wait()
            return {"type": "http.disconnect"}

        with ThreadPoolExecutor(1) as threads:
            line = waiting.Line()
            attempt = lambda waited: (nothing, fit)  # noqa: E731
            stands = asyncio.ensure_future(line.wait(attempt, nothing, fit, receive, threads, greedy=False))
            await until_seen(ada, before)
            hung_up.set()
            assert await stands is None
            line.watch.cancel()
            await asyncio.wait([line.watch])
        await live.stop()

    asyncio.run(work())
    assert (roster.mark_offline(), told(ada)) == (0, [])
