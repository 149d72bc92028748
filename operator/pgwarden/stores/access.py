"""How a task's pod reaches a BackupStore: location, volumes, mounts, and what must be there. Pure."""

from __future__ import annotations

from typing import Any

from pgwarden.api.conditions import Truth, find
from pgwarden.api.references import SecretKey, Wanted
from pgwarden.clusters.access import Obstacle, certificate_projection, certificate_wanted
from pgwarden.jobs.files import SECRETS, ClaimLocation, S3Location, StoreLocation
from pgwarden.stores.resource import BackupStore

Manifest = dict[str, Any]

STORE_SECRETS = f"{SECRETS}/store"
IDENTITY_FILE = f"{SECRETS}/identity/identity"
CATALOGUE_KEY = f"{SECRETS}/catalogue-key"
CATALOGUE_KEYS = ("identity", "hmac")
CLAIM_PATH = "/pgwarden/store"


def describe(store: BackupStore) -> str:
    """The store as one line: s3://bucket/prefix at endpoint, or claim/name/prefix."""
    prefix = f"/{store.spec.prefix}" if store.spec.prefix else ""
    if store.spec.s3 is not None:
        return f"s3://{store.spec.s3.bucket}{prefix} at {store.spec.s3.endpoint}"
    if store.spec.claim is not None:
        return f"claim/{store.spec.claim.name}{prefix}"
    return ""


def obstacle(store: BackupStore | None, name: str) -> Obstacle | None:
    """What keeps work with a store from beginning now, if anything does."""
    if store is None:
        return Obstacle("StoreNotFound", f"there is no BackupStore {name} in this namespace; create it")
    if store.spec.suspend:
        return Obstacle("StoreSuspended", f"BackupStore {name} is suspended (spec.suspend)")
    writable = find(store.status.conditions, "Writable")
    if writable is None or writable.status == Truth.UNKNOWN:
        return Obstacle("StoreNotProbed", f"BackupStore {name} has not been probed yet")
    if writable.status == Truth.FALSE:
        return Obstacle(
            "StoreNotWritable", f"BackupStore {name} is not writable ({writable.reason}): {writable.message}"
        )
    return None


def catalogue_key_name(store: str) -> str:
    """Name of the Secret with the store's catalogue key, which the operator makes."""
    return f"{store}-catalogue-key"


def location(store: BackupStore, *, identity: bool = False, catalogue_key: bool = False) -> StoreLocation:
    """The store as a pod with `volumes` mounted sees it; `identity` where it has to read what is encrypted,

    `catalogue_key` where it writes records or checks who wrote them.
    """
    s3 = store.spec.s3
    encryption = store.spec.encryption
    return StoreLocation(
        s3=S3Location(
            endpoint=s3.endpoint.rstrip("/"),
            bucket=s3.bucket,
            region=s3.region,
            path_style=s3.path_style,
            ca_file=f"{STORE_SECRETS}/ca.crt" if s3.ca is not None else None,
            access_key_id_file=f"{STORE_SECRETS}/access_key_id",
            secret_access_key_file=f"{STORE_SECRETS}/secret_access_key",
        )
        if s3 is not None
        else None,
        claim=ClaimLocation(path=CLAIM_PATH) if store.spec.claim is not None else None,
        prefix=store.spec.prefix,
        recipients=encryption.recipients if encryption is not None else [],
        identity_file=IDENTITY_FILE if identity else None,
        catalogue_key=CATALOGUE_KEY if catalogue_key else None,
    )


def volumes(
    store: BackupStore, *, identity: SecretKey | None = None, read_only: bool = False, catalogue_key: bool = False
) -> list[Manifest]:
    """Volumes with the store's Secrets, its claim, the identity, and the catalogue's key."""
    found: list[Manifest] = []
    s3 = store.spec.s3
    if s3 is not None:
        items = [
            {"key": s3.credentials.access_key_id_key, "path": "access_key_id"},
            {"key": s3.credentials.secret_access_key_key, "path": "secret_access_key"},
        ]
        sources: list[Manifest] = [{"secret": {"name": s3.credentials.secret_name, "items": items}}]
        if s3.ca is not None:
            sources.append(certificate_projection(s3.ca))
        found.append({"name": "store-secrets", "projected": {"defaultMode": 0o440, "sources": sources}})
    if store.spec.claim is not None:
        claim = {"claimName": store.spec.claim.name, "readOnly": read_only}
        found.append({"name": "store", "persistentVolumeClaim": claim})
    if identity is not None:
        secret = {
            "secretName": identity.name,
            "defaultMode": 0o440,
            "items": [{"key": identity.key, "path": "identity"}],
        }
        found.append({"name": "identity", "secret": secret})
    if catalogue_key:
        key = {"secretName": catalogue_key_name(store.metadata.name), "defaultMode": 0o440}
        found.append({"name": "catalogue-key", "secret": key})
    return found


def mounts(
    store: BackupStore, *, identity: SecretKey | None = None, read_only: bool = False, catalogue_key: bool = False
) -> list[Manifest]:
    """The mounts of `volumes`."""
    found: list[Manifest] = []
    if store.spec.s3 is not None:
        found.append({"name": "store-secrets", "mountPath": STORE_SECRETS, "readOnly": True})
    if store.spec.claim is not None:
        found.append({"name": "store", "mountPath": CLAIM_PATH, "readOnly": read_only})
    if identity is not None:
        found.append({"name": "identity", "mountPath": f"{SECRETS}/identity", "readOnly": True})
    if catalogue_key:
        found.append({"name": "catalogue-key", "mountPath": CATALOGUE_KEY, "readOnly": True})
    return found


def wanted(store: BackupStore, identity: SecretKey | None = None, *, catalogue_key: bool = False) -> list[Wanted]:
    """The Secrets, ConfigMaps and keys that the pod mounts."""
    found = []
    name = store.metadata.name
    s3 = store.spec.s3
    if s3 is not None:
        keys = (s3.credentials.access_key_id_key, s3.credentials.secret_access_key_key)
        found.append(Wanted("Secret", s3.credentials.secret_name, keys, f"s3.credentials of BackupStore {name}"))
        if s3.ca is not None:
            found.append(certificate_wanted(s3.ca, f"s3.ca of BackupStore {name}"))
    if identity is not None:
        found.append(Wanted("Secret", identity.name, (identity.key,), "age identity"))
    if catalogue_key:
        purpose = f"catalogue key of BackupStore {name}, which pgwarden makes with the store"
        found.append(Wanted("Secret", catalogue_key_name(name), CATALOGUE_KEYS, purpose))
    return found
