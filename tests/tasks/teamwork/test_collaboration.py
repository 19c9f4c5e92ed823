"""What a team says about a task: comments with mentions, participants, checkpoints, findings, shared context, notes."""

import pytest

from mission_control.models import Activity, User
from tasks import approvals, handover, transitions
from tasks.collaboration_models import ContextEntry, Note
from tasks.teamwork import collaboration
from tests.conftest import DIRECTOR, a_task, an_agent, claimed, fresh

pytestmark = pytest.mark.django_db


def newest(kind: str) -> Activity:
    return Activity.objects.filter(kind=kind).order_by("-seq")[0]


# ── comments ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_comment_is_a_line_of_the_log_and_is_counted_on_the_task(api_of, ada, operator):
    task = a_task()
    answer = api_of(ada).post(f"/tasks/{task.code}/comments", {"text": "Done with *half*."})
    comment = answer.json()["comment"]
    assert answer.status_code == 201
    line = newest("comment.added")
    assert (comment["id"], comment["text"], comment["by"]) == (
        line.seq,
        "Done with *half*.",
        {"type": "agent", "name": "ada"},
    )
    assert (line.task, line.agent, line.message, line.data) == (task.code, "ada", "Done with *half*.", {"mentions": []})
    api_of(operator).post(f"/tasks/{task.code}/comments", {"content": "Go on."})
    assert (fresh(task).comment_count, fresh(task).version) == (2, 3)
    listed = api_of(ada).get(f"/tasks/{task.code}/comments").json()
    assert [(c["text"], c["by"]["name"], c["agent"]) for c in listed["comments"]] == [
        ("Go on.", "olivia", None), ("Done with *half*.", "ada", "ada"),
    ]  # fmt: skip
    assert api_of(ada).get(f"/tasks/{task.code}").json()["task"]["comment_count"] == 2
    bare = api_of(ada).bare.get(f"/tasks/{task.code}/comments").json()
    assert (bare[0]["author"], bare[0]["content"], bare[0]["task_id"]) == ("olivia", "Go on.", task.code)


def test_comments_come_page_by_page(api_of, ada):
    task, client = a_task(), api_of(ada)
    for number in range(5):
        client.post(f"/tasks/{task.code}/comments", {"text": f"{number}"})
    first = client.get(f"/tasks/{task.code}/comments?limit=3").json()
    client.post(f"/tasks/{task.code}/comments", {"text": "in between"})
    second = client.get(f"/tasks/{task.code}/comments?limit=3&cursor={first['next']}").json()
    assert [c["text"] for c in first["comments"] + second["comments"]] == ["4", "3", "2", "1", "0"]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("@ada please look", ["ada"]),
        ("Ask @bob, then @ada. Then @bob again", ["bob", "ada"]),
        ("(@olivia) and @Ada!", ["olivia", "ada"]),
        ("@nobody and @gone are not here", []),
        ("mail ada@bob.example, see https://x.example/@bob", []),
        ("`@ada` and\n```\n@bob\n```\nare code", []),
        ("@t.j@example.org. is a username with a dot", ["t.j@example.org"]),
        ("@@ada", []),
    ],
)
def test_mentions_are_the_agents_and_people_that_there_are(text, meant, ada, bob, operator):
    User.objects.create(username="t.j@example.org")
    User.objects.create(username="gone", is_active=False)
    assert collaboration.comment(operator, a_task().code, text).data["mentions"] == meant


def test_who_cannot_see_the_task_is_not_mentioned(closed, ada, bob, operator):
    task = a_task(venture=closed)
    assert collaboration.comment(operator, task.code, "@ada and @bob").data["mentions"] == ["ada"]


def test_an_empty_comment_is_refused(api_of, ada):
    task = a_task()
    for body in ({"text": " \n"}, {"text": ""}, {}, {"text": 5}, {"text": "x" * 10_001}, {"text": "x", "color": "red"}):
        assert api_of(ada).post(f"/tasks/{task.code}/comments", body).status_code == 400, body
    assert fresh(task).comment_count == 0


def test_a_repeated_comment_is_said_once(api_of, ada):
    task, client = a_task(), api_of(ada)
    answers = [client.post(f"/tasks/{task.code}/comments", {"text": "x"}, idempotency_key="k") for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert fresh(task).comment_count == 1


# ── leases ──────────────────────────────────────────────────────────────────────────────────────────────────────────

ADDITIVE = [
    ("comments", {"text": "x"}),
    ("participants", {"role": "tester"}),
    ("join", {"role": "tester"}),
    ("sync", {"message": "x"}),
    ("discover", {"message": "x"}),
    ("context", {"key": "k", "value": [1.5, None]}),
    ("notes", {"text": "x"}),
]


@pytest.mark.parametrize(("path", "body"), ADDITIVE)
def test_what_is_said_needs_no_lease_but_one_that_is_shown_is_checked_and_extended(path, body, api_of, ada, bob):
    task = a_task()
    claim = claimed(ada, task, lease_seconds=15)
    before = fresh(task)
    assert api_of(bob).post(f"/tasks/{task.code}/{path}", body).status_code == 201
    zombie = api_of(ada).post(f"/tasks/{task.code}/{path}", body, x_lease_epoch="1", x_lease_token="stale")
    assert (zombie.status_code, zombie.json()["code"]) == (409, "lease_lost")
    said = Activity.objects.filter(task=task.code).count()
    live = {"x_lease_epoch": str(claim.epoch), "x_lease_token": claim.lease_token}
    assert api_of(ada).post(f"/tasks/{task.code}/{path}", body, **live).status_code == 201
    after = fresh(task)
    assert after.lease_expires_at > before.lease_expires_at
    # The context is the same that bob shared: nothing changed, so nothing is told.
    assert Activity.objects.filter(task=task.code).count() == said + (path != "context")


@pytest.mark.parametrize(("path", "body"), ADDITIVE)
def test_who_only_reads_says_nothing(path, body, api_of, viewer, nobody):
    task = a_task()
    assert api_of(viewer).post(f"/tasks/{task.code}/{path}", body).status_code == 403
    assert nobody.post(f"/tasks/{task.code}/{path}", body).status_code == 401
    assert Activity.objects.filter(task=task.code).count() == 1


# ── who takes part ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_agents_join_in_a_role_which_they_may_change(api_of, ada, bob, operator):
    task = a_task()
    joined = api_of(ada).post(f"/tasks/{task.code}/join", {"role": "reviewer"})
    assert (joined.status_code, joined.json()["participant"]["role"]) == (201, "reviewer")
    line = newest("participant.joined")
    assert (line.agent, line.data) == (
        "ada", {"role": "reviewer", "before": {"role": ""}, "after": {"role": "reviewer"}},
    )  # fmt: skip
    api_of(ada).post(f"/tasks/{task.code}/join")
    assert Activity.objects.filter(kind="participant.joined").count() == 1
    api_of(operator).post(f"/tasks/{task.code}/participants", {"agent": "bob"})
    api_of(ada).post(f"/tasks/{task.code}/participants", {"role": "author"})
    listed = api_of(bob).get(f"/tasks/{task.code}/participants").json()["participants"]
    assert [(p["agent"], p["role"]) for p in listed] == [("bob", "contributor"), ("ada", "author")]
    assert newest("participant.joined").data["before"] == {"role": "reviewer"}


def test_a_person_names_the_agent_that_joins_and_a_worker_joins_for_itself_alone(api_of, operator, ada, bob):
    task = a_task()
    refused = api_of(operator).post(f"/tasks/{task.code}/join")
    assert (refused.status_code, refused.json()["details"][0]["field"]) == (400, "agent_id")
    assert api_of(ada).post(f"/tasks/{task.code}/join", {"agent_id": "bob"}).status_code == 403


def test_who_may_not_see_the_task_cannot_be_made_to_take_part(api_of, operator, closed, bob):
    task = a_task(venture=closed)
    refused = api_of(operator).post(f"/tasks/{task.code}/join", {"agent_id": "bob"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_joined")


def test_who_takes_part_leaves_and_the_log_says_as_what_it_did(api_of, ada, bob, operator, viewer):
    task = a_task()
    for actor in (ada, bob):
        collaboration.join(actor, task.code, "reviewer")
    path = f"/tasks/{task.code}/participants"
    assert api_of(ada).delete(f"{path}/bob").status_code == 403
    assert api_of(viewer).delete(f"{path}/bob").status_code == 403
    assert api_of(ada).post(f"/tasks/{task.code}/leave").status_code == 204
    line = newest("participant.left")
    assert (line.agent, line.actor, line.data) == (
        "ada", "ada", {"role": "reviewer", "before": {"role": "reviewer"}, "after": {"role": ""}},
    )  # fmt: skip
    assert api_of(ada).post(f"/tasks/{task.code}/leave").status_code == 404
    assert api_of(operator).post(f"/tasks/{task.code}/leave").json()["details"][0]["field"] == "agent_id"
    assert api_of(operator).delete(f"{path}/bob").status_code == 204
    assert (newest("participant.left").agent, newest("participant.left").actor) == ("bob", "olivia")
    assert api_of(ada).get(path).json()["participants"] == []
    assert collaboration.sync(ada, task.code, "Who hears?").data == {"participants": []}


def test_checkpoints_and_findings_name_who_takes_part(api_of, ada, bob):
    task = a_task()
    for actor in (bob, ada):
        collaboration.join(actor, task.code)
    posted = api_of(ada).post(f"/tasks/{task.code}/sync", {"checkpoint": "Half way"})
    assert (posted.status_code, posted.json()["activity"]["kind"]) == (201, "checkpoint.posted")
    assert newest("checkpoint.posted").data == {"participants": ["bob", "ada"]}
    found = {"finding": "The cache is stale", "impact": "Clear it first", "tags": ["cache"]}
    assert api_of(bob).post(f"/tasks/{task.code}/discover", found).status_code == 201
    line = newest("finding.shared")
    assert line.message == "The cache is stale"
    assert line.data == {"impact": "Clear it first", "tags": ["cache"], "participants": ["bob", "ada"]}


# ── shared context ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_latest_value_of_a_key_wins_and_the_log_keeps_the_one_before(api_of, ada, bob):
    task = a_task()
    first = {"key": "stack", "value": {"db": "postgres", "weight": 1.5}, "kind": "decision"}
    assert api_of(ada).post(f"/tasks/{task.code}/context", first).status_code == 201
    second = api_of(bob).post(f"/tasks/{task.code}/context", {"key": "stack", "value": "sqlite"}).json()["entry"]
    assert (second["value"], second["kind"], second["by"]) == ("sqlite", "share", {"type": "agent", "name": "bob"})
    assert newest("context.shared").data == {
        "key": "stack",
        "before": {"value": '{"db":"postgres","weight":1.5}', "kind": "decision"},
        "after": {"value": '"sqlite"', "kind": "share"},
    }
    listed = api_of(ada).get(f"/tasks/{task.code}/context").json()["entries"]
    assert [(e["key"], e["value"]) for e in listed] == [("stack", "sqlite")]
    assert api_of(ada).get(f"/tasks/{task.code}/context?kind=decision").json()["entries"] == []


def test_one_entry_is_read_by_its_key(api_of, ada):
    task, client = a_task(), api_of(ada)
    client.post(f"/tasks/{task.code}/context", {"key": "api/v2 url", "value": None})
    assert client.get(f"/tasks/{task.code}/context/api/v2%20url").json()["entry"]["value"] is None
    assert client.get(f"/tasks/{task.code}/context/other").status_code == 404


def test_what_was_shared_is_taken_back_and_the_log_keeps_it(api_of, ada, bob):
    task = a_task()
    path = f"/tasks/{task.code}/context"
    api_of(ada).post(path, {"key": "api/v2", "value": {"weight": 1.5}, "kind": "decision"})
    assert api_of(bob).delete(f"{path}/api/v2").status_code == 204
    line = newest("context.removed")
    assert (line.actor, line.data) == (
        "bob", {"key": "api/v2", "before": {"value": '{"weight":1.5}', "kind": "decision"}, "after": None},
    )  # fmt: skip
    assert api_of(ada).get(path).json()["entries"] == []
    assert api_of(bob).delete(f"{path}/api/v2").status_code == 404
    assert Activity.objects.filter(kind="context.removed").count() == 1
    changes = api_of(ada).get(f"/audit?task={task.code}&kind=context.removed").json()["entries"][0]["changes"]
    assert changes, "the audit trail tells what stood there"


def test_taking_context_back_takes_the_approval_of_it_back(operator, ada):
    task = a_task(needs_approval=True)
    collaboration.share(ada, task.code, "unit", "cm")
    approvals.approve_start(operator, task.code, handover.digest(fresh(task)))
    collaboration.take_back(ada, task.code, "unit")
    assert fresh(task).approved_at is None


def test_the_same_value_again_is_not_told_twice(api_of, ada, bob):
    task = a_task()
    for client in (api_of(ada), api_of(bob)):
        assert client.post(f"/tasks/{task.code}/context", {"key": "k", "value": {"a": 1, "b": 2}}).status_code == 201
    assert Activity.objects.filter(kind="context.shared").count() == 1
    assert ContextEntry.objects.get().by == "ada"


def test_what_is_too_large_or_of_no_kind_is_refused(api_of, ada):
    task, client = a_task(), api_of(ada)
    for body in (
        {"key": "k", "value": "x" * 64_000}, {"key": "", "value": 1}, {"value": 1}, {"key": "k"},
        {"key": "k", "value": 1, "kind": "gossip"}, {"key": "two\nlines", "value": 1},
    ):  # fmt: skip
        assert client.post(f"/tasks/{task.code}/context", body).status_code == 400, str(body)[:80]
    assert not ContextEntry.objects.exists()


# ── private notes ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_note_is_read_by_its_author_alone(api_of, ada, bob, operator, admin, orchestrator):
    task = a_task()
    assert api_of(ada).post(f"/tasks/{task.code}/notes", {"note": "the password is hidden"}).status_code == 201
    api_of(operator).post(f"/tasks/{task.code}/notes", {"text": "ask again"})
    read = {
        actor.name: [note["text"] for note in api_of(actor).get(f"/tasks/{task.code}/notes").json()["notes"]]
        for actor in (ada, bob, operator, admin, orchestrator)
    }
    assert read == {"ada": ["the password is hidden"], "bob": [], "olivia": ["ask again"], "amy": [], "otto": []}
    for actor in (bob, operator, orchestrator):
        assert api_of(actor).get(f"/tasks/{task.code}/notes?agent=ada").status_code == 403
    assert api_of(ada).get(f"/tasks/{task.code}/notes?agent=ada").status_code == 200


def test_the_log_says_that_a_note_was_taken_and_not_a_word_of_it(ada):
    task = a_task()
    collaboration.take_note(ada, task.code, "secret")
    line = newest("note.added")
    assert (line.message, line.data, line.agent) == ("", {"length": 6}, "ada")
    assert not Activity.objects.filter(message__contains="secret").exists()


def test_an_agent_and_a_person_of_one_name_do_not_share_notes(db, operator):
    twin = an_agent("olivia")
    task = a_task()
    collaboration.take_note(twin, task.code, "the agent's")
    collaboration.take_note(operator, task.code, "the person's")
    assert [note.text for note in collaboration.notes_of(operator, task)] == ["the person's"]
    assert [note.text for note in collaboration.notes_of(twin, task)] == ["the agent's"]


def test_what_was_said_goes_with_the_task_and_the_log_stays(ada):
    task = a_task()
    collaboration.comment(ada, task.code, "x")
    collaboration.share(ada, task.code, "k", 1)
    collaboration.take_note(ada, task.code, "n")
    collaboration.join(ada, task.code)
    transitions.delete(DIRECTOR, task.code)
    assert not ContextEntry.objects.exists() and not Note.objects.exists()
    assert Activity.objects.filter(task=task.code, kind="comment.added").exists()
