"""Objects with everything on the way: plain -> zstd -> age -> store, and back, measured at both ends.

Writing gives sizes and SHA-256 of the plain and of the stored bytes. Reading checks both, so that what comes out is
what went in, or an exception that names the object:

    for chunk in read_object(store, path, expected, identities): ...
    with tarfile.open(fileobj=ChunkReader(read_object(...)), mode="r|") as tar: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pgwarden.jobs.errors import TaskError
from pgwarden.storage.compression import DamagedFrame, compress, decompress
from pgwarden.storage.encryption import DamagedCiphertext, NotForThisIdentity, decrypt, encrypt
from pgwarden.storage.layout import AGE_SUFFIX
from pgwarden.storage.pipes import Count, Digest, measured
from pgwarden.storage.store import Store, object_damaged

OVERHEAD_BYTES = 1 << 20
"""More than zstd and age add to an object that does not shrink (16 bytes in 64 KiB): beside 1/1000 of its size."""


class Expected(Protocol):
    """What is known of an object from the record of its backup."""

    @property
    def plain_bytes(self) -> int: ...
    @property
    def plain_sha256(self) -> str | None: ...
    @property
    def stored_bytes(self) -> int: ...
    @property
    def stored_sha256(self) -> str: ...


@dataclass(frozen=True)
class Packing:
    """How objects are packed."""

    level: int = 3
    threads: int = 2
    recipients: Sequence[Any] = field(default_factory=tuple)
    """As `parse_recipients` gives them; none means not encrypted."""


@dataclass(frozen=True)
class Written:
    """What an object became."""

    plain_bytes: int
    plain_sha256: str | None
    """None where it was not asked for."""
    stored_bytes: int
    stored_sha256: str


def write_object(
    store: Store,
    path: str,
    plain: Iterable[bytes],
    packing: Packing,
    *,
    plain_at_most: int = 64 << 30,
    hash_plain: bool = True,
) -> Written:
    """Creates the object `path` (which ends in .age exactly when it is encrypted) from `plain`.

    Without `hash_plain` only the size of the plain bytes is measured: SHA-256 of them costs half a second for each GiB.
    Raises ObjectExists and what `Store` raises; an exception of `plain` passes through and no object appears.
    """
    before = Digest() if hash_plain else Count()
    after = Digest()
    stored = compress(measured(plain, before), level=packing.level, threads=packing.threads)
    if packing.recipients:
        stored = encrypt(stored, packing.recipients)
    at_most = plain_at_most + plain_at_most // 1000 + OVERHEAD_BYTES
    store.put_stream(path, measured(stored, after), at_most=at_most)
    return Written(before.size, before.sha256, after.size, after.sha256)


def read_object(
    store: Store, path: str, expected: Expected | None = None, identities: Sequence[Any] = ()
) -> Iterator[bytes]:
    """The verified plain content of an object: read, decrypted (a name that ends in .age), decompressed, compared.

    Memory is bounded. Damage at the end is noticed at the end: nothing may be relied upon before the iterator has
    ended without an exception. Raises TaskError: ObjectMissing, ObjectDamaged, WrongIdentity, IdentityMissing, and
    what `Store` raises; each names the object.
    """
    encrypted = path.endswith(AGE_SUFFIX)
    if encrypted and not identities:
        raise TaskError(
            "IdentityMissing",
            f"the object {path} is encrypted and no age identity was given",
            remedy="Name the Secret with the age identity (the private key) in the request.",
        )
    before = Digest() if expected is not None and expected.plain_sha256 is not None else Count()
    after = Digest()
    stored = measured(store.read(path), after)
    plain = decompress(decrypt(stored, identities) if encrypted else stored)
    try:
        yield from measured(plain, before)
    except NotForThisIdentity as error:
        raise TaskError(
            "WrongIdentity",
            f"the object {path} was encrypted to other recipients than the given age identity",
            remedy="The backup's record lists its recipients: give the identity that belongs to one of them.",
        ) from error
    except (DamagedFrame, DamagedCiphertext) as error:
        raise object_damaged(store, path, str(error)) from error
    if expected is not None:
        _compare(store, path, expected, Written(before.size, before.sha256, after.size, after.sha256))


def verify_object(
    store: Store, path: str, expected: Expected, passed: Callable[[int], None] = lambda size: None
) -> None:
    """Reads the stored bytes of an object and compares size and SHA-256; needs no identity. Raises as read_object.

    `passed` is told the size of each chunk; it may take its time, and an exception of its ends the reading.
    """
    digest = Digest()
    for chunk in measured(store.read(path), digest):
        passed(len(chunk))
    _compare_stored(store, path, expected, digest.size, digest.sha256)


def _compare(store: Store, path: str, expected: Expected, got: Written) -> None:
    _compare_stored(store, path, expected, got.stored_bytes, got.stored_sha256)
    if (got.plain_bytes, got.plain_sha256) != (expected.plain_bytes, expected.plain_sha256):
        raise object_damaged(
            store, path, f"it unpacks to {got.plain_bytes} bytes that differ from the {expected.plain_bytes} recorded"
        )


def _compare_stored(store: Store, path: str, expected: Expected, size: int, sha256: str) -> None:
    if size != expected.stored_bytes:
        raise object_damaged(store, path, f"it has {size} bytes, recorded are {expected.stored_bytes}")
    if sha256 != expected.stored_sha256:
        raise object_damaged(store, path, "its SHA-256 differs from the recorded one")
