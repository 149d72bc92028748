"""A mounted claim as a store.

An object is written under a name that no listing shows, synced to disk, linked to its own name (which fails when the
name is taken: that makes it create-only) and then its folder is synced: only what would survive a power cut is
acknowledged.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ClaimLocation
from pgwarden.storage.layout import join, safe_path
from pgwarden.storage.pipes import Source
from pgwarden.storage.store import ObjectExists, ObjectInfo, Space, Store, object_missing

READ_BYTES = 4 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}")
"""The name of an object's file until it is whole."""
NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class ClaimStore(Store):
    """Objects are files below `root`."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self.name = name

    @classmethod
    def open(cls, location: ClaimLocation, prefix: str) -> ClaimStore:
        """Raises TaskError with reason ClaimMissing."""
        mount = Path(location.path)
        if not mount.is_dir():
            raise TaskError(
                "ClaimMissing",
                f"the claim is not mounted: there is no folder {mount}",
                remedy="Check the claim's name in the BackupStore and that the claim is bound.",
                retryable=True,
            )
        folder = join(prefix) if prefix.strip("/") else ""
        return cls(mount.resolve() / folder, f"claim mounted at {mount}" + (f", folder {folder}" if folder else ""))

    def put(self, path: str, content: bytes) -> None:
        self.put_stream(path, [content])

    def put_stream(self, path: str, chunks: Iterable[bytes], *, at_most: int = 64 << 30) -> None:
        target = self._file(path)
        source = Source(chunks)
        with self._failures(path, source):
            self._make_folders(target.parent)
            if target.exists():
                raise self._exists(path)
            partial = target.parent / f".{target.name}.{secrets.token_hex(4)}"
            try:
                self._write(partial, source)
                os.link(partial, target)
            except FileExistsError as error:
                raise self._exists(path) from error
            finally:
                partial.unlink(missing_ok=True)
            sync_folder(target.parent)

    def _exists(self, path: str) -> ObjectExists:
        """That the object is there, which is an acknowledgment, too: whoever made it may have died, or been refused by
        the disk, before its name was safe."""
        sync_folder(self._file(path).parent)
        return ObjectExists(path)

    def _write(self, partial: Path, chunks: Iterable[bytes]) -> None:
        with partial.open("xb", buffering=0) as file:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[file.write(rest) :]
            os.fsync(file.fileno())

    def _make_folders(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            sync_folder(new.parent)

    def read(self, path: str) -> Iterator[bytes]:
        file = self._file(path)
        with self._failures(path), file.open("rb", buffering=0) as opened:
            while chunk := opened.read(READ_BYTES):
                yield chunk

    def read_range(self, path: str, start: int, length: int) -> bytes:
        file = self._file(path)
        with self._failures(path), file.open("rb") as opened:
            opened.seek(start)
            return opened.read(length)

    def head(self, path: str) -> ObjectInfo | None:
        file = self._file(path)
        with self._failures(path):
            try:
                status = file.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return ObjectInfo(path, status.st_size) if stat.S_ISREG(status.st_mode) else None

    def list(self, folder: str, *, after: str = "") -> Iterator[ObjectInfo]:
        root = self._file(folder) if folder else self._root
        with self._failures(folder):
            yield from self._below(str(root), f"{folder}/" if folder else "", after)

    def _below(self, directory: str, path: str, after: str) -> Iterator[ObjectInfo]:
        """The objects in a directory in the order of their names, then those in its directories; `path` leads to it.

        Of a folder with very many objects only the names that are asked for are held in memory.
        """
        names, folders = [], []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if hidden(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif path + entry.name > after:
                        names.append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in sorted(names):
            found = _regular_file(directory, name)
            if found is not None:
                yield ObjectInfo(path + name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
        for name in sorted(folders):
            yield from self._below(f"{directory}/{name}", f"{path}{name}/", after)

    def folders(self, folder: str) -> set[str]:
        root = self._file(folder) if folder else self._root
        with self._failures(folder):
            if not root.is_dir():
                return set()
            with os.scandir(root) as entries:
                return {
                    entry.name for entry in entries if not hidden(entry.name) and entry.is_dir(follow_symlinks=False)
                }

    def delete(self, path: str) -> None:
        file = self._file(path)
        with self._failures(path):
            file.unlink(missing_ok=True)
            if file.parent.is_dir():
                sync_folder(file.parent)

    def unfinished(self, folder: str) -> Iterator[ObjectInfo]:
        root = self._file(folder)
        with self._failures(folder):
            for directory, _, names in os.walk(root, onerror=_raise_unless_missing):
                for name in sorted(filter(_PARTIAL.fullmatch, names)):
                    found = _regular_file(directory, name)
                    if found is not None:
                        path = Path(directory, name).relative_to(self._root).as_posix()
                        yield ObjectInfo(path, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def discard(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        if not _PARTIAL.fullmatch(name):
            raise ValueError(f"{path!r} is not the name of an object that is being written")
        with self._failures(path):
            (self._file(folder) / name).unlink(missing_ok=True)

    def remove_empty(self, folder: str) -> None:
        root = self._file(folder)
        with self._failures(folder):
            for directory, _, _ in os.walk(root, topdown=False, onerror=_raise_unless_missing):
                try:
                    Path(directory).rmdir()
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                        raise

    def space(self) -> Space:
        with self._failures(""):
            folder = self._root
            while not folder.is_dir():
                folder = folder.parent
            system = os.statvfs(folder)
            return Space(free=system.f_bavail * system.f_frsize, total=system.f_blocks * system.f_frsize)

    def _file(self, path: str) -> Path:
        """The file of an object. Symbolic links that somebody put into the claim must not lead out of it."""
        file = self._root / safe_path(path)
        try:
            leads_out = file.is_symlink() or not file.parent.resolve().is_relative_to(self._root.resolve())
        except OSError as error:
            raise claim_error(self, path, error) from error
        if leads_out:
            raise TaskError(
                "UnsafePath",
                f"{path} in the store ({self.name}) leads through a symbolic link",
                remedy="pgwarden makes no links: look at who else writes into the claim.",
            )
        return file

    @contextmanager
    def _failures(self, path: str, source: Source | None = None) -> Iterator[None]:
        """Turns the file system's errors into TaskErrors; those of `source` pass through."""
        try:
            yield
        except OSError as error:
            if source is not None:
                source.raise_own_error()
            if isinstance(error, FileNotFoundError):
                raise object_missing(self, path) from error
            raise claim_error(self, path, error) from error


def claim_error(store: Store, path: str, error: OSError) -> TaskError:
    """The TaskError that says what the file system said about an object."""
    what = f"the {store.name} refused {path or 'its root folder'}: {error.strerror or error}"
    if error.errno in FULL:
        return TaskError("StoreFull", what, remedy="Make the claim larger, or remove what is not needed.")
    if error.errno == errno.EROFS:
        return TaskError(
            "StoreReadOnly", what, remedy="Mount the claim writable; a damaged file system turns read-only."
        )
    if error.errno in NO_HARD_LINKS and error.filename2 is not None:
        return TaskError(
            "NoHardLinks", what, remedy="pgwarden needs a file system with hard links: ext4, XFS, NFS, CephFS; not SMB."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return TaskError(
            "StoreAccessDenied",
            what,
            remedy="Give the pod's group access: set fsGroup, or the folder's group and mode.",
        )
    return TaskError("StoreFailed", what, remedy="Look at the node's kernel log and at the volume.", retryable=True)


def hidden(name: str) -> bool:
    """Whether a name is no object's: one that is being written, or what a file system keeps for itself."""
    return name.startswith(".") or name == "lost+found"


def _regular_file(directory: str, name: str) -> os.stat_result | None:
    """What is known of a file; None when it is none, or was deleted since it was listed."""
    try:
        found = os.lstat(f"{directory}/{name}")
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def sync_folder(folder: Path) -> None:
    """Has the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
