"""What is refused before anything runs, and what is not."""

from __future__ import annotations

import pytest

from pgwarden.migrations.files import Script
from pgwarden.migrations.refusals import RefusalReason, refusals

pytestmark = pytest.mark.unit


def reasons(text: str) -> list[tuple[RefusalReason, int]]:
    return [(each.reason, each.line) for each in refusals([Script("1_a.up.sql", "a", text.encode())])]


@pytest.mark.parametrize(
    "statement",
    ["BEGIN", "begin work", "START TRANSACTION READ ONLY", "COMMIT", "commit and chain", "END", "ABORT", "ROLLBACK",
     "ROLLBACK WORK", "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "/* hidden */ COMMIT -- more"],
)  # fmt: skip
def test_statements_that_would_end_the_files_transaction_are_refused_with_their_line(statement: str) -> None:
    assert reasons(f"select 1;\n\n{statement};\nselect 2") == [(RefusalReason.TRANSACTION_CONTROL, 3)]


@pytest.mark.parametrize(
    "statement",
    ["CREATE INDEX CONCURRENTLY i ON t (a)", "create unique index concurrently if not exists i on t (a)",
     "DROP INDEX CONCURRENTLY i", "REINDEX TABLE CONCURRENTLY t", "REINDEX (CONCURRENTLY) TABLE t",
     "REINDEX DATABASE d",
     "ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "VACUUM", "VACUUM (FULL) t", "ALTER SYSTEM SET work_mem = 1",
     "CREATE DATABASE d", "DROP DATABASE d", "CREATE TABLESPACE s LOCATION '/x'", "DISCARD ALL", "CLUSTER"],
)  # fmt: skip
def test_statements_that_cannot_run_in_a_transaction_are_refused_with_their_line(statement: str) -> None:
    assert reasons(f"\n{statement}") == [(RefusalReason.NEEDS_NO_TRANSACTION, 2)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("COPY t FROM stdin;\n1\ta\n\\.\n", 1),
        ("select 1;\nCOPY t (a, b) TO STDOUT", 2),
        ("select 1;\n\\i other.sql\n", 2),
        ("\\! rm -rf /tmp/x", 1),
        ("select 1 \\gexec", 1),
    ],
)
def test_what_only_psql_understands_is_refused_with_its_line(text: str, line: int) -> None:
    assert (RefusalReason.PSQL_ONLY, line) in reasons(text)


@pytest.mark.parametrize(
    "statement",
    ["SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "ROLLBACK TRANSACTION TO a", "RELEASE a",
     "DO $$ BEGIN COMMIT; END $$", "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
     "SELECT 'commit; vacuum'", 'CREATE TABLE "begin" ("end" int)', "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
     "CREATE INDEX i ON t (a)", "ALTER TABLE t DETACH PARTITION p", "ANALYZE t", "REINDEX TABLE t", "CLUSTER t USING i",
     "COPY t FROM '/tmp/x'", "COPY t TO PROGRAM 'cat'", "PREPARE p AS SELECT 1", "SET ROLE other", r"SELECT '\'",
     "ALTER TYPE e ADD VALUE 'x'", "COMMENT ON TABLE t IS $$\\! rm$$"],
)  # fmt: skip
def test_what_may_run_in_a_transaction_is_left_alone(statement: str) -> None:
    assert reasons(statement) == []


def test_the_refusal_shows_file_line_and_statement() -> None:
    [refusal] = refusals([Script("app/7_x.up.sql", "x", b"select 1;\ncreate index concurrently i\n  on t (a)")])
    assert str(refusal).startswith("app/7_x.up.sql:2: ")
    assert str(refusal).endswith("create index concurrently i on t (a)")
