"""Servers and folders for the fault tests: everything real, everything in temp folders, nothing skipped."""

import os
import sqlite3

import pytest

from tests import servers
from tests.chaos.product import Product


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL of our own that flushes to disk as in production: what a crash may lose is what production loses."""
    with servers.postgres(own=True, fsync=True) as server:
        print(f"\n{server.version}")
        yield server


@pytest.fixture(scope="session")
def static(tmp_path_factory):
    """Collected once for all servers of the run."""
    return tmp_path_factory.mktemp("static")


@pytest.fixture
def product_on(request, tmp_path, static):
    """`product_on("sqlite")` or `product_on("postgresql")`: a server on a new database, started and ended by the test."""
    begun = []

    def make(kind, *, name="server", database_url="", **settings):
        if not database_url:
            if kind == "postgresql":
                server = request.getfixturevalue("postgresql")
                database_url = server.create_database(f"chaos_{os.getpid()}_{next(_numbers)}")
            else:
                print(f"\nSQLite {sqlite3.sqlite_version}")
                database_url = f"sqlite:///{tmp_path / 'chaos.sqlite3'}"
        product = Product(tmp_path / name, database_url, STATIC_ROOT=str(static), **settings)
        begun.append(product)
        return product.start()

    yield make
    for product in begun:
        product.stop()


_numbers = iter(range(1, 10_000))


@pytest.fixture(scope="session")
def long_seconds():
    """How long the long tests put load on: CHAOS_SECONDS, 90 where nothing is said."""
    return float(os.environ.get("CHAOS_SECONDS", "90"))
