"""The colours of static/css/tokens.css as numbers, and the contrast between two of them. Read by the style guide only."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

TOKENS = Path(__file__).resolve().parent.parent / "static/css/tokens.css"
THEMES = ("light", "dark")
_TOKEN = re.compile(
    r"^\s*--([\w-]+): light-dark\(oklch\(([^)]*(?:\([^)]*\)[^)]*)?)\), oklch\(([^)]*(?:\([^)]*\)[^)]*)?)\)\);", re.M
)


@dataclass(frozen=True)
class Colour:
    """OKLCH: lightness 0 to 1, chroma, hue in degrees."""

    lightness: float
    chroma: float
    hue: float

    @property
    def luminance(self) -> float:
        """Relative luminance of WCAG 2.2, 0 to 1, of the nearest colour that a screen shows."""
        # From OKLab to linear sRGB: B. Ottosson, "A perceptual color space for image processing".
        a = self.chroma * math.cos(math.radians(self.hue))
        b = self.chroma * math.sin(math.radians(self.hue))
        l, m, s = (  # noqa: E741 - the names of the cone responses
            (self.lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
            (self.lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
            (self.lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3,
        )
        red = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s
        green = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s
        blue = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s
        return sum(weight * min(1, max(0, part)) for weight, part in ((0.2126, red), (0.7152, green), (0.0722, blue)))


def tokens(text: str = "") -> dict[str, dict[str, Colour]]:
    """Theme → name → colour, of every token that has a colour for both themes and is opaque."""
    text = text or TOKENS.read_text()
    accent_hue = re.search(r"--h: (\d+)", text)
    found: dict[str, dict[str, Colour]] = {theme: {} for theme in THEMES}
    for name, *sides in _TOKEN.findall(text):
        for theme, side in zip(THEMES, sides, strict=True):
            if "/" not in side:
                parts = side.replace("var(--h)", accent_hue[1] if accent_hue else "0").split()
                lightness, chroma, hue = (float(part) for part in parts)
                found[theme].setdefault(
                    name, Colour(lightness, chroma, hue)
                )  # the first is the rule, later ones exceptions
    return {theme: colours for theme, colours in found.items() if colours}


def contrast(one: Colour, other: Colour) -> float:
    """1 to 21, as WCAG 2.2 counts it."""
    low, high = sorted((one.luminance, other.luminance))
    return (high + 0.05) / (low + 0.05)
