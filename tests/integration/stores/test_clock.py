"""A node whose clock is wrong: told by name, a little before the store refuses everything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.jobs.task import ObjectRef, Operation, Result, Task
from pgwarden.stores.contract import ProbeStoreReport, ProbeStoreTask
from tests.support.agent_process import PROGRAM
from tests.support.s3 import S3Server
from tests.support.s3_faults import s3_faults


def probe_with_clock(offset: str, store: StoreLocation, folder: Path) -> Result:
    """What an agent says whose clock goes wrong by so much (as faketime has it: +20m)."""
    task = Task(
        operation=Operation.PROBE_STORE,
        nonce="0123456789abcdef",
        object=ObjectRef(kind="BackupStore", namespace="shop", name="store", uid="1"),
        payload=ProbeStoreTask(store=store).model_dump(mode="json", by_alias=True),
    )
    (folder / "task.json").write_text(task.model_dump_json(by_alias=True))
    answer = folder / "termination-log"
    subprocess.run(
        ["faketime", "-f", offset, sys.executable, "-c", PROGRAM, folder / "task.json", answer],
        env={**os.environ, "PYTHONPATH": str(Path("operator").resolve())},
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Result.model_validate_json(answer.read_text())


def test_a_clock_that_is_far_ahead_is_refused_by_name(s3: S3Server, tmp_path: Path) -> None:
    result = probe_with_clock("+20m", s3.location(s3.new_bucket()), tmp_path)
    assert result.reason == "ClockSkewed", result.message
    assert "clock" in result.message
    assert "NTP" in result.remedy
    report = ProbeStoreReport.model_validate(result.report)
    assert (report.reachable, report.writable) == (True, False)


def test_before_a_certificate_began_to_be_valid_the_clock_is_named_as_well(s3: S3Server, tmp_path: Path) -> None:
    result = probe_with_clock("-2d", s3.location(s3.new_bucket()), tmp_path)
    assert result.reason == "CertificateNotTrusted", result.message
    assert "clock" in result.remedy


@pytest.mark.parametrize(("offset", "seconds"), [("+5m", -300), ("-5m", 300)])
def test_a_clock_that_is_a_little_off_is_measured(s3: S3Server, tmp_path: Path, offset: str, seconds: int) -> None:
    with s3_faults(s3, secure=False) as plain:
        result = probe_with_clock(offset, plain.location(s3.location(s3.new_bucket())), tmp_path)
    assert result.reason == "StoreWritable", result.message
    measured = ProbeStoreReport.model_validate(result.report).clock_skew_seconds
    assert abs(measured - seconds) < 30


def test_clocks_that_agree(s3: S3Server, tmp_path: Path) -> None:
    for store in (s3.location(s3.new_bucket()), StoreLocation(claim=ClaimLocation(path=str(tmp_path)))):
        folder = tmp_path / str(store.s3 is None)
        folder.mkdir()
        assert ProbeStoreReport.model_validate(probe_with_clock("+0", store, folder).report).clock_skew_seconds == 0
