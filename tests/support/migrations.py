"""Runs migrations for tests as a Job would: files in folders, a Task, and the Result it leaves behind."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.jobs.task import ObjectRef, Operation, Result, Task
from pgwarden.migrations.contract import MigrateReport, MigrateTask

OWNER = ObjectRef(kind="DatabaseMigration", namespace="shop", name="orders", uid="0b1f")
SAMPLES = Path(__file__).parents[2] / "manifests" / "samples" / "migrations"


class Sources:
    """A folder of sources with one source called `app`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "app").mkdir(parents=True)

    def write(self, name: str, content: str | bytes, *, source: str = "app") -> Path:
        path = self.folder / source / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def remove(self, name: str) -> None:
        (self.folder / "app" / name).unlink()


def task_of(address: DatabaseAddress, sources: Path, **wanted: Any) -> Task:
    payload = MigrateTask(database=address, sources=str(sources), **wanted)
    return Task(
        operation=Operation.MIGRATE,
        nonce="0123456789abcdef",
        object=OWNER,
        payload=payload.model_dump(mode="json", by_alias=True),
    )


def run_migrations(
    address: DatabaseAddress, sources: Path | Sources, *, stop: threading.Event | None = None, **wanted: Any
) -> Result:
    """Runs operation `migrate` with the fields of MigrateTask in `wanted`; fails the test when the agent broke."""
    folder = sources.folder if isinstance(sources, Sources) else sources
    context = AgentContext(task_of(address, folder, **wanted), stop=stop or threading.Event(), output=io.StringIO())
    result = perform(context.task, context)
    assert result.reason != "InternalError", (result.message, context.output.getvalue())  # type: ignore[attr-defined]
    assert len(result.to_message().encode()) <= 4096
    return result


def report_of(result: Result) -> MigrateReport:
    return MigrateReport.model_validate(result.report)
