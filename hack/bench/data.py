"""What is backed up: a PostgreSQL 17 on loopback, and data that are the same in every run.

pgbench   what `pgbench --initialize` makes; shrinks about 22:1
random    tables of hashes; shrink about 2.4:1, as the data of many applications do
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from pgwarden.api.wal import parse_lsn
from tests.support.debian_postgres import debian_programs
from tests.support.postgres import PostgresServer, postgres_server

MAJOR = 17
KINDS = ("pgbench", "random")
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "summarize_wal": "on",
}
PGBENCH_MIB_A_SCALE = 15
TABLES = ("filler_0", "filler_1", "filler_2", "filler_3")
ROWS_A_GIB = 9_800_000
ROWS_APART = 10**9
"""Between the numbers of one table's rows and the next one's: no two rows are alike."""
CREATE = "CREATE TABLE IF NOT EXISTS {table} (i bigint, content text)"
FILL = """\
INSERT INTO {table}
SELECT i, md5(i::text) || md5((i * 7)::text) || left(md5((i % 1000)::text), 4)
FROM generate_series({first}::bigint, {last}::bigint) AS i
"""
TOUCH = {
    "pgbench": "UPDATE {table} SET abalance = abalance + 1 WHERE aid % {nth} = {rest}",
    "random": "UPDATE {table} SET content = reverse(content) WHERE i % {nth} = {rest}",
}
ROWS_A_TOUCHED = 20_000
ROWS_A_PAGE = 60
SEGMENT = 16 << 20


@contextmanager
def server() -> Iterator[PostgresServer]:
    """A server of a release whose incremental backups can be trusted, without fsync, checksums on, TLS off."""
    with postgres_server(MAJOR, settings=SETTINGS, programs=debian_programs()) as running:
        print(f"PostgreSQL {running.query('SHOW server_version')}, fsync off, page checksums on, no TLS", flush=True)
        yield running


def load(running: PostgresServer, kind: str, gib: float, *, above: float = 0) -> int:
    """Fills the server and returns the size of all databases in bytes; `above` is what it holds of that already."""
    if kind == "pgbench":
        scale = max(1, round(gib * 1024 / PGBENCH_MIB_A_SCALE))
        running.tool("pgbench", "--initialize", "--quiet", f"--scale={scale}", environment=running.environment())
    else:
        add_rows(running, above, gib)
    running.execute("VACUUM ANALYZE", "CHECKPOINT")
    size = size_of(running)
    print(f"loaded {size / 2**30:.2f} GiB of {kind} data, in the page cache as far as it has room", flush=True)
    return size


def add_rows(running: PostgresServer, from_gib: float, to_gib: float) -> None:
    """Has the tables of hashes grow from one size to another."""
    first, last = (round(ROWS_A_GIB * gib / len(TABLES)) for gib in (from_gib, to_gib))
    with running.connect() as connection:
        for number, table in enumerate(TABLES):
            begin = number * ROWS_APART
            rows = {"first": sql.Literal(begin + first + 1), "last": sql.Literal(begin + last)}
            connection.execute(sql.SQL(CREATE).format(table=sql.Identifier(table)))
            connection.execute(sql.SQL(FILL).format(table=sql.Identifier(table), **rows))


def write_lightly(running: PostgresServer, kind: str) -> None:
    """Changes one row in 20,000, each on a page of its own, all over the tables."""
    for table in tables(kind):
        touch(running, kind, table, ROWS_A_TOUCHED, 0)


def write_wal(running: PostgresServer, kind: str, segments: int) -> None:
    """Writes that many segments of WAL: one row of each page changes, after a checkpoint, so that pages go in whole."""
    begin = position(running)
    for turn in itertools.count():
        for table in tables(kind):
            running.execute("CHECKPOINT")
            touch(running, kind, table, ROWS_A_PAGE, turn % ROWS_A_PAGE)
            if position(running) - begin >= segments * SEGMENT:
                running.execute("SELECT pg_switch_wal()")
                return


def tables(kind: str) -> tuple[str, ...]:
    """The large ones."""
    return TABLES if kind == "random" else ("pgbench_accounts",)


def touch(running: PostgresServer, kind: str, table: str, nth: int, rest: int) -> None:
    """Changes the rows whose number leaves that rest when it is divided by `nth`."""
    values = {"table": sql.Identifier(table), "nth": sql.Literal(nth), "rest": sql.Literal(rest)}
    with running.connect() as connection:
        connection.execute(sql.SQL(TOUCH[kind]).format(**values))


def position(running: PostgresServer) -> int:
    """Where the server writes WAL."""
    return parse_lsn(str(running.query("SELECT pg_current_wal_lsn()")))


def size_of(running: PostgresServer) -> int:
    size = running.query("SELECT sum(pg_database_size(oid))::bigint FROM pg_database")
    assert isinstance(size, int)
    return size
