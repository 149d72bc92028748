"""Every backup is found and told what it is worth; long archives are read again quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.api.wal import format_lsn
from pgwarden.backups.record import BackupRecord
from pgwarden.catalogue.continuity import UNSETTLED, newest_checkpoint, read_wal, write_checkpoint
from pgwarden.catalogue.contract import VerifySettings, What
from pgwarden.catalogue.verify import Pace, verify
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.archive_reader import read_catalogue
from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.resolve import resolve
from pgwarden.storage import layout
from pgwarden.storage.authenticity import sign
from pgwarden.storage.catalogue_key import new_catalogue_key, read_catalogue_key
from pgwarden.storage.store import open_store
from pgwarden.storage.wal_listing import Range
from tests.support.archive import ARCHIVE, NEWEST_ONLY, SEGMENT, Archived, segments
from tests.support.backups import take_backup
from tests.support.postgres import PostgresServer
from tests.support.s3 import S3Server

LONG = 100_000
MEASURE = """
import json, re, sys, time
from datetime import UTC, datetime
from pgwarden.catalogue.continuity import read_wal, write_checkpoint
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import StoreLocation
from pgwarden.restores.archive_reader import read_catalogue
from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.resolve import resolve
from pgwarden.storage.store import open_store
store = open_store(StoreLocation.model_validate_json(sys.argv[1]))
def most() -> int:
    return int(re.search(r"VmHWM:\\s+([0-9]+)", open("/proc/self/status").read())[1])
began, before = time.monotonic(), most()
found = read_wal(store, sys.argv[2], 16 << 20, datetime.now(UTC))
took = time.monotonic() - began
grown = most() - before
write_checkpoint(store, sys.argv[2], found.checkpoint)
print(json.dumps([found.listed, found.objects, took, grown / 1024, len(found.timelines[1].ranges)]))
"""


@pytest.fixture(scope="session")
def server(postgres17: PostgresServer) -> PostgresServer:
    return postgres17


def file_of(archived: Archived, record: BackupRecord, number: int = 0) -> Path:
    """The file of an object of a backup in a claim."""
    assert archived.location.claim is not None
    folder = Path(archived.location.claim.path) / ARCHIVE / "backups" / record.backup_id
    return folder / record.archives[-1].objects[number].path


def test_an_archive_that_does_not_exist_is_empty(archived: Archived) -> None:
    report = archived.report(What.SUMMARIZE)
    assert (report.fulls, report.restorable, report.earliest, report.timeline) == (0, 0, None, None)


def test_a_summary_tells_what_can_be_recovered(archived: Archived, server: PostgresServer) -> None:
    _, first = take_backup(server.address(), archived.location)
    names = archived.archive_wal(first.start_lsn, format_lsn(int(first.stop_lsn.split("/")[1], 16) + 5 * SEGMENT))
    end = (int(names[-1][16:], 16) + 1) * SEGMENT
    later = datetime(2099, 1, 1, 12, 0, 0, 750_000, tzinfo=UTC)
    archived.note(later, format_lsn(end))
    report = archived.report(What.SUMMARIZE)
    assert (report.fulls, report.restorable, report.wal_objects, report.gap_count) == (1, 1, len(names), 0)
    assert report.earliest is not None and report.latest is not None
    assert first.stop_time <= report.earliest.time < first.stop_time + timedelta(seconds=1)
    assert (report.earliest.time.microsecond, report.earliest.lsn) == (0, first.stop_lsn)
    assert (report.latest.time, report.latest.lsn) == (later, format_lsn(end))
    assert report.newest["full"].backup_id == first.backup_id
    assert archived.states() == {first.backup_id: "Restorable"}


def test_a_listing_and_a_record_go_to_the_log_for_a_shell(archived: Archived, server: PostgresServer) -> None:
    _, record = take_backup(server.address(), archived.location)
    _, lines = archived.run(What.LIST)
    assert lines[0].backup is not None
    assert (lines[0].backup.backup_id, lines[0].backup.stored_bytes) == (record.backup_id, record.stored_bytes)
    assert lines[-1].report is not None
    _, shown = archived.run(What.SHOW, backups=[record.backup_id])
    assert shown[0].record == json.loads(record.to_bytes())
    result, _ = archived.run(What.SHOW, backups=["nothing"])
    assert result.reason == "BackupNotFound"


def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(in_claim: Archived, server: PostgresServer) -> None:
    _, good = take_backup(server.address(), in_claim.location)
    content = json.loads(good.to_bytes())
    bad = {
        "not-json": b"{",
        "too-new": json.dumps({**content, "schemaVersion": 99, "backupId": "too-new"}).encode(),
        "copied": json.dumps(content).encode(),
    }
    for name, text in bad.items():
        in_claim.store.put(f"{ARCHIVE}/backups/{name}/backup.json", text)
        in_claim.store.put(f"{ARCHIVE}/backups/{name}/attempt-1-00000000/base.tar.zst.00000", b"x")
    result, lines = in_claim.run(What.LIST)
    assert [line.backup.backup_id for line in lines if line.backup is not None] == [good.backup_id]
    troubles = " ".join(line.trouble for line in lines if line.trouble is not None)
    assert all(f"backups/{name}/backup.json" in troubles for name in bad)
    assert {"ObjectDamaged", "RecordTooNew", "RecordMisplaced"} <= set(troubles.replace(":", " ").split())
    assert result.report["troubleCount"] == 3
    before = in_claim.names()
    done = in_claim.report(What.PRUNE, retention=NEWEST_ONLY, now=datetime(2099, 1, 1, tzinfo=UTC))
    assert before <= in_claim.names(), "what cannot be understood is never deleted"
    assert done.prune is not None
    assert "too-new" in done.prune.held


def test_a_restore_begins_with_no_backup_that_misses_an_object(in_claim: Archived, server: PostgresServer) -> None:
    _, good = take_backup(server.address(), in_claim.location)
    _, holed = take_backup(server.address(), in_claim.location)
    file_of(in_claim, holed).unlink()
    now = datetime.now(UTC)
    found = read_catalogue(in_claim.store, ARCHIVE, TargetPoint(latest=True), now)
    chosen = resolve(found, TargetPoint(latest=True))
    assert chosen.backup_id == good.backup_id
    assert "is not in the store" in chosen.passed_over[0]
    with pytest.raises(TaskError) as raised:
        resolve(found, TargetPoint(latest=True), holed.backup_id)
    assert raised.value.reason == "BackupDamaged"


def test_verification_names_a_flipped_byte_and_a_cut_object(in_claim: Archived, server: PostgresServer) -> None:
    _, flipped = take_backup(server.address(), in_claim.location, object_bytes=4 << 20)
    _, cut = take_backup(server.address(), in_claim.location, object_bytes=4 << 20)
    _, good = take_backup(server.address(), in_claim.location, object_bytes=4 << 20)
    file = file_of(in_claim, flipped, 1)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert in_claim.states()[flipped.backup_id] == "Restorable", "its size has not changed"
    file_of(in_claim, cut).write_bytes(file_of(in_claim, cut).read_bytes()[:-1])
    assert in_claim.states()[cut.backup_id] == "Incomplete", "every listing compares sizes"
    result, _ = in_claim.run(What.VERIFY, backups=[flipped.backup_id, good.backup_id])
    assert (result.outcome, result.reason) == ("Failed", "CheckFailed")
    assert flipped.archives[-1].objects[1].path in result.message
    assert good.backup_id not in result.message
    assert in_claim.states() == {
        flipped.backup_id: "CheckFailed",
        cut.backup_id: "Incomplete",
        good.backup_id: "Restorable",
    }
    result, _ = in_claim.run(What.VERIFY, backups=[cut.backup_id])
    assert cut.archives[-1].objects[0].path in result.message
    checks = [name for name in in_claim.names() if f"{flipped.backup_id}/checks/" in name]
    assert len(checks) == 1
    assert checks[0].endswith("-checksums-failed.json")
    told = json.loads(in_claim.store.read_small(f"{ARCHIVE}/{checks[0]}"))
    assert [each["path"] for each in told["damaged"]] == [flipped.archives[-1].objects[1].path]


def test_those_are_read_first_that_nobody_has_read(archived: Archived, server: PostgresServer) -> None:
    _, first = take_backup(server.address(), archived.location)
    _, second = take_backup(server.address(), archived.location)
    begin = datetime.now(UTC).replace(microsecond=0)
    for day, expected in enumerate([second, first, second]):
        report = archived.report(What.VERIFY, now=begin.replace(year=begin.year + 1 + day), verify=VerifySettings())
        assert report.last_check is not None
        assert (report.last_check.backup_id, report.last_check.passed) == (expected.backup_id, True)


def test_reading_again_keeps_to_its_rate(in_claim: Archived, server: PostgresServer) -> None:
    _, record = take_backup(server.address(), in_claim.location)
    rate = record.stored_bytes >> 10
    began = time.monotonic()
    in_claim.report(What.VERIFY, verify=VerifySettings(max_rate_kib=rate // 2))
    assert time.monotonic() - began > 1.5


def test_a_checkpoint_spares_a_listing_and_a_full_one_finds_what_was_deleted(in_claim: Archived) -> None:
    names = list(segments(1, 0, 3000 * SEGMENT))
    fill(in_claim.location, names[:2500])
    store, now = in_claim.store, datetime.now(UTC)
    first = read_wal(store, ARCHIVE, SEGMENT, now)
    assert (first.listed, first.objects) == (2500, 2500)
    assert first.checkpoint is not None
    write_checkpoint(store, ARCHIVE, first.checkpoint)
    assert newest_checkpoint(store, ARCHIVE)[0] == 0
    fill(in_claim.location, names[2501:])
    second = read_wal(store, ARCHIVE, SEGMENT, now)
    assert (second.listed, second.objects) == (UNSETTLED + 499, 2999)
    gap = [Range(0, 2500 * SEGMENT), Range(2501 * SEGMENT, 3000 * SEGMENT)]
    assert list(second.timelines[1].ranges) == gap
    fill(in_claim.location, [names[2500]])
    store.delete(layout.segment_object(ARCHIVE, names[10], encrypted=False))
    assert list(read_wal(store, ARCHIVE, SEGMENT, now).timelines[1].ranges) == [Range(0, 3000 * SEGMENT)]
    full = read_wal(store, ARCHIVE, SEGMENT, now, all_of_it=True)
    assert list(full.timelines[1].ranges) == [Range(0, 10 * SEGMENT), Range(11 * SEGMENT, 3000 * SEGMENT)]
    later = read_wal(store, ARCHIVE, SEGMENT, now.replace(year=now.year + 1))
    assert later.listed == 2999


@pytest.mark.parametrize("kind", ["claim", "bucket"])
def test_a_very_long_archive_is_read_in_flat_memory_and_again_in_no_time(
    kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "claim":
        location: StoreLocation = request.getfixturevalue("claim")
        root = Path(location.claim.path) if location.claim is not None else Path()
    else:
        s3: S3Server = request.getfixturevalue("s3")
        bucket = s3.new_bucket()
        location, root = s3.location(bucket), s3.data / bucket
    fill_folder(root, list(segments(1, 0, LONG * SEGMENT)))
    listed, objects, took, grown, ranges = measure(location)
    assert (listed, objects, ranges) == (LONG, LONG, 1)
    again = measure(location)
    assert again[:2] == [UNSETTLED, LONG]
    print(f"{kind}: {LONG} keys in {took:.1f} s, {grown:.0f} MiB more; from a checkpoint in {again[2]:.2f} s")
    assert grown < 96
    assert again[2] < max(2.0, took / 4)


def measure(location: StoreLocation) -> list[float]:
    """Keys listed, objects counted, seconds, MiB of growth and ranges, of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, location.model_dump_json(by_alias=True), ARCHIVE],
        env={**os.environ, "PYTHONPATH": str(Path("operator").resolve())},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[float] = json.loads(done.stdout)
    return found


def fill(location: StoreLocation, names: list[str]) -> None:
    assert location.claim is not None
    fill_folder(Path(location.claim.path), names)


def fill_folder(root: Path, names: list[str]) -> None:
    """Empty segments, made as files: what a listing costs does not depend on their size."""
    (root / layout.timeline_folder(ARCHIVE, 1)).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / layout.segment_object(ARCHIVE, name, encrypted=False)).touch()


def test_a_forged_record_is_found_out(in_claim: Archived, server: PostgresServer, tmp_path: Path) -> None:
    _, genuine = take_backup(server.address(), in_claim.location)
    key = new_catalogue_key()
    for name, content in key.items():
        (tmp_path / name).write_text(content)
    signed = json.loads(genuine.to_bytes())
    secret = read_catalogue_key(tmp_path).hmac
    for name, change in {"signed": {}, "forged": {"stopTime": "2099-01-01T00:00:00Z"}}.items():
        document = {**signed, "backupId": name}
        document = {**document, "authentication": sign(document, secret), **change}
        in_claim.store.put(f"{ARCHIVE}/backups/{name}/backup.json", json.dumps(document).encode())
    location = in_claim.location.model_copy(update={"catalogue_key": str(tmp_path)})
    _, lines = in_claim.run(What.LIST, store=location)
    troubles = [line.trouble for line in lines if line.trouble is not None]
    assert len(troubles) == 1
    assert troubles[0].startswith("RecordForged")
    assert "backups/forged/backup.json" in troubles[0]
    listed = {line.backup.backup_id for line in lines if line.backup is not None}
    assert listed == {genuine.backup_id, "signed"}


def test_one_bad_reading_is_no_damage(in_claim: Archived, server: PostgresServer) -> None:
    """The first reading gives other bytes than the second one."""
    _, record = take_backup(server.address(), in_claim.location)
    file = file_of(in_claim, record)
    good = file.read_bytes()
    file.write_bytes(bytes(len(good)))

    def first_chunk(_done: int) -> None:
        if file.read_bytes() != good:
            file.write_bytes(good)

    location = layout.backup_folder(ARCHIVE, record.backup_id)
    store = open_store(in_claim.location)
    pace = Pace(0, first_chunk)
    found = verify(store, location, record.backup_id, record.archives[-1].objects, pace, datetime.now(UTC))
    assert (found.passed, found.damaged) == (True, [])
