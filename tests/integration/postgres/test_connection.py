"""Connections are as the module promises, and each way they fail has its own reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import connect, connect_for_replication, server_version
from tests.support.postgres import HBA, HBA_TLS_ONLY, PostgresServer, free_port, scalar, wait_until


def failure(address: DatabaseAddress, *, replication: bool = False) -> TaskError:
    with pytest.raises(TaskError) as caught:
        if replication:
            connect_for_replication(address, "test").finish()
        else:
            connect(address, "test").close()
    assert caught.value.remedy
    return caught.value


def test_search_path_is_pinned_before_the_first_query_even_against_the_roles_own(postgres: PostgresServer) -> None:
    role = postgres.create_role()
    postgres.execute("CREATE SCHEMA IF NOT EXISTS planted")
    with postgres.connect() as connection:
        connection.execute(f"ALTER ROLE {role} SET search_path = planted, public")
    with connect(postgres.address(user=role, password="secret"), "test") as connection:
        assert scalar(connection, "SHOW search_path") == "pg_catalog,pg_temp"


def test_a_connection_tells_who_it_is_and_that_it_watches_its_client(postgres: PostgresServer, major: int) -> None:
    with connect(postgres.address(), "backup", settings={"lock_timeout": "1 s", "work_mem": "77MB"}) as connection:
        assert scalar(connection, "SHOW application_name") == "pgwarden/backup"
        assert scalar(connection, "SHOW client_connection_check_interval") == "500ms"
        assert scalar(connection, "SHOW lock_timeout") == "1s"
        assert scalar(connection, "SHOW work_mem") == "77MB"
        assert server_version(connection).startswith(f"{major}.")


def test_a_password_of_every_kind_of_character_is_sent_as_it_is(postgres: PostgresServer) -> None:
    password = "a'b\\c d\"e=$(X)$$ ü"
    role = postgres.create_role(password=password)
    with connect(postgres.address(user=role, password=password + "\n"), "test") as connection:
        assert scalar(connection, "SELECT current_user") == role


def test_the_backend_of_a_client_that_vanished_ends_and_frees_its_locks(postgres: PostgresServer) -> None:
    connection = connect(postgres.address(), "vanishing")
    pid = connection.info.backend_pid
    connection.execute("SELECT pg_advisory_lock(4711)")
    connection.pgconn.send_query(b"SELECT pg_sleep(600)")
    # The kernel tells the server that the peer is gone, as it does when a process is killed.
    os.dup2(os.open("/dev/null", os.O_RDWR), connection.fileno())
    with postgres.connect() as watcher:

        def ended() -> bool:
            return watcher.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is None

        wait_until(ended, "the backend still runs", seconds=5)
        assert scalar(watcher, "SELECT pg_try_advisory_lock(4711)") is True
    connection.close()


def test_replication_connection_identifies_the_system(postgres: PostgresServer) -> None:
    connection = connect_for_replication(postgres.address(), "test")
    result = connection.exec_(b"IDENTIFY_SYSTEM")
    value = result.get_value(0, 0)
    connection.finish()
    assert value is not None and value.decode() == postgres.system_identifier


def test_missing_password_file_is_credentials_missing(postgres: PostgresServer, tmp_path: Path) -> None:
    address = postgres.address().model_copy(update={"password_file": str(tmp_path / "password")})
    error = failure(address)
    assert error.reason == "CredentialsMissing"
    assert "key named password" in error.remedy


def test_empty_password_file_is_credentials_missing(postgres: PostgresServer) -> None:
    assert failure(postgres.address(password="\n")).reason == "CredentialsMissing"


def test_unknown_host(postgres: PostgresServer) -> None:
    assert failure(postgres.address(host="no-such-host.invalid")).reason == "HostNotFound"


def test_closed_port(postgres: PostgresServer) -> None:
    assert failure(postgres.address().model_copy(update={"port": free_port()})).reason == "ConnectionRefused"


def test_port_that_never_answers_is_a_time_out(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgwarden.postgres.connection.CONNECT_TIMEOUT_SECONDS", 2)
    monkeypatch.setattr("pgwarden.postgres.failure.LAYER_TIMEOUT_SECONDS", 1.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fill = []
        for _ in range(4):  # the queue of connections nobody accepts is full after these
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            fill.append(client)
        error = failure(postgres.address().model_copy(update={"port": port}))
        for client in fill:
            client.close()
    assert error.reason == "ConnectionTimedOut"
    assert error.retryable


def test_wrong_password(postgres: PostgresServer) -> None:
    error = failure(postgres.address(password="not the password"))
    assert error.reason == "PasswordRejected"
    assert "not the password" not in error.message + error.remedy


def test_unknown_role_where_the_server_tells(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres(18, hba=HBA + "host all nobody_there 127.0.0.1/32 trust\n")
    server.write_hba("host all nobody_there 127.0.0.1/32 trust\n" + HBA)
    server.reload()
    assert failure(server.address(user="nobody_there")).reason == "RoleNotFound"


def test_role_without_login(postgres: PostgresServer) -> None:
    role = postgres.create_role()
    postgres.execute(f"ALTER ROLE {role} NOLOGIN")
    assert failure(postgres.address(user=role, password="secret")).reason == "LoginNotPermitted"


def test_unknown_database(postgres: PostgresServer) -> None:
    assert failure(postgres.address("no_such_database")).reason == "DatabaseNotFound"


def test_database_without_connect_privilege(postgres: PostgresServer, database: str) -> None:
    role = postgres.create_role()
    postgres.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    error = failure(postgres.address(database, user=role, password="secret"))
    assert error.reason == "ConnectNotPermitted"


def test_no_hba_rule_for_replication_names_the_line_to_add(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres(17, hba=HBA.replace("host    replication", "#"))
    error = failure(server.address(), replication=True)
    assert error.reason == "HBARejected"
    assert "host replication postgres" in error.remedy


def test_role_without_replication(postgres: PostgresServer) -> None:
    role = postgres.create_role()
    error = failure(postgres.address(user=role, password="secret"), replication=True)
    assert error.reason == "ReplicationNotPermitted"


def test_no_connection_slot_left(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres(18, settings={"max_connections": "5", "superuser_reserved_connections": "3"})
    server.execute("CREATE ROLE r LOGIN PASSWORD 'secret'")
    address = server.address(user="r", password="secret")
    held = [connect(address, "holder") for _ in range(2)]
    error = failure(address)
    for connection in held:
        connection.close()
    assert error.reason == "TooManyConnections"
    assert error.retryable


def test_server_without_tls(postgres: PostgresServer) -> None:
    assert failure(postgres.address(tls_mode="require")).reason == "TLSRefused"


def test_plain_connection_to_a_server_that_wants_tls(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres(17, tls=True)
    server.write_hba(HBA_TLS_ONLY)
    server.reload()
    connect(server.address(), "test").close()
    assert failure(server.address(tls_mode="disable")).reason == "HBARejected"


def test_certificate_of_another_authority(new_postgres: Callable[..., PostgresServer]) -> None:
    server, other = new_postgres(17, tls=True), new_postgres(17, tls=True)
    assert other.tls
    address = server.address().model_copy(update={"ca_file": str(other.tls.authority)})
    assert failure(address).reason == "CertificateNotTrusted"


def test_missing_ca_file(new_postgres: Callable[..., PostgresServer], tmp_path: Path) -> None:
    address = new_postgres(17, tls=True).address().model_copy(update={"ca_file": str(tmp_path / "ca.crt")})
    assert failure(address).reason == "CertificateNotTrusted"


def test_certificate_for_another_name(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres(17, tls=True, tls_names=("DNS:db.example",))
    assert failure(server.address()).reason == "CertificateNameMismatch"


def test_standby_that_is_still_starting(new_postgres: Callable[..., PostgresServer]) -> None:
    server = new_postgres(18)
    server.stop()
    # A recovery that waits for WAL that never comes is not consistent yet and takes no connections.
    server.configure({"restore_command": "sleep 1; false", "hot_standby": "off"})
    (server.data / "standby.signal").touch()
    server.start_without_waiting()
    wait_until(lambda: "entering standby mode" in server.log, server.log)
    error = failure(server.address())
    assert error.reason == "ServerStarting"
    assert error.retryable


def test_the_password_never_goes_in_clear_text_to_a_server_that_has_not_proved_itself(
    new_postgres: Callable[..., PostgresServer],
) -> None:
    server = new_postgres(17, tls=True)
    assert server.tls
    server.write_hba(HBA.replace("scram-sha-256", "password"))
    server.reload()
    error = failure(server.address(tls_mode="require"))
    assert error.reason == "CleartextPasswordRefused"
    assert "verify-full" in error.remedy
    proved = server.address(tls_mode="verify-full").model_copy(update={"ca_file": str(server.tls.authority)})
    connect(proved, "test").close()
