"""Operation `probe-store`: writes, reads, lists and deletes one small object below the store's prefix."""

from __future__ import annotations

import secrets

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.storage.encryption import parse_recipients
from pgwarden.storage.store import Space, Store, object_damaged, open_store
from pgwarden.stores.contract import ProbeStoreReport, ProbeStoreTask

__all__ = ["ProbeStoreTask", "run"]

PROBE_FOLDER = "pgwarden-probe"
PROBE_BYTES = 4096
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


def run(payload: ProbeStoreTask, context: AgentContext) -> Done:
    """Probes the store. Raises TaskError, whose report is a ProbeStoreReport as well."""
    context.progress("probing", unit="steps")
    space: Space | None = None
    try:
        parse_recipients(payload.store.recipients)
        store = open_store(payload.store)
        space = store.space()
        probe(store)
    except TaskError as error:
        report = _report(space, reachable=error.reason not in UNREACHABLE, writable=False)
        error.report = report.model_dump(mode="json", by_alias=True, exclude_none=True)
        raise
    return Done("StoreWritable", f"{store.name} can be written to", _report(space, reachable=True, writable=True))


def probe(store: Store) -> None:
    """Writes, reads back, lists and deletes one object of a name that nothing else uses. Raises TaskError."""
    path = f"{PROBE_FOLDER}/{secrets.token_hex(8)}"
    content = secrets.token_bytes(PROBE_BYTES)
    store.put(path, content)
    try:
        if store.read_small(path) != content:
            raise object_damaged(store, path, "reading it back gave other bytes")
        if path not in {info.path for info in store.list(PROBE_FOLDER)}:
            raise TaskError(
                "StoreFailed",
                f"the {store.name} does not list the object {path}, which was just written to it",
                remedy="pgwarden needs a store whose listings show what was written.",
            )
    finally:
        store.delete(path)
    if store.head(path) is not None:
        raise TaskError(
            "StoreFailed",
            f"the {store.name} still has the object {path}, which was just deleted",
            remedy="Versioning and object lock are fine, a store that ignores deletions is not.",
        )


def _report(space: Space | None, *, reachable: bool, writable: bool) -> ProbeStoreReport:
    return ProbeStoreReport(
        reachable=reachable,
        writable=writable,
        free_bytes=space.free if space else None,
        total_bytes=space.total if space else None,
    )
