"""Text with its hidden characters in sight: what a person reads before an approval is what an agent will read."""

from __future__ import annotations

import unicodedata

PLAIN = "\n\t "
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # of categories that are seen elsewhere


def revealed(text: str) -> list[tuple[str, str]]:
    """Pieces of the text, each with the name of the hidden character behind it, "" behind the last.

    Hidden is what leaves no trace on the screen or changes the order of what stands there: controls, formats, spaces of
    other kinds, variation selectors, private and unassigned code points.
    """
    pieces: list[tuple[str, str]] = []
    plain: list[str] = []
    for character in text:
        if is_hidden(character):
            pieces.append(("".join(plain), _named(character)))
            plain = []
        else:
            plain.append(character)
    return [*pieces, ("".join(plain), "")]


def is_hidden(character: str) -> bool:
    if character in PLAIN:
        return False
    if character in BLANK or "\ufe00" <= character <= "\ufe0f" or "\U000e0000" <= character <= "\U000e0fff":
        return True
    return unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")


def _named(character: str) -> str:
    """`U+200B ZERO WIDTH SPACE`"""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
