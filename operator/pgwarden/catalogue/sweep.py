"""What attempts have left behind and may be deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta

from pgwarden.catalogue.folders import BackupFolder
from pgwarden.storage.store import ObjectInfo

LEFTOVER_AGE = timedelta(hours=24)
"""Younger ones may belong to an attempt that nobody told about."""


def leftovers_to_sweep(
    leftovers: Mapping[str, list[str]], folders: Mapping[str, BackupFolder], live: Set[str], now: datetime
) -> list[ObjectInfo]:
    """What no record names, is old enough, and belongs to no backup that is being taken or may be tried again.

    The whole folder waits for its youngest object: an attempt writes for hours, and its first objects are old then.
    """
    found = []
    for location, paths in sorted(leftovers.items()):
        folder = folders[location]
        left = [folder.objects[path] for path in paths]
        old = all(each.modified is not None and now - each.modified >= LEFTOVER_AGE for each in left)
        if old and folder.backup_id not in live:
            found += left
            if folder.record is None:
                found += folder.beside
    return found


def unfinished_to_sweep(unfinished: Iterable[ObjectInfo], live: Set[str], now: datetime) -> list[ObjectInfo]:
    """Objects that were never written to their end: as old, and of no backup that may still be written."""
    return [
        each
        for each in unfinished
        if each.modified is not None and now - each.modified >= LEFTOVER_AGE and live.isdisjoint(each.path.split("/"))
    ]
