"""A backup's record for tests of pure functions."""

from __future__ import annotations

from datetime import UTC, datetime

from pgwarden.backups.record import BackupRecord, RuleFile, Server, Setting
from pgwarden.restores.control_data import ControlData

CONTROL = ControlData(
    system_identifier="7711254254696325175",
    state="in production",
    timeline=1,
    recovery_timeline=0,
    wal_segment_bytes=16 << 20,
    data_checksums=True,
    max_connections=300,
    max_worker_processes=8,
    max_wal_senders=10,
    max_prepared_transactions=5,
    max_locks_per_transaction=64,
)


def record(settings: dict[str, str | None] | None = None, major: int = 18) -> BackupRecord:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    sha = "0" * 64
    stored = {"plainBytes": 10, "plainSha256": sha, "storedBytes": 5, "storedSha256": sha}
    piece = {"path": "attempt-1-00000000/base.tar.zst.00000", **stored, "offset": 0, "startsMember": True}
    return BackupRecord.model_validate(
        {
            "pgwarden_version": "0",
            "backup_id": "b1",
            "attempt": 1,
            "cluster_uid": "u",
            "system_identifier": CONTROL.system_identifier,
            "timeline": 1,
            "start_lsn": "0/3000028",
            "stop_lsn": "0/3000120",
            "start_time": now,
            "stop_time": now,
            "server": Server(
                version=f"{major}.1",
                version_num=major * 10000 + 1,
                version_text="",
                block_size=8192,
                wal_segment_bytes=16 << 20,
                data_checksums=True,
                data_directory_mode="0700",
                hba=RuleFile(readable=False),
                ident=RuleFile(readable=False),
                settings=[
                    Setting(name=name, value=value, source="configuration file")
                    for name, value in (settings or {}).items()
                ],
            ),
            "archives": [{"plainBytes": 10, "objects": [piece]}],
            "manifest": {"path": "attempt-1-00000000/backup_manifest.zst", **stored},
            "manifest_files": 1,
            "compression": "zstd",
            "restore_by_hand": [],
        }
    )
