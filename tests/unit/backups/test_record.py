"""The record survives its JSON, refuses what is not one, and its script is a script."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.backups.by_hand import Link, restore_script
from pgwarden.backups.record import (
    RECORD_VERSION,
    Archive,
    ArchiveObject,
    BackupRecord,
    Database,
    RuleFile,
    Server,
    Setting,
    StoredObject,
    Tablespace,
    read_record,
)
from pgwarden.jobs.errors import TaskError

SHA = "0" * 64


def piece(number: int, size: int, offset: int, member: str) -> ArchiveObject:
    return ArchiveObject(
        path=f"attempt-1-0a1b2c3d/base.tar.zst.{number:05d}",
        plain_bytes=size,
        stored_bytes=size // 2,
        stored_sha256=SHA,
        offset=offset,
        starts_member=bool(member),
        first_member=member,
    )


def sample(**changes: Any) -> BackupRecord:
    manifest = StoredObject(
        path="attempt-1-0a1b2c3d/backup_manifest.zst",
        plain_bytes=100,
        plain_sha256=SHA,
        stored_bytes=50,
        stored_sha256=SHA,
    )
    record = BackupRecord(
        pgwarden_version="0.1.0",
        backup_id="full-1",
        attempt=1,
        cluster_uid="uid",
        system_identifier="7711254254696325175",
        timeline=1,
        start_lsn="0/3000028",
        stop_lsn="0/3000120",
        start_time=datetime(2026, 11, 23, tzinfo=UTC),
        stop_time=datetime(2026, 11, 23, 0, 1, tzinfo=UTC),
        server=Server(
            version="17.10",
            version_num=170010,
            version_text="PostgreSQL 17.10",
            block_size=8192,
            wal_segment_bytes=16 << 20,
            data_checksums=True,
            data_directory_mode="0700",
            hba=RuleFile(readable=False, why_not="permission denied"),
            ident=RuleFile(readable=True),
        ),
        archives=[Archive(plain_bytes=30, objects=[piece(0, 10, 0, "a"), piece(1, 10, 10, ""), piece(2, 10, 20, "b")])],
        manifest=manifest,
        manifest_files=1000,
        compression="zstd level 3",
        restore_by_hand=["#!/usr/bin/env bash"],
    )
    return record.model_copy(update=changes)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(name=texts, value=st.none() | texts, why=texts, rules=st.lists(texts, max_size=3))
def test_whatever_a_server_says_survives_the_json(name: str, value: str | None, why: str, rules: list[str]) -> None:
    record = sample()
    record.server.settings = [Setting(name=name, value=value, source="configuration file")]
    record.server.hba = RuleFile(readable=True, rules=rules)
    record.server.databases = [
        Database(
            name=name, oid=5, encoding="UTF8", locale_provider="libc", collate="C", ctype="C", why_no_extensions=why
        )
    ]
    assert read_record(record.to_bytes(), "backup.json") == record


def test_pieces_that_begin_with_a_member_begin_an_independent_run() -> None:
    runs = sample().archives[0].independent_runs()
    assert [[stored.first_member for stored in run] for run in runs] == [["a", ""], ["b"]]


def test_sizes_are_those_of_all_objects() -> None:
    assert (sample().plain_bytes, sample().stored_bytes, len(sample().objects)) == (130, 65, 4)


def test_a_later_version_is_told_from_damage() -> None:
    content = json.loads(sample().to_bytes()) | {"schemaVersion": RECORD_VERSION + 1, "archives": "elsewhere"}
    with pytest.raises(TaskError) as caught:
        read_record(json.dumps(content).encode(), "x/backup.json")
    assert caught.value.reason == "RecordTooNew"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"schemaVersion": 0}', b'{"schemaVersion": 1}', b"\xff"]
)
def test_what_is_not_a_record_is_damaged_and_named(content: bytes) -> None:
    with pytest.raises(TaskError) as caught:
        read_record(content, "x/backup.json")
    assert caught.value.reason == "ObjectDamaged"
    assert "x/backup.json" in caught.value.message


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "attempt-1/../../x"])
def test_a_record_cannot_name_objects_outside_its_folder(path: str) -> None:
    content = json.loads(sample().to_bytes())
    content["archives"][0]["objects"][0]["path"] = path
    with pytest.raises(TaskError) as caught:
        read_record(json.dumps(content).encode(), "x/backup.json")
    assert caught.value.reason == "ObjectDamaged"


@pytest.mark.parametrize("links", [1, 3])
@pytest.mark.parametrize("encrypted", [True, False])
def test_the_script_for_people_is_valid_and_clean(encrypted: bool, links: int) -> None:
    record = sample()
    archives = [Archive(tablespace_oid=16384, plain_bytes=10, objects=[piece(0, 10, 0, "a")]), *record.archives]
    space = Tablespace(oid=16384, name="fast", location="/disk", estimated_bytes=10)
    chain = [Link(f"backup-{number}", archives, record.manifest, [space]) for number in range(links)]
    lines = restore_script(folder="shop/operational/0001/backups", version="17.10", chain=chain, encrypted=encrypted)
    done = subprocess.run(
        ["shellcheck", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "full", "parentId": "full-0"},
        {"type": "full", "chain": ["full-0"]},
        {"type": "incremental"},
        {"type": "incremental", "parentId": "full-0"},
        {"type": "incremental", "parentId": "full-0", "chain": ["full-0", "incr-1"]},
        {"type": "incremental", "parentId": "../full-0", "chain": ["../full-0"]},
    ],
)
def test_an_incremental_names_its_chain_and_a_full_has_none(changes: dict[str, Any]) -> None:
    content = json.loads(sample().to_bytes()) | changes
    with pytest.raises(TaskError) as caught:
        read_record(json.dumps(content).encode(), "x/backup.json")
    assert caught.value.reason == "ObjectDamaged"


def incremental(version_num: int, chain_version_num: int) -> BackupRecord:
    record = sample(type="incremental", parent_id="full-0", chain=["full-0"], chain_version_num=chain_version_num)
    record.server.version_num = version_num
    return record


@pytest.mark.parametrize(
    ("record", "untrusted"),
    [
        (sample(), False),
        (incremental(170012, 170012), False),
        (incremental(170010, 170012), True),
        (incremental(170012, 170010), True),
        (incremental(180006, 180006), True),
        (incremental(190000, 190000), False),
    ],
)
def test_an_incremental_of_a_faulty_release_is_not_relied_on_and_a_full_is(
    record: BackupRecord, untrusted: bool
) -> None:
    assert (record.untrusted, record.reliable) == (untrusted, not untrusted)
    assert json.loads(record.to_bytes())["untrusted"] is untrusted
