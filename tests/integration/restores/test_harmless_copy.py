"""The copy reaches nothing of the original's, and nothing that the original's users planted is run by pgwarden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.contract import SQLCheck
from tests.support.postgres import PostgresServer, owned_folder, wait_until
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import store_backup

from .conftest import Restore, findings

NewPostgres = Callable[..., PostgresServer]


def test_a_restored_subscriber_leaves_the_publishers_stream_alone(
    major: int, new_postgres: NewPostgres, restore: Restore
) -> None:
    publisher, subscriber = new_postgres(major), new_postgres(major)
    publisher.execute("CREATE TABLE orders (id int PRIMARY KEY)", "CREATE PUBLICATION all_orders FOR TABLE orders")
    subscriber.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    with subscriber.connect() as connection:
        connection.execute(
            f"CREATE SUBSCRIPTION from_shop CONNECTION 'host=127.0.0.1 port={publisher.port} user=postgres "
            "password=''superuser, for tests only''' PUBLICATION all_orders"
        )
    publisher.execute("INSERT INTO orders VALUES (1)")
    wait_until(lambda: subscriber.query("SELECT count(*) FROM orders") == 1, "the subscription does not work")
    pod = restore(subscriber)
    assert "database postgres: subscription disabled, its slot left to the original: from_shop" in findings(pod)
    with pod.instance() as copy:
        assert copy.query("SELECT subenabled FROM pg_subscription") is False
        publisher.execute("INSERT INTO orders VALUES (2)")
        wait_until(lambda: subscriber.query("SELECT count(*) FROM orders") == 2, "the real subscriber lost rows")
        assert copy.query("SELECT count(*) FROM orders") == 1
        copy.execute("DROP SUBSCRIPTION from_shop")
        assert publisher.query("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'from_shop'") == 1
        assert "apply worker" not in copy.log
    assert "apply worker" not in pod.server_log


def test_a_backup_of_a_standby_becomes_an_instance_of_its_own(
    major: int, new_postgres: NewPostgres, new_standby: Callable[..., PostgresServer], restore: Restore
) -> None:
    primary = new_postgres(major)
    primary.execute("CREATE TABLE kept AS SELECT 1 AS id")
    standby = new_standby(primary)
    pod = restore(standby)
    assert (pod.paths.original / "standby.signal").exists()
    assert "primary_conninfo" in (pod.paths.original / "postgresql.auto.conf").read_text()
    with pod.instance() as copy:
        assert copy.query("SELECT pg_is_in_recovery()") is False
        assert copy.query("SELECT count(*) FROM kept") == 1
        assert copy.query("SELECT count(*) FROM pg_stat_wal_receiver") == 0
        assert copy.query("SELECT current_setting('primary_conninfo')") == ""
    assert primary.query("SELECT count(*) FROM pg_stat_replication") == 1, "the real standby, and nobody else"


def test_the_originals_archive_gets_nothing_from_the_copy(
    major: int, new_postgres: NewPostgres, restore: Restore
) -> None:
    original = new_postgres(major)
    archive = original.folder / "s" / "archive"
    original.configure({"archive_mode": "on", "archive_command": f"cp %p {archive}-%f"})
    # ALTER SYSTEM writes postgresql.auto.conf, which wins over a configuration file named at start.
    original.restart()
    original.execute("ALTER SYSTEM SET archive_timeout = '1s'", "ALTER SYSTEM SET session_preload_libraries = 'spy'")
    pod = restore(original)
    original.stop()
    before = sorted(archive.parent.glob("archive-*"))
    with pod.instance() as copy:
        assert copy.query("SELECT current_setting('archive_mode')") == "off"
        copy.execute("SELECT pg_switch_wal()", "CHECKPOINT")
        assert copy.query("SELECT archived_count FROM pg_stat_archiver") == 0
    assert sorted(archive.parent.glob("archive-*")) == before
    assert "archive_mode" in (pod.paths.pgdata / "postgresql.conf").read_text(), "named as not taken over"


def test_slots_are_not_carried_and_prepared_transactions_and_foreign_servers_are_named(
    major: int, new_postgres: NewPostgres, restore: Restore
) -> None:
    original = new_postgres(major, settings={"max_prepared_transactions": "5"})
    original.execute(
        "SELECT pg_create_physical_replication_slot('kept_for_a_standby', true)",
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER warehouse FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1')",
        "CREATE TABLE t (id int)",
    )
    with original.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("PREPARE TRANSACTION 'half done'")
    pod = restore(original)
    assert "prepared transaction half done in postgres" in findings(pod)
    assert "database postgres: foreign server, as on the original: warehouse" in findings(pod)
    with pod.instance() as copy:
        assert copy.query("SELECT count(*) FROM pg_replication_slots") == 0
        assert copy.query("SELECT gid FROM pg_prepared_xacts") == "half done"
        copy.execute("COMMIT PREPARED 'half done'")
        assert copy.query("SELECT count(*) FROM t") == 1


def test_an_invalid_index_is_named(major: int, new_postgres: NewPostgres, restore: Restore) -> None:
    original = new_postgres(major)
    original.execute("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        original.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (id)")
    assert "database postgres: invalid index, as on the original: public.broken" in findings(restore(original))


def test_settings_are_taken_over_and_libraries_only_when_they_are_inert(
    major: int, new_postgres: NewPostgres, restore: Restore
) -> None:
    original = new_postgres(
        major,
        settings={
            "work_mem": "7MB",
            "shared_preload_libraries": "pg_stat_statements, pg_prewarm",
            "pg_stat_statements.max": "1234",
            "max_connections": "77",
            "synchronous_standby_names": "",
            "max_replication_slots": "33",
        },
    )
    original.execute("ALTER SYSTEM SET statement_timeout = '47s'")
    original.reload()
    pod = restore(original)
    assert "shared_preload_libraries" not in pod.server_log
    with pod.instance() as copy:
        for name, value in {
            "work_mem": "7MB",
            "statement_timeout": "47s",
            "shared_preload_libraries": "pg_stat_statements",
            "pg_stat_statements.max": "1234",
            "max_connections": "77",
            "max_replication_slots": "33",
        }.items():
            with copy.connect() as connection:
                row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            assert row == (value,), name


def test_synchronous_standbys_of_the_original_hold_up_no_commit(
    major: int, new_postgres: NewPostgres, restore: Restore
) -> None:
    original = new_postgres(major)
    original.execute("CREATE TABLE t (id int)")
    with original.connect() as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
    pod = restore(original)
    with pod.instance() as copy:
        copy.execute("SET statement_timeout = '10s'", "INSERT INTO t VALUES (1)")
        assert copy.query("SELECT count(*) FROM t") == 1


def test_what_users_planted_is_never_run_as_superuser(major: int, new_postgres: NewPostgres, restore: Restore) -> None:
    """Functions in the place of those pgwarden calls, and one that a check calls, each trying to become superuser."""
    original = new_postgres(major)
    mallory = original.create_role("mallory", options="CREATEROLE")
    original.execute("CREATE DATABASE shop OWNER mallory")
    with original.connect("shop", user=mallory, password="secret") as connection:
        connection.execute("CREATE SCHEMA evil AUTHORIZATION mallory")
        connection.execute("GRANT USAGE ON SCHEMA evil TO PUBLIC")
        connection.execute(
            "CREATE FUNCTION evil.grab() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
            "BEGIN RESET SESSION AUTHORIZATION; EXCEPTION WHEN OTHERS THEN NULL; END; "
            "BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END; "
            "BEGIN SET transaction_read_only = off; EXCEPTION WHEN OTHERS THEN NULL; END; "
            "BEGIN ALTER ROLE mallory SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END; "
            "BEGIN COPY (SELECT 1) TO PROGRAM 'touch /tmp/mallory-was-here'; EXCEPTION WHEN OTHERS THEN NULL; END; "
            "RETURN 1; END $$"
        )
        for signature in ("pg_is_in_recovery()", "current_database()", "pg_walfile_name(pg_lsn)", "format(text)"):
            connection.execute(
                f"CREATE FUNCTION evil.{signature} RETURNS bool LANGUAGE sql AS 'SELECT evil.grab() = 0'"
            )
        connection.execute(
            "CREATE FUNCTION evil.same(name, name) RETURNS bool LANGUAGE sql AS 'SELECT evil.grab() = 1'"
        )
        connection.execute("CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same)")
        connection.execute("CREATE TABLE pg_subscription (subname name, subdbid oid)")
        connection.execute("CREATE VIEW orders AS SELECT evil.grab() AS id")
        connection.execute("ALTER DATABASE shop SET search_path = evil, public, pg_catalog")
    checks = [SQLCheck(name="orders", database="shop", query="SELECT count(*) FROM public.orders", expect="1")]
    pod = restore(original, checks=checks)
    with pod.instance() as copy:
        assert copy.query("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'mallory'") is False
        assert copy.query("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'pgwarden%'") == 0
    assert not Path("/tmp/mallory-was-here").exists()


def test_checks_see_all_rows_and_find_tables_as_the_application_does(
    major: int, new_postgres: NewPostgres, restore: Restore
) -> None:
    original = new_postgres(major)
    original.execute("CREATE DATABASE shop", "REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
    original.execute(
        "CREATE SCHEMA app",
        "CREATE TABLE app.orders (id int)",
        "INSERT INTO app.orders VALUES (1), (2)",
        "ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY",
        "ALTER DATABASE shop SET search_path = app",
        "ALTER DATABASE shop SET default_transaction_read_only = on",
        database="shop",
    )
    checks = [SQLCheck(name="orders", database="shop", query="SELECT count(*) FROM orders", expect="2")]
    pod = restore(original, checks=checks)
    with pod.instance() as copy:
        grants = copy.query("SELECT count(*) FROM pg_shdepend WHERE refobjid::regrole::text LIKE '%pgwarden%'")
        assert grants == 0


def test_a_superuser_of_another_name_with_settings_of_its_own_is_found(
    major: int, new_postgres: NewPostgres, own_store: StoreLocation, volume: Path
) -> None:
    original = new_postgres(major)
    original.execute("CREATE ROLE other_admin SUPERUSER LOGIN PASSWORD 'secret'", "CREATE TABLE kept AS SELECT 7 AS id")
    with original.connect(user="other_admin", password="secret") as connection:
        connection.execute("ALTER ROLE postgres RENAME TO root_of_all")
        connection.execute("ALTER ROLE root_of_all SET default_transaction_read_only = on")
        connection.execute("ALTER ROLE root_of_all SET statement_timeout = '1ms'")
        connection.execute("ALTER ROLE root_of_all SET session_preload_libraries = 'not_there'")
        connection.execute("CREATE ROLE postgres SUPERUSER REPLICATION LOGIN PASSWORD 'superuser, for tests only'")
    location = store_backup(original, own_store)
    password_file = owned_folder(volume.parent / "secret") / "password"
    password_file.write_text("new")
    password_file.chmod(0o644)
    pod = RestorePod(major, volume, own_store, location, password_file=password_file)
    try:
        _, recovered, _ = pod.run()
        assert (recovered.reason, recovered.report["superuser"]) == ("Recovered", "root_of_all"), recovered
    finally:
        pod.destroy()
