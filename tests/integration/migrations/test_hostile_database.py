"""Databases where somebody has prepared something for us: planted functions, squatted names, odd settings and roles."""

from __future__ import annotations

import pytest
from psycopg import sql

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.task import Outcome
from pgwarden.migrations import history
from pgwarden.postgres.session import open_address
from tests.support.migrations import Sources, report_of, run_migrations
from tests.support.postgres import PostgresServer

TRAPS = """
    CREATE TABLE public.sprung (what text);
    CREATE FUNCTION public.pg_try_advisory_lock(int, int) RETURNS bool LANGUAGE sql AS
        $$ INSERT INTO public.sprung VALUES ('lock'); SELECT true $$;
    CREATE FUNCTION public.pg_try_advisory_lock(bigint, bigint) RETURNS bool LANGUAGE sql AS
        $$ INSERT INTO public.sprung VALUES ('lock'); SELECT true $$;
    CREATE FUNCTION public.pg_try_advisory_lock(smallint, smallint) RETURNS bool LANGUAGE sql AS
        $$ INSERT INTO public.sprung VALUES ('lock'); SELECT true $$;
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
        $$ INSERT INTO public.sprung VALUES ('clock'); SELECT pg_catalog.clock_timestamp() $$;
    CREATE FUNCTION public.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS
        $$ INSERT INTO public.sprung VALUES ('recovery'); SELECT true $$;
    CREATE FUNCTION public.trap(numeric, smallint) RETURNS bool LANGUAGE sql AS
        $$ INSERT INTO public.sprung VALUES ('operator'); SELECT true $$;
    CREATE OPERATOR public.= (LEFTARG = numeric, RIGHTARG = smallint, FUNCTION = public.trap);
    CREATE OPERATOR public.> (LEFTARG = numeric, RIGHTARG = smallint, FUNCTION = public.trap);
    CREATE TABLE public.pg_locks (pid int);
    CREATE TABLE public.pg_namespace (oid oid, nspname name, nspowner oid);
    CREATE TABLE public.migrations (version numeric);
"""


def make_traps(postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as connection:
        connection.execute(TRAPS)


def test_functions_and_operators_planted_in_public_are_not_run_by_our_queries(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    make_traps(postgres, database)
    with postgres.connect(database) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET search_path = public, pg_catalog").format(sql.Identifier(database))
        )
        # The trap works: a session with this search_path falls into it.
    with postgres.connect(database) as connection:
        connection.execute("SELECT clock_timestamp()")
        assert connection.execute("SELECT what FROM public.sprung").fetchall() == [("clock",)]
        connection.execute("DELETE FROM public.sprung")

    sources.write("1_a.up.sql", "CREATE TABLE a ();")
    sources.write("1_a.down.sql", "DROP TABLE a;")
    sources.write("2_bad.up.sql", "SELECT 1/0")
    address = postgres.address(database)
    assert run_migrations(address, sources).reason == "MigrationFailed"
    sources.write("2_bad.up.sql", "SELECT 1")
    assert run_migrations(address, sources).reason == "Migrated"
    assert run_migrations(address, sources, target_version="1", allow_down=True).reason == "IrreversibleMigration"
    sources.write("2_bad.down.sql", "SELECT 1")
    assert run_migrations(address, sources, target_version="0", allow_down=True).reason == "Reverted"
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT what FROM public.sprung").fetchall() == []


def test_what_a_file_leaves_in_the_session_reaches_neither_our_queries_nor_the_next_file(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    role = postgres.create_role(options="SUPERUSER")
    sources.write(
        "1_litter.up.sql",
        "CREATE SCHEMA pit; CREATE TABLE pit.t (); SET search_path = pit, pg_catalog; SET statement_timeout = '1h';"
        "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; SET standard_conforming_strings = off;"
        "CREATE TEMP TABLE pg_namespace (nspname name); CREATE TEMP TABLE left_over ();"
        f"PREPARE p AS SELECT 1; SET ROLE {role}; SET client_encoding = 'LATIN1'; LISTEN c;",
    )
    sources.write(
        "2_clean.up.sql",
        "CREATE TABLE clean AS SELECT current_setting('search_path') AS path,"
        " current_setting('statement_timeout') AS timeout,"
        " current_setting('TimeZone') AS zone, current_user::text AS role, current_setting('client_encoding') AS e,"
        " to_regclass('left_over')::text AS temporary, (SELECT count(*) FROM pg_prepared_statements) AS prepared,"
        " 'ä€' AS text",
    )
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == "Migrated", result.message
    with postgres.connect(database) as connection:
        row = connection.execute("SELECT * FROM public.clean").fetchone()
        zone = connection.execute("SHOW TimeZone").fetchone()
    assert zone
    assert row == ('"$user", public', "0", zone[0], "postgres", "UTF8", None, 0, "ä€")


def test_a_file_runs_with_the_search_path_of_database_and_role_and_in_the_role_asked_for(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    login = postgres.create_role(password="secret")
    owner = postgres.create_role('od"d; DROP ROLE postgres; --' + database)
    with postgres.connect(database) as connection:
        names = {"login": sql.Identifier(login), "owner": sql.Identifier(owner), "database": sql.Identifier(database)}
        for statement in (
            "GRANT {owner} TO {login}",
            "GRANT CREATE ON DATABASE {database} TO {login}",
            'CREATE SCHEMA "a p,p" AUTHORIZATION {owner}',
            'ALTER ROLE {login} IN DATABASE {database} SET search_path = "a p,p"',
            "ALTER DATABASE {database} SET search_path = nowhere",
        ):
            connection.execute(sql.SQL(statement).format(**names))
    sources.write("1_a.up.sql", "CREATE TABLE placed AS SELECT current_user::text AS who")
    result = run_migrations(postgres.address(database, user=login, password="secret"), sources, role=owner)
    assert result.reason == "Migrated", result.message
    with postgres.connect(database) as connection:
        assert connection.execute('SELECT who FROM "a p,p".placed').fetchone() == (owner,)
        assert connection.execute("SELECT tableowner FROM pg_tables WHERE schemaname = 'pgwarden'").fetchone() == (
            login,
        )
        connection.execute(sql.SQL("DROP OWNED BY {}, {}").format(sql.Identifier(login), sql.Identifier(owner)))


def test_a_role_that_does_not_exist_fails_with_its_name(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    result = run_migrations(postgres.address(database), sources, role="no such; role")
    assert result.outcome is Outcome.FAILED
    assert 'role "no such; role" does not exist' in result.message


@pytest.mark.parametrize("prepared", ["schema", "table"])
def test_a_history_that_a_stranger_prepared_is_not_written_to(
    postgres: PostgresServer, database: str, sources: Sources, prepared: str
) -> None:
    stranger = postgres.create_role()
    with postgres.connect(database) as connection:
        owner = sql.Identifier(stranger)
        connection.execute("CREATE TABLE robbed (who text)")
        connection.execute("GRANT INSERT ON robbed TO PUBLIC")
        if prepared == "schema":
            connection.execute(sql.SQL("CREATE SCHEMA pgwarden AUTHORIZATION {}").format(owner))
        else:
            connection.execute("CREATE SCHEMA pgwarden")
            connection.execute(history.CREATE_TABLE)
            connection.execute(
                "CREATE FUNCTION pgwarden.rob() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN INSERT INTO public.robbed VALUES (current_user); RETURN NEW; END $$"
            )
            connection.execute(
                "CREATE TRIGGER rob BEFORE INSERT ON pgwarden.migrations FOR EACH ROW EXECUTE FUNCTION pgwarden.rob()"
            )
            connection.execute(sql.SQL("ALTER TABLE pgwarden.migrations OWNER TO {}").format(owner))
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == "HistoryNotTrusted"
    assert stranger in result.message and stranger in result.remedy
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM robbed").fetchone() == (0,)
        assert connection.execute("SELECT to_regclass('a')").fetchone() == (None,)
        connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(owner))


def test_a_view_in_the_place_of_the_history_is_not_even_read(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    postgres.execute(
        "CREATE SCHEMA pgwarden", "CREATE VIEW pgwarden.migrations AS SELECT 1/0 AS version", database=database
    )
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    result = run_migrations(postgres.address(database), sources)
    assert result.reason == "HistoryNotTrusted"
    assert "not a table" in result.message


def test_a_superuser_may_look_at_the_history_of_another_role_but_is_told_not_to_write_to_it(
    postgres: PostgresServer, sources: Sources
) -> None:
    owner = postgres.create_role(password="secret")
    database = postgres.create_database(owner=owner)
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    assert run_migrations(postgres.address(database, user=owner, password="secret"), sources).reason == "Migrated"
    looked = run_migrations(postgres.address(database), sources)
    assert (looked.reason, report_of(looked).current_version) == ("UpToDate", "1")
    sources.write("2_b.up.sql", "CREATE TABLE b ()")
    refused = run_migrations(postgres.address(database), sources)
    assert refused.reason == "HistoryNotTrusted"
    assert f"Migrate as {owner}" in refused.remedy
    assert run_migrations(postgres.address(database, user=owner, password="secret"), sources).reason == "Migrated"


def test_a_history_that_somebody_locks_is_not_waited_for_without_end(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    run_migrations(postgres.address(database), sources)
    sources.write("2_b.up.sql", "CREATE TABLE b ()")
    with postgres.connect(database) as connection, connection.transaction():
        connection.execute("LOCK TABLE pgwarden.migrations IN EXCLUSIVE MODE")
        result = run_migrations(postgres.address(database), sources, lock_timeout_ms=300)
    assert (result.reason, result.retryable) == ("LockTimeout", True)
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT to_regclass('b')").fetchone() == (None,)


def test_a_history_that_cannot_be_read_for_a_lock_is_told_apart(
    postgres: PostgresServer, database: str, sources: Sources
) -> None:
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    run_migrations(postgres.address(database), sources)
    with postgres.connect(database) as connection, connection.transaction():
        connection.execute("LOCK TABLE pgwarden.migrations IN ACCESS EXCLUSIVE MODE")
        result = run_migrations(postgres.address(database), sources)
    assert (result.reason, result.retryable) == ("HistoryLocked", True)


def test_row_security_on_the_history_hides_no_rows_from_us(postgres: PostgresServer, sources: Sources) -> None:
    owner = postgres.create_role(password="secret")
    database = postgres.create_database(owner=owner)
    sources.write("1_a.up.sql", "CREATE TABLE a ()")
    address = postgres.address(database, user=owner, password="secret")
    run_migrations(address, sources)
    postgres.execute(
        "ALTER TABLE pgwarden.migrations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", database=database
    )
    with open_address(address) as session, pytest.raises(TaskError) as caught:
        history.read(session, history.look_up(session))
    assert caught.value.reason == "HistoryUnreadable"
    assert "row-level security" in caught.value.message
