"""The end of an archiver whose policy wants no WAL any more: its slots go, so that no server keeps WAL for nobody."""

from __future__ import annotations

from pgwarden.archiving.contract import ArchiverSettings
from pgwarden.archiving.primary import SETTINGS, drop_slot, rows, text
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import DatabaseAddress
from pgwarden.postgres.connection import connect


def drop_slots(settings: ArchiverSettings, operation: str) -> None:
    """Drops the slot on every endpoint that has it.

    Raises TaskError with reason SlotNotDropped, which names the servers where it may still be.
    """
    problems = []
    for address in settings.endpoints:
        try:
            drop_slot_on(address, settings, operation)
        except TaskError as error:
            problems.append(f"{address.host}:{address.port} ({error.reason}): {error.message}")
    if problems:
        raise TaskError(
            "SlotNotDropped",
            f"the slot {settings.slot} may still be on {'; '.join(problems)}",
            remedy="It is tried again by itself for a few minutes. A server that is gone for good has no slot; on any "
            f"other: SELECT pg_drop_replication_slot('{settings.slot}').",
            retryable=True,
        )


def drop_slot_on(address: DatabaseAddress, settings: ArchiverSettings, operation: str) -> None:
    """Drops the slot where it is, unless the server is of another cluster. Raises TaskError."""
    server = f"{address.host}:{address.port}"
    with connect(address, operation, settings=SETTINGS) as connection:
        ((_, system_identifier, exists, *_),) = rows(connection, server, text("replica"), (settings.slot,))
        if exists and settings.expected_system_identifier in (None, system_identifier):
            drop_slot(connection, server, settings.slot)
