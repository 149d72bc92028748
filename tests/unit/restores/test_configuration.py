"""The configuration of a copy: it reaches nothing of the original's, and nothing of the original's reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.restores.configuration import (
    final_configuration,
    library_names,
    quoted,
    recovery_settings,
    restore_command,
    target_settings,
)
from pgwarden.restores.contract import Resolved, TargetPoint
from pgwarden.restores.paths import RestorePaths

from .records import CONTROL, record

PATHS = RestorePaths(Path("/pgwarden/data/pgdata"), Path("/pgwarden/scratch"), "uid")
# What a production server may have set and a copy must not have.
REACHING_OUT = {
    "archive_mode": "on",
    "archive_command": "cp %p /archive/%f",
    "archive_library": "basic_archive",
    "restore_command": "fetch %f %p",
    "primary_conninfo": "host=primary password=secret",
    "primary_slot_name": "standby_1",
    "synchronous_standby_names": "*",
    "listen_addresses": "10.0.0.1",
    "port": "6432",
    "ssl": "on",
    "ssl_cert_file": "/etc/ssl/server.crt",
    "hba_file": "/etc/postgresql/pg_hba.conf",
    "data_directory": "/var/lib/postgresql/18/main",
    "log_directory": "/var/log/postgresql",
    "logging_collector": "on",
    "fsync": "off",
    "full_page_writes": "off",
    "session_preload_libraries": "spy",
    "local_preload_libraries": "spy",
    "cluster_name": "production",
    "cron.database_name": "postgres",
    "jit_provider": "evil",
    "dynamic_library_path": "/tmp",
    "recovery_target_time": "2026-01-01",
    "huge_pages": "on",
}


def test_recovery_is_reached_over_one_socket_and_reaches_nothing() -> None:
    settings = recovery_settings(record(dict(REACHING_OUT)), CONTROL, PATHS)
    assert settings["listen_addresses"] == ""
    assert settings["unix_socket_directories"] == "/pgwarden/scratch/socket"
    for name in ("primary_conninfo", "primary_slot_name", "archive_command", "shared_preload_libraries"):
        assert settings[name] == ""
    assert (settings["archive_mode"], settings["max_logical_replication_workers"]) == ("off", "0")
    assert settings["hba_file"].startswith("/pgwarden/scratch/")
    assert not {"ssl_cert_file", "synchronous_standby_names", "fsync", "cron.database_name"} & {
        name for name, value in settings.items() if value
    }


def resolved(**point: object) -> Resolved:
    target = TargetPoint(**point)
    return Resolved(
        backup_id="b1",
        location="a/backups/b1",
        target="x",
        point=target,
        timeline=3,
        end_lsn="0/1",
        wal_until="0/1",
        archive="a",
    )


def test_nothing_of_the_original_says_where_recovery_ends() -> None:
    settings = recovery_settings(record({"recovery_target_time": "2026-01-01"}), CONTROL, PATHS)
    assert not [name for name in settings if name.startswith("recovery_target")]


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ({"latest": True}, {}),
        ({"immediate": True}, {}),
        ({"lsn": "0/3000028"}, {"recovery_target_lsn": "0/3000028"}),
        ({"xid": "777"}, {"recovery_target_xid": "777"}),
        ({"xid": "0777"}, {"recovery_target_xid": "777"}),
        ({"name": "it's"}, {"recovery_target_name": "it's"}),
        (
            {"time": "2026-11-23T12:00:00.123456+01:00"},
            {"recovery_target_time": "2026-11-23T12:00:00.123456+01:00"},
        ),
    ],
)
def test_there_is_one_target_at_most(point: dict[str, object], expected: dict[str, str]) -> None:
    settings = target_settings(resolved(**point), to_the_end=False)
    common = {"recovery_target_timeline": "3", "recovery_target_action": "promote"}
    assert settings == common | expected | {"recovery_target_inclusive": "on"}
    assert target_settings(resolved(**point), to_the_end=True) == common


def test_what_lies_at_the_target_can_be_left_out() -> None:
    settings = target_settings(resolved(lsn="0/3000028", inclusive=False), to_the_end=False)
    assert settings["recovery_target_inclusive"] == "off"


def test_recovery_has_what_pg_control_asks_for_and_a_record_is_not_believed() -> None:
    original = {
        "max_connections": "262143",
        "max_locks_per_transaction": "9" * 40,
        "max_worker_processes": "1",
        "max_replication_slots": "262143",
        "max_active_replication_origins": "40",
    }
    settings = recovery_settings(record(dict(original)), CONTROL, PATHS)
    assert settings["max_connections"] == "300"
    assert settings["max_worker_processes"] == "8"
    assert settings["max_prepared_transactions"] == "5"
    assert settings["max_locks_per_transaction"] == "64"
    assert settings["max_replication_slots"] == "1024"
    assert settings["max_active_replication_origins"] == "1024"
    final = final_configuration(record(dict(original)), set(), CONTROL).settings
    assert (final["max_connections"], final["max_replication_slots"]) == ("300", "1024")


@pytest.mark.parametrize("major", [15, 16, 17, 18])
def test_a_setting_is_only_given_to_a_major_that_knows_it(major: int) -> None:
    settings = recovery_settings(record(major=major), CONTROL, PATHS)
    assert ("event_triggers" in settings) == (major >= 17)
    assert ("max_active_replication_origins" in settings) == (major >= 18)


def test_the_final_configuration_takes_over_by_an_allow_list_and_names_the_rest() -> None:
    final = final_configuration(record({**REACHING_OUT, "work_mem": "64MB", "enable_seqscan": "off"}), set(), CONTROL)
    assert final.settings == {"listen_addresses": "*", "work_mem": "64MB", "enable_seqscan": "off"}
    assert sorted(final.left_out) == sorted(REACHING_OUT)


def test_a_library_is_preloaded_again_only_when_it_is_inert_and_there() -> None:
    settings = {
        "shared_preload_libraries": "pg_stat_statements, pg_cron, pgaudit",
        "pg_stat_statements.max": "10000",
        "pgaudit.log": "all",
        "cron.host": "",
    }
    final = final_configuration(record(dict(settings)), {"pg_stat_statements", "pg_cron"}, CONTROL)
    assert final.settings["shared_preload_libraries"] == "pg_stat_statements"
    assert final.settings["pg_stat_statements.max"] == "10000"
    assert final.left_out == [
        "cron.host",
        "pgaudit.log",
        "shared_preload_libraries: pg_cron",
        "shared_preload_libraries: pgaudit",
    ]
    assert "#   shared_preload_libraries: pg_cron" in final.render()


def test_a_name_cannot_end_the_comment_it_stands_in() -> None:
    final = final_configuration(record({"evil.x\narchive_command": "rm"}), set(), CONTROL)
    lines = final.render().splitlines()
    assert all(line.startswith("#") for line in lines if "archive_command" in line)


def test_names_in_a_list_of_libraries() -> None:
    assert library_names('pg_stat_statements,"$libdir/pg_cron", /usr/lib/x.so') == [
        "pg_stat_statements",
        "pg_cron",
        "x",
    ]
    assert library_names("") == []


@given(st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
def test_a_value_stays_on_its_line_and_within_its_quotes(value: str) -> None:
    text = quoted(value)
    assert "\n" not in text
    inside = text[1:-1].replace("\\\\", "").replace("''", "")
    assert "'" not in inside


def test_a_folder_that_a_shell_or_postgresql_would_expand_is_refused() -> None:
    with pytest.raises(ValueError, match="plain absolute path"):
        restore_command(RestorePaths(Path("/data/pgdata"), Path("/scratch/%p $(id)"), "uid"))
