"""How a task's pod reaches a BackupStore: location, volumes, mounts, and what must be there. Pure."""

from __future__ import annotations

from typing import Any, Literal

from pgwarden.api.conditions import Truth, find
from pgwarden.api.references import SecretKey, Wanted
from pgwarden.clusters.access import Obstacle, certificate_projection, certificate_wanted
from pgwarden.jobs.files import SECRETS, AzureLocation, ClaimLocation, GCSLocation, S3Location, StoreLocation
from pgwarden.stores.resource import S3, BackupStore, ServerSideEncryption

Manifest = dict[str, Any]

STORE_SECRETS = f"{SECRETS}/store"
IDENTITY_FILE = f"{SECRETS}/identity/identity"
CATALOGUE_KEY = f"{SECRETS}/catalogue-key"
CATALOGUE_KEYS = ("identity", "hmac")
CLAIM_PATH = "/pgwarden/store"
CA_FILE = f"{STORE_SECRETS}/ca.crt"
SSE: dict[ServerSideEncryption, Literal["AES256", "aws:kms"]] = {
    ServerSideEncryption.SSE_S3: "AES256",
    ServerSideEncryption.SSE_KMS: "aws:kms",
}
"""As the header x-amz-server-side-encryption has it."""


def describe(store: BackupStore) -> str:
    """The store as one line: s3://bucket/prefix at endpoint, gs://bucket/prefix, azure://account/container/prefix, or
    claim/name/prefix."""
    prefix = f"/{store.spec.prefix}" if store.spec.prefix else ""
    gcs, azure = store.spec.gcs, store.spec.azure
    if store.spec.s3 is not None:
        return f"s3://{store.spec.s3.bucket}{prefix} at {store.spec.s3.endpoint}"
    if gcs is not None:
        return f"gs://{gcs.bucket}{prefix}" + (f" at {gcs.endpoint}" if gcs.endpoint else "")
    if azure is not None:
        return f"azure://{azure.account}/{azure.container}{prefix}" + (
            f" at {azure.endpoint}" if azure.endpoint else ""
        )
    if store.spec.claim is not None:
        return f"claim/{store.spec.claim.name}{prefix}"
    return ""


def obstacle(store: BackupStore | None, name: str, *, frees: bool = False) -> Obstacle | None:
    """What keeps work with a store from beginning now, if anything does; a full one does not, where the work `frees`
    room."""
    if store is None:
        return Obstacle("StoreNotFound", f"there is no BackupStore {name} in this namespace; create it")
    if store.spec.suspend:
        return Obstacle("StoreSuspended", f"BackupStore {name} is suspended (spec.suspend)")
    writable = find(store.status.conditions, "Writable")
    unknown = writable is None or writable.status == Truth.UNKNOWN
    if writable is None or (unknown and not store.status.probed_spec):
        return Obstacle("StoreNotProbed", f"BackupStore {name} has not been probed yet")
    if unknown:
        return Obstacle("StoreNotProbed", f"whether BackupStore {name} can be written is not known: {writable.message}")
    if writable.status == Truth.FALSE and not (frees and writable.reason == "StoreFull"):
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
    s3, gcs, azure = store.spec.s3, store.spec.gcs, store.spec.azure
    encryption = store.spec.encryption
    return StoreLocation(
        s3=s3_location(s3) if s3 is not None else None,
        gcs=GCSLocation(
            bucket=gcs.bucket,
            endpoint=gcs.endpoint.rstrip("/") if gcs.endpoint else None,
            ca_file=CA_FILE if gcs.ca is not None else None,
            credentials_file=f"{STORE_SECRETS}/credentials" if gcs.credentials is not None else "",
        )
        if gcs is not None
        else None,
        azure=AzureLocation(
            account=azure.account,
            container=azure.container,
            endpoint=azure.endpoint.rstrip("/") if azure.endpoint else None,
            ca_file=CA_FILE if azure.ca is not None else None,
            account_key_file=f"{STORE_SECRETS}/credentials" if azure.credentials is not None else "",
        )
        if azure is not None
        else None,
        claim=ClaimLocation(path=CLAIM_PATH) if store.spec.claim is not None else None,
        prefix=store.spec.prefix,
        recipients=encryption.recipients if encryption is not None else [],
        identity_file=IDENTITY_FILE if identity else None,
        catalogue_key=CATALOGUE_KEY if catalogue_key else None,
    )


def s3_location(s3: S3) -> S3Location:
    """A bucket of an S3-compatible server as a pod with `volumes` mounted sees it."""
    given = s3.credentials is not None
    return S3Location(
        endpoint=s3.endpoint.rstrip("/"),
        bucket=s3.bucket,
        region=s3.region,
        path_style=s3.path_style,
        ca_file=CA_FILE if s3.ca is not None else None,
        access_key_id_file=f"{STORE_SECRETS}/access_key_id" if given else "",
        secret_access_key_file=f"{STORE_SECRETS}/secret_access_key" if given else "",
        server_side_encryption=SSE[s3.server_side_encryption] if s3.server_side_encryption is not None else None,
        kms_key_id=s3.kms_key_id,
    )


def secret_sources(store: BackupStore) -> list[Manifest]:
    """The credentials and certificates as sources of a projected volume; none where there are none."""
    s3, bucket = store.spec.s3, store.spec.s3 or store.spec.gcs or store.spec.azure
    other = store.spec.gcs or store.spec.azure
    sources: list[Manifest] = []
    if s3 is not None and s3.credentials is not None:
        items = [
            {"key": s3.credentials.access_key_id_key, "path": "access_key_id"},
            {"key": s3.credentials.secret_access_key_key, "path": "secret_access_key"},
        ]
        sources.append({"secret": {"name": s3.credentials.secret_name, "items": items}})
    if other is not None and other.credentials is not None:
        items = [{"key": other.credentials.key, "path": "credentials"}]
        sources.append({"secret": {"name": other.credentials.name, "items": items}})
    if bucket is not None and bucket.ca is not None:
        sources.append(certificate_projection(bucket.ca))
    return sources


def volumes(
    store: BackupStore, *, identity: SecretKey | None = None, read_only: bool = False, catalogue_key: bool = False
) -> list[Manifest]:
    """Volumes with the store's Secrets, its claim, the identity, and the catalogue's key."""
    found: list[Manifest] = []
    if sources := secret_sources(store):
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
    if secret_sources(store):
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
    if s3 is not None and s3.credentials is not None:
        keys = (s3.credentials.access_key_id_key, s3.credentials.secret_access_key_key)
        found.append(Wanted("Secret", s3.credentials.secret_name, keys, f"s3.credentials of BackupStore {name}"))
    for kind, other in (("gcs", store.spec.gcs), ("azure", store.spec.azure)):
        if other is not None and other.credentials is not None:
            given = other.credentials
            found.append(Wanted("Secret", given.name, (given.key,), f"{kind}.credentials of BackupStore {name}"))
    for kind, bucket in (("s3", s3), ("gcs", store.spec.gcs), ("azure", store.spec.azure)):
        if bucket is not None and bucket.ca is not None:
            found.append(certificate_wanted(bucket.ca, f"{kind}.ca of BackupStore {name}"))
    if identity is not None:
        found.append(Wanted("Secret", identity.name, (identity.key,), "age identity"))
    if catalogue_key:
        purpose = f"catalogue key of BackupStore {name}, which pgwarden makes with the store"
        found.append(Wanted("Secret", catalogue_key_name(name), CATALOGUE_KEYS, purpose))
    return found
