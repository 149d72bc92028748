"""The bash script in every record: how to restore the backup without pgwarden. Pure.

It needs what every system has or can get: bash, sha256sum, tar, zstd, age where objects are encrypted, and
PostgreSQL's own pg_verifybackup and pg_ctl of the same major version; for an incremental pg_combinebackup, too.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pgwarden.backups.record import Archive, StoredObject, Tablespace

UNPACK = 'zstd -dcq "$object"'
UNPACK_ENCRYPTED = 'age --decrypt --identity "$identity" "$object" | zstd -dcq'
TABLESPACES = '"$target.tablespaces/'


@dataclass(frozen=True)
class Link:
    """One backup of a chain."""

    backup_id: str
    archives: Sequence[Archive]
    manifest: StoredObject
    tablespaces: Sequence[Tablespace]


def restore_script(*, folder: str, version: str, chain: Sequence[Link], encrypted: bool) -> list[str]:
    """The lines of the script that restores the last of `chain`, whose first is a full; they lie below `folder`.

    It takes an empty folder for PGDATA and, when encrypted, the file of an identity.
    """
    body = _full(chain[0]) if len(chain) == 1 else _combined(chain)
    return [
        *_head(folder, version, chain, encrypted=encrypted),
        *body,
        *_own_tablespaces(chain[-1].tablespaces),
        "# It recovers with the WAL it carries when it is started. Look through postgresql.conf and pg_hba.conf first:",
        "# the copy must not listen where the original does, archive over its WAL or call other servers.",
        'echo "restored; start it with: pg_ctl -D $target start"',
    ]


def _head(folder: str, version: str, chain: Sequence[Link], *, encrypted: bool) -> list[str]:
    usage = "restore.sh <new PGDATA>" + (" <file with the age identity>" if encrypted else "")
    single = len(chain) == 1
    names = [link.backup_id for link in chain]
    copy = (
        f"# 1. Copy the folder {folder}/{names[0]} of the store to a disk and go into it."
        if single
        else f"# 1. Copy these folders of {folder} in the store to one folder on a disk and go into that: "
        + ", ".join(names)
    )
    programs = ["sha256sum", "tar", "zstd", *(["age"] if encrypted else []), "pg_verifybackup", "pg_ctl"]
    major = version.split(".", 1)[0]
    lines = [
        "#!/usr/bin/env bash",
        f"# Restores backup {names[-1]} (PostgreSQL {version}) without pgwarden.",
        copy,
        f"# 2. As the user who will run PostgreSQL: bash {usage}",
        "set -euo pipefail",
        f"target=${{1:?usage: {usage}}}",
        *([f"identity=${{2:?usage: {usage}}}"] if encrypted else []),
        "# Everything it needs is there:",
        "missing=''",
        f"for program in {' '.join([*programs, *([] if single else ['pg_combinebackup'])])}; do",
        '  command -v "$program" >/dev/null || missing="$missing $program"',
        "done",
        'test -z "$missing" || { echo "not found on PATH:$missing" >&2; exit 1; }',
        f'case "$({"pg_verifybackup" if single else "pg_combinebackup"} --version)" in',
        f'  *"(PostgreSQL) {major}"*) ;;',
        f'  *) echo "the programs of PostgreSQL {major} have to come first on PATH" >&2; exit 1 ;;',
        "esac",
        "# The plain contents of objects, one after the other:",
        f'plain() {{ for object in "$@"; do {UNPACK_ENCRYPTED if encrypted else UNPACK}; done; }}',
        'mkdir -p "$target"',
        'chmod 0700 "$target"',
        'test -z "$(ls -A "$target")" || { echo "$target is not empty" >&2; exit 1; }',
        "# Every object is what was written:",
        "sha256sum --check --quiet <<'SUMS'",
    ]
    for link in chain:
        prefix = "" if single else f"{link.backup_id}/"
        pieces = [stored for archive in link.archives for stored in archive.objects]
        lines += [f"{stored.stored_sha256}  {prefix}{stored.path}" for stored in (*pieces, link.manifest)]
    return [*lines, "SUMS"]


def _full(link: Link) -> list[str]:
    return ["# PGDATA:", *_unpacked(link, "", '"$target"', TABLESPACES)]


def _combined(chain: Sequence[Link]) -> list[str]:
    """Each backup into its own folder, then all of them into one.

    The tablespaces are links inside these folders while pg_combinebackup runs: left to tablespace_map, it would leave
    them out without a word, or have the copy use the original's.
    """
    lines = []
    for number, link in enumerate(chain):
        part = f'"$target.parts/{number}/data"'
        lines += [
            f"# Backup {link.backup_id}:",
            f"mkdir -p {part}",
            f"chmod 0700 {part}",
            *_unpacked(link, f"{link.backup_id}/", part, f'"$target.parts/{number}/'),
        ]
    last = len(chain) - 1
    parts = " ".join(f'"$target.parts/{number}/data"' for number in range(len(chain)))
    lines += ["# Together they are the data directory:"]
    if chain[-1].tablespaces:
        lines.append('mkdir -p "$target.tablespaces"')
    mappings = [
        f'--tablespace-mapping="$(realpath "$target.parts/{last}/{space.oid}")=$(realpath "$target.tablespaces")'
        f'/{space.oid}"'
        for space in chain[-1].tablespaces
    ]
    return [
        *lines,
        " ".join(["pg_combinebackup", '--output="$target"', *mappings, parts]),
        'pg_verifybackup "$target"',
        'rm -r "$target.parts"',
    ]


def _unpacked(link: Link, prefix: str, data: str, tablespaces: str) -> list[str]:
    """Lines that unpack one backup and verify it; `data` is quoted, `tablespaces` begins with its quote."""
    lines = [
        f"{_concatenated(archive, prefix)} | tar -x -f - -C {data}"
        for archive in link.archives
        if archive.tablespace_oid is None
    ]
    for archive in link.archives:
        if archive.tablespace_oid is not None:
            folder = f'{tablespaces}{archive.tablespace_oid}"'
            lines += [
                f"# The tablespace with OID {archive.tablespace_oid}:",
                f"mkdir -p {folder}",
                f"chmod 0700 {folder}",
                f"{_concatenated(archive, prefix)} | tar -x -f - -C {folder}",
                f'ln -s "$(realpath {folder})" {data}/pg_tblspc/{archive.tablespace_oid}',
            ]
    return [
        *lines,
        f"plain {shlex.quote(prefix + link.manifest.path)} > {data}/backup_manifest",
        "# Every file is the one the server read:",
        f"pg_verifybackup {data}",
    ]


def _own_tablespaces(tablespaces: Sequence[Tablespace]) -> list[str]:
    if not tablespaces:
        return []
    return [
        "# From here on the tablespaces are those beside the new PGDATA, never the original ones:",
        ': > "$target/tablespace_map"',
        *[
            f'printf \'%s %s\\n\' {space.oid} "$(realpath "$target.tablespaces/{space.oid}")" '
            '>> "$target/tablespace_map"'
            for space in tablespaces
        ],
    ]


def _concatenated(archive: Archive, prefix: str) -> str:
    return f"plain {' '.join(shlex.quote(prefix + piece.path) for piece in archive.objects)}"
