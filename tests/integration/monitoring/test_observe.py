"""What the monitor sees: each broken layer by its own name, the truth after a restart, and no planted function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg import sql

from pgwarden.archiving.contract import slot_name
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.monitoring.contract import ClusterObservation, WatchedCluster
from pgwarden.monitoring.observe import Observer
from tests.support.postgres import PostgresServer, free_port
from tests.support.silence import silent_server

PASSWORD = "of the monitor"


@contextmanager
def observing(
    primary: DatabaseAddress, replicas: list[DatabaseAddress] | None = None, databases: list[str] | None = None
) -> Iterator[Observer]:
    watched = WatchedCluster(
        name="db", uid="uid", digest="digest", primary=primary, replicas=replicas or [], databases=databases or []
    )
    observer = Observer(watched, lambda: datetime.now(UTC))
    try:
        yield observer
    finally:
        observer.close()


def look(
    primary: DatabaseAddress, replicas: list[DatabaseAddress] | None = None, databases: list[str] | None = None
) -> ClusterObservation:
    with observing(primary, replicas, databases) as observer:
        return observer.look()


@pytest.fixture
def monitor_role(postgres: PostgresServer) -> str:
    """A role that is a member of pg_monitor and nothing else."""
    name = postgres.create_role(password=PASSWORD)
    with postgres.connect() as connection:
        connection.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(name)))
    return name


def wrong_host(server: PostgresServer) -> DatabaseAddress:
    return server.address(host="no-such-host.invalid")


def wrong_port(server: PostgresServer) -> DatabaseAddress:
    return server.address().model_copy(update={"port": free_port()})


def wrong_tls(server: PostgresServer) -> DatabaseAddress:
    return server.address(tls_mode="require")


def wrong_password(server: PostgresServer) -> DatabaseAddress:
    return server.address(password="wrong")


def wrong_database(server: PostgresServer) -> DatabaseAddress:
    return server.address("no_such_database")


def missing_secret(server: PostgresServer) -> DatabaseAddress:
    return server.address().model_copy(update={"password_file": "/nonexistent/password"})


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (wrong_host, "HostNotFound"),
        (wrong_port, "ConnectionRefused"),
        (wrong_tls, "TLSRefused"),
        (wrong_password, "PasswordRejected"),
        (wrong_database, "DatabaseNotFound"),
        (missing_secret, "CredentialsMissing"),
    ],
)
def test_each_broken_layer_has_its_reason_and_remedy(
    postgres: PostgresServer, broken: Callable[[PostgresServer], DatabaseAddress], reason: str
) -> None:
    seen = look(broken(postgres))
    assert (seen.primary.reachable, seen.primary.reason) == (False, reason)
    assert seen.primary.message
    assert seen.primary.remedy
    assert PASSWORD not in seen.model_dump_json()
    assert not seen.databases
    assert not seen.missing_databases


def test_a_role_that_may_not_see_a_databases_size_is_told_what_to_grant(
    postgres: PostgresServer, database: str
) -> None:
    with postgres.connect() as connection:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    seen = look(postgres.address(user=postgres.create_role(password=PASSWORD), password=PASSWORD))
    assert (seen.primary.reachable, seen.primary.reason) == (False, "PermissionDenied")
    assert "pg_monitor" in seen.primary.remedy


def test_a_role_with_pg_monitor_alone_sees_all(postgres: PostgresServer, database: str, monitor_role: str) -> None:
    seen = look(postgres.address(user=monitor_role, password=PASSWORD), databases=[database, "no_such_database"])
    assert seen.primary.reachable, seen.primary.message
    assert seen.primary.version.startswith(f"{postgres.major}.")
    assert seen.primary.system_identifier == postgres.system_identifier
    assert (seen.primary.in_recovery, seen.primary.timeline) == (False, 1)
    assert database in {found.name for found in seen.databases}
    assert seen.missing_databases == ["no_such_database"]


TRAPS: list[LiteralString] = [
    "CREATE TABLE trapped (name text)",
    "GRANT ALL ON trapped TO PUBLIC",
    """CREATE FUNCTION trap(name text) RETURNS void LANGUAGE sql AS
       $$ INSERT INTO public.trapped VALUES (name) $$""",
    # Overloads that fit the calls better than PostgreSQL's own, in the schema that comes first by default.
    """CREATE FUNCTION pg_database_size(oid) RETURNS bigint LANGUAGE plpgsql AS
       $$ BEGIN PERFORM public.trap('size'); RETURN 1; END $$""",
    """CREATE FUNCTION pg_is_in_recovery() RETURNS boolean LANGUAGE plpgsql AS
       $$ BEGIN PERFORM public.trap('recovery'); RETURN true; END $$""",
    """CREATE FUNCTION pg_control_system(OUT system_identifier bigint) LANGUAGE plpgsql AS
       $$ BEGIN PERFORM public.trap('control'); system_identifier := 1; END $$""",
    """CREATE FUNCTION substr(text, integer, integer) RETURNS text LANGUAGE plpgsql AS
       $$ BEGIN PERFORM public.trap('substr'); RETURN '0'; END $$""",
    """CREATE FUNCTION trapped_or(text, text) RETURNS text LANGUAGE plpgsql AS
       $$ BEGIN PERFORM public.trap('operator'); RETURN '0'; END $$""",
    "CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = trapped_or)",
    "CREATE VIEW pg_database AS SELECT 1 AS oid, 'trap' AS datname, true AS datallowconn",
]


def test_planted_functions_operators_and_views_are_never_run(postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as connection:
        for trap in TRAPS:
            connection.execute(trap)
        # A role, or a database, may have a search_path of its own on top.
        change = sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog")
        connection.execute(change.format(sql.Identifier(database)))
        connection.execute("SET search_path = public, pg_catalog")
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        connection.execute("TRUNCATE trapped")
    seen = look(postgres.address(database), databases=[database])
    assert (seen.primary.in_recovery, seen.missing_databases) == (False, [])
    assert seen.primary.system_identifier == postgres.system_identifier
    assert postgres.query("SELECT count(*) FROM trapped", database) == 0


def test_after_a_restart_the_very_next_look_is_right(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres(17)
    with observing(server.address()) as observer:
        assert observer.look().primary.reachable
        server.stop("immediate")
        assert observer.look().primary.reason == "ConnectionRefused"
        server.start()
        assert observer.look().primary.reachable
        # Nobody looked while it was gone: the kept connection is dead, and nobody has noticed.
        server.stop("immediate")
        server.start()
        assert observer.look().primary.reachable


def test_a_new_password_is_picked_up_without_a_restart(postgres: PostgresServer, monitor_role: str) -> None:
    address = postgres.address(user=monitor_role, password=PASSWORD)
    with observing(address) as observer:
        assert observer.look().primary.reachable
        with postgres.connect() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD 'rotated'").format(sql.Identifier(monitor_role)))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (monitor_role,)
            )
        assert observer.look().primary.reason == "PasswordRejected"
        Path(address.password_file).write_text("rotated")
        assert observer.look().primary.reachable


def test_a_standby_is_told_as_one_and_its_promotion_is_seen(
    new_postgres: Callable[..., PostgresServer], new_standby: Callable[..., PostgresServer]
) -> None:
    primary = new_postgres(17)
    standby = new_standby(primary)
    with observing(primary.address(), [standby.address()]) as observer:
        seen = observer.look()
        assert [replica.in_recovery for replica in seen.replicas] == [True]
        assert seen.replicas[0].system_identifier == seen.primary.system_identifier
        standby.promote()
        again = observer.look().replicas[0]
        assert (again.in_recovery, again.timeline) == (False, 2)


def test_silent_replicas_do_not_add_up(postgres: PostgresServer) -> None:
    with silent_server() as port:
        silent = postgres.address().model_copy(update={"port": port})
        before = datetime.now(UTC)
        seen = look(postgres.address(), [silent] * 4)
        took = (seen.time - before).total_seconds()
    assert seen.primary.reachable
    assert [replica.reachable for replica in seen.replicas] == [False] * 4
    # One after the other they would take four times the time that a connection is waited for (10 s).
    assert took < 30


def test_tls_is_used_and_the_wrong_authority_is_told(
    new_postgres: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    server = new_postgres(17, tls=True)
    assert look(server.address()).primary.reachable
    other = new_postgres(17, tls=True)
    assert other.tls is not None
    stranger = server.address().model_copy(update={"ca_file": str(other.tls.authority)})
    assert look(stranger).primary.reason == "CertificateNotTrusted"


def test_slots_of_archivers_are_seen_and_no_others(postgres: PostgresServer, monitor_role: str) -> None:
    mine, other = slot_name(monitor_role), f"other_{monitor_role.lower()}"[:60]
    with postgres.connect() as connection:
        for name in (mine, other):
            connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (name,))
        try:
            seen = look(postgres.address(user=monitor_role, password=PASSWORD))
            assert [(each.name, each.active) for each in seen.primary.slots if each.name in (mine, other)] == [
                (mine, False)
            ]
            connection.execute(
                "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)) FROM generate_series(1, 9)"
            )
            connection.execute("SELECT pg_switch_wal()")
            (kept,) = [
                each.kept_bytes
                for each in look(postgres.address(user=monitor_role, password=PASSWORD)).primary.slots
                if each.name == mine
            ]
            assert kept >= 8 << 20
            assert kept.bit_count() == 1
        finally:
            for name in (mine, other):
                connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
