"""`manage.py create_agent`: the key alone on standard output, and a clear no on standard error."""

import io

import pytest
from django.core.management import CommandError, call_command

from agents import keys
from agents.models import Agent, AgentKey
from mission_control.models import Activity

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("create_agent", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_it_prints_the_key_and_nothing_else():
    out, err = run("ada", "--capabilities", "SQL, python", "--role", "Developer", "--max-concurrent", "2")
    assert out.endswith("\n")
    assert out.count("\n") == 1
    actor = keys.authenticate(out.strip())
    assert actor is not None
    assert actor.agent.slug == "ada"
    assert actor.can("work")
    assert not actor.can("orchestrate")
    assert out.strip() not in err
    ada = Agent.objects.get()
    assert (ada.name, ada.capabilities, ada.role, ada.max_concurrent) == ("Ada", ["python", "sql"], "Developer", 2)
    assert ada.claimed_at is not None


def test_an_agent_that_is_there_gets_a_further_key():
    first, _ = run("ada", "--name", "Ada Lovelace")
    second, _ = run("ada", "--scopes", "work,orchestrate", "--model", "opus")
    assert first != second
    assert keys.authenticate(first.strip()) is not None
    assert keys.authenticate(second.strip()).can("orchestrate")
    ada = Agent.objects.get()
    assert (ada.name, ada.model) == ("Ada Lovelace", "opus")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ada", "--scopes", "work,root"], "Unknown scope root. Use some of: work, orchestrate, admin."),
        (["ada", "--scopes", ","], "Use some of: work, orchestrate, admin."),
        (["Ada Lovelace"], "A slug is made of"),
        (["ADA"], "lower-case"),
        (["a" * 61], "up to 60"),
        (["ada", "--max-concurrent", "0"], "at least one"),
    ],
)
def test_bad_input_is_exit_code_2_with_a_sentence_and_leaves_nothing(arguments, says):
    with pytest.raises(CommandError, match=says.replace("(", r"\(")) as refused:
        run(*arguments)
    assert refused.value.returncode == 2
    assert not Agent.objects.exists()
    assert not AgentKey.objects.exists()
    assert not Activity.objects.exists()


def test_a_slug_is_required():
    with pytest.raises(CommandError):
        run()
