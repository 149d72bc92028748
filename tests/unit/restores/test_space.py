"""A claim that cannot hold a restore is refused before anything is made, by the sum the Job will do too."""

from __future__ import annotations

import pytest

from pgwarden.backups.resource import DatabaseBackup
from pgwarden.restores.plan import too_small
from pgwarden.restores.resource import RestoreRequest

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
    assert "271 MiB" in refusal.message and "new RestoreRequest with a larger claim" in refusal.message
