"""The files of keys and leases: for their owner alone, and what cannot be kept is said in a sentence."""

import os
import stat

import pytest

from mission_control.mctl import keeping
from mission_control.mctl.client import Lease

pytestmark = pytest.mark.once
URL = "http://127.0.0.1:9"


def test_keys_and_leases_are_for_their_owner_alone(terminal):
    keeping.keep_login(URL, "mc_key")
    keeping.keep_lease(URL, Lease("k3v9d2qa", 1, "token"))
    for path in (keeping.config_file(), keeping._lease_file(keeping.Path.cwd())):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700
    keeping.config_file().chmod(0o640)
    terminal("list", code=2)
    assert "chmod 600" in terminal.err


def test_a_folder_that_cannot_be_written_is_said_in_one_line(terminal, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file" / "below"))
    (tmp_path / "file").touch()
    terminal("list", code=2)
    assert "Where is the server?" in terminal.err
    with pytest.raises(keeping.Unusable, match="cannot be written"):
        keeping.keep_login(URL, "mc_key")
    terminal("register", "Ada", "--url", URL, code=2)
    assert "cannot be written" in terminal.err, "before there is a key that would be lost"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    keeping.config_file().mkdir(parents=True)
    terminal("list", code=2)
    assert "cannot be read" in terminal.err


def test_a_folder_that_is_gone_is_said_in_one_line(terminal, monkeypatch, tmp_path):
    terminal.to(URL, "mc_key")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (("progress", "40"), ("work", "--agent", "ada", "--", "true")):
        terminal(*words, code=2)
        assert terminal.err == "mctl: No such file or directory.\n"


@pytest.mark.parametrize("arguments", [("show", "\udcff"), ("list", "\udcff")])
def test_what_is_no_text_is_refused_in_one_line(terminal, arguments):
    terminal.to(URL, "mc_key")
    terminal(*arguments, code=2)
    assert "UTF-8" in terminal.err and terminal.err.count("\n") == 1
