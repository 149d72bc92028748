"""The frame every task runs in: reads the task, runs it, reports progress, leaves a Result behind.

A task is a function `run(payload, context) -> (reason, message, report)` in its capability's task.py. It begins by
asking whether the same work has been done already, because any attempt may be a repetition of one whose answer
was lost.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

from pydantic import ValidationError

from pgwarden.api.masking import masked
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.memory import return_large_blocks
from pgwarden.jobs.task import (
    TASK_FILE,
    TERMINATION_FILE,
    Operation,
    Outcome,
    Payload,
    Progress,
    Report,
    Result,
    Task,
)

PROGRESS_INTERVAL_SECONDS = 1.0
VERSIONS_REMEDY = (
    "Operator and agent image must be of the same or neighbouring versions: "
    "check the chart's values images.operator and images.agent."
)

# operation -> (module, name of the payload class in that module); imported only when asked for.
OPERATIONS: dict[Operation, tuple[str, str]] = {
    Operation.PROBE_STORE: ("pgwarden.stores.task", "ProbeStoreTask"),
    Operation.MIGRATE: ("pgwarden.migrations.task", "MigrateTask"),
    Operation.BACKUP: ("pgwarden.backups.task", "BackupTask"),
    Operation.RESTORE: ("pgwarden.restores.task", "RestoreTask"),
    Operation.RECOVER: ("pgwarden.restores.recover_task", "RecoverTask"),
    Operation.DRILL: ("pgwarden.restores.task", "DrillTask"),
    Operation.IN_PLACE: ("pgwarden.restores.in_place_task", "InPlaceTask"),
    Operation.SEE_CONNECTIONS: ("pgwarden.restores.connections_task", "ConnectionsTask"),
    Operation.CATALOGUE: ("pgwarden.catalogue.task", "CatalogueTask"),
    Operation.LOGICAL_BACKUP: ("pgwarden.logical.task", "LogicalBackupTask"),
    Operation.FILE_REPORT: ("pgwarden.restores.file_report_task", "FileReportTask"),
    Operation.RESTORE_PARTS: ("pgwarden.restores.parts_task", "PartsTask"),
    Operation.RECOVER_PARTS: ("pgwarden.restores.parts_recover_task", "RecoverPartsTask"),
    Operation.LOAD_DUMP: ("pgwarden.restores.load_dump_task", "LoadDumpTask"),
}


@dataclass
class Done:
    """What a task returns when it succeeded, or found nothing to do (`skipped`)."""

    reason: str
    message: str
    report: Report
    skipped: bool = False


@dataclass
class AgentContext:
    """What a task gets beside its payload."""

    task: Task
    stop: threading.Event = field(default_factory=threading.Event)
    """Set by SIGTERM: the task ends at its next safe point and raises `Stopped`."""
    output: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    _last: float = float("-inf")
    _last_work: tuple[str, str] = ("", "")

    def progress(self, step: str, done: int = 0, total: int = 0, *, unit: str = "bytes", detail: str = "") -> None:
        """Prints a line of progress, at most one a second while step and detail stay the same.

        Another detail is told at once: it may be a migration that runs for an hour, without a line in between.
        """
        now = self.clock()
        if (step, detail) == self._last_work and now - self._last < PROGRESS_INTERVAL_SECONDS and done != total:
            return
        self._last, self._last_work = now, (step, detail)
        line = Progress(nonce=self.task.nonce, step=step, done=done, total=total, unit=unit, detail=detail)
        print(line.model_dump_json(), file=self.output, flush=True)

    def log(self, message: str) -> None:
        """Prints a line for people who read the pod's log, without passwords."""
        print(masked(message), file=self.output, flush=True)

    def check_stop(self) -> None:
        """Raises `Stopped` once SIGTERM has come."""
        if self.stop.is_set():
            raise Stopped()


class Stopped(TaskError):
    """The agent was told to stop (node drained, Job deleted) before the work was done."""

    def __init__(self, message: str = "the agent was told to stop (SIGTERM) before the work was done") -> None:
        super().__init__("Stopped", message, remedy="The operator starts it again by itself.", retryable=True)


def read_task(path: Path) -> Task:
    """Reads a task file. Raises TaskError with reason TaskRefused when it is not one this agent understands."""
    try:
        return Task.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise TaskError(
            "TaskRefused",
            f"the task file {path} cannot be read or says something this agent does not know: {error}",
            remedy=VERSIONS_REMEDY,
        ) from error


def load(task: Task) -> tuple[Callable[[Any, AgentContext], Done], Payload]:
    """The function that carries the task out, and its payload. Raises TaskError with reason TaskRefused."""
    module_name, payload_name = OPERATIONS[task.operation]
    module = importlib.import_module(module_name)
    try:
        payload: Payload = getattr(module, payload_name).model_validate(task.payload)
    except ValidationError as error:
        raise TaskError(
            "TaskRefused",
            f"the payload of {task.operation} says something this agent does not know: {error}",
            remedy=VERSIONS_REMEDY,
        ) from error
    return module.run, payload


def perform(task: Task, context: AgentContext) -> Result:
    """Runs a task and turns whatever happens into a Result; never raises an Exception."""
    try:
        run, payload = load(task)
        done = run(payload, context)
    except TaskError as error:
        return failed(error)
    except Exception as error:
        context.log(traceback.format_exc())
        return Result(
            outcome=Outcome.FAILED,
            reason="InternalError",
            message=f"{task.operation} for {task.object} broke: {type(error).__name__}: {error}",
            remedy="This is a defect of pgwarden; the pod's log holds the traceback.",
            retryable=True,
        )
    return Result(
        outcome=Outcome.SKIPPED if done.skipped else Outcome.SUCCEEDED,
        reason=done.reason,
        message=done.message,
        report=done.report.model_dump(mode="json", by_alias=True, exclude_none=True),
    )


def failed(error: TaskError) -> Result:
    """The Result that says what a TaskError says."""
    return Result(
        outcome=Outcome.FAILED,
        reason=error.reason,
        message=error.message,
        remedy=error.remedy,
        retryable=error.retryable,
        report=dict(error.report),
    )


def main(task_file: str = TASK_FILE, result_file: str = TERMINATION_FILE) -> int:
    """Runs the task in `task_file`, writes its Result to `result_file`; 0 when it succeeded or was skipped, else 1."""
    return_large_blocks()
    try:
        task = read_task(Path(task_file))
    except TaskError as error:
        result = failed(error)
    else:
        context = AgentContext(task)
        signal.signal(signal.SIGTERM, lambda *_: context.stop.set())
        result = perform(task, context)
    message = result.to_message()
    print(message, flush=True)
    Path(result_file).write_text(message, encoding="utf-8")
    return 1 if result.outcome == Outcome.FAILED else 0


def leave(code: int) -> NoReturn:
    """Ends the process at once: to take the interpreter apart takes 50 ms, and nothing is left to be done."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
