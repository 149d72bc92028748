"""Operation `load-dump`: databases of a logical backup, or parts of them, into new databases of a live server."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.logical.record import LogicalRecord, read_logical_record
from pgwarden.postgres import live
from pgwarden.restores.dump_list import roles_in
from pgwarden.restores.dumped_part import DumpedPart, StoredDump, dump_of, dumped_part
from pgwarden.restores.loading import Loader, finished_parts, load_all, look_at, told_part
from pgwarden.restores.parts_contract import LoadDumpTask, LoadReport, Part
from pgwarden.restores.parts_report import restored_parts, shown
from pgwarden.restores.steps import Steps, first_of
from pgwarden.storage.authenticity import refuse_forged
from pgwarden.storage.catalogue_key import catalogue_key_of
from pgwarden.storage.encryption import read_identities
from pgwarden.storage.layout import join, record_file
from pgwarden.storage.objects import read_object
from pgwarden.storage.store import Store, open_store

__all__ = ["LoadDumpTask", "run"]

TOLD, CHARACTERS = 6, 200
"""Findings that fit into a termination message."""


def run(task: LoadDumpTask, context: AgentContext) -> Done:
    """Loads what is wanted; answers from the finished databases when an earlier attempt has made all of them.

    Raises TaskError: those of `look_at`, `load_all`, `dumped_part`, RecordForged, and what stores raise.
    """
    steps = Steps(context)
    with steps.step("LookAtTarget"):
        server = look_at(task.into, task.request_uid)
        steps.detail = f"PostgreSQL {server.major}, as {server.user}"
        finished = finished_parts(task.into, task.request_uid)
    with steps.step("Resolve"):
        store = open_store(task.store)
        record = read_record(task, store)
        dumps = {part.new_name: dump_of(part, record) for part in task.into.parts}
        steps.detail = f"backup {record.backup_id} of PostgreSQL {record.server.version}"
    report = LoadReport(backup_id=record.backup_id, system_identifier=record.system_identifier)
    if len(finished) == len(task.into.parts):
        return done(report, task, finished, steps, repeated=True)
    # The tools are those of the live server's major version: they read what older ones have written.
    major = server.major
    identities = read_identities(Path(task.store.identity_file)) if task.store.identity_file else []
    scratch = Path(task.scratch_folder) / "parts"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with steps.step("Select"), live.talking(task.into.address) as connection:
        roles = [*live.role_names(connection), *roles_of(task, record, store, identities)]
        sources: list[tuple[Part, DumpedPart]] = [
            (
                part,
                dumped_part(
                    part,
                    record,
                    StoredDump(store, task.location, dumps[part.new_name], identities),
                    major=major,
                    parallel=task.parallel,
                    scratch=scratch,
                    roles=roles,
                    context=context,
                ),
            )
            for part in task.into.parts
            if part.new_name not in finished
        ]
    data_major = record.server.version_num // 10000
    loader = Loader(task.into, task.request_uid, major, context, data_major=data_major)
    loaded = load_all(loader, sources, steps, {"backupId": record.backup_id})
    report.findings = first_of([each for _, source in sources for each in source.needs.findings], TOLD, CHARACTERS)
    for finding in report.findings:
        context.log(f"found: {finding}")
    told = {each.new_name: {"part": each.model_dump(mode="json", by_alias=True)} for each in loaded}
    return done(report, task, {**finished, **told}, steps, repeated=False)


def read_record(task: LoadDumpTask, store: Store) -> LogicalRecord:
    """The backup's record. Raises TaskError: RecordForged, and what reading it raises."""
    name = record_file(task.location)
    content = store.read_small(name)
    key = catalogue_key_of(task.store)
    if key is not None:
        refuse_forged(content, name, key.hmac)
    return read_logical_record(content, name)


def roles_of(task: LoadDumpTask, record: LogicalRecord, store: Store, identities: Sequence[Any]) -> list[str]:
    """The roles that the backup knows by name. Raises what reading objects raises."""
    owners = [each.owner for each in record.databases]
    if record.globals is None:
        return owners
    stored = read_object(store, join(task.location, record.globals.path), record.globals, identities)
    return [*owners, *roles_in(b"".join(stored).decode(errors="replace"))]


def done(
    report: LoadReport, task: LoadDumpTask, told: Mapping[str, Mapping[str, Any]], steps: Steps, *, repeated: bool
) -> Done:
    parts = [told_part(part, told[part.new_name]) for part in task.into.parts]
    report.parts, report.steps, report.repeated = shown(parts), steps.reports, repeated
    message = f"{restored_parts(parts)}, out of backup {report.backup_id}"
    return Done("AlreadyRestored" if repeated else "PartsRestored", message, report)
