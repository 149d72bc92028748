"""Operation `restore-parts`: the init container that looks at the live server, then lays the backup out."""

from __future__ import annotations

from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.restores import task as whole
from pgwarden.restores.contract import RestoreReport
from pgwarden.restores.in_place_volume import volume_of
from pgwarden.restores.loading import finished_parts, look_at
from pgwarden.restores.parts_contract import PartsTask
from pgwarden.restores.steps import Steps

__all__ = ["PartsTask", "run"]


def run(task: PartsTask, context: AgentContext) -> Done:
    """As `pgwarden.restores.task.run`, unless the live server has all parts already.

    Raises TaskError: what `look_at` raises, and the reasons in docs/restore.md.
    """
    steps = Steps(context)
    with steps.step("LookAtTarget"):
        server = look_at(task.into, task.request_uid)
        finished = finished_parts(task.into, task.request_uid)
        steps.detail = f"PostgreSQL {server.major}, as {server.user}"
    if len(finished) == len(task.into.parts):
        paths = volume_of(task).paths
        # The server's container waits to be told that there is nothing to do.
        whole.write_scripts(paths, server.major)
        return Done("AlreadyRestored", f"{', '.join(finished)} had been restored by an earlier attempt", nothing(task))
    done = whole.run(task, context)
    if isinstance(done.report, RestoreReport):
        done.report.steps = [*steps.reports, *done.report.steps]
    return done


def nothing(task: PartsTask) -> RestoreReport:
    """The report where nothing had to be laid out."""
    return RestoreReport(
        backup_id=task.location.rsplit("/", 1)[-1],
        system_identifier="",
        start_lsn="",
        stop_lsn="",
        timeline=0,
        postgres_version="",
        plain_bytes=0,
        repeated=True,
    )
