"""Operation `recover`: what runs beside the server in a restore's pod, until the copy is ready to be handed over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgwarden.backups.record import BackupRecord, read_record
from pgwarden.jobs.agent import AgentContext, Done
from pgwarden.jobs.errors import TaskError
from pgwarden.postgres.restored import has_extension
from pgwarden.postgres.slots import create_physical_slots, database_names
from pgwarden.restores.archived_wal import ArchivedWAL, list_wal, put_histories, read_histories
from pgwarden.restores.configuration import FINAL_HBA, FINAL_IDENT, final_configuration
from pgwarden.restores.contract import CheckResult, RecoverReport, RecoverTask, Resolved
from pgwarden.restores.corruption import find_corruption
from pgwarden.restores.durable import sync_path, write_durably
from pgwarden.restores.in_place_volume import InPlaceVolume, volume_of
from pgwarden.restores.inspection import Inspection, inspect
from pgwarden.restores.looking import OpenCopy
from pgwarden.restores.lost_slots import lost_slots, physical_slots
from pgwarden.restores.progress import AMCHECK, INSPECT
from pgwarden.restores.recovery import (
    RecoveryEnd,
    check_recovery_end,
    read_recovery_end,
    recover,
    recovery_failed,
    restored_server,
    target_not_reached,
    write_configuration,
)
from pgwarden.restores.reseed import STEP as RESEED
from pgwarden.restores.reseed import reseed
from pgwarden.restores.server import RecoveryServer
from pgwarden.restores.standby_volume import all_held, standbys_of
from pgwarden.restores.steps import Steps, fitted
from pgwarden.restores.verify import find_wrong_pages, read_control_data
from pgwarden.restores.volume import Marker, RestoreVolume, State
from pgwarden.restores.wal_plan import wal_plan, way_of
from pgwarden.restores.wal_queue import WALQueue, sizes_of
from pgwarden.storage.encryption import read_identities
from pgwarden.storage.store import open_store

__all__ = ["RecoverTask", "run"]

OTHER_BACKUP = "Nothing was handed over. Look at what failed, or restore another backup with a new RestoreRequest."


def run(task: RecoverTask, context: AgentContext) -> Done:
    """Recovers what operation `restore` laid out, checks it, stops the server and renames the directory in; of a drill
    nothing is handed over.

    The server container is told to stop whatever happens. Raises TaskError; the reasons stand in docs/restore.md.
    """
    volume = volume_of(task)
    server = RecoveryServer(volume.paths.shared, context)
    with server.attended(), volume.held(), all_held(standbys_of(task)):
        marker, resolved = volume.laid_out()
        if marker.recovered is None:
            return Recovery(task, context, volume, server, marker, resolved).run()
        report = with_standbys(task, volume, marker, marker.recovered, context)
        return hand_over(volume, marker, report, repeated=True)


class Recovery:
    """One attempt to recover one laid out backup."""

    def __init__(
        self,
        task: RecoverTask,
        context: AgentContext,
        volume: RestoreVolume,
        server: RecoveryServer,
        marker: Marker,
        resolved: Resolved,
    ) -> None:
        self.task = task
        self.context = context
        self.volume = volume
        self.paths = volume.paths
        self.server = server
        self.marker = marker
        self.steps = Steps(context)
        self.resolved = resolved
        self.record: BackupRecord = read_record(self.paths.record.read_bytes(), str(self.paths.record))
        self.major = self.record.server.version_num // 10000

    def run(self) -> Done:
        self.recover()
        with self.steps.step("Check"):
            inspection, end = self.check()
        if self.task.drill:
            with self.steps.step(AMCHECK):
                self.look_closer(inspection)
        with self.steps.step("ShutDown"):
            self.shut_down()
        with self.steps.step("VerifyFiles"):
            inspection.checks.append(self.verify_files())
            report = self.report(inspection, end)
            self.tell(report)
            self.refuse_failed_checks(report)
        if self.task.drill:
            report.steps = self.steps.reports
            return done(report)
        if isinstance(self.volume, InPlaceVolume):
            with self.steps.step("Configure"):
                self.steps.detail = self.volume.take_over_configuration()
        else:
            with self.steps.step("HandOver"):
                self.write_final_configuration(inspection, report)
        report.steps = self.steps.reports
        checked = self.marker.model_copy(update={"state": State.CHECKED, "recovered": report})
        self.volume.write(checked)
        report = with_standbys(self.task, self.volume, checked, report, self.context)
        return hand_over(self.volume, checked, report)

    def recover(self) -> None:
        with ExitStack() as stack:
            with self.steps.step("Recover"):
                self.server.wait_for_version(self.major, self.task.server_start_timeout_seconds)
                self.volume.close_to_others()
                self.configure()
                queue = stack.enter_context(self.wal_queue())
                self.note(state=State.RECOVERING)
                self.server.start()
                self.replay(queue)
            if not self.task.drill:
                with self.steps.step(INSPECT):
                    self.steps.detail = self.let_look(queue)
            self.context.log(f"the server waited {queue.waited_seconds:.1f} s for WAL")

    def configure(self, *, to_the_end: bool = False) -> None:
        """Writes what the server is started with next."""
        control = read_control_data(self.paths.data, self.major, self.context)
        stay_open = self.task.inspect_seconds is not None
        write_configuration(self.paths, self.record, control, self.resolved, to_the_end=to_the_end, stay_open=stay_open)

    def replay(self, queue: WALQueue) -> None:
        """Comes to the target, or as near to it as there is WAL. A copy that is to be looked at waits there; it has to
        begin again whenever the original was given more connections, workers or locks."""
        timeout = self.task.server_start_timeout_seconds
        arrived = self.copy().arrived if self.task.inspect_seconds is not None else None
        to_the_end = False
        while True:
            try:
                return recover(self.server, self.paths, queue, self.context, timeout, arrived=arrived)
            except TaskError:
                if self.server.ended_before_its_target and not to_the_end:
                    self.refuse_unless_found()
                    to_the_end = True
                elif not self.server.ended_for_settings:
                    raise
            self.configure(to_the_end=to_the_end)
            self.server.start_again()

    def copy(self) -> OpenCopy:
        """The copy as those who look at it find it."""
        restored = restored_server(self.paths, self.record)
        return OpenCopy(self.server, self.paths, restored, self.resolved, Path(self.task.proceed_file))

    def let_look(self, queue: WALQueue) -> str:
        """Holds the copy open until somebody says that it is the right one, then has it promoted; says how that went.

        Raises TaskError with reason InspectionTimedOut, and what `recover` raises.
        """
        seconds = self.task.inspect_seconds
        if seconds is None:
            return "not asked for (spec.inspect)"
        copy = self.copy()
        until = self.marker.open_until or datetime.now(UTC) + timedelta(seconds=seconds)
        self.note(open_until=until)
        said = copy.hold(queue, self.context, self.major, until)
        copy.go_on()
        timeout = self.task.server_start_timeout_seconds
        recover(self.server, self.paths, queue, self.context, timeout, arrived=copy.promoted)
        return said

    def note(self, **changes: object) -> None:
        """Writes on the volume what is to be known of this attempt if it ends here."""
        self.marker = self.marker.model_copy(update=changes)
        self.volume.write(self.marker)

    def refuse_unless_found(self) -> None:
        """Refuses a target that recovery should have come to, after the server found nothing in the WAL that lies
        beyond it, unless it is enough to recover to the end of the WAL.

        A database that was idle at the target wrote nothing afterwards that PostgreSQL could stop at. The archive was
        seen to reach past the target when it was resolved, and recovery has to come to `end_lsn` also now. Of a
        transaction or a restore point nobody knows where it would be: that one must be found.
        """
        point = self.resolved.point
        if point.time is None and point.lsn is None:
            raise target_not_reached(self.resolved)
        self.context.log(f"nothing was committed after {self.resolved.target}: recovering to the end of the WAL")

    @contextmanager
    def wal_queue(self) -> Iterator[WALQueue]:
        """The queue with all the WAL there is for this restore, and the archive's history files."""
        resolved, carried = self.resolved, sizes_of(self.paths.wal)
        store = open_store(self.task.store)
        pieces = []
        if resolved.archived_wal:
            way = way_of(resolved, self.record)
            pieces = list_wal(store, resolved, way, self.record.server.wal_segment_bytes)
        plan = wal_plan(resolved, self.record, carried, pieces)
        queue = WALQueue(self.paths.wal_queue, self.paths.wal, plan)
        queue.open()
        histories = read_histories(store, resolved.archive)
        if isinstance(self.volume, InPlaceVolume):
            histories = self.volume.taken_timelines(resolved.timeline) | histories
        put_histories(histories, queue.coming, queue.present)
        identities = read_identities(Path(self.task.store.identity_file)) if self.task.store.identity_file else []
        source = ArchivedWAL(store, resolved.archive, identities, plan, queue.coming, queue.present)
        queue.source = source
        try:
            yield queue
        finally:
            source.close()
            self.context.log(f"{source.segments} segments were fetched from the archive")

    def check(self) -> tuple[Inspection, RecoveryEnd]:
        password_file = self.task.superuser_password_file
        inspection = inspect(
            restored_server(self.paths, self.record),
            self.task.checks,
            self.task.request_uid,
            Path(password_file) if password_file else None,
            in_place=bool(self.task.replaces),
        )
        if inspection.system_identifier != self.record.system_identifier:
            raise TaskError(
                "WrongSystemIdentifier",
                f"the recovered data are of the system {inspection.system_identifier}, the backup's record says "
                f"{self.record.system_identifier}",
                remedy=OTHER_BACKUP,
            )
        end = read_recovery_end(self.paths.data, inspection.timeline)
        check_recovery_end(end, self.resolved)
        if isinstance(self.volume, InPlaceVolume):
            inspection.findings[:0] = self.renew_slots()
        return inspection, end

    def renew_slots(self) -> list[str]:
        """Makes the slots anew that standbys may be told to use, where these are made anew as well; returns a sentence
        for each other one."""
        made = physical_slots(self.paths.pgdata) if self.task.standbys else []
        with restored_server(self.paths, self.record).connect() as connection:
            create_physical_slots(connection, made)
            names = database_names(connection)
        return lost_slots(self.paths.pgdata, names, made)

    def look_closer(self, inspection: Inspection) -> None:
        """Has every table and index read that a restore in earnest does not wait for."""
        server = restored_server(self.paths, self.record)
        with server.connect() as connection:
            present = has_extension(connection, "amcheck")
        if present:
            inspection.checks.append(find_corruption(server, self.major, self.context))
        else:
            inspection.findings.append("tables and indexes were not looked at: the server's image has no amcheck")

    def shut_down(self) -> None:
        self.server.tell_stop()
        if self.server.wait_for_exit():
            raise recovery_failed(self.server)

    def verify_files(self) -> CheckResult:
        """Checks what only a stopped server allows."""
        control = read_control_data(self.paths.data, self.major, self.context)
        passed, detail = True, "every page is as its checksum says"
        if not control.shut_down:
            passed, detail = False, f"the cluster's state is {control.state!r}"
        elif not control.data_checksums:
            detail = "the cluster has no data checksums"
        elif wrong := find_wrong_pages(self.paths, self.major, self.context):
            passed, detail = False, wrong
        name = "checksums" if control.shut_down else "shutdown"
        return CheckResult(name=name, passed=passed, detail=detail, built_in=True)

    def report(self, inspection: Inspection, end: RecoveryEnd) -> RecoverReport:
        return RecoverReport(
            end_lsn=end.lsn,
            end_time=inspection.last_commit,
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
            failed = "to be looked at" if check.advisory else "FAILED"
            self.context.log(f"check {check.name}: {'passed' if check.passed else failed}: {check.detail}")
        for finding in report.findings:
            self.context.log(f"found: {finding}")

    def refuse_failed_checks(self, report: RecoverReport) -> None:
        failed = [check for check in report.checks if not check.passed and not check.advisory]
        if failed:
            raise TaskError(
                "CheckFailed",
                "; ".join(f"check {check.name!r} failed: {check.detail}" for check in failed[:5]),
                remedy=OTHER_BACKUP,
                report=fitted(report).model_dump(mode="json", by_alias=True, exclude_none=True),
            )

    def write_final_configuration(self, inspection: Inspection, report: RecoverReport) -> None:
        control = read_control_data(self.paths.data, self.major, self.context)
        final = final_configuration(self.record, inspection.libraries, control)
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


def with_standbys(
    task: RecoverTask, volume: RestoreVolume, marker: Marker, report: RecoverReport, context: AgentContext
) -> RecoverReport:
    """Makes the other members anew, where there are some; the report with that step. Raises as `reseed`."""
    if not (task.standbys and isinstance(volume, InPlaceVolume)):
        return report
    steps = Steps(context)
    steps.reports = list(report.steps)
    with steps.step(RESEED):
        steps.detail = reseed(volume, marker, standbys_of(task), context)
    return report.model_copy(update={"steps": steps.reports})


def hand_over(volume: RestoreVolume, marker: Marker, report: RecoverReport, *, repeated: bool = False) -> Done:
    """Renames the directory in, unless another task does so, and says so on the volume; both can be repeated."""
    if volume.RENAMES_IN and marker.state is not State.DONE:
        volume.rename_in()
        volume.write(marker.model_copy(update={"state": State.DONE}))
    return done(report.model_copy(update={"repeated": repeated}))


def done(report: RecoverReport) -> Done:
    return Done(
        "Recovered",
        f"recovered to {report.end_lsn}, now on timeline {report.timeline}; {checks_passed(report)}",
        fitted(report),
    )


def checks_passed(report: RecoverReport) -> str:
    """How many checks passed, for people: 2 of your checks and 3 built-in ones passed."""
    ours = sum(check.passed for check in report.checks if check.built_in)
    theirs = sum(check.passed for check in report.checks if not check.built_in)
    return f"{theirs} of your checks and {ours} built-in ones passed" if theirs else f"{ours} built-in checks passed"
