"""Servers and folders for the fault tests: everything real, everything in temp folders, nothing skipped."""

import os
import shutil
import sqlite3

import psycopg
import pytest
from psycopg import sql

from tests import servers
from tests.chaos.product import Product

_numbers = iter(range(1, 10_000))


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL of our own that flushes to disk as in production: what a crash may lose is what production loses."""
    with servers.postgres(own=True, fsync=True) as server:
        print(f"\n{server.version}")
        yield server


@pytest.fixture(scope="session")
def static(tmp_path_factory):
    """Static files, collected once for all servers of the run."""
    return tmp_path_factory.mktemp("static")


@pytest.fixture(scope="session")
def new_database(request, tmp_path_factory, static):
    """`new_database(kind)`: the URL of an empty database of our own, copied from one that was migrated once."""
    folder, migrated = tmp_path_factory.mktemp("databases"), {}

    def make(kind):
        name = f"chaos_{os.getpid()}_{next(_numbers)}"
        if kind not in migrated:
            migrated[kind] = _empty(kind, f"{name}_migrated")
            Product(folder / "migrating", migrated[kind], STATIC_ROOT=str(static)).manage("migrate", "--verbosity", "0")
        return _copy(kind, migrated[kind], name)

    def _empty(kind, name):
        if kind == "postgresql":
            return request.getfixturevalue("postgresql").create_database(name)
        print(f"\nSQLite {sqlite3.sqlite_version}")
        return f"sqlite:///{folder / name}.sqlite3"

    def _copy(kind, original, name):
        if kind == "sqlite":
            shutil.copy(folder / f"{original.rsplit('/', 1)[1]}", folder / f"{name}.sqlite3")
            return f"sqlite:///{folder / name}.sqlite3"
        server = request.getfixturevalue("postgresql")
        with psycopg.connect(server.url, autocommit=True) as connection:
            names = sql.Identifier(name), sql.Identifier(original.rsplit("/", 1)[1])
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        return original.rsplit("/", 1)[0] + f"/{name}"

    return make


@pytest.fixture
def product_on(new_database, tmp_path, static):
    """`product_on("sqlite")` or `product_on("postgresql")`: a server on a new database, started and ended by the test."""
    begun = []

    def make(kind, *, name="server", database_url="", **settings):
        url = database_url or new_database(kind)
        product = Product(tmp_path / name, url, STATIC_ROOT=str(static), **settings)
        begun.append(product)
        return product.start()

    yield make
    for product in begun:
        product.stop()


@pytest.fixture(scope="session")
def long_seconds():
    """How long the long tests put load on: CHAOS_SECONDS, 90 where nothing is said."""
    return float(os.environ.get("CHAOS_SECONDS", "90"))
