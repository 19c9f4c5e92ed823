"""Sending webhooks: again by the schedule, at most so many at once, never lost by a kill; read by the standard's library."""

from __future__ import annotations

import datetime
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.core.management import call_command

from mission_control import live, log
from mission_control.models import Activity, Delivery, Webhook
from mission_control.outbound import deliveries, sending, webhooks
from mission_control.outbound.outgoing import Answer, NotSent
from tests.conftest import DIRECTOR, a_task
from tests.receiving import answering
from tests.serving import ROOT, until

pytestmark = pytest.mark.django_db


@pytest.fixture
def hook(receive) -> Webhook:
    """Subscribed to tasks; `hook.receiver` remembers, `hook.says` is what it answers."""

    def act(handler) -> None:
        made.says(handler)

    receiver = receive(act)
    url = f"http://127.0.0.1:{receiver.port}/in?token=t"
    made = webhooks.create(DIRECTOR, url=url, kinds=["task.*"])[0]
    made.receiver, made.says = receiver, answering(204)
    return made


def due_again(**fields) -> None:
    """As if the wait were over."""
    Delivery.objects.filter(state="pending").update(next_at=log.now() - datetime.timedelta(seconds=1), **fields)
    Webhook.objects.update(hold_until=None)


def waits(delivery: Delivery) -> float:
    return (Delivery.objects.get(pk=delivery.pk).next_at - log.now()).total_seconds()


# ── the message ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_is_the_line_of_the_log_with_the_headers_of_the_standard(hook):
    task = a_task("told")
    assert sending.deliver() == (1, 0)
    [(method, path, headers, body)] = hook.receiver.seen
    line = Activity.objects.get(task=task.code)
    assert (method, path) == ("POST", "/in?token=t")
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == Delivery.objects.get().message_id == deliveries.message_id(hook, line)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert json.loads(body) == {
        "type": "task.created", "timestamp": live.iso(line.at), "data": json.loads(json.dumps(live.as_json(line))),
    }  # fmt: skip
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries, delivery.attempts[0]["status"]) == ("delivered", 1, 204)
    assert sending.deliver() == (0, 0)
    assert len(hook.receiver.seen) == 1


def test_the_library_of_the_standard_in_another_language_reads_it(hook, tmp_path):
    """npm install standardwebhooks, and a program that verifies: the right one, and five that were tampered with."""
    npm = shutil.which("npm")
    assert npm, "Node.js with npm is needed: it verifies what we sign with code that is not ours."
    subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "standardwebhooks@1"],
        cwd=tmp_path, check=True, timeout=300, env={**os.environ, "npm_config_cache": str(tmp_path / "cache")},
    )  # fmt: skip
    _, secret = webhooks.rotate(DIRECTOR, hook.code)  # both secrets sign: the new one has to be found among them
    a_task("told – mit Umlaut ü und 🚀")
    assert sending.deliver() == (1, 0)
    [(_, _, headers, body)] = hook.receiver.seen
    program = """
        const { Webhook } = require("standardwebhooks");
        const { secret, headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const said = (secret, headers, body) => {
            try { return new Webhook(secret).verify(body, headers).type } catch (error) { return error.message }
        };
        console.log(JSON.stringify([
            said(secret, headers, body), said(secret, headers, body + " "),
            said(secret, { ...headers, "webhook-id": headers["webhook-id"] + "0" }, body),
            said(secret, { ...headers, "webhook-timestamp": String(headers["webhook-timestamp"] - 1) }, body),
            said(secret, { ...headers, "webhook-timestamp": String(headers["webhook-timestamp"] - 3600) }, body),
            said("whsec_" + Buffer.from("another secret of 32 bytes ......").toString("base64"), headers, body),
        ]));
    """
    ran = subprocess.run(
        ["node", "-e", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
        input=json.dumps({
            "secret": secret, "body": body.decode(),
            "headers": {name: headers[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")},
        }),
    )  # fmt: skip
    no_match = "No matching signature found"
    assert json.loads(ran.stdout) == [
        "task.created",
        no_match,
        no_match,
        no_match,
        "Message timestamp too old",
        no_match,
    ]


# ── again ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_fails_is_sent_again_by_the_schedule_and_dies_at_its_end(hook, monkeypatch):
    monkeypatch.setattr(sending, "CIRCUIT_AFTER", 1000)
    hook.says = answering(500, b"out of order")
    a_task()
    for tries, wait in enumerate(sending.SCHEDULE[1:], start=1):
        assert sending.deliver() == (0, 1)
        delivery = Delivery.objects.get()
        assert (delivery.state, delivery.tries) == ("pending", tries)
        assert wait * 0.9 - 2 <= waits(delivery) <= wait * 1.1
        assert sending.deliver() == (0, 0)
        due_again()
    assert sending.deliver() == (0, 1)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries, delivery.answer) == ("dead", 10, "out of order")
    assert [attempt["error"] for attempt in delivery.attempts] == ["It answered 500."] * 10
    assert {seen[2]["webhook-id"] for seen in hook.receiver.seen} == {delivery.message_id}
    assert len({seen[3] for seen in hook.receiver.seen}) == 1
    assert [round(sum(sending.SCHEDULE[: n + 1])) for n in (1, 9)] == [5, 272_105]


def test_the_waits_of_many_differ(hook, monkeypatch):
    hook.says = answering(500)
    for n in range(6):
        a_task(f"task {n}")
    monkeypatch.setattr(sending, "CIRCUIT_AFTER", 1000)
    sending.deliver()
    assert len({round(waits(delivery), 2) for delivery in Delivery.objects.all()}) > 1


def test_a_success_ends_the_count_of_failures(hook):
    hook.says = answering(500)
    a_task()
    sending.deliver()
    hook.refresh_from_db()
    assert (hook.failures, hook.failing_since is None) == (1, False)
    hook.says = answering(200)
    due_again()
    assert sending.deliver() == (1, 0)
    hook.refresh_from_db()
    assert (hook.failures, hook.failing_since, hook.hold_until) == (0, None, None)
    assert hook.delivered_at is not None


@pytest.mark.parametrize(
    ("status", "said", "least", "most"),
    [
        (429, "120", 118, 121), (503, "7200", 7190, 7201), (429, "999999999", 86_390, 86_401),
        (500, "120", 4, 6), (429, "soon", 4, 6), (429, "-5", 4, 6), (429, "1e9", 4, 6), (429, "²", 4, 6),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 4, 6), (503, "Fri, 31 Dec 2199 23:59:59 GMT", 86_390, 86_401),
    ],
)  # fmt: skip
def test_an_endpoint_says_when_to_come_back_within_reason(hook, status, said, least, most):
    hook.says = answering(status, **{"Retry-After": said.encode().decode("latin-1")})
    a_task()
    assert sending.deliver() == (0, 1)
    assert least <= waits(Delivery.objects.get()) <= most
    a_task("another")
    held = most > 100
    assert sending.deliver() == ((0, 0) if held else (0, 1))  # it holds for the whole endpoint


def test_a_redirect_is_a_failure_that_says_so(hook):
    hook.says = answering(301, Location="https://hook.example/")
    a_task()
    assert sending.deliver() == (0, 1)
    assert Delivery.objects.get().attempts[0]["error"].startswith("A redirect is not followed")


def test_an_address_that_is_no_longer_allowed_is_not_called(hook, settings):
    a_task()
    settings.OUTGOING_ALLOWED = []
    assert sending.deliver() == (0, 1)
    assert "not a public address" in Delivery.objects.get().attempts[0]["error"]
    assert hook.receiver.seen == []


# ── disabled ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_endpoint_that_is_gone_is_disabled_at_once_and_visibly(hook):
    hook.says = answering(410)
    for n in range(3):
        a_task(f"task {n}")
    hook.concurrency = 1
    hook.save(update_fields=["concurrency"])
    assert sending.deliver() == (0, 1)
    hook.refresh_from_db()
    assert (hook.enabled, hook.disabled_reason) == (False, "The endpoint answered 410: it is gone for good.")
    [line] = Activity.objects.filter(kind="webhook.disabled")
    assert (line.level, line.data["webhook"], line.data["given_up"]) == ("error", hook.code, 2)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}


def test_five_days_of_failures_disable_and_one_success_in_between_does_not(hook):
    hook.says = answering(500)
    a_task()
    sending.deliver()
    Webhook.objects.update(failing_since=log.now() - datetime.timedelta(days=4, hours=23))
    due_again()
    sending.deliver()
    hook.refresh_from_db()
    assert hook.enabled
    Webhook.objects.update(failing_since=log.now() - datetime.timedelta(days=5))
    due_again()
    sending.deliver()
    hook.refresh_from_db()
    assert (hook.enabled, hook.disabled_reason) == (False, "For five days nothing arrived there.")


def test_a_secret_that_cannot_be_read_any_more_disables(hook, settings):
    a_task()
    settings.SECRET_KEY = "another " * 8
    assert sending.deliver() == (0, 0)
    hook.refresh_from_db()
    assert "SECRET_KEY has changed" in hook.disabled_reason
    assert hook.receiver.seen == []


# ── the circuit ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_five_failures_one_message_at_a_time_tries_the_door(hook):
    hook.says = answering(500)
    for n in range(20):
        a_task(f"task {n}")
    sending.deliver()
    tried = len(hook.receiver.seen)
    hook.refresh_from_db()
    assert 5 <= tried <= 6  # those that were on their way together
    assert 25 <= (hook.hold_until - log.now()).total_seconds() <= 70
    Webhook.objects.update(hold_until=None)
    sending.deliver()
    assert len(hook.receiver.seen) == tried + 1
    hook.refresh_from_db()
    assert 50 <= (hook.hold_until - log.now()).total_seconds() <= 140
    hook.says = answering(200)
    due_again()
    assert sending.deliver() == (20, 0)


def test_the_pause_does_not_grow_without_end(hook):
    Webhook.objects.update(failures=2000)
    hook.says = answering(500)
    a_task()
    sending.deliver()
    hook.refresh_from_db()
    assert 800 <= (hook.hold_until - log.now()).total_seconds() <= 1000


# ── at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_more_at_once_than_the_endpoint_takes_and_a_slow_one_holds_nobody_up(hook, receive):
    here, most, lock = [0], [0], threading.Lock()
    quick_done = threading.Event()

    def slow(handler) -> None:
        with lock:
            here[0] += 1
            most[0] = max(most[0], here[0])
        quick_done.wait(10)
        with lock:
            here[0] -= 1
        answering(200)(handler)

    def quick(handler) -> None:
        answering(200)(handler)
        if len(other.seen) == 6:
            quick_done.set()

    hook.says = slow
    webhooks.change(DIRECTOR, hook.code, {"concurrency": 3})
    other = receive(quick)
    webhooks.create(DIRECTOR, url=f"http://127.0.0.1:{other.port}/", kinds=["task.*"])
    for n in range(6):
        a_task(f"task {n}")
    assert sending.deliver() == (12, 0)
    assert most[0] == 3
    assert quick_done.is_set()


def test_one_at_a_time_keeps_the_order(hook):
    webhooks.change(DIRECTOR, hook.code, {"concurrency": 1})
    for n in range(8):
        a_task(f"task {n}")
    assert sending.deliver() == (8, 0)
    assert [json.loads(body)["data"]["title"] for *_, body in hook.receiver.seen] == [f"task {n}" for n in range(8)]


def test_what_one_process_holds_no_other_takes(hook):
    a_task()
    deliveries.make_from_log()
    [first] = sending.take(10)
    assert sending.take(10) == []
    Delivery.objects.update(sending_until=log.now() - datetime.timedelta(seconds=1))  # it was killed
    [second] = sending.take(10)
    assert (second.message_id, second.body) == (first.message_id, first.body)
    sending.note(first, Answer(500, {}, b"", 0.1))  # it was not killed, only slow: what it says is of no use now
    delivery = Delivery.objects.get()
    assert (delivery.tries, delivery.sending_until) == (0, second.held_until)
    sending.note(second, Answer(200, {}, b"", 0.1))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("delivered", 1)
    sending.note(second, NotSent("too late", "too_slow"))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("delivered", 1)


def test_a_stop_leaves_what_is_on_its_way_to_be_sent_again(hook, monkeypatch):
    monkeypatch.setattr(sending, "STOP_SECONDS", 0.1)
    stopping, go = threading.Event(), threading.Event()

    def stuck(handler) -> None:
        stopping.set()
        go.wait(10)

    hook.says = stuck
    a_task()
    assert sending.deliver(stopping.is_set) == (0, 0)
    go.set()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries) == ("pending", 0)
    assert delivery.sending_until is not None
    hook.says = answering(200)
    due_again(sending_until=None)
    assert sending.deliver() == (1, 0)


def test_a_line_that_was_pruned_is_given_up(hook):
    a_task()
    deliveries.make_from_log()
    Delivery.objects.update(seq=10**9)
    assert sending.deliver() == (0, 0)
    assert (Delivery.objects.get().state, Delivery.objects.get().answer) == (
        "dead",
        "The line is no longer in the log.",
    )


def test_the_command_sends_what_is_due_and_says_how_it_went(hook):
    a_task()
    out = io.StringIO()
    call_command("deliver_webhooks", stdout=out)
    assert out.getvalue() == "1 arrived, 0 failed.\n"


def test_what_is_finished_is_forgotten_after_a_month(hook):
    for n in range(2):
        a_task(f"task {n}")
    deliveries.make_from_log()
    first = Delivery.objects.first()
    Delivery.objects.filter(pk=first.pk).update(state="delivered")
    Delivery.objects.update(created_at=log.now() - datetime.timedelta(days=31))
    assert deliveries.forget_old() == 1
    assert not Delivery.objects.filter(pk=first.pk).exists()


# ── a kill in the middle ────────────────────────────────────────────────────────────────────────────────────────────


SENDER = """
import time, django
django.setup()
from mission_control.outbound import sending
sending.SENDING_SECONDS = 2
print("ready", flush=True)
while True:
    sending.deliver(seconds=5)
    time.sleep(0.05)
"""
SUBSCRIBE = """
from mission_control.outbound import webhooks
from mission_control.actors import system
result = webhooks.create(system("test"), url=url, kinds=["task.*"], concurrency=8)[0].pk
"""
STATES = """
from django.db.models import Count
from mission_control.models import Activity, Delivery
result = {
    "states": dict(Delivery.objects.values_list("state").annotate(n=Count("pk"))),
    "seqs": sorted(Delivery.objects.values_list("seq", flat=True)),
    "ids": list(Delivery.objects.values_list("message_id", flat=True)),
    "lines": list(Activity.objects.filter(kind="task.created").order_by("seq").values_list("seq", flat=True)),
}
"""


@pytest.mark.slow
def test_a_kill_in_the_middle_loses_nothing_and_makes_nothing_twice(make_product, receive):
    """Two senders are killed again and again, each time with messages on their way, while lines are added."""
    lock, ids = threading.Lock(), []

    def count(handler) -> None:
        with lock:
            ids.append(handler.headers["webhook-id"])
        time.sleep(0.02)
        answering(200)(handler)

    receiver = receive(count)
    product = make_product(OUTGOING_ALLOWED=f"127.0.0.1:{receiver.port}")
    product.inside(SUBSCRIBE, url=f"http://127.0.0.1:{receiver.port}/")
    environment = {**product.environment, "DJANGO_SETTINGS_MODULE": "mission_control.settings"}

    def sender() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SENDER], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        return process

    running = [sender(), sender()]
    in_flight = 0
    try:
        for _ in range(4):
            before = len(ids)
            product.tasks(60)
            until(lambda: len(ids) >= before + 10, 30, "some of them arriving")  # noqa: B023
            victim = running.pop(0)
            os.kill(victim.pid, signal.SIGKILL)
            assert victim.wait(10) == -signal.SIGKILL
            in_flight += product.inside(STATES)["states"].get("pending", 0) > 0
            running.append(sender())
        until(lambda: product.inside(STATES)["states"] == {"delivered": 240}, 60, "every delivery")
    finally:
        for process in running:
            process.kill()
            process.wait(10)
    assert in_flight, "no kill hit anything that was on its way"
    state = product.inside(STATES)
    assert state["seqs"] == state["lines"]
    assert set(ids) == set(state["ids"])
    assert len(ids) <= 240 + 4 * 8  # only what was on its way at a kill came twice
