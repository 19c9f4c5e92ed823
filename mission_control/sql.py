"""Statements of the hot path, written by hand: prepared on PostgreSQL, decoded like the ORM's on both databases.

The ORM builds its text anew at each call, which costs several times what the database needs to run it. The text here
is constant, so PostgreSQL keeps its plan. Not here: what the statements say; each stands beside the verb it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, TypeVar

import psycopg
from django.db import connection, connections, models

M = TypeVar("M", bound=models.Model)


def rows(statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Execute with `%s` marks and fetch all rows. Errors are Django's."""
    database = connections["default"]
    with database.wrap_database_errors:
        return _execute(database, statement, values).fetchall()


def change(statement: str, values: Sequence[Any] = ()) -> int:
    """Execute and tell how many rows it changed."""
    database = connections["default"]
    with database.wrap_database_errors:
        return int(_execute(database, statement, values).rowcount)


def _execute(database: Any, statement: str, values: Sequence[Any]) -> Any:
    if database.vendor != "postgresql" or database.queries_logged:
        cursor = database.cursor()
        cursor.execute(statement, values)
        return cursor
    database.ensure_connection()
    database.validate_no_broken_transaction()
    prepared = psycopg.Cursor(database.connection)
    prepared.execute(statement, values)
    return prepared


def columns(model: type[models.Model], alias: str) -> str:
    """`t."id", t."code", …`: the columns that `decoded` expects, in its order."""
    return ", ".join(f'{alias}."{field.column}"' for field in model._meta.concrete_fields)


def width(model: type[models.Model]) -> int:
    return len(model._meta.concrete_fields)


def decoded(model: type[M], row: Sequence[Any]) -> M:
    """The instance of a row of `columns(model)`, with the same values that the ORM would give."""
    names, converters = _decoding(model, connection.vendor)
    cells = list(row)
    for place, convert in converters:
        cells[place] = convert(cells[place])
    return model.from_db("default", names, cells)


def prepared_value(model: type[models.Model], name: str, value: Any) -> tuple[str, Any]:
    """`(column, value for the database)` of a field by its name; foreign keys take instances."""
    field = _field(model, name)
    if isinstance(value, models.Model):
        return field.column, value.pk
    if value is None or (isinstance(value, str | int) and not isinstance(field, models.JSONField)):
        return field.column, value
    return field.column, field.get_db_prep_save(value, connection)


@cache
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def one_of(column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """`column` is one of these whole numbers, as a condition and its values; the same text for any number of them."""
    if connections["default"].vendor == "postgresql":
        return f"{column} = ANY(%s::bigint[])", [list(values)]
    return f"{column} IN ({marks(values)})", list(values)


def marks(values: Iterable[Any]) -> str:
    return ", ".join("%s" for _ in values)


@lru_cache(maxsize=32)
def _decoding(model: type[models.Model], _vendor: str) -> tuple[list[str], list[tuple[int, Callable[[Any], Any]]]]:
    names, converters = [], []
    for place, field in enumerate(model._meta.concrete_fields):
        names.append(field.attname)
        column = field.get_col(model._meta.db_table)
        chain = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
        if chain:
            converters.append((place, _chained(chain, column)))
    return names, converters


def _chained(chain: list[Any], column: Any) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        for step in chain:
            value = step(value, column, connection)
        return value

    return convert
