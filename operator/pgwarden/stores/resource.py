"""BackupStore: where backups live."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pgwarden.api.model import Column, DataKey, KindInfo, Model, ObjectName, Resource, Word
from pgwarden.api.references import CertificateSource, JobTemplate, SecretKey, rules
from pgwarden.api.status import WorkStatus


class S3Credentials(Model):
    """Access key of the bucket, in a Secret of this namespace."""

    secret_name: ObjectName
    """Name of the Secret."""
    access_key_id_key: DataKey = "access_key_id"
    """Key that holds the access key ID."""
    secret_access_key_key: DataKey = "secret_access_key"  # noqa: S105 - a key's name
    """Key that holds the secret access key."""


class ServerSideEncryption(StrEnum):
    SSE_S3 = "SSE-S3"
    SSE_KMS = "SSE-KMS"


class S3(Model):
    """A bucket of an S3-compatible server."""

    endpoint: Annotated[str, Field(max_length=512, pattern=r"^https?://[^/?#@\s]+/?$")]
    """URL of the server, without the bucket and without credentials, for example https://s3.example.com."""
    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][-.a-z0-9]*[a-z0-9]$")]
    """Name of the bucket; it must exist."""
    region: Annotated[str, Field(min_length=1, max_length=63)] = "us-east-1"
    """Region the bucket is in."""
    path_style: bool = True
    """Whether the bucket is named in the path (true) or in the host name (false)."""
    ca: CertificateSource | None = None
    """Certificate authorities that the server's certificate is checked against, when they are not public ones."""
    credentials: S3Credentials | None = None
    """Access key. Without it the pods use the identity that the cloud provider gives to their service account
    (jobTemplate.serviceAccountName of this BackupStore and of whatever works with it)."""
    server_side_encryption: ServerSideEncryption | None = None
    """How the server encrypts what it stores; without it as the bucket is set up."""
    kms_key_id: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """SSE-KMS: the key; without it the account's default key for S3."""


class GCS(Model):
    """A bucket of Google Cloud Storage."""

    bucket: Annotated[str, Field(min_length=3, max_length=222, pattern=r"^[a-z0-9][-._a-z0-9]*[a-z0-9]$")]
    """Name of the bucket; it must exist."""
    endpoint: Annotated[str, Field(max_length=512, pattern=r"^https?://[^/?#@\s]+/?$")] | None = None
    """URL of the server, when it is not Google's own."""
    ca: CertificateSource | None = None
    """Certificate authorities that the server's certificate is checked against, when they are not public ones."""
    credentials: SecretKey | None = None
    """Key of a service account in JSON. Without it the pods use workload identity, by their service account."""


class Azure(Model):
    """A container of Azure Blob Storage."""

    account: Annotated[str, Field(min_length=3, max_length=24, pattern=r"^[a-z0-9]+$")]
    """Name of the storage account."""
    container: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name of the container; it must exist."""
    endpoint: Annotated[str, Field(max_length=512, pattern=r"^https?://[^/?#@\s]+(/[a-z0-9]+)?/?$")] | None = None
    """URL of the blob service, when it is not https://<account>.blob.core.windows.net."""
    ca: CertificateSource | None = None
    """Certificate authorities that the server's certificate is checked against, when they are not public ones."""
    credentials: SecretKey | None = None
    """Key of the storage account. Without it the pods use workload identity, by their service account and the label
    azure.workload.identity/use (jobTemplate)."""


class Claim(Model):
    """A PersistentVolumeClaim of this namespace."""

    name: ObjectName
    """Name of the claim. A claim in the same failure domain as the database is not a backup."""


class Encryption(Model):
    """age (https://age-encryption.org/v1): backups are written for recipients and read with identities."""

    recipients: Annotated[
        list[Annotated[str, Field(min_length=62, max_length=62, pattern=r"^age1[02-9ac-hj-np-z]{58}$")]],
        Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ]
    """age X25519 recipients. Whoever holds the identity of one of them can read the backups; the Jobs that
    write them cannot."""
    identity: SecretKey | None = None
    """age identity that restores from this store are decrypted with, unless the RestoreRequest names another.
    Keep a copy of it outside this Kubernetes cluster."""


class BackupStoreSpec(Model):
    """Where backups live: exactly one of s3, gcs, azure and claim."""

    s3: S3 | None = None
    """A bucket of an S3-compatible server."""
    gcs: GCS | None = None
    """A bucket of Google Cloud Storage."""
    azure: Azure | None = None
    """A container of Azure Blob Storage."""
    claim: Claim | None = None
    """A PersistentVolumeClaim: needs nothing else."""
    prefix: Annotated[
        str, Field(max_length=512, pattern=r"^([A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*)?$")
    ] = ""
    """Folder inside the bucket or claim under which everything is kept."""
    encryption: Encryption | None = None
    """Encrypts what is written, from now on."""
    job_template: JobTemplate = Field(default_factory=JobTemplate)
    """What the pods that probe the store get."""
    suspend: bool = False
    """Stops probing; running backups go on, new ones wait."""


class BackupStoreStatus(WorkStatus):
    """How the store was when it was last probed."""

    location: Annotated[str, Field(max_length=1024)] = ""
    """The store as one line."""
    encrypted: bool = False
    """Whether new backups are encrypted."""
    last_probe_time: datetime | None = None
    """When the store was last probed by writing, reading, listing and deleting."""
    next_probe_time: datetime | None = None
    """When it is probed next."""
    free_bytes: int | None = None
    """Free space of a claim at the last probe."""
    total_bytes: int | None = None
    """Size of a claim."""
    free: Word = ""
    """Free space of a claim for people."""
    probed_spec: Annotated[str, Field(max_length=64)] = ""
    """Digest of the part of the spec that the last probe was made with."""


class BackupStore(Resource):
    """Where backups live: a bucket or a PersistentVolumeClaim."""

    INFO: ClassVar[KindInfo] = KindInfo(
        kind="BackupStore",
        plural="backupstores",
        short_names=("store",),
        summary="Where backups live: a bucket or a PersistentVolumeClaim.",
        columns=(
            Column(name="Ready", path='.status.conditions[?(@.type=="Ready")].status'),
            Column(name="Writable", path='.status.conditions[?(@.type=="Writable")].status'),
            Column(name="Location", path=".status.location"),
            Column(name="Encrypted", path=".status.encrypted", type="boolean"),
            Column(name="Last Probe", path=".status.lastProbeTime", type="date"),
            Column(name="Reason", path='.status.conditions[?(@.type=="Writable")].reason'),
            Column(name="Free", path=".status.free", priority=1),
            Column(name="Message", path='.status.conditions[?(@.type=="Writable")].message', priority=1),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
    )

    spec: Annotated[
        BackupStoreSpec,
        Field(
            json_schema_extra=rules(
                (
                    "[has(self.s3), has(self.gcs), has(self.azure), has(self.claim)].filter(given, given).size() == 1",
                    "exactly one of s3, gcs, azure and claim must be given",
                ),
                (
                    "!has(self.s3) || !has(self.s3.kmsKeyID) ||"
                    " (has(self.s3.serverSideEncryption) && self.s3.serverSideEncryption == 'SSE-KMS')",
                    "kmsKeyID needs serverSideEncryption SSE-KMS",
                ),
                (
                    "has(self.s3) == has(oldSelf.s3) && has(self.gcs) == has(oldSelf.gcs)"
                    " && has(self.azure) == has(oldSelf.azure)"
                    " && (!has(self.claim) || self.claim.name == oldSelf.claim.name)"
                    " && (!has(self.s3) || self.s3.bucket == oldSelf.s3.bucket)"
                    " && (!has(self.gcs) || self.gcs.bucket == oldSelf.gcs.bucket)"
                    " && (!has(self.azure) || (self.azure.account == oldSelf.azure.account"
                    " && self.azure.container == oldSelf.azure.container)) && self.prefix == oldSelf.prefix",
                    "bucket, claim and prefix of a BackupStore cannot be changed: the backups in it would be lost"
                    " from sight; make a new BackupStore instead",
                ),
            )
        ),
    ]
    """What is wanted."""
    status: BackupStoreStatus = Field(default_factory=BackupStoreStatus)
    """What is."""
