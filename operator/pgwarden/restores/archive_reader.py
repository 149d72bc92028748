"""Reads of an archive what the choice of a base for one target depends on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pgwarden.catalogue.contents import Catalogue
from pgwarden.catalogue.moments import NOT_AUTHENTIC, IndexObject, around
from pgwarden.catalogue.reading import read_archive
from pgwarden.catalogue.window import newest_timeline
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import TargetPoint
from pgwarden.storage.layout import history_object, moments_folder
from pgwarden.storage.store import Store


def read_catalogue(
    store: Store, archive: str, target: TargetPoint, now: datetime, *, key: bytes | None = None
) -> Catalogue:
    """The archive's catalogue, with the moments around `target` exactly; with the store's catalogue `key` without
    forged records. All WAL is listed: a checkpoint may tell of what somebody has deleted.

    Raises TaskError: HistoryDamaged, ObjectDamaged, and what `Store` raises.
    """
    found = read_archive(
        store, archive, now, key=key, all_of_it=True, choice=lambda index: telling(index, target)
    ).catalogue
    refuse_what_misleads(found, target)
    return found


def telling(index: Sequence[IndexObject], target: TargetPoint) -> Sequence[IndexObject]:
    """The objects of the index that have to be read in full for that target."""
    if target.xid is not None:
        return index
    return around(index, target.time) if target.time is not None else index[-1:]


def refuse_what_misleads(catalogue: Catalogue, target: TargetPoint) -> None:
    """Raises TaskError where what cannot be understood would lead elsewhere than to `target`: HistoryDamaged, of the
    wanted timeline; ObjectDamaged and RecordForged, of the moments around a wanted time. Those that nobody wrote with
    the store's key mislead nobody: they are passed over."""
    timeline = target.timeline or newest_timeline(catalogue) or 1
    for trouble in catalogue.troubles:
        leads = trouble.path == history_object(catalogue.archive, timeline)
        of_moments = trouble.path.startswith(f"{moments_folder(catalogue.archive)}/")
        times = target.time is not None and of_moments and trouble.reason != NOT_AUTHENTIC
        if leads or times:
            raise TaskError(trouble.reason, trouble.message, remedy=trouble.remedy)
