"""Compares files with a backup's manifest, several at a time: pg_verifybackup reads one after the other.

A manifest is a JSON document that PostgreSQL writes with one file to a line (PostgreSQL documentation, "Backup Manifest
Format"; src/backend/backup/backup_manifest.c, src/bin/pg_combinebackup/write_manifest.c). It is read by lines, because
that of a million files would not fit into the agent's memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pgwarden.jobs.agent import AgentContext

BEGIN, END = '"Files": [', "],"
ALGORITHM = "SHA256"
IGNORED = frozenset({"backup_manifest", "pg_wal", "postgresql.auto.conf", "recovery.signal", "standby.signal"})
"""What pg_verifybackup does not compare, either: WAL goes aside, the others may change before the server starts."""


class UnknownManifest(Exception):
    """The manifest is not written as expected, or its checksums are of another kind."""


@dataclass(frozen=True)
class ManifestFile:
    """One file of a backup."""

    path: Path
    """Relative to the data directory; through pg_tblspc where it belongs to a tablespace."""
    sha256: str
    """In lower-case hex."""


def files_in(lines: Iterable[str]) -> Iterator[ManifestFile]:
    """The files of a manifest. Raises UnknownManifest, also at the end when it is cut."""
    rest = iter(lines)
    if not any(line.rstrip() == BEGIN for line in rest):
        raise UnknownManifest
    for line in rest:
        text = line.strip()
        if text == END:
            return
        yield file_in(text.removesuffix(","))
    raise UnknownManifest


def file_in(text: str) -> ManifestFile:
    """One line of a manifest. Raises UnknownManifest."""
    try:
        told = json.loads(text)
        # Names that are not UTF-8 stand there in hex.
        name = told["Path"] if "Path" in told else os.fsdecode(bytes.fromhex(told["Encoded-Path"]))
        if told["Checksum-Algorithm"] != ALGORITHM:
            raise UnknownManifest
        return ManifestFile(Path(name), told["Checksum"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnknownManifest from error


def differing(manifest: Path, data: Path, parallel: int, context: AgentContext) -> list[Path]:
    """The files that are not what the manifest says, in order; `parallel` of them are read at a time. Those in IGNORED
    are left out.

    Raises UnknownManifest, Stopped, and OSError where a file cannot be read.
    """
    wrong: list[Path] = []
    with manifest.open(encoding="utf-8", errors="surrogateescape") as opened:
        files = (file for file in files_in(opened) if file.path.parts[0] not in IGNORED)
        turn = threading.Lock()

        def compare() -> None:
            while True:
                context.check_stop()
                with turn:
                    file = next(files, None)
                if file is None:
                    return
                if sha256_of(data / file.path) != file.sha256:
                    wrong.append(file.path)

        with ThreadPoolExecutor(parallel, thread_name_prefix="verify") as pool:
            for each in [pool.submit(compare) for _ in range(parallel)]:
                each.result()
    return sorted(wrong)


def sha256_of(path: Path) -> str:
    """In lower-case hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
