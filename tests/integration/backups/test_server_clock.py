"""A backup's times are by the server's clock, whatever the agent's says."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgwarden.backups.clock import ServerClock
from pgwarden.backups.contract import BackupReport
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Result
from pgwarden.postgres.connection import connect
from tests.support.agent_process import PROGRAM
from tests.support.backups import backup_task, envelope
from tests.support.postgres import PostgresServer, postgres_server

MINUTE = timedelta(minutes=1)


def test_an_agent_whose_clock_is_an_hour_ahead_tells_the_servers_time(
    postgres17: PostgresServer, claim: StoreLocation, tmp_path: Path
) -> None:
    task, answer = tmp_path / "task.json", tmp_path / "termination-log"
    task.write_text(envelope(backup_task(postgres17.address(), claim)).model_dump_json(by_alias=True))
    before = postgres17.query("SELECT clock_timestamp()")
    assert isinstance(before, datetime)
    subprocess.run(
        ["faketime", "-f", "+1h", sys.executable, "-c", PROGRAM, task, answer],
        env={**os.environ, "PYTHONPATH": str(Path("operator").resolve())},
        capture_output=True,
        check=False,
        timeout=120,
    )
    result = Result.model_validate_json(answer.read_text())
    assert result.reason == "BackupCommitted", result.message
    report = BackupReport.model_validate(result.report)
    assert before <= report.start_time <= report.stop_time <= datetime.now(UTC)


def test_a_server_that_does_not_answer_at_the_end_costs_no_backup() -> None:
    with postgres_server(17) as server, connect(server.address(), "test") as connection:
        clock = ServerClock(connection)
        assert clock.started <= clock.now() <= datetime.now(UTC)
        server.stop("immediate")
        assert clock.started < clock.now() < clock.started + MINUTE
