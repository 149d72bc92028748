"""backup.json in the store: created last and only once, which commits a backup, and believed by whoever comes later."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from pgwarden.jobs.errors import TaskError
from pgwarden.storage import layout
from pgwarden.storage.authenticity import Authenticity, refuse_forged, sign
from pgwarden.storage.catalogue_key import CatalogueKey
from pgwarden.storage.store import ObjectExists, Store


class Stored(Protocol):
    """One object of a backup: its path inside the backup's folder, and the bytes that were sent."""

    @property
    def path(self) -> str: ...

    @property
    def stored_bytes(self) -> int: ...


class Record(Protocol):
    """What a record has to know for it, of whatever sort of backup it is."""

    @property
    def backup_id(self) -> str: ...

    @property
    def objects(self) -> Sequence[Stored]: ...

    def to_bytes(self) -> bytes: ...

    def authenticated(self, authentication: Mapping[str, str]) -> Self: ...


RecordOfSort = TypeVar("RecordOfSort", bound=Record)


@dataclass(frozen=True)
class RecordFile(Generic[RecordOfSort]):
    """backup.json of the backup at `location`."""

    store: Store
    location: str
    key: CatalogueKey | None
    read: Callable[[bytes, str], RecordOfSort]
    """Makes a record of the content of an object of that name. Raises TaskError."""

    @property
    def path(self) -> str:
        return layout.record_file(self.location)

    def committed(self) -> RecordOfSort | None:
        """The record when the backup is committed.

        Raises TaskError: RecordForged, RecordNotAuthentic, what `read` and `Store` raise.
        """
        return None if self.store.head(self.path) is None else self._read()

    def commit(self, record: RecordOfSort, check_stop: Callable[[], None]) -> RecordOfSort:
        """Commits the backup when all of it lies in the store, unless `check_stop` raises: whoever was told to stop
        has been given up, and must not commit what nobody expects any more.

        Returns the record that holds. It is another one where another pod of the same attempt was quicker: what this
        pod uploaded belongs to no backup then. Raises as `committed`, and TaskError with reason UploadIncomplete.
        """
        content = signed(record, self.key)
        refuse_incomplete(self.store, self.location, record.objects)
        check_stop()
        try:
            self.store.put(self.path, content)
        except ObjectExists:
            return self._read()
        return record

    def _read(self) -> RecordOfSort:
        content = self.store.read_small(self.path)
        key = self.key
        authentic = key is None or refuse_forged(content, self.path, key.hmac) == Authenticity.AUTHENTIC
        record = self.read(content, self.path)
        if not authentic or not self.location.endswith(f"/{record.backup_id}"):
            raise TaskError(
                "RecordNotAuthentic",
                f"{self.path} was there before this backup was committed, and nobody can say that an earlier attempt "
                "wrote it",
                remedy="Take another backup. When the store's catalogue key was not replaced meanwhile, look at who "
                "else writes into the store.",
            )
        return record


def refuse_incomplete(store: Store, location: str, objects: Iterable[Stored]) -> None:
    """Compares what lies in the store with what was sent: every object, with its size.

    That the bytes are those that were sent was checked on the way: a request to a bucket is signed with their hash, a
    claim is synced. Raises TaskError with reason UploadIncomplete, and what `Store` raises.
    """
    sizes = {listed.path: listed.size for listed in store.list(location)}
    for each in objects:
        path = layout.join(location, each.path)
        size = sizes.get(path)
        if size != each.stored_bytes:
            held = "does not have it" if size is None else f"has {size} bytes of it"
            raise TaskError(
                "UploadIncomplete",
                f"the store ({store.name}) accepted all {each.stored_bytes} bytes of {path} and {held}",
                remedy="Another attempt begins by itself. When this happens again, look at the storage server: it "
                "loses what it has accepted.",
                retryable=True,
            )


def signed(record: Record, key: CatalogueKey | None) -> bytes:
    """The content of backup.json, authenticated where there is a key."""
    if key is None:
        return record.to_bytes()
    return record.authenticated(sign(json.loads(record.to_bytes()), key.hmac)).to_bytes()
