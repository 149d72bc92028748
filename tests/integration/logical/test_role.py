"""docs/sql/logical-backup-role.sql is enough for a dump of everything but large objects and protected rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgwarden.jobs.files import StoreLocation
from tests.support.backups import take_backup
from tests.support.logical import logical_task, run_logical, take_logical
from tests.support.postgres import PostgresServer
from tests.support.roles import PASSWORD, role_of_script, run_role_script


def test_the_script_makes_a_role_that_may_dump_everything(
    shop: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    address = role_of_script(shop, "logical-backup", f"dumps {tmp_path.name}")
    result = run_logical(logical_task(shop, claim, tmp_path, database=address))
    assert (result.reason, result.retryable) == ("DumpNotPermitted", False), result.message
    assert "large object" in result.message
    assert "logical-backup-role.sql" in result.remedy
    shop.execute(f'GRANT SELECT ON LARGE OBJECT 4711 TO "dumps {tmp_path.name}"', database="shop")
    _, record = take_logical(logical_task(shop, claim, tmp_path, database=address))
    assert [dump.name for dump in record.databases] == ['The "analytics"', "postgres", "shop"]
    assert all(dump.size_bytes for dump in record.databases)
    assert record.globals is not None


@pytest.mark.parametrize("order", [("backup", "logical-backup"), ("logical-backup", "backup")], ids="-then-".join)
def test_both_scripts_make_one_role_for_backups_and_dumps_in_any_order_and_again(
    shop: PostgresServer, claim: StoreLocation, tmp_path: Path, order: tuple[str, str]
) -> None:
    role = f"does both {tmp_path.name}"
    for script in (*order, *order):
        run_role_script(shop, script, role)
    address = role_of_script(shop, order[0], role)
    _, physical = take_backup(address, claim)
    assert physical.server.hba.readable
    assert physical.server.data_directory == str(shop.data)
    shop.execute(f'GRANT SELECT ON LARGE OBJECT 4711 TO "{role}"', database="shop")
    _, dumped = take_logical(logical_task(shop, claim, tmp_path, database=address))
    assert [dump.name for dump in dumped.databases] == ['The "analytics"', "postgres", "shop"]


def test_two_roles_keep_to_what_each_is_for(shop: PostgresServer, tmp_path: Path) -> None:
    backs_up, dumps = f"backs up {tmp_path.name}", f"dumps only {tmp_path.name}"
    for _ in range(2):
        run_role_script(shop, "backup", backs_up)
        run_role_script(shop, "logical-backup", dumps)
    with shop.connect() as connection:
        rights = connection.execute(
            "SELECT rolreplication, pg_has_role(oid, 'pg_read_all_data', 'USAGE') FROM pg_roles"
            " WHERE rolname = ANY(%s) ORDER BY rolname",
            [[backs_up, dumps]],
        ).fetchall()
    assert rights == [(True, False), (False, True)]


def test_hashes_of_passwords_are_not_for_everybody(shop: PostgresServer, claim: StoreLocation, tmp_path: Path) -> None:
    address = shop.address(user=shop.create_role(password=PASSWORD), password=PASSWORD)
    chosen = {"databases": {"include": ["postgres"]}, "password_hashes": True}
    result = run_logical(logical_task(shop, claim, tmp_path, database=address, **chosen))
    assert (result.reason, result.retryable) == ("PasswordHashesNotPermitted", False), result.message
    _, record = take_logical(logical_task(shop, claim, tmp_path, **chosen))
    assert record.password_hashes
