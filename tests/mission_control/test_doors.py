"""The live doors of a real server, over real sockets: who may come in, what each is told, how it ends."""

import asyncio
import contextlib
import json
import socket as sockets
import threading
import time
import urllib.request

import pytest
import websockets.exceptions
from django.db import connections

from mission_control import doors, live, log, visitors
from mission_control.actors import system
from mission_control.visitors import Visitor
from tests import servers
from tests.serving import heard, subscribed, until

EVENT_STREAMS = ("/api/v1/events/stream", "/api/events/stream")
SOCKETS = ("/ws", "/api/v1/ws", "/api/ws")
CLOSED = websockets.exceptions.ConnectionClosed


@pytest.fixture(scope="module")
def admin(product):
    return product.agent("margaret", scopes="admin")


def head_of(product):
    """As the database says: a server hears of what another process committed within half a second."""
    return product.inside("from mission_control import log\nresult = log.head()")


def until_pong(socket):
    """What is told up to the answer to a ping that is sent now."""
    socket.send('{"type": "ping"}')
    told = []
    while (message := heard(socket))["type"] != "pong":
        told.append(message)
    return told


def closing(socket, seconds=10):
    """`(code, reason)` once it is closed, whatever is still said before."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(CLOSED):
        while True:
            socket.recv(timeout=max(0.01, deadline - time.monotonic()))
    return socket.close_code, socket.close_reason


# ── who may come in ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", SOCKETS)
def test_a_websocket_without_credentials_is_closed_with_the_reason(product, path):
    with product.socket(path) as socket:
        code, reason = closing(socket)
    assert code == 4401
    assert "Authorization: Bearer" in reason


@pytest.mark.parametrize("path", EVENT_STREAMS)
def test_an_event_stream_without_credentials_is_401(product, path):
    with product.stream(path) as stream:
        assert stream.status == 401
        assert stream.json()["code"] == "not_authenticated"


def test_a_key_in_the_address_is_refused_although_it_is_good(product, admin):
    for path in SOCKETS:
        with product.socket(f"{path}?token={admin}") as socket:
            code, reason = closing(socket)
        assert (code, "Keys in addresses are refused" in reason) == (4400, True)
    for path in EVENT_STREAMS:
        with product.stream(f"{path}?key={admin}", key=admin) as stream:
            assert stream.status == 400


def test_a_page_of_another_site_may_not_use_the_cookie(product):
    cookie = {"Cookie": f"sessionid={product.person()}"}
    for origin in ("https://evil.example", f"http://127.0.0.1:{product.port + 1}", "null"):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            product.socket(headers={**cookie, "Origin": origin})
        assert refused.value.response.status_code == 403
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        product.socket(headers=cookie)  # a browser always says its origin
    assert refused.value.response.status_code == 403
    with product.stream(EVENT_STREAMS[0], Cookie=cookie["Cookie"], Origin="https://evil.example") as stream:
        assert stream.status == 403


def test_our_own_page_comes_in_with_its_cookie(product):
    cookie = {"Cookie": f"sessionid={product.person()}"}
    with product.socket(headers={**cookie, "Origin": f"http://127.0.0.1:{product.port}"}) as socket:
        assert heard(socket)["you"] == {"type": "user", "name": "olivia"}
    with product.stream(EVENT_STREAMS[0], Cookie=cookie["Cookie"]) as stream:
        assert stream.status == 200


def test_a_foreign_host_name_is_refused(product, admin):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        product.socket(key=admin, headers={"Host": "rebound.example"})
    assert refused.value.response.status_code == 400


def test_a_ticket_opens_one_stream_once(product):
    product.agent("tess")
    make = (
        "from mission_control import tickets\nfrom agents.keys import by_prefix\nfrom agents.models import AgentKey\n"
    )
    make += "prefix = AgentKey.objects.filter(agent__slug='tess').last().prefix\n"
    ticket = product.inside(make + "result = tickets.create(by_prefix(prefix))[0]")
    with product.socket(f"/ws?ticket={ticket}") as socket:
        assert heard(socket)["you"] == {"type": "agent", "name": "tess"}
    with product.socket(f"/ws?ticket={ticket}") as socket:
        assert closing(socket)[0] == 4401


def test_of_many_with_the_same_ticket_one_comes_in(product):
    product.person()
    make = "from mission_control import tickets\nfrom mission_control.actors import person\n"
    make += "from mission_control.models import User\nresult = tickets.create(person(User.objects.get(username='olivia')))[0]"
    ticket = product.inside(make)
    gate, came = threading.Barrier(8), []

    def go():
        gate.wait()
        with product.stream(f"{EVENT_STREAMS[0]}?ticket={ticket}") as stream:
            came.append(stream.status)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == [200] + [401] * 7


def test_an_agent_that_nobody_claimed_may_not_listen(product):
    script = "from agents import roster\nresult = roster.register(name='Pending')[1]"
    key = product.inside(script)
    with product.socket(key=key) as socket:
        code, reason = closing(socket)
    assert code == 4403
    assert "claim" in reason


# ── what ends a stream ──────────────────────────────────────────────────────────────────────────────────────────────


REVOKE = """
from agents import keys, roster
from mission_control.actors import system
keys.revoke(system("test"), roster.by_slug(agent), key[3:11])
"""


def test_a_revoked_key_closes_every_door_within_five_seconds(product):
    key = product.agent("rita")
    with contextlib.ExitStack() as stack:
        open_sockets = [stack.enter_context(product.socket(path, key)) for path in SOCKETS]
        streams = [stack.enter_context(product.stream(path, key)) for path in EVENT_STREAMS]
        for socket in open_sockets:
            heard(socket)
        product.inside(REVOKE, agent="rita", key=key)
        began = time.monotonic()
        ends = [closing(socket) for socket in open_sockets]
        last = [list(stream.events())[-1] for stream in streams]
    assert time.monotonic() - began < 5
    assert [code for code, _ in ends] == [4401] * 3
    assert all("revoked" in reason for _, reason in ends)
    assert [(name, data["code"]) for _, name, data in last] == [("close", 4401)] * 2


@pytest.mark.parametrize(
    "deed",
    [
        "Session.objects.filter(session_key=key).delete()",
        "User.objects.filter(username=name).update(is_active=False)",
        "user = User.objects.get(username=name); user.set_password('another one'); user.save()",
    ],
    ids=["logged out", "deactivated", "new password"],
)
def test_a_person_who_may_no_longer_come_in_is_closed_within_five_seconds(product, deed):
    name = f"person{abs(hash(deed)) % 10_000}"
    key = product.person(name)
    with product.socket(headers={"Cookie": f"sessionid={key}", "Origin": product.url}) as socket:
        heard(socket)
        imports = "from django.contrib.sessions.models import Session\nfrom mission_control.models import User\n"
        product.inside(imports + deed, key=key, name=name)
        began = time.monotonic()
        assert closing(socket)[0] == 4401
    assert time.monotonic() - began < 5


def test_others_stay_when_one_key_is_revoked(product, admin):
    key = product.agent("ruth")
    with product.socket(key=key) as leaving, product.socket(key=admin) as staying:
        heard(leaving), heard(staying)
        product.inside(REVOKE, agent="ruth", key=key)
        assert closing(leaving)[0] == 4401
        staying.send('{"type": "ping"}')
        assert heard(staying)["type"] == "pong"


def test_who_does_not_read_is_closed_and_costs_nobody_else(product, admin):
    """A client that takes nothing: its buffers fill, then it is dropped; the others hear everything in time."""
    rude = sockets.socket()
    rude.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    rude.connect(("127.0.0.1", product.port))
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    rude.sendall(
        f"GET /ws?since=0 HTTP/1.1\r\nHost: 127.0.0.1:{product.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Authorization: Bearer {admin}\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    with product.socket(key=admin) as polite:
        heard(polite)
        subscribed(polite, "all", since=head_of(product))
        assert open_streams(product) == {"/ws": 2}
        for _ in range(12):  # more than all buffers in between hold
            product.tasks(500, description="x" * 2000)
            for _ in range(500):
                assert heard(polite)["type"] == "task.created"
        until(lambda: open_streams(product) == {"/ws": 1}, 30, "dropping who does not read")
        polite.send('{"type": "ping"}')
        assert heard(polite)["type"] == "pong"
    rude.close()


def open_streams(product):
    """Door → open streams, as /metrics says."""
    counted = {}
    for line in _get(product, "/metrics").splitlines():
        if line.startswith("mission_control_streams{"):
            counted[line.split('"')[1]] = int(float(line.split()[-1]))
    return {door: count for door, count in counted.items() if count}


def _get(product, path):
    with urllib.request.urlopen(product.url + path, timeout=10) as answer:
        return answer.read().decode()


# ── what each is told ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_board_s_socket_tells_the_line_of_the_log(product, admin):
    with product.socket(key=admin) as socket:
        hello = heard(socket)
        assert hello["type"] == "hello"
        begin = head_of(product)
        assert subscribed(socket, "tasks", since=begin)["seq"] >= hello["head"]
        [code] = product.tasks(1)
        event = heard(socket)
        assert (event["type"], event["task"], event["status_to"]) == ("task.created", code, "ready")
        assert event["seq"] == begin + 1
        assert event["actor"] == {"type": "system", "name": "test"}


def test_the_versioned_socket_tells_tasks_and_runs(product, admin):
    key = product.agent("vera")
    with product.socket("/api/v1/ws", admin) as socket:
        hello = heard(socket)
        assert hello["type"] == "connected"
        socket.send('{"type": "subscribe", "channel": "tasks"}')
        assert heard(socket)["type"] == "subscribed"
        [code] = product.tasks(1, assignee="vera", venture=product.venture("verandah"))
        created = heard(socket)
        assert (created["type"], created["data"]["id"]) == ("task:created", code)
        assert created["data"]["status"] == "assigned"
        assert created["timestamp"].endswith("Z")
        status, claim = product.ask("POST", "/api/v1/tasks/claim", key, {"venture": "verandah"})
        assert (status, claim["task"]["id"]) == (200, code)
        begun, updated = heard(socket), heard(socket)
        assert begun["type"] == "run:created"
        assert (begun["data"]["task"], begun["data"]["state"]) == (code, "running")
        assert "seq" not in begun, "what belongs to one change carries one number"
        assert (updated["type"], updated["data"]["status"]) == ("task:updated", "in_progress")
        product.do("complete", code, summary="done")
        ended, done = heard(socket), heard(socket)
        assert (ended["type"], ended["data"]["state"]) == ("run:completed", "completed")
        assert (done["type"], done["data"]["status"], done["seq"]) == ("task:updated", "done", updated["seq"] + 1)
        product.do("delete", code)
        gone = heard(socket)
        assert (gone["type"], gone["data"]["id"]) == ("task:deleted", code)


def test_the_simple_doors_tell_everything_from_the_start(product, admin):
    begin = head_of(product)
    with product.socket("/api/ws", admin) as socket, product.stream("/api/events/stream", admin) as stream:
        assert heard(socket)["type"] == "connected"
        [code] = product.tasks(1)
        by_socket = [heard(socket)]
        product.do("deliver", code, given=[{"type": "url", "title": "It", "path": "https://a.example"}])
        product.do("cancel", code)
        product.do("delete", code)
        by_socket += [heard(socket) for _ in range(3)]
        by_stream = [data for _, (_, _, data) in zip(range(4), stream.events(), strict=False)]
    types = ["task_created", "deliverable_added", "task_updated", "task_deleted"]
    assert [event["type"] for event in by_socket] == types
    assert by_socket == by_stream
    assert [event["seq"] for event in by_socket] == list(range(begin + 1, begin + 5))
    assert by_socket[0]["payload"]["id"] == code
    assert by_socket[0]["payload"]["workspace_id"] == "default"
    assert by_socket[1]["payload"]["title"] == "It"


def test_an_event_stream_names_kind_and_number(product, admin):
    begin = head_of(product)
    [code] = product.tasks(1)
    with product.stream(f"/api/v1/events/stream?since={begin}", admin) as stream:
        assert stream.answer.getheader("Content-Type").startswith("text/event-stream")
        number, name, data = next(stream.events())
    assert (number, name, data["task"]) == (begin + 1, "task.created", code)


def test_the_last_event_id_wins_over_the_address(product, admin):
    begin = head_of(product)
    product.tasks(2)
    with product.stream(f"/api/v1/events/stream?since={begin}", admin, Last_Event_ID=str(begin + 1)) as stream:
        assert next(stream.events())[0] == begin + 2


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_silent_event_stream_says_where_it_is(monkeypatch):
    """In this process, with a shorter silence: the comment moves the client's cursor past what it did not want."""
    monkeypatch.setattr(doors, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(visitors, "admit", lambda *args, **kwargs: Visitor(system("test")))
    monkeypatch.setattr(visitors, "gone", lambda those: set())
    door = doors.EVENT_STREAMS["/api/v1/events/stream"]
    scope = {
        "type": "http", "method": "GET", "path": door.path, "query_string": b"channels=task:zzzzzzzz", "headers": [],
        "scheme": "http", "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def work():
        said, hung_up = [], asyncio.Event()

        async def send(message):
            said.append(message.get("body", b""))
            if b"id: %d\n" % (head + 1) in said[-1]:
                hung_up.set()

        async def receive():
            await hung_up.wait()
            return {"type": "http.disconnect"}

        head = await live.head()
        serving = asyncio.ensure_future(doors.serve_event_stream(door, scope, receive, send))
        while not doors.open_streams:
            await asyncio.sleep(0.01)
        threading.Thread(target=write_elsewhere).start()
        async with asyncio.timeout(20):
            await serving
        await live.stop()
        return b"".join(said), head

    said, head = asyncio.run(work())
    assert b": head %d\nid: %d\n\n" % (head + 1, head + 1) in said
    assert b"data:" not in said


def write_elsewhere():
    with log.unit():
        log.record("activity.logged", system("test"))
    connections.close_all()


def test_an_agent_hears_at_once_what_is_assigned_to_it(product):
    key = product.agent("asa")
    with product.socket(key=key) as socket:
        heard(socket)
        product.agent("ben")
        product.tasks(1, assignee="ben")
        [code] = product.tasks(1, assignee="asa")
        event = heard(socket)
    assert (event["type"], event["task"]) == ("task.assigned", code)
    assert "seq" not in event


def test_an_agent_may_subscribe_to_what_is_assigned_to_it(product):
    key = product.agent("abe")
    with product.socket(key=key) as socket:
        heard(socket)
        begin = head_of(product)
        [code] = product.tasks(1, assignee="abe")
        product.tasks(1)
        subscribed(socket, "agent:abe", since=begin)
        mine = [heard(socket) for _ in range(1)]
        while mine[-1].get("task") != code or "seq" not in mine[-1]:
            mine.append(heard(socket))
        assert mine[-1]["type"] == "task.created"


def test_heartbeats_reach_people_and_no_agent(product):
    key = product.agent("hana")
    [code] = product.tasks(1, assignee="hana", venture=product.venture("harbour"))
    other = product.agent("hugo")
    headers = {"Cookie": f"sessionid={product.person()}", "Origin": product.url}
    with product.socket(headers=headers) as board, product.socket(key=other) as agent:
        for socket in (board, agent):
            heard(socket)
            subscribed(socket, "tasks", since=head_of(product))
        status, claim = product.ask("POST", "/api/v1/tasks/claim", key, {"lease_seconds": 60, "venture": "harbour"})
        assert (status, claim["task"]["id"]) == (200, code)
        assert heard(board)["type"] == heard(agent)["type"] == "task.claimed"
        lease = {"X_Lease_Epoch": str(claim["epoch"]), "X_Lease_Token": claim["lease_token"]}
        status, answer = product.ask("POST", f"/api/v1/tasks/{code}/heartbeat", key, {}, **lease)
        assert status == 200, answer
        ping = heard(board)
        assert (ping["type"], ping["task"]) == ("ping.task", code)
        assert "seq" not in ping
        product.tasks(1)
        assert heard(agent)["type"] == "task.created", "the next that an agent hears is a line of the log"


# ── what it may see ─────────────────────────────────────────────────────────────────────────────────────────────────

JOIN = """
from agents import roster
from mission_control.actors import system
from ventures.models import Venture
roster.join(system('test'), roster.by_slug(agent), Venture.objects.get(slug=venture))
"""


def test_an_agent_hears_of_a_closed_venture_only_after_it_joined(product):
    product.venture("vault", open_to_all=False)
    key = product.agent("cleo")
    with product.socket(key=key) as socket, product.stream("/api/v1/events/stream?channels=tasks", key) as stream:
        heard(socket)
        subscribed(socket, "tasks", since=head_of(product))
        product.tasks(1, venture="vault")
        product.tasks(1)
        assert heard(socket)["venture"] == "default"
        product.inside(JOIN, agent="cleo", venture="vault")
        [code] = product.tasks(1, venture="vault")
        assert heard(socket)["task"] == code
        streamed = [data["venture"] for _, (_, _, data) in zip(range(2), stream.events(), strict=False)]
    assert streamed == ["default", "vault"]


def test_replay_shows_an_agent_no_more_than_live(product, admin):
    product.venture("cellar", open_to_all=False)
    key = product.agent("cora")
    begin = head_of(product)
    product.tasks(3, venture="cellar")
    product.agent("carl")  # lines about another agent
    [code] = product.tasks(1)
    for path in SOCKETS:
        with product.socket(path, key) as socket:
            heard(socket)
            subscribed(socket, "all", since=begin)
            told = [heard(socket)]
            while code not in json.dumps(told[-1]):
                told.append(heard(socket))
            subjects = [message.get("data", message.get("payload", message)) for message in told]
            named = {
                (m.get("task") or s.get("task") or s.get("id"), s.get("agent"))
                for m, s in zip(told, subjects, strict=True)
            }
            assert named - {(None, "cora")} == {(code, None)}, "nothing of the cellar, nothing of another agent"


# ── subscriptions ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_channels_are_delivered_and_others_are_not(product, admin):
    product.venture("side")
    with product.socket(key=admin) as socket:
        heard(socket)
        begin = head_of(product)
        subscribed(socket, "venture:side", since=begin)
        product.tasks(2)
        [code] = product.tasks(1, venture="side")
        assert heard(socket)["task"] == code
        subscribed(socket, f"task:{code}")
        socket.send('{"type": "unsubscribe", "channels": ["venture:side"]}')
        assert heard(socket) ["channels"] == [f"task:{code}"]  # fmt: skip
        product.tasks(1, venture="side")
        product.do("cancel", code)
        assert heard(socket)["type"] == "task.cancelled"


def test_a_channel_that_is_added_later_is_replayed_without_repeating_the_others(product, admin):
    with product.socket(key=admin) as socket:
        heard(socket)
        begin = head_of(product)
        codes = product.tasks(4)
        subscribed(socket, f"task:{codes[0]}", f"task:{codes[1]}", since=begin)
        assert [heard(socket)["task"] for _ in range(2)] == codes[:2]
        subscribed(socket, "tasks", since=begin)
        assert [heard(socket)["task"] for _ in range(2)] == codes[2:]
        [code] = product.tasks(1)
        assert heard(socket)["task"] == code


def test_nothing_is_told_before_a_subscription_on_the_board_s_socket(product, admin):
    headers = {"Cookie": f"sessionid={product.person()}", "Origin": product.url}
    with product.socket(headers=headers) as socket:
        heard(socket)
        product.tasks(1)
        time.sleep(live.LOOK_SECONDS * 2)  # there is nothing to wait for: it must not come
        assert until_pong(socket) == []


@pytest.mark.parametrize(
    "message",
    [
        "no JSON", "[]", '"text"', "{}", '{"type": "dance"}', '{"type": "subscribe"}',
        '{"type": "subscribe", "channels": []}', '{"type": "subscribe", "channels": ["nonsense"]}',
        '{"type": "subscribe", "channels": ["task:\\u0000"]}', '{"type": "subscribe", "channels": [7]}',
        '{"type": "subscribe", "channels": ["all"], "since": -1}', '{"type": "subscribe", "channels": ["all"], "since": "x"}',
        '{"type": "subscribe", "channels": ["all"], "since": 99999999999999999999}', "[" * 5000, '{"a": 1, "a": 2}',
        '{"type": "ping", "x": NaN}',
    ],
)  # fmt: skip
def test_a_bad_message_is_answered_and_the_socket_stays(product, admin, message):
    with product.socket(key=admin) as socket:
        heard(socket)
        socket.send(message)
        answer = heard(socket)
        assert (answer["type"], answer["code"]) == ("error", "bad_message")
        socket.send(message.encode())  # as a binary frame
        assert heard(socket)["type"] == "error"
        socket.send('{"type": "ping"}')
        assert heard(socket)["type"] == "pong"


def test_a_message_that_is_too_long_closes_the_socket(product, admin):
    with product.socket(key=admin) as socket:
        heard(socket)
        with contextlib.suppress(CLOSED):
            socket.send("x" * 100_000)
        assert closing(socket)[0] == 1009


@pytest.mark.parametrize("path", SOCKETS)
def test_a_cursor_of_another_database_is_told_where_to_begin(product, admin, path):
    with product.socket(path, admin) as socket:
        head = heard(socket)["head"]
        socket.send(json.dumps({"type": "subscribe", "channels": ["all"], "since": head + 1_000_000}))
        gone = heard(socket)
        while gone["type"] == "subscribed":
            gone = heard(socket)
        assert (gone["type"], gone["code"], gone["snapshot"]) == ("gone", "cursor_too_old", "/api/v1/tasks")
        assert gone["head"] >= head
        code, reason = closing(socket)
        assert (code, "/api/v1/tasks" in reason) == (4410, True)


@pytest.mark.parametrize("path", EVENT_STREAMS)
def test_an_event_stream_with_such_a_cursor_is_410(product, admin, path):
    with product.stream(path, admin, Last_Event_ID="123456789") as stream:
        assert stream.status == 410
        assert stream.json()["snapshot"] == "/api/v1/tasks"


def test_a_cursor_before_what_the_log_holds_is_410(new_product):
    product = new_product()
    key = product.agent("margaret", scopes="admin")
    product.tasks(5)
    product.inside("from mission_control.models import Activity\nActivity.objects.filter(seq__lte=4).delete()")
    with product.stream(EVENT_STREAMS[0], key, Last_Event_ID="2") as stream:
        assert (stream.status, stream.json()["first"]) == (410, 5)
    with product.stream(EVENT_STREAMS[0], key, Last_Event_ID="4") as stream:
        assert next(stream.events())[0] == 5


def test_an_unknown_websocket_address_is_refused(product, admin):
    with pytest.raises(websockets.exceptions.InvalidStatus):
        product.socket("/nowhere", admin)


# ── without a gap or a repeat ───────────────────────────────────────────────────────────────────────────────────────


class Reader(threading.Thread):
    """Follows one door, hangs up by itself every now and then, and comes back with the last number it saw."""

    def __init__(self, product, key, path, every):
        super().__init__(daemon=True)
        self.product, self.key, self.path, self.every = product, key, path, every
        self.seen, self.visits = [], 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            self.visits += 1
            with contextlib.suppress(OSError, CLOSED, websockets.exceptions.InvalidHandshake, TimeoutError, ValueError):
                self.visit_stream() if "stream" in self.path else self.visit_socket()
            self.over.wait(0.05)

    @property
    def last(self):
        return self.seen[-1] if self.seen else 0

    def visit_socket(self):
        with self.product.socket(self.path, self.key, close_timeout=0.2) as socket:
            heard(socket)
            socket.send(json.dumps({"type": "subscribe", "channels": ["all"], "since": self.last}))
            taken = 0
            while taken < self.every and not self.over.is_set():
                message = json.loads(socket.recv(timeout=1))
                if "seq" in message and message["type"] != "subscribed":
                    self.seen.append(message["seq"])
                    taken += 1

    def visit_stream(self):
        with self.product.stream(self.path, self.key, timeout=2, Last_Event_ID=str(self.last)) as stream:
            for taken, (number, _, _) in enumerate(stream.events()):
                if number is not None:
                    self.seen.append(number)
                if taken >= self.every or self.over.is_set():
                    return


class Writer(threading.Thread):
    """Claims one task after the other over HTTP: each is a commit of its own."""

    def __init__(self, product, key):
        super().__init__(daemon=True)
        self.product, self.key = product, key
        self.claimed = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                status, _ = self.product.ask("POST", "/api/v1/tasks/claim", self.key, {"lease_seconds": 3600})
                self.claimed += status == 200
            except (OSError, ValueError, AssertionError):  # it is being killed
                self.over.wait(0.1)
            except Exception as error:
                if "http.client" not in type(error).__module__:
                    raise
                self.over.wait(0.1)


@pytest.mark.parametrize("kills", [0, 2], ids=["steady", "killed twice"])
def test_every_door_tells_each_number_once_while_sixteen_write(new_product, kills):
    """Readers hang up and come back all the time; in the second run the server is killed under them as well."""
    product = new_product()
    key = product.agent("margaret", scopes="admin")
    writers = [Writer(product, product.agent(f"writer{n}")) for n in range(4)] * 4
    writers = [Writer(product, writer.key) for writer in writers]
    product.tasks(800)
    readers = [
        Reader(product, key, path, every)
        for path, every in [("/ws", 40), ("/ws", 10_000), ("/api/ws", 60), *((stream, 50) for stream in EVENT_STREAMS)]
    ]
    for thread in [*readers, *writers]:
        thread.start()
    for round_ in range(kills):
        target = (round_ + 1) * 60
        until(lambda: sum(w.claimed for w in writers) > target, 60, "writing")  # noqa: B023
        product.kill()
        product.start()
    until(lambda: sum(w.claimed for w in writers) > 200, 60, "writing")
    for writer in writers:
        writer.over.set()
    for writer in writers:
        writer.join(10)
    head = product.inside("from mission_control import log\nresult = log.head()")
    for reader in readers:
        until(lambda: reader.last >= head, 30, f"{reader.path} coming to {head}")  # noqa: B023
        reader.over.set()
    for reader in readers:
        assert reader.seen == list(range(1, head + 1)), f"{reader.path} after {reader.visits} visits"
    assert max(reader.visits for reader in readers) > 5


def test_the_versioned_socket_tells_each_change_of_a_task_once(new_product):
    product = new_product()
    key = product.agent("margaret", scopes="admin")
    product.tasks(150)
    writers = [Writer(product, product.agent(f"writer{n}")) for n in range(4)]
    reader = Reader(product, key, "/api/v1/ws", 30)
    for thread in [reader, *writers]:
        thread.start()
    until(lambda: sum(w.claimed for w in writers) >= 60, 60, "writing")
    for writer in writers:
        writer.over.set()
        writer.join(10)
    script = "from mission_control.models import Activity\n"
    script += "result = list(Activity.objects.exclude(task='').order_by('seq').values_list('seq', flat=True))"
    expected = product.inside(script)
    until(lambda: reader.last >= expected[-1], 30, "reading to the end")
    reader.over.set()
    assert reader.seen == expected


# ── several processes, and a layer that goes away ───────────────────────────────────────────────────────────────────


def test_two_servers_hear_each_other_at_once_and_without_the_layer_within_a_second(make_product, new_product):
    """Valkey is really stopped. With it, the other process hears by its bell; without it, by looking."""
    with servers.valkey(own=True) as valkey:
        one = new_product(REDIS_URL=valkey.url)
        two = make_product(
            database_url=one.database_url, REDIS_URL=valkey.url, DATA_DIR=str(one.folder / "data")
        ).start()
        key = one.agent("margaret", scopes="admin")
        worker = one.agent("wanda")
        one.tasks(60)
        with one.socket(key=key) as here, two.socket(key=key) as there:
            for socket in (here, there):
                heard(socket)
                subscribed(socket, "tasks")

            def claim(count):
                """The slowest way of an event from a claim at the first server to a socket at the second."""
                slowest = 0.0
                for _ in range(count):
                    began = time.monotonic()
                    assert one.ask("POST", "/api/v1/tasks/claim", worker, {})[0] == 200
                    assert heard(here)["type"] == heard(there)["type"] == "task.claimed"
                    slowest = max(slowest, time.monotonic() - began)
                return slowest

            claim(3)
            rung = sorted(claim(1) for _ in range(15))
            valkey.kill()
            assert sorted(claim(1) for _ in range(10))[5] < 1.0  # no single hiccup of the machine decides
            with one.socket(key=key) as fresh:  # a new stream opens without it too
                heard(fresh)
                subscribed(fresh, "tasks")
                assert one.ask("POST", "/api/v1/tasks/claim", worker, {})[0] == 200
                assert heard(fresh)["type"] == "task.claimed"
            heard(here), heard(there)
            valkey.start()
            again = []

            def rings_again():
                again.append(claim(1))
                return len(again) > 4 and sorted(again)[len(again) // 2] < 0.2

            assert rung[len(rung) // 2] < 0.2, "the bell is heard long before the reader looks by itself"
            until(rings_again, 20, "the bell ringing again")
        two.stop()
