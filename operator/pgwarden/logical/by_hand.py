"""The bash script in every record: how to load the dumps without pgwarden. Pure.

It needs what every system has or can get: bash, sha256sum, zstd, tar for the directory format, age where objects are
encrypted, and psql and pg_restore of the same major version or a later one.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pgwarden.backups.record import StoredObject
from pgwarden.logical.record import DatabaseDump, DumpFormat

UNPACK = 'zstd -dcq "$object"'
UNPACK_ENCRYPTED = 'age --decrypt --identity "$identity" "$object" | zstd -dcq'
MAINTENANCE_DATABASE = "postgres"
"""It is there in every cluster, so it is filled and not created."""


def restore_script(
    *,
    backup_id: str,
    location: str,
    version: str,
    databases: Sequence[DatabaseDump],
    globals_object: StoredObject | None,
    encrypted: bool,
) -> list[str]:
    """The lines of the script. Arguments: the file of an identity, when encrypted; then the databases, or all."""
    usage = "restore.sh" + (" <file with the age identity>" if encrypted else "") + " [database ...]"
    tools = ["sha256sum", "zstd", "psql", "pg_restore", *(["age"] if encrypted else [])]
    tools += ["tar"] if any(dump.format == DumpFormat.DIRECTORY for dump in databases) else []
    stored = [each for dump in databases for each in dump.objects]
    stored += [globals_object] if globals_object is not None else []
    lines = [
        "#!/usr/bin/env bash",
        f"# Loads logical backup {backup_id} (PostgreSQL {version}) without pgwarden.",
        f"# 1. Copy the folder {location} of the store to a disk and go into it.",
        "# 2. Say where to: PGHOST, PGPORT, PGUSER (a superuser, or who may create databases and roles), PGPASSFILE.",
        f"# 3. bash {usage}",
        "# Each database is consistent in itself, at its own moment; the databases are not consistent with each other.",
        "set -euo pipefail",
    ]
    if encrypted:
        lines += [f"identity=${{1:?usage: {usage}}}", "shift"]
    lines += [
        f"for tool in {' '.join(tools)}; do",
        '  command -v "$tool" >/dev/null || { echo "$tool is missing; install it first" >&2; exit 1; }',
        "done",
        'wanted=("$@")',
        "want() {",
        '  [ "${#wanted[@]}" -gt 0 ] || return 0',
        '  for each in "${wanted[@]}"; do [ "$each" != "$1" ] || return 0; done',
        "  return 1",
        "}",
        "# The plain contents of objects, one after the other:",
        f'plain() {{ for object in "$@"; do {UNPACK_ENCRYPTED if encrypted else UNPACK}; done; }}',
        "# Every object is what was written:",
        "sha256sum --check --quiet <<'SUMS'",
        *[f"{each.stored_sha256}  {each.path}" for each in stored],
        "SUMS",
    ]
    if globals_object is not None:
        lines += [
            "# Roles and tablespaces. Those that exist already are reported as errors, and stay as they are:",
            f"plain {shlex.quote(globals_object.path)} | psql -X -q -d {MAINTENANCE_DATABASE} -f -",
        ]
    for dump in databases:
        lines += _database(dump)
    lines.append('echo "loaded; roles have no passwords unless they were kept: set them with \\password in psql"')
    return lines


def _database(dump: DatabaseDump) -> list[str]:
    name = shlex.quote(dump.name)
    # --create makes the database with its encoding, locale, owner, rights and settings.
    how = "--exit-on-error --dbname=postgres" + ("" if dump.name == MAINTENANCE_DATABASE else " --create")
    source = f"plain {' '.join(shlex.quote(each.path) for each in dump.objects)}"
    comment = f"# Database {shlex.quote(dump.name)} as of {dump.snapshot_time.isoformat()}:"
    if dump.format == DumpFormat.CUSTOM:
        return [comment, f"if want {name}; then {source} | pg_restore {how}; fi"]
    return [
        comment,
        f"if want {name}; then",
        "  folder=$(mktemp -d ./dump.XXXXXX)",
        f'  {source} | tar -x -f - -C "$folder"',
        f'  pg_restore {how} --jobs="$(nproc)" "$folder"',
        '  rm -r "$folder"',
        "fi",
    ]
