"""A terminal of its own for each test: no files of whoever runs it, and a folder to work in."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from mission_control.mctl import cli
from tests.serving import database_server, make_product, new_database, new_product

__all__ = ["database_server", "make_product", "new_database", "new_product"]  # fixtures


class Terminal:
    """`terminal("list", "--json")` runs the command here; what it printed and its exit code are kept."""

    def __init__(self, capsys: Any, monkeypatch: Any) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *arguments: str, typed: str = "", code: int = 0) -> str:
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            self.code = cli.main(list(arguments))
        except SystemExit as end:
            self.code = int(end.code or 0)
        self.out, self.err = self.capsys.readouterr()
        assert self.code == code, f"{arguments} ended with {self.code}\n{self.out}{self.err}"
        return self.out

    def json(self, *arguments: str, **options: Any) -> Any:
        return json.loads(self(*arguments, "--json", **options))

    def to(self, url: str, key: str) -> None:
        self.monkeypatch.setenv("MISSION_CONTROL_URL", url)
        self.monkeypatch.setenv("MISSION_CONTROL_KEY", key)


@pytest.fixture(scope="package")
def product(make_product):
    """One that all tests here share."""
    running = make_product().start()
    yield running
    running.stop()


@pytest.fixture
def terminal(capsys, monkeypatch, tmp_path):
    for name, folder in (("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    for name in ("MISSION_CONTROL_URL", "MISSION_CONTROL_KEY"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Terminal(capsys, monkeypatch)
