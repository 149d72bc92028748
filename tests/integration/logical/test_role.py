"""docs/sql/logical-backup-role.sql is enough for a dump of everything but large objects and protected rows."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql

from pgwarden.jobs.files import DatabaseAddress, StoreLocation
from tests.support.logical import logical_task, run_logical, take_logical
from tests.support.postgres import PostgresServer

SCRIPT = Path(__file__).parents[3] / "docs" / "sql" / "logical-backup-role.sql"
PASSWORD = "for this test"


def made_by_the_script(server: PostgresServer, name: str) -> DatabaseAddress:
    """A new role's address."""
    copy = server.folder / "logical-backup-role.sql"
    copy.write_text(SCRIPT.read_text())
    arguments = ["-v", "ON_ERROR_STOP=1", "-v", f"role={name}", "-f", str(copy)]
    server.tool("psql", *arguments, environment=server.environment())
    with server.connect() as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(PASSWORD)))
    return server.address(user=name, password=PASSWORD)


def test_the_script_makes_a_role_that_may_dump_everything(
    shop: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    address = made_by_the_script(shop, f"dumps {tmp_path.name}")
    result = run_logical(logical_task(shop, claim, tmp_path, database=address))
    assert (result.reason, result.retryable) == ("DumpNotPermitted", False), result.message
    assert "large object" in result.message
    assert "logical-backup-role.sql" in result.remedy
    shop.execute(f'GRANT SELECT ON LARGE OBJECT 4711 TO "dumps {tmp_path.name}"', database="shop")
    _, record = take_logical(logical_task(shop, claim, tmp_path, database=address))
    assert [dump.name for dump in record.databases] == ['The "analytics"', "postgres", "shop"]
    assert all(dump.size_bytes for dump in record.databases)
    assert record.globals is not None


def test_hashes_of_passwords_are_not_for_everybody(shop: PostgresServer, claim: StoreLocation, tmp_path: Path) -> None:
    address = shop.address(user=shop.create_role(password=PASSWORD), password=PASSWORD)
    chosen = {"databases": {"include": ["postgres"]}, "password_hashes": True}
    result = run_logical(logical_task(shop, claim, tmp_path, database=address, **chosen))
    assert (result.reason, result.retryable) == ("PasswordHashesNotPermitted", False), result.message
    _, record = take_logical(logical_task(shop, claim, tmp_path, **chosen))
    assert record.password_hashes
