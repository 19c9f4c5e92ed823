"""Money as integer micro-USD inside and a decimal with up to six places outside. Never a float."""

import re
from decimal import Decimal, InvalidOperation

MICRO = 1_000_000
GROUPED = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?", re.ASCII)
MAX_MICRO_USD = 10**15  # a thousand million dollars: beyond it a report is a mistake


def to_micro_usd(value: object, *, signed: bool = False) -> int:
    """Integer micro-USD of a number or a decimal string. ValueError: not finite, over six places, too large.

    Negative too, unless it is `signed`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("Give an amount in USD as a number or a decimal string.")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("Give an amount in USD as a number or a decimal string.") from None
    if not amount.is_finite() or (amount < 0 and not signed):
        raise ValueError(f"An amount is a finite number{'' if signed else ', zero or more'}.")
    if abs(amount) > MAX_MICRO_USD // MICRO:
        raise ValueError("That amount is too large.")
    micro = amount * MICRO
    if micro != micro.to_integral_value():
        if isinstance(value, float):  # 0.1 + 0.2 from a client's arithmetic: round, do not refuse
            micro = micro.to_integral_value()
        else:
            raise ValueError("An amount has at most six decimal places.")
    return int(micro)


def typed_decimal(text: str) -> str:
    """A number as people type it, `$1,250.50` or `12,5`, as a decimal string; what is no number stays as it is."""
    text = text.strip().removeprefix("$").strip()
    return text.replace(",", "" if GROUPED.fullmatch(text) else ".")


def to_usd(micro_usd: int | None) -> str | None:
    """`"1.25"`: the decimal string, at least two places, at most six."""
    if micro_usd is None:
        return None
    sign = "-" if micro_usd < 0 else ""
    whole, fraction = divmod(abs(micro_usd), MICRO)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"
