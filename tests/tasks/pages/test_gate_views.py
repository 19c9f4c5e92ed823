"""Approval, criteria and feedback in the drawer, by plain requests."""

import pytest
from django.test import Client

from mission_control.actors import Actor
from tasks import handover, transitions
from tests.conftest import DIRECTOR, a_task, fresh

pytestmark = pytest.mark.django_db
PART = {"HX-Request": "true"}


def browser(actor: Actor) -> Client:
    client = Client()
    client.force_login(actor.user)
    return client


def drawer(actor: Actor, task) -> str:
    return browser(actor).get(f"/tasks/{task.code}/drawer", headers=PART).content.decode()


def test_the_text_is_shown_with_what_is_hidden_in_it_and_the_click_carries_its_hash(operator, viewer):
    task = a_task("Do <b>", description="Send it\u200b to \u202eevil", needs_approval=True)
    shown = drawer(operator, task)
    assert "U+200B ZERO WIDTH SPACE" in shown and "U+202E RIGHT-TO-LEFT OVERRIDE" in shown
    assert "2 hidden characters" in shown and "Do &lt;b&gt;" in shown
    assert f'name="hash" value="{handover.digest(fresh(task))}"' in shown
    assert "Approve this text" not in drawer(viewer, task)


def test_a_click_on_an_older_text_is_refused_and_one_on_this_text_approves(operator, viewer):
    task = a_task(needs_approval=True)
    seen = handover.digest(fresh(task))
    transitions.edit(DIRECTOR, task.code, {"description": "Other"})
    client = browser(operator)
    path = f"/tasks/{task.code}/approve"
    assert client.post(path, {"hash": seen}, headers=PART).status_code == 409
    assert fresh(task).approved_at is None
    now = {"hash": handover.digest(fresh(task))}
    assert browser(viewer).post(path, now, headers=PART).status_code == 403
    answer = client.post(path, now, headers=PART)
    assert (answer.status_code, fresh(task).approved_by) == (200, "olivia")
    assert "Approve this text" not in answer.content.decode()


def test_approval_is_asked_for_and_criteria_are_kept_in_the_drawer(operator):
    task = a_task()
    client = browser(operator)
    path = f"/tasks/{task.code}/edit"
    client.post(path, {"needs_approval": "yes"}, headers=PART)
    shown = client.post(path, {"add_criterion": "No <drips>"}, headers=PART).content.decode()
    assert "No &lt;drips&gt;" in shown
    stored = fresh(task)
    assert (stored.needs_approval, stored.success_criteria) == (True, [{"criterion": "No <drips>"}])
    assert client.post(path, {"add_criterion": "no <DRIPS>"}, headers=PART).status_code == 400
    client.post(path, {"remove_criterion": "No <drips>"}, headers=PART)
    assert fresh(task).success_criteria == []


def test_feedback_is_given_once_in_the_drawer(operator):
    task = a_task()
    transitions.start(operator, task.code)
    transitions.complete(operator, task.code)
    assert "Give feedback" in drawer(operator, task)
    given = {"quality": "4", "timeliness": "2", "notes": "Late"}
    shown = browser(operator).post(f"/tasks/{task.code}/feedback", given, headers=PART).content.decode()
    assert "Quality 4 of 5, time 2 of 5" in shown and "Give feedback" not in shown
    assert browser(operator).post(f"/tasks/{task.code}/feedback", {}, headers=PART).status_code == 400
