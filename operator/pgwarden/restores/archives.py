"""In which of a cluster's archives a restore begins: the newest that holds the target.

A server whose volume was rolled back goes on in another archive (pgwarden.storage.archive). Times go on from one to the
next, and the newer one holds what the server has come to since; WAL positions begin again, so that the same one may be
in both, and the newer one is meant. What the older one holds of it is restored by naming a backup in there.
"""

from __future__ import annotations

from datetime import datetime

from pgwarden.catalogue.base import NOT_HERE
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.archive_reader import read_catalogue
from pgwarden.restores.contract import Resolved, TargetPoint
from pgwarden.restores.resolve import PASSED_OVER, known_until, resolve
from pgwarden.storage.archive import archive_folders
from pgwarden.storage.store import Store


def resolve_among(store: Store, archive: str, target: TargetPoint, now: datetime, key: bytes | None) -> Resolved:
    """The way to `target` in `archive` or in those that took its place. Raises what `resolve` and `Store` raise; what
    no archive holds is told of each."""
    namespace, cluster, _ = archive.split("/")
    folders = archive_folders(store, namespace, cluster)[::-1] or [archive]
    refused: list[TaskError] = []
    known: list[datetime] = []
    for folder in folders:
        try:
            catalogue = read_catalogue(store, folder, target, now, key=key)
            known += filter(None, [known_until(catalogue)])
            found = resolve(catalogue, target)
        except TaskError as error:
            if error.reason not in NOT_HERE:
                raise
            refused.append(error)
            continue
        passed_over = [*(f"in a newer archive: {error.message}" for error in refused), *found.passed_over]
        more = {"passed_over": passed_over[:PASSED_OVER], "known_until": max(known, default=None)}
        return found.model_copy(update=more)
    newest = refused[0]
    if len(refused) == 1:
        raise newest
    told = [f"{folder}: {error.message}" for folder, error in zip(folders, refused, strict=True)]
    raise TaskError(newest.reason, "; ".join(told), remedy=newest.remedy)
