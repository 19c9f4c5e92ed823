"""Old lines leave the log: what stays verifies, counts and is told as before."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import F

from mission_control import log
from mission_control.actors import system
from mission_control.errors import Refused
from mission_control.keeping import retention
from mission_control.models import Activity, Checkpoint, Delivery, PrunedTask, Seal, Watermark, Webhook
from mission_control.outbound import deliveries, notifications, webhooks
from tasks import invariants, transitions
from tasks.teamwork import collaboration
from tests.conftest import a_task, claimed, fence, fresh

pytestmark = pytest.mark.django_db
WHO = system("test")
WEEK = timedelta(days=7)


def sealed():
    while log.seal_log():
        pass
    log.fold_counts()
    notifications.make_from_log()


def aged(days=30):
    """All lines so far are so old; then they are sealed and counted."""
    Activity.objects.update(at=F("at") - timedelta(days=days))
    sealed()


@pytest.fixture
def past(ada):
    """Three tasks of a month ago: one done, one claimed, one deleted; and a line of today."""
    done, held, deleted = a_task("Done"), a_task("Held"), a_task("Deleted")
    transitions.complete(ada, done.code, fence=fence(claimed(ada, done)), summary="As asked.")
    claim = claimed(ada, held, lease_seconds=3600)
    transitions.delete(WHO, deleted.code)
    aged()
    with log.unit():
        log.record("activity.logged", WHO, message="Today")
    sealed()
    return {"done": done, "held": held, "deleted": deleted, "claim": claim}


def broken():
    return {name: complaints for name, complaints in invariants.broken().items() if complaints}


def test_old_lines_go_and_what_stays_verifies_and_counts(past, ada):
    head, counts = log.head(), log.counts_by_venture()
    assert retention.prunable(WEEK) == head - 1
    assert retention.prune(WHO, WEEK) == head - 2
    assert list(Activity.objects.order_by("seq").values_list("seq", "kind", "task")) == [
        (3, "task.created", past["held"].code), (head, "activity.logged", ""), (head + 1, "log.pruned", ""),
    ]  # fmt: skip
    assert Seal.objects.count() == 1
    assert log.verify_log() == (1, "")
    assert broken() == {}
    assert log.counts_by_venture() == counts
    transitions.complete(ada, past["held"].code, fence=fence(past["claim"]), summary="Over the cut.")
    sealed()
    assert log.verify_log()[1] == ""
    assert broken() == {}


def test_the_checkpoint_keeps_what_the_log_said_of_each_task(past):
    retention.prune(WHO, WEEK)
    kept = {row.code: (row.status, row.epoch) for row in PrunedTask.objects.all()}
    assert kept == {past["done"].code: ("done", 1), past["held"].code: ("in_progress", 1)}
    PrunedTask.objects.filter(code=past["done"].code).update(status="review")
    PrunedTask.objects.filter(code=past["held"].code).update(epoch=2)
    assert set(broken()) == {"log_tells_the_status", "epochs_only_rise"}


def test_a_second_pruning_goes_on_where_the_first_one_ended(past, ada):
    retention.prune(WHO, WEEK)
    first = Checkpoint.objects.get().seq
    transitions.complete(ada, past["held"].code, fence=fence(past["claim"]), summary="Later.")
    # As if all of it had been written and sealed a week earlier.
    above = Activity.objects.filter(seq__gt=first)
    above.update(at=F("at") - WEEK - timedelta(days=1))
    before = Checkpoint.objects.get().mac
    Seal.objects.all().delete()
    for line in above.order_by("seq").values(*log.LINE):
        before = log._mac(before, line)
        Seal.objects.create(seq=line["seq"], mac=before, key_id=log.key_id())
    Watermark.objects.filter(pk="sealed").update(seq=log.head())
    log.fold_counts()
    notifications.make_from_log()
    with log.unit():
        log.record("activity.logged", WHO)
    assert retention.prune(WHO, WEEK) > 0
    assert first < Checkpoint.objects.get().seq < log.head() - 2, "the newest seal stays, the next is chained to it"
    sealed()
    assert log.verify_log()[1] == ""
    assert broken() == {}
    with log.unit():
        log.record("activity.logged", WHO)
    sealed()
    assert log.verify_log()[1] == ""


def test_pages_are_pruned_one_after_the_other(past, monkeypatch):
    monkeypatch.setattr(retention, "PAGE", 3)
    head = log.head()
    assert retention.prune(WHO, WEEK) == head - 2
    assert Checkpoint.objects.get().seq == head - 1
    assert log.verify_log()[1] == ""
    assert broken() == {}


@pytest.mark.parametrize("lines", [2, 5000])
def test_what_was_said_of_an_open_task_outlasts_a_pruning_until_it_is_finished(
    lines, ada, operator, api_of, monkeypatch
):
    monkeypatch.setattr(retention, "PAGE", lines)
    task, over = a_task("Open"), a_task("Over")
    for code in (task.code, over.code):
        collaboration.comment(operator, code, "Centimetres, please.")
        collaboration.discover(ada, code, "Sandals run large.")
        transitions.edit(operator, code, {"tags": ["copy"]})
    transitions.cancel(operator, over.code)
    aged()
    collaboration.comment(ada, task.code, "Understood.")
    sealed()
    assert retention.prune(WHO, WEEK) == 6, "the agent, and all lines of the task that is over"
    client = api_of(ada)
    said = client.get(f"/tasks/{task.code}/comments").json()["comments"]
    assert [comment["text"] for comment in said] == ["Understood.", "Centimetres, please."]
    assert client.get(f"/tasks/{over.code}/comments").json()["comments"] == []
    assert "Sandals run large." in client.get(f"/tasks/{task.code}/context.yaml").content.decode()
    assert transitions.did(operator, fresh(task), ["task.updated"]), "who wrote it may still not approve it alone"
    assert client.get("/activities?since=0").status_code == 410
    sealed()
    assert log.verify_log()[1] == ""
    assert broken() == {}
    transitions.cancel(operator, task.code)
    sealed()
    assert retention.prune(WHO, WEEK) == 4
    assert Activity.objects.order_by("seq").first().seq == log.first()
    assert log.verify_log()[1] == ""
    assert broken() == {}


@pytest.mark.parametrize("tampered", ["changed", "removed", "inserted"])
def test_a_line_that_outlasted_a_pruning_cannot_be_tampered_with(tampered, past):
    retention.prune(WHO, WEEK)
    line = Activity.objects.get(seq__lt=log.first())
    if tampered == "changed":
        Activity.objects.filter(pk=line.pk).update(message="Something else")
    elif tampered == "removed":
        line.delete()
        Checkpoint.objects.update(lasting="")
    else:
        Activity(seq=line.seq + 1, kind="comment.added", actor_type="agent", actor="eve", at=line.at).save()
    assert log.verify_log()[1] in (
        f"a line from before the checkpoint at {log.first() - 1} was changed, removed or inserted",
        f"the checkpoint at {log.first() - 1} is none of ours",
    )


def test_young_unsealed_and_newest_lines_stay(past):
    with pytest.raises(Refused, match="one day"):
        retention.prune(WHO, timedelta(hours=23))
    assert retention.prune(WHO, timedelta(days=300)) == 0
    Activity.objects.update(at=F("at") - timedelta(days=30))
    assert retention.prunable(WEEK) == log.head() - 1, "the newest line stays"
    Watermark.objects.filter(pk="sealed").update(seq=4)
    assert retention.prunable(WEEK) == 3
    Watermark.objects.filter(pk="counted").update(seq=2)
    assert retention.prunable(WEEK) == 2


def test_lines_that_are_yet_to_be_told_stay(past):
    hook = webhooks.create(WHO, url="https://hook.example/in")[0]
    assert retention.prunable(WEEK) == log.head() - 2, "lines from before the webhook are not told to it"
    Webhook.objects.filter(pk=hook.pk).update(since_seq=0)
    Watermark.objects.filter(pk=deliveries.MARK).update(seq=4)
    assert retention.prunable(WEEK) == 4
    Watermark.objects.filter(pk=deliveries.MARK).update(seq=log.head())
    Delivery.objects.create(webhook=hook, message_id="msg_1", seq=3, kind="task.created")
    assert retention.prunable(WEEK) == 2
    Delivery.objects.update(state="dead")
    notifications.make_from_log()
    assert retention.prunable(WEEK) == log.head() - 2
    Watermark.objects.filter(pk=notifications.MARK).update(seq=5)
    assert retention.prunable(WEEK) == 5


def test_who_has_only_the_database_cannot_prune(past):
    seal = Seal.objects.get(seq=3)
    Checkpoint.objects.create(
        seq=3, mac=seal.mac, key_id=seal.key_id, signature="0" * 64, at=Activity.objects.get(seq=3).at
    )
    Activity.objects.filter(seq__lte=3).delete()
    Seal.objects.filter(seq__lte=3).delete()
    assert log.verify_log() == (0, "the checkpoint at 3 is none of ours")


def test_lines_that_go_missing_above_the_checkpoint_are_named(past):
    retention.prune(WHO, WEEK)
    first = log.first()
    with log.unit():
        log.record("activity.logged", WHO)
    sealed()
    Activity.objects.filter(seq=first).delete()
    assert log.verify_log() == (0, f"activity {first} is missing")
    assert broken()["numbers_are_dense"] == [f"the log begins at {first + 1}, its checkpoint is {first - 1}"]


def test_a_cursor_from_before_the_checkpoint_is_told_410(past, operator, api_of):
    retention.prune(WHO, WEEK)
    cut = Checkpoint.objects.get().seq
    api = api_of(operator)
    assert api.get(f"/activities?since={cut}").status_code == 200
    refused = api.get(f"/activities?since={cut - 1}")
    assert refused.status_code == 410
    assert refused.json()["snapshot"]


# ── checkpoints that are kept elsewhere ─────────────────────────────────────────────────────────────────────────────


def test_a_log_is_held_against_a_checkpoint_that_was_kept_elsewhere(past, tmp_path, capsys):
    kept = tmp_path / "checkpoint.json"
    call_command("verify_log", "--export", str(kept))
    with log.unit():
        log.record("activity.logged", WHO)
    sealed()
    call_command("verify_log", "--against", str(kept))
    assert "as they were sealed" in capsys.readouterr().out

    last = Activity.objects.order_by("-seq")[1].seq
    Activity.objects.filter(seq=last).update(message="Another past")
    Seal.objects.filter(seq__gte=last).delete()
    Watermark.objects.filter(pk="sealed").update(seq=last - 1)
    sealed()
    assert log.verify_log()[1] == "", "who has the key can seal another past"
    with pytest.raises(CommandError, match="is not the one in which"):
        call_command("verify_log", "--against", str(kept))


def test_an_end_that_is_missing_is_seen_from_elsewhere(past):
    kept = retention.exported()
    Activity.objects.filter(seq=kept["seq"]).delete()
    Seal.objects.filter(seq=kept["seq"]).delete()
    Watermark.objects.filter(pk="sealed").update(seq=kept["seq"] - 1)
    assert log.verify_log()[1] == ""
    assert "the log ends before" in retention.contradiction(kept)


def test_a_checkpoint_from_before_the_pruning_cannot_be_compared_and_at_it_it_can(past):
    seal = Seal.objects.get(seq=2)
    kept = {"seq": 2, "mac": seal.mac, "signature": log.signature(2, seal.mac)}
    assert retention.contradiction(kept) == ""
    retention.prune(WHO, WEEK)
    assert "pruned" in retention.contradiction(kept)
    cut = Checkpoint.objects.get()
    assert retention.contradiction({"seq": cut.seq, "mac": cut.mac, "signature": log.signature(cut.seq, cut.mac)}) == ""


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"seq": 1, "mac": "a", "signature": "é"}'])
def test_what_is_no_checkpoint_is_refused(past, tmp_path, content):
    file = tmp_path / "checkpoint.json"
    file.write_text(content)
    with pytest.raises(CommandError):
        call_command("verify_log", "--against", str(file))


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_says_what_would_go_and_what_went(past, capsys):
    head = log.head()
    call_command("prune_activities", "--older-than", "7d", "--dry-run")
    assert f"up to {head - 1} of {head}" in capsys.readouterr().out
    assert Activity.objects.count() == head
    call_command("prune_activities", "--older-than", "1w")
    assert f"{head - 2} activities are gone" in capsys.readouterr().out
    with pytest.raises(CommandError, match="one day"):
        call_command("prune_activities", "--older-than", "2h")


@pytest.mark.parametrize("age", ["", "90", "d", "-1d", "0d", "1y", "1.5d", "999999w", "١d"])
def test_what_is_no_age_is_a_usage_error(age):
    with pytest.raises(CommandError, match="give a number of"):
        call_command("prune_activities", f"--older-than={age}")


def test_the_exported_checkpoint_is_json_with_a_signature(past, tmp_path):
    call_command("verify_log", "--export", str(tmp_path / "c.json"))
    kept = json.loads((tmp_path / "c.json").read_text())
    assert set(kept) == {"seq", "mac", "key_id", "signature"}
    assert kept["seq"] == log.head()
