"""Idempotency keys, one call after the other. At the same time: test_idempotency_races.py."""

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models.functions import Now

from mission_control import idempotency, log
from mission_control.errors import Invalid, Refused
from mission_control.idempotency import Reply, once
from mission_control.models import Activity, IdempotentAnswer
from tasks.models import Deliverable, Task
from tests.conftest import a_task, claimed

pytestmark = pytest.mark.django_db


def test_the_same_call_again_has_one_effect_and_the_same_answer(api_of, operator):
    api = api_of(operator)
    first = api.post("/tasks", {"title": "Once"}, idempotency_key="k1")
    again = api.post("/tasks", {"title": "Once"}, idempotency_key="k1")
    assert (first.status_code, first.content) == (201, again.content)
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert first["ETag"] == again["ETag"]
    assert Task.objects.count() == 1
    assert api.post("/tasks", {"title": "Once"}, idempotency_key="k2").json() != first.json()


def test_another_body_or_address_under_the_same_key_is_refused(api_of, operator):
    api, task = api_of(operator), a_task()
    api.post("/tasks", {"title": "Once"}, idempotency_key="k1")
    for refused in (
        api.post("/tasks", {"title": "Twice"}, idempotency_key="k1"),
        api.bare.post("/tasks", {"title": "Once"}, idempotency_key="k1"),
        api.post(f"/tasks/{task.code}/pause", {"title": "Once"}, idempotency_key="k1"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_mismatch")


def test_every_caller_has_keys_of_its_own(api_of, operator, admin, orchestrator):
    answers = [
        api_of(who).post("/tasks", {"title": "x"}, idempotency_key="same") for who in (operator, admin, orchestrator)
    ]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert Task.objects.count() == 3


def test_a_refusal_that_changed_nothing_is_judged_anew(api_of, operator):
    api, task = api_of(operator), a_task()
    path = f"/tasks/{task.code}/resume"
    assert api.post(path, {}, idempotency_key="k").status_code == 409
    api.post(f"/tasks/{task.code}/pause", {})
    assert api.post(path, {}, idempotency_key="k").status_code == 200
    assert api.post("/tasks", {"title": ""}, idempotency_key="k3").status_code == 400
    assert not IdempotentAnswer.objects.filter(status__gte=400).exists()


def test_a_refusal_that_changed_something_is_given_again(api_of, operator, ada, bob):
    task = a_task()
    old = claimed(ada, task)
    api_of(operator).post(f"/tasks/{task.code}/release", {})
    claimed(bob, task)
    api = api_of(ada)
    body = {"actual_cost": "1.50", "epoch": old.epoch, "lease_token": old.lease_token,
            "deliverables": [{"title": "Late"}]}  # fmt: skip
    first = api.post(f"/tasks/{task.code}/complete", body, idempotency_key="k")
    again = api.post(f"/tasks/{task.code}/complete", body, idempotency_key="k")
    assert (first.status_code, first.content) == (409, again.content)
    assert again["Idempotent-Replayed"] == "true"
    assert Deliverable.objects.filter(orphaned=True).count() == 1


def test_a_claim_whose_answer_was_lost_is_given_again(api_of, ada):
    a_task()
    a_task()
    api = api_of(ada)
    for root in (api, api.bare):
        first = root.post("/tasks/claim", {}, idempotency_key=f"lost {root.root}".replace(" ", "-"))
        again = root.post("/tasks/claim", {}, idempotency_key=f"lost {root.root}".replace(" ", "-"))
        assert (first.status_code, first.content) == (200, again.content)
        assert again.json()["epoch"] == 1
    assert Task.objects.filter(status="in_progress").count() == 2


def test_an_empty_queue_is_an_answer_too_but_a_404_is_judged_anew(api_of, ada):
    api = api_of(ada)
    assert api.post("/tasks/claim", {}, idempotency_key="k").json()["task"] is None
    assert api.bare.post("/tasks/claim", {}, idempotency_key="b").status_code == 404
    a_task()
    assert api.post("/tasks/claim", {}, idempotency_key="k").json()["task"] is None
    assert api.bare.post("/tasks/claim", {}, idempotency_key="b").status_code == 200


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "a" * 256, "tab\there"])
def test_a_key_is_visible_ascii(key, operator):
    with pytest.raises(Invalid):
        once(operator, key, b"", lambda: Reply(200, b"", {}))


def test_a_wrong_key_is_refused_by_every_post(api_of, operator, ada):
    for answer in (
        api_of(operator).post("/tasks", {"title": "x"}, idempotency_key="a" * 256),
        api_of(ada).post("/tasks/claim", {}, idempotency_key="a b"),
    ):
        assert answer.status_code == 400
        assert answer.json()["details"][0]["field"] == "Idempotency-Key"


def test_what_is_kept_cannot_be_read_without_the_key(api_of, operator, ada):
    made = api_of(operator).post("/agents/ada/keys", {}, idempotency_key="a-secret-of-the-client")
    secret = made.json()["api_key"]
    row = IdempotentAnswer.objects.get()
    kept = bytes(row.body)
    assert secret.encode() not in kept and b"api_key" not in kept
    assert "a-secret-of-the-client" not in f"{row.key_hash} {row.request_hash} {row.caller}"
    again = api_of(operator).post("/agents/ada/keys", {}, idempotency_key="a-secret-of-the-client")
    assert again.json()["api_key"] == secret


def test_an_answer_under_another_server_secret_is_not_guessed(api_of, operator, settings):
    api = api_of(operator)
    api.post("/tasks", {"title": "x"}, idempotency_key="k")
    IdempotentAnswer.objects.update(body=b"\x00" * 40)
    answer = api.post("/tasks", {"title": "x"}, idempotency_key="k")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_lost")


def test_a_key_may_be_used_anew_after_a_day(api_of, operator):
    api = api_of(operator)
    api.post("/tasks", {"title": "x"}, idempotency_key="k")
    IdempotentAnswer.objects.update(at=Now() - timedelta(hours=25))
    assert "Idempotent-Replayed" not in api.post("/tasks", {"title": "other"}, idempotency_key="k")
    assert Task.objects.count() == 2
    IdempotentAnswer.objects.update(at=Now() - timedelta(hours=25))
    api.post("/tasks", {"title": "fresh"}, idempotency_key="k2")
    assert idempotency.forget_old() == 1
    assert IdempotentAnswer.objects.count() == 1


def test_the_key_and_the_effect_are_one_transaction(operator):
    def fails():
        with log.unit():
            log.record("activity.logged", operator, message="never")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        once(operator, "k", b"", fails)
    assert not IdempotentAnswer.objects.exists()
    assert not Activity.objects.filter(message="never").exists()

    def refuses():
        with log.unit():
            log.record("activity.logged", operator, message="kept")
        raise Refused("No, but it happened.", keep=True)

    assert once(operator, "k", b"", refuses).status == 409
    assert once(operator, "k", b"", lambda: Reply(200, b"", {})).headers["Idempotent-Replayed"] == "true"
    assert Activity.objects.filter(message="kept").count() == 1


def test_an_upload_is_the_same_one_under_another_boundary(api_of, ada, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    task, api = a_task(), api_of(ada)

    def send(content):
        headers = {"authorization": f"Bearer {api.secret}", "idempotency-key": "up"}
        form = {"title": "Plan", "file": SimpleUploadedFile("plan.txt", content)}
        return api.client.post(f"/api/v1/tasks/{task.code}/deliverables", form, headers=headers)

    first, again, other = send(b"one"), send(b"one"), send(b"two")
    assert (first.status_code, first.content) == (201, again.content)
    assert other.status_code == 422
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
