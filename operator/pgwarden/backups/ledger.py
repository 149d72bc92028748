"""Compares what came in the archives with what the manifest says, file by file, in little memory. Pure.

The server writes the manifest while it reads the files; the archives go through a network, a compressor and a store.
A file that arrived shorter than it was read would otherwise be noticed only when it is needed.

backup_manifest is JSON with one file on each line (PostgreSQL documentation, "Backup Manifest Format"); it ends with
the SHA-256 of everything before its last line.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from bisect import bisect_left
from typing import Any

from pgwarden.jobs.errors import TaskError

# Archives also hold what no manifest lists file by file: WAL segments, which are ranges of LSNs there.
UNLISTED = re.compile(r"pg_wal/[0-9A-F]{24}")
LAST_LINE = b'"Manifest-Checksum"'
CHECKSUM_KEY = "Manifest-Checksum"


class Ledger:
    """Files seen in archives, 8 bytes each; then the manifest, line by line."""

    def __init__(self) -> None:
        self._seen = array("Q")
        self._sorted: list[int] = []
        self._listed = 0
        self._line = b""
        self._hash = hashlib.sha256()
        self._checksum: str | None = None

    @property
    def listed_files(self) -> int:
        """How many files the manifest lists."""
        return self._listed

    def saw(self, path: str, size: int) -> None:
        """A file came in an archive; `path` is relative to PGDATA, as in the manifest."""
        if not UNLISTED.fullmatch(path):
            self._seen.append(_fingerprint(path, size))

    def read_manifest(self, data: bytes | memoryview) -> None:
        """Takes the next bytes of the manifest. Raises TaskError with reason BackupIncomplete."""
        if not self._sorted:
            self._sorted = sorted(self._seen)
        lines = (self._line + data).split(b"\n")
        self._line = lines.pop()
        for line in lines:
            self._read_line(line + b"\n")

    def finish(self) -> None:
        """Raises TaskError with reason BackupIncomplete unless archives and manifest list the same files."""
        if self._line:
            self._read_line(self._line)
        if self._checksum != self._hash.hexdigest():
            raise incomplete("the manifest is cut or altered: its own checksum does not fit")
        if self._listed != len(self._seen):
            raise incomplete(f"the manifest lists {self._listed} files, the archives hold {len(self._seen)}")

    def _read_line(self, line: bytes) -> None:
        try:
            self._take_line(line)
        except (ValueError, LookupError, TypeError) as error:
            raise incomplete("a line of the manifest is cut or altered") from error

    def _take_line(self, line: bytes) -> None:
        if line.startswith(LAST_LINE):
            self._checksum = json.loads(b"{" + line.strip())[CHECKSUM_KEY]
            return
        self._hash.update(line)
        text = line.strip().rstrip(b",")
        if not text.startswith((b'{ "Path"', b'{ "Encoded-Path"')):
            return
        entry = json.loads(text)
        path, size = _path(entry), int(entry["Size"])
        self._listed += 1
        fingerprint = _fingerprint(path, size)
        found = bisect_left(self._sorted, fingerprint)
        if found == len(self._sorted) or self._sorted[found] != fingerprint:
            raise incomplete(f"{path} with {size} bytes stands in the manifest, but no archive holds it with that size")


def incomplete(trouble: str) -> TaskError:
    return TaskError(
        "BackupIncomplete",
        f"what the server sent does not fit its manifest: {trouble}",
        remedy="Nothing was committed and the backup is tried again; when it happens again, look at the server's disk.",
        retryable=True,
    )


def _path(entry: dict[str, Any]) -> str:
    """A file's path; one that is not UTF-8 is written in hex."""
    if "Path" in entry:
        return str(entry["Path"])
    return bytes.fromhex(entry["Encoded-Path"]).decode("utf-8", "surrogateescape")


def _fingerprint(path: str, size: int) -> int:
    data = f"{size} {path}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
