"""Roles made by the scripts of docs/sql, as a person runs them."""

from __future__ import annotations

from psycopg import sql

from pgwarden.jobs.files import DatabaseAddress
from tests.support.cluster import ROOT
from tests.support.postgres import PostgresServer

PASSWORD = "a password that stands in no log"


def run_role_script(server: PostgresServer, script: str, role: str, **variables: str) -> None:
    """Runs `docs/sql/<script>-role.sql` with psql, with its variables set as its first lines say; in `database` where
    it has that variable."""
    copy = server.folder / f"{script}-role.sql"
    copy.write_text((ROOT / "docs/sql" / copy.name).read_text())
    assigned = [f"{name}={value}" for name, value in {"ON_ERROR_STOP": "1", "role": role, **variables}.items()]
    arguments = [argument for each in assigned for argument in ("-v", each)]
    environment = server.environment(variables.get("database", "postgres"))
    server.tool("psql", *arguments, "-f", copy, environment=environment)


def role_of_script(server: PostgresServer, script: str, role: str, **variables: str) -> DatabaseAddress:
    """The same, and a password: the address of that database with the role."""
    run_role_script(server, script, role, **variables)
    with server.connect() as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD)))
    return server.address(variables.get("database", "postgres"), user=role, password=PASSWORD)
