"""What is served under /static: two style sheets, no comments of ours, third-party files as they came, small copies."""

import re

import brotli
import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.test import override_settings

from mission_control.static import STYLES, UNUSED, without_comments

pytestmark = [pytest.mark.slow, pytest.mark.once]

HASHED = {**settings.STORAGES, "staticfiles": {"BACKEND": "mission_control.static.HashedStaticFiles"}}


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    root = tmp_path_factory.mktemp("static")
    with override_settings(STATIC_ROOT=root, STORAGES=HASHED):
        call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=list(UNUSED))
        yield root, staticfiles_storage


def test_two_style_sheets_hold_what_all_of_them_say(collected):
    root, storage = collected
    served = [(root / storage.stored_name(index)).read_text() for index in STYLES]
    assert not any("@import" in text for text in served)
    folder = settings.BASE_DIR / "static/css"
    alone = {*STYLES, "css/styleguide.css"}  # the last is asked for with DEBUG only
    sources = [path for path in folder.glob("*.css") if f"css/{path.name}" not in alone]
    assert len(sources) > 10
    for path in sources:
        rules = [
            line for line in without_comments(path.read_text()).splitlines() if line.strip() and "url(" not in line
        ]
        whole = "\n".join(rules[-5:])
        assert sum(whole in re.sub(r"\n\n+", "\n", text) for text in served) == 1, path.name


def test_what_is_joined_has_a_small_copy(collected):
    root, storage = collected
    name = storage.stored_name("css/app.css")
    assert brotli.decompress((root / f"{name}.br").read_bytes()) == (root / name).read_bytes()


def test_every_file_a_style_sheet_names_is_there(collected):
    root, storage = collected
    path = root / storage.stored_name("css/app.css")
    named = re.findall(r'url\("?([^)"]+)"?\)', path.read_text())
    files = [name for name in named if not name.startswith("data:")]
    assert files
    for name in files:
        assert (path.parent / name).resolve().exists(), name


def test_third_party_files_are_sent_as_they_came(collected):
    root, storage = collected
    for path in (settings.BASE_DIR / "static/vendor").glob("*.js"):
        assert (root / storage.stored_name(f"vendor/{path.name}")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ("// why\nlet a = 1;\n", "let a = 1;\n"),
        ("/* one\n   two */\n.a { color: red }\n", ".a { color: red }\n"),
        ('let url = "http://x"; // stays\n', 'let url = "http://x"; // stays\n'),
        (".a { } /* stays */\n", ".a { } /* stays */\n"),
        ("a();\n  // indented\n  b();\n", "a();\n  b();\n"),
    ],
)
def test_only_whole_lines_of_comment_are_left_out(source, sent):
    assert without_comments(source) == sent
