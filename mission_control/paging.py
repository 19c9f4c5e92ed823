"""Pages that stay right while rows come and go: a cursor names the last row, not a distance from the first."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Expression, F

from mission_control.errors import Invalid
from mission_control.query import MOST_PER_PAGE, PER_PAGE
from mission_control.strict_json import iso


@dataclass
class Page:
    """`items` as far as `limit`; `next` is the cursor of the following page, None on the last; `more` stands beside."""

    items: list[Any]
    next: str | None = None
    more: dict[str, Any] = field(default_factory=dict)


def page(
    rows: Any,
    query: Mapping[str, Any],
    *,
    orders: Mapping[str, str | Expression | None],
    default: str,
    bare: bool = False,
) -> Page:
    """One page of a queryset by keyset. `orders`: what may be ordered by → a column or expression that is never null,
    None for the primary key alone, which also breaks ties. Invalid: a cursor that is not one of ours.
    """
    order: str = query.get("ordering") or default
    limit: int = query.get("limit") or (MOST_PER_PAGE if bare else PER_PAGE)
    descending = order.startswith("-")
    by = orders[order.removeprefix("-")]
    if by is not None:
        rows = rows.annotate(page_key=F(by) if isinstance(by, str) else by)
    if query.get("cursor"):
        rows = _after(rows, *_read(query["cursor"], order), descending)
    sign = "-" if descending else ""
    rows = rows.order_by(*([f"{sign}page_key"] if by is not None else []), f"{sign}pk")
    found = list(rows[: limit + 1])
    if len(found) <= limit:
        return Page(found)
    last = found[limit - 1]
    return Page(found[:limit], _written(order, getattr(last, "page_key", None), last.pk))


def _after(rows: Any, key: Any, pk: int, descending: bool) -> Any:
    side, beyond = ("lte", "gte") if descending else ("gte", "lte")
    if key is None:
        return rows.filter(**{"pk__lt" if descending else "pk__gt": pk})
    return rows.filter(**{f"page_key__{side}": key}).exclude(**{"page_key": key, f"pk__{beyond}": pk})


def _written(order: str, key: Any, pk: int) -> str:
    value = [order, {"at": iso(key)} if isinstance(key, datetime) else key, pk]
    text = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_mark(text) + text).decode().rstrip("=")


def _read(cursor: str, order: str) -> tuple[Any, int]:
    try:
        marked = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if not hmac.compare_digest(marked[:9], _mark(marked[9:])):
            raise ValueError
        said, key, pk = json.loads(marked[9:])
        if said != order:
            raise ValueError
    except (ValueError, binascii.Error):
        raise Invalid({"cursor": "This is not a cursor of this list in this order."}) from None
    return (datetime.fromisoformat(key["at"].replace("Z", "+00:00")) if isinstance(key, dict) else key), pk


def _mark(text: bytes) -> bytes:
    """Ours alone: what a cursor holds goes into a query as it is."""
    return hmac.new(settings.SECRET_KEY.encode(), b"cursor:" + text, hashlib.sha256).digest()[:9]
