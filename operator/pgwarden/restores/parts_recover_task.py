"""Operation `recover-parts`: recovers the copy as any restore does, then loads parts of it into the live server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.restores.contract import RecoverReport
from pgwarden.restores.in_place_volume import volume_of
from pgwarden.restores.loading import Loader, finished_parts, load_all, told_part
from pgwarden.restores.parts_contract import LiveTarget, PartReport, PartsReport, RecoverPartsTask
from pgwarden.restores.parts_report import restored_parts, with_parts
from pgwarden.restores.recover_task import Recovery
from pgwarden.restores.recovered_part import recovered_part
from pgwarden.restores.recovery import restored_server
from pgwarden.restores.server import RecoveryServer

__all__ = ["RecoverPartsTask", "run"]

RECOVERED = {"end_lsn", "end_time", "timeline", "system_identifier"}
"""What the comment on a finished database tells of the recovery."""


def run(task: RecoverPartsTask, context: AgentContext) -> Done:
    """Recovers what operation `restore-parts` laid out, and puts what is wanted of it into new databases of the live
    server; answers from these when an earlier attempt has made all of them.

    Raises TaskError; the reasons stand in docs/restore.md and docs/restore-parts.md.
    """
    volume = volume_of(task)
    server = RecoveryServer(volume.paths.shared, context)
    with server.attended():
        finished = finished_parts(task.into, task.request_uid)
        if len(finished) == len(task.into.parts):
            return done(remembered(task.into, finished))
        with volume.held():
            recovery = Recovery(task, context, volume, server, *volume.laid_out())
            return recover_and_load(task, recovery, finished)


def recover_and_load(task: RecoverPartsTask, recovery: Recovery, finished: Mapping[str, Mapping[str, Any]]) -> Done:
    """Recovers the copy, checks it, and loads what is not there yet of the parts. Raises TaskError."""
    into, steps = task.into, recovery.steps
    with steps.step("Recover"):
        recovery.recover()
    with steps.step("Check"):
        inspection, end = recovery.check()
        report = recovery.report(inspection, end)
        recovery.tell(report)
        recovery.refuse_failed_checks(report)
    with steps.step("Select"):
        server = restored_server(recovery.paths, recovery.record)
        wanted = [part for part in into.parts if part.new_name not in finished]
        sources = [(part, recovered_part(part, server, recovery.major, recovery.context)) for part in wanted]
    loader = Loader(into, task.request_uid, recovery.major, recovery.context)
    evidence = {"recovered": report.model_dump(mode="json", by_alias=True, include=RECOVERED)}
    loaded = {each.new_name: each for each in load_all(loader, sources, steps, evidence)}
    with steps.step("ShutDown"):
        recovery.shut_down()
    for _, source in sources:
        report.findings += source.needs.findings
    recovery.tell(report)
    report.steps = steps.reports
    parts = [loaded.get(part.new_name) or told_part(part, finished[part.new_name]) for part in into.parts]
    return done(with_parts(report, parts))


def remembered(into: LiveTarget, finished: Mapping[str, Mapping[str, Any]]) -> PartsReport:
    """The report out of the comments on the finished databases, as much as these tell."""
    parts = [told_part(part, finished[part.new_name]) for part in into.parts]
    told = next(iter(finished.values())).get("recovered")
    try:
        report = RecoverReport.model_validate(told)
    except ValidationError:
        report = RecoverReport(end_lsn="", timeline=0, system_identifier="")
    return with_parts(report.model_copy(update={"repeated": True}), parts)


def done(report: PartsReport) -> Done:
    parts: list[PartReport] = report.parts
    at = f" as of {report.end_lsn}" if report.end_lsn else ""
    return Done("AlreadyRestored" if report.repeated else "PartsRestored", f"{restored_parts(parts)}{at}", report)
