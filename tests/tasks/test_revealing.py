"""Hidden characters in sight."""

import pytest

from tasks.revealing import revealed


def test_text_without_anything_hidden_is_one_piece():
    assert revealed("Größe 42 — 日本\n\tok 🛰") == [("Größe 42 — 日本\n\tok 🛰", "")]


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\u200b", "U+200B ZERO WIDTH SPACE"), ("\u202e", "U+202E RIGHT-TO-LEFT OVERRIDE"), ("\u00ad", "U+00AD SOFT HYPHEN"),
        ("\u00a0", "U+00A0 NO-BREAK SPACE"), ("\U000e0041", "U+E0041 TAG LATIN CAPITAL LETTER A"), ("\x1b", "U+001B"),
        ("\ufe0f", "U+FE0F VARIATION SELECTOR-16"), ("\u3164", "U+3164 HANGUL FILLER"), ("\u2028", "U+2028 LINE SEPARATOR"),
        ("\U000e01ef", "U+E01EF VARIATION SELECTOR-256"), ("\r", "U+000D"), ("\ue000", "U+E000"),
    ],
)  # fmt: skip
def test_what_leaves_no_trace_is_named(character, name):
    assert revealed(f"a{character}b") == [("a", name), ("b", "")]
