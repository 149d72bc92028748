"""Operation `recover`: what runs beside the server in a restore's pod, until the copy is ready to be handed over."""

from __future__ import annotations

from pathlib import Path

from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.restores.configuration import FINAL_HBA, FINAL_IDENT, final_configuration
from pgwarden.restores.contract import CheckResult, RecoverReport, RecoverTask
from pgwarden.restores.durable import sync_path, write_durably
from pgwarden.restores.inspection import Inspection, inspect
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.recovery import (
    RecoveryEnd,
    carried_wal,
    check_recovery_end,
    read_recovery_end,
    recover,
    recovery_failed,
    restored_server,
    write_configuration,
)
from pgwarden.restores.server import RecoveryServer
from pgwarden.restores.steps import Steps, fitted
from pgwarden.restores.verify import find_wrong_pages, read_control_data
from pgwarden.restores.volume import Marker, RestoreVolume, State
from pgwarden.restores.wal_queue import WALQueue

__all__ = ["RecoverTask", "run"]

OTHER_BACKUP = "Nothing was handed over. Look at what failed, or restore another backup with a new RestoreRequest."


def run(task: RecoverTask, context: AgentContext) -> Done:
    """Recovers what operation `restore` laid out, checks it, stops the server and renames the directory in.

    The server container is told to stop whatever happens. Raises TaskError; the reasons stand in docs/restore.md.
    """
    paths = RestorePaths(Path(task.pgdata), Path(task.shared), task.request_uid)
    volume = RestoreVolume(paths)
    server = RecoveryServer(paths.shared, context)
    with server.attended(), volume.held():
        marker = volume.marker()
        if marker is None or marker.state is State.UNPACKING:
            raise TaskError(
                "NothingLaidOut",
                f"there is no verified backup in {paths.work} to recover",
                remedy="The pod's init container `restore` must succeed first: see its log.",
                retryable=True,
            )
        if marker.recovered is None:
            return Recovery(task, context, volume, server, marker).run()
        return hand_over(volume, marker, marker.recovered, repeated=True)


class Recovery:
    """One attempt to recover one laid out backup."""

    def __init__(
        self, task: RecoverTask, context: AgentContext, volume: RestoreVolume, server: RecoveryServer, marker: Marker
    ) -> None:
        self.task = task
        self.context = context
        self.volume = volume
        self.paths = volume.paths
        self.server = server
        self.marker = marker
        self.steps = Steps(context)
        self.record: BackupRecord = read_record(self.paths.record.read_bytes(), str(self.paths.record))
        self.major = self.record.server.version_num // 10000

    def run(self) -> Done:
        with self.steps.step("Recover"):
            self.recover()
        with self.steps.step("Check"):
            inspection, end = self.check()
        with self.steps.step("ShutDown"):
            self.shut_down()
        with self.steps.step("VerifyFiles"):
            inspection.checks.append(self.verify_files())
            report = self.report(inspection, end)
            self.tell(report)
            self.refuse_failed_checks(report)
        with self.steps.step("HandOver"):
            self.write_final_configuration(inspection, report)
        report.steps = self.steps.reports
        checked = self.marker.model_copy(update={"state": State.CHECKED, "recovered": report})
        self.volume.write(checked)
        return hand_over(self.volume, checked, report)

    def recover(self) -> None:
        self.server.wait_for_version(self.major, self.task.server_start_timeout_seconds)
        self.volume.close_to_others()
        control = read_control_data(self.paths.data, self.major, self.context)
        write_configuration(self.paths, self.record, control)
        queue = WALQueue(self.paths.wal_queue, self.paths.wal, carried_wal(self.paths, self.record))
        queue.open()
        self.volume.write(self.marker.model_copy(update={"state": State.RECOVERING}))
        recover(self.server, self.paths, queue, self.context, self.task.server_start_timeout_seconds)

    def check(self) -> tuple[Inspection, RecoveryEnd]:
        password_file = self.task.superuser_password_file
        inspection = inspect(
            restored_server(self.paths, self.record),
            self.task.checks,
            self.task.request_uid,
            Path(password_file) if password_file else None,
        )
        if inspection.system_identifier != self.record.system_identifier:
            raise TaskError(
                "WrongSystemIdentifier",
                f"the recovered data are of the system {inspection.system_identifier}, the backup's record says "
                f"{self.record.system_identifier}",
                remedy=OTHER_BACKUP,
            )
        end = read_recovery_end(self.paths.data, inspection.timeline)
        check_recovery_end(end, self.record)
        return inspection, end

    def shut_down(self) -> None:
        self.server.tell_stop()
        if self.server.wait_for_exit():
            raise recovery_failed(self.server)

    def verify_files(self) -> CheckResult:
        """Checks what only a stopped server allows."""
        control = read_control_data(self.paths.data, self.major, self.context)
        if not control.shut_down:
            return CheckResult(name="shutdown", passed=False, detail=f"the cluster's state is {control.state!r}")
        if not control.data_checksums:
            return CheckResult(name="checksums", passed=True, detail="the cluster has no data checksums")
        wrong = find_wrong_pages(self.paths, self.major, self.context)
        return CheckResult(name="checksums", passed=not wrong, detail=wrong or "every page is as its checksum says")

    def report(self, inspection: Inspection, end: RecoveryEnd) -> RecoverReport:
        return RecoverReport(
            end_lsn=end.lsn,
            timeline=inspection.timeline,
            system_identifier=inspection.system_identifier,
            checks=inspection.checks,
            databases=inspection.databases,
            superuser=inspection.superuser,
            findings=inspection.findings,
            steps=self.steps.reports,
        )

    def tell(self, report: RecoverReport) -> None:
        for check in report.checks:
            self.context.log(f"check {check.name}: {'passed' if check.passed else 'FAILED'}: {check.detail}")
        for finding in report.findings:
            self.context.log(f"found: {finding}")

    def refuse_failed_checks(self, report: RecoverReport) -> None:
        failed = [check for check in report.checks if not check.passed]
        if failed:
            raise TaskError(
                "CheckFailed",
                "; ".join(f"check {check.name!r} failed: {check.detail}" for check in failed[:5]),
                remedy=OTHER_BACKUP,
                report=fitted(report).model_dump(mode="json", by_alias=True, exclude_none=True),
            )

    def write_final_configuration(self, inspection: Inspection, report: RecoverReport) -> None:
        final = final_configuration(self.record, inspection.libraries)
        files = {
            "postgresql.conf": final.render(),
            "pg_hba.conf": FINAL_HBA,
            "pg_ident.conf": FINAL_IDENT,
        }
        for name, content in files.items():
            write_durably(self.paths.data / name, content.encode())
        sync_path(self.paths.data)
        for name in final.left_out:
            self.context.log(f"not taken over from the original's configuration: {name}")
        if final.left_out:
            report.findings.append(
                f"{len(final.left_out)} settings of the original were not taken over; postgresql.conf names them"
            )


def hand_over(volume: RestoreVolume, marker: Marker, report: RecoverReport, *, repeated: bool = False) -> Done:
    """Renames the directory in and says so on the volume; both can be repeated."""
    if marker.state is not State.DONE:
        volume.rename_in()
        volume.write(marker.model_copy(update={"state": State.DONE}))
    passed = sum(check.passed for check in report.checks)
    return Done(
        "Recovered",
        f"recovered to {report.end_lsn}, now on timeline {report.timeline}; {passed} checks passed",
        fitted(report.model_copy(update={"repeated": repeated})),
    )
