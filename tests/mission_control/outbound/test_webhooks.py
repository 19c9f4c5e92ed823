"""Webhooks: who is told of which lines, each once, in which words; rotation, redelivery, disabling. And their calls."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json

import pytest

from mission_control import log
from mission_control.errors import Invalid, NotAllowed, Refused
from mission_control.models import Activity, Delivery, Watermark, Webhook
from mission_control.outbound import deliveries, sending, signatures, webhooks
from tasks import transitions
from tests.conftest import DIRECTOR, a_task, claimed, fence
from tests.receiving import answering

pytestmark = pytest.mark.django_db
URL = "https://hook.example/in/s3cret"


def a_hook(**fields) -> Webhook:
    return webhooks.create(DIRECTOR, **{"url": URL, **fields})[0]


def told(hook: Webhook) -> list[str]:
    """The kinds of what was made for this webhook, in the order of the log."""
    return list(Delivery.objects.filter(webhook=hook).order_by("seq").values_list("kind", flat=True))


def recorded(kind: str) -> list[Activity]:
    return list(Activity.objects.filter(kind=kind).order_by("seq"))


# ── which lines ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_webhook_is_told_of_what_happens_after_it_was_made():
    a_task("before")
    hook = a_hook()
    task = a_task("after")
    assert deliveries.make_from_log() == 1
    [delivery] = Delivery.objects.all()
    assert (delivery.kind, delivery.state, delivery.tries) == ("task.created", "pending", 0)
    line = Activity.objects.get(seq=delivery.seq)
    assert line.task == task.code
    assert delivery.message_id == deliveries.message_id(hook, line)


def test_a_line_is_made_a_delivery_of_once_however_often_somebody_looks():
    hook, other = a_hook(), a_hook()
    for n in range(5):
        a_task(f"task {n}")
        deliveries.make_from_log()
    Watermark.objects.filter(pk=deliveries.MARK).update(seq=0)  # as after a restore of an older watermark
    assert deliveries.make_from_log() == 0
    assert len(told(hook)) == 6  # five, and that the other one was made
    assert len(told(other)) == 5


def test_kinds_and_ventures_are_chosen(venture):
    everything = a_hook()
    by_kind = a_hook(kinds=["task.cancelled", "venture.*"])
    by_venture = a_hook(ventures=["apollo"])
    both = a_hook(kinds=["task.*"], ventures=["apollo"])
    inside, outside = a_task(venture=venture), a_task()
    for task in (inside, outside):
        transitions.cancel(DIRECTOR, task.code)
    deliveries.make_from_log()
    assert told(everything)[-4:] == ["task.created", "task.created", "task.cancelled", "task.cancelled"]
    assert told(by_kind) == ["task.cancelled"] * 2
    assert told(by_venture) == told(both) == ["task.created", "task.cancelled"]


def test_a_task_that_leaves_a_venture_is_told_to_those_who_watch_it(venture):
    hook = a_hook(ventures=["apollo"])
    task = a_task(venture=venture)
    transitions.edit(DIRECTOR, task.code, {"venture": a_task().venture})
    deliveries.make_from_log()
    assert told(hook) == ["task.created", "task.updated"]


def test_a_line_that_took_the_number_of_another_one_is_another_message(operator):
    """As after a restore of an older state: receivers must not take it for what they have seen."""
    hook = a_hook()
    a_task()
    line = Activity.objects.order_by("seq").last()
    before = deliveries.message_id(hook, line)
    line.at += datetime.timedelta(seconds=1)
    assert deliveries.message_id(hook, line) != before
    assert before.startswith("msg_") and "." not in before


def test_more_lines_than_a_page_are_all_made(monkeypatch):
    monkeypatch.setattr(deliveries, "PAGE", 3)
    hook = a_hook()
    for n in range(10):
        a_task(f"task {n}")
    assert deliveries.make_from_log() == 10
    assert len(set(Delivery.objects.filter(webhook=hook).values_list("seq", flat=True))) == 10


def test_without_webhooks_the_log_is_not_read(django_assert_num_queries):
    a_task()
    with django_assert_num_queries(3):
        assert deliveries.make_from_log() == 0


# ── the own address of an agent ─────────────────────────────────────────────────────────────────────────────────────


def test_an_agents_own_address_is_told_when_work_comes_to_rest_with_it(ada, bob, operator):
    hook = a_hook(agent="ada")
    task = a_task("for ada", assignee=ada.agent)
    a_task("for bob", assignee=bob.agent)
    a_task("for all")
    deliveries.make_from_log()
    assert told(hook) == ["task.assigned"]
    claim = claimed(ada, task)
    transitions.release(operator, claim.task.code)  # back to its assignee
    transitions.edit(operator, task.code, {"title": "another title"})
    deliveries.make_from_log()
    assert told(hook) == ["task.assigned"] * 2


def test_an_agent_is_not_told_of_what_it_did_itself(ada):
    hook = a_hook(agent="ada")
    task = a_task("for ada", assignee=ada.agent)
    deliveries.make_from_log()
    claim = claimed(ada, task)
    transitions.release(ada, task.code, fence(claim))  # it comes to rest with ada again
    deliveries.make_from_log()
    assert told(hook) == ["task.assigned"]


def test_a_second_own_address_takes_the_place_of_the_first(ada):
    first = a_hook(agent="ada")
    second, secret = webhooks.create(ada, url="https://other.example/", agent="ada")
    assert [hook.code for hook in Webhook.objects.all()] == [second.code] != [first.code]
    assert secret.startswith("whsec_")
    with pytest.raises(NotAllowed):
        webhooks.create(ada, url=URL, agent="bob")
    with pytest.raises(NotAllowed):
        webhooks.create(ada, url=URL)


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_is_shown_once_and_stored_encrypted(operator):
    hook, secret = webhooks.create(operator, url=URL)
    stored = bytes(Webhook.objects.values_list("secret", flat=True).get(pk=hook.pk))
    assert secret.encode() not in stored
    assert base64.b64decode(secret.removeprefix("whsec_")) not in stored
    assert signatures.opened(stored) == secret


def test_another_secret_key_says_that_it_cannot_read_them(settings):
    kept = signatures.sealed(signatures.new_secret())
    settings.SECRET_KEY = "another " * 8
    with pytest.raises(ValueError, match="SECRET_KEY has changed"):
        signatures.opened(kept)


def test_during_a_rotation_both_secrets_sign(operator):
    hook, old = webhooks.create(operator, url=URL)
    _, new = webhooks.rotate(operator, hook.code, overlap_hours=1)
    hook.refresh_from_db()
    now = log.now()
    assert sending._keys(hook, now) == (signatures.key_of(new), signatures.key_of(old))
    assert sending._keys(hook, hook.old_secret_until) == (signatures.key_of(new),)
    webhooks.rotate(operator, hook.code, overlap_hours=0)
    hook.refresh_from_db()
    assert len(sending._keys(hook, now)) == 1


def test_a_signature_is_that_of_the_standard():
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    headers = signatures.signed([signatures.key_of(secret)], "msg_1", 1700000000, b'{"a":1}')
    expected = hmac.new(b"k" * 24, b'msg_1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "msg_1", "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{base64.b64encode(expected).decode()}",
    }  # fmt: skip


# ── verbs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_log_says_what_changed_and_never_the_whole_address(operator):
    hook, secret = webhooks.create(operator, url=URL, kinds=["task.*"])
    webhooks.change(operator, hook.code, {"kinds": [], "url": "https://other.example/x?token=t"})
    webhooks.delete(operator, hook.code)
    [made], [changed], [deleted] = map(recorded, ("webhook.created", "webhook.changed", "webhook.deleted"))
    assert made.data["after"]["url"] == "hook.example"
    assert changed.data["before"] == {"url": "hook.example", "kinds": ["task.*"]}
    assert changed.data["after"] == {"url": "other.example", "kinds": []}
    assert deleted.data["webhook"] == hook.code
    text = json.dumps([line.data for line in Activity.objects.all()])
    assert "s3cret" not in text
    assert "token" not in text
    assert secret not in text


def test_the_same_again_changes_and_records_nothing(operator):
    hook = a_hook()
    assert webhooks.change(operator, hook.code, {"url": URL, "kinds": []}).version == hook.version
    assert recorded("webhook.changed") == []


def test_only_who_operates_looks_after_webhooks(viewer, ada, orchestrator):
    hook = a_hook()
    for actor in (viewer, ada, orchestrator):
        for act in (
            lambda: webhooks.create(actor, url=URL),  # noqa: B023
            lambda: webhooks.change(actor, hook.code, {"enabled": False}),  # noqa: B023
            lambda: webhooks.rotate(actor, hook.code),  # noqa: B023
            lambda: webhooks.delete(actor, hook.code),  # noqa: B023
            lambda: deliveries.test(actor, hook.code),  # noqa: B023
            lambda: deliveries.redeliver_range(actor, hook.code, since=0),  # noqa: B023
        ):
            with pytest.raises(NotAllowed):
                act()


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "http://localhost:8000/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": URL, "kinds": ["task.exploded"]}, "kinds"),
        ({"url": URL, "kinds": ["*"]}, "kinds"),
        ({"url": URL, "secret": "whsec_c2hvcnQ="}, "secret"),
        ({"url": URL, "secret": "a secret"}, "secret"),
    ],
)
def test_what_is_no_address_no_kind_and_no_secret_is_refused(operator, fields, wrong):
    with pytest.raises(Invalid) as refused:
        webhooks.create(operator, **fields)
    assert [detail["field"] for detail in refused.value.details] == [wrong]
    assert not Webhook.objects.exists()


# ── disabled and again ──────────────────────────────────────────────────────────────────────────────────────────────


def test_while_disabled_nothing_is_kept_and_what_was_missed_can_be_sent(operator):
    hook = a_hook(kinds=["task.*"])
    start = log.head()
    a_task("waits")
    deliveries.make_from_log()
    webhooks.change(operator, hook.code, {"enabled": False})
    a_task("missed")
    assert deliveries.make_from_log() == 0
    assert [d.state for d in Delivery.objects.all()] == ["dead"]
    with pytest.raises(Refused, match="Enable it first"):
        deliveries.redeliver_range(operator, hook.code, since=start)
    webhooks.change(operator, hook.code, {"enabled": True})
    a_task("after")
    deliveries.make_from_log()
    assert deliveries.redeliver_range(operator, hook.code, since=start) == 2
    assert told(hook) == ["task.created"] * 3
    assert set(Delivery.objects.values_list("state", flat=True)) == {"pending"}
    assert [line.data["messages"] for line in recorded("webhook.redelivered")] == [2]


def test_a_range_is_sent_again_whole_when_everything_is_wanted(operator):
    hook = a_hook(kinds=["task.*"])
    start = log.head()
    a_task("one")
    end = log.head()
    a_task("two")
    deliveries.make_from_log()
    Delivery.objects.update(state="delivered", tries=1)
    assert deliveries.redeliver_range(operator, hook.code, since=start) == 0
    assert deliveries.redeliver_range(operator, hook.code, since=start, until=end, everything=True) == 1
    assert list(Delivery.objects.order_by("seq").values_list("state", "tries")) == [("pending", 0), ("delivered", 1)]
    with pytest.raises(Refused, match="10000 lines"):
        Watermark.objects.filter(pk=deliveries.MARK).update(seq=20_000)
        deliveries.redeliver_range(operator, hook.code, since=0)


def test_lines_that_are_not_made_deliveries_of_yet_are_not_made_by_a_redelivery(operator):
    hook = a_hook(kinds=["task.*"])
    a_task("not looked at yet")
    assert deliveries.redeliver_range(operator, hook.code, since=0) == 0
    assert deliveries.make_from_log() == 1


# ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_webhook_is_made_read_changed_rotated_and_deleted_by_its_calls(operator, api_of):
    api = api_of(operator)
    made = api.post("/webhooks", {"url": URL, "eventTypes": ["task.completed"], "ventures": ["apollo"]})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    hook, secret = made.json()["webhook"], made.json()["secret"]
    assert secret.startswith("whsec_")
    assert (hook["kinds"], hook["ventures"], hook["enabled"]) == (["task.completed"], ["apollo"], True)
    read = api.get(f"/webhooks/{hook['id']}")
    assert read.json()["webhook"] == hook
    assert "secret" not in read.json()["webhook"]
    assert api.get("/webhooks").json()["webhooks"] == [hook]
    assert api.bare.get("/webhooks").json() == [hook]
    changed = api.patch(f"/webhooks/{hook['id']}", {"active": False}, **{"If-Match": read["ETag"]})
    assert (changed.json()["webhook"]["enabled"], changed.json()["webhook"]["disabled_reason"]) == (
        False, "Switched off by olivia.",
    )  # fmt: skip
    stale = api.patch(f"/webhooks/{hook['id']}", {"active": True}, **{"If-Match": read["ETag"]})
    assert stale.status_code == 412
    rotated = api.post(f"/webhooks/{hook['id']}/rotate", {})
    assert rotated.json()["secret"] not in (secret, "")
    assert api.delete(f"/webhooks/{hook['id']}").status_code == 204
    assert api.get(f"/webhooks/{hook['id']}").status_code == 404


def test_the_same_subscription_with_a_key_is_made_once_and_answers_the_same_secret(operator, api_of):
    api = api_of(operator)
    first, again = (api.post("/webhooks", {"url": URL}, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    assert Webhook.objects.count() == 1


def test_bad_input_is_refused_field_by_field(operator, api_of):
    api = api_of(operator)
    for body, field in (
        ({}, "url"), ({"url": "http://10.0.0.1/"}, "url"), ({"url": URL, "kinds": "task"}, "kinds"),
        ({"url": URL, "kinds": ["task.unheard"]}, "kinds"), ({"url": URL, "concurrency": 0}, "concurrency"),
        ({"url": URL, "id": "mine"}, "id"), ({"url": URL, "secret": "x"}, "secret"), ({"url": URL, "more": 1}, "more"),
    ):  # fmt: skip
        refused = api.post("/webhooks", body)
        assert refused.status_code == 400, body
        assert [detail["field"] for detail in refused.json()["details"]] == [field]
    assert api.post("/webhooks/nowhere/test").status_code == 404
    assert api.post("/webhooks/nowhere/redeliver", {"since": 0}).status_code == 404
    hook = a_hook()
    assert api.post(f"/webhooks/{hook.code}/deliveries/msg_none/redeliver").status_code == 404
    assert api.post(f"/webhooks/{hook.code}/redeliver", {"since": -1}).status_code == 400


def test_a_test_and_its_delivery_are_seen(operator, api_of, receive):
    receiver = receive(answering(200, b"thanks\0"))
    api = api_of(operator)
    body = {"url": f"http://127.0.0.1:{receiver.port}/in", "kinds": ["task.*"]}
    hook = api.post("/webhooks", body).json()["webhook"]["id"]
    asked = api.post(f"/webhooks/{hook}/test")
    assert (asked.status_code, asked.json()["delivery"]["state"]) == (202, "pending")
    assert sending.deliver() == (1, 0)
    [delivery] = api.get(f"/webhooks/{hook}/deliveries").json()["deliveries"]
    assert delivery["id"] == asked.json()["delivery"]["id"]
    assert (delivery["state"], delivery["seq"], delivery["kind"], delivery["answer"]) == (
        "delivered", None, "webhook.test", "thanks␀",
    )  # fmt: skip
    [attempt] = delivery["attempts"]
    assert (attempt["status"], attempt["error"]) == (200, "")
    [(_, _, headers, body)] = receiver.seen
    assert json.loads(body)["type"] == "webhook.test"
    again = api.post(f"/webhooks/{hook}/deliveries/{delivery['id']}/redeliver")
    assert again.status_code == 202
    assert sending.deliver() == (1, 0)
    assert receiver.seen[1][2]["webhook-id"] == headers["webhook-id"] == delivery["id"]
    assert api.get(f"/webhooks/{hook}/deliveries?state=dead").json()["deliveries"] == []
