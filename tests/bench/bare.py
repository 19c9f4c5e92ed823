"""The yardsticks: what the databases do when almost nothing is asked of them. Not: anything of ours.

pgbench where the server's binaries bring it; else the same statements from psycopg processes, and the report says so.
"""

from __future__ import annotations

import multiprocessing
import random
import re
import sqlite3
import subprocess
import time
from pathlib import Path

import psycopg

from tests import servers
from tests.bench.stand import Failed

CLAIM = (
    "UPDATE bare_task SET status = 'taken' WHERE id = (SELECT id FROM bare_task WHERE status = 'ready'"
    " ORDER BY k LIMIT 1 FOR UPDATE SKIP LOCKED);"
)
LINE = (
    "BEGIN; UPDATE bare_counter SET n = n + 1 WHERE id = 1;"
    " INSERT INTO bare_line (message) VALUES ('Line of a writer, about as long as ours is'); COMMIT;"
)


class BarePostgres:
    """A bare table with a queue, and a bare counter, on the server that also carries ours."""

    def __init__(self, server: servers.Postgres, folder: Path) -> None:
        self.url, self.folder = server.create_database(f"bare_{random.randrange(10**9)}"), folder
        pgbench = server.binaries / "pgbench"
        self.pgbench = pgbench if pgbench.exists() else None
        self.by = "pgbench" if self.pgbench else "psycopg (no pgbench here)"
        self._run(
            "CREATE TABLE bare_task (id bigserial PRIMARY KEY, k bigint NOT NULL, status text NOT NULL, filler text)",
            "CREATE INDEX bare_queue ON bare_task (k) WHERE status = 'ready'",
            "CREATE TABLE bare_counter (id int PRIMARY KEY, n bigint NOT NULL)",
            "INSERT INTO bare_counter VALUES (1, 0)",
            "CREATE TABLE bare_line (id bigserial PRIMARY KEY, message text NOT NULL)",
        )

    def claims_per_second(self, clients: int, seconds: float, ready: int) -> float:
        """Single-row claims with SKIP LOCKED from a queue of `ready` rows that is filled again beforehand.

        A queue that would run dry within the time is longer: the yardstick never waits for rows.
        """
        self._run(
            "TRUNCATE bare_task",
            f"INSERT INTO bare_task (k, status, filler) SELECT n, 'ready', repeat('x', 200) FROM generate_series(1, {ready}) n",
            "VACUUM ANALYZE bare_task",
            "CHECKPOINT",
        )
        rate = self._rate(CLAIM, clients, seconds)
        if self._left() == 0:
            return self.claims_per_second(clients, seconds, ready * 4)
        return rate

    def counted_lines_per_second(self, clients: int, seconds: float) -> float:
        """Transactions that raise one counter and insert one row."""
        self._run("TRUNCATE bare_line", "VACUUM bare_counter", "CHECKPOINT")
        return self._rate(LINE, clients, seconds)

    def _rate(self, script: str, clients: int, seconds: float) -> float:
        if self.pgbench is None:
            return _psycopg_rate(self.url, script, clients, seconds)
        path = self.folder / "bare.sql"
        path.write_text(script + "\n")
        done = subprocess.run(
            [str(self.pgbench), "--no-vacuum", "-c", str(clients), "-j", "2", "-T", str(max(1, round(seconds))),
             "-f", str(path), self.url],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = re.search(r"tps = ([0-9.]+) \(without initial", done.stdout) or re.search(
            r"tps = ([0-9.]+)", done.stdout
        )
        if done.returncode or not found:
            raise Failed(f"pgbench failed: {done.stderr.strip()[-300:]}")
        return float(found[1])

    def _left(self) -> int:
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT count(*) FROM bare_task WHERE status = 'ready'").fetchone()
        return int(row[0]) if row else 0

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


def sqlite_commits_per_second(folder: Path, seconds: float) -> float:
    """One row updated and committed at a time, by one process: WAL, synchronous=FULL, as our own file is set."""
    path = folder / f"bare-{random.randrange(10**9)}.sqlite3"
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE bare_counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
        database.executemany("INSERT INTO bare_counter VALUES (?, 0)", [(place,) for place in range(1000)])
        done, started = 0, time.perf_counter()
        until = started + seconds
        while time.perf_counter() < until:
            database.execute("BEGIN IMMEDIATE")
            database.execute("UPDATE bare_counter SET n = n + 1 WHERE id = ?", (done % 1000,))
            database.execute("COMMIT")
            done += 1
        return done / (time.perf_counter() - started)
    finally:
        database.close()
        for left in folder.glob(path.name + "*"):
            left.unlink()


def _psycopg_rate(url: str, script: str, clients: int, seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(clients), context.Queue()
    processes = [
        context.Process(target=_psycopg_client, args=(url, script, seconds, ready, results)) for _ in range(clients)
    ]
    for process in processes:
        process.start()
    rate = sum(results.get(timeout=seconds + 120) for _ in processes)
    for process in processes:
        process.join()
    return rate


def _psycopg_client(url: str, script: str, seconds: float, ready: object, results: object) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT 1")
        ready.wait(60)  # type: ignore[attr-defined]
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for statement in filter(None, (part.strip() for part in script.split(";"))):
                connection.execute(statement)
            done += 1
        results.put(done / (time.perf_counter() - started))  # type: ignore[attr-defined]
