"""Operation `in-place`: the short tasks around the restore of a server's data in their own place."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from pgwarden.api.quantities import human_bytes
from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.tools import find_tool
from pgwarden.restores.combine import shares_files
from pgwarden.restores.contract import Resolved
from pgwarden.restores.fetch import Fetch
from pgwarden.restores.in_place_contract import Action, InPlaceTask, LookReport, PlaceReport, PreflightReport
from pgwarden.restores.in_place_volume import InPlaceVolume, look_at_old, unfit
from pgwarden.restores.paths import InPlacePaths, RestorePaths
from pgwarden.restores.patience import patiently
from pgwarden.restores.space import REMEDY_IN_PLACE, Room, check_room, free_room, needed_room
from pgwarden.restores.standby_volume import (
    StandbyVolume,
    all_held,
    data_directory_on,
    find_primary,
    look_at_standby,
    on_claim,
    standbys_of,
)
from pgwarden.restores.task import find_base, parts_of, read_chain
from pgwarden.restores.volume import Marker, State
from pgwarden.storage.catalogue_key import catalogue_key_of
from pgwarden.storage.encryption import read_identities
from pgwarden.storage.layout import begun_object, join
from pgwarden.storage.store import ObjectExists, Store, open_store

__all__ = ["InPlaceTask", "run"]

STORE_IS_READ_ONLY = frozenset({"StoreReadOnly", "StoreAccessDenied"})


def run(task: InPlaceTask, context: AgentContext) -> Done:
    """Carries one action out; each can be repeated. Raises TaskError; the reasons stand in docs/restore-in-place.md."""
    if task.action is Action.PREFLIGHT:
        return preflight(task, context)
    if task.action is Action.LOOK:
        return look(task, context)
    restore = task.restore
    volume = InPlaceVolume(InPlacePaths(Path(restore.pgdata), Path(restore.shared), restore.request_uid))
    actions = {Action.HAND_OVER: hand_over, Action.PUT_BACK: put_back, Action.DISCARD_OLD: discard_old}
    standbys = standbys_of(restore)
    with volume.held(), all_held(standbys):
        return actions[task.action](volume, standbys)


def preflight(task: InPlaceTask, context: AgentContext) -> Done:
    """Whether the restore can succeed, found out while the server still works. It changes nothing but that the store
    takes note of the request.

    Raises TaskError: what resolving the target raises, ObjectMissing, ObjectDamaged, WrongIdentity, VolumeTooSmall,
    ReplacesAnother, DataDirectoryUnfit, PrimaryUnclear, ForeignMember, RequestReplayed.
    """
    restore = task.restore
    context.progress("Preflight")
    store = open_store(restore.store)
    key = catalogue_key_of(restore.store)
    hmac = key.hmac if key is not None else None
    resolved = patiently(lambda: find_base(restore, store, hmac), restore.target, context, step="Preflight")
    records = [record for record, _ in read_chain(store, resolved, hmac)]
    major = records[-1].server.version_num // 10000
    find_tool("pg_verifybackup", major)
    read_manifests(task, store, resolved, records, context)
    room = needed_room(records, shared=shares_files(major))
    report = PreflightReport(resolved=resolved, needed_bytes=room.bytes, needed_files=room.files)
    if task.volume_mounted:
        primary, free = look_at_volumes(task, resolved, room, major, context)
        seen = {"primary": primary, "free_bytes": free.bytes, "free_files": min(free.files, 1 << 53)}
        report = report.model_copy(update=seen)
    elif task.members:
        report.notes.append(
            "one pod cannot mount the claims of all members while these run, so what lies on them, and whether they can"
            " be mounted together, is looked at once the servers stopped"
        )
    else:
        report.notes.append(
            "the claim can be mounted by one pod only, so its space is looked at once the server stopped"
        )
    report.in_store = take_note(task, store, resolved, context)
    if not report.in_store:
        report.notes.append("the store cannot be written from here, so it takes no note of this restore")
    free_ = f" of {human_bytes(report.free_bytes)} that are free" if report.free_bytes is not None else ""
    count = f"{len(resolved.chain)} backups" if len(resolved.chain) > 1 else f"backup {resolved.backup_id}"
    said = f"{resolved.target} can be restored from {count}; it takes {human_bytes(room.bytes)}{free_}"
    return Done("Passed", "; ".join([said, *report.notes]), report)


def read_manifests(
    task: InPlaceTask, store: Store, resolved: Resolved, records: list[BackupRecord], context: AgentContext
) -> None:
    """Reads what proves that the backups can be read at all: every object is there with its size, and the manifests,
    encrypted as all the rest, can be decrypted."""
    restore = task.restore
    scratch = RestorePaths(Path(restore.shared) / "preflight", Path(restore.shared), restore.request_uid)
    identities = read_identities(Path(restore.store.identity_file)) if restore.store.identity_file else []
    fetch = Fetch(store, parts_of(resolved, records, scratch), identities, context)
    for part in fetch.parts:
        sizes = {listed.path: listed.size for listed in store.list(part.location)}
        for each in part.record.objects:
            path = join(part.location, each.path)
            if sizes.get(path) != each.stored_bytes:
                raise TaskError(
                    "ObjectMissing" if path not in sizes else "ObjectDamaged",
                    f"{path} has {sizes.get(path, 'no')} bytes in the store ({store.name}), its record says"
                    f" {each.stored_bytes}",
                    remedy="Nothing was stopped. Restore another backup with a new RestoreRequest.",
                )
    fetch.write_manifests()


def look_at_volumes(
    task: InPlaceTask, resolved: Resolved, room: Room, major: int, context: AgentContext
) -> tuple[str, Room]:
    """The primary's claim, where there are several, and the least that is free on any of them, once the data
    directories are those that are meant, and it all fits."""
    token, free = task.restore.replaces, []
    if not task.members:
        pgdata = Path(task.restore.pgdata)
        look_beside(pgdata)
        look_at_old(pgdata, token, major, context)
        free.append(free_room(pgdata.parent))
        check_room(resolved.backup_id, room, free[-1], REMEDY_IN_PLACE)
        return "", free[-1]
    primary = find_primary(task.members, task.restore.pgdata, context)
    for each in task.members:
        pgdata = data_directory_on(each, task.restore.pgdata)
        with on_claim(each.claim):
            look_beside(pgdata)
            if each is primary:
                look_at_old(pgdata, token, major, context)
            else:
                look_at_standby(each, pgdata, token, major, context)
        free.append(free_room(pgdata.parent))
        check_room(resolved.backup_id, room, free[-1], REMEDY_IN_PLACE, f"claim {each.claim}")
    return primary.claim, min(free, key=lambda each: each.bytes)


def look_beside(pgdata: Path) -> None:
    """Raises TaskError with reason DataDirectoryUnfit when nothing can lie beside the data directory."""
    if not pgdata.exists():
        raise unfit(f"there is no {pgdata} on the claim: look at workloadRef.dataDirectory of the DatabaseCluster")
    if not os.access(pgdata.parent, os.W_OK):
        raise unfit(f"the user {os.geteuid()} cannot write into {pgdata.parent}, so nothing can lie beside {pgdata}")


def look(task: InPlaceTask, context: AgentContext) -> Done:
    """Which member is the primary. Raises as `find_primary`."""
    primary = find_primary(task.members, task.restore.pgdata, context)
    said = f"the claims of {len(task.members)} members can be mounted together; {primary.claim} is the primary's"
    return Done("Found", said, LookReport(primary=primary.claim))


def take_note(task: InPlaceTask, store: Store, resolved: Resolved, context: AgentContext) -> bool:
    """Writes into the store that the request begins; False where it cannot be written.

    Raises TaskError with reason RequestReplayed when it had begun before and this cluster does not know of it: its
    objects were brought back from a copy.
    """
    restore = task.restore
    note = {
        "requestUid": restore.request_uid,
        "replaces": restore.replaces,
        "target": resolved.target,
        "backupId": resolved.backup_id,
        "time": datetime.now(UTC).isoformat(),
    }
    name = begun_object(resolved.archive, restore.request_uid)
    try:
        store.put(name, json.dumps(note, indent=2).encode())
    except ObjectExists:
        if context.task.attempt == 1:
            raise TaskError(
                "RequestReplayed",
                f"this RestoreRequest (UID {restore.request_uid}) was begun before: {name} is in the store",
                remedy="Nothing was stopped. When it is meant to be carried out again, make a new RestoreRequest.",
            ) from None
    except TaskError as error:
        if error.reason not in STORE_IS_READ_ONLY:
            raise
        return False
    return True


def hand_over(volume: InPlaceVolume, standbys: list[StandbyVolume]) -> Done:
    """Puts the recovered directory in its place, and after it those of the standbys: once the primary's is there, only
    going on leads to members that belong together, and before it everything can be put back.

    Raises TaskError: NothingLaidOut, and what `OldData.state` raises.
    """
    refuse_unless_recovered(volume)
    for each in standbys:
        with each.named():
            refuse_unless_recovered(each)
    repeated = not replace(volume)
    replace_standbys(standbys)
    paths = volume.paths
    report = PlaceReport(pgdata=str(paths.pgdata), old_data=str(paths.before), repeated=repeated)
    where = f" on the claims of all {len(standbys) + 1} members" if standbys else ""
    return Done(
        "HandedOver", f"{paths.pgdata} holds the restored data{where}; the old ones are in {paths.before}", report
    )


def refuse_unless_recovered(volume: InPlaceVolume) -> None:
    """Raises TaskError with reason NothingLaidOut where no whole data directory waits to be handed over, or was."""
    marker = volume.marker()
    if marker is None or marker.state not in (State.CHECKED, State.DONE):
        raise TaskError(
            "NothingLaidOut",
            f"there is no recovered and checked data directory in {volume.paths.work} to hand over",
            remedy="Cancel the RestoreRequest (spec.cancel), which puts the old data back, and make a new one.",
        )


def replace(volume: InPlaceVolume) -> bool:
    """Puts one directory in its place; False when it was there already. Raises as `OldData.state`."""
    marker = volume.marker()
    waiting = marker is not None and marker.state is State.CHECKED
    if marker is not None and waiting:
        volume.old.replace()
        volume.write(marker.model_copy(update={"state": State.DONE}))
    volume.tidy()
    return waiting


def replace_standbys(standbys: list[StandbyVolume]) -> None:
    """Puts the standbys' directories in their places. Raises as `OldData.state`."""
    for each in standbys:
        with each.named():
            replace(each)


def put_back(volume: InPlaceVolume, standbys: list[StandbyVolume]) -> Done:
    """Has everything on the volumes as it was.

    Raises TaskError with reason AlreadyHandedOver when the restored directory is in its place; those of the standbys
    then are as well.
    """
    try:
        touched = put_one_back(volume)
    except TaskError as error:
        if error.reason == "AlreadyHandedOver":
            replace(volume)
            replace_standbys(standbys)
        raise
    for each in standbys:
        with each.named():
            touched = put_one_back(each) or touched
    paths = volume.paths
    said = f"{paths.pgdata} is as it was before" if touched else f"nothing in {paths.pgdata} had been touched"
    where = f", on the claims of all {len(standbys) + 1} members" if standbys else ""
    return Done("PutBack", f"{said}{where}", PlaceReport(pgdata=str(paths.pgdata)))


def put_one_back(volume: InPlaceVolume) -> bool:
    """Has everything on one volume as it was; whether there was something to be put back. Raises TaskError with reason
    AlreadyHandedOver."""
    paths = volume.paths
    touched = True
    try:
        volume.old.put_back()
    except TaskError as error:
        if error.reason not in ("DataDirectoryMissing", "GuardOfAnotherRequest"):
            raise
        touched = False
    # Said first: an attempt that a lost node still runs must not begin anew.
    volume.write(Marker(request_uid=paths.request_uid, location="", state=State.PUT_BACK))
    volume.tidy(tablespaces=True)
    return touched


def discard_old(volume: InPlaceVolume, _: list[StandbyVolume]) -> Done:
    """Deletes the old data on one claim. Raises TaskError with reason NotHandedOver unless the restored ones are in
    their place."""
    paths, marker = volume.paths, volume.marker()
    if marker is None or marker.state is not State.DONE:
        raise TaskError(
            "NotHandedOver",
            f"no restore of this request is in {paths.pgdata}: what is there now may be the only copy of the data",
            remedy="Wait for the restore's end.",
        )
    left = volume.old.discard()
    more = f"; tablespaces on other volumes are left: {', '.join(left)}" if left else ""
    return Done("Discarded", f"{paths.before} is deleted{more}", PlaceReport(pgdata=str(paths.pgdata), left=left))
