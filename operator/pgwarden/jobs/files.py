"""Where a pod finds what the operator mounts into it, and whose an archive is. Secrets reach a pod as files alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pgwarden.jobs.task import ContractModel

SECRETS = "/pgwarden/secrets"
SCRATCH = "/pgwarden/scratch"
SOURCES = "/pgwarden/sources"
PRIVATE = "/pgwarden/private"
"""A volume in memory, for what must not reach a disk."""


class DatabaseAddress(ContractModel):
    """How to reach one PostgreSQL server; user name and password stand in files."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: str = "postgres"
    tls_mode: str = "prefer"
    """libpq's sslmode."""
    username_file: str = f"{SECRETS}/database/username"
    password_file: str = f"{SECRETS}/database/password"
    ca_file: str | None = None
    """PEM bundle of certificate authorities; None where the server's certificate is not verified."""


class S3Location(ContractModel):
    """A bucket of an S3-compatible server."""

    endpoint: str
    bucket: str
    region: str = "us-east-1"
    path_style: bool = True
    ca_file: str | None = None
    access_key_id_file: str = f"{SECRETS}/store/access_key_id"
    """Empty: the pod has an identity of its own, by its service account."""
    secret_access_key_file: str = f"{SECRETS}/store/secret_access_key"
    server_side_encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None


class GCSLocation(ContractModel):
    """A bucket of Google Cloud Storage."""

    bucket: str
    endpoint: str | None = None
    """None: Google's own."""
    ca_file: str | None = None
    credentials_file: str = ""
    """A service account's key in JSON; empty: the pod has an identity of its own."""


class AzureLocation(ContractModel):
    """A container of Azure Blob Storage."""

    account: str
    container: str
    endpoint: str | None = None
    """None: the account's own."""
    ca_file: str | None = None
    account_key_file: str = ""
    """Empty: the pod has an identity of its own."""


class ClaimLocation(ContractModel):
    """A PersistentVolumeClaim mounted as a folder."""

    path: str = "/pgwarden/store"


class StoreLocation(ContractModel):
    """Where a BackupStore keeps its objects: exactly one of s3, gcs, azure and claim, and a prefix inside it."""

    s3: S3Location | None = None
    gcs: GCSLocation | None = None
    azure: AzureLocation | None = None
    claim: ClaimLocation | None = None
    prefix: str = ""
    recipients: list[str] = Field(default_factory=list)
    """age recipients; empty means that objects are not encrypted."""
    identity_file: str | None = None
    """age identity, where a task has to read what was encrypted."""
    catalogue_key: str | None = None
    """Folder with the store's catalogue key, where a task writes records, or checks who wrote them."""


class ArchiveIdentity(ContractModel):
    """Whose backups and WAL these are; becomes `<prefix>/<namespace>/<cluster>/<archive id>/archive.json`."""

    namespace: str
    cluster: str
    cluster_uid: str
    """UID of the DatabaseCluster that owns the archive."""
    store: str = ""
    """Name of the BackupStore, for messages; empty where a shell opens a bucket or folder by itself."""
