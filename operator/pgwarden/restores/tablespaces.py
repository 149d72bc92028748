"""The file tablespace_map of a base backup. Pure.

One line per tablespace: OID, a blank, the location; backslash, newline and carriage return in a location are written
with a backslash before them (PostgreSQL, src/backend/access/transam/xlogrecovery.c, read_tablespace_map).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pgwarden.jobs.errors import TaskError

LINE = re.compile(r"([0-9]+) ((?:[^\\\n\r]|\\.)*)(?:\n|\Z)", re.DOTALL)


def parse_tablespace_map(text: str) -> dict[int, str]:
    """OID -> location. Raises TaskError with reason TablespaceMapUnreadable."""
    locations = {}
    position = 0
    while position < len(text):
        line = LINE.match(text, position)
        if line is None:
            raise TaskError(
                "TablespaceMapUnreadable",
                f"the backup's file tablespace_map cannot be understood at character {position}",
                remedy="Restore another backup, and report this one: its file backup.json says how to look into it.",
            )
        locations[int(line[1])] = re.sub(r"\\(.)", r"\1", line[2], flags=re.DOTALL)
        position = line.end()
    return locations


def format_tablespace_map(locations: Mapping[int, str]) -> str:
    """The content of tablespace_map for these locations, by OID."""
    return "".join(f"{oid} {escape(location)}\n" for oid, location in sorted(locations.items()))


def escape(location: str) -> str:
    return re.sub(r"([\\\n\r])", r"\\\1", location)
