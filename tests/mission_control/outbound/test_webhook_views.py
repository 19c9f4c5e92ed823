"""The pages of the webhooks and of the loop breaker: what they show, what their forms do, who may open them."""

from __future__ import annotations

import datetime
import re

import pytest
from django.test import Client

from mission_control import log
from mission_control.models import Activity, Circuit, Delivery, Webhook
from mission_control.outbound import deliveries, signatures, webhooks
from mission_control.outbound.webhook_views import PAGE
from tests.conftest import DIRECTOR, a_task

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}
HOME = "/settings/webhooks"


@pytest.fixture
def desk(operator) -> Client:
    client = Client()
    client.force_login(operator.user)
    return client


@pytest.fixture
def hook() -> Webhook:
    return webhooks.create(DIRECTOR, url="https://hook.example/in/s3cret", description="Shop chat")[0]


def a_delivery(hook: Webhook, **fields) -> Delivery:
    return Delivery.objects.create(webhook=hook, **{"message_id": "msg_1", "kind": "task.created", "seq": 1, **fields})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ""), ("post", "/new"), ("get", "/{code}"), ("post", "/{code}/change"), ("post", "/{code}/switch"),
        ("post", "/{code}/rotate"), ("post", "/{code}/test"), ("post", "/{code}/redeliver"), ("post", "/{code}/delete"),
        ("post", "/{code}/deliveries/msg_1/redeliver"), ("get", "/../circuits"), ("post", "/../circuits/a/b/reset"),
    ],
)  # fmt: skip
def test_who_only_reads_opens_none_of_it(viewer, hook, method, path):
    client = Client()
    client.force_login(viewer.user)
    address = f"{HOME}{path.format(code=hook.code)}".replace("/webhooks/..", "")
    assert getattr(client, method)(address, headers=PART).status_code == 403
    assert Webhook.objects.get() == hook
    assert "/settings/webhooks" not in client.get("/").content.decode()


def test_a_webhook_is_made_and_its_secret_is_shown_this_once(desk):
    answer = desk.post(
        f"{HOME}/new", {"url": "https://a.example/in", "kinds": "task.*, agent.changed", "ventures": "default"}
    )
    made = Webhook.objects.get()
    assert (made.kinds, made.ventures, made.created_by) == (["task.*", "agent.changed"], ["default"], "olivia")
    secret = re.search(r"whsec_[\w+/=]+", answer.content.decode())[0]
    assert signatures.sealed(secret) and answer.headers["Cache-Control"] == "no-store"
    for path in (HOME, f"{HOME}/{made.code}"):
        page = desk.get(path).content.decode()
        assert "a.example" in page and "whsec_" not in page
        assert desk.get(path, headers=PART).content.decode().strip() in page


@pytest.mark.parametrize(
    "wrong", [{"url": "ftp://a.example"}, {"url": ""}, {"kinds": "no.such"}, {"description": "a\x00b"}]
)
def test_a_wrong_address_or_kind_makes_nothing(desk, wrong):
    asked = {"url": "https://a.example/in", "kinds": "", "description": "", **wrong}
    assert desk.post(f"{HOME}/new", asked, headers=PART).status_code == 400
    assert not Webhook.objects.exists()


def test_what_it_is_told_is_changed_by_the_version_that_was_seen(desk, hook):
    asked = {"url": hook.url, "description": "Chat", "kinds": "task.*", "ventures": "", "concurrency": "4"}
    answer = desk.post(f"{HOME}/{hook.code}/change", {**asked, "version": "1"}, headers=PART)
    assert b"Saved" in answer.content
    changed = Webhook.objects.get()
    assert (changed.description, changed.kinds, changed.concurrency) == ("Chat", ["task.*"], 4)
    late = desk.post(f"{HOME}/{hook.code}/change", {**asked, "version": "1", "kinds": ""}, headers=PART)
    assert late.status_code == 412
    assert desk.post(f"{HOME}/{hook.code}/change", {**asked, "version": "x"}, headers=PART).status_code == 400


def test_it_is_switched_off_and_on_and_says_why_it_is_off(desk, hook):
    off = desk.post(f"{HOME}/{hook.code}/switch", {"enabled": "off"}).content.decode()
    assert "Switched off by olivia." in off and "Send a test" not in off
    assert not Webhook.objects.get().enabled
    assert "Send a test" in desk.post(f"{HOME}/{hook.code}/switch", {"enabled": "on"}).content.decode()
    assert Webhook.objects.get().enabled


def test_an_open_circuit_says_when_it_is_tried_again(desk, hook):
    now = log.now()
    Webhook.objects.update(failures=7, failing_since=now, hold_until=now + datetime.timedelta(minutes=5))
    page = desk.get(f"{HOME}/{hook.code}").content.decode()
    assert "7 failures in a row" in page and "the next try is at" in page
    assert "state--hook-holding" in desk.get(HOME).content.decode()


def test_rotating_shows_the_new_secret_once_and_says_how_long_the_old_one_counts(desk, hook):
    answer = desk.post(f"{HOME}/{hook.code}/rotate", {"overlap_hours": "1"})
    assert b"whsec_" in answer.content and answer.headers["Cache-Control"] == "no-store"
    page = desk.get(f"{HOME}/{hook.code}").content.decode()
    assert "The old secret signs as well until" in page and "whsec_" not in page
    assert desk.post(f"{HOME}/{hook.code}/rotate", {"overlap_hours": "-1"}, headers=PART).status_code == 400


def test_a_test_and_a_redelivery_go_out_from_the_page(desk, hook):
    assert b"webhook.test" in desk.post(f"{HOME}/{hook.code}/test").content
    Delivery.objects.all().delete()
    a_delivery(hook, state="dead", tries=10, attempts=[{"at": "2026-11-01T00:00:00Z", "status": 503, "error": "", "milliseconds": 8}])  # fmt: skip
    assert "503" in desk.get(f"{HOME}/{hook.code}?state=dead").content.decode()
    assert "None is pending" in desk.get(f"{HOME}/{hook.code}?state=pending").content.decode()
    assert desk.post(f"{HOME}/{hook.code}/deliveries/msg_1/redeliver").status_code == 200
    assert (Delivery.objects.get().state, Delivery.objects.get().tries) == ("pending", 0)
    assert desk.post(f"{HOME}/{hook.code}/deliveries/msg_2/redeliver", headers=PART).status_code == 404


def test_a_range_of_the_log_is_sent_again(desk, hook):
    for n in range(3):
        a_task(f"task {n}")
    deliveries.make_from_log()
    Delivery.objects.update(state="delivered")
    first = Activity.objects.filter(kind="task.created").order_by("seq")[0].seq
    asked = {"first": str(first), "last": str(first + 1)}
    assert "0 messages go out again." in desk.post(f"{HOME}/{hook.code}/redeliver", asked).content.decode()
    everything = desk.post(f"{HOME}/{hook.code}/redeliver", {**asked, "everything": "on"}).content.decode()
    assert "2 messages go out again." in everything
    assert Delivery.objects.filter(state="pending").count() == 2
    assert desk.post(f"{HOME}/{hook.code}/redeliver", {"first": ""}, headers=PART).status_code == 400


def test_the_log_of_deliveries_grows_on_request(desk, hook):
    Delivery.objects.bulk_create(
        Delivery(webhook=hook, message_id=f"msg_{n}", kind="task.created", seq=n + 1) for n in range(PAGE + 1)
    )
    first = desk.get(f"{HOME}/{hook.code}?most=no").content.decode()
    assert first.count('id="sent-') == PAGE and f"most={3 * PAGE}" in first
    assert desk.get(f"{HOME}/{hook.code}?most={3 * PAGE}").content.decode().count('id="sent-') == PAGE + 1


def test_a_deleted_webhook_leads_back_to_the_list(desk, hook):
    answer = desk.post(f"{HOME}/{hook.code}/delete", headers=PART)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, HOME)
    assert not Webhook.objects.exists()
    assert desk.get(f"{HOME}/{hook.code}").status_code == 404
    assert "None yet" in desk.get(HOME).content.decode()


def test_what_an_endpoint_answers_is_shown_as_text(desk, hook):
    a_delivery(
        hook, state="dead", answer="<script>alert(1)</script>", attempts=[{"at": "x", "status": 500, "error": "<b>"}]
    )
    page = desk.get(f"{HOME}/{hook.code}").content.decode()
    assert "&lt;script&gt;alert(1)" in page and "<b>" not in page.split("What happened")[1].split("</details>")[0]


def test_an_open_circuit_stands_first_and_is_reset(desk):
    now = log.now()
    Circuit.objects.create(waker="grace", woken="kay", wakes=3, window_began_at=now)
    Circuit.objects.create(waker="ada", woken="bob", window_began_at=now, opened_at=now, reason="They went in circles.")
    page = desk.get("/settings/circuits").content.decode()
    assert page.index("They went in circles.") < page.index("3 times")
    assert desk.get("/settings/circuits", headers=PART).content.decode().strip() in page
    answer = desk.post("/settings/circuits/ada/bob/reset", headers=PART).content.decode()
    assert "Reset" not in answer
    assert Circuit.objects.get(waker="ada").opened_at is None
    assert desk.post("/settings/circuits/ada/kay/reset", headers=PART).status_code == 404
