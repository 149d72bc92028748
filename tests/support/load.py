"""Writes to a server from a thread of its own, and remembers where in the WAL each transaction lies."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import psycopg

from pgwarden.api.wal import parse_lsn

from .postgres import PostgresServer, wait_until

ACCOUNTS = 100
BALANCE = 1000


@dataclass
class WriteLoad:
    """Inserts numbered rows and moves money between accounts, one transaction at a time, inside a `with` block.

    Afterwards `check` tells whether a copy holds exactly the transactions of a moment.
    """

    server: PostgresServer
    database: str = "postgres"
    filler_bytes: int = 2000
    """Added to each row, to make more WAL."""
    transactions_per_segment: int = 0
    """After how many transactions the next WAL segment is begun; 0 leaves it to the server."""
    segments: int = 8
    """How often that is done. Without an end to it a fast machine would make WAL faster than a slowed-down backup takes
    it, the backup would never end, and its slot would keep WAL until the disk is full."""
    pause_seconds: float = 0.01
    """Between two transactions, for the same reason: less is written than the backup may send."""
    committed: list[tuple[int, int, int]] = field(default_factory=list)
    """(number, position before the transaction, position after its commit)."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _failure: list[BaseException] = field(default_factory=list)

    def prepare(self) -> None:
        """Makes the tables."""
        with self.server.connect(self.database) as connection:
            connection.execute("CREATE TABLE numbered (number int PRIMARY KEY, filler text)")
            connection.execute("ALTER TABLE numbered ALTER filler SET STORAGE EXTERNAL")
            connection.execute("CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL)")
            connection.execute(
                "INSERT INTO accounts SELECT id, %s FROM generate_series(1, %s) AS id", (BALANCE, ACCOUNTS)
            )

    def __enter__(self) -> WriteLoad:
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()
        wait_until(lambda: len(self.committed) >= 20 or bool(self._failure), "the load did not begin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure[0]

    def _run(self) -> None:
        try:
            with self.server.connect(self.database) as connection:
                number = 0
                while not self._stop.is_set():
                    number += 1
                    self.committed.append((number, *self._write(connection, number)))
                    if self.begins_a_segment(number):
                        connection.execute("SELECT pg_switch_wal()")
                    self._stop.wait(self.pause_seconds)
        except BaseException as failure:  # raised where the block ends
            self._failure.append(failure)

    def begins_a_segment(self, number: int) -> bool:
        """Whether the next WAL segment is to be begun after that transaction."""
        every = self.transactions_per_segment
        return bool(every) and number % every == 0 and number // every <= self.segments

    def _write(self, connection: psycopg.Connection[Any], number: int) -> tuple[int, int]:
        before = position(connection)
        with connection.transaction():
            connection.execute(
                "INSERT INTO numbered SELECT %s, string_agg(md5(random()::text), '') FROM generate_series(1, %s)",
                (number, self.filler_bytes // 32),
            )
            move = "UPDATE accounts SET balance = balance + %s WHERE id = %s"
            connection.execute(move, (-1, number % ACCOUNTS + 1))
            connection.execute(move, (1, number * 7 % ACCOUNTS + 1))
        return before, position(connection)

    def check(self, copy: psycopg.Connection[Any], lsn: str) -> None:
        """Asserts that `copy` holds each transaction that was committed at `lsn`, none that began after it, and no part
        of one."""
        moment = parse_lsn(lsn)
        rows = copy.execute("SELECT number FROM numbered ORDER BY number").fetchall()
        numbers = [int(number) for (number,) in rows]
        assert numbers == list(range(1, len(numbers) + 1))
        before = [number for number, _begin, end in self.committed if end <= moment]
        after = [number for number, begin, _end in self.committed if begin > moment]
        assert before, "nothing was written before the backup ended"
        assert after, "nothing was written after the backup ended"
        assert before[-1] <= len(numbers) < after[0]
        total = copy.execute("SELECT sum(balance) FROM accounts").fetchone()
        assert total is not None
        assert total[0] == ACCOUNTS * BALANCE


def position(connection: psycopg.Connection[Any]) -> int:
    """Where the next WAL record goes, in bytes."""
    row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return parse_lsn(str(row[0]))
