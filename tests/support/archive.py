"""An archive as a task of the catalogue sees it: filled, looked at, pruned, with names of objects before and after."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pgwarden.api.wal import parse_lsn, segment_name
from pgwarden.catalogue.contract import CatalogueReport, CatalogueTask, Line, RetentionSettings, What
from pgwarden.catalogue.moments import NotedMoment, NotedMoments
from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import ObjectRef, Result, Task
from pgwarden.storage import layout
from pgwarden.storage.store import Store, open_store

from .backups import IDENTITY, NONCE

ARCHIVE = layout.archive_folder(IDENTITY.namespace, IDENTITY.cluster)
SEGMENT = 16 << 20
NEWEST_ONLY = RetentionSettings(window_seconds=0, minimum_fulls=1)
"""A window of no length: the newest restorable backup stays, with the WAL after it."""


@dataclass
class Archived:
    """The archive of `IDENTITY` in one store."""

    location: StoreLocation

    @property
    def store(self) -> Store:
        return open_store(self.location)

    def names(self) -> set[str]:
        """Every object, without the archive's folder."""
        return {listed.path.removeprefix(f"{ARCHIVE}/") for listed in self.store.list(ARCHIVE)}

    def archive_wal(self, start: str, stop: str, timeline: int = 1) -> list[str]:
        """Puts whole segments from the one that holds `start` up to the one that holds `stop`: their names."""
        names = list(segments(timeline, parse_lsn(start), parse_lsn(stop)))
        store = self.store
        for name in names:
            store.put(layout.checksum_object(ARCHIVE, name), b"sum")
            store.put(layout.segment_object(ARCHIVE, name, encrypted=False), b"wal")
        return names

    def note(self, time: datetime, lsn: str, timeline: int = 1) -> str:
        """Puts an object of the index with one moment; its name."""
        path = layout.moments_object(ARCHIVE, time, timeline, parse_lsn(lsn))
        moment = NotedMoment(time=time, timeline=timeline, lsn=lsn)
        self.store.put(path, NotedMoments(moments=[moment]).model_dump_json(by_alias=True).encode())
        return path.removeprefix(f"{ARCHIVE}/")

    def name_point(self, name: str, time: datetime, lsn: str, timeline: int = 1) -> str:
        """Puts an object that tells of a restore point; its name."""
        path = layout.point_object(ARCHIVE, time, timeline, parse_lsn(lsn), name.encode())
        self.store.put(path, b"{}")
        return path.removeprefix(f"{ARCHIVE}/")

    def task(self, what: What, **changes: object) -> Task:
        payload = CatalogueTask(what=what, archive=IDENTITY, store=self.location, now=datetime.now(UTC))
        payload = payload.model_copy(update=changes)
        return Task(
            operation=payload.OPERATION,
            nonce=NONCE,
            object=ObjectRef(kind="BackupStore", namespace="shop", name="bucket", uid="1"),
            payload=payload.model_dump(mode="json", by_alias=True),
        )

    def run(self, what: What, **changes: object) -> tuple[Result, list[Line]]:
        """Carries the task out in this process, inside the agent's own frame; what it logged for a shell."""
        task = self.task(what, **changes)
        output = io.StringIO()
        result = perform(task, AgentContext(task, output=output))
        found = [line for line in output.getvalue().splitlines() if '"step"' not in line and NONCE in line]
        return result, [Line.model_validate_json(line) for line in found]

    def report(self, what: What, **changes: object) -> CatalogueReport:
        """The report of a task that has to succeed."""
        result, _ = self.run(what, **changes)
        assert result.outcome == "Succeeded", f"{result.reason}: {result.message}"
        return CatalogueReport.model_validate(result.report)

    def states(self) -> dict[str, str]:
        """State of every backup, by id."""
        _, lines = self.run(What.LIST)
        return {line.backup.backup_id: line.backup.state for line in lines if line.backup is not None}


def segments(timeline: int, start: int, stop: int) -> Iterator[str]:
    for number in range(start // SEGMENT, (stop - 1) // SEGMENT + 1):
        yield segment_name(timeline, number, SEGMENT)
