"""Replication slots of data that a restore in place replaces: no backup holds slots, so the restored data have none.

Whoever streamed from them stands still until they are made anew, and has perhaps taken what the restored data do not
hold any more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from pgwarden.archiving.contract import SLOT_PATTERN
from pgwarden.postgres.slots import Slot, slots_in

OURS = re.compile(SLOT_PATTERN)
"""The archiver makes its own slot anew by itself."""


def lost_slots(pgdata: Path, databases: Mapping[int, str], made: Collection[str] = ()) -> list[str]:
    """One sentence for each slot of a data directory, logical ones first, with the statement that makes it anew.

    `databases` are those of the restored data by their OID, `made` the slots that have been made anew.
    """
    found = [slot for slot in slots_of_others(pgdata) if slot.name not in made]
    return [in_words(slot, databases) for slot in sorted(found, key=lambda slot: (not slot.database, slot.name))]


def physical_slots(pgdata: Path) -> list[str]:
    """Names of the slots that standbys stream from, or others who take all of the WAL."""
    return [slot.name for slot in slots_of_others(pgdata) if slot.readable and not slot.database]


def slots_of_others(pgdata: Path) -> list[Slot]:
    return [slot for slot in slots_in(pgdata) if not OURS.fullmatch(slot.name)]


def in_words(slot: Slot, databases: Mapping[int, str]) -> str:
    if not slot.readable:
        return f"replication slot {slot.name} is gone; its file could not be read to tell what it was"
    if not slot.database:
        return f"physical replication slot {slot.name} is gone: {slot.making}"
    database = databases.get(slot.database)
    where = f"database {database}" if database is not None else "in a database that the restored data do not have"
    return f"logical replication slot {slot.name} is gone ({where}, plugin {slot.plugin}): {slot.making}"
