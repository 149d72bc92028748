"""A store of objects: what backups, restores and the WAL archive know of buckets and claims.

Paths are those of `pgwarden.storage.layout`, relative to the store's prefix. Objects are created, never changed: what
is in the store cannot be overwritten by whoever writes backups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import StoreLocation

MAX_SMALL_OBJECT_BYTES = 64 << 20


class ObjectExists(Exception):
    """There is an object of that name already; it was left as it is."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing."""

    path: str
    size: int
    modified: datetime | None = None
    """When it was written, by the store's clock; None where it was not asked for."""


@dataclass(frozen=True)
class Space:
    """Bytes of the file system behind a claim."""

    free: int
    total: int


class Store(ABC):
    """Every method may raise TaskError: StoreUnreachable, StoreCredentialsRejected, BucketNotFound,
    CertificateNotTrusted, StoreFull, StoreReadOnly, StoreAccessDenied, ObjectLocked, ClockSkewed, StoreFailed,
    ClaimMissing, UnsafePath.
    """

    name: str
    """For messages: `bucket b at https://s3.example` or `claim mounted at /pgwarden/store`, with the prefix."""

    @abstractmethod
    def put(self, path: str, content: bytes) -> None:
        """Creates an object that fits into memory, durably. Raises ObjectExists."""

    @abstractmethod
    def put_stream(self, path: str, chunks: Iterable[bytes], *, at_most: int = 64 << 30) -> None:
        """Creates an object of `at_most` bytes from chunks, in bounded memory, durably. Raises ObjectExists.

        An exception of `chunks` passes through, and no object appears.
        """

    @abstractmethod
    def read(self, path: str) -> Iterator[bytes]:
        """The content of an object in chunks of a few MiB. Raises TaskError with reason ObjectMissing."""

    @abstractmethod
    def read_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the object ends. Raises TaskError with reason ObjectMissing."""

    @abstractmethod
    def head(self, path: str) -> ObjectInfo | None:
        """What is known of an object, None when it does not exist."""

    @abstractmethod
    def list(self, folder: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Every object below a folder ("" is the whole store), in no certain order; those that sort after the path
        `after` only, where it is given."""

    @abstractmethod
    def folders(self, folder: str) -> set[str]:
        """Names of the folders right below a folder, without a look at what lies in them."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Deletes an object; one that does not exist is no error."""

    def remove_empty(self, folder: str) -> None:
        """Removes a folder in which no objects are left, where folders are more than parts of names."""
        return

    def unfinished(self, folder: str) -> Iterator[ObjectInfo]:
        """What writers that were killed left below a folder, and those that write now have not ended: no listing shows
        it. Buckets keep such parts to themselves, and clear them away by a lifecycle rule."""
        return iter(())

    def discard(self, path: str) -> None:
        """Deletes what `unfinished` has told of."""
        return

    def keeps_versions(self, path: str) -> bool:
        """Whether a deletion of this object would only hide it, as far as the store tells."""
        return False

    def space(self) -> Space | None:
        """Free and total bytes where the store has a size, None for buckets."""
        return None

    def read_small(self, path: str) -> bytes:
        """The content of an object that is known to be small (a record). Raises TaskError with reason ObjectMissing,
        and ObjectDamaged when it is larger than such objects ever are."""
        content = self.read_range(path, 0, MAX_SMALL_OBJECT_BYTES + 1)
        if len(content) > MAX_SMALL_OBJECT_BYTES:
            raise object_damaged(self, path, f"it is larger than {MAX_SMALL_OBJECT_BYTES} bytes")
        return content


def open_store(location: StoreLocation) -> Store:
    """The store at `location`; reads its credentials now, and nothing of the store itself.

    Raises TaskError: StoreMisconfigured, CredentialsMissing, CredentialsUnusable, CertificateNotTrusted, ClaimMissing.
    """
    given = [place for place in (location.s3, location.gcs, location.azure, location.claim) if place is not None]
    if len(given) != 1:
        raise TaskError(
            "StoreMisconfigured",
            "a store is either a bucket or a claim, and this one is none or several",
            remedy="Set exactly one of s3, gcs, azure and claim in the BackupStore.",
        )
    if location.claim is not None:
        from pgwarden.storage.claim import ClaimStore

        return ClaimStore.open(location.claim, location.prefix)
    from pgwarden.storage import bucket_clients  # a claim needs no client of buckets in its memory
    from pgwarden.storage.bucket import BucketStore

    if location.s3 is not None:
        return BucketStore.open(bucket_clients.s3_bucket(location.s3), location.prefix)
    if location.gcs is not None:
        return BucketStore.open(bucket_clients.gcs_bucket(location.gcs), location.prefix)
    assert location.azure is not None  # noqa: S101 - one of the four is given
    return BucketStore.open(bucket_clients.azure_bucket(location.azure), location.prefix)


def object_missing(store: Store, path: str) -> TaskError:
    return TaskError(
        "ObjectMissing",
        f"the object {path} is not in the store ({store.name})",
        remedy="Somebody or a lifecycle rule deleted it: look at the bucket's rules and log. "
        "A backup that misses an object cannot be restored; use another one.",
    )


def object_damaged(store: Store, path: str, trouble: str) -> TaskError:
    return TaskError(
        "ObjectDamaged",
        f"the object {path} in the store ({store.name}) is not what was written: {trouble}",
        remedy="Use another backup, and look for what changed the object: it was intact when it was written.",
    )
