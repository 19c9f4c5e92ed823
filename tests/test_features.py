"""The table of features: every row names tests, and every test it names exists."""

import ast
import functools
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "features.md"


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if re.match(r"\| [A-Z]\d+ ", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@functools.cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_names_tests_that_exist():
    missing = []
    for number, _, cell in rows():
        named = re.findall(r"`([^`]+)::(test_\w+)`", cell)
        assert named, f"{number} names no test"
        missing += [
            f"{number}: {file}::{name}"
            for file, name in named
            if not (TESTS / file).exists() or name not in functions_of(TESTS / file)
        ]
    assert missing == []


def test_no_row_stands_twice():
    numbers = [row[0] for row in rows()]
    assert len(numbers) == len(set(numbers)) >= 39
