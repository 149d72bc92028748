"""Where everything lies inside a store. Pure.

All paths are relative to the store's prefix, with `/` between their parts:

    <namespace>/<cluster>/<archive id>/archive.json                     whose archive this is; ids count up from 0001
                                      /archive.<number>.json            ... since it was adopted; the highest holds
                                      /backups/<backup id>/backup.json  commits the backup: written last
                                      /backups/<backup id>/attempt-<number>-<random>/base.tar.zst.00000[.age]
                                                                                    /<oid>.tar.zst.00000[.age]
                                                                                    /backup_manifest.zst[.age]
                                                          /checks/<time>-<what>-<passed|failed>.json
                                                          /pins/<number>-<pinned|unpinned>.json   the highest holds
                                      /wal/<timeline>/<segment>.zst[.age]               a whole WAL segment
                                                     /<segment>.tail.<start>-<end>[.<digest>].zst[.age]  of an
                                                                                                unfinished one
                                                     /<timeline>.history                as PostgreSQL wrote it
                                      /wal/system.json                  whose WAL it is, and how long its segments are
                                      /checksums/<timeline>/<segment>.sha256            of the plain segment
                                      /gaps/<timeline>-<from>-<to>.json WAL that the archive never got, and why
                                      /moments/<time>-<timeline>-<position>[-<proof>].json  when the WAL was where
                                      /points/<time>-<timeline>-<position>-<name in hex>[-<proof>].json  restore points
                                      /catalogue/<number>.json          WAL that a full listing need not look at again
                                      /logical/<backup id>/backup.json                  written last, as above
                                      /logical/<backup id>/attempt-<number>-<random>/...

Each attempt at a backup writes into a folder of its own, so that what a killed attempt left behind can neither
collide with the next one nor be taken for a part of it. The random part is there because Kubernetes may start the pod
of one attempt twice. Only objects that backup.json names belong to the backup.

Whoever archives WAL has to know whether what is in the store already is what it holds itself, and cannot read what is
encrypted. So the SHA-256 of a plain segment is created, in a folder that listings of WAL never see, *before* the
segment: whoever comes second compares. Tails come every few seconds, so theirs is a part of their name instead, 16
hexadecimal digits of it: tails that differ lie beside each other, and the next archiver sees which is not its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

from pgwarden.jobs.errors import TaskError

FIRST_ARCHIVE = "0001"
"""Id of a cluster's first archive. Ids count up when an archive has to be abandoned for a new one."""
_ARCHIVE_ID = re.compile(r"[0-9]{4}")
ARCHIVE_FILE = "archive.json"
BACKUPS_FOLDER = "backups"
LOGICAL_FOLDER = "logical"
WAL_FOLDER = "wal"
CHECKSUMS_FOLDER = "checksums"
GAPS_FOLDER = "gaps"
MOMENTS_FOLDER = "moments"
CATALOGUE_FOLDER = "catalogue"
CHECKS_FOLDER = "checks"
PINS_FOLDER = "pins"
RESTORES_FOLDER = "restores"
POINTS_FOLDER = "points"
RECORD_FILE = "backup.json"
AGE_SUFFIX = ".age"
MAX_PATH_BYTES = 1024
"""S3 allows keys of 1,024 bytes."""

# The names of files on every common file system, and keys that S3 documents as safe. A leading dot is kept for
# files that are being written; "." and ".." would lead out of the folder.
_PART = re.compile(r"[A-Za-z0-9_+=@][-A-Za-z0-9._+=@]{0,254}")


def checked_path(path: str) -> str:
    """`path` when every part of it is a plain name; raises ValueError otherwise.

    Names come from listings of buckets and from files in them, which anybody may have written: `..`, absolute paths,
    backslashes, control characters and empty parts are refused.
    """
    parts = path.split("/")
    if len(path.encode()) > MAX_PATH_BYTES or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"{path[:100]!r} is not a path of plain names")
    return path


ObjectPath = Annotated[str, AfterValidator(checked_path)]


def safe_path(path: str) -> str:
    """As `checked_path`, but raises TaskError with reason UnsafePath."""
    try:
        return checked_path(path)
    except ValueError as error:
        raise TaskError(
            "UnsafePath",
            f"an object in the store is called {path[:100]!r}, which is not a path of plain names",
            remedy="Nothing pgwarden wrote is called so: look at who else writes into the store.",
        ) from error


def join(*parts: str) -> str:
    """The path made of `parts`; empty ones are left out. Raises TaskError with reason UnsafePath."""
    return safe_path("/".join(part.strip("/") for part in parts if part.strip("/")))


def cluster_folder(namespace: str, cluster: str) -> str:
    """The folder of all archives of a cluster."""
    return join(namespace, cluster)


def archive_ids(names: Iterable[str]) -> list[str]:
    """The ids of archives among the names of folders, the oldest first."""
    return sorted(name for name in names if _ARCHIVE_ID.fullmatch(name))


def next_archive_id(archive_id: str) -> str:
    """The id that follows."""
    return f"{int(archive_id) + 1:04d}"


def archive_folder(namespace: str, cluster: str, archive_id: str = FIRST_ARCHIVE) -> str:
    """The folder of one archive of a cluster."""
    return join(namespace, cluster, archive_id)


def archive_file(archive: str) -> str:
    """archive.json of the archive in that folder."""
    return join(archive, ARCHIVE_FILE)


def adopted_archive_file(archive: str, number: int) -> str:
    """Whose the archive is since it was adopted for the `number`th time, from 1 on."""
    return join(archive, f"archive.{number:04d}.json")


def backup_folder(archive: str, backup_id: str) -> str:
    """The folder of one backup: its location."""
    return join(archive, BACKUPS_FOLDER, backup_id)


def record_file(location: str) -> str:
    """backup.json of the backup at `location`."""
    return join(location, RECORD_FILE)


def attempt_folder(attempt: int, random_part: str) -> str:
    """The folder of one attempt, inside the backup's folder."""
    return join(f"attempt-{attempt}-{random_part}")


def archive_object(attempt: str, archive_name: str, number: int, *, encrypted: bool) -> str:
    """A piece of the tar archive `archive_name` ("base" or a tablespace's OID), inside the backup's folder."""
    return join(attempt, f"{archive_name}.tar.zst.{number:05d}{AGE_SUFFIX if encrypted else ''}")


def manifest_object(attempt: str, *, encrypted: bool) -> str:
    """PostgreSQL's backup_manifest, inside the backup's folder."""
    return join(attempt, f"backup_manifest.zst{AGE_SUFFIX if encrypted else ''}")


def check_object(location: str, time: datetime, what: str, *, passed: bool) -> str:
    """What came out when the objects of the backup at `location` were read again."""
    name = f"{time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{what}-{'passed' if passed else 'failed'}.json"
    return join(location, CHECKS_FOLDER, name)


def pin_object(location: str, number: int, *, pinned: bool) -> str:
    """Says for the `number`th time, from 1 on, whether the backup at `location` is pinned."""
    return join(location, PINS_FOLDER, f"{number:04d}-{'pinned' if pinned else 'unpinned'}.json")


def begun_object(archive: str, request_uid: str) -> str:
    """Says that the RestoreRequest with that UID has begun to replace the data of the server."""
    return join(archive, RESTORES_FOLDER, request_uid, "begun.json")


def checkpoint_object(archive: str, number: int) -> str:
    """What was known of the archived WAL, the `number`th time it was written down."""
    return join(archive, CATALOGUE_FOLDER, f"{number:010d}.json")


def restore_report(archive: str, request_uid: str, *, encrypted: bool) -> str:
    """The incident report of one restore out of the archive."""
    return join(archive, RESTORES_FOLDER, request_uid, f"report.md{AGE_SUFFIX if encrypted else ''}")


def logical_folder(archive: str, backup_id: str) -> str:
    """The folder of one logical backup: its location."""
    return join(archive, LOGICAL_FOLDER, backup_id)


def timeline_folder(archive: str, timeline: int) -> str:
    """The folder of all WAL of one timeline."""
    return join(archive, WAL_FOLDER, f"{timeline:08X}")


def segment_object(archive: str, segment: str, *, encrypted: bool) -> str:
    """A whole WAL segment; `segment` is PostgreSQL's name for it."""
    return join(archive, WAL_FOLDER, segment[:8], f"{segment}.zst{AGE_SUFFIX if encrypted else ''}")


def checksum_object(archive: str, segment: str) -> str:
    """The SHA-256 of a plain segment, in the form that `sha256sum` reads; created before the segment."""
    return join(archive, CHECKSUMS_FOLDER, segment[:8], f"{segment}.sha256")


def checksums_folder(archive: str, timeline: int) -> str:
    """The folder of the checksums of one timeline's segments."""
    return join(archive, CHECKSUMS_FOLDER, f"{timeline:08X}")


def tail_object(archive: str, segment: str, start: int, end: int, *, encrypted: bool, digest: str = "") -> str:
    """The bytes from `start` up to, and not including, `end` of a segment that is not finished yet.

    `digest` is the beginning of their SHA-256 in hexadecimal digits.
    """
    keyed = f".{digest}" if digest else ""
    name = f"{segment}.tail.{start:08X}-{end:08X}{keyed}.zst{AGE_SUFFIX if encrypted else ''}"
    return join(archive, WAL_FOLDER, segment[:8], name)


def history_object(archive: str, timeline: int) -> str:
    """The history file of a timeline; it holds no data, and is kept as PostgreSQL wrote it."""
    return join(archive, WAL_FOLDER, f"{timeline:08X}", f"{timeline:08X}.history")


def system_object(archive: str) -> str:
    """Whose WAL the archive holds: system identifier and bytes of a segment."""
    return join(archive, WAL_FOLDER, "system.json")


def gaps_folder(archive: str) -> str:
    """The folder of what is known to be missing in the archive."""
    return join(archive, GAPS_FOLDER)


def gap_object(archive: str, timeline: int, start: int, end: int) -> str:
    """Tells of WAL from `start` up to, and not including, `end` that the archive never got."""
    return join(archive, GAPS_FOLDER, f"{timeline:08X}-{start:016X}-{end:016X}.json")


def moments_folder(archive: str) -> str:
    """The folder of the index from server time to WAL position."""
    return join(archive, MOMENTS_FOLDER)


def moments_object(archive: str, time: datetime, timeline: int, position: int, proof: str = "") -> str:
    """One piece of that index, named after the last moment in it; names sort by time.

    `proof` shows who gave it that name (`authenticity.name_proof` of `moments_name`).
    """
    name = moments_name(archive, time, timeline, position)
    return f"{name}-{proof}.json" if proof else f"{name}.json"


def moments_name(archive: str, time: datetime, timeline: int, position: int) -> str:
    """The path of such an object as far as it tells of the moment."""
    name = f"{time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{timeline:08X}-{position:016X}"
    return join(archive, MOMENTS_FOLDER, name)


def points_folder(archive: str) -> str:
    """The folder of the restore points that the archived WAL holds."""
    return join(archive, POINTS_FOLDER)


def point_object(archive: str, time: datetime, timeline: int, position: int, name: bytes, proof: str = "") -> str:
    """Tells of one restore point; `proof` as of moments, of `point_name`."""
    path = point_name(archive, time, timeline, position, name)
    return f"{path}-{proof}.json" if proof else f"{path}.json"


def point_name(archive: str, time: datetime, timeline: int, position: int, name: bytes) -> str:
    """The path of such an object as far as it tells of the point: its name in hexadecimal digits, because it may hold
    any character."""
    moment = f"{time.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    return join(archive, POINTS_FOLDER, f"{moment}-{timeline:08X}-{position:016X}-{name.hex()}")
