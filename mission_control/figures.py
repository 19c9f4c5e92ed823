"""Numbers as people read them on a screen: counts, tokens, dollars. Not: money as it is kept and sent (money.py)."""

from __future__ import annotations

from mission_control.money import to_usd


def grouped(number: int) -> str:
    """`12 481` with a narrow space between the thousands."""
    return f"{number:,}".replace(",", "\u202f")


def compact(number: int) -> str:
    """`940`, `18.2k`, `310k`, `1.4M`"""
    for size, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            value = number / size
            return f"{value:.1f}".removesuffix(".0") + unit if value < 100 else f"{value:.0f}{unit}"
    return str(number)


def dollars(micro_usd: int | None) -> str:
    """`$0.42`, `$0.0026`, `$1,204.50`: cents, and below a cent its first two digits that count."""
    if micro_usd is None:
        return ""
    if 0 < micro_usd < 10_000:
        return f"${to_usd(round(micro_usd, 2 - len(str(micro_usd))))}"
    return f"${micro_usd / 1_000_000:,.2f}"
