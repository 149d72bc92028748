"""A prune deletes what was planned and nothing else, wherever it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgwarden.api.wal import format_lsn, parse_lsn
from pgwarden.backups.record import BackupRecord
from pgwarden.catalogue.continuity import UNSETTLED, WORTH_WRITING
from pgwarden.catalogue.contract import DAY, RetentionSettings, What
from pgwarden.catalogue.sweep import unfinished_to_sweep
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.storage import layout
from pgwarden.storage.archive import adopt_archives, succeed_archive
from pgwarden.storage.archived_system import SystemFile
from pgwarden.storage.catalogue_key import new_catalogue_key
from pgwarden.storage.store import open_store
from tests.support.agent_process import AgentProcess
from tests.support.archive import ARCHIVE, NEWEST_ONLY, SEGMENT, Archived, segments
from tests.support.backups import IDENTITY, backup_task, download, restored_by_hand, run_backup, take_backup
from tests.support.filesystem import fill, small_filesystem
from tests.support.postgres import PostgresServer, wait_until
from tests.support.s3 import s3_server

TOMORROW = timedelta(hours=25)


@pytest.fixture(scope="session")
def server(postgres17: PostgresServer) -> PostgresServer:
    return postgres17


def back_up(archived: Archived, server: PostgresServer, count: int) -> list[BackupRecord]:
    """So many real fulls, one after the other."""
    return [take_backup(server.address(), archived.location, object_bytes=4 << 20)[1] for _ in range(count)]


def below(archived: Archived, record: BackupRecord) -> set[str]:
    """Every object of a backup."""
    return {name for name in archived.names() if name.startswith(f"backups/{record.backup_id}/")}


def of_segments(names: list[str]) -> set[str]:
    """The objects of segments and of their checksums."""
    return {
        path.removeprefix(f"{ARCHIVE}/")
        for name in names
        for path in (layout.segment_object(ARCHIVE, name, encrypted=False), layout.checksum_object(ARCHIVE, name))
    }


def test_a_prune_deletes_exactly_what_was_planned_and_the_rest_restores(
    archived: Archived, server: PostgresServer, tmp_path: Path
) -> None:
    first, second, third = back_up(archived, server, 3)
    names = archived.archive_wal(first.start_lsn, third.stop_lsn)
    needed = next(segments(1, parse_lsn(third.start_lsn), parse_lsn(third.stop_lsn)))
    early = archived.note(first.stop_time, first.stop_lsn)
    archived.note(third.stop_time, third.stop_lsn)
    point = archived.name_point("before the release", first.stop_time, first.stop_lsn)
    archived.name_point("after the release", third.stop_time, third.stop_lsn)
    doomed = {early, point, *below(archived, first), *below(archived, second)}
    doomed |= of_segments([name for name in names if name < needed])
    before = archived.names()
    planned = archived.report(What.PRUNE, retention=NEWEST_ONLY, dry_run=True)
    assert archived.names() == before
    done = archived.report(What.PRUNE, retention=NEWEST_ONLY)
    assert before - archived.names() == doomed
    assert archived.names() <= before
    assert planned.prune is not None
    assert done.prune == planned.prune.model_copy(update={"dry_run": False})
    assert done.prune.backup_ids == [first.backup_id, second.backup_id]
    assert (done.fulls, done.restorable, done.wal_objects) == (1, 1, len([name for name in names if name >= needed]))
    assert done.earliest is not None
    assert done.earliest.lsn == third.stop_lsn
    again = archived.report(What.PRUNE, retention=NEWEST_ONLY)
    assert again.prune is not None
    assert (again.prune.backups, again.prune.wal_objects, again.wal_objects) == (0, 0, done.wal_objects)
    location = f"{ARCHIVE}/backups/{third.backup_id}"
    with restored_by_hand(third, download(archived.location, location, tmp_path / "files"), server.major) as copy:
        assert copy.query("SELECT system_identifier::text FROM pg_control_system()") == third.system_identifier


def test_a_claim_keeps_no_empty_folders(in_claim: Archived, server: PostgresServer) -> None:
    first, second = back_up(in_claim, server, 2)
    in_claim.report(What.PRUNE, retention=NEWEST_ONLY)
    assert in_claim.store.folders(f"{ARCHIVE}/backups") == {second.backup_id}
    assert first.backup_id not in in_claim.states()


def test_what_attempts_left_is_swept_when_it_is_old_and_nobody_works_on_it(
    archived: Archived, server: PostgresServer
) -> None:
    (record,) = back_up(archived, server, 1)
    whole = archived.names()
    left = {
        f"backups/{record.backup_id}/attempt-1-00000000/base.tar.zst.00000",
        "backups/given-up/attempt-1-00000000/base.tar.zst.00000",
        "backups/running/attempt-1-00000000/base.tar.zst.00000",
    }
    for name in left:
        archived.store.put(f"{ARCHIVE}/{name}", b"half")
    now = datetime.now(UTC)
    archived.report(What.PRUNE, live=["running"], now=now)
    assert archived.names() >= left, "younger than a day"
    done = archived.report(What.PRUNE, live=["running"], now=now + TOMORROW)
    assert {name for name in archived.names() - whole if "attempt" in name} == {next(n for n in left if "running" in n)}
    assert done.prune is not None
    assert done.prune.backups == 0
    archived.report(What.PRUNE, now=now + TOMORROW)
    assert {name for name in archived.names() - whole if "attempt" in name} == set()
    assert archived.states() == {record.backup_id: "Restorable"}


def kill_while_it_deletes(archived: Archived, folder: Path) -> None:
    """Begins a prune, and kills it as soon as an object is gone."""
    before = len(archived.names())
    agent = AgentProcess(archived.task(What.PRUNE, retention=NEWEST_ONLY), folder)
    wait_until(
        lambda: len(archived.names()) < before or agent.process.poll() is not None, f"nothing goes: {agent.output}"
    )
    agent.kill()


def test_a_killed_prune_leaves_nothing_listed_that_is_not_whole_and_the_next_one_ends_it(
    in_claim: Archived, server: PostgresServer, tmp_path: Path
) -> None:
    records = back_up(in_claim, server, 4)
    newest = records[-1]
    # A long list of WAL before the newest backup, so that there is something to be killed in.
    first = parse_lsn(newest.start_lsn)
    in_claim.archive_wal(format_lsn(first - 900 * SEGMENT if first > 900 * SEGMENT else 0), newest.stop_lsn)
    keep = below(in_claim, newest)
    for attempt in range(3):
        kill_while_it_deletes(in_claim, tmp_path / f"agent-{attempt}")
        states = in_claim.states()
        assert set(states.values()) == {"Restorable"}, "what is listed is whole"
        assert newest.backup_id in states
    in_claim.report(What.PRUNE, retention=NEWEST_ONLY, now=datetime.now(UTC) + TOMORROW)
    left = in_claim.names()
    assert {name for name in left if name.startswith("backups/")} == keep
    assert {name for name in left if name.startswith(("wal/", "checksums/"))} == of_segments(
        list(segments(1, parse_lsn(newest.start_lsn), parse_lsn(newest.stop_lsn)))
    )


def test_a_full_store_is_emptied(server: PostgresServer) -> None:
    with small_filesystem(160) as mount:
        archived = Archived(StoreLocation(claim=ClaimLocation(path=str(mount))))
        _, second = back_up(archived, server, 2)
        # More WAL than is worth a checkpoint; what lies before the second backup goes.
        for name in segments(1, 0, (UNSETTLED + WORTH_WRITING + 8) * SEGMENT):
            archived.store.put(layout.segment_object(ARCHIVE, name, encrypted=False), b"wal")
        archived.report(What.SUMMARIZE)
        assert any(name.startswith("catalogue/") for name in archived.names()), "there is a checkpoint to be replaced"
        fill(mount)
        with pytest.raises(TaskError) as full:
            archived.store.put("anything", b"content")
        assert full.value.reason == "StoreFull"
        result, _ = archived.run(What.PRUNE, retention=NEWEST_ONLY)
        assert result.reason == "Pruned", result.message
        assert archived.states() == {second.backup_id: "Restorable"}
        archived.store.put("anything", b"content")


def test_refused_deletions_are_told_and_leave_backups_whole(server: PostgresServer) -> None:
    with s3_server() as s3:
        archived = Archived(s3.location())
        first, _ = back_up(archived, server, 2)
        before = archived.names()
        s3.stop()
        s3.start(read_only=True)
        result, _ = archived.run(What.PRUNE, retention=NEWEST_ONLY)
        assert result.reason == "DeletionRefused", result.message
        assert "object lock" in result.message
        assert result.report["prune"]["refused"] == 1
        assert archived.names() == before
        assert archived.states()[first.backup_id] == "Restorable"


def test_another_cluster_may_not_prune_until_it_has_adopted_the_archive(
    in_claim: Archived, server: PostgresServer
) -> None:
    back_up(in_claim, server, 2)
    other = IDENTITY.model_copy(update={"cluster_uid": "another-uid"})
    before = in_claim.names()
    result, _ = in_claim.run(What.PRUNE, retention=NEWEST_ONLY, archive=other)
    assert result.reason == "ArchiveBelongsToAnother"
    assert (
        f"backup adopt --namespace shop --cluster operational --store STORE --from {IDENTITY.cluster_uid}"
        in result.remedy
    )
    assert in_claim.names() == before
    now = datetime.now(UTC)
    with pytest.raises(TaskError) as refused:
        adopt_archives(in_claim.store, other, "a-third-uid", now, "somebody")
    assert refused.value.reason == "AdoptionRefused"
    assert adopt_archives(in_claim.store, other, IDENTITY.cluster_uid, now, "somebody")
    assert not adopt_archives(in_claim.store, other, IDENTITY.cluster_uid, now, "somebody")
    done = in_claim.report(What.PRUNE, retention=NEWEST_ONLY, archive=other)
    assert done.prune is not None
    assert done.prune.backups == 1
    result, _ = in_claim.run(What.PRUNE, retention=NEWEST_ONLY)
    assert result.reason == "ArchiveBelongsToAnother"
    assert run_backup(backup_task(server.address(), in_claim.location)).reason == "ArchiveBelongsToAnother"
    assert in_claim.names() >= {"archive.json", "archive.0001.json"}


def test_all_archives_of_a_cluster_are_one_catalogue_and_the_old_one_goes_when_its_time_is_over(
    archived: Archived, server: PostgresServer
) -> None:
    (first,) = back_up(archived, server, 1)
    archived.archive_wal(first.start_lsn, first.stop_lsn)
    succeed_archive(archived.store, IDENTITY, ARCHIVE, "the volume was rolled back", datetime.now(UTC))
    (second,) = back_up(archived, server, 1)
    report = archived.report(What.LIST)
    assert (report.fulls, report.restorable) == (2, 2)
    assert [each.archive for each in report.archives] == ["0001", "0002"]
    assert report.earliest is not None
    assert report.latest is not None
    assert (report.earliest.lsn, report.latest.lsn <= second.stop_lsn) == (first.stop_lsn, False)
    assert archived.states() == {first.backup_id: "Restorable", second.backup_id: "Restorable"}
    done = archived.report(What.PRUNE, retention=NEWEST_ONLY)
    assert done.prune is not None
    assert done.prune.backup_ids == [first.backup_id]
    assert archived.states() == {second.backup_id: "Restorable"}
    # No id is given out twice: what says whose the archive was stays.
    assert archived.names() == {"archive.json"}
    checked = archived.report(What.VERIFY, backups=[second.backup_id])
    assert checked.last_check is not None
    assert checked.last_check.passed


def test_a_pinned_backup_outlives_every_prune_and_restores(
    archived: Archived, server: PostgresServer, tmp_path: Path
) -> None:
    key = archived_key(archived, tmp_path)
    first, second, third = back_up(archived, server, 3)
    archived.archive_wal(first.start_lsn, third.stop_lsn)
    assert archived.run(What.PIN, backups=[first.backup_id], store=key)[0].reason == "Pinned"
    done = archived.report(What.PRUNE, retention=NEWEST_ONLY, store=key)
    assert done.prune is not None
    assert done.prune.backup_ids == [second.backup_id]
    lines = {line.backup.backup_id: line.backup for line in archived.run(What.LIST, store=key)[1] if line.backup}
    assert {name: (line.pinned, line.kept_because) for name, line in lines.items()} == {
        first.backup_id: (True, "pinned"),
        third.backup_id: (False, "no restorable backup is older than the window"),
    }
    assert expired(archived, first, key) == "Pinned"
    location = f"{ARCHIVE}/backups/{first.backup_id}"
    with restored_by_hand(first, download(archived.location, location, tmp_path / "files"), server.major) as copy:
        assert copy.query("SELECT system_identifier::text FROM pg_control_system()") == first.system_identifier
    refused, _ = archived.run(What.UNPIN, backups=[first.backup_id])
    assert refused.reason == "CatalogueKeyNeeded", "without the key nobody takes the pin away"
    other = IDENTITY.model_copy(update={"cluster_uid": "another-uid"})
    assert archived.run(What.UNPIN, backups=[first.backup_id], archive=other)[0].reason == "ArchiveBelongsToAnother"
    assert archived.run(What.UNPIN, backups=[first.backup_id], store=key)[0].reason == "Unpinned"
    archived.report(What.PRUNE, retention=NEWEST_ONLY, store=key)
    assert archived.states() == {third.backup_id: "Restorable"}
    assert below(archived, first) == set()


def archived_key(archived: Archived, folder: Path) -> StoreLocation:
    """The archive's store with a catalogue key."""
    (folder / "key").mkdir()
    for name, content in new_catalogue_key().items():
        (folder / "key" / name).write_text(content)
    return archived.location.model_copy(update={"catalogue_key": str(folder / "key")})


def expired(archived: Archived, record: BackupRecord, store: StoreLocation) -> str:
    """Why a backup may not be deleted."""
    task = {"backups": [record.backup_id], "promised": False, "store": store}
    found = archived.report(What.EXPIRE, **task).expiry
    assert found is not None
    return found.refused[0].reason


def test_what_a_killed_writer_left_unfinished_in_a_claim_is_swept(in_claim: Archived, server: PostgresServer) -> None:
    """A hidden file, which no listing shows and which keeps its folder from being removed."""
    (record,) = back_up(in_claim, server, 1)
    whole = in_claim.names()
    assert in_claim.location.claim is not None
    root = Path(in_claim.location.claim.path) / ARCHIVE
    given_up, running, wal = (
        root / path
        for path in (
            "backups/given-up/attempt-1-00000000/.base.tar.zst.00000.0a1b2c3d",
            "backups/running/attempt-1-00000000/.base.tar.zst.00000.0a1b2c3d",
            "wal/00000001/.000000010000000000000001.zst.ffffffff",
        )
    )
    others = [root / "backups" / ".nfs00000000018a1b2c00000012", root / "backups" / ".snapshot"]
    for path in (given_up, running, wal, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    now = datetime.now(UTC)
    in_claim.report(What.PRUNE, live=["running"], now=now)
    assert all(path.exists() for path in (given_up, running, wal)), "younger than a day: it may be being written"
    planned = in_claim.report(What.PRUNE, live=["running"], now=now + TOMORROW, dry_run=True)
    assert given_up.exists()
    done = in_claim.report(What.PRUNE, live=["running"], now=now + TOMORROW)
    assert planned.prune is not None and done.prune is not None
    assert (planned.prune.other_objects, done.prune.other_objects, done.prune.bytes) == (2, 2, 8)
    assert [path.exists() for path in (given_up, running, wal, *others)] == [False, True, False, True, True]
    assert not (root / "backups" / "given-up").exists()
    assert in_claim.names() == whole
    assert in_claim.states() == {record.backup_id: "Restorable"}


def test_an_object_that_is_being_written_is_whole_after_a_sweep_of_others(tmp_path: Path) -> None:
    """The sweep goes by the time of the last byte."""
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        yield b"first"
        seen.extend(each.size for each in store.unfinished(ARCHIVE))
        found = unfinished_to_sweep(store.unfinished(ARCHIVE), set(), datetime.now(UTC) + timedelta(hours=23))
        for each in found:
            store.discard(each.path)
        yield b" and last"

    store.put_stream(f"{ARCHIVE}/object", chunks())
    assert b"".join(store.read(f"{ARCHIVE}/object")) == b"first and last"
    assert seen == [len(b"first")]
    assert list(store.unfinished(ARCHIVE)) == []
    with pytest.raises(ValueError, match="not the name of an object"):
        store.discard(f"{ARCHIVE}/object")


def test_wal_of_the_system_before_is_told_apart_by_what_the_archiver_wrote(
    archived: Archived, server: PostgresServer
) -> None:
    """After pg_upgrade, a backup came before the archiver went on in another archive."""
    (record,) = back_up(archived, server, 1)
    stop = format_lsn(parse_lsn(record.stop_lsn) + 5 * SEGMENT)
    archived.archive_wal(record.start_lsn, stop)
    own = archived.report(What.SUMMARIZE).latest
    assert own is not None
    assert parse_lsn(own.lsn) > parse_lsn(record.stop_lsn) + SEGMENT
    system = SystemFile(system_identifier="7000000000000000001", segment_bytes=SEGMENT)
    archived.store.put(layout.system_object(ARCHIVE), system.model_dump_json(by_alias=True).encode())
    report = archived.report(What.SUMMARIZE)
    assert report.latest is not None
    assert parse_lsn(report.latest.lsn) <= parse_lsn(record.stop_lsn) + SEGMENT
    before = archived.names()
    archived.report(What.PRUNE, retention=RetentionSettings(window_seconds=DAY, minimum_fulls=1))
    assert archived.names() >= before, "WAL of the system before stays while it is in the window"
