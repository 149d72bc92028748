"""Operation `restore`: the init container that lays a backup out on the data volume, verified and harmless."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.configuration import RESTORE_SCRIPT, server_settings
from pgwarden.restores.contract import RestoreReport, RestoreTask
from pgwarden.restores.durable import sync_path, write_at_once, write_durably
from pgwarden.restores.fetch import Fetch, check_space
from pgwarden.restores.harmless import link_tablespaces, make_harmless
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.server import HANDSHAKE_FILES, SILENCE_SECONDS
from pgwarden.restores.steps import Steps
from pgwarden.restores.tools import find_tool
from pgwarden.restores.verify import read_control_data, sync_to_disk, verify_backup
from pgwarden.restores.volume import Marker, RestoreVolume, State
from pgwarden.storage.encryption import read_identities
from pgwarden.storage.layout import record_file
from pgwarden.storage.store import open_store

__all__ = ["RestoreTask", "run"]

SERVER_SCRIPT = "run-server.sh"
ANOTHER_BACKUP = "Restore another backup with a new RestoreRequest."


def run(task: RestoreTask, context: AgentContext) -> Done:
    """Fetches, unpacks and verifies the backup, then makes it harmless; once for each request, whatever happens.

    Raises TaskError; the reasons stand in docs/restore.md.
    """
    paths = RestorePaths(Path(task.pgdata), Path(task.shared), task.request_uid)
    volume = RestoreVolume(paths)
    with volume.held():
        marker = volume.marker()
        if marker is not None and marker.restored is not None:
            write_scripts(paths, int(marker.restored.postgres_version.split(".")[0]))
            return done(marker.restored.model_copy(update={"repeated": True}))
        report = lay_out(task, context, volume)
        volume.write(
            Marker(request_uid=task.request_uid, location=task.location, state=State.LAID_OUT, restored=report)
        )
        return done(report)


def lay_out(task: RestoreTask, context: AgentContext, volume: RestoreVolume) -> RestoreReport:
    """Everything from an empty volume, or one that a killed attempt left, to a directory ready to recover."""
    paths = volume.paths
    steps = Steps(context)
    with steps.step("Prepare"):
        store = open_store(task.store)
        identities = read_identities(Path(task.store.identity_file)) if task.store.identity_file else []
        name = record_file(task.location)
        content = store.read_small(name)
        record = read_record(content, name)
        refuse_unfit(record)
        major = record.server.version_num // 10000
        find_tool("pg_verifybackup", major)
        volume.write(Marker(request_uid=task.request_uid, location=task.location, state=State.UNPACKING))
        volume.clear()
        check_space(record, paths)
        write_scripts(paths, major)
        write_durably(paths.record, content)
    fetch = Fetch(store, task.location, record, identities, paths, context)
    with steps.step("Fetch"):
        fetch.write_manifest()
        fetch.unpack_all(task.parallel)
        volume.close_to_others()
        link_tablespaces(paths, record)
    with steps.step("Verify"):
        verify_backup(paths, major, context)
        check_system_identifier(paths, record, major, context)
    with steps.step("MakeHarmless"):
        make_harmless(paths)
        sync_to_disk(paths, major, context)
        for path in (*paths.wal.iterdir(), paths.wal, paths.manifest, paths.work, paths.pgdata.parent):
            sync_path(path)
    return RestoreReport(
        backup_id=record.backup_id,
        system_identifier=record.system_identifier,
        start_lsn=record.start_lsn,
        stop_lsn=record.stop_lsn,
        timeline=record.timeline,
        postgres_version=record.server.version,
        plain_bytes=record.plain_bytes,
        files_verified=record.manifest_files,
        steps=steps.reports,
    )


def refuse_unfit(record: BackupRecord) -> None:
    """Raises TaskError: BackupDamaged, WALNotCarried."""
    if record.damaged:
        raise TaskError(
            "BackupDamaged",
            f"backup {record.backup_id} holds pages that were damaged on the original server: {record.damage}",
            remedy=f"{ANOTHER_BACKUP} To rescue what is readable, follow restoreByHand in its backup.json.",
        )
    if not record.carries_wal:
        raise TaskError(
            "WALNotCarried",
            f"backup {record.backup_id} does not carry the WAL that makes it consistent",
            remedy=ANOTHER_BACKUP,
        )


def check_system_identifier(paths: RestorePaths, record: BackupRecord, major: int, context: AgentContext) -> None:
    """Raises TaskError with reason WrongSystemIdentifier when the files are not of the system the record names."""
    found = read_control_data(paths.data, major, context).system_identifier
    if found != record.system_identifier:
        raise TaskError(
            "WrongSystemIdentifier",
            f"the files of backup {record.backup_id} are of the system {found}, its record says "
            f"{record.system_identifier}",
            remedy=ANOTHER_BACKUP,
        )


def write_scripts(paths: RestorePaths, major: int) -> None:
    """Puts into the scratch volume what the server's container runs, and takes away what an earlier run of this pod's
    containers left there: after a restart of the pod's sandbox init containers run again on the same scratch volume."""
    for name in HANDSHAKE_FILES:
        (paths.shared / name).unlink(missing_ok=True)
    for script in (SERVER_SCRIPT, RESTORE_SCRIPT):
        text = (resources.files("pgwarden.restores") / "templates" / script).read_text(encoding="utf-8")
        write_at_once(paths.shared / script, text)
    write_at_once(paths.shared / "server.settings", server_settings(paths, major, SILENCE_SECONDS))


def done(report: RestoreReport) -> Done:
    again = "had been" if report.repeated else "is"
    return Done(
        "LaidOut",
        f"backup {report.backup_id} {again} laid out and verified: {report.files_verified} files, "
        f"{report.plain_bytes >> 20} MiB",
        report,
    )
