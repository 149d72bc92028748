"""Databases, schemas and tables out of a logical backup come into a live server beside what is there."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.files import DatabaseAddress, StoreLocation
from pgwarden.jobs.task import ObjectRef, Operation, Result, Task
from pgwarden.restores.parts_contract import LiveTarget, LoadDumpTask, Part, TableName, working_name
from tests.integration.restores.test_parts import CONTENT, HOSTILE, OWNER, SHOP
from tests.support.backups import NONCE
from tests.support.logical import logical_task, take_logical
from tests.support.postgres import PostgresServer, bin_dir, new_folder, owned_folder, postgres_server, wait_until
from tests.support.roles import role_of_script
from tests.support.stored_backup import claim

ROWS = {"public.accounts": 500, "billing.invoices": 500, "billing.payments": 100, "public.events": 51}
INSPECTED = "inspected"
MORE = {'"-n *"."-t a.* ""b"" c"': 70, '"-n *"."-t a.x"': 0}


@dataclass
class Dumped:
    """A server, and logical backups of it in both formats."""

    server: PostgresServer
    store: StoreLocation
    locations: dict[str, str]
    restorer: DatabaseAddress

    def ask(self, database: str, query: str) -> list[Any]:
        with self.server.connect(database) as connection:
            return connection.execute(query.encode()).fetchall()

    def databases(self) -> set[str]:
        return {str(name) for (name,) in self.ask("postgres", "SELECT datname FROM pg_database")}

    def load(self, part: Part, how: str = "custom", uid: str = "a-request", **changes: Any) -> Result:
        """Runs the task inside this process, with the agent's own frame around it."""
        folder = new_folder()
        output = changes.pop("output", io.StringIO())
        into = LiveTarget(
            address=changes.pop("address", self.restorer),
            parts=[part],
            private_folder=str(owned_folder(folder / "private")),
            **{"patience_seconds": 0, **changes},
        )
        payload = LoadDumpTask(
            request_uid=uid,
            store=self.store,
            location=self.locations[how],
            into=into,
            scratch_folder=str(owned_folder(folder / "scratch")),
        )
        task = Task(
            operation=Operation.LOAD_DUMP,
            nonce=NONCE,
            object=ObjectRef(kind="RestoreRequest", namespace="shop", name="parts", uid=uid),
            attempt=1,
            payload=payload.model_dump(mode="json", by_alias=True),
        )
        try:
            return perform(task, AgentContext(task, output=output))
        finally:
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def dumped(major: int) -> Iterator[Dumped]:
    folder = new_folder()
    store = claim(owned_folder(folder / "store"))
    with postgres_server(major) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{bin_dir(major)}:{os.environ['PATH']}")
        server.create_role(OWNER)
        server.create_role("reporting")
        server.create_database(SHOP, owner=OWNER)
        with server.connect(SHOP) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
            connection.execute(CONTENT.encode())
            connection.execute("GRANT SELECT ON accounts TO reporting")
        server.create_database(INSPECTED, owner=OWNER)
        server.execute("CREATE EXTENSION pageinspect", database=INSPECTED)
        locations = {
            "custom": taken(server, store, folder / "custom"),
            "directory": taken(server, store, folder / "directory", directory_format=True, parallel=2),
        }
        restorer = role_of_script(server, "restore", "pgwarden_restore", owner=OWNER)
        yield Dumped(server, store, locations, restorer)
    shutil.rmtree(folder)


def taken(server: PostgresServer, store: StoreLocation, folder: Path, **how: Any) -> str:
    report, _ = take_logical(logical_task(server, store, owned_folder(folder), **how))
    return report.location


@pytest.fixture(params=["custom", "directory"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def table(schema: str, name: str) -> list[TableName]:
    return [TableName(schema_name=schema, table_name=name)]


def counts(result: Result) -> dict[str, int]:
    (part,) = result.report["parts"]
    return {each["table"]: each["rows"] for each in part["counts"]}


def test_a_whole_database_is_loaded_with_owners_and_privileges(dumped: Dumped, how: str) -> None:
    name = f'whole "{how}"'
    result = dumped.load(Part(database=SHOP, new_name=name), how)
    assert result.reason == "PartsRestored", result
    assert counts(result) == ROWS | MORE
    assert dumped.ask(name, "SELECT lo_get(4711)") == [(b"a large object",)]
    assert dumped.ask(name, "SELECT has_table_privilege('reporting', 'accounts', 'SELECT')") == [(True,)]
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert dumped.ask(name, owner) == [(OWNER,)]
    names = [step["name"] for step in result.report["steps"]]
    assert names == ["LookAtTarget", "Resolve", "Select", "Preflight", "Load", "Analyze", "CountRows", "Publish"]
    again = dumped.load(Part(database=SHOP, new_name=name), how)
    assert (again.reason, again.report["parts"]) == ("AlreadyRestored", result.report["parts"])


def test_one_table_is_loaded_with_its_indexes_and_nothing_beside_it(dumped: Dumped, how: str) -> None:
    name = f"one {how}"
    result = dumped.load(Part(database=SHOP, new_name=name, tables=table("billing", "invoices")), how)
    assert result.reason == "PartsRestored", result
    assert counts(result) == {"billing.invoices": 500}
    assert any("invoices_account_fkey" in each for each in result.report["findings"])
    key = "SELECT contype::text FROM pg_constraint WHERE conrelid = 'billing.invoices'::regclass AND contype = 'p'"
    assert dumped.ask(name, key) == [("p",)]
    assert dumped.ask(name, "INSERT INTO billing.invoices (account) VALUES (1) RETURNING id") == [(501,)]


def test_a_partitioned_table_comes_with_its_partitions(dumped: Dumped, how: str) -> None:
    result = dumped.load(Part(database=SHOP, new_name=f"events {how}", tables=table("public", "events")), how)
    assert result.reason == "PartsRestored", result
    assert counts(result) == {"public.events": 51}


def test_a_partition_alone_stands_by_itself(dumped: Dumped, how: str) -> None:
    result = dumped.load(Part(database=SHOP, new_name=f"march {how}", tables=table("public", "events_2")), how)
    assert result.reason == "PartsRestored", result
    assert counts(result) == {"public.events_2": 20}


def test_a_schema_is_loaded_with_its_views(dumped: Dumped, how: str) -> None:
    name = f"billing {how}"
    result = dumped.load(Part(database=SHOP, new_name=name, schemas=["billing"]), how)
    assert result.reason == "PartsRestored", result
    assert counts(result) == {"billing.invoices": 500, "billing.payments": 100}
    assert dumped.ask(name, "SELECT count(*) FROM billing.totals") == [(500,)]


def test_names_that_look_like_options_and_patterns_are_names(dumped: Dumped, how: str) -> None:
    result = dumped.load(Part(database=SHOP, new_name=f"--{how}=x", tables=table("-n *", HOSTILE)), how)
    assert result.reason == "PartsRestored", result
    assert counts(result) == {'"-n *"."-t a.* ""b"" c"': 70}


@pytest.mark.parametrize(
    ("part", "reason", "told"),
    [
        (Part(database="Other", new_name="y1"), "DatabaseNotInBackup", "'Other'"),
        (Part(database=SHOP, new_name="y2", schemas=["Billing"]), "PartNotFound", "schema 'Billing'"),
        (Part(database=SHOP, new_name="y3", tables=table("billing", "invoice%")), "PartNotFound", "'invoice%'"),
        (Part(database=SHOP, new_name="y4", tables=table("billing", "totals")), "PartEntangled", "billing totals"),
        (Part(database=SHOP, new_name="postgres"), "DatabaseExists", "'postgres'"),
    ],
)
def test_what_cannot_be_is_told_by_name_and_nothing_is_made(
    dumped: Dumped, how: str, part: Part, reason: str, told: str
) -> None:
    before = dumped.databases()
    result = dumped.load(part, how)
    assert (result.reason, result.retryable) == (reason, False), result
    assert told in result.message
    assert dumped.databases() == before


def test_what_a_killed_attempt_has_left_is_made_anew(dumped: Dumped, how: str) -> None:
    part = Part(database=SHOP, new_name=f"anew {how}", tables=table("billing", "payments"))
    left = working_name("killed", part.new_name)
    dumped.server.create_database(left, owner="pgwarden_restore")
    dumped.server.execute("CREATE TABLE half (i int)", database=left)
    result = dumped.load(part, how, uid="killed")
    assert result.reason == "PartsRestored", result
    assert counts(result) == {"billing.payments": 100}
    assert left not in dumped.databases()


def test_missing_roles_are_named_before_anything_is_made(major: int, dumped: Dumped, how: str) -> None:
    with postgres_server(major) as elsewhere:
        address = role_of_script(elsewhere, "restore", "restorer", owner="pg_monitor")
        part = Part(database=SHOP, new_name="there")
        result = dumped.load(part, how, address=address)
        assert result.reason == "RolesMissing", result
        created = [each for each in result.remedy.split("; ") if "CREATE ROLE" in each]
        assert [each.partition("CREATE ROLE ")[2] for each in created] == ['"The ""owner"""']
        taken_without = dumped.load(part, how, address=address, without_owners=True)
        assert taken_without.reason == "PartsRestored", taken_without
        assert counts(taken_without) == ROWS | MORE


def test_it_waits_for_whoever_makes_the_roles(major: int, dumped: Dumped, how: str) -> None:
    with postgres_server(major) as elsewhere, ThreadPoolExecutor(1) as pool:
        address = role_of_script(elsewhere, "restore", "restorer", owner="pg_monitor")
        output = io.StringIO()
        part = Part(database=SHOP, new_name="there", tables=table("billing", "payments"))
        loading = pool.submit(dumped.load, part, how, address=address, patience_seconds=60, output=output)
        wait_until(lambda: loading.done() or "waits for roles" in output.getvalue(), "it does not wait")
        elsewhere.create_role(OWNER)
        elsewhere.create_role("reporting")
        elsewhere.execute('GRANT "The ""owner""" TO restorer')
        result = loading.result()
        assert result.reason == "PartsRestored", result
        assert 'CREATE ROLE "The ""owner""";' in output.getvalue().replace('\\"', '"')


def test_an_extension_that_only_a_superuser_makes_is_named(dumped: Dumped, how: str) -> None:
    result = dumped.load(Part(database=INSPECTED, new_name="x"), how)
    assert (result.reason, result.retryable) == ("ExtensionsForbidden", False), result
    assert "pageinspect" in result.message
    superuser = dumped.load(Part(database=INSPECTED, new_name=f"inspected {how}"), how, address=dumped.server.address())
    assert superuser.reason == "PartsRestored", superuser
