"""What a migration file may not hold, because it cannot run inside the one transaction the file is given.

Pure, and run over every file before the first one is applied. Which statements PostgreSQL refuses in a transaction
block stands in its reference, under each command. Those that only some arguments make impossible (REINDEX of a
partitioned index, CREATE SUBSCRIPTION that makes a slot) are left to the server, which says so with SQLSTATE 25001.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pgwarden.migrations.files import Script
from pgwarden.migrations.sql import Statement, excerpt, line_of, statements


class RefusalReason(StrEnum):
    TRANSACTION_CONTROL = "TransactionControl"
    NEEDS_NO_TRANSACTION = "NeedsNoTransaction"
    PSQL_ONLY = "PsqlOnly"


REMEDIES = {
    RefusalReason.TRANSACTION_CONTROL: (
        "Take BEGIN, COMMIT and ROLLBACK out: each file runs in one transaction of its own anyway."
    ),
    RefusalReason.NEEDS_NO_TRANSACTION: (
        "Run this statement by hand, or write it in a form that may run in a transaction "
        "(for example CREATE INDEX without CONCURRENTLY while the table is small)."
    ),
    RefusalReason.PSQL_ONLY: "Write it as plain SQL (INSERT instead of COPY FROM STDIN); psql's commands are not SQL.",
}

# Statements that open or close transactions; SAVEPOINT, RELEASE and ROLLBACK TO stay inside one and are fine.
TRANSACTION_CONTROL = (
    ("begin",),
    ("start", "transaction"),
    ("commit",),
    ("end",),
    ("abort",),
    ("rollback",),
    ("prepare", "transaction"),
)
NEVER_IN_TRANSACTION = (
    ("vacuum",),
    ("alter", "system"),
    ("create", "database"),
    ("drop", "database"),
    ("create", "tablespace"),
    ("drop", "tablespace"),
    ("discard", "all"),
    ("reindex", "database"),
    ("reindex", "system"),
    ("reindex", "schema"),
)
CONCURRENTLY = (("create", "index"), ("create", "unique", "index"), ("drop", "index"), ("reindex",))


@dataclass(frozen=True)
class Refusal:
    """One statement of a file that cannot be run, and where it stands."""

    reason: RefusalReason
    file: str
    line: int
    statement: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}: {self.statement}"


def refusals(scripts: Iterable[Script]) -> list[Refusal]:
    """Every statement of the scripts that cannot run in the file's transaction, in order."""
    return [refusal for script in scripts for refusal in refusals_of(script)]


def refusals_of(script: Script) -> list[Refusal]:
    text = script.text
    found = []
    for statement in statements(text):
        judged = judge(statement)
        if judged is None:
            continue
        reason, why = judged
        line = statement.line if statement.backslash is None else line_of(text, statement.backslash)
        found.append(Refusal(reason, script.file, line, excerpt(text, statement, 80), why))
    return found


def judge(statement: Statement) -> tuple[RefusalReason, str] | None:
    """Why a statement cannot run in the file's transaction, or None."""
    words = statement.words
    if statement.backslash is not None:
        return RefusalReason.PSQL_ONLY, "a backslash outside quotes is a command of psql"
    if controls_transaction(words, statement):
        return RefusalReason.TRANSACTION_CONTROL, f"{words[0].upper()} would end or begin the file's own transaction"
    if is_copy_through_client(statement):
        return RefusalReason.PSQL_ONLY, "COPY needs rows from, or a place for rows at, a client"
    if begins(words, NEVER_IN_TRANSACTION) or runs_concurrently(statement) or words == ("cluster",):
        return RefusalReason.NEEDS_NO_TRANSACTION, "PostgreSQL runs this outside a transaction only"
    return None


def begins(words: tuple[str, ...], beginnings: Iterable[tuple[str, ...]]) -> bool:
    return any(words[: len(beginning)] == beginning for beginning in beginnings)


def controls_transaction(words: tuple[str, ...], statement: Statement) -> bool:
    """Also COMMIT PREPARED and ROLLBACK PREPARED, which finish somebody else's transaction outside ours."""
    if words[:1] == ("rollback",):
        return not (
            statement.has("rollback", "to") or statement.has("transaction", "to") or statement.has("work", "to")
        )
    return begins(words, TRANSACTION_CONTROL)


def runs_concurrently(statement: Statement) -> bool:
    """REFRESH MATERIALIZED VIEW CONCURRENTLY is not among them: it may run in a transaction."""
    words = statement.words
    if begins(words, CONCURRENTLY):
        return statement.has("concurrently")
    return (
        words[:2] == ("alter", "table") and statement.has("detach") and statement.last_words[-1:] == ("concurrently",)
    )


def is_copy_through_client(statement: Statement) -> bool:
    if statement.words[:1] != ("copy",):
        return False
    return statement.has("from", "stdin") or statement.has("to", "stdout")
