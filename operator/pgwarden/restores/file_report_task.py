"""Operation `file-report`: puts the incident report of a restore into the archive that the data came from."""

from __future__ import annotations

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.contract import FileReportReport, FileReportTask
from pgwarden.storage import layout
from pgwarden.storage.encryption import encrypt_whole, parse_recipients
from pgwarden.storage.store import ObjectExists, open_store

__all__ = ["FileReportTask", "run"]


def run(payload: FileReportTask, context: AgentContext) -> Done:
    """Creates the object, encrypted where the store's backups are; one that is there stays as it is.

    Raises TaskError: ArchiveNotFound, and what `Store` raises.
    """
    context.progress("filing the report", unit="objects")
    store = open_store(payload.store)
    if store.head(layout.archive_file(payload.archive)) is None:
        raise TaskError(
            "ArchiveNotFound",
            f"there is no archive {payload.archive} in the store ({store.name}) to put the report into",
            remedy="The report stands in its ConfigMap.",
        )
    recipients = parse_recipients(payload.store.recipients)
    path = layout.restore_report(payload.archive, payload.request_uid, encrypted=bool(recipients))
    content = payload.text.encode()
    try:
        store.put(path, encrypt_whole(content, recipients) if recipients else content)
    except ObjectExists:
        return Done("FiledBefore", f"{path} was there already", FileReportReport(path=path))
    return Done("Filed", f"{path} holds the report", FileReportReport(path=path))
