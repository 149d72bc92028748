"""What other rooms have to know of restores: which backups one reads that has not ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgwarden.api.conditions import READY, STALLED, is_true
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.restores.resource import RestoreRequest


def ended(request: RestoreRequest) -> bool:
    """Whether nothing of a restore is to come."""
    return is_true(request.status.conditions, READY) or is_true(request.status.conditions, STALLED)


def has_begun(request: RestoreRequest) -> bool:
    """Whether anything of a restore is under way; one suspended before its first attempt may be so for months."""
    return bool(request.status.attempts) or not request.spec.suspend


def read_by_restores(requests: Sequence[RestoreRequest], backups: Mapping[str, DatabaseBackup]) -> list[str] | None:
    """Ids of the backups that restores read now; None while one has not found out yet which it needs.

    `backups` are the namespace's DatabaseBackups by name.
    """
    found: set[str] = set()
    for request in requests:
        if ended(request) or not has_begun(request):
            continue
        status, source = request.status, request.spec.source
        resolved = status.resolved
        backup = backups.get(source.backup_ref.name) if source.backup_ref is not None else None
        ids = {status.backup_id, *(resolved.chain if resolved is not None else [])}
        ids |= {backup.status.backup_id} if backup is not None else set()
        if not ids - {""}:
            return None
        found |= ids - {""}
    return sorted(found)
