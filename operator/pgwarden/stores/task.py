"""Operation `probe-store`: writes, reads, lists and deletes one small object below the store's prefix."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.store import ObjectInfo, Space, Store, object_damaged, open_store
from pgwarden.stores.contract import ProbeStoreReport, ProbeStoreTask

__all__ = ["ProbeStoreTask", "run"]

PROBE_FOLDER = "pgwarden-probe"
PROBE_BYTES = 4096
RESOLUTION = timedelta(seconds=1)
"""Stores tell times in whole seconds."""
LEFT_AT_ONCE = 20
"""So many objects of earlier probes are deleted, where the store held them then."""
MAY_NOT_DELETE = {"ObjectLocked", "StoreAccessDenied"}
UNREACHABLE = {
    "BucketNotFound",
    "CertificateNotTrusted",
    "ClaimMissing",
    "CredentialsMalformed",
    "CredentialsMissing",
    "StoreCredentialsRejected",
    "StoreMisconfigured",
    "StoreUnreachable",
}


@dataclass(frozen=True)
class Found:
    """What a probe that succeeded found out beside."""

    refusal: TaskError | None = None
    """Why the object could not be deleted: backups can be written all the same."""
    versions: bool = False
    clock_skew: timedelta = timedelta()


def run(payload: ProbeStoreTask, context: AgentContext) -> Done:
    """Probes the store. Raises TaskError, whose report is a ProbeStoreReport as well."""
    context.progress("probing", unit="steps")
    space: Space | None = None
    try:
        parse_recipients(payload.store.recipients)
        store = open_store(payload.store)
        space = store.space()
        found = probe(store)
    except TaskError as error:
        report = _report(space, reachable=error.reason not in UNREACHABLE, writable=False)
        error.report = report.model_dump(mode="json", by_alias=True, exclude_none=True)
        raise
    report = _report(space, reachable=True, writable=True)
    report.versions, report.clock_skew_seconds = found.versions, found.clock_skew.total_seconds()
    if found.refusal is not None:
        report.kept, report.kept_reason = found.refusal.message, found.refusal.reason
    return Done("StoreWritable", f"{store.name} can be written to", report)


def probe(store: Store) -> Found:
    """Writes, reads back, lists and deletes one object of a name that nothing else uses. Raises TaskError."""
    path = f"{PROBE_FOLDER}/{secrets.token_hex(8)}"
    content = secrets.token_bytes(PROBE_BYTES)
    before = datetime.now(UTC)
    store.put(path, content)
    after = datetime.now(UTC)
    versions = False
    try:
        if store.read_small(path) != content:
            raise object_damaged(store, path, "reading it back gave other bytes")
        listed = {info.path: info for info in store.list(PROBE_FOLDER)}
        if path not in listed:
            raise TaskError(
                "StoreFailed",
                f"the {store.name} does not list the object {path}, which was just written to it",
                remedy="pgwarden needs a store whose listings show what was written.",
            )
        versions = store.keeps_versions(path)
    finally:
        refusal = deleted(store, path)
    if refusal is None and store.head(path) is not None:
        raise TaskError(
            "StoreFailed",
            f"the {store.name} still has the object {path}, which was just deleted",
            remedy="Versioning and object lock are fine, a store that ignores deletions is not.",
        )
    sweep(store, [each for each in listed if each != path][:LEFT_AT_ONCE])
    return Found(refusal, versions, skew(listed[path], before, after))


def deleted(store: Store, path: str) -> TaskError | None:
    """Deletes the object; why that was refused, where it was. Raises TaskError for everything else."""
    try:
        store.delete(path)
    except TaskError as error:
        if error.reason not in MAY_NOT_DELETE:
            raise
        return error
    return None


def sweep(store: Store, left: list[str]) -> None:
    """Deletes what earlier probes had to leave, as far as it is held no longer."""
    for path in left:
        with suppress(TaskError):
            store.delete(path)


def skew(written: ObjectInfo, before: datetime, after: datetime) -> timedelta:
    """By how much the store's clock is at least ahead of ours; negative when it is behind."""
    if written.modified is None:
        return timedelta()
    if written.modified > after + RESOLUTION:
        return written.modified - after
    return min(timedelta(), written.modified - (before - RESOLUTION))


def _report(space: Space | None, *, reachable: bool, writable: bool) -> ProbeStoreReport:
    return ProbeStoreReport(
        reachable=reachable,
        writable=writable,
        free_bytes=space.free if space else None,
        total_bytes=space.total if space else None,
    )
