"""The bash script in every record: how to restore the backup without pgwarden. Pure.

It needs what every system has or can get: bash, sha256sum, tar, zstd, age where objects are encrypted, and
PostgreSQL's own pg_verifybackup and pg_ctl of the same major version.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pgwarden.backups.record import Archive, StoredObject, Tablespace

UNPACK = 'zstd -dcq "$object"'
UNPACK_ENCRYPTED = 'age --decrypt --identity "$identity" "$object" | zstd -dcq'


def restore_script(
    *,
    backup_id: str,
    location: str,
    version: str,
    archives: Sequence[Archive],
    manifest: StoredObject,
    tablespaces: Sequence[Tablespace],
    encrypted: bool,
) -> list[str]:
    """The lines of the script. It takes an empty folder for PGDATA and, when encrypted, the file of an identity."""
    usage = "restore.sh <new PGDATA>" + (" <file with the age identity>" if encrypted else "")
    lines = [
        "#!/usr/bin/env bash",
        f"# Restores backup {backup_id} (PostgreSQL {version}) without pgwarden.",
        f"# 1. Copy the folder {location} of the store to a disk and go into it.",
        f"# 2. As the user who will run PostgreSQL: bash {usage}",
        "set -euo pipefail",
        f"target=${{1:?usage: {usage}}}",
    ]
    if encrypted:
        lines.append(f"identity=${{2:?usage: {usage}}}")
    lines += [
        "# The plain contents of objects, one after the other:",
        f'plain() {{ for object in "$@"; do {UNPACK_ENCRYPTED if encrypted else UNPACK}; done; }}',
        'mkdir -p "$target"',
        'chmod 0700 "$target"',
        'test -z "$(ls -A "$target")" || { echo "$target is not empty" >&2; exit 1; }',
        "# Every object is what was written:",
        "sha256sum --check --quiet <<'SUMS'",
        *[f"{stored.stored_sha256}  {stored.path}" for archive in archives for stored in archive.objects],
        f"{manifest.stored_sha256}  {manifest.path}",
        "SUMS",
        "# PGDATA:",
    ]
    for archive in archives:
        if archive.tablespace_oid is None:
            lines.append(f'{_concatenated(archive)} | tar -x -f - -C "$target"')
    for archive in archives:
        if archive.tablespace_oid is not None:
            lines += _tablespace(archive)
    lines += [
        f'plain {shlex.quote(manifest.path)} > "$target/backup_manifest"',
        "# Every file is the one the server read:",
        'pg_verifybackup "$target"',
    ]
    if tablespaces:
        lines += [
            "# From here on the tablespaces are those beside the new PGDATA, never the original ones:",
            ': > "$target/tablespace_map"',
            *[
                f'printf \'%s %s\\n\' {space.oid} "$(realpath "$target.tablespaces/{space.oid}")" '
                '>> "$target/tablespace_map"'
                for space in tablespaces
            ],
        ]
    lines += [
        "# It recovers with the WAL it carries when it is started. Look through postgresql.conf and pg_hba.conf first:",
        "# the copy must not listen where the original does, archive over its WAL or call other servers.",
        'echo "restored; start it with: pg_ctl -D $target start"',
    ]
    return lines


def _concatenated(archive: Archive) -> str:
    names = " ".join(shlex.quote(piece.path) for piece in archive.objects)
    return f"plain {names}"


def _tablespace(archive: Archive) -> list[str]:
    folder = f'"$target.tablespaces/{archive.tablespace_oid}"'
    return [
        f"# The tablespace with OID {archive.tablespace_oid}:",
        f"mkdir -p {folder}",
        f"chmod 0700 {folder}",
        f"{_concatenated(archive)} | tar -x -f - -C {folder}",
        f'ln -s "$(realpath {folder})" "$target/pg_tblspc/{archive.tablespace_oid}"',
    ]
