"""The list of sabotages fits the code: each one still applies, and the test that is named for it is there."""

import re

import pytest

from tests.sabotage import ROOT, Sabotage, listed

pytestmark = pytest.mark.once

NAMED_BY_THE_SPECIFICATION = (
    "drop the status re-check", "fence on the agent's id only", "ring before the commit", "from a serial id",
    "sweep without looking again", "idempotency in its own transaction", "timezone.now()", "DEFERRED",
)  # fmt: skip


@pytest.mark.parametrize("sabotage", listed(), ids=lambda sabotage: sabotage.name)
def test_it_applies_to_exactly_one_place_and_names_a_test_that_exists(sabotage):
    text = (ROOT / sabotage.file).read_text()
    broken = sabotage.applied_to(text)
    assert broken != text
    compile(broken, sabotage.file, "exec")
    file, _, name = sabotage.test.partition("::")
    assert re.search(rf"^def {re.escape(name)}\(", (ROOT / file).read_text(), re.MULTILINE), sabotage.test
    assert sabotage.database in ("sqlite", "postgresql")


def test_no_two_are_the_same():
    names = [sabotage.name for sabotage in listed()]
    assert len(names) == len(set(names))
    changes = [(sabotage.file, sabotage.old, sabotage.new) for sabotage in listed()]
    assert len(changes) == len(set(changes))


def test_a_line_that_is_gone_or_stands_twice_is_refused():
    sabotage = Sabotage("name", "file", "line", "broken", "test")
    for text in ("nothing", "line line"):
        with pytest.raises(ValueError, match="not once"):
            sabotage.applied_to(text)


@pytest.mark.parametrize("what", NAMED_BY_THE_SPECIFICATION)
def test_those_that_have_to_be_there_are(what):
    assert [sabotage.name for sabotage in listed() if what in sabotage.name]
