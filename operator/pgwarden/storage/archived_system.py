"""wal/system.json: whose WAL an archive holds. The archiver writes it once, whoever reads the archive reads it."""

from __future__ import annotations

from pydantic import ValidationError

from pgwarden.jobs.task import ReportModel
from pgwarden.storage import layout
from pgwarden.storage.store import Store, object_damaged


class SystemFile(ReportModel):
    """wal/system.json: whose WAL the archive holds."""

    schema_version: int = 1
    system_identifier: str
    segment_bytes: int


def archived_system(store: Store, archive: str) -> SystemFile | None:
    """Whose WAL the archive holds; None where it holds none yet. Raises TaskError: ObjectDamaged."""
    path = layout.system_object(archive)
    if store.head(path) is None:
        return None
    try:
        return SystemFile.model_validate_json(store.read_small(path))
    except ValidationError as error:
        raise object_damaged(store, path, "it does not say whose WAL the archive holds") from error
