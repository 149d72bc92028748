"""docs/sql/backup-role.sql is enough for a complete backup, and REPLICATION alone for one that restores."""

from __future__ import annotations

from pathlib import Path

from pgwarden.jobs.files import StoreLocation
from tests.integration.backups.conftest import DIGEST
from tests.support.backups import backup_task, download, restored_by_hand, run_backup, take_backup
from tests.support.postgres import PostgresServer
from tests.support.roles import PASSWORD, role_of_script


def test_the_script_makes_a_role_that_sees_all_that_a_record_holds(
    loaded: tuple[PostgresServer, str], claim: StoreLocation, tmp_path: Path
) -> None:
    server, database = loaded
    address = role_of_script(server, "backup", f"backs up {tmp_path.name}")
    before = server.query(DIGEST, database)
    report, record = take_backup(address, claim)
    assert record.server.hba.readable
    assert record.server.hba.rules
    assert record.server.ident.readable
    assert record.server.data_directory == str(server.data)
    assert all(found.size_bytes for found in record.server.databases)
    with restored_by_hand(record, download(claim, report.location, tmp_path / "files"), server.major) as restored:
        assert restored.query(DIGEST, database) == before


def test_replication_alone_is_enough_and_the_record_says_what_it_could_not_see(
    loaded: tuple[PostgresServer, str], claim: StoreLocation, tmp_path: Path
) -> None:
    server, database = loaded
    role = server.create_role(password=PASSWORD, options="REPLICATION")
    before = server.query(DIGEST, database)
    report, record = take_backup(server.address(user=role, password=PASSWORD), claim)
    assert not record.server.hba.readable
    assert "permission denied" in record.server.hba.why_not
    assert "backup-role.sql" in record.server.hba.why_not
    assert record.server.data_directory is None
    with restored_by_hand(record, download(claim, report.location, tmp_path / "files"), server.major) as restored:
        assert restored.query(DIGEST, database) == before


def test_a_role_without_replication_is_told_what_it_lacks(
    loaded: tuple[PostgresServer, str], claim: StoreLocation
) -> None:
    server, _ = loaded
    role = server.create_role(password=PASSWORD)
    result = run_backup(backup_task(server.address(user=role, password=PASSWORD), claim))
    assert result.reason == "ReplicationNotPermitted"
    assert "backup-role.sql" in result.remedy


def test_no_secret_of_the_settings_gets_into_the_record(
    loaded: tuple[PostgresServer, str], claim: StoreLocation
) -> None:
    server, _ = loaded
    secret = "hunter2-in-a-setting"
    with server.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET primary_conninfo = 'password={secret}'")
        connection.execute(f"ALTER SYSTEM SET restore_command = 'fetch --key {secret}'")
    server.reload()
    try:
        _, record = take_backup(server.address(), claim)
    finally:
        server.execute("ALTER SYSTEM RESET primary_conninfo", "ALTER SYSTEM RESET restore_command")
        server.reload()
    values = {setting.name: setting.value for setting in record.server.settings}
    assert {"primary_conninfo", "restore_command"} <= values.keys()
    assert secret not in record.to_bytes().decode()
