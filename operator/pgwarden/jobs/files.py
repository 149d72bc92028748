"""Where a pod finds what the operator mounts into it, and whose an archive is. Secrets reach a pod as files alone."""

from __future__ import annotations

from typing import Annotated

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
    secret_access_key_file: str = f"{SECRETS}/store/secret_access_key"


class ClaimLocation(ContractModel):
    """A PersistentVolumeClaim mounted as a folder."""

    path: str = "/pgwarden/store"


class StoreLocation(ContractModel):
    """Where a BackupStore keeps its objects: exactly one of s3 and claim, and a prefix inside it."""

    s3: S3Location | None = None
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
