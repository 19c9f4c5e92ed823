"""Every table as portable lines: read in one snapshot, written to another database, compared afterwards. Not: files.

The tables are those of the models that are installed, so a new one is carried along without a word here. A line is a
JSON array of the columns' values and means the same on both databases.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections, models, transaction
from django.utils.duration import duration_iso_string

CHUNK = 1000
Table = type[models.Model]


@dataclass(frozen=True)
class Sum:
    """What a table held: how many rows, and a sum over their digests that does not depend on their order."""

    rows: int
    fingerprint: str


def tables() -> dict[str, Table]:
    """`{label: model}` of every table that a model stands for, those between two models too."""
    found = (m for m in apps.get_models(include_auto_created=True) if m._meta.managed and not m._meta.proxy)
    return {model._meta.label_lower: model for model in sorted(found, key=lambda model: model._meta.label_lower)}


def columns(table: Table) -> list[str]:
    """The fields that are stored, as the model calls them; a generated column is made again by its database."""
    return [field.attname for field in table._meta.concrete_fields if not getattr(field, "generated", False)]


_FIRST_READ = "SELECT 1 FROM django_migrations LIMIT 1"  # neither database fixes what it shows before the first read


@contextmanager
def snapshot(using: str = "default") -> Iterator[None]:
    """All reads see the commit of the moment it begins and hold up no writer. Inside a transaction, that one is used."""
    connection = connections[using]
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(using=using), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # between tables files are compressed
            cursor.execute(_FIRST_READ)
            yield
    else:
        # Not atomic(): that would take the write lock, and the fleet would wait for the reader.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                cursor.execute(_FIRST_READ)
                yield
            finally:
                cursor.execute("ROLLBACK")


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows(table: Table, using: str = "default") -> Iterator[list[Any]]:
    """The rows by their key, each a list of plain JSON values in the order of `columns`."""
    found = table._base_manager.using(using).order_by("pk").values_list(*columns(table))
    for row in found.iterator(chunk_size=CHUNK):
        yield [_plain(cell) for cell in row]


def line(row: list[Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"


class Summing:
    """Adds up the rows that pass through it."""

    def __init__(self) -> None:
        self.rows, self._digests = 0, 0

    def through(self, found: Iterable[list[Any]]) -> Iterator[list[Any]]:
        for row in found:
            self.rows += 1
            self._digests += int.from_bytes(hashlib.sha256(line([_level(cell) for cell in row])).digest())
            yield row

    @property
    def sum(self) -> Sum:
        return Sum(self.rows, f"{self._digests % (1 << 256):064x}")


def sum_of(table: Table, using: str = "default") -> Sum:
    """Read the whole table and add it up."""
    summing = Summing()
    for _ in summing.through(rows(table, using)):
        pass
    return summing.sum


def _plain(cell: Any) -> Any:
    if cell is None or isinstance(cell, bool | int | float | str | list | dict):
        return cell
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).isoformat() if cell.tzinfo else cell.isoformat()
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return duration_iso_string(cell)
    if isinstance(cell, bytes | memoryview):
        return base64.b64encode(bytes(cell)).decode()
    if isinstance(cell, Decimal | UUID):
        return str(cell)
    raise TypeError(f"A column holds {type(cell).__name__}, which has no portable form.")


def _level(cell: Any) -> Any:
    """The same number in the same words: PostgreSQL keeps 1e22 in JSON as a whole number, SQLite as it was written."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, list):
        return [_level(inner) for inner in cell]
    if isinstance(cell, dict):
        return {name: _level(inner) for name, inner in cell.items()}
    return cell


# ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def clear() -> None:
    """Delete every row of every table, in the caller's transaction. Foreign keys are checked at its end.

    DELETE and not TRUNCATE: the index of words is kept by triggers.
    """
    connection = connections["default"]
    with connection.cursor() as cursor:
        for table in tables().values():
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table._meta.db_table)}")  # noqa: S608  # a model's own name


def pour(table: Table, names: list[str], found: Iterable[list[Any]]) -> None:
    """Insert these rows of `names` as they are, keys included; nothing is stamped or filled in by the model."""
    connection = connections["default"]
    fields = [_field(table, name) for name in names]
    into = f"{connection.ops.quote_name(table._meta.db_table)} ({', '.join(connection.ops.quote_name(f.column) for f in fields)})"

    def stored(row: list[Any]) -> list[Any]:
        return [
            field.get_db_prep_save(None if cell is None else field.to_python(cell), connection)
            for field, cell in zip(fields, row, strict=True)
        ]

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in found:
                    copy.write_row(stored(row))
            return
        insert = f"INSERT INTO {into} VALUES ({', '.join(['%s'] * len(fields))})"  # noqa: S608  # a model's own names
        pending = iter(found)
        while chunk := list(itertools.islice(pending, CHUNK)):
            cursor.executemany(insert, [stored(row) for row in chunk])


def _field(table: Table, name: str) -> Any:
    return next(field for field in table._meta.concrete_fields if field.attname == name)


def renumber() -> None:
    """Let the databases' own counters go on after the highest key that came in."""
    connection = connections["default"]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), list(tables().values())):
            cursor.execute(statement)
