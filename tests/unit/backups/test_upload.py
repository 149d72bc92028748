"""The way of a backup's bytes into the store: what waits for what, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from pgwarden.backups.upload import BATCH_BYTES, QUEUED_BATCHES, Uploads
from pgwarden.storage.claim import ClaimStore
from pgwarden.storage.objects import Packing, read_object

SECONDS = 30
MORE_THAN_IS_QUEUED = BATCH_BYTES * (QUEUED_BATCHES + 4)


class PuttingTogether(ClaimStore):
    """A store that has every byte of its first object and takes its time to put them together, as S3 does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "claim")
        self.may_end = threading.Event()
        self.first: str | None = None

    def put_stream(self, path: str, chunks: Iterable[bytes], *, at_most: int = 64 << 30) -> None:
        self.first = self.first or path
        super().put_stream(path, chunks, at_most=at_most)
        if path == self.first and not self.may_end.wait(SECONDS):
            raise TimeoutError("nobody went on while the store put an object together")


class Refusing(ClaimStore):
    """A store that refuses objects before it looks at what is in them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "claim")

    def put_stream(self, path: str, chunks: Iterable[bytes], *, at_most: int = 64 << 30) -> None:
        raise PermissionError(path)


def test_the_next_object_begins_while_the_store_puts_the_one_before_together(tmp_path: Path) -> None:
    store = PuttingTogether(tmp_path)
    with Uploads(store, "b", Packing(), lambda: None) as uploads:
        first = uploads.begin("first", at_most=1 << 30, hash_plain=True)
        first.write(b"1")
        first.close()
        second = uploads.begin("second", at_most=1 << 30, hash_plain=True)
        for _ in range(MORE_THAN_IS_QUEUED // BATCH_BYTES):
            second.write(bytes(BATCH_BYTES))
        second.close()
        assert second.future.result(SECONDS).plain_bytes == MORE_THAN_IS_QUEUED
        assert not first.future.done()
        store.may_end.set()
        assert first.future.result(SECONDS).plain_bytes == 1
    assert b"".join(read_object(store, "b/second", second.future.result())) == bytes(MORE_THAN_IS_QUEUED)


def test_one_object_is_packed_at_a_time(tmp_path: Path) -> None:
    """The next one's batches fill its queue, and whoever writes them waits."""
    waiting = threading.Event()
    with Uploads(ClaimStore(tmp_path, "claim"), "b", Packing(), waiting.set) as uploads:
        first = uploads.begin("first", at_most=1 << 30, hash_plain=True)
        second = uploads.begin("second", at_most=1 << 30, hash_plain=True)

        def write_all() -> None:
            for _ in range(MORE_THAN_IS_QUEUED // BATCH_BYTES):
                second.write(bytes(BATCH_BYTES))
            second.close()

        writer = threading.Thread(target=write_all)
        writer.start()
        assert waiting.wait(SECONDS)
        first.write(b"1")
        first.close()
        writer.join(SECONDS)
        assert second.future.result(SECONDS).plain_bytes == MORE_THAN_IS_QUEUED


def test_an_object_that_is_refused_unseen_does_not_keep_the_next_one_waiting(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), Uploads(Refusing(tmp_path), "b", Packing(), lambda: None) as uploads:
        first = uploads.begin("first", at_most=1 << 30, hash_plain=False)
        second = uploads.begin("second", at_most=1 << 30, hash_plain=False)
        assert isinstance(first.future.exception(SECONDS), PermissionError)
        second.future.result(SECONDS)


def test_leaving_by_an_exception_ends_objects_that_wait_for_the_one_before(tmp_path: Path) -> None:
    store = ClaimStore(tmp_path, "claim")
    with pytest.raises(KeyboardInterrupt), Uploads(store, "b", Packing(), lambda: None) as uploads:
        uploads.begin("first", at_most=1 << 30, hash_plain=False)
        uploads.begin("second", at_most=1 << 30, hash_plain=False)
        raise KeyboardInterrupt
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
