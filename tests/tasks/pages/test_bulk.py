"""One act on many tasks: each is done or refused by itself, and says so."""

import pytest
from django.test import Client

from mission_control.errors import Invalid
from mission_control.models import Activity
from tasks.pages import bulk
from tasks.pages.bulk import Outcome
from tasks.vocabulary import URGENT
from tests.conftest import a_task, claimed, fresh

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def test_one_that_is_refused_holds_up_no_other(operator, ada):
    first, second = a_task("first"), a_task("second")
    claimed(ada, second)
    third = a_task("third")
    outcomes = bulk.apply(operator, [first.code, second.code, "none0000", third.code], "move", "inbox")
    assert [outcome.code for outcome in outcomes] == [first.code, second.code, "none0000", third.code]
    assert outcomes[2] == Outcome("none0000", "There is no such task.")
    assert [fresh(task).status for task in (first, second, third)] == ["inbox", "ready", "inbox"]
    outcomes = bulk.apply(operator, [first.code, third.code], "move", "done")
    assert all("in the inbox" in outcome.refusal for outcome in outcomes)


@pytest.mark.parametrize(
    ("act", "value", "field", "becomes"),
    [("priority", "urgent", "priority", URGENT), ("tag", "later", "tags", ["a", "later"]), ("untag", "a", "tags", []),
     ("cancel", "Not needed.", "status", "cancelled"), ("assign", "ada", "status", "assigned")],
)  # fmt: skip
def test_each_act_is_the_verb_for_it_and_records_once(act, value, field, becomes, operator, ada):
    tasks = [a_task(f"Task {n}", tags=["a"]) for n in range(2)]
    before = Activity.objects.count()
    assert bulk.apply(operator, [task.code for task in tasks], act, value) == [Outcome(task.code) for task in tasks]
    assert [getattr(fresh(task), field) for task in tasks] == [becomes] * 2
    assert Activity.objects.count() == before + 2


def test_an_act_that_is_none_and_too_many_cards_change_nothing(operator):
    task = a_task()
    for codes, act in (([task.code], "delete"), ([], "cancel"), ([task.code] * 201, "cancel")):
        with pytest.raises(Invalid):
            bulk.apply(operator, codes, act, "")
    assert fresh(task).version == task.version


def test_a_reason_is_no_longer_than_for_one_card(operator):
    task = a_task()
    [outcome] = bulk.apply(operator, [task.code], "cancel", "x" * 10_000)
    assert "characters" in outcome.refusal and fresh(task).status == task.status


def test_the_page_is_told_what_became_of_each(operator):
    client = Client()
    client.force_login(operator.user)
    task, tag = a_task(), "x" * 51
    assert 'data-act="assign"' in client.get("/board/bulk", headers=PART).content.decode()
    fields = {"codes": f"{task.code},none0000", "act": "tag", "value": tag}
    told = client.post("/board/bulk", fields, headers=PART).content.decode()
    assert f'<i data-outcome="{task.code}">tags: A tag has at most 50 characters.</i>' in told
    assert '<i data-outcome="none0000">There is no such task.</i>' in told
    assert f'id="card-{task.code}"' in told and 'data-gone="none0000"' in told
