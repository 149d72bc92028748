"""The test servers do what the tests that lean on them expect."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.support.postgres import SUPERUSER, SUPERUSER_PASSWORD, PostgresServer


def test_a_server_of_each_major_answers(postgres: PostgresServer, major: int, database: str) -> None:
    assert str(postgres.query("SHOW server_version", database)).startswith(f"{major}.")


def test_each_server_has_its_own_system_identifier(postgres17: PostgresServer, postgres18: PostgresServer) -> None:
    assert postgres17.system_identifier != postgres18.system_identifier


def test_a_standby_follows_and_can_be_promoted(
    postgres: PostgresServer, new_standby: Callable[..., PostgresServer], database: str
) -> None:
    postgres.execute("CREATE TABLE t AS SELECT 1 AS i", database=database)
    standby = new_standby(postgres)
    assert standby.query("SELECT pg_is_in_recovery()") is True
    assert standby.query("SELECT i FROM t", database) == 1
    standby.promote()
    assert standby.query("SELECT pg_is_in_recovery()") is False


def test_tls_server_refuses_an_authority_it_was_not_signed_by(new_postgres: Callable[..., PostgresServer]) -> None:
    server, other = new_postgres(17, tls=True), new_postgres(17, tls=True)
    assert server.tls and other.tls
    address = f"host=127.0.0.1 port={server.port} user={SUPERUSER} password='{SUPERUSER_PASSWORD}' sslmode=verify-full"
    psycopg.connect(address, sslrootcert=str(server.tls.authority)).close()
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(address, sslrootcert=str(other.tls.authority))


def test_a_killed_server_starts_again(new_postgres: Callable[..., PostgresServer], major: int) -> None:
    server = new_postgres(major)
    server.execute("CREATE TABLE t AS SELECT 1 AS i")
    server.kill()
    server.start()
    assert server.query("SELECT i FROM t") == 1
