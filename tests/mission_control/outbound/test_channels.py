"""Channels of a person: their address is a secret, they are nobody else's, and what is told comes once, when it is wanted."""

from __future__ import annotations

import datetime
import json
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

from mission_control import log
from mission_control.errors import Invalid, NotThere, Refused
from mission_control.models import Activity, Channel, Notification, Posting, TellingTimes
from mission_control.outbound import announcing, channels, notifications, signatures, web_push, webhooks
from mission_control.outbound.web_push import written
from tasks import transitions
from tests.conftest import DIRECTOR, a_task
from tests.mission_control.mailbox import Mailbox
from tests.receiving import answering

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


@pytest.fixture
def mailbox(settings):
    """A mail server that the settings name."""
    made = Mailbox()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.MAIL_FROM = "127.0.0.1", made.port, "control@example.org"
    yield made
    made.close()


@pytest.fixture
def chat(receive, operator) -> Channel:
    """A channel URL of the operator; `chat.receiver` remembers, `chat.says` is what it answers."""
    receiver = receive(lambda handler: made.says(handler))
    made = channels.add(operator, type="url", address=f"json://127.0.0.1:{receiver.port}/geheim")
    made.receiver, made.says = receiver, answering(200)
    return made


def a_device(receiver) -> dict:
    point = web_push.point_of(ec.generate_private_key(web_push.CURVE))
    keys = {"p256dh": written(point), "auth": written(b"x" * 16)}
    return {"endpoint": f"http://127.0.0.1:{receiver.port}/device", "expirationTime": None, "keys": keys}


def ask(title: str = "Write the size guide") -> str:
    """Something that waits for a person."""
    task = a_task(title)
    transitions.block(DIRECTOR, task.code, reason="Which colour?", kind="needs_input")
    notifications.make_from_log()
    return task.code


def said(chat: Channel) -> list[str]:
    return [f"{json.loads(body)['title']} | {json.loads(body)['message']}" for *_, body in chat.receiver.seen]


def later(**ago: float) -> None:
    """As if so much time had passed."""
    back = datetime.timedelta(**ago)
    for row in Posting.objects.filter(state="waiting"):
        Posting.objects.filter(pk=row.pk).update(due_at=row.due_at - back)
    for row in Channel.objects.exclude(retry_at=None):
        Channel.objects.filter(pk=row.pk).update(retry_at=row.retry_at - back)


# ── told ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_question_is_told_by_mail_push_and_chat_and_once(operator, mailbox, receive, chat, settings):
    settings.PUBLIC_URL = "https://control.example.org"
    device = receive(answering(201))
    channels.add(operator, type="email", address="olivia@example.org")
    channels.add(operator, type="push", subscription=a_device(device), name="Phone")
    web_push.public_key()
    code = ask()
    assert announcing.tell() == (3, 0)
    [(to, letter)] = mailbox.letters
    assert (to, letter["From"]) == ("olivia@example.org", "control@example.org")
    assert letter["Subject"] == "[Mission Control] Write the size guide has a question"
    assert f"https://control.example.org/tasks/{code}" in letter.get_content()
    assert "Which colour?" in letter.get_content()
    [heard] = said(chat)
    assert heard.startswith("Write the size guide has a question | ")
    assert [path for _, path, *_ in device.seen] == ["/device"]
    assert announcing.tell() == (0, 0)
    assert set(Posting.objects.values_list("state", flat=True)) == {"sent"}
    assert (len(mailbox.letters), len(chat.receiver.seen), len(device.seen)) == (1, 1, 1)


def test_only_what_the_channel_is_for_goes_there_and_only_from_now_on(operator, chat):
    ask("before")
    Channel.objects.update(since_seq=log.head())
    channels.change(operator, chat.code, {"reasons": ["failed"]})
    ask("another reason")
    assert announcing.tell() == (0, 0)
    channels.change(operator, chat.code, {"reasons": ["failed", "question"]})
    ask("wanted")
    assert announcing.tell() == (1, 0)
    assert len(said(chat)) == 1 and "wanted" in said(chat)[0]


def test_what_was_read_on_the_page_meanwhile_is_not_sent(operator, chat):
    channels.choose_times(operator, {"digest": "daily"})
    code = ask()
    announcing.tell()
    notifications.seen(operator, code)
    later(days=2)
    assert announcing.tell() == (0, 0)
    assert [row.state for row in Posting.objects.all()] == ["read"]
    assert chat.receiver.seen == []


def test_quiet_hours_end_with_one_message_and_what_is_urgent_does_not_wait(operator, chat):
    now = log.now()
    begin, end = (now - datetime.timedelta(hours=1)).time(), (now + datetime.timedelta(hours=1)).time()
    quiet = {"quiet_from": begin.replace(second=0, microsecond=0), "quiet_until": end.replace(second=0, microsecond=0)}
    channels.choose_times(operator, {**quiet, "urgent": ["approval"]})
    for title in ("one", "two", "three"):
        ask(title)
    a_task("urgent", needs_approval=True)
    notifications.make_from_log()
    assert announcing.tell() == (1, 0)
    assert said(chat)[0].startswith("urgent waits for an approval")
    later(hours=1, minutes=1)
    assert announcing.tell() == (1, 0)
    assert said(chat)[1].startswith("3 things to know | ")
    assert all(title in said(chat)[1] for title in ("one", "two", "three"))


def test_changing_ones_mind_times_anew_what_waits(operator, chat):
    channels.choose_times(operator, {"digest": "daily", "time_zone": "Europe/Berlin"})
    ask()
    assert announcing.tell() == (0, 0)
    channels.choose_times(operator, {"digest": "off"})
    assert announcing.tell() == (1, 0)


# ── what fails ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_channel_that_fails_says_why_and_tries_again_later_and_at_last_no_more(operator, chat):
    chat.says = answering(500)
    ask()
    assert announcing.tell() == (0, 1)
    shown = Channel.objects.get()
    assert (shown.failures, "answered 500" in shown.error) == (1, True)
    assert 5 < (shown.retry_at - log.now()).total_seconds() <= 10
    assert announcing.tell() == (0, 0)
    for _ in announcing.SCHEDULE:
        later(days=1)
        assert announcing.tell() == (0, 1)
    later(days=1)
    assert announcing.tell() == (0, 0)
    assert Posting.objects.get().state == "dead"
    chat.says = answering(200)
    ask("works again")
    assert announcing.tell() == (1, 0)
    shown.refresh_from_db()
    assert (shown.failures, shown.error, shown.retry_at) == (0, "", None)


def test_a_device_that_is_gone_is_removed(operator, receive):
    device = receive(answering(410))
    channels.add(operator, type="push", subscription=a_device(device))
    web_push.public_key()
    ask()
    assert announcing.tell() == (0, 1)
    assert not Channel.objects.exists()
    line = Activity.objects.get(kind="channel.removed")
    assert (line.actor_type, line.message) == ("system", "The device does not want to be told any more.")


def test_a_mail_server_that_refuses_or_is_away_is_said_without_the_address(operator, mailbox):
    channels.add(operator, type="email", address="olivia@example.org")
    mailbox.refuses = "451 Later, olivia@example.org"
    ask()
    assert announcing.tell() == (0, 1)
    assert Channel.objects.get().error == "The mail server answered 451."
    mailbox.close()
    later(days=1)
    assert announcing.tell() == (0, 1)
    assert Channel.objects.get().error == "The mail server cannot be reached."


def test_another_secret_key_is_said_and_nothing_is_sent(operator, chat, settings):
    ask()
    settings.SECRET_KEY = "another" * 8
    assert announcing.tell() == (0, 0)
    assert "SECRET_KEY has changed" in Channel.objects.get().error


def test_who_died_while_sending_is_followed_by_the_next_after_a_while(operator, chat):
    ask()
    announcing.make_from_notifications()
    [dead] = announcing.take(8)
    assert announcing.tell() == (0, 0)
    Channel.objects.update(held_until=log.now() - datetime.timedelta(seconds=1))
    assert announcing.tell() == (1, 0)
    assert announcing.note(dead) is True  # it was not dead: what it says of its turn changes nothing
    assert Channel.objects.get().held_until is None
    assert len(chat.receiver.seen) == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_many_that_tell_at_once_send_each_message_once(operator, chat):
    from django.db import connection

    for n in range(5):
        ask(f"title {n}")
    gate = threading.Barrier(4)
    sent: list[tuple[int, int]] = []

    def run() -> None:
        gate.wait()
        sent.append(announcing.tell())
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(good for good, _ in sent), sum(bad for _, bad in sent)) == (1, 0)
    assert len(said(chat)) == 1 and said(chat)[0].startswith("5 things to know")
    assert Posting.objects.filter(state="sent").count() == Notification.objects.filter(reason="question").count() == 5


def test_what_waited_at_a_backup_is_not_sent_after_a_restore(operator, chat):
    ask("made")
    announcing.make_from_notifications()
    ask("not made yet")
    assert announcing.give_up_after_restore() == 1
    assert announcing.tell() == (0, 0)


# ── the test button ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_test_is_sent_in_quiet_hours_too_and_says_how_it_went(operator, chat):
    channels.test(operator, chat.code)
    assert announcing.tell() == (1, 0)
    assert said(chat) == ["A test | This is a test. Nothing has happened."]
    shown = Channel.objects.get()
    assert (shown.test_asked_at, shown.test_error) == (None, "")
    assert shown.tested_at
    chat.says = answering(404)
    channels.test(operator, chat.code)
    assert announcing.tell() == (0, 1)
    shown.refresh_from_db()
    assert "answered 404" in shown.test_error
    assert (shown.error, shown.failures) == ("", 0)
    channels.change(operator, chat.code, {"enabled": False})
    with pytest.raises(Refused, match="switched off"):
        channels.test(operator, chat.code)


def test_a_test_that_is_asked_for_while_something_is_on_its_way_is_sent_after_it(operator, chat):
    chat.says = answering(500)
    ask()
    announcing.make_from_notifications()
    [message] = announcing.take(1)
    channels.test(operator, chat.code)
    assert not announcing.note(message, announcing.NotSent("No.", "refused"))
    shown = Channel.objects.get()
    assert (shown.failures, shown.tested_at) == (1, None)
    assert shown.test_asked_at
    chat.says = answering(200)
    assert announcing.tell() == (2, 0)
    assert said(chat)[0] == "A test | This is a test. Nothing has happened."


# ── whose it is, and what is shown ──────────────────────────────────────────────────────────────────────────────────


def test_an_address_is_kept_unreadable_and_is_in_no_answer_and_no_line(operator, api_of, chat, caplog):
    chat.says = answering(500)
    channels.test(operator, chat.code)
    announcing.tell()
    assert b"geheim" not in bytes(Channel.objects.get().address)
    api = api_of(operator)
    answers = [api.get("/notifications/channels"), api.get(f"/notifications/channels/{chat.code}")]
    answers.append(Client().get("/settings/notifications"))
    page = Client()
    page.force_login(operator.user)
    answers.append(page.get("/settings/notifications"))
    assert all(b"geheim" not in answer.content for answer in answers)
    assert "geheim" not in json.dumps(list(Activity.objects.values_list("data", "message", "title")))
    assert "geheim" not in caplog.text


def test_nobody_sees_or_changes_the_channels_of_another(admin, chat):
    assert channels.of_actor(admin) == []
    for verb in (channels.by_code, channels.remove, channels.test, lambda who, code: channels.change(who, code, {})):
        with pytest.raises(NotThere):
            verb(admin, chat.code)
    assert Channel.objects.count() == 1


def test_over_the_api_a_channel_is_added_once_changed_tested_and_removed(operator, ada, api_of, receive):
    api = api_of(operator)
    receiver = receive(answering(200))
    body = {"type": "url", "address": f"json://127.0.0.1:{receiver.port}/x", "name": "Chat", "reasons": ["failed"]}
    made = api.post("/notifications/channels", body)
    assert made.status_code == 201
    channel = made.json()["channel"]
    assert (channel["shown"], channel["reasons"]) == ("json://127.0.0.1/…", ["failed"])
    assert api.post("/notifications/channels", body).json()["channel"]["id"] == channel["id"]
    place = f"/notifications/channels/{channel['id']}"
    changed = api.patch(place, {"reasons": ["review", "failed"], "name": "Team chat"}).json()["channel"]
    assert (changed["reasons"], changed["name"], changed["version"]) == (["review", "failed"], "Team chat", 2)
    assert api.patch(place, {"reasons": ["weather"]}).status_code == 400
    assert api.patch(place, {"name": "x"}, if_match='"1"').status_code == 412
    assert api.post(f"{place}/test").json()["channel"]["testing"] is True
    announcing.tell()
    tested = api.get(place).json()["channel"]
    assert (tested["testing"], tested["test_error"], len(receiver.seen)) == (False, "", 1)
    assert api.delete(place).status_code == 204
    assert api.get("/notifications/channels").json() == {"channels": []}
    assert api_of(ada).get("/notifications/channels").status_code == 403
    kinds = Activity.objects.filter(kind__startswith="channel.").order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == ["channel.added", "channel.changed", "channel.removed"]


def test_without_a_mail_server_an_address_is_refused_in_a_clear_sentence(operator, mailbox, settings):
    with pytest.raises(Invalid, match="."):
        channels.add(operator, type="email", address="nobody")
    settings.MAIL_FROM = ""
    with pytest.raises(Refused, match="EMAIL_URL") as refused:
        channels.add(operator, type="email", address="olivia@example.org")
    assert refused.value.code == "no_mail"


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "Mars/Olympus"}, {"quiet_from": "22:00"}, {"quiet_from": "22:00", "quiet_until": "22:00"},
        {"quiet_from": "25:00", "quiet_until": "07:00"}, {"digest": "weekly"}, {"urgent": ["weather"]},
        {"digest_at": "8"}, {"digest_at": None}, {"digest_at": ""},
    ],
)  # fmt: skip
def test_times_that_are_none_are_refused_and_change_nothing(operator, api_of, wrong):
    assert api_of(operator).patch("/notifications/schedule", wrong).status_code == 400
    assert not TellingTimes.objects.exists()


def test_times_are_chosen_and_read_over_the_api(operator, api_of):
    api = api_of(operator)
    assert api.get("/notifications/schedule").json()["schedule"]["version"] == 0
    chosen = {"time_zone": "Europe/Berlin", "quiet_from": "22:00", "quiet_until": "07:00", "digest": "hourly"}
    assert api.patch("/notifications/schedule", chosen).status_code == 200
    shown = api.get("/notifications/schedule").json()["schedule"]
    assert chosen.items() <= shown.items()
    assert "review" in shown["reasons"] and "assigned" not in shown["reasons"]
    cleared = api.patch("/notifications/schedule", {"quiet_from": None, "quiet_until": None}).json()["schedule"]
    assert (cleared["quiet_from"], cleared["quiet_until"], cleared["digest"]) == (None, None, "hourly")
    assert len(api.get("/notifications/push-key").json()["public_key"]) == 87


def test_people_are_asked_about_budgets_as_soon_as_something_reports_on_them(monkeypatch):
    monkeypatch.setattr(webhooks, "known_kinds", ("task.created",))
    assert "budget" not in channels.reasons()
    monkeypatch.setattr(webhooks, "known_kinds", ("task.created", "budget.warned"))
    assert "budget" in channels.reasons() and "budget" in channels.usual()


def test_a_stop_does_not_wait_for_a_slow_service(operator, chat):
    gate, asked = threading.Event(), threading.Event()

    def slow(handler) -> None:
        asked.set()
        gate.wait(10)
        answering(200)(handler)

    chat.says = slow
    ask()
    began = time.monotonic()
    assert announcing.tell(asked.is_set, seconds=10) == (0, 0)
    assert time.monotonic() - began < announcing.STOP_SECONDS + 3
    assert Channel.objects.get().held_until
    gate.set()


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_adds_switches_and_removes(operator, chat):
    page = Client()
    page.force_login(operator.user)
    place = f"/settings/notifications/{chat.code}"
    part = page.post(f"{place}/change", {"reasons-shown": "1", "reasons": ["failed"]}, headers=PART)
    assert 'id="channels"' in part.content.decode()
    assert Channel.objects.get().reasons == ["failed"]
    assert ">off<" in page.post(f"{place}/change", {"enabled": "0"}, headers=PART).content.decode()
    assert not Channel.objects.get().enabled
    page.post(f"{place}/remove", headers=PART)
    assert not Channel.objects.exists()
    bad = page.post("/settings/notifications/add", {"type": "url", "address": "file:///etc/passwd"}, headers=PART)
    assert bad.status_code == 400
    bad = page.post("/settings/notifications/add", {"type": "push", "subscription": "{"}, headers=PART)
    assert bad.status_code == 400
    form = {"time_zone": "UTC", "digest": "daily", "digest_at": "06:30", "quiet_from": "", "quiet_until": ""}
    assert "Saved." in page.post("/settings/notifications/times", form, headers=PART).content.decode()
    assert f"{TellingTimes.objects.get().digest_at:%H:%M}" == "06:30"


def test_the_worker_and_the_manifest_are_served_from_the_root(client):
    worker = client.get("/service-worker.js")
    assert worker["Content-Type"].startswith("text/javascript")
    assert b"showNotification" in worker.content
    assert client.get("/manifest.webmanifest").json()["display"] == "standalone"


def test_a_name_that_no_database_holds_is_refused_on_the_page(operator):
    page = Client()
    page.force_login(operator.user)
    form = {"type": "url", "address": "json://127.0.0.1/x", "name": "n" * 61}
    answer = page.post("/settings/notifications/add", form, headers=PART)
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "name")
    assert not Channel.objects.exists()


def test_of_a_subscription_only_what_is_needed_is_kept(operator, receive):
    said = a_device(receive(answering(201))) | {"more": "x" * 1000}
    made = channels.add(operator, type="push", subscription=said)
    assert set(json.loads(signatures.opened(made.address))) == {"endpoint", "keys"}
