"""A claim that cannot hold a restore is refused before anything is made, by the sum the Job will do too."""

from __future__ import annotations

import pytest

from pgwarden.backups.record import BackupRecord
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.plan import too_small
from pgwarden.restores.resource import RestoreRequest
from pgwarden.restores.space import Room, check_room, needed_room

from .records import record

MIB = 1 << 20


def backup(plain_bytes: int, stop_lsn: str = "0/4000120") -> DatabaseBackup:
    return DatabaseBackup.of(
        {
            "metadata": {"name": "first"},
            "spec": {"clusterRef": {"name": "c"}, "storeRef": {"name": "s"}},
            "status": {"plainBytes": plain_bytes, "startLSN": "0/4000028", "stopLSN": stop_lsn},
        }
    )


def request(size: str) -> RestoreRequest:
    target = {"newInstance": {"name": "copy", "storage": {"size": size}}}
    spec = {"source": {"backupRef": {"name": "first"}}, "target": target}
    return RestoreRequest.of({"metadata": {"name": "r"}, "spec": spec})


@pytest.mark.parametrize(("size", "fits"), [("256Mi", False), ("272Mi", True), ("10Gi", True)])
def test_wal_and_what_recovery_adds_are_counted(size: str, fits: bool) -> None:
    # 50 MiB of files, nine segments of WAL of 16 MiB, 64 MiB to spare, and 5% for the file system: 270.9 MiB.
    assert (too_small(request(size), backup(50 * MIB)) is None) is fits


def test_more_wal_needs_more_room() -> None:
    assert too_small(request("280Mi"), backup(50 * MIB)) is None
    assert too_small(request("280Mi"), backup(50 * MIB, stop_lsn="0/7000000")) is not None


def test_the_sentence_names_the_field_and_the_size() -> None:
    refusal = too_small(request("64Mi"), backup(50 * MIB))
    assert refusal is not None
    assert "target.newInstance.storage.size 64Mi is too small" in refusal.message
    assert "at least 271" in refusal.message and "new RestoreRequest with a larger claim" in refusal.message


def part(kind: str, name: str, plain_bytes: int, files: int) -> BackupRecord:
    chain = {"parent_id": "full", "chain": ["full"]} if kind == "incremental" else {}
    stored = record()
    manifest = stored.manifest.model_copy(update={"plain_bytes": plain_bytes - 10})
    changes = {"type": kind, "backup_id": name, "manifest": manifest, "manifest_files": files, **chain}
    return stored.model_copy(update=changes)


FULL = part("full", "full", 1000 * MIB, 900)
CHAIN = [FULL, part("incremental", "incr", 10 * MIB, 1000)]


def test_a_chain_needs_room_for_its_backups_and_for_what_becomes_of_them() -> None:
    alone, copied, linked = needed_room([FULL]), needed_room(CHAIN), needed_room(CHAIN, shared=True)
    assert copied.bytes - alone.bytes == 1020 * MIB
    assert linked.bytes - alone.bytes == 20 * MIB
    assert (alone.files, copied.files) == (1100, 3100)


def test_a_volume_that_has_bytes_and_no_inodes_is_refused() -> None:
    with pytest.raises(TaskError) as raised:
        check_room("incr", needed_room(CHAIN), Room(1 << 40, 3099))
    assert (raised.value.reason, "inodes for 3099" in raised.value.message) == ("VolumeTooSmall", True)
    check_room("incr", needed_room(CHAIN), Room(1 << 40, 3100))
