"""Restores into a server that runs: what differs from one that is handed over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pgwarden.api.quantities import human_seconds
from pgwarden.backups.resource import BackupType, DatabaseBackup
from pgwarden.clusters.access import Obstacle, major_version
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.task import shorten
from pgwarden.restores.identifiers import quoted
from pgwarden.restores.parts_contract import Part, PartReport, TableName, working_name
from pgwarden.restores.resource import Into, LoadedDatabase, RestoreRequest, RestoreRequestStatus, RowCount
from pgwarden.restores.swap import swap_of

TABLE_NAME = 256
COUNTS = 50


def wants_parts(request: RestoreRequest) -> bool:
    return request.spec.target.into is not None


def into_of(request: RestoreRequest) -> Into:
    """What a restore into a server that runs wants. Raises ValueError for a request that wants something else."""
    if request.spec.target.into is None:
        raise ValueError(f"RestoreRequest {request.metadata.name} restores into no server that runs")
    return request.spec.target.into


def parts_of(request: RestoreRequest) -> list[Part]:
    """The parts for the agent."""
    return [
        Part(
            database=each.database,
            new_name=each.new_name,
            schemas=each.schemas,
            tables=[TableName(schema_name=table.schema_name, table_name=table.table_name) for table in each.tables],
        )
        for each in into_of(request).databases
    ]


def older_server(request: RestoreRequest, version: str, live: DatabaseCluster | None) -> Obstacle | None:
    """A server older than the data, which does not understand their dump; `version` is the data's, empty if unknown."""
    if live is None or not version or not live.status.version:
        return None
    if major_version(live.status.version) >= major_version(version):
        return None
    message = (
        f"the data are of PostgreSQL {version}, and DatabaseCluster {live.metadata.name} is {live.status.version},"
        " which does not understand all that a newer one dumps. Name a DatabaseCluster of that major version, or of a"
        " later one, in target.into.clusterRef of a new RestoreRequest"
    )
    return Obstacle("LiveServerOlder", message)


def from_dump(backup: DatabaseBackup | None) -> bool:
    """Whether parts come out of a dump, which needs no server of its own to be read."""
    return backup is not None and backup.spec.type == BackupType.LOGICAL


def not_of_dumps(request: RestoreRequest) -> Obstacle | None:
    """What is asked for and a dump cannot give."""
    if request.spec.source.target is not None:
        message = (
            "a logical backup is of one moment, and no WAL leads from it to another: leave source.target out, or name a"
            " full or incremental backup, or a policyRef, in a new RestoreRequest"
        )
        return Obstacle("LogicalBackupHasNoMoments", message)
    if request.spec.checks:
        message = (
            "checks are asked of a recovered copy, and a logical backup is loaded without one: leave them out in a new"
            " RestoreRequest, and ask the new databases"
        )
        return Obstacle("ChecksNotPossible", message)
    return None


def described(request: RestoreRequest) -> str:
    """Where to, for people."""
    into = into_of(request)
    names = ", ".join(quoted(each.new_name) for each in into.databases)
    return f"DatabaseCluster {into.cluster_ref.name}, as {names}"


def loaded(
    request: RestoreRequest, status: RestoreRequestStatus, parts: Sequence[PartReport], now: datetime
) -> RestoreRequestStatus:
    """The status of a restore whose databases are there."""
    began = status.start_time or now
    swaps = {each.new_name: swap_of(each) for each in into_of(request).databases}
    return status.model_copy(
        update={
            "loaded": [loaded_database(each, swaps.get(each.new_name, "")) for each in parts],
            "completion_time": now.replace(microsecond=0),
            "duration_seconds": round(max(0.0, (now - began).total_seconds()), 1),
            "step": "Done",
        }
    )


def loaded_database(report: PartReport, swap: str) -> LoadedDatabase:
    return LoadedDatabase(
        database=report.database,
        new_name=report.new_name,
        tables=report.tables,
        rows=report.rows,
        size_bytes=report.size_bytes,
        counts=[RowCount(table=shorten(each.table, TABLE_NAME), rows=each.rows) for each in report.counts[:COUNTS]],
        swap=swap,
    )


def in_words(request: RestoreRequest, status: RestoreRequestStatus) -> str:
    """What came of a restore that went well, as a sentence."""
    told = "; ".join(f"{quoted(each.new_name)} has {each.rows} rows in {each.tables} tables" for each in status.loaded)
    moment = f", restored to {status.restored_to}" if status.restored_to is not None else ""
    return (
        f"{told}. They are in DatabaseCluster {into_of(request).cluster_ref.name}{moment}, after"
        f" {human_seconds(status.duration_seconds or 0)}; what puts them in the place of the originals is told by:"
        f" kubectl pgwarden restore show {request.metadata.name} --namespace {request.metadata.namespace}"
    )


def left_behind(request: RestoreRequest) -> str:
    """What may be left of a restore that was cancelled."""
    into = into_of(request)
    names = [quoted(working_name(request.metadata.uid, each.new_name)) for each in into.databases]
    drops = " ".join(f"DROP DATABASE IF EXISTS {name};" for name in names)
    return (
        "what it had recovered goes with its Job, and it deletes what it had not finished. Where its pod was killed"
        f" instead, this does so in DatabaseCluster {into.cluster_ref.name}: {drops}"
    )
