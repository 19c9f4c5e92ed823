"""The checker finds nothing in an honest run, and names each kind of broken promise when one is made up."""

import json
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F

from agents import roster
from mission_control import log
from mission_control.actors import SCOPE_ABILITIES, Actor, system
from mission_control.errors import Refused
from mission_control.models import Activity, Fleet, StatusCount
from tasks import claiming, transitions
from tasks.claiming import Wish
from tasks.leases import Fence
from tasks.models import Deliverable, Dependency, Lane, Session, Task
from tests.chaos import checker
from ventures.ledger import Spent
from ventures.models import LedgerEntry, Venture

pytestmark = [pytest.mark.smoke, pytest.mark.chaos, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
SYSTEM = system("test")


def database_url():
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    return (
        f"postgres://{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    )


class Script:
    """A run made up line by line: verbs that are really called, with the history that a client would have written."""

    def __init__(self, path):
        self.path, self.lines, self.clock, self.numbers = path, [], 0.0, 0

    def tick(self):
        self.clock += 1.0
        return self.clock

    def call(self, agent, verb, work, *, body=None, task="", epoch=None, status=200, path="", **facts):
        """Calls `work()`; its answer, or the refusal, becomes the line of the answer."""
        self.numbers += 1
        operation = f"{agent}.1-{self.numbers}"
        self.lines.append(
            {"line": "call", "op": operation, "nth": 1, "client": f"{agent}.1", "agent": agent, "verb": verb,
             "method": "POST", "path": path, "body": body, "key": operation, "epoch": epoch, "task": task,
             "mono": self.tick(), **facts}
        )  # fmt: skip
        try:
            answer = work()
        except Refused as refusal:
            status, answer = refusal.status, refusal.body()
        self.answer(operation, status, answer)
        return answer

    def answer(self, operation, status, body, **facts):
        self.lines.append(
            {"line": "answer", "op": operation, "status": status, "answer": body, "mono": self.tick(), **facts}
        )

    def find(self, verb, number=0):
        """The `(call, answer)` lines of the nth call of that verb."""
        call = [line for line in self.lines if line["line"] == "call" and line["verb"] == verb][number]
        answer = next(line for line in self.lines if line["line"] == "answer" and line["op"] == call["op"])
        return call, answer

    def check(self, **options):
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return checker.check(database_url(), [self.path], **options)

    def findings(self, **options):
        return {name: found for name, found in self.check(**options).findings.items() if found}


def claim_of(actor, code, session):
    def work():
        claim = claiming.claim_task(actor, code, Wish(session_key=session))
        return {"task": {"id": code, "session_key": session}, "epoch": claim.epoch, "lease_token": claim.lease_token}

    return work


@pytest.fixture
def run(tmp_path):
    """Ada claims, reports, loses her lease and comes back as a zombie; Grace claims again and completes."""
    ada, grace = (
        Actor("agent", slug, SCOPE_ABILITIES["work"], agent=roster.create(SYSTEM, name=slug.title(), slug=slug))
        for slug in ("ada", "grace")
    )
    script = Script(tmp_path / "history.jsonl")

    def create():
        made = transitions.create_many(SYSTEM, [{"title": "First"}, {"title": "Second"}])
        return {"tasks": [{"id": task.code} for task in made]}

    codes = [task["id"] for task in script.call("margaret", "create", create, status=201)["tasks"]]
    first = codes[0]
    ask = {"session_key": "a:1"}
    old = script.call("ada", "claim", claim_of(ada, first, "a:1"), body=ask)
    fence = Fence(epoch=1, token=old["lease_token"])
    script.call(
        "ada", "progress",
        lambda: transitions.progress(ada, first, fence, percent=10, step="x ⟨ada/1⟩", total=Spent(1000, 10)) and {},
        body={"step": "x ⟨ada/1⟩", "actual_cost": "0.001"}, task=first, epoch=1,
    )  # fmt: skip
    Task.objects.filter(code=first).update(lease_expires_at="2001-01-01T00:00:00Z")
    transitions.expire(SYSTEM, Task.objects.get(code=first).pk)
    Task.objects.filter(code=first).update(not_before=None, offered=True)
    new = script.call("grace", "claim", claim_of(grace, first, "g:1"), body={"session_key": "g:1"})
    late = [{"type": "url", "title": "late ⟨ada/2⟩", "path": "https://example.org"}]
    script.call(
        "ada", "complete",
        lambda: transitions.complete(ada, first, fence, summary="y ⟨ada/2⟩", deliverables=late, total=Spent(5000, 50)),
        body={"summary": "y ⟨ada/2⟩", "deliverables": late, "actual_cost": "0.005"}, task=first, epoch=1,
    )  # fmt: skip
    done = [{"type": "url", "title": "good ⟨grace/1⟩", "path": "https://example.org"}]
    script.call(
        "grace", "complete",
        lambda: transitions.complete(
            grace, first, Fence(epoch=2, token=new["lease_token"]), summary="z ⟨grace/1⟩", deliverables=done,
            total=Spent(7000, 70),
        ) and {},
        body={"summary": "z ⟨grace/1⟩", "deliverables": done, "actual_cost": "0.007"}, task=first, epoch=2,
    )  # fmt: skip
    script.call("ada", "claim", claim_of(ada, codes[1], "a:2"), body={"session_key": "a:2"})
    for seq, kind, task in Activity.objects.order_by("seq").values_list("seq", "kind", "task"):
        script.lines.append({"line": "event", "reader": "r", "seq": seq, "kind": kind, "task": task})
    script.codes = codes
    return script


def test_an_honest_run_has_no_findings(run):
    report = run.check(least_refused=1, least_claims=3)
    assert report.wrong == []
    assert report.facts["zombie writes refused"] == 1
    assert report.facts["orphaned results kept"] == 1
    assert report.facts["claims acknowledged"] == 3


def test_too_few_zombies_prove_nothing(run):
    assert run.findings(least_refused=2) == {
        "enough_was_tried": ["only 1 zombie writes were refused, 2 are wanted"],
    }  # fmt: skip


# ── histories that cannot be ────────────────────────────────────────────────────────────────────────────────────────


def test_an_epoch_that_two_were_given_is_found(run):
    call, answer = run.find("claim", 0)
    _, other = run.find("claim", 1)
    other["answer"] = {**other["answer"], "epoch": answer["answer"]["epoch"]}
    assert "one_owner_per_epoch" in run.findings()
    assert "epochs_rise_in_time" in run.findings()


def test_a_repeated_claim_with_another_answer_is_found(run):
    call, answer = run.find("claim", 2)
    run.lines.append({**call, "nth": 2, "mono": run.tick()})
    run.answer(call["op"], 200, {**answer["answer"], "epoch": 2})
    assert "a_claim_that_is_repeated_is_the_same_claim" in run.findings()


def test_a_zombie_that_was_let_in_is_found(run):
    _, answer = run.find("complete", 0)
    answer["status"], answer["answer"] = 200, {}
    found = run.findings()
    assert "zombies_are_refused" in found
    assert "acknowledged_writes_are_there_once" in found


def test_a_zombie_that_was_refused_for_another_reason_is_found(run):
    _, answer = run.find("complete", 0)
    answer["answer"] = {"code": "wrong_state"}
    assert "zombies_are_refused" in run.findings()


def test_a_write_that_was_acknowledged_and_is_not_there_is_found(run):
    call, answer = run.find("progress", 0)
    run.lines += [{**call, "op": "ada.1-99", "body": {"step": "⟨ada/99⟩"}}, {**answer, "op": "ada.1-99"}]
    assert "acknowledged_writes_are_there_once" in run.findings()


def test_a_claim_that_was_acknowledged_and_is_not_there_is_found(run):
    _, answer = run.find("claim", 2)
    answer["answer"] = {**answer["answer"], "epoch": 9}
    assert "acknowledged_claims_are_there" in run.findings()


def test_a_created_task_that_is_gone_is_found(run):
    _, answer = run.find("create")
    answer["answer"]["tasks"].append({"id": "zzzzzzzz"})
    assert len(run.findings()["created_tasks_are_there"]) == 2


def test_money_that_was_reported_and_is_not_booked_is_found(run):
    call, _ = run.find("complete", 1)
    call["body"]["actual_cost"] = "0.009"
    assert "money_that_was_reported_is_booked" in run.findings()


@pytest.mark.parametrize(("status", "facts"), [(500, {}), (503, {}), (502, {"retry_after": "1"})])
def test_a_failure_of_ours_is_found(run, status, facts):
    call, _ = run.find("progress")
    run.lines.append({**call, "op": "ada.1-50", "body": None})
    run.answer("ada.1-50", status, {}, **facts)
    assert set(run.findings()) == {"no_answer_is_a_failure_of_ours"}


def test_a_busy_database_that_says_when_to_come_back_is_no_finding(run):
    call, _ = run.find("progress")
    run.lines.append({**call, "op": "ada.1-50", "body": None})
    run.answer("ada.1-50", 503, {"code": "busy"}, retry_after="1")
    assert run.findings() == {}


def test_an_event_that_was_missed_shown_twice_or_changed_is_found(run):
    events = [line for line in run.lines if line["line"] == "event"]
    whole = list(run.lines)
    run.lines = [line for line in whole if line is not events[3]]
    assert "readers_saw_everything_once" in run.findings()
    run.lines = [*whole, events[-1]]
    assert "readers_saw_everything_once" in run.findings()
    run.lines = [{**line, "kind": "task.deleted"} if line is events[2] else line for line in whole]
    assert "readers_saw_everything_once" in run.findings()


def test_a_locked_database_in_a_log_is_found(run, tmp_path):
    (tmp_path / "server.log").write_text("all well\nOperationalError: database is locked\n")
    assert "logs_are_quiet" in run.findings(logs=[tmp_path / "server.log"])


# ── databases that must not be ──────────────────────────────────────────────────────────────────────────────────────


def lost_activity(run):
    Activity.objects.filter(kind="task.progressed").delete()
    return {"numbers_are_dense", "acknowledged_writes_are_there_once"}


def counter_ahead(run):
    Fleet.objects.update(seq=F("seq") + 1)
    return {"numbers_are_dense"}


def zombie_in_the_log(run):
    Activity.objects.filter(kind="task.progressed").update(message="y ⟨ada/2⟩")
    return {"zombies_change_nothing"}


def orphan_that_is_none(run):
    Deliverable.objects.update(orphaned=False)
    added = Activity.objects.get(kind="deliverable.added", data__orphaned=True)
    Activity.objects.filter(pk=added.pk).update(data={**added.data, "orphaned": False})
    return {"zombies_change_nothing"}


def orphan_that_was_lost(run):
    Deliverable.objects.filter(orphaned=True).delete()
    return {"orphans_are_kept"}


def deliverable_twice(run):
    row = Deliverable.objects.get(orphaned=False)
    row.pk, row.number = None, 7
    row.save()
    return {"acknowledged_deliverables_are_there_once"}


def status_beside_the_log(run):
    Task.objects.filter(code=run.codes[0]).update(status="cancelled")
    return {"the_log_moves_tasks_as_allowed", "counts_are_true"}


def move_that_is_not_allowed(run):
    Activity.objects.filter(kind="task.completed").update(status_to="ready")
    return {"the_log_moves_tasks_as_allowed"}


def epoch_twice(run):
    claim = Activity.objects.filter(kind="task.claimed", task=run.codes[0]).order_by("-seq")[0]
    Activity.objects.filter(pk=claim.pk).update(data={**claim.data, "epoch": 1})
    return {"the_log_raises_epochs_one_by_one"}


def claim_of_nobody(run):
    Activity.objects.filter(kind="task.claimed", session="a:2").update(session="who")
    return {"every_claim_was_asked_for", "sessions_are_of_their_claim"}


def task_in_limbo(run):
    task = transitions.create(SYSTEM, title="Third")
    Task.objects.filter(pk=task.pk).update(offered=False)
    return {"every_open_task_waits_for_something"}


def lease_that_nobody_sweeps(run):
    Task.objects.filter(code=run.codes[1]).update(lease_expires_at="2001-01-01T00:00:00Z")
    return {"leases_come_back"}


def lease_without_session(run):
    Session.objects.filter(key="a:2").update(state="failed", ended_at=F("started_at"))
    return {"work_in_progress_is_held"}


def session_that_lives_on(run):
    Session.objects.filter(key="a:1").update(ended_at=None)
    return {"work_in_progress_is_held"}


def wrong_queue(run):
    lane = Lane.objects.create(venture=Venture.objects.get(slug="default"), capabilities=["x"], capabilities_key="x")
    Task.objects.filter(code=run.codes[1]).update(lane=lane)
    return {"queues_hold_their_own"}


def wrong_count(run):
    log.fold_counts()
    StatusCount.objects.filter(status="done").update(n=F("n") + 1)
    return {"counts_are_true"}


def uncounted_prerequisite(run):
    ends = [Task.objects.get(code=code) for code in run.codes]
    Dependency.objects.create(task=ends[0], depends_on=ends[1])
    return {"prerequisites_are_counted"}


def lost_money(run):
    LedgerEntry.objects.filter(attempt=2).delete()
    return {"totals_equal_the_ledger", "money_that_was_reported_is_booked"}


def lost_task(run):
    Session.objects.filter(key="a:2").delete()
    Task.objects.filter(code=run.codes[1]).delete()
    return {"created_tasks_are_there"}


BREAKAGES = (
    lost_activity, counter_ahead, zombie_in_the_log, orphan_that_is_none, orphan_that_was_lost, deliverable_twice,
    status_beside_the_log, move_that_is_not_allowed, epoch_twice, claim_of_nobody, task_in_limbo,
    lease_that_nobody_sweeps, lease_without_session, session_that_lives_on, wrong_queue, wrong_count,
    uncounted_prerequisite, lost_money, lost_task,
)  # fmt: skip


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_a_broken_database_is_found(run, breakage):
    expected = breakage(run)
    assert expected <= set(run.findings())


def test_every_check_is_broken_by_some_test(run):
    """Each check of the checker is named by a test here: a check that nothing can break is no check."""
    source = Path(__file__).read_text()
    assert [check.__name__ for check in checker.CHECKS if f'"{check.__name__}"' not in source] == []


def test_the_program_prints_and_exits_with_one_when_it_finds_something(run, capsys):
    run.check()
    arguments = ["--database", database_url(), "--history", str(run.path)]
    assert checker.main(arguments) == 0
    assert f"{len(checker.CHECKS) + 2} checks found nothing" in capsys.readouterr().out
    assert checker.main([*arguments, "--least-refused", "5"]) == 1
    assert "FOUND enough_was_tried" in capsys.readouterr().out
