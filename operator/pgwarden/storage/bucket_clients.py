"""Clients of buckets: S3 and what is compatible with it, Google Cloud Storage, Azure Blob Storage.

Credentials come from files. Where none are given, the client library asks whoever gives the pod its identity: EKS
(web identity, Pod Identity), GKE and Azure (workload identity) put what it takes into the pod by its service account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import AzureLocation, GCSLocation, S3Location
from pgwarden.storage.bucket_errors import certificate_not_trusted
from pgwarden.storage.secrets import read_credential

# Servers and what stands in front of them end connections that nobody uses, some after a few seconds.
CLIENT_OPTIONS = {"connect_timeout": "5s", "timeout": "120s", "pool_idle_timeout": "15s"}
RETRIES: dict[str, object] = {"max_retries": 6, "retry_timeout": timedelta(minutes=2)}
GOOGLE = "https://storage.googleapis.com"

Client = S3Store | GCSStore | AzureStore


@dataclass(frozen=True)
class Bucket:
    """One bucket: its name for messages, and how a client for it is made from what its files hold now."""

    name: str
    connect: Callable[[], Client]
    """Raises TaskError: CredentialsMissing, CertificateNotTrusted, StoreMisconfigured."""
    credential_files: tuple[Path, ...]
    tells_versions: bool = True
    """Whether an object has a version only where the bucket keeps versions; Google gives one to each object."""


def s3_bucket(location: S3Location) -> Bucket:
    """A bucket of an S3-compatible server. Raises TaskError with reason StoreMisconfigured."""
    name = f"bucket {location.bucket} at {location.endpoint}"
    address = _address(location.endpoint)
    secure = address.scheme == "https"
    files = tuple(Path(file) for file in (location.access_key_id_file, location.secret_access_key_file) if file)

    def connect() -> Client:
        arguments: dict[str, Any] = {
            "endpoint": endpoint_url(address, location),
            "region": location.region,
            "virtual_hosted_style_request": not location.path_style,
            # Signed with the hash of what is sent: else a server may take what came before a cut for the whole.
            "unsigned_payload": False,
            **_transport(name, location.ca_file, secure=secure),
        }
        if files:
            arguments["access_key_id"] = read_credential(files[0])
            arguments["secret_access_key"] = read_credential(files[1])
        if location.server_side_encryption is not None:
            arguments["server_side_encryption"] = location.server_side_encryption
        if location.kms_key_id is not None:
            arguments["sse_kms_key_id"] = location.kms_key_id
        return S3Store(location.bucket, **arguments)

    return Bucket(name, connect, files)


def gcs_bucket(location: GCSLocation) -> Bucket:
    """A bucket of Google Cloud Storage. Raises TaskError with reason StoreMisconfigured."""
    name = f"bucket {location.bucket} at {location.endpoint or GOOGLE}"
    secure = _address(location.endpoint or GOOGLE).scheme == "https"
    files = (Path(location.credentials_file),) if location.credentials_file else ()

    def connect() -> Client:
        arguments = _transport(name, location.ca_file, secure=secure)
        if location.endpoint is not None:
            arguments["base_url"] = location.endpoint
        if files:
            arguments["service_account_key"] = read_credential(files[0])
        try:
            return GCSStore(location.bucket, **arguments)
        except BaseError as error:
            raise _unusable(name, "is no service account's key in JSON") from error

    return Bucket(name, connect, files, tells_versions=False)


def azure_bucket(location: AzureLocation) -> Bucket:
    """A container of Azure Blob Storage. Raises TaskError with reason StoreMisconfigured."""
    endpoint = location.endpoint or f"https://{location.account}.blob.core.windows.net"
    name = f"container {location.container} at {endpoint}"
    secure = _address(endpoint).scheme == "https"
    files = (Path(location.account_key_file),) if location.account_key_file else ()

    def connect() -> Client:
        arguments = _transport(name, location.ca_file, secure=secure)
        arguments |= {"account_name": location.account, "endpoint": endpoint}
        if files:
            arguments["account_key"] = read_credential(files[0])
        try:
            return AzureStore(location.container, **arguments)
        except BaseError as error:
            raise _unusable(name, "is no storage account's key in base64") from error

    return Bucket(name, connect, files)


def endpoint_url(address: SplitResult, location: S3Location) -> str:
    """The endpoint as the client library wants it: with the bucket in its host name for virtual-host style."""
    if location.path_style:
        return location.endpoint
    return address._replace(netloc=f"{location.bucket}.{address.netloc}").geturl()


def _address(endpoint: str) -> SplitResult:
    address = urlsplit(endpoint)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise TaskError(
            "StoreMisconfigured",
            f"the endpoint {endpoint!r} is not an http or https address",
            remedy="Write the endpoint in the BackupStore as https://host or https://host:port.",
        )
    return address


def _transport(name: str, ca_file: str | None, *, secure: bool) -> dict[str, Any]:
    """Time limits, retries and certificate authorities. Raises TaskError with reason CertificateNotTrusted."""
    options: dict[str, object] = {**CLIENT_OPTIONS, "allow_http": not secure}
    if ca_file is not None:
        options["root_certificate"] = _authorities(Path(ca_file), name)
    return {"client_options": options, "retry_config": RETRIES}


def _authorities(path: Path, store: str) -> bytes:
    """The certificates in a PEM file. Raises TaskError with reason CertificateNotTrusted when there are none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise certificate_not_trusted(store, f"the CA file {path} cannot be read ({type(error).__name__})") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise certificate_not_trusted(store, f"the CA file {path} holds no certificate in PEM form")
    return content


def _unusable(name: str, what: str) -> TaskError:
    """The TaskError for credentials that the client library cannot read; what they hold is never repeated."""
    return TaskError(
        "CredentialsUnusable",
        f"the credentials of the {name} cannot be used: the file {what}",
        remedy="Put the key as the provider gives it, and nothing else, into the BackupStore's Secret.",
    )
