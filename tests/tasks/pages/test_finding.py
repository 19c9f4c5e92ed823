"""What the command palette finds."""

from tasks import transitions
from tasks.pages import finding
from tests.conftest import DIRECTOR, a_task, an_agent
from ventures import catalogue


def labels(words: str) -> dict[str, list[str]]:
    return {heading: [hit.label for hit in hits] for heading, hits in finding.find(words)}


def test_tasks_agents_and_ventures_are_found_by_their_words(db):
    a_task("Wash the windows")
    an_agent("wanda")
    catalogue.create(DIRECTOR, name="Window shop", slug="shop")
    assert labels("win") == {"Tasks": ["Wash the windows"], "Ventures": ["Window shop"]}
    assert labels("WANDA") == {"Agents": ["Wanda"]}


def test_a_task_is_found_by_the_beginning_of_its_code(db):
    task = a_task("By its code")
    [(heading, [hit])] = finding.find(task.code[:5])
    assert (heading, hit.code, hit.href) == ("Tasks", task.code, f"/tasks/{task.code}")


def test_open_tasks_come_before_the_rest(operator):
    closed = a_task("Paint the fence")
    transitions.cancel(operator, closed.code)
    opened = a_task("Paint the gate")
    transitions.cancel(operator, a_task("Paint the door").code)
    assert [hit.code for hit in finding.find("paint")[0][1]][:1] == [opened.code]
    assert len(finding.find("paint")[0][1]) == 3


def test_one_letter_and_nonsense_find_nothing(db):
    a_task("A task")
    assert finding.find("a") == []
    assert finding.find("zzzzqqq") == []
    assert finding.find("%_'\"<") == []


def test_more_than_eight_tasks_are_cut(db):
    for n in range(12):
        a_task(f"Many {n}")
    assert len(labels("many")["Tasks"]) == finding.TASKS
