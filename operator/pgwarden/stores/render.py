"""The Job that probes a BackupStore. Pure."""

from __future__ import annotations

from pgwarden.jobs.launch import Launch
from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL, OWNER_KIND_LABEL, OWNER_NAME_LABEL, label_value
from pgwarden.jobs.render import Manifest, Owner
from pgwarden.stores.access import catalogue_key_name, location, mounts, volumes
from pgwarden.stores.contract import ProbeStoreTask
from pgwarden.stores.resource import BackupStore


def probe(store: BackupStore, launch: Launch) -> Manifest:
    """The Job of one attempt."""
    payload = ProbeStoreTask(store=location(store))
    return launch.job(Owner.of(store), payload, store.spec.job_template, volumes=volumes(store), mounts=mounts(store))


def catalogue_key_secret(store: BackupStore, data: dict[str, str]) -> Manifest:
    """The Secret with the store's catalogue key.

    The store does not own it: a BackupStore that is deleted and made anew must find the key of its backups again.
    """
    metadata = store.metadata
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        OWNER_KIND_LABEL: "BackupStore",
        OWNER_NAME_LABEL: label_value(metadata.name),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": catalogue_key_name(metadata.name), "namespace": metadata.namespace, "labels": labels},
        "type": "Opaque",
        "stringData": data,
    }
