"""Databases, schemas and tables out of a physical backup come into a live server beside what is there, whole or not at
all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from psycopg import sql

from pgwarden.jobs.files import DatabaseAddress, StoreLocation
from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.parts_contract import LiveTarget, Part, TableName, working_name
from tests.support.postgres import PostgresServer, new_folder, owned_folder, postgres_server, wait_until
from tests.support.restore_pod import RestorePod
from tests.support.roles import role_of_script
from tests.support.stored_backup import claim, store_backup
from tests.support.wal_archive import WALArchive

OWNER = 'The "owner"'
SHOP = 'shop; $(X) "Ä"\n--x=1'
"""Whatever a name may hold that a shell, SQL, a connection string or a pattern of pg_dump would take for its own."""
HOSTILE = '-t a.* "b" c'
SETTINGS = {"max_wal_size": "1GB", "wal_keep_size": "1GB", "max_connections": "40"}
CONTENT = """
CREATE EXTENSION citext;
CREATE SCHEMA billing;
CREATE SCHEMA "-n *";
CREATE TYPE billing.state AS ENUM ('open', 'paid');
CREATE TABLE accounts (id int PRIMARY KEY, email citext UNIQUE);
CREATE TABLE billing.invoices (
    id bigserial PRIMARY KEY,
    account int REFERENCES accounts,
    state billing.state NOT NULL DEFAULT 'open',
    amount numeric CHECK (amount >= 0)
);
CREATE TABLE billing.payments (invoice bigint REFERENCES billing.invoices, at timestamptz);
CREATE VIEW billing.totals AS SELECT account, sum(amount) AS total FROM billing.invoices GROUP BY account;
CREATE TABLE "-n *"."-t a.* ""b"" c" (id int PRIMARY KEY, "a b" text);
CREATE TABLE "-n *"."-t a.x" (id int);
CREATE TABLE events (at date NOT NULL, account int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO accounts SELECT i, 'user' || i FROM generate_series(1, 500) AS i;
INSERT INTO billing.invoices (account, amount) SELECT i, i FROM generate_series(1, 500) AS i;
INSERT INTO billing.payments SELECT i, now() FROM generate_series(1, 100) AS i;
INSERT INTO "-n *"."-t a.* ""b"" c" SELECT i, 'row' || i FROM generate_series(1, 70) AS i;
INSERT INTO events SELECT date '2026-01-01' + i, i FROM generate_series(0, 50) AS i;
SELECT lo_from_bytea(4711, 'a large object');
"""


@dataclass
class Night:
    """A server that is at work, an archive of it, and the moment before somebody dropped a table."""

    server: PostgresServer
    store: StoreLocation
    archive: str
    before: datetime
    restorer: DatabaseAddress
    """The role of docs/sql/restore-role.sql."""

    def databases(self) -> set[str]:
        with self.server.connect() as connection:
            return {str(name) for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}

    def ask(self, database: str, query: str) -> list[Any]:
        with self.server.connect(database) as connection:
            return connection.execute(query.encode()).fetchall()


NewPart = Callable[..., RestorePod]


@pytest.fixture(scope="module")
def night(major: int) -> Iterator[Night]:
    folder = new_folder()
    store = claim(owned_folder(folder / "store"))
    with postgres_server(major, settings=SETTINGS) as server:
        server.create_role(OWNER)
        server.create_role("reporting")
        server.create_database(SHOP, owner=OWNER)
        server.execute("CREATE DATABASE other")
        with server.connect(SHOP) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
            connection.execute(CONTENT.encode())
            connection.execute("GRANT SELECT ON accounts TO reporting")
            connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(SHOP)))
        archive = WALArchive(server, store)
        store_backup(server, store)
        with server.connect(SHOP) as connection:
            connection.execute(
                "INSERT INTO billing.invoices (account, amount) SELECT i, 1 FROM generate_series(1, 20) AS i"
            )
        before = archive.note_moment()
        with server.connect(SHOP) as connection:
            connection.execute("DROP TABLE billing.invoices CASCADE")
        archive.note_moment()
        restorer = role_of_script(server, "restore", "pgwarden_restore", owner=OWNER)
        yield Night(server, store, archive.archive, before, restorer)
    shutil.rmtree(folder)


@pytest.fixture
def new_part(night: Night) -> Iterator[NewPart]:
    """Pods that restore parts as they were before the table was dropped, each on a volume of its own."""
    with ExitStack() as ends:

        def make(*parts: Part, uid: str = "", address: DatabaseAddress | None = None, **changes: Any) -> RestorePod:
            folder = new_folder()
            ends.callback(shutil.rmtree, folder)
            into = LiveTarget(
                address=address or night.restorer,
                expected_system_identifier=night.server.system_identifier,
                parts=list(parts),
                private_folder=str(owned_folder(folder / "private")),
                patience_seconds=0,
                **changes,
            )
            pod = RestorePod(
                night.server.major,
                owned_folder(folder / "data"),
                night.store,
                "",
                archive=night.archive,
                target=TargetPoint(time=night.before),
                into=into,
            )
            pod.request_uid = uid or folder.name
            ends.callback(pod.destroy)
            for part in parts:
                ends.callback(night.server.drop_database, part.new_name)
            return pod

        yield make


def invoices(new_name: str = 'back "again"') -> Part:
    return Part(database=SHOP, new_name=new_name, tables=[TableName(schema_name="billing", table_name="invoices")])


def test_a_table_that_was_dropped_comes_back_as_of_the_moment_before(night: Night, new_part: NewPart) -> None:
    pod = new_part(invoices())
    restored, recovered, code = pod.run()
    assert (recovered.reason, code) == ("PartsRestored", 0), (recovered, pod.server_log)
    (part,) = recovered.report["parts"]
    assert (part["tables"], part["rows"]) == (1, 520)
    assert part["counts"] == [{"table": "billing.invoices", "rows": 520}]
    name = part["newName"]
    assert night.ask(name, "SELECT count(*), sum(amount) FROM billing.invoices WHERE state = 'open'") == [(520, 125270)]
    # WAL runs ahead of sequences, so the next number is not the very next.
    ((number,),) = night.ask(name, "INSERT INTO billing.invoices (account) VALUES (1) RETURNING id")
    assert number > 520
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'billing.invoices'::regclass"
    assert night.ask(name, owner) == [(OWNER,)]
    assert night.ask(name, "SELECT reltuples > 0 FROM pg_class WHERE relname = 'invoices'") == [(True,)]
    assert any("foreign key invoices_account_fkey" in each for each in recovered.report["findings"])
    # Nothing else has rows there, and the live database is as it was.
    assert night.ask(name, "SELECT to_regclass('accounts')::text") == [(None,)]
    assert night.ask(SHOP, "SELECT to_regclass('billing.invoices')::text, count(*) FROM accounts") == [(None, 500)]
    names = [step["name"] for step in (*restored.report["steps"], *recovered.report["steps"])]
    assert names[0] == "LookAtTarget" and names[-7:-1] == [
        "Select",
        "Preflight",
        "Load",
        "Analyze",
        "CountRows",
        "Publish",
    ]


def test_a_whole_database_comes_back_with_owners_privileges_and_large_objects(night: Night, new_part: NewPart) -> None:
    pod = new_part(Part(database=SHOP, new_name="whole"))
    _, recovered, _ = pod.run()
    assert recovered.reason == "PartsRestored", (recovered, pod.server_log)
    (part,) = recovered.report["parts"]
    assert (part["tables"], part["rows"]) == (6, 500 + 520 + 100 + 70 + 51)
    assert night.ask("whole", "SELECT lo_get(4711)") == [(b"a large object",)]
    assert night.ask("whole", "SELECT has_table_privilege('reporting', 'accounts', 'SELECT')") == [(True,)]
    database = "SELECT pg_get_userbyid(datdba), has_database_privilege('reporting', oid, 'CONNECT') FROM pg_database"
    assert night.ask("postgres", f"{database} WHERE datname = 'whole'") == [(OWNER, False)]


def test_names_that_look_like_options_and_patterns_are_names(night: Night, new_part: NewPart) -> None:
    tables = [TableName(schema_name="-n *", table_name=HOSTILE), TableName(schema_name="public", table_name="events_2")]
    pod = new_part(Part(database=SHOP, new_name="--new=name", schemas=[], tables=tables))
    _, recovered, _ = pod.run()
    assert recovered.reason == "PartsRestored", (recovered, pod.server_log)
    counts = {each["table"]: each["rows"] for each in recovered.report["parts"][0]["counts"]}
    assert counts == {'"-n *"."-t a.* ""b"" c"': 70, "public.events_2": 20}


def test_a_schema_comes_back_with_what_is_in_it(night: Night, new_part: NewPart) -> None:
    pod = new_part(Part(database=SHOP, new_name="billing_then", schemas=["billing"]))
    _, recovered, _ = pod.run()
    assert recovered.reason == "PartsRestored", (recovered, pod.server_log)
    assert night.ask("billing_then", "SELECT count(*) FROM billing.totals") == [(500,)]
    assert night.ask("billing_then", "SELECT count(*) FROM billing.payments") == [(100,)]
    assert night.ask("billing_then", "SELECT to_regclass('events')::text") == [(None,)]


def test_what_exists_is_named_and_not_touched(night: Night, new_part: NewPart) -> None:
    night.server.execute("CREATE TABLE IF NOT EXISTS precious AS SELECT 1 AS here", database="other")
    result = new_part(invoices("other_"), Part(database="postgres", new_name="other")).restore()
    assert (result.reason, result.retryable) == ("DatabaseExists", False)
    assert "'other'" in result.message and "'other_'" not in result.message
    assert night.ask("other", "SELECT here FROM precious") == [(1,)]
    night.server.drop_database("postgres_")


@pytest.mark.parametrize(
    ("part", "reason", "told"),
    [
        (Part(database="Other", new_name="x1"), "DatabaseNotInBackup", "'Other'"),
        (Part(database=SHOP, new_name="x2", schemas=["Billing"]), "PartNotFound", "schema 'Billing'"),
        (
            Part(database=SHOP, new_name="x3", tables=[TableName(schema_name="billing", table_name="invoice%")]),
            "PartNotFound",
            "'invoice%'",
        ),
        (
            Part(database=SHOP, new_name="x4", tables=[TableName(schema_name="billing", table_name="totals")]),
            "PartEntangled",
            "billing.totals",
        ),
    ],
)
def test_what_is_not_there_is_told_by_name(night: Night, new_part: NewPart, part: Part, reason: str, told: str) -> None:
    pod = new_part(part)
    _, recovered, _ = pod.run()
    assert recovered.reason == reason, recovered
    assert told in recovered.message
    assert part.new_name not in night.databases()


def test_roles_that_are_missing_are_named_with_the_sql_before_anything_is_made(
    major: int, night: Night, new_part: NewPart
) -> None:
    with postgres_server(major) as elsewhere:
        address = role_of_script(elsewhere, "restore", "restorer", owner="pg_monitor")
        pod = new_part(Part(database=SHOP, new_name="there"), address=address)
        assert pod.into is not None
        pod.into = pod.into.model_copy(update={"expected_system_identifier": elsewhere.system_identifier})
        _, recovered, _ = pod.run()
        assert recovered.reason == "RolesMissing", recovered
        for statement in (
            'CREATE ROLE "The ""owner""";',
            'CREATE ROLE "reporting";',
            'GRANT "The ""owner""" TO "restorer";',
        ):
            assert statement in recovered.remedy
        with elsewhere.connect() as connection:
            count = connection.execute("SELECT count(*) FROM pg_database WHERE NOT datistemplate").fetchall()
            assert count == [(1,)]


def test_without_owners_it_goes_where_no_role_is_known(major: int, night: Night, new_part: NewPart) -> None:
    with postgres_server(major) as elsewhere:
        address = role_of_script(elsewhere, "restore", "restorer", owner="pg_monitor")
        pod = new_part(Part(database=SHOP, new_name="there"), address=address, without_owners=True)
        assert pod.into is not None
        pod.into = pod.into.model_copy(update={"expected_system_identifier": elsewhere.system_identifier})
        _, recovered, _ = pod.run()
        assert recovered.reason == "PartsRestored", (recovered, pod.server_log)
        with elsewhere.connect("there") as connection:
            assert connection.execute("SELECT count(*) FROM billing.invoices").fetchall() == [(520,)]
            owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'billing'")
            assert owners.fetchall() == [("restorer",)]


@pytest.mark.parametrize("step", ["Load", "Analyze", "Publish"])
def test_killed_in_the_middle_the_repeat_is_right(night: Night, new_part: NewPart, step: str) -> None:
    part = invoices("after_the_kill")
    first = new_part(part, uid=f"killed-in-{step}")
    assert first.restore().outcome == "Succeeded"
    first.start_server()
    recover = first.start_recover()
    first.wait_for_step(recover, step)
    recover.kill()
    second = new_part(part, uid=first.request_uid)
    _, recovered, _ = second.run()
    assert recovered.reason in ("PartsRestored", "AlreadyRestored"), (recovered, second.server_log)
    assert recovered.report["parts"][0]["rows"] == 520
    assert night.ask("after_the_kill", "SELECT count(*) FROM billing.invoices") == [(520,)]
    assert working_name(first.request_uid, part.new_name) not in night.databases()


def test_done_once_it_answers_again_without_recovering(night: Night, new_part: NewPart) -> None:
    part = invoices("once")
    first = new_part(part, uid="done-once")
    _, told, _ = first.run()
    assert told.reason == "PartsRestored", (told, first.server_log)
    night.server.execute("DELETE FROM billing.invoices", database="once")
    second = new_part(part, uid="done-once")
    restored, again, code = second.run()
    assert (restored.reason, again.reason, code) == ("AlreadyRestored", "AlreadyRestored", 0), (restored, again)
    assert again.report["parts"] == told.report["parts"]
    assert again.report["endLsn"] == told.report["endLsn"]
    assert night.ask("once", "SELECT count(*) FROM billing.invoices") == [(0,)]


def test_a_failed_load_leaves_nothing(night: Night, new_part: NewPart) -> None:
    """The live server ends the session in the middle: it is tried again, and nothing of the first attempt is there."""
    part = invoices("interrupted")
    pod = new_part(part, uid="interrupted")
    assert pod.restore().outcome == "Succeeded"
    pod.start_server()
    with night.server.connect() as connection:
        recover = pod.start_recover()
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        name = working_name("interrupted", part.new_name)
        wait_until(lambda: bool(connection.execute(end, (name,)).fetchall()) or not recover.running, "no session")
        result = recover.result()
    assert result.outcome == "Failed" and result.retryable, result
    assert name not in night.databases() and "interrupted" not in night.databases()
    second = new_part(part, uid="interrupted")
    _, recovered, _ = second.run()
    assert recovered.reason == "PartsRestored", (recovered, second.server_log)
