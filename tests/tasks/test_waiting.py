"""Waiting for work at a real server: woken at once, first come first served, and costing nothing meanwhile."""

import http.client
import json
import socket
import threading
import time

import pytest

from tests.serving import heard, subscribed, until


class Asker(threading.Thread):
    """One waiting request of its own; `answer` is `(status, JSON)` once it came, `seconds` how long that took."""

    def __init__(self, product, key, body=None, path="/api/v1/tasks/claim", method="POST", **headers):
        super().__init__(daemon=True)
        self.product, self.key, self.body, self.path, self.method = product, key, body, path, method
        self.headers = headers
        self.answer = None
        self.seconds = 0.0
        self.at = 0.0
        self.start()

    def run(self):
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.product.port, timeout=90)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **self.headers}
        payload = None if self.body is None else json.dumps(self.body)
        connection.request(self.method, self.path, payload, headers)
        response = connection.getresponse()
        raw = response.read()
        self.at = time.monotonic()
        self.seconds = self.at - began
        self.answer = response.status, json.loads(raw) if raw else None
        connection.close()

    def wait(self, seconds=20):
        self.join(seconds)
        assert self.answer is not None, f"no answer within {seconds} s"
        return self.answer

    @property
    def got(self):
        """The code of the task it was given."""
        status, body = self.wait()
        assert status == 200, body
        return body["task"]["id"] if body.get("task") else None


def claimer(product, key, wait=60, **body):
    return Asker(product, key, {"wait": wait, **body})


def waiting_at(product, count):
    """Until so many stand in the line of the server."""
    until(lambda: product.waiting == count, 20, f"{count} waiting")


@pytest.fixture
def slug(request):
    """A name of this test's own, so that tests at one server do not meet."""
    return f"t{abs(hash(request.node.name)) % 1_000_000}"


@pytest.fixture
def place(product, slug):
    """A venture and an agent's key of this test alone; only those who joined see the venture."""
    product.venture(slug, open_to_all=False)
    return Place(product, slug)


class Place:
    def __init__(self, product, slug):
        self.product, self.slug = product, slug

    def agent(self, name, **fields):
        key = self.product.agent(f"{self.slug}-{name}", **fields)
        self.product.inside(JOIN, agent=f"{self.slug}-{name}", venture=self.slug)
        return key

    def tasks(self, count=1, **fields):
        return self.product.tasks(count, venture=self.slug, **fields)

    def claimed(self):
        script = "from tasks.models import Task\n"
        script += (
            "result = list(Task.objects.filter(venture__slug=slug, epoch__gt=0).values_list('code', 'holder__slug'))"
        )
        return self.product.inside(script, slug=self.slug)


JOIN = """
from agents import roster
from mission_control.actors import system
from ventures.models import Venture
roster.join(system("test"), roster.by_slug(agent), Venture.objects.get(slug=venture))
"""


# ── claim ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_wait_the_answer_comes_at_once(product, place):
    status, body = product.ask("POST", "/api/v1/tasks/claim", place.agent("ada"), {})
    assert (status, body["task"], body["action"]) == (200, None, "none")
    assert body["retry_after"] > 0
    assert product.ask("POST", "/api/tasks/claim", place.agent("ada"), {}) == (404, {"message": "No available tasks"})


def test_a_waiting_claim_is_answered_as_soon_as_there_is_a_task(product, place):
    asker = claimer(product, place.agent("ada"))
    waiting_at(product, 1)
    created = time.monotonic()
    [code] = place.tasks()
    assert asker.got == code
    assert asker.at - created < 2
    assert asker.answer[1]["lease_token"]


def test_the_bare_claim_waits_as_well(product, place):
    asker = Asker(product, place.agent("ada"), {"wait": 60}, path="/api/tasks/claim")
    waiting_at(product, 1)
    [code] = place.tasks()
    assert asker.wait()[1]["id"] == code


def test_the_wait_ends_with_nothing_when_its_time_is_over(product, place):
    asker = claimer(product, place.agent("ada"), wait=1)
    status, body = asker.wait()
    assert (status, body["task"]) == (200, None)
    assert 0.9 < asker.seconds < 10


def test_who_came_first_is_served_first(product, place):
    keys = [place.agent(name) for name in ("ada", "bob", "cid")]
    askers = []
    for key in keys:
        askers.append(claimer(product, key))
        waiting_at(product, len(askers))
    for asker in askers:
        [code] = place.tasks()
        assert asker.got == code


def test_many_who_wait_get_each_task_once(product, place):
    keys = [place.agent(f"agent{n}") for n in range(6)]
    askers = [claimer(product, keys[n % 6], wait=8) for n in range(40)]
    waiting_at(product, 40)
    codes = place.tasks(30)
    given = [asker.got for asker in askers]
    assert sorted(code for code in given if code) == sorted(codes)
    assert given.count(None) == 10


def test_only_who_can_do_it_is_woken(product, place):
    cook, coder = place.agent("cook", capabilities="cooking"), place.agent("coder", capabilities="python")
    cooking, coding = claimer(product, cook, wait=4), claimer(product, coder)
    waiting_at(product, 2)
    [code] = place.tasks(required_capabilities=["python"])
    assert coding.got == code
    assert cooking.got is None


def test_what_is_assigned_wakes_its_assignee(product, place):
    other, mine = place.agent("other"), place.agent("mine")
    for_other, for_me = claimer(product, other, wait=4), claimer(product, mine)
    waiting_at(product, 2)
    [code] = place.tasks(assignee=f"{place.slug}-mine")
    assert for_me.got == code
    assert for_other.got is None


def test_a_hand_over_reaches_the_open_socket_and_the_waiting_claim(product, place):
    """Both doors hear of it at once, and the claim that comes of it begins the announced run."""
    key, name = place.agent("mine"), f"{place.slug}-mine"
    [code] = place.tasks(status="inbox")
    asker = claimer(product, key)
    waiting_at(product, 1)
    with product.socket(key=key) as socket:
        subscribed(socket, f"agent:{name}")
        begun = product.inside(PROCESS, code=code, agent=name)
        message = heard(socket)
    assert (message["type"], message["task"], message["data"]["via"]) == ("task.processed", code, "push")
    assert asker.got == code
    state = "from tasks.models import Session\nresult = list(Session.objects.filter(task__code=code).values_list('pk', 'state'))"
    assert product.inside(state, code=code) == [[begun, "running"]]


PROCESS = """
from agents import roster
from mission_control.actors import system
from tasks.dispatching import dispatch
result = dispatch.process(system("test"), code, roster.by_slug(agent)).session.pk
"""


@pytest.mark.parametrize(
    "deed",
    [
        "transitions.release(system('t'), code)",
        "transitions.pause(system('t'), code); transitions.resume(system('t'), code)",
        "transitions.complete(system('t'), code); transitions.reopen(system('t'), code)",
        "Task.objects.filter(code=code).update(lease_expires_at='2020-01-01T00:00Z', heartbeat_at='2020-01-01T00:00Z');"
        "transitions.expire(system('t'), Task.objects.get(code=code).pk);"
        "Task.objects.filter(code=code).update(not_before='2020-01-01T00:00Z')",
    ],
    ids=["released", "resumed", "reopened", "back-off is over"],
)
def test_what_comes_back_wakes_who_waits(product, place, deed):
    holder, waiter = place.agent("holder"), place.agent("waiter")
    [code] = place.tasks()
    assert product.ask("POST", "/api/v1/tasks/claim", holder, {})[1]["task"]["id"] == code
    asker = claimer(product, waiter)
    waiting_at(product, 1)
    imports = (
        "from mission_control.actors import system\nfrom tasks import transitions\nfrom tasks.models import Task\n"
    )
    product.inside(imports + deed, code=code)
    assert asker.got == code


def test_an_agent_that_joins_or_learns_is_asked_again(product, place):
    product.venture(f"{place.slug}-b", open_to_all=False)
    key = place.agent("ada")
    product.tasks(1, venture=f"{place.slug}-b")
    [python] = place.tasks(required_capabilities=["python"])
    joining, learning = claimer(product, key), claimer(product, key)
    waiting_at(product, 2)
    product.inside(JOIN, agent=f"{place.slug}-ada", venture=f"{place.slug}-b")
    until(lambda: joining.answer or learning.answer, 10, "an answer after joining")
    change = "from agents import roster\nfrom mission_control.actors import system\n"
    change += "roster.change(system('t'), roster.by_slug(slug), {'capabilities': ['python']})"
    product.inside(change, slug=f"{place.slug}-ada")
    assert python in {joining.got, learning.got}


def test_nobody_is_woken_while_the_fleet_is_frozen_and_all_after_the_thaw(product, place):
    freeze = "from mission_control import log\nfrom mission_control.actors import system\n"
    asker = claimer(product, place.agent("ada"))
    waiting_at(product, 1)
    product.inside(freeze + "log.freeze(system('t'), 'storm')")
    try:
        [code] = place.tasks()
        time.sleep(1.5)  # there is nothing to wait for: it must not come
        assert asker.answer is None
    finally:
        product.inside(freeze + "log.thaw(system('t'))")
    assert asker.got == code


def test_a_limit_on_work_in_progress_holds_and_room_wakes(product, slug):
    product.venture(slug, open_to_all=False, wip_limits={"in_progress": 1})
    place = Place(product, slug)
    first, second = place.agent("first"), place.agent("second")
    codes = place.tasks(2)
    assert product.ask("POST", "/api/v1/tasks/claim", first, {})[1]["task"]["id"] == codes[0]
    asker = claimer(product, second)
    waiting_at(product, 1)
    product.do("complete", codes[0])
    assert asker.got == codes[1]


def test_nothing_is_claimed_for_a_client_that_has_gone(product, place):
    key = place.agent("ada")
    body = b'{"wait": 60}'
    leaving = socket.create_connection(("127.0.0.1", product.port))
    leaving.sendall(
        b"POST /api/v1/tasks/claim HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (key.encode(), len(body), body)
    )
    waiting_at(product, 1)
    staying = claimer(product, key)
    waiting_at(product, 2)
    leaving.close()
    waiting_at(product, 1)
    [code] = place.tasks()
    assert staying.got == code
    assert place.claimed() == [[code, f"{place.slug}-ada"]]


def test_a_client_that_leaves_just_before_the_task_comes_leaves_it_to_others(product, place):
    """Hanging up and the task come one after the other, again and again: the task goes to who is still there."""
    key, other = place.agent("ada"), place.agent("bob")
    body = b'{"wait": 60}'
    for _ in range(10):
        leaving = socket.create_connection(("127.0.0.1", product.port))
        leaving.sendall(
            b"POST /api/v1/tasks/claim HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (key.encode(), len(body), body)
        )
        waiting_at(product, 1)
        leaving.close()
        [code] = place.tasks()
        assert claimer(product, other, wait=10).got == code
    assert {holder for _, holder in place.claimed()} == {f"{place.slug}-bob"}


def test_the_same_idempotency_key_waits_and_is_answered_once(product, place):
    key = place.agent("ada")
    headers = {"Idempotency-Key": f"once-{place.slug}"}
    first = Asker(product, key, {"wait": 60}, **headers)
    waiting_at(product, 1)
    [code] = place.tasks()
    assert first.got == code
    again = Asker(product, key, {"wait": 60}, **headers)
    assert again.wait() == first.answer
    assert len(place.claimed()) == 1


def test_a_revoked_key_gets_no_task_it_waited_for(product, place):
    key = place.agent("ada")
    asker = claimer(product, key)
    waiting_at(product, 1)
    revoke = "from agents import keys, roster\nfrom mission_control.actors import system\n"
    product.inside(
        revoke + "keys.revoke(system('t'), roster.by_slug(slug), key[3:11])", slug=f"{place.slug}-ada", key=key
    )
    place.tasks()
    assert asker.wait()[0] == 401
    assert place.claimed() == []


@pytest.mark.parametrize("wait", [-1, 61, "x", True, None])
def test_a_wait_that_cannot_be_is_refused_by_field(product, place, wait):
    status, body = product.ask("POST", "/api/v1/tasks/claim", place.agent("ada"), {"wait": wait})
    if wait is None:
        assert status == 200
    else:
        assert (status, body["details"][0]["field"]) == (400, "wait")


# ── listen ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def listener(product, key, query="timeout=60", path="/api/v1/tasks/listen"):
    return Asker(product, key, path=f"{path}?{query}", method="GET")


def test_listening_tells_what_is_pending_and_takes_nothing(product, place):
    key = place.agent("ada")
    asker = listener(product, key)
    waiting_at(product, 1)
    [code] = place.tasks()
    status, body = asker.wait()
    assert (status, [task["id"] for task in body["tasks"]]) == (200, [code])
    assert place.claimed() == []
    status, body = listener(product, key, path="/api/tasks/listen").wait()
    assert (status, body[0]["id"]) == (200, code)


def test_listening_ends_with_204(product, place):
    assert listener(product, place.agent("ada"), "timeout=1").wait() == (204, None)


def test_everybody_who_listens_hears_of_the_same_task(product, place):
    askers = [listener(product, place.agent(name)) for name in ("ada", "bob")]
    waiting_at(product, 2)
    [code] = place.tasks()
    assert [asker.wait()[1]["tasks"][0]["id"] for asker in askers] == [code, code]


@pytest.mark.parametrize("query", ["timeout=301", "timeout=x", "timeout=-1", "timeout=nan", "venture=nowhere"])
def test_a_bad_listen_is_refused_by_field(product, place, query):
    status, body = listener(product, place.agent("ada"), query).wait()
    assert (status, body["details"][0]["field"]) == (400, query.split("=")[0])


def test_listening_without_a_key_is_401(product):
    assert listener(product, "mc_nobodynobodynobodynobody").wait()[0] == 401


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_hundred_who_wait_hold_no_thread_and_no_connection(new_product):
    product = new_product()
    keys = [product.agent(f"agent{n}") for n in range(4)]
    warm = [claimer(product, key, wait=1) for key in keys * 10]  # all threads of the pools are there
    for asker in warm:
        asker.wait()
    with product.socket(key=keys[0]) as board:
        heard(board)
        until(lambda: product.waiting == 0, 10, "an empty line")
        threads, connections = product.threads, product.connections
        askers = [claimer(product, keys[n % 4]) for n in range(150)]
        listeners = [listener(product, keys[n % 4]) for n in range(50)]
        waiting_at(product, 200)
        assert product.threads <= threads
        assert product.connections <= connections
        busy = product.cpu_seconds
        time.sleep(3)  # measured over this time
        assert product.cpu_seconds - busy < 1.0, "waiting costs next to nothing"
        subscribed(board, "tasks")
        codes = product.tasks(160)
        given = {asker.got for asker in askers}
        assert len(given & set(codes)) == 150
        assert all(asker.wait()[0] == 200 for asker in listeners)
        assert product.threads <= threads
        assert product.connections <= connections
