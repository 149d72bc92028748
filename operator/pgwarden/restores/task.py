"""Operation `restore`: the init container that lays a backup out on the data volume, verified and harmless."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from pgwarden.api.quantities import human_bytes
from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.catalogue.contents import physical_backup
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tools import find_tool
from pgwarden.restores.archive_reader import read_catalogue
from pgwarden.restores.archives import resolve_among
from pgwarden.restores.combine import combine, shares_files
from pgwarden.restores.configuration import RESTORE_SCRIPT, server_settings
from pgwarden.restores.contract import DrillTask, Resolved, RestoreReport, RestoreTask, TargetPoint
from pgwarden.restores.durable import sync_path, write_at_once, write_durably
from pgwarden.restores.fetch import Fetch, Part
from pgwarden.restores.harmless import link_tablespaces, make_harmless
from pgwarden.restores.in_place_volume import InPlaceVolume, volume_of
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.patience import patiently
from pgwarden.restores.resolve import archive_of, end_of_backup, resolve
from pgwarden.restores.server import HANDSHAKE_FILES, SILENCE_SECONDS
from pgwarden.restores.space import REMEDY, REMEDY_IN_PLACE, check_room, free_room, needed_room
from pgwarden.restores.standby_volume import all_held, check_standbys_room, keep_all_old, standbys_of
from pgwarden.restores.steps import Steps
from pgwarden.restores.verify import read_control_data, sync_to_disk, verify_backup
from pgwarden.restores.volume import Marker, RestoreVolume, State
from pgwarden.storage.authenticity import refuse_forged
from pgwarden.storage.catalogue_key import catalogue_key_of
from pgwarden.storage.encryption import read_identities
from pgwarden.storage.layout import backup_folder, record_file
from pgwarden.storage.store import Store, open_store

__all__ = ["DrillTask", "RestoreTask", "run"]

SERVER_SCRIPT = "run-server.sh"
TAKEN_AWAY = frozenset({"ObjectMissing", "ChainBroken"})
"""What a restore hears whose backup is deleted under it, before any server has run on what it has fetched."""
ANOTHER_BACKUP = "Restore another backup with a new RestoreRequest."


def run(task: RestoreTask, context: AgentContext) -> Done:
    """Resolves the target, fetches, unpacks and verifies the backup with all that it builds upon, then makes it
    harmless; once for each request, whatever happens.

    Raises TaskError; the reasons stand in docs/restore.md.
    """
    volume = volume_of(task)
    paths = volume.paths
    with volume.held(), all_held(standbys_of(task)):
        marker = volume.marker()
        if marker is not None and marker.restored is not None:
            write_scripts(paths, int(marker.restored.postgres_version.split(".")[0]))
            return done(marker.restored.model_copy(update={"repeated": True}))
        try:
            report, resolved = lay_out(task, context, volume, marker.resolved if marker is not None else None)
        except TaskError as error:
            if error.reason not in TAKEN_AWAY or task.location:
                raise
            # Retention or a person deleted it meanwhile, and may have left another way to the target.
            context.log(f"resolving the target again: {error.message}")
            report, resolved = lay_out(task, context, volume, None)
        volume.write(
            Marker(
                request_uid=task.request_uid,
                location=resolved.location,
                state=State.LAID_OUT,
                resolved=resolved,
                restored=report,
            )
        )
        return done(report)


def lay_out(
    task: RestoreTask, context: AgentContext, volume: RestoreVolume, decided: Resolved | None
) -> tuple[RestoreReport, Resolved]:
    """Everything from an empty volume, or one that a killed attempt left, to a directory ready to recover; `decided` is
    what that attempt resolved."""
    paths = volume.paths
    steps = Steps(context)
    with steps.step("Resolve"):
        store = open_store(task.store)
        key = catalogue_key_of(task.store)
        hmac = key.hmac if key is not None else None
        resolved = decided or patiently(lambda: find_base(task, store, hmac), task.target, context)
        chain = read_chain(store, resolved, hmac)
        record, _ = chain[-1]
        steps.detail = f"{resolved.target}, from backup {resolved.backup_id}"
        context.log(f"restoring to {steps.detail}; passed over: {'; '.join(resolved.passed_over) or 'none'}")
    with steps.step("Prepare"):
        identities = read_identities(Path(task.store.identity_file)) if task.store.identity_file else []
        major = record.server.version_num // 10000
        find_tool("pg_verifybackup", major)
        volume.write(
            Marker(request_uid=task.request_uid, location=resolved.location, state=State.UNPACKING, resolved=resolved)
        )
        volume.clear()
        records = [each for each, _ in chain]
        remedy = REMEDY_IN_PLACE if task.replaces else REMEDY
        needed, standbys = needed_room(records, shared=shares_files(major)), standbys_of(task)
        check_room(resolved.backup_id, needed, free_room(paths.work), remedy)
        check_standbys_room(standbys, resolved.backup_id, needed)
        write_scripts(paths, major)
        write_durably(paths.record, chain[-1][1])
    if isinstance(volume, InPlaceVolume):
        with steps.step("KeepOld"):
            steps.detail = keep_all_old(volume, standbys, task.replaces, major, context)
    with steps.step("Fetch"):
        fetch = Fetch(store, parts_of(resolved, records, paths), identities, context)
        fetch.write_manifests()
        fetch.unpack_all(task.parallel)
        volume.close_to_others()
        for part in fetch.parts:
            link_tablespaces(part.place, part.record)
    with steps.step("Verify"):
        for part in fetch.parts:
            verify_backup(part.place, part.wal, major, context, parallel=task.parallel)
    with steps.step("Combine"):
        if len(chain) > 1:
            combine(paths, records, major, context)
            volume.close_to_others()
            link_tablespaces(paths, record)
            verify_backup(paths, paths.wal, major, context, parallel=task.parallel)
        steps.detail = f"{len(chain)} backups" if len(chain) > 1 else "a full backup needs no other"
    with steps.step("MakeHarmless"):
        check_system_identifier(paths, record, major, context)
        make_harmless(paths)
        sync_to_disk(paths, major, context)
        for path in (*paths.wal.iterdir(), paths.wal, paths.manifest, paths.work, paths.pgdata.parent):
            sync_path(path)
    report = RestoreReport(
        backup_id=record.backup_id,
        system_identifier=record.system_identifier,
        start_lsn=record.start_lsn,
        stop_lsn=record.stop_lsn,
        timeline=record.timeline,
        postgres_version=record.server.version,
        plain_bytes=sum(each.plain_bytes for each in records),
        files_verified=sum(each.manifest_files for each in records),
        resolved=resolved,
        steps=steps.reports,
    )
    return report, resolved


def find_base(task: RestoreTask, store: Store, key: bytes | None) -> Resolved:
    """Where the restore begins and which way it goes. Raises what reading the store and `resolve` raise."""
    target = task.target or TargetPoint(immediate=True)
    if task.location and target.immediate:
        name = record_file(task.location)
        return end_of_backup(physical_backup(read_record(store.read_small(name), name), task.location))
    now = datetime.now(UTC)
    if not task.location:
        return resolve_among(store, task.archive, target, now, key)
    backup_id = task.location.rsplit("/", 1)[-1]
    return resolve(read_catalogue(store, archive_of(task.location), target, now, key=key), target, backup_id)


def read_chain(store: Store, resolved: Resolved, key: bytes | None) -> list[tuple[BackupRecord, bytes]]:
    """The records of the chain with their bytes, the full first.

    A record of another key than this store's present one is believed: the store may have come from another Kubernetes
    cluster. Raises TaskError: ChainBroken, RecordForged, BackupDamaged, BackupUntrusted, WALNotCarried.
    """
    chain = []
    for backup_id in resolved.chain:
        name = record_file(backup_folder(resolved.archive, backup_id))
        if backup_id == resolved.backup_id:
            name = record_file(resolved.location)
        try:
            content = store.read_small(name)
        except TaskError as error:
            if error.reason != "ObjectMissing" or backup_id == resolved.backup_id:
                raise
            raise TaskError(
                "ChainBroken",
                f"backup {resolved.backup_id} holds changes since {backup_id}, and {name} is not in the store",
                remedy=ANOTHER_BACKUP,
            ) from error
        if key is not None:
            refuse_forged(content, name, key)
        chain.append((read_record(content, name), content))
    for record, _ in chain:
        refuse_unfit(record)
    refuse_strangers([record for record, _ in chain])
    return chain


def refuse_unfit(record: BackupRecord) -> None:
    """Raises TaskError: BackupDamaged, BackupUntrusted, WALNotCarried."""
    if record.damaged:
        raise TaskError(
            "BackupDamaged",
            f"backup {record.backup_id} holds pages that were damaged on the original server: {record.damage}",
            remedy=f"{ANOTHER_BACKUP} To rescue what is readable, follow restoreByHand in its backup.json.",
        )
    if record.untrusted:
        raise TaskError(
            "BackupUntrusted",
            f"backup {record.backup_id} is not to be relied on: {record.untrusted_reason}",
            remedy=f"{ANOTHER_BACKUP} Its full, with WAL of the archive, leads to the same point.",
        )
    if not record.carries_wal:
        raise TaskError(
            "WALNotCarried",
            f"backup {record.backup_id} does not carry the WAL that makes it consistent",
            remedy=ANOTHER_BACKUP,
        )


def refuse_strangers(chain: Sequence[BackupRecord]) -> None:
    """Raises TaskError with reason ChainBroken when the backups are not of one server of one major version, or do not
    build upon each other."""
    for parent, child in itertools.pairwise(chain):
        fits = child.parent_id == parent.backup_id and child.type == "incremental"
        same = (parent.system_identifier, parent.server.version_num // 10000) == (
            child.system_identifier,
            child.server.version_num // 10000,
        )
        if not (fits and same):
            raise TaskError(
                "ChainBroken",
                f"backup {child.backup_id} does not build upon {parent.backup_id}: its parent is {child.parent_id}, "
                f"its system {child.system_identifier}, its server PostgreSQL {child.server.version}",
                remedy=ANOTHER_BACKUP,
            )
    if chain[0].type != "full":
        raise TaskError(
            "ChainBroken",
            f"the chain of backups begins with {chain[0].backup_id}, which is no full",
            remedy=ANOTHER_BACKUP,
        )


def parts_of(resolved: Resolved, chain: Sequence[BackupRecord], paths: RestorePaths) -> list[Part]:
    """What is fetched, and where to: a backup that builds upon nothing goes where it stays."""
    if len(chain) == 1:
        return [Part(resolved.location, chain[0], paths, paths.wal)]
    folders = [backup_folder(resolved.archive, record.backup_id) for record in chain[:-1]]
    return [
        Part(location, record, paths.chain_input(number), paths.wal if record is chain[-1] else None)
        for number, (location, record) in enumerate(zip([*folders, resolved.location], chain, strict=True))
    ]


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
        + human_bytes(report.plain_bytes),
        report,
    )
