"""Success criteria: what was asked for, held against what is said to have come out. Texts are compared, never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mission_control.errors import Invalid, Refused


def compared(
    criteria: Sequence[dict[str, Any]], results: Mapping[str, Any] | None, *, asked: bool
) -> list[bool] | None:
    """For each criterion whether it is met; None when nobody `asked` and nothing was told.

    `results` holds by the text or the number (from 1) of a criterion: true or false, or where the criterion names a
    value that value. Invalid: a result for what nobody asked.
    """
    if not results and not (asked and criteria):
        return None
    by_name = {_folded(name): value for name, value in (results or {}).items()}
    met = []
    for number, criterion in enumerate(criteria, start=1):
        names = (_folded(criterion["criterion"]), str(number))
        found = next((by_name.pop(name) for name in names if name in by_name), None)
        met.append(_is_met(criterion.get("measurable"), found))
    if by_name:
        raise Invalid({f"results.{name}": "There is no such criterion." for name in sorted(by_name)[:20]})
    return met


def refuse_unmet(criteria: Sequence[dict[str, Any]], met: Sequence[bool]) -> None:
    """409 `criteria_unmet` with the number, the text and the expected value of each that is not met."""
    unmet = [
        {"number": number, "criterion": criterion["criterion"], "measurable": criterion.get("measurable", True)}
        for number, (criterion, flag) in enumerate(zip(criteria, met, strict=True), start=1)
        if not flag
    ]
    if unmet:
        named = "; ".join(str(criterion["criterion"])[:80] for criterion in unmet[:3])
        more = f" and {len(unmet) - 3} more" if len(unmet) > 3 else ""
        raise Refused(
            f"Not met: {named}{more}. Say in results how each came out, or send force to hand it in all the same.",
            code="criteria_unmet", unmet=unmet,
        )  # fmt: skip


def told(met: Sequence[bool] | None, *, validate: bool, force: bool) -> dict[str, Any]:
    """What the completion's line in the log says of it: numbers of the criteria; nothing when nothing was asked."""
    if met is None and not validate:
        return {}
    flags = met or []
    return {
        "criteria": {
            "met": [number for number, flag in enumerate(flags, start=1) if flag],
            "unmet": [number for number, flag in enumerate(flags, start=1) if not flag],
            "validated": validate, "forced": validate and force,
        }
    }  # fmt: skip


def _is_met(expected: Any, found: Any) -> bool:
    if isinstance(expected, str):
        return found is not None and _folded(_text(found)) == _folded(expected)
    return found is True


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
